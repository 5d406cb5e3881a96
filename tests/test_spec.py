"""The specification: defaults, validation, round trips, identity."""

from __future__ import annotations

import pytest
import yaml

from crysearch.errors import SpecError
from crysearch.spec import SearchSpec


def test_defaults_are_the_published_protocol():
    spec = SearchSpec()
    assert spec.formula_units == (8, 16)
    assert spec.volume_per_formula_unit * 8 == 184
    assert spec.volume_tolerance == 0.10
    assert spec.minimum_distances == {"Si-Si": 2.1}
    assert (spec.fingerprint.cutoff, spec.fingerprint.grid_points) == (8.0, 200)
    assert spec.fingerprint.smearing == 0.060
    assert spec.generative.hidden_layers == (50, 25, 12)
    assert (spec.replicas.grid_points, spec.replicas.interval) == (15, 0.90)
    assert spec.screening.threshold == 0.13
    assert spec.screening.quotas.model_dump() == {"I": 350, "II": 350, "III": 350, "IV": 0}
    assert spec.relaxation.force_tolerance == 0.01


def test_every_invalid_field_is_reported_at_once():
    with pytest.raises(SpecError) as caught:
        SearchSpec.build(
            {
                "seed": -1,
                "screening": {"threshold": 3, "quotas": {"V": 3}},
                "sampling": {"space_groups": [0, 5]},
                "references": {"source": "files"},
                "colour": 1,
            }
        )
    message = str(caught.value)
    assert message.startswith("6 invalid fields")
    for part in (
        "seed: -1",
        "screening.threshold: 3",
        "screening.quotas.V: unknown field — allowed here: I, II, III, IV",
        "sampling.space_groups.0: 0",
        "references.files: empty",
        "colour: unknown field",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"composition": "Sx"}, "composition: 'Sx'"),
        ({"composition": "SnSe"}, "minimum_distances"),
        ({"composition": "SnSe"}, "volume_per_formula_unit: missing"),
        ({"minimum_distances": {"Si-Ge": 2.0}}, "exactly the pairs Si-Si"),
        ({"formula_units": [8, 8]}, "formula_units"),
        ({"replicas": {"grid_points": 0}}, "replicas: none asked for"),
        ({"references": {"files": ["a.cif"]}}, "set references.source to 'files'"),
        ({"replicas": {"grid_points": 400}}, "at most 100,000"),
        ({"minimum_distances": {"Si-Si": -1}}, "minimum_distances.Si-Si: -1"),
        ({"sampling": {"sampler": "dice"}}, "'wyckoff' or 'pyxtal'"),
        ({"fingerprint": {"cutoff": float("inf")}}, "fingerprint.cutoff: inf"),
        ({"seed": 10**26}, "seed: 100000000000000000000000000"),
        ({"generative": {"latent_dimension": 10**7}}, "generative.latent_dimension: 10000000"),
        (
            {"replicas": {"interpolations": [{"first": "a", "last": "b"}] * 2}},
            "two lines between the same",
        ),
    ],
)
def test_invalid_fields_are_named_with_a_way_out(content, expected):
    with pytest.raises(SpecError, match="invalid field") as caught:
        SearchSpec.build(content)
    assert expected in str(caught.value)


def test_false_errors_do_not_appear_beside_a_real_one():
    with pytest.raises(SpecError) as caught:
        SearchSpec.build(
            {
                "replicas": {"grid_points": 0},
                "screening": {"quotas": {"II": 0}, "threshold": 5},
            }
        )
    assert str(caught.value).startswith("1 invalid field:")


def test_yaml_round_trip(tmp_path):
    spec = SearchSpec.build(
        {
            "name": "tin selenide",
            "composition": "SnSe",
            "formula_units": [8, 12],
            "volume_per_formula_unit": 57.2,
            "minimum_distances": {"Sn-Sn": 2.0, "Sn-Se": 2.1, "Se-Se": 2.2},
        }
    )
    path = tmp_path / "spec.yaml"
    path.write_text(spec.to_yaml(), encoding="utf-8")
    again = SearchSpec.from_yaml(path)
    assert again == spec
    assert again.search_id == spec.search_id
    assert spec.counts == (1, 1)
    assert spec.species == ("Sn", "Se")


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(SpecError, match=r"missing\.yaml: cannot be read"):
        SearchSpec.from_yaml(tmp_path / "missing.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [", encoding="utf-8")
    with pytest.raises(SpecError, match=r"broken\.yaml: is not valid YAML"):
        SearchSpec.from_yaml(broken)
    broken.write_text("- 1", encoding="utf-8")
    with pytest.raises(SpecError, match="a specification is a mapping"):
        SearchSpec.from_yaml(broken)


def test_identity_follows_what_changes_results():
    spec = SearchSpec()
    assert spec.search_id == SearchSpec(name="another").search_id
    assert spec.search_id != SearchSpec(seed=1).search_id
    reordered = {"minimum_distances": {"Se-Sn": 2.1, "Sn-Sn": 2.0, "Se-Se": 2.2}}
    base = {"composition": "SnSe", "volume_per_formula_unit": 57.0}
    first = SearchSpec.build(base | reordered)
    second = SearchSpec.build(
        base | {"minimum_distances": {"Sn-Sn": 2.0, "Sn-Se": 2.1, "Se-Se": 2.2}}
    )
    assert first.search_id == second.search_id


def test_changes_by_dotted_name():
    spec = SearchSpec().with_changes({"screening.quotas.I": 12, "seed": 4})
    assert (spec.screening.quotas.I, spec.screening.quotas.II, spec.seed) == (12, 350, 4)
    tin = SearchSpec.build(
        {
            "composition": "SnSe",
            "volume_per_formula_unit": 57.2,
            "minimum_distances": {"Sn-Sn": 2.0, "Sn-Se": 2.1, "Se-Se": 2.2},
        }
    )
    changed = tin.with_changes({"minimum_distances.Sn-Se": 2.3})
    assert changed.minimum_distances["Se-Sn"] == 2.3
    with pytest.raises(SpecError, match="quota: unknown field"):
        spec.with_changes({"quota": 3})
    with pytest.raises(SpecError, match="seed is not a part"):
        spec.with_changes({"seed.value": 3})


def test_weights_of_space_groups():
    assert SearchSpec().sampling.space_group_weights == {}
    spec = SearchSpec.build({"sampling": {"space_group_weights": {227: 5, "1": 0, 225: 0.5}}})
    assert spec.sampling.space_group_weights == {227: 5.0, 1: 0.0, 225: 0.5}
    again = SearchSpec.build(yaml.safe_load(spec.to_yaml()))
    assert again == spec and again.search_id == spec.search_id != SearchSpec().search_id
    changed = spec.with_changes({"sampling.space_group_weights.227": 7})
    assert changed.sampling.space_group_weights[227] == 7.0
    request = spec.crystal_request(8)
    assert request.space_group_weights == spec.sampling.space_group_weights
    assert 1 not in request.hosting_groups and request.counts == (8,)


def test_a_weight_holds_in_the_cell_sizes_that_its_group_can_host():
    content = {"formula_units": [4, 16], "sampling": {"space_group_weights": {228: 5, 2: 3}}}
    spec = SearchSpec.build(content)
    assert spec.crystal_request(4).space_group_weights == {2: 3.0}
    assert spec.crystal_request(16).space_group_weights == {2: 3.0, 228: 5.0}


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"space_group_weights": {231: 1}}, "231 is not the number of a space group, 1–230"),
        ({"space_group_weights": {"x": 1}}, "'x' is not the number of a space group"),
        ({"space_group_weights": {2.5: 1}}, "2.5 is not the number of a space group"),
        ({"space_group_weights": {227: -1}}, "sampling.space_group_weights.227: -1"),
        ({"space_group_weights": {227: float("nan")}}, "sampling.space_group_weights.227: nan"),
        ({"space_group_weights": [227]}, "sampling.space_group_weights: [227]"),
        (
            {"space_groups": [1, 2], "space_group_weights": {227: 3}},
            "sampling.space_group_weights: 227 not in sampling.space_groups",
        ),
        (
            {"space_groups": [1, 2], "space_group_weights": {1: 0, 2: 0}},
            "sampling.space_group_weights: 0 for all of sampling.space_groups",
        ),
        (
            {"space_groups": [1, 230], "space_group_weights": {230: 2}},
            "space group 230 has the weight 2, but its Wyckoff positions (smallest: ",
        ),
    ],
)
def test_invalid_weights_are_named_with_a_way_out(sampling, expected):
    with pytest.raises(SpecError, match=r"^1 invalid field:") as caught:
        SearchSpec.build({"formula_units": [8], "sampling": sampling})
    assert expected in str(caught.value)
