"""The frames of molecular dynamics with what the reference method says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from ase.units import GPa

from crysearch.datasets.frames import LabelledFrames
from crysearch.dynamics import Trajectory
from crysearch.dynamics_spec import DynamicsSpec
from crysearch.errors import DatasetError
from crysearch.records import RecordStore, dynamics
from crysearch.records.selection import selection_study_id
from crysearch.selection_spec import SelectionStudySpec
from crysearch.workflows.context import make_engine
from crysearch.workflows.dynamics.starting import settle, with_whole_ids
from crysearch.workflows.progress import progress_bar

POOL, TEST = "pool", "test"


def frames_blob(study: str, part: str) -> str:
    """The id of the blob of the frames of a study: `POOL` or `TEST`."""
    return f"selection-{selection_study_id(study)}-{part}"


def read_frames(records: RecordStore, study: str, part: str) -> LabelledFrames:
    """The labelled frames of a study.

    Raises
    ------
    DatasetError
        They are not in the records.
    """
    data = records.find_blob(frames_blob(study, part))
    if data is None:
        raise DatasetError(
            f"the frames ({part}) of study {study} are not in the records: run the study again"
        )
    return LabelledFrames.from_bytes(data)


def label_pool(records: RecordStore, study: SelectionStudySpec) -> dict[str, Any]:
    """Calculate all frames of the pool, and those of the test, with the reference method.

    Frames that it cannot calculate are left out and counted.

    Returns
    -------
    dict
        For the document of the study, by `POOL` and `TEST`.

    Raises
    ------
    DatasetError
        There are too few frames to learn from or to test on.
    """
    found: dict[str, Any] = {}
    for part, spec, most in ((POOL, study.pool, None), (TEST, study.test, study.test_frames)):
        runs = _runs(records, spec)
        frames, failed = _labelled(spec, part, [run for _, run in runs], most)
        largest = max(model.sizes[-1] for model in study.models) if part == POOL else 1
        if len(frames) < largest:
            raise DatasetError(
                f"{part}: {len(frames)} frames, {largest} needed ({sum(failed.values())} could not "
                f"be calculated; runs: {_endings(runs)}) — give more pool.steps, or smaller sizes"
            )
        records.put_blob(
            frames_blob(study.identifier, part), frames.to_bytes(), {"study": study.identifier}
        )
        found[part] = {
            "dynamics": _identifier(records, spec),
            "frames": len(frames),
            "failed": dict(failed),
            "atoms": len(frames.numbers),
            "atomic_energies": frames.atomic_energies is not None,
            "runs": [
                {
                    "temperature": document["target_temperature"],
                    "pressure": document["target_pressure"],
                    "status": document["status"],
                    "frames": int((frames.state_points == place).sum()),
                }
                for place, (document, _) in enumerate(runs)
            ],
        }
    records.update("selection_studies", {selection_study_id(study.identifier): found})
    return {part: facts["frames"] for part, facts in found.items()}


def _identifier(records: RecordStore, spec: DynamicsSpec) -> str:
    return settle(with_whole_ids(records, spec)).identifier


def _runs(records: RecordStore, spec: DynamicsSpec) -> list[tuple[dict[str, Any], Trajectory]]:
    """The runs in the order of the specification's state points."""
    identifier = _identifier(records, spec)
    runs = []
    for point in spec.state_points:
        document = records.get("trajectories", dynamics.trajectory_id(identifier, *point))
        assert document is not None, "the dynamics come first"
        runs.append((document, Trajectory.from_bytes(dynamics.trajectory_bytes(records, document))))
    return runs


def _endings(runs: Sequence[tuple[dict[str, Any], Trajectory]]) -> str:
    counts = Counter(document["status"] for document, _ in runs)
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _labelled(
    spec: DynamicsSpec, title: str, runs: Sequence[Trajectory], most: int | None
) -> tuple[LabelledFrames, Counter[str]]:
    engine = make_engine(spec.engine.rpartition(":")[2], dict(spec.options))
    wanted = list(_places(runs, most))
    structures = [runs[run].frame(index) for run, index in wanted]
    with progress_bar(f"Labelling, {title}", len(wanted), "frames") as bar:
        results = engine.single_point(structures, bar.update)
    failed = Counter(str(result.failure) for result in results if result.evaluation is None)
    kept = [
        (run, structure, result.evaluation)
        for (run, _), structure, result in zip(wanted, structures, results, strict=True)
        if result.evaluation is not None
    ]
    numbers, atoms = np.asarray(runs[0].numbers), len(runs[0].numbers)
    atomic = [evaluation.atomic_energies for _, _, evaluation in kept]
    known = [energies for energies in atomic if energies is not None]
    whole = bool(known) and len(known) == len(kept)
    found = LabelledFrames(
        numbers=numbers,
        cells=np.array([s.lattice.matrix for _, s, _ in kept]).reshape(-1, 3, 3),
        positions=np.array([s.cart_coords for _, s, _ in kept]).reshape(-1, atoms, 3),
        energies=np.array([evaluation.energy for _, _, evaluation in kept]),
        forces=np.array([evaluation.forces for _, _, evaluation in kept]).reshape(-1, atoms, 3),
        stresses=np.array([evaluation.stress * GPa for _, _, evaluation in kept]).reshape(-1, 3, 3),
        state_points=np.array([run for run, _, _ in kept], dtype=np.int64),
        atomic_energies=np.array(known) if whole else None,
    )
    return found, failed


def _places(runs: Sequence[Trajectory], most: int | None) -> Iterator[tuple[int, int]]:
    """Run and frame of each frame, or of the ``most`` spread evenly over all runs."""
    every = [(run, index) for run, found in enumerate(runs) for index in range(len(found))]
    if most is None or most >= len(every):
        yield from every
        return
    # The middles of equal parts, so that no run is favoured by its end.
    for place in range(most):
        yield every[int((place + 0.5) * len(every) / most)]
