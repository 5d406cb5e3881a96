"""How molecular dynamics and its runs are found and read."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from crysearch.errors import RecordsError
from crysearch.records import RecordStore, dynamics, protocols

CELL = Structure(Lattice.cubic(3), ["Cu"] * 2, [[0, 0, 0], [0.5] * 3])


def asked(store: RecordStore, name: str, steps: int) -> str:
    document = dynamics.dynamics_document(
        name=name,
        spec={},
        asked={"steps": steps},
        structure=CELL,
        engine="ase:emt",
        ensemble="npt",
        state_points=[[300, 0]],
    )
    store.upsert("dynamics", [document])
    return str(document["_id"])


def run(store: RecordStore, of: str, temperature: float, pressure: float = 0.0) -> str:
    document = dynamics.trajectory_document(
        dynamics=of,
        engine="ase:emt",
        propagator="ase:emt",
        ensemble="npt",
        structure=CELL,
        temperature=temperature,
        pressure=pressure,
        settings={"timestep": 1.0, "steps": 1},
        seed=1,
        status="finished",
        blob=b"frames",
        frames=0,
        duration=0.0,
        seconds=0.0,
    )
    store.put_blob(document["blob_id"], b"frames")
    store.upsert("trajectories", [document])
    return str(document["_id"])


def test_by_name_and_by_the_beginning_of_an_id(store: RecordStore) -> None:
    with pytest.raises(RecordsError, match="There is no molecular dynamics in"):
        dynamics.resolve_dynamics(store, "copper")
    first, second = asked(store, "copper", 1), asked(store, "copper", 2)
    with pytest.raises(RecordsError, match="Several have the name 'copper'"):
        dynamics.resolve_dynamics(store, "copper")
    assert dynamics.resolve_dynamics(store, second[:12])["_id"] == second
    with pytest.raises(RecordsError, match="No molecular dynamics has the name ''"):
        dynamics.resolve_dynamics(store, "")
    with pytest.raises(RecordsError, match="has no run yet"):
        dynamics.resolve_trajectories(store, first)
    hot, cold = run(store, first, 900), run(store, first, 300, 5)
    run(store, second, 300)
    found = dynamics.resolve_trajectories(store, first)
    assert [one["_id"] for one in found] == [cold, hot]
    assert [one["_id"] for one in dynamics.resolve_trajectories(store, hot[:12])] == [hot]


def test_frames_that_are_gone_or_others(store: RecordStore) -> None:
    identifier = run(store, asked(store, "copper", 1), 300)
    [document] = dynamics.resolve_trajectories(store, identifier)
    assert dynamics.trajectory_bytes(store, document) == b"frames"
    store.put_blob(document["blob_id"], b"others")
    with pytest.raises(RecordsError, match="another checksum"):
        dynamics.trajectory_bytes(store, document)
    store.delete_blob(document["blob_id"])
    with pytest.raises(RecordsError, match="are gone"):
        dynamics.trajectory_bytes(store, document)


def test_what_tells_runs_and_frames_apart() -> None:
    of = dynamics.dynamics_id({"steps": 1}, CELL)
    assert of != dynamics.dynamics_id({"steps": 2}, CELL)
    assert of != dynamics.dynamics_id({"steps": 1}, CELL * (2, 1, 1))
    ids = {dynamics.trajectory_id(of, t, p) for t in (300, 301) for p in (0, 1)}
    assert len(ids) == 4 and dynamics.trajectory_id(of, 300, 0) in ids
    assert dynamics.trajectory_id(of, 300, 0) == dynamics.trajectory_id(of, 300.0, 0.0)
    assert len({dynamics.frame_id("t", index) for index in range(3)}) == 3


def protocol(store: RecordStore, name: str, *runs: str | None) -> str:
    """A protocol whose stages have these runs."""
    stages = [
        {
            "name": f"stage {number}",
            "after": None,
            "ensemble": "nvt",
            "target_temperature": 300.0,
            "trajectory": run,
            "status": "not run" if run is None else "finished",
            "failure_detail": "stage 0 exploded: hot" if run is None else None,
        }
        for number, run in enumerate(runs)
    ]
    document = protocols.protocol_document(
        name=name,
        spec={},
        asked={"stages": len(runs)},
        structure=CELL,
        engine="ase:emt",
        seed=0,
        stages=stages,
    )
    store.upsert("protocols", [document])
    return str(document["_id"])


def test_runs_of_protocols(store: RecordStore) -> None:
    with pytest.raises(RecordsError, match="There is no protocol of molecular dynamics in"):
        protocols.resolve_protocol(store, "melt")
    of = asked(store, "copper", 1)
    runs = [run(store, of, temperature) for temperature in (100, 200)]
    melt = protocol(store, "melt", *runs)
    for which, wanted in (
        ("melt", runs[1]),
        (melt[:10], runs[1]),
        ("melt/stage 0", runs[0]),
        (f"{melt[:10]}/stage 1", runs[1]),
    ):
        assert [one["_id"] for one in dynamics.resolve_trajectories(store, which)] == [wanted]
    with pytest.raises(RecordsError, match=r"no stage 'glass' in protocol .* stage 0, stage 1"):
        dynamics.resolve_trajectories(store, "melt/glass")
    # Other names are those of molecular dynamics.
    assert len(dynamics.resolve_trajectories(store, "copper")) == 2
    protocol(store, "hot", runs[0], runs[1], None)
    with pytest.raises(RecordsError, match=r"'stage 2' of .* is 'not run' \(stage 0 exploded: hot"):
        dynamics.resolve_trajectories(store, "hot")
    protocol(store, "copper", runs[0])
    with pytest.raises(RecordsError, match="both have the name 'copper'"):
        dynamics.resolve_trajectories(store, "copper")
    # The stage says that the protocol is meant.
    assert dynamics.resolve_trajectories(store, "copper/stage 0")[0]["_id"] == runs[0]
    # A slash may be in a name.
    other = run(store, asked(store, "copper/wide", 9), 300)
    assert dynamics.resolve_trajectories(store, "copper/wide")[0]["_id"] == other
    with pytest.raises(RecordsError, match="No protocol has the name 'cold'"):
        protocols.resolve_protocol(store, "cold")


def test_stages_are_checked() -> None:
    known = {"name": "a", "after": None, "ensemble": "nvt", "target_temperature": 1.0}
    assert protocols.stage_row(**known)["status"] == "waiting"
    with pytest.raises(RecordsError, match="choose one of waiting, finished"):
        protocols.stage_row(**known, status="lost")
    with pytest.raises(RecordsError, match="A Stage has the fields"):
        protocols.stage_row(**known, speed=1)
