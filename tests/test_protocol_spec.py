"""The specification of a protocol of molecular dynamics."""

from __future__ import annotations

import pytest

from crysearch.errors import SpecError
from crysearch.protocol_spec import ProtocolSpec

COPPER = {"formula": "Cu", "prototype": "fcc", "lattice_constant": 3.6}
STAGES = [
    {"name": "warm", "ensemble": "npt", "temperature": 300, "steps": 40},
    {"name": "heat", "temperature": 300, "final_temperature": 900, "steps": 20},
    {"name": "hold", "temperature": 900, "steps": 40, "volume": "mean"},
    {"name": "dense", "after": "start", "density": 9.0, "steps": 20},
    {"name": "cool", "after": "warm", "temperature": 100, "steps": 20},
]
CONTENT = {"structure": COPPER, "engine": "emt", "timestep": 4.0, "seed": 3, "stages": STAGES}


def stages(*content: dict) -> dict:
    return {"stages": [{"steps": 10, **one} for one in content]}


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ({"stages": []}, ["stages: [] — give at least one"]),
        (stages({}), ["stages.0.name: missing — field required"]),
        (stages({"name": ""}), ["stages.0.name: '' — string should have at least 1"]),
        (stages({"name": "start"}), ["name 'start' — choose another"]),
        (stages({"name": "a/b"}), ["name 'a/b' — choose another, without a slash"]),
        (stages({"name": "a"}, {"name": "a"}), ["stages: name 'a' — given twice"]),
        (
            stages({"name": "a", "after": "b"}, {"name": "b"}),
            ["stages.a.after: 'b' — no earlier stage; choose one of start"],
        ),
        (stages({"name": "a", "volume": "mean"}), ["stages.a.volume: 'mean' — no stage is before"]),
        (
            stages({"name": "a"}, {"name": "b", "density": 2.0}),
            ["stages.b.density: 2 — it goes on from a stage; set after: start, or volume: mean"],
        ),
        (
            stages({"name": "a", "steps": 15}, {"name": "b"}, {"name": "c", "steps": 15}),
            ["stages.a, c: steps=15 must be a multiple of sample_every=10"],
        ),
        (
            stages({"name": "a", "pressure": 1}, {"name": "b", "temperature": -2}),
            ["stages.1.temperature: -2 — input should be greater than 0"],
        ),
        (
            stages({"name": "a", "pressure": 1}, {"name": "b", "ensemble": "nve"})
            | {"thermostat_time": 1.0},
            ["stages.a: pressure=1 has no meaning in the ensemble 'nvt'"],
        ),
        (
            stages({"name": "a"}, {"name": "b"}) | {"thermostat_time": 1.0},
            ["stages.a, b: thermostat_time=1 must be at least two time steps"],
        ),
        (
            stages({"name": "a", "density": 2.0}) | {"structure": {"run": "abc"}},
            ["density 2 would change the volume that run 'abc' ended with"],
        ),
        (stages({"name": "a"}) | {"compare_with": "b"}, ["compare_with: 'b' — choose one of a"]),
        (stages({"name": "a", "speed": 1}), ["stages.0.speed: unknown field — allowed here: name"]),
        ({"ensemble": "nvt"}, ["ensemble: unknown field — allowed here: name, structure, engine"]),
        ({"structure": {}, "seed": -1}, ["structure: {} — nothing given", "seed: -1 —"]),
    ],
)
def test_what_is_wrong_is_said_by_name(content, lines):
    with pytest.raises(SpecError) as error:
        ProtocolSpec.build(content)
    for line in lines:
        assert line in str(error.value)


def test_stages_and_what_they_go_on_from():
    spec = ProtocolSpec.build(CONTENT)
    before = {stage.name: spec.before(stage.name) for stage in spec.stages}
    assert before == {"warm": None, "heat": "warm", "hold": "heat", "dense": None, "cool": "warm"}
    heat = spec.dynamics("heat", "f" * 24)
    assert (heat.structure.run, heat.structure.volume) == ("f" * 24, "last")
    assert (heat.temperatures, heat.final_temperature, heat.steps) == ((300.0,), 900.0, 20)
    assert (heat.engine, heat.timestep, heat.ensemble) == ("emt", 4.0, "nvt")
    assert spec.dynamics("hold", "f" * 24).structure.volume == "mean"
    dense, warm = spec.dynamics("dense"), spec.dynamics("warm")
    assert dense.structure.density == 9.0 and warm.structure.density is None
    assert warm.name == "protocol: warm" and warm.state_points == [(300.0, 0.0)]
    with pytest.raises(SpecError, match="no stage 'melt' — choose one of warm, heat"):
        spec.stage("melt")


def test_stages_have_seeds_of_their_own():
    spec = ProtocolSpec.build(CONTENT)
    seeds = {stage.name: spec.dynamics(stage.name, "r").seed for stage in spec.stages}
    assert len(set(seeds.values())) == len(seeds)
    shorter = ProtocolSpec.build({**CONTENT, "stages": [STAGES[0], STAGES[3]], "name": "other"})
    assert shorter.dynamics("dense").seed == seeds["dense"]
    assert spec.with_changes({"seed": 4}).dynamics("dense").seed != seeds["dense"]


def test_yaml_and_changes(tmp_path):
    spec = ProtocolSpec.build(CONTENT)
    (tmp_path / "a.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    assert ProtocolSpec.from_yaml(tmp_path / "a.yaml") == spec
    changed = spec.with_changes(
        {"stages.hold.steps": 80, "structure.repetitions": [2, 1, 1], "timestep": 2.0}
    )
    assert [stage.steps for stage in changed.stages] == [40, 20, 80, 20, 20]
    assert changed.structure.formula == "Cu" and changed.timestep == 2.0
    assert spec.with_changes({"structure.run": "abc", "stages.dense.density": None}).structure.run
    for wrong in ("stages.melt.steps", "stages.steps"):
        with pytest.raises(SpecError, match=r"write stages\.NAME\.FIELD with one of warm, heat"):
            spec.with_changes({wrong: 1})
    with pytest.raises(SpecError, match=r"stages\.hold: steps=5 must be a multiple"):
        spec.with_changes({"stages.hold.steps": 5})
    assert ProtocolSpec().with_changes({"stages.sampling.steps": 10}).stages[1].steps == 10
