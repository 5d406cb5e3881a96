"""What ``crysearch design`` gives back: CIF files, tables and figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from crysearch.analysis import analyse_symmetry
from crysearch.cli import common
from crysearch.sampling.files import cif_text
from crysearch.spec import SearchSpec

if TYPE_CHECKING:
    from crysearch.generative import GenerativeModel
    from crysearch.guiding.navigation import (
        DesignedCrystal,
        DesignResult,
        DesignTarget,
        Navigator,
    )

#: Name of the known structure nearest to a fingerprint, and its Pearson's distance.
Nearest = Callable[[np.ndarray], tuple[str, float]]

# Descents shown side by side in a figure.
_SHOWN = 3
_TARGET_COLUMNS = {
    "number": "#",
    "target": "target",
    "latent": "latent point",
    "condition": "condition",
    "known": "nearest known structure",
    "known_distance": "distance",
    "reached": "reached",
    "distinct": "different RDFs",
    "best": "best distance",
}
_CRYSTAL_COLUMNS = {
    "number": "#",
    "rank": "rank",
    "formula": "cell",
    "volume": "Å³/atom",
    "before": "distance before",
    "after": "after",
    "space_group": "space group",
    "wyckoff": "Wyckoff positions",
    "known": "nearest known structure",
    "known_distance": "distance",
    "new": "new?",
    "file": "file",
}


@dataclass(frozen=True)
class Output:
    """Writes and tells what was found.

    Parameters
    ----------
    spec
        Of the search.
    nearest
        Finds the known structure nearest to a fingerprint.
    threshold
        Pearson's distance within which a target is reached.
    """

    spec: SearchSpec
    nearest: Nearest
    threshold: float

    def write(self, results: Sequence[DesignResult], folder: Path) -> list[dict[str, Any]]:
        """Write each crystal to a CIF file of its own; one row of the table for each."""
        rows = []
        for number, result in enumerate(results, start=1):
            for rank, crystal in enumerate(result.crystals, start=1):
                row = self._row(crystal) | {"number": number, "rank": rank}
                symbol = re.sub(r"[^A-Za-z0-9-]", "_", row["space_group"])
                row["file"] = f"{number:02d}-{rank}-{row['formula']}-{symbol}.cif"
                text = cif_text(
                    crystal.crystal.structure(0),
                    self._comments(result.target, crystal, row),
                    f"{number}_{rank}",
                )
                (folder / row["file"]).write_text(text, encoding="utf-8")
                rows.append(row)
        return rows

    def _row(self, crystal: DesignedCrystal) -> dict[str, Any]:
        structure = crystal.crystal.structure(0)
        symmetry = analyse_symmetry(structure, self.spec.analysis.symmetry_tolerance)
        known, distance = self.nearest(crystal.fingerprint)
        return {
            "formula": structure.composition.formula.replace(" ", ""),
            "volume": f"{structure.volume / len(structure):.1f}",
            "before": crystal.distance_before,
            "after": crystal.distance_after,
            "space_group": symmetry.symbol or "unknown",
            "wyckoff": condensed(symmetry.wyckoff_label or "unknown"),
            "wyckoff_all": symmetry.wyckoff_label or "unknown",
            "known": known,
            "known_distance": distance,
            "new": distance > self.threshold,
        }

    def _comments(
        self, target: DesignTarget, crystal: DesignedCrystal, row: dict[str, Any]
    ) -> list[str]:
        group = int(crystal.crystal.space_groups[0])
        tolerance = self.spec.analysis.symmetry_tolerance
        point = "" if target.latent is None else f" (latent point {point_text(target.latent, 6)}"
        if target.condition is not None:
            part = self.spec.generative
            point += f"; {part.condition} {target.condition:.6g} {part.condition_unit}"
        point += ")" if point else ""
        return [
            f"target: {target.label}{point}; search {self.spec.search_id}",
            f"Pearson's distance to the target: {row['after']:.4f} (as drawn {row['before']:.4f})",
            f"space group {row['space_group']} within {tolerance:g} angstrom, Wyckoff positions "
            f"{row['wyckoff_all']}; written in P1; drawn in space group {group}",
            f"nearest known structure: {row['known']} at {row['known_distance']:.4f}",
            f"not relaxed; seed {' '.join(map(str, crystal.seed))}, index {crystal.index}",
        ]

    def tell(
        self, results: Sequence[DesignResult], rows: Sequence[dict[str, Any]], folder: Path
    ) -> None:
        """Print a row for each target and each crystal, and the targets not reached."""
        part = self.spec.generative
        heading = f"{part.condition} ({part.condition_unit})"
        told = any(result.target.condition is not None for result in results)
        common.print_rows(
            [self._target_row(number, result) for number, result in enumerate(results, start=1)],
            common.Format.table,
            columns=[name for name in _TARGET_COLUMNS if told or name != "condition"],
            headings=_TARGET_COLUMNS | {"condition": heading},
            title=f"Targets ({self.spec.name}; reached within {self.threshold:g})",
        )
        if rows:
            typer.echo()
            common.print_rows(
                rows,
                common.Format.table,
                columns=list(_CRYSTAL_COLUMNS),
                headings=_CRYSTAL_COLUMNS,
                title="Crystals (not relaxed; new?: farther than that from all known structures)",
            )
        typer.echo()
        for number, result in enumerate(results, start=1):
            if not result.crystals:
                typer.echo(self._not_reached(number, result))
        files = f"{len(rows)} crystal{'' if len(rows) == 1 else 's'}"
        typer.echo(f"{files} written to {folder}" if rows else "No crystal: nothing is written.")

    def _target_row(self, number: int, result: DesignResult) -> dict[str, Any]:
        target = result.target
        known, distance = self.nearest(target.fingerprint)
        return {
            "number": number,
            "target": target.label,
            "latent": None if target.latent is None else point_text(target.latent),
            "condition": target.condition,
            "known": known,
            "known_distance": distance,
            "reached": f"{result.reached} of {result.set_out}",
            "distinct": result.distinct,
            "best": result.crystals[0].distance_after if result.crystals else None,
        }

    def _not_reached(self, number: int, result: DesignResult) -> str:
        text = f"Target {number} ({result.target.label}) was not reached: "
        if result.nearest is None:
            return text + "none of the random crystals has a distance to it."
        row = self._row(result.nearest)
        close = result.nearest.outcome == "too_close"
        return (
            f"{text}the nearest of {result.set_out} crystals, {row['formula']} in "
            f"{row['space_group']}, came to {row['after']:.3f}"
            + (" but has atoms closer than the minimum distances" if close else "")
            + ". More --draw and --descend, or another --formula-units, may reach it."
        )


def condensed(label: str) -> str:
    """Wyckoff positions with repeated ones counted: ``Si: 1a 1a 2b`` as ``Si: 1a×2 2b``."""
    elements = []
    for element in label.split("; "):
        runs = [(word, len(list(group))) for word, group in groupby(element.split(" "))]
        elements.append(" ".join(word if n == 1 else f"{word}×{n}" for word, n in runs))
    return "; ".join(elements)


def point_text(point: np.ndarray, decimals: int = 3) -> str:
    """A latent point as one writes it for ``--latent``."""
    return ",".join(f"{value:.{decimals}f}" for value in point)


def draw_descents(
    navigator: Navigator,
    spec: SearchSpec,
    results: Sequence[DesignResult],
    threshold: float,
    path: Path,
) -> None:
    """Draw the way of the best crystal of some targets: of the ends and the middle of a line."""
    from crysearch.plotting import Descent, plot_descent
    from crysearch.plotting.latent import space_group

    reached = [result for result in results if result.crystals]
    if not reached:
        typer.echo(f"no figure {path}: no target was reached", err=True)
        return
    rdf = navigator.rdf
    # Of a species-resolved RDF, each pair of elements needs a column for itself.
    places = np.linspace(0, len(reached) - 1, _SHOWN).round().astype(int)
    if rdf.pairs is not None or len(reached) < _SHOWN:
        places = np.array([len(reached) // 2]) if rdf.pairs is not None else np.arange(len(reached))
    descents = []
    for place in np.unique(places):
        result = reached[place]
        best = result.crystals[0]
        symbol = analyse_symmetry(
            best.crystal.structure(0), spec.analysis.symmetry_tolerance
        ).symbol
        name = best.crystal.structure(0).composition.formula.replace(" ", "")
        group = "no space group" if symbol is None else space_group(symbol)
        title = f"{result.target.label}\n{name}, {group}"
        descents.append(
            Descent(result.target.fingerprint, navigator.way(best, result.target), title)
        )
    plot_descent(
        rdf.grid, descents, spec.fingerprint.quantity, rdf.pairs, threshold=threshold, path=path
    )
    typer.echo(f"wrote {path}")


def draw_map(
    model: GenerativeModel,
    references: Sequence[dict[str, Any]],
    results: Sequence[DesignResult],
    nearest: Nearest,
    path: Path,
) -> None:
    """Draw the decoded targets, and where the crystals found for them are encoded to."""
    from crysearch.plotting import plot_design_map

    shown = [
        (number, result)
        for number, result in enumerate(results, start=1)
        if result.target.latent is not None
    ]
    found = [(row, crystal) for row, (_, result) in enumerate(shown) for crystal in result.crystals]
    points = np.empty((0, model.latent_dimension))
    if found:
        fingerprints = np.stack([crystal.fingerprint for _, crystal in found])
        # Energies of crystals that are not relaxed are not known: what was asked for stands in.
        told = [shown[row][1].target.condition for row, _ in found]
        conditions = None if None in told else np.array(told, dtype=np.float64)[:, None]
        # Peaks higher than in any known structure lie outside of what the model can take.
        points = model.locate(fingerprints, conditions=conditions, above_maximum="clip")
    plot_design_map(
        references,
        np.array([result.target.latent for _, result in shown]),
        [str(number) for number, _ in shown],
        points,
        np.array([row for row, _ in found], dtype=int),
        np.array([nearest(crystal.fingerprint)[1] for _, crystal in found]),
        path=path,
    )
    typer.echo(f"wrote {path}")
