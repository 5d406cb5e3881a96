"""Figures of an active learning: learning, pool, clusters, predictions, calibration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.errors import ActiveLearningError, AnalysisError
from crysearch.records import RecordStore

if TYPE_CHECKING:
    from crysearch.active_learning import Predictions


def draw(
    records: RecordStore,
    spec: ActiveLearningSpec,
    predictions: Predictions | None,
    folder: Path,
    suffix: str = "png",
) -> list[Path]:
    """Draw what the records have; says which figure could not be drawn, and why.

    Parameters
    ----------
    predictions
        Those of :func:`crysearch.workflows.active_learning.predictions_of`; None without any.
    folder, suffix
        Where the files go, and how their names end.
    """
    from crysearch import plotting
    from crysearch.workflows import active_learning as workflow

    def learning(path: Path) -> Any:
        return plotting.plot_learning_curve(workflow.cycles_of(records, spec), path)

    def pool(path: Path) -> Any:
        best = workflow.best_of(records, spec)
        pools = workflow.pools_of(records, spec)
        return plotting.plot_pool_energies(pools, best.found, best.known, path)

    def clusters(path: Path) -> Any:
        cycle, found = workflow.map_of(records, spec)
        return plotting.plot_pool_map(found, cycle, path)

    actions: dict[str, Callable[[Path], Any]] = {
        "learning": learning,
        "pool": pool,
        "clusters": clusters,
    }
    if predictions is None:
        typer.echo("no figures predictions, calibration: nothing chosen is calculated", err=True)
    else:
        actions["predictions"] = lambda path: plotting.plot_predictions(predictions, path)
        actions["calibration"] = lambda path: plotting.plot_calibration(predictions, path)
    paths = []
    for name, action in actions.items():
        path = folder / f"{name}.{suffix}"
        try:
            action(path)
        except (ActiveLearningError, AnalysisError) as error:
            typer.echo(f"no figure {name}: {error}", err=True)
        else:
            paths.append(path)
    return paths
