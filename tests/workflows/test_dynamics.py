"""Molecular dynamics from the specification to records, files and a data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import ase.io
import pytest
from jobflow.managers.fireworks import flow_to_workflow
from pymatgen.core import Lattice, Structure

from crysearch.dynamics.ase_propagator import AsePropagator
from crysearch.dynamics_spec import DynamicsSpec, StartSpec
from crysearch.errors import DynamicsError, RecordsError, SpecError
from crysearch.records import RecordStore, datasets, dynamics, open_records
from crysearch.records.values import structure_from_document
from crysearch.relaxation import create_relaxer
from crysearch.relaxation.ase_calculator import AseRelaxer
from crysearch.workflows import dynamics as workflow
from crysearch.workflows.datasets import import_files
from crysearch.workflows.dynamics import running, starting

COPPER = {
    "structure": {"formula": "Cu", "prototype": "fcc", "lattice_constant": 3.6},
    "engine": "emt",
    "ensemble": "npt",
    "temperatures": [200.0, 400.0],
    "pressures": [0.0, 3.0],
    "steps": 40,
    "equilibration_steps": 10,
    "timestep": 4.0,
    "sample_every": 4,
    "frames": 3,
    "seed": 7,
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "records"


def everything(records: RecordStore) -> dict[str, list[dict]]:
    """All documents without what may differ from run to run."""
    return {
        name: [
            {key: value for key, value in one.items() if key not in ("created_at", "seconds")}
            for one in records.find(name, {}, None, [("_id", 1)])
        ]
        for name in ("trajectories", "frames")
    }


def test_runs_their_frames_and_the_summary(place: Path) -> None:
    spec = DynamicsSpec.build(COPPER)
    done = workflow.run_dynamics(spec)
    assert (done["runs"], done["finished"], done["exploded"]) == (4, 4, 0)
    with open_records(place) as records:
        found = dynamics.resolve_dynamics(records, done["dynamics"][:8])
        assert found["status"] == "complete" and found["engine"] == "ase:emt"
        assert found["formula"] == "Cu4" and len(found["summary"]) == 4
        points = [
            (row["target_temperature"], row["target_pressure"])
            for row in workflow.summary_of(records, found["_id"])
        ]
        assert points == [(200, 0), (200, 3), (400, 0), (400, 3)]
        document, run = workflow.read_trajectory(
            records, dynamics.trajectory_id(found["_id"], 400, 3)
        )
        assert document["provenance"]["engine"] == "emt"
        assert document["provenance"]["parents"] == [found["_id"]]
        # The same as the propagator by itself, to the last bit.
        settings = spec.settings(400.0, 3.0)
        alone = AsePropagator(create_relaxer("emt")).run(structure_from_document(found), settings)
        assert alone.to_bytes() == run.to_bytes()
        assert document["temperature"]["mean"] == pytest.approx(run.temperatures.mean())
        assert document["mean_volume_per_atom"]["mean"] == pytest.approx(run.volumes.mean() / 4)
        assert document["frames"] == len(run) == 11 and document["duration"] == pytest.approx(0.16)
        frames = records.find("frames", {"trajectory": document["_id"]}, sort=[("index", 1)])
        assert [frame["index"] for frame in frames] == [0, 5, 10]
        for frame in frames:
            index = frame["index"]
            assert frame["temperature"] == pytest.approx(run.temperatures[index])
            assert frame["volume"] == pytest.approx(run.volumes[index], rel=1e-6)
            assert frame["density"] == pytest.approx(run.densities[index], rel=1e-4)
            assert structure_from_document(frame).matches(run.frame(index))
        # A second call does nothing, and further state points join the same document.
        before = everything(records)
        created = {one["created_at"] for one in records.find("trajectories")}
        assert workflow.run_dynamics(spec) == done
        assert created == {one["created_at"] for one in records.find("trajectories")}
        more = spec.with_changes({"temperatures": [300.0], "pressures": [0.0]})
        assert workflow.run_dynamics(more)["runs"] == 5
        assert len(records.find("dynamics")) == 1
        kept = everything(records)
        assert [
            one for one in kept["frames"] if one["_id"] in {b["_id"] for b in before["frames"]}
        ] == (before["frames"])


def test_energy_drift_is_of_nve_alone(place: Path) -> None:
    nve = DynamicsSpec.build(
        COPPER | {"ensemble": "nve", "pressures": [0.0], "temperatures": [300.0], "steps": 100}
    )
    workflow.run_dynamics(nve)
    with open_records(place) as records:
        [row] = records.find("trajectories")
        assert abs(row["energy_drift"]) < 1e-3 and row["target_pressure"] is None
        strict = nve.with_changes({"maximum_energy_drift": abs(row["energy_drift"]) / 2})
        loose = nve.with_changes({"maximum_energy_drift": abs(row["energy_drift"]) * 2})
        for spec, conserved in ((strict, False), (loose, True)):
            identifier = workflow.run_dynamics(spec)["dynamics"]
            [again] = workflow.summary_of(records, identifier)
            assert again["energy_drift"] == row["energy_drift"]
            assert again["energy_conserved"] is conserved


class Broken(AseRelaxer):
    """Fails once some evaluations are made."""

    left = 30

    def evaluate(self, batch):
        Broken.left -= 1
        if Broken.left < 0:
            raise RuntimeError("no more")
        return super().evaluate(batch)


def test_a_failed_run_is_recorded_and_run_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ase.calculators.emt import EMT

    spec = DynamicsSpec.build(COPPER | {"pressures": [0.0]})
    with monkeypatch.context() as patch:
        engine = AsePropagator(Broken("emt", EMT, {"package": "ase"}))
        patch.setattr(running, "make_propagator", lambda *_: engine)
        done = workflow.run_dynamics(spec)
    assert (done["runs"], done["finished"], done["exploded"]) == (2, 0, 0)
    with open_records(place) as records:
        first, second = dynamics.trajectories_of(records, done["dynamics"])
        assert (first["status"], first["failure"]) == ("failed", "engine_error")
        assert first["failure_detail"] == "RuntimeError: no more"
        assert first["frames"] > 0 and second["frames"] == 0 and second["temperature"] is None
        with pytest.raises(DynamicsError, match="has no frames"):
            workflow.export_trajectory(records, second["_id"], Path("none.extxyz"))
    done = workflow.run_dynamics(spec)
    assert done["finished"] == 2
    with open_records(place) as records:
        assert records.count("trajectories") == 2
        counts = Counter(frame["trajectory"] for frame in records.find("frames"))
        assert set(counts.values()) == {3}


def test_an_explosion_is_a_result(place: Path) -> None:
    spec = DynamicsSpec.build(
        COPPER
        | {"temperatures": [300.0], "pressures": [-60.0], "maximum_volume_ratio": 1.2}
        | {"steps": 4000, "equilibration_steps": 0}
    )
    done = workflow.run_dynamics(spec)
    assert done["exploded"] == 1
    with open_records(place) as records:
        [row] = records.find("trajectories")
        assert row["failure"] == "volume" and "maximum_volume_ratio=1.2" in row["failure_detail"]
        created = row["created_at"]
        workflow.run_dynamics(spec)
        assert records.find("trajectories")[0]["created_at"] == created


def test_an_interrupted_run_begins_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DynamicsSpec.build(COPPER | {"pressures": [0.0]})
    calls = []

    class Interrupted(AsePropagator):
        def run(self, *arguments, **named):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return super().run(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(running, "make_propagator", lambda *_: Interrupted(create_relaxer("emt")))
        with pytest.raises(KeyboardInterrupt):
            workflow.run_dynamics(spec)
    with open_records(place) as records:
        [found] = records.find("dynamics")
        assert found["status"] == "interrupted"
        [first] = records.find("trajectories")
        workflow.run_dynamics(spec)
        assert records.find("dynamics")[0]["status"] == "complete"
        again = records.get("trajectories", first["_id"])
        assert again == first and records.count("trajectories") == 2


def test_flow_has_a_job_for_each_run(place: Path) -> None:
    flow = workflow.DynamicsMaker().make(DynamicsSpec.build(COPPER))
    names = [job.name for job, _ in flow.iterflow()]
    assert names[-1] == "summary" and len(names) == 5
    assert names[0] == "dynamics, 200 K, 0 GPa"
    jobs = flow_to_workflow(flow).fws
    assert {fw.spec["_category"] for fw in jobs} == {"crysearch-batched", "crysearch-cpu"}
    # The result does not depend on the order in which workers take the jobs.
    for job, _ in reversed(list(flow.iterflow())):
        job.function(*job.function_args, **{**job.function_kwargs, **_without_references(job)})
    with open_records(place) as records:
        reversed_order = everything(records)
        records.delete("trajectories", {})
        records.delete("frames", {})
    workflow.run_dynamics(DynamicsSpec.build(COPPER))
    with open_records(place) as records:
        assert everything(records) == reversed_order


def _without_references(job) -> dict:
    return {"after": None} if "after" in job.function_kwargs else {}


def test_structures_to_begin_with(place: Path) -> None:
    diamond = workflow.start_structure(StartSpec(reference="mp-149", repetitions=(2, 1, 1)))
    assert diamond.composition.formula == "Si16"
    small = workflow.start_structure(StartSpec(reference="mp-149", conventional=False))
    assert small.composition.formula == "Si2"
    salt = workflow.start_structure(
        StartSpec(formula="NaCl", prototype="rocksalt", lattice_constant=5.64)
    )
    assert salt.composition.formula == "Na4 Cl4"
    assert salt.get_distance(0, 1) == pytest.approx(2.82)
    # The cell of a file is not made smaller.
    large = Structure(Lattice.cubic(3), ["Cu"], [[0, 0, 0]]) * (2, 2, 2)
    large.to(filename=str(place.parent / "POSCAR"))
    copper = workflow.start_structure(StartSpec(file="POSCAR", repetitions=(2, 1, 1)))
    assert copper.composition.formula == "Cu16"
    (place.parent / "bad.cif").write_text("nothing", encoding="utf-8")
    for wrong, words in (
        ({"reference": "mp-0"}, "'mp-0' — not among the bundled structures"),
        ({"file": "none.cif"}, "no such file"),
        ({"file": "bad.cif"}, "cannot be read"),
        ({"formula": "Xx", "prototype": "fcc", "lattice_constant": 4.0}, "'Xx' with prototype"),
    ):
        with pytest.raises(SpecError, match=words):
            workflow.start_structure(StartSpec(**wrong))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": "magic"}, "engine: 'magic' — choose one of"),
        ({"engine": "gromacs:emt"}, "engine: 'gromacs:emt' — write ase:emt"),
        ({"engine": "lammps:emt"}, "engine: 'lammps:emt' — LAMMPS has"),
        ({"engine": "stillinger-weber"}, "'stillinger-weber' does not know Cu"),
        ({"options": {"speed": 1}}, "options.speed: 1 — 'emt' takes no options"),
        ({"structure.conventional": False}, "one atom; repeat the cell"),
        ({"engine": "self-trained"}, "options.potential: missing"),
    ],
)
def test_what_cannot_work_is_said_before(place: Path, changes, words) -> None:
    spec = DynamicsSpec.build(COPPER).with_changes(changes)
    with pytest.raises(SpecError) as error:
        workflow.run_dynamics(spec)
    assert words in str(error.value)
    with open_records(place) as records:
        assert not records.count("dynamics")


def test_files_and_a_data_set(place: Path) -> None:
    spec = DynamicsSpec.build(COPPER | {"pressures": [0.0], "name": "copper"})
    identifier = workflow.run_dynamics(spec)["dynamics"]
    with open_records(place) as records:
        with pytest.raises(DynamicsError, match="'copper' has several runs"):
            workflow.read_trajectory(records, "copper")
        with pytest.raises(RecordsError, match="No molecular dynamics has the name 'zinc'"):
            workflow.read_trajectory(records, "zinc")
        run = dynamics.trajectories_of(records, identifier)[0]["_id"]
        _, count = workflow.export_trajectory(records, run[:10], Path("run.extxyz"))
        assert count == len(ase.io.read("run.extxyz", ":")) == 11
        with pytest.raises(DynamicsError, match="exists already"):
            workflow.export_trajectory(records, run, Path("run.extxyz"))
        done = workflow.label_frames(
            records, ["copper", run], Path("all.extxyz"), engine="emt", frames=4
        )
        assert (done.written, done.failed, done.method) == (8, {}, "emt")
        imported = import_files(
            records,
            [Path("all.extxyz")],
            name="copper",
            method=done.method,
            group_key="trajectory",
            fractions=[0.5, 0.5, 0.0],
        )
        assert imported.dataset["counts"]["configurations"] == 8
        assert imported.dataset["counts"]["with_stress"] == 8
        by_run: dict[str, set] = {}
        for one in datasets.configurations(records, imported.dataset["_id"]):
            by_run.setdefault(one["group"], set()).add(one["split"])
            assert one["metadata"]["temperature"] > 0
        assert len(by_run) == 2 and all(len(splits) == 1 for splits in by_run.values())
        # The label of a frame is that of its structure.
        document, trajectory = workflow.read_trajectory(records, run)
        frames = ase.io.read("all.extxyz", ":")
        last = next(f for f in reversed(frames) if f.info["trajectory"] == run)
        assert last.get_potential_energy() == pytest.approx(
            trajectory.potential_energies[-1], abs=1e-6
        )
        with pytest.raises(DynamicsError, match="could calculate none of 2 frames"):
            workflow.label_frames(
                records, [run], Path("no.extxyz"), engine="stillinger-weber", frames=2
            )
        records.delete_blob(document["blob_id"])
        with pytest.raises(RecordsError, match="are gone"):
            workflow.read_trajectory(records, run)


def test_the_engine_names_its_integrators(place: Path) -> None:
    asked = starting.settle(DynamicsSpec.build(COPPER))
    assert asked.spec.engine == "ase:emt"
    assert starting.settle(DynamicsSpec.build(COPPER | {"engine": "ase:emt"})) == asked
    renamed = DynamicsSpec.build(COPPER | {"name": "other", "temperatures": [1.0]})
    assert starting.settle(renamed).identifier == asked.identifier
    longer = DynamicsSpec.build(COPPER | {"steps": 44})
    assert starting.settle(longer).identifier != asked.identifier
    assert isinstance(starting.make_propagator("ase:emt", {}), AsePropagator)
    silicon = DynamicsSpec.build({"engine": "stillinger-weber"})
    assert starting.settle(silicon).spec.engine == "lammps:stillinger-weber"
    assert starting.make_propagator("lammps:stillinger-weber", {}).name.startswith("lammps")


@pytest.mark.slow
def test_a_potential_trained_here_moves_atoms(place: Path) -> None:
    from crysearch.workflows.potentials import potential_spec, train_on_dataset
    from small_potential import QUICK, silicon_dataset

    with open_records(place) as records:
        silicon_dataset(records, place.parent)
        potential = train_on_dataset(records, "silicon", potential_spec(QUICK), 1)["_id"]
    spec = DynamicsSpec.build(
        {
            "structure": {"reference": "mp-149"},
            "engine": "self-trained",
            "options": {"potential": potential[:8]},
            "temperatures": [100.0],
            "steps": 20,
            "equilibration_steps": 0,
        }
    )
    identifier = workflow.run_dynamics(spec)["dynamics"]
    whole = spec.with_changes({"options.potential": potential})
    with open_records(place) as records:
        found = dynamics.resolve_dynamics(records, identifier)
        assert found["spec"]["options"] == {"potential": potential}
        [run] = dynamics.trajectories_of(records, identifier)
        assert run["status"] == "finished" and run["provenance"]["potential"] == potential
        assert workflow.run_dynamics(whole)["dynamics"] == identifier
        unknown = spec.with_changes({"structure.reference": "mp-1143"})
        with pytest.raises(SpecError, match=r"options\.potential: .* was not trained on"):
            workflow.run_dynamics(unknown)


def test_a_run_goes_on_from_the_last_frame_of_another(place: Path) -> None:
    verlet = {**COPPER, "ensemble": "nve", "temperatures": [300.0], "pressures": [0.0]}
    spec = DynamicsSpec.build(
        {**verlet, "structure": {**COPPER["structure"], "repetitions": [2, 1, 1]}}
    )
    with open_records(place) as records:
        ids = []
        for asked in (spec, spec.with_changes({"steps": 80})):
            done = workflow.run_dynamics(asked)
            ids.append(dynamics.trajectories_of(records, done["dynamics"])[0]["_id"])
        change = {"structure.run": ids[0][:8], "equilibration_steps": 0}
        done = workflow.run_dynamics(spec.with_changes(change))
        _, further = workflow.read_trajectory(records, done["dynamics"])
        _, whole = workflow.read_trajectory(records, ids[1])
        document = records.get("dynamics", done["dynamics"])
        assert document["spec"]["structure"]["run"] == ids[0]
        assert document["provenance"]["parents"] == [ids[0]]
    for name in ("potential_energies", "total_energies", "temperatures"):
        assert getattr(further, name) == pytest.approx(getattr(whole, name)[10:], abs=1e-9)
    with pytest.raises(SpecError, match="repetitions"):
        spec.with_changes({"structure.run": "a", "structure.repetitions": [2, 1, 1]})
    with pytest.raises(RecordsError, match="No molecular dynamics has the name 'zz'"):
        workflow.run_dynamics(spec.with_changes({"structure.run": "zz"}))
