"""``crysearch submit``: a search for FireWorks' workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crysearch.cli.run import read_spec

if TYPE_CHECKING:
    from crysearch.workflows.submission import Submission


def submit(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC",
            help="A specification in YAML, or a Python file that defines `build_spec`.",
        ),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change a field, such as `screening.quotas.I=12`, or give a parameter of "
            "`build_spec`; may be repeated.",
        ),
    ] = None,
) -> None:
    """Put a search on FireWorks' launch pad, for workers (`rlaunch`, `qlaunch`) to run."""
    spec = read_spec(file, changes or [])
    from crysearch.workflows import submit as submit_search
    from crysearch.workflows.context import with_whole_ids

    spec = with_whole_ids(spec)
    submission = submit_search(spec)
    search = submission.search or ""
    typer.echo(f"Search {search} ({spec.name}: {spec.composition}) {outcome(submission)}")
    if submission.state == "complete":
        typer.echo(f"\nNext:\n  crysearch results {search[:8]}")
    else:
        typer.echo(
            "\nNext:\n"
            "  rlaunch rapidfire          a worker on this machine\n"
            "  qlaunch rapidfire          workers through the queue system\n"
            f"  crysearch status {search[:8]}"
        )


def outcome(submission: Submission) -> str:
    """What became of a submission, as the end of a sentence."""
    ids = submission.fw_ids
    jobs = f"{len(ids)} jobs ({ids[0]} to {ids[-1]})" if ids else "no jobs"
    return {
        "added": f"is on the launch pad: {jobs}; more follow as it goes on.",
        "waiting": f"is on the launch pad already: {jobs}.",
        "rerun": f"is on the launch pad already; what had failed is ready again: {jobs}.",
        "complete": "is complete already.",
    }[submission.state]
