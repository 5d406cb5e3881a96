"""The specification of molecular dynamics."""

from __future__ import annotations

import pytest
import yaml

from crysearch.dynamics_spec import DynamicsSpec
from crysearch.errors import SpecError

COPPER = {"structure": {"formula": "Cu", "prototype": "fcc", "lattice_constant": 3.6}}


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ({"structure": {}}, ["structure: {} — nothing given — give one of reference, file"]),
        (
            {"structure": {"reference": "mp-149", "file": "a.cif"}},
            ["reference, file given — give one of reference, file, formula"],
        ),
        ({"structure": {"formula": "Cu"}}, ["needs prototype and lattice_constant"]),
        ({"structure": {"reference": "mp-149", "prototype": "fcc"}}, ["belong to formula"]),
        ({"temperatures": []}, ["temperatures: [] — give one or several"]),
        ({"temperatures": [300, 300]}, ["temperatures: [300.0, 300.0]"]),
        ({"temperatures": [-1]}, ["temperatures.0: -1 — input should be greater than 0"]),
        ({"pressures": [1.0]}, ["pressure=1 has no meaning in the ensemble 'nvt'"]),
        ({"steps": 15}, ["steps=15 must be a multiple of sample_every=10"]),
        ({"ensemble": "nve", "final_temperature": 10}, ["final_temperature=10 needs a therm"]),
        ({"speed": 1}, ["speed: unknown field — allowed here: name, structure"]),
        ({"timestep": 0, "seed": -1}, ["timestep: 0 —", "seed: -1 —"]),
    ],
)
def test_what_is_wrong_is_said_by_name(content, lines):
    with pytest.raises(SpecError) as error:
        DynamicsSpec.build(content)
    for line in lines:
        assert line in str(error.value)


def test_yaml_and_back(tmp_path):
    spec = DynamicsSpec.build({**COPPER, "ensemble": "npt", "pressures": [0, 5], "name": "Cu"})
    (tmp_path / "a.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    assert DynamicsSpec.from_yaml(tmp_path / "a.yaml") == spec
    assert yaml.safe_load(spec.to_yaml())["pressures"] == [0.0, 5.0]
    with pytest.raises(SpecError, match=r"b\.yaml: cannot be read"):
        DynamicsSpec.from_yaml(tmp_path / "b.yaml")


def test_changes_by_dotted_names():
    spec = DynamicsSpec.build(COPPER)
    changed = spec.with_changes({"steps": 20, "structure.repetitions": [2, 1, 1]})
    assert (changed.steps, changed.structure.repetitions) == (20, (2, 1, 1))
    assert changed.structure.formula == "Cu"
    # Another source takes the place of the one before, the default one too.
    assert DynamicsSpec().with_changes({"structure.file": "a.cif"}).structure.reference is None
    moved = changed.with_changes({"structure.reference": "mp-149"})
    assert moved.structure.formula is None and moved.structure.repetitions == (2, 1, 1)


def test_seeds_follow_from_the_state_point_alone():
    one = DynamicsSpec.build({"temperatures": [300.0], "seed": 1})
    more = DynamicsSpec.build({"temperatures": [100.0, 300.0, 600.0], "seed": 1})
    assert one.settings(300.0, 0.0) == more.settings(300.0, 0.0)
    seeds = {more.settings(*point).seed for point in more.state_points}
    assert len(seeds) == 3
    assert DynamicsSpec.build({"seed": 2}).settings(300.0, 0.0).seed not in seeds


def test_every_pressure_has_every_temperature():
    spec = DynamicsSpec.build({"ensemble": "npt", "temperatures": [1, 2], "pressures": [0, 3]})
    assert spec.state_points == [(1, 0), (2, 0), (1, 3), (2, 3)]


def test_density_and_mean_volume():
    spec = DynamicsSpec.build({"structure": {**COPPER["structure"], "density": 9.0}})
    assert spec.to_yaml().count("density: 9.0") == 1
    assert spec.with_changes({"structure.reference": "mp-149"}).structure.density is None
    mean = spec.with_changes({"structure.run": "abc", "structure.volume": "mean"})
    assert mean.structure.volume == "mean"
    assert mean.with_changes({"structure.run": "abcd"}).structure.volume == "mean"
    # What is not given is not written: identifiers made of a specification stay.
    assert "density" not in DynamicsSpec().to_yaml() and "volume:" not in DynamicsSpec().to_yaml()
    for structure, words in (
        ({"run": "abc", "density": 2.0}, "density 2 would change the volume that run 'abc'"),
        ({"reference": "mp-149", "volume": "mean"}, "volume 'mean' is that of a run"),
        ({"reference": "mp-149", "density": 0}, "structure.density: 0 — input should be greater"),
    ):
        with pytest.raises(SpecError, match=words):
            DynamicsSpec.build({"structure": structure})
