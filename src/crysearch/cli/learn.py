"""``crysearch learn``: a search by active learning, with few reference calculations."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.cli import common, learning_figures
from crysearch.cli.plot import ImageFormat
from crysearch.cli.run import command_line, duration, folder_for, read_spec_of, say, status_of
from crysearch.cli.submit import outcome
from crysearch.errors import ActiveLearningError, SpecError
from crysearch.records import RecordStore


def learn(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC",
            help="An active learning in YAML, or a Python file that defines `build_spec`.",
        ),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change a field, such as `pool.size=200`, or give a parameter of `build_spec`; "
            "may be repeated.",
        ),
    ] = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Put it on FireWorks' launch pad instead of running.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Only show the cycles so far; calculates nothing new.")
    ] = False,
    figures: Annotated[Path, typer.Option("--figures", help="Folder for the figures.")] = Path(
        "crysearch-figures"
    ),
    format: Annotated[ImageFormat, typer.Option(help="Format of the figures.")] = ImageFormat.png,
) -> None:
    """Search for structures of low energy with few reference calculations.

    What an interrupted run has finished is not repeated; see docs/active-learning.md.
    """
    if submit and show:
        raise SpecError("--submit, --show: give one of the two")
    spec = read_spec_of(ActiveLearningSpec, file, changes or [])
    from crysearch.workflows import active_learning as workflow

    if submit:
        submission = workflow.submit_active_learning(spec)
        typer.echo(f"Active learning {_called(spec)} {outcome(submission)}")
        again = (
            "  the same command with --show instead of --submit\n"
            f"  crysearch status {spec.known.search_id[:8]}"
        )
        if submission.state != "complete":
            again = (
                "  rlaunch rapidfire          a worker on this machine\n"
                f"  qlaunch rapidfire          workers through the queue system\n{again}"
            )
        typer.echo(f"\nNext:\n{again}")
        return
    folder = folder_for(figures / f"active-learning-{spec.identifier}")
    if not show:
        _run(spec)
    with common.reading() as records:
        _report(records, spec, folder, format)
    search = spec.known.search_id[:8]
    lines = [f"results {search}", f"data show {spec.dataset}", f"status {search}"]
    typer.echo("\nNext:\n" + "\n".join(f"  {command_line()} {line}" for line in lines))


def _run(spec: ActiveLearningSpec) -> None:
    from crysearch.workflows.active_learning import conclusion_of, run_active_learning

    verb = "Starting"
    if status_of(spec.known) is not None:
        with common.reading() as records:
            ended = conclusion_of(records, spec) is not None
        verb = "Showing the finished" if ended else "Continuing"
    say(f"{verb} active learning {_called(spec)}.")
    started = time.monotonic()
    try:
        run_active_learning(spec)
    except KeyboardInterrupt:
        say("\nInterrupted. The same command continues.")
        raise typer.Exit(130) from None
    say(f"Finished in {duration(time.monotonic() - started)}.")


def _report(
    records: RecordStore, spec: ActiveLearningSpec, folder: Path, format: ImageFormat
) -> None:
    """Print how the cycles went and what was found; draw the figures."""
    from crysearch.workflows import active_learning as workflow

    cycles = workflow.cycles_of(records, spec)
    if not cycles:
        raise SpecError(
            f"active learning {_called(spec)} has no cycles in {records.description}: either it "
            "has not begun (run or submit it without --show), or it has with another specification "
            "or database"
        )
    out = common.console()
    out.print(workflow.cycle_table(cycles), markup=False)
    summary = workflow.conclusion_of(records, spec)
    if summary is None:
        last = cycles[-1]
        count = sum(cycle["calculated"] or 0 for cycle in cycles)
        out.print(
            f"{count} reference calculations so far; cycle {last['cycle']}: {last['decision']}",
            markup=False,
        )
    else:
        out.print(workflow.conclusion_lines(summary), markup=False)
    predictions = None
    with suppress(ActiveLearningError):  # the figures say that there are none
        predictions = workflow.predictions_of(records, spec)
    if predictions is not None:
        out.print(workflow.calibration_table(predictions), markup=False)
    drawn = learning_figures.draw(records, spec, predictions, folder, format.value)
    out.print(f"Figures: {len(drawn)} in {folder}", markup=False)
    out.print(f"Records: {records.description}", markup=False)


def _called(spec: ActiveLearningSpec) -> str:
    return f"{spec.identifier[:8]} ({spec.name}: {spec.search.composition})"
