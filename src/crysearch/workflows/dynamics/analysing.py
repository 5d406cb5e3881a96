"""Structure and motion in runs of molecular dynamics: measured, recorded, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from crysearch.dynamics import Trajectory
from crysearch.dynamics.averages import Mean
from crysearch.dynamics.structural import (
    Bonds,
    PairFeatures,
    Structural,
    as_frames,
    measured_diffusion,
    structural,
)
from crysearch.errors import CrysearchError, DatabaseAbsent, DynamicsError, RecordsError
from crysearch.records import RecordStore, dynamics
from crysearch.records.observables import observables_document
from crysearch.records.values import from_binary_vector, to_binary_vector
from crysearch.workflows.dynamics.starting import bundled_structure

Row = dict[str, Any]


@dataclass(frozen=True)
class Analysed:
    """What was measured.

    Attributes
    ----------
    runs
        Documents of the collection ``observables``, each with a ``label`` for people.
    beside
        The same fields of known structures, as far as they have them.
    skipped
        Runs that could not be measured, by their ids, and why.
    """

    runs: list[Row]
    beside: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def analyse_runs(
    records: RecordStore,
    which: Sequence[str],
    *,
    cutoff: float = 10.0,
    bins: int = 200,
    bond_cutoff: float | None = None,
    beside: Sequence[str] = (),
) -> Analysed:
    """Measure runs and write a document for each.

    Parameters
    ----------
    which
        See `crysearch.records.dynamics.resolve_trajectories`.
    cutoff, bins, bond_cutoff
        See `crysearch.dynamics.structural.structural`.
    beside
        Ids of bundled known structures with commas, such as ``mp-149,mp-165``, to be measured
        together as if they were frames; a name and an equals sign may be before them.

    Raises
    ------
    RecordsError
        There is no such run.
    DynamicsError
        A setting is out of range, known structures are of other elements, or no run could be
        measured.
    SpecError
        A known structure is not bundled.
    """
    found = {
        one["_id"]: one for each in which for one in dynamics.resolve_trajectories(records, each)
    }
    elements = {element for one in found.values() for element in one["elements"]}
    compared = [_known_structures(text, elements, cutoff, bins, bond_cutoff) for text in beside]
    records.ensure_indexes()
    runs: list[Row] = []
    skipped: dict[str, str] = {}
    for identifier, document in found.items():
        try:
            trajectory = Trajectory.from_bytes(dynamics.trajectory_bytes(records, document))
            measured = _measured(document, trajectory, cutoff, bins, bond_cutoff)
        except DatabaseAbsent:
            raise
        except (DynamicsError, RecordsError) as error:
            if len(found) == 1:
                raise
            skipped[identifier] = str(error)
            continue
        records.upsert("observables", [measured])
        runs.append({"label": _label(records, document, list(found.values())), **measured})
    if not runs:
        reasons = "; ".join(f"{name[:10]}: {reason}" for name, reason in skipped.items())
        raise DynamicsError(f"none of {len(found)} runs could be measured ({reasons})")
    return Analysed(runs, compared, skipped)


def draw_observables(found: Analysed, path: Path) -> None:
    """Draw g(r), and of atoms of one element also angles and neighbours.

    Raises
    ------
    AnalysisError
        More than six curves, or an ending that is no figure's.
    """
    from crysearch.plotting import Curve, Network, plot_networks, plot_radial_distributions

    shown = [*found.runs, *found.beside]
    networks = []
    curves = []
    for one in shown:
        for pair in one["pairs"]:
            label = pair["pair"].replace("-", "–")
            label = label if len(shown) == 1 else f"{one['label']}, {label}"
            error = from_binary_vector(pair["error"])
            band = error if error.any() else None
            curves.append(
                Curve(label, from_binary_vector(pair["r"]), from_binary_vector(pair["g"]), band)
            )
        bonds = one["bonds"]
        if len(one["pairs"]) == 1 and bonds is not None:
            angles = from_binary_vector(bonds["degrees"]), from_binary_vector(bonds["angles"])
            radial = Curve(one["label"], curves[-1].x, curves[-1].y)
            shares = {share["neighbours"]: share["share"] for share in bonds["shares"]}
            networks.append(Network(one["label"], radial, Curve(one["label"], *angles), shares))
    if len(networks) == len(shown):
        plot_networks(networks, path)
    else:
        plot_radial_distributions(curves, path)


def _known_structures(
    text: str, elements: set[str], cutoff: float, bins: int, bond_cutoff: float | None
) -> Row:
    name, sign, ids = text.rpartition("=")
    identifiers = [one.strip() for one in ids.split(",") if one.strip()]
    if not identifiers:
        raise DynamicsError(f"beside: {text!r} — give ids such as mp-149,mp-165")
    structures = [bundled_structure(one, "beside", "the id of one of these") for one in identifiers]
    for identifier, structure in zip(identifiers, structures, strict=True):
        own = {site.specie.symbol for site in structure}
        if own != elements:
            raise DynamicsError(
                f"beside: {identifier!r} is made of {', '.join(sorted(own))}, the runs of "
                f"{', '.join(sorted(elements))}; give structures of the same elements"
            )
    trajectory = as_frames(structures)
    known = structural(trajectory, cutoff, bins, bond_cutoff)
    label = name.strip() if sign else ", ".join(identifiers[:2])
    if not sign and len(identifiers) > 2:
        label = f"{identifiers[0]} and {len(identifiers) - 1} more"
    return {
        "label": label,
        "structures": identifiers,
        "formula": structures[0].formula.replace(" ", ""),
        "frames": len(trajectory),
        **_facts(known),
        "diffusion": [],
    }


def _measured(
    document: Mapping[str, Any],
    trajectory: Trajectory,
    cutoff: float,
    bins: int,
    bond_cutoff: float | None,
) -> Row:
    if not len(trajectory):
        raise DynamicsError(
            f"run {document['_id']} has no frames ({document['failure_detail']}); choose another"
        )
    found = structural(trajectory, cutoff, bins, bond_cutoff)
    facts = _facts(found)
    if document["final_temperature"] is not None:
        # A run with a ramp goes through states: its mean has no error.
        facts["mean_density"]["standard_error"] = None
    symbols = dict.fromkeys(chemical_symbols[number] for number in trajectory.numbers)
    return observables_document(
        trajectory=document,
        cutoff=cutoff,
        bins=bins,
        bond_cutoff=bond_cutoff,
        diffusion=[_diffusion(document, trajectory, symbol) for symbol in symbols],
        **facts,
    )


def _facts(found: Structural) -> Row:
    return {
        "mean_density": _average(found.density),
        "pairs": [_pair(one) for one in found.pairs],
        "bonds": None if found.bonds is None else _bonds(found.bonds),
        "bonds_reason": found.bonds_reason,
    }


def _average(mean: Mean) -> Row:
    facts = asdict(mean)
    facts.pop("correlation_time")
    return facts


def _pair(found: PairFeatures) -> Row:
    distribution = found.distribution
    return {
        "pair": "-".join(distribution.pair),
        "r": to_binary_vector(distribution.r),
        "g": to_binary_vector(distribution.g),
        "error": to_binary_vector(distribution.error),
        "peak": found.peak,
        "peak_height": found.height,
        "peak_height_error": found.height_error,
        "minimum": found.minimum,
        "coordination": found.coordination,
        "coordination_error": found.coordination_error,
        "reason": found.reason,
    }


def _bonds(found: Bonds) -> Row:
    angles = found.angles
    none = bool(np.isnan(angles.mean))
    return {
        "cutoff": found.cutoff,
        "mean": found.neighbours.mean,
        "shares": [
            {"neighbours": number, "share": share}
            for number, share in found.neighbours.fractions.items()
        ],
        "angle": None if none else angles.mean,
        "angle_deviation": None if none else angles.standard_deviation,
        "degrees": to_binary_vector(angles.degrees),
        "angles": to_binary_vector(angles.density),
    }


def _diffusion(document: Mapping[str, Any], trajectory: Trajectory, symbol: str) -> Row:
    names = ("coefficient", "error", "first", "last", "times", "squared", "reason")
    row: Row = {"element": symbol, **dict.fromkeys(names)}
    reason = None
    if document["status"] != "finished":
        reason = f"the run {document['status']}"
    elif document["ensemble"] == "npt":
        reason = "npt: the barostat moves the atoms; sample in nvt or nve"
    elif document["final_temperature"] is not None:
        reason = "the temperature changes during the run"
    if reason is not None:
        return {**row, "reason": reason}
    try:
        motion = measured_diffusion(trajectory, symbol)
    except CrysearchError as error:
        return {**row, "reason": str(error)}
    return {
        **row,
        "coefficient": motion.coefficient,
        "error": motion.error,
        "first": float(motion.times[len(motion.times) // 2]),
        "last": float(motion.times[-1]),
        "times": to_binary_vector(motion.times),
        "squared": to_binary_vector(motion.squared),
    }


def _label(records: RecordStore, document: Mapping[str, Any], all_runs: Sequence[Row]) -> str:
    """The name of the molecular dynamics, and what tells its runs apart."""
    found = records.get("dynamics", document["dynamics"])
    name = document["_id"][:10] if found is None else str(found["name"])
    siblings = [one for one in all_runs if one["dynamics"] == document["dynamics"]]
    if len(siblings) < 2:
        return name
    pressure = document["target_pressure"]
    at = "" if pressure is None else f", {pressure:g} GPa"
    return f"{name}, {document['target_temperature']:g} K{at}"
