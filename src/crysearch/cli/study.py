"""``crysearch study``: generative models compared over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crysearch.cli import common
from crysearch.study import StudySpec


def study(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A study in YAML.")],
    submit: Annotated[
        bool, typer.Option("--submit", help="Put it on FireWorks' launch pad instead of running.")
    ] = False,
    figures: Annotated[Path, typer.Option("--figures", help="Folder for the figures.")] = Path(
        "crysearch-figures"
    ),
) -> None:
    """Compare generative models: training, replicas, and what these find; see docs/hvae-study.md.

    What an interrupted run has finished is not repeated.
    """
    spec = StudySpec.from_yaml(file)
    from crysearch.workflows import study as studies

    if submit:
        submission = studies.submit_study(spec)
        typer.echo(
            f"Study {spec.identifier[:8]}: {len(submission.fw_ids)} jobs, {submission.state}."
        )
        return
    try:
        summary = studies.run_study(spec)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. The same command continues.", err=True)
        raise typer.Exit(130) from None
    from crysearch.plotting import plot_study_losses, plot_study_measures

    with common.reading() as records:
        document = records.get("studies", summary["study"])
        trials = studies.trials_of(records, spec)
    assert document is not None
    typer.echo(studies.markdown_tables(document))
    folder = figures / f"study-{spec.identifier}"
    plot_study_losses(trials, folder / "losses.png")
    plot_study_measures(document, trials, folder / "measures.png")
    typer.echo(f"Figures: 2 in {folder}")
