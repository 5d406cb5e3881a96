"""Protocols of molecular dynamics: stages that go on from each other, branches, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow.managers.fireworks import flow_to_workflow

from crysearch.dynamics.ase_propagator import AsePropagator
from crysearch.dynamics_spec import StartSpec
from crysearch.errors import SpecError
from crysearch.protocol_spec import ProtocolSpec
from crysearch.records import RecordStore, dynamics, open_records, protocols
from crysearch.records.values import structure_from_document
from crysearch.relaxation import create_relaxer
from crysearch.relaxation.ase_calculator import AseRelaxer
from crysearch.workflows import dynamics as workflow
from crysearch.workflows.dynamics import running

COPPER = {
    "name": "copper",
    "structure": {"formula": "Cu", "prototype": "fcc", "lattice_constant": 3.6},
    "engine": "emt",
    "timestep": 4.0,
    "sample_every": 4,
    "frames": 2,
    "seed": 7,
    "compare_with": "cold",
    "stages": [
        {"name": "cold", "ensemble": "npt", "temperature": 100, "steps": 16},
        {"name": "heating", "temperature": 100, "final_temperature": 600, "steps": 8},
        {"name": "hot", "temperature": 600, "steps": 8, "volume": "mean"},
        {"name": "sampled", "after": "cold", "temperature": 100, "steps": 8, "volume": "mean"},
        {"name": "dense", "after": "start", "temperature": 100, "steps": 8, "density": 9.5},
    ],
}
SPEC = ProtocolSpec.build(COPPER)
DIFFER = ("created_at", "seconds")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "records"


def everything(records: RecordStore) -> dict[str, list[dict[str, Any]]]:
    """All documents without what may differ from run to run."""
    return {
        name: [_same(one) for one in records.find(name, {}, None, [("_id", 1)])]
        for name in ("protocols", "dynamics", "trajectories", "frames")
    }


def _same(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _same(item) for key, item in value.items() if key not in DIFFER}
    return [_same(item) for item in value] if isinstance(value, list) else value


def test_each_stage_goes_on_from_another(place: Path) -> None:
    done = workflow.run_protocol(SPEC)
    assert (done["stages"], done["finished"], done["not run"]) == (5, 5, 0)
    with open_records(place) as records:
        found = protocols.resolve_protocol(records, "copper")
        assert found["_id"] == done["protocol"] and found["status"] == "complete"
        assert found["engine"] == "ase:emt" and found["formula"] == "Cu4"
        runs = {}
        for row in found["stages"]:
            document, run = workflow.read_trajectory(records, f"copper/{row['name']}")
            assert (document["_id"], document["dynamics"]) == (row["trajectory"], row["dynamics"])
            assert row["mean_density"] == document["mean_density"] and row["frames"] == len(run)
            asked = records.get("dynamics", row["dynamics"])
            assert asked is not None and asked["status"] == "complete"
            before = None if row["after"] is None else found_stage(found, row["after"])
            parents = [] if before is None else [before["trajectory"]]
            assert asked["provenance"]["parents"] == parents
            runs[row["name"]] = run
            # The same as the propagator by itself, to the last bit, velocities included.
            spec = SPEC.dynamics(row["name"], before and before["trajectory"])
            structure = structure_from_document(document)
            velocities = None if before is None else runs[row["after"]].velocities_of_last
            alone = AsePropagator(create_relaxer("emt")).run(
                structure, spec.settings(*spec.state_points[0]), velocities
            )
            assert alone.to_bytes() == run.to_bytes()
        assert runs["heating"].volumes[0] == pytest.approx(runs["cold"].volumes[-1])
        assert runs["hot"].volumes[0] == pytest.approx(runs["heating"].volumes.mean())
        assert runs["sampled"].volumes[0] == pytest.approx(runs["cold"].volumes.mean())
        assert runs["sampled"].volumes[0] != pytest.approx(runs["cold"].volumes[-1], rel=1e-6)
        assert runs["dense"].densities[0] == pytest.approx(9.5, rel=1e-3)
        last, first = runs["cold"].frame(-1), runs["sampled"].frame(0)
        away = last.frac_coords - first.frac_coords
        assert np.abs(away - np.round(away)).max() < 1e-6
        # A second call does nothing.
        before_again = everything(records)
        times = [one["created_at"] for one in records.find("trajectories", sort=[("_id", 1)])]
        assert workflow.run_protocol(SPEC.with_changes({"name": "again"})) == done
        assert records.count("protocols") == 1
        renamed = protocols.resolve_protocol(records, "again")
        assert (renamed["_id"], renamed["spec"]["name"]) == (done["protocol"], "again")
        after = everything(records)
        assert after["trajectories"] == before_again["trajectories"]
        assert times == [o["created_at"] for o in records.find("trajectories", sort=[("_id", 1)])]
        # Another end shares what comes before it.
        workflow.run_protocol(SPEC.with_changes({"stages.hot.steps": 12}))
        assert records.count("protocols") == 2 and records.count("trajectories") == 6


def found_stage(protocol: dict[str, Any], name: str) -> dict[str, Any]:
    [row] = [row for row in protocol["stages"] if row["name"] == name]
    return dict(row)


def test_an_explosion_ends_its_branch_alone(place: Path) -> None:
    wild = {"name": "wild", "temperature": 900, "steps": 200}
    stages = [wild, {"name": "after", "steps": 4}, {"name": "last", "steps": 4}]
    calm = {"name": "calm", "after": "start", "temperature": 50, "steps": 4}
    spec = ProtocolSpec.build(
        COPPER | {"compare_with": None, "maximum_temperature": 1000, "stages": [*stages, calm]}
    )
    done = workflow.run_protocol(spec)
    assert (done["exploded"], done["not run"], done["finished"]) == (1, 2, 1)
    with open_records(place) as records:
        [found] = records.find("protocols")
        assert found["status"] == "incomplete"
        rows = found["stages"]
        assert [row["status"] for row in rows] == ["exploded", "not run", "not run", "finished"]
        assert rows[0]["failure"] == "temperature"
        for row in rows[1:3]:
            assert row["failure_detail"].startswith("wild exploded: the temperature rose")
            assert row["trajectory"] is None
        assert records.count("trajectories") == 2
    assert workflow.run_protocol(spec) == done
    assert workflow.submit_protocol(spec).state == "complete"


class Broken(AseRelaxer):
    """Fails once some evaluations are made."""

    left = 15

    def evaluate(self, batch):
        Broken.left -= 1
        if Broken.left < 0:
            raise RuntimeError("no more")
        return super().evaluate(batch)


def test_failed_and_interrupted_stages_are_run_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ase.calculators.emt import EMT

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
            workflow.run_protocol(SPEC)
    with open_records(place) as records:
        [found] = records.find("protocols")
        assert found["status"] == "interrupted"
        assert [row["status"] for row in found["stages"]] == ["finished", *["waiting"] * 4]
        first = records.get("trajectories", found["stages"][0]["trajectory"])
        with monkeypatch.context() as patch:
            engine = AsePropagator(Broken("emt", EMT, {"package": "ase"}))
            patch.setattr(running, "make_propagator", lambda *_: engine)
            done = workflow.run_protocol(SPEC)
        # The first stage was done before; all that still had an engine to wait for has failed.
        assert done["finished"] >= 1 and done["failed"] >= 1
        assert done["finished"] + done["failed"] + done["not run"] == 5
        [found] = records.find("protocols")
        assert found["status"] == "incomplete"
        failed = [row for row in found["stages"] if row["status"] == "failed"]
        assert {row["failure_detail"] for row in failed} == {"RuntimeError: no more"}
        assert workflow.run_protocol(SPEC)["finished"] == 5
        [found] = records.find("protocols")
        assert found["status"] == "complete" and found["stages"][0]["trajectory"] == first["_id"]
        assert records.get("trajectories", first["_id"]) == first


def test_an_engine_that_cannot_be_made_fails_its_stage(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crysearch.errors import DynamicsError

    def none(*_: Any) -> None:
        raise DynamicsError("engine: not on this machine")

    with monkeypatch.context() as patch:
        patch.setattr(running, "make_propagator", none)
        done = workflow.run_protocol(SPEC)
    assert (done["finished"], done["failed"], done["not run"]) == (0, 2, 3)
    with open_records(place) as records:
        [found] = records.find("protocols")
        hot = found_stage(found, "hot")
        assert hot["failure_detail"] == "cold failed: engine: not on this machine"
        with pytest.raises(Exception, match=r"'dense' of protocol .* has no run; it is 'failed'"):
            dynamics.resolve_trajectories(records, "copper")
        # On the launch pad it is tried again.
        assert workflow.submit_protocol(SPEC).state == "added"
        [found] = records.find("protocols")
        assert found["status"] == "submitted"
        assert {row["status"] for row in found["stages"]} == {"waiting"}


def test_flow_has_a_job_for_each_stage_and_order_changes_nothing(place: Path) -> None:
    flow = workflow.ProtocolMaker().make(SPEC)
    jobs = [job for job, _ in flow.iterflow()]
    assert sorted(job.name for job in jobs) == sorted([*(s.name for s in SPEC.stages), "summary"])
    fireworks = flow_to_workflow(flow).fws
    assert {fw.spec["_category"] for fw in fireworks} == {"crysearch-batched", "crysearch-cpu"}
    by_name = {job.name: job for job in jobs}
    for name in ("dense", "cold", "sampled", "heating", "hot", "summary"):
        job = by_name[name]
        job.function(*job.function_args, **{**job.function_kwargs, "after": None})
    with open_records(place) as records:
        other_order = everything(records)
        for name in other_order:
            records.delete(name, {})
    workflow.run_protocol(SPEC)
    with open_records(place) as records:
        assert everything(records) == other_order


def test_what_cannot_work_is_said_before(place: Path) -> None:
    with open_records(place) as records:
        for changes, words in (
            ({"engine": "magic"}, "engine: 'magic' — choose one of"),
            ({"engine": "stillinger-weber"}, "'stillinger-weber' does not know Cu"),
            ({"options": {"speed": 1}}, r"options\.speed: 1 — 'emt' takes no options"),
            ({"structure.file": "none.cif"}, "no such file"),
        ):
            with pytest.raises(SpecError, match=words):
                workflow.run_protocol(SPEC.with_changes(changes))
        assert not records.count("protocols") and not records.count("dynamics")


def test_a_protocol_goes_on_from_a_run(place: Path) -> None:
    workflow.run_protocol(ProtocolSpec.build(COPPER | {"stages": COPPER["stages"][:1]}))
    with open_records(place) as records:
        stages = [{"name": "more", "temperature": 600, "steps": 8}]
        plain = {key: value for key, value in COPPER.items() if key != "compare_with"}
        further = ProtocolSpec.build(
            plain
            | {"name": "further", "stages": stages}
            | {"structure": {"run": "copper/cold", "volume": "mean"}}
        )
        done = workflow.run_protocol(further)
        cold = workflow.read_trajectory(records, "copper/cold")[0]["_id"]
        found = records.get("protocols", done["protocol"])
        structure = found["spec"]["structure"]
        assert (structure["run"], structure["volume"]) == (cold, "mean")
        assert found["provenance"]["parents"] == [cold]
        _, run = workflow.read_trajectory(records, cold)
        assert found["volume"] == pytest.approx(run.volumes.mean())


def test_cells_scaled_to_a_density(place: Path) -> None:
    part = {"formula": "Cu", "prototype": "fcc", "lattice_constant": 3.6, "repetitions": (1, 1, 2)}
    found = workflow.start_structure(StartSpec(**part, density=8.0))
    assert found.density == pytest.approx(8.0) and len(found) == 8
    assert found.lattice.c / found.lattice.a == pytest.approx(2)
    same = workflow.start_structure(StartSpec(**part))
    assert found.frac_coords == pytest.approx(same.frac_coords)
