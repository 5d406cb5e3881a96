"""Trajectories out of the records: as objects, as files, and as labelled configurations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from crysearch.datasets import LabelledStructure, write_extxyz
from crysearch.dynamics import Trajectory
from crysearch.errors import DynamicsError
from crysearch.records import RecordStore, dynamics
from crysearch.workflows.context import make_engine
from crysearch.workflows.progress import progress_bar


@dataclass(frozen=True)
class Labelled:
    """What became of labelling frames.

    Attributes
    ----------
    written
        Frames in the file.
    failed
        How many the engine could not calculate, by the reason.
    method
        The reference method in one line, for `crysearch data import --method`.
    """

    written: int
    failed: dict[str, int] = field(default_factory=dict)
    method: str = ""


def read_trajectory(records: RecordStore, which: str) -> tuple[dict[str, Any], Trajectory]:
    """A run and its document.

    Parameters
    ----------
    which
        See `crysearch.records.dynamics.resolve_trajectories`; it must mean one run.

    Raises
    ------
    RecordsError
        There is none, or its frames are gone.
    DynamicsError
        Several are meant.
    """
    found = dynamics.resolve_trajectories(records, which)
    if len(found) > 1:
        options = ", ".join(f"{one['_id'][:10]} ({_place(one)})" for one in found)
        raise DynamicsError(f"{which!r} has several runs: give the id of one of {options}")
    return found[0], Trajectory.from_bytes(dynamics.trajectory_bytes(records, found[0]))


def export_trajectory(
    records: RecordStore, which: str, path: Path, *, overwrite: bool = False
) -> tuple[dict[str, Any], int]:
    """Write a run as a file; its ending says the format (``.extxyz``, ``.traj``).

    Returns
    -------
    dict
        The document of the run.
    int
        Frames written.

    Raises
    ------
    DynamicsError
        The file exists or cannot be written, or the run has no frames.
    RecordsError
        There is no such run.
    """
    _free(path, overwrite)
    document, run = read_trajectory(records, which)
    if not len(run):
        raise DynamicsError(f"trajectory {document['_id']} has no frames: it failed at its start")
    run.write(path)
    return document, len(run)


def label_frames(
    records: RecordStore,
    which: Sequence[str],
    path: Path,
    *,
    engine: str,
    options: Mapping[str, Any] | None = None,
    frames: int = 50,
    overwrite: bool = False,
) -> Labelled:
    """Calculate frames of runs with an engine, and write them for `crysearch data import`.

    Parameters
    ----------
    which
        See `crysearch.records.dynamics.resolve_trajectories`.
    path
        Extended XYZ. Each frame has energy, forces and stress of the engine, and as metadata its
        ``trajectory`` (the groups that stay in one split), ``step`` and ``temperature``.
    engine, options
        The reference method.
    frames
        Of each run, spread evenly.

    Raises
    ------
    DynamicsError
        The file exists, or no frame could be calculated.
    CrysearchError
        There is no such run, or the engine cannot work.
    """
    _free(path, overwrite)
    if frames < 1:
        raise DynamicsError(f"frames={frames} must be at least 1")
    runs = {
        one["_id"]: one for each in which for one in dynamics.resolve_trajectories(records, each)
    }
    relaxer = make_engine(engine, options or {})
    structures, facts = [], []
    for identifier, document in runs.items():
        run = Trajectory.from_bytes(dynamics.trajectory_bytes(records, document))
        for index in run.thinned(frames):
            structures.append(run.frame(int(index)))
            facts.append(
                {
                    "trajectory": identifier,
                    "step": int(run.steps[index]),
                    "temperature": float(run.temperatures[index]),
                }
            )
    with progress_bar(f"Single points, {engine}", len(structures), "frames") as bar:
        results = relaxer.single_point(structures, bar.update)
    labelled: list[LabelledStructure] = []
    failed: Counter[str] = Counter()
    for structure, result, known in zip(structures, results, facts, strict=True):
        found = result.evaluation
        if found is None:
            failed[str(result.failure)] += 1
            continue
        labelled.append(
            LabelledStructure.from_structure(
                structure,
                energy=found.energy,
                forces=found.forces,
                stress=full_3x3_to_voigt_6_stress(found.stress * GPa),
                metadata=known,
            )
        )
    if not labelled:
        reasons = ", ".join(f"{reason} {count}" for reason, count in failed.items())
        raise DynamicsError(
            f"engine {engine!r} could calculate none of {len(structures)} frames "
            f"({reasons or 'the runs have no frames'}); choose another engine"
        )
    method = f"{engine} {json.dumps(dict(options), sort_keys=True)}" if options else engine
    return Labelled(write_extxyz(path, labelled), dict(failed), method)


def _free(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise DynamicsError(f"{path} exists already: give --overwrite or another name")


def _place(document: Mapping[str, Any]) -> str:
    pressure = document["target_pressure"]
    at = "" if pressure is None else f", {pressure:g} GPa"
    return f"{document['target_temperature']:g} K{at}"
