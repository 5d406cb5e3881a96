"""What may be asked of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from crysearch.errors import SpecError
from crysearch.records.filters import parse_filters
from crysearch.records.schema import TrialMeasures
from crysearch.study import MEASURES, StudySpec
from small_study import SMALL_STUDY


def two(first=None, second=None, **changes):
    """A study of two variants, the second with the first as its baseline."""
    return {
        "variants": [
            {"name": "a", "generative": first or {}},
            {"name": "b", "generative": second or {}, "baselines": ["a"]},
        ]
    } | changes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "a study is a mapping of fields"),
        ({"seed": 3}, "seed: unknown field — allowed here: name, search, variants, seeds"),
        ({"seeds": 1}, "seeds: 1 — "),
        ({"crystals": 0}, "crystals: 0 — "),
        ({"relaxations": -1}, "relaxations: -1 — "),
        ({"equal_time_factor": 0}, "equal_time_factor: 0 — "),
        ({"variants": []}, "variants: [] — give one or several"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "different names"),
        ({"variants": [{"name": "a.b"}]}, "variants.0.name: 'a.b'"),
        ({"variants": [{"generative": {}}]}, "variants.0.name: missing"),
        ({"variants": [{"nam": "a", "name": "a"}]}, "nam: unknown field — allowed here: name, gen"),
        ({"variants": [{"name": "a", "baselines": ["a"]}]}, "variants.0.baselines: 'a' — choose"),
        (two(second={"hidden_layers": [9]}), "its baseline a has (50, 25, 12); give both the same"),
        (two(second={"likelihood": "gaussian"}), "variants.1.generative.likelihood: 'gaussian'"),
        (two(first={"validation_fraction": 0.3}), "variants.1.generative.validation_fraction: 0.2"),
        (two(first={"condition": "energy"}), "variants.0.generative.condition: 'energy'"),
        (two(first={"epochs": 2, "annealing_epochs": 3}), "variants.0.generative.annealing_epochs"),
        (
            two({"latent_dimension": 6}, {"latent_dimension": 6}),
            "search.replicas.grid_points: 15 in 6 latent dimensions of a",
        ),
        ({"search": {"replicas": {"grid_points": 0}, "screening": {"quotas": {"II": 0}}}},
         "search.replicas: neither a grid nor random points"),
        ({"search": {"replicas": {"interpolations": [{"first": "a", "last": "b"}]}}},
         "search.replicas.interpolations: 1 given"),
        ({"search": {"generative": {"condition": "density"}, "replicas": {"conditions": [2.0]}}},
         "search.generative.condition: 'density'"),
        # A search says itself what is wrong with it.
        ({"search": {"composition": "NaCl"}}, "search.volume_per_formula_unit: missing"),
        ({"search": {"screening": {"threshold": 3}}}, "search.screening.threshold: 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_named(content, said):
    with pytest.raises(SpecError) as error:
        StudySpec.build(content)
    assert said in str(error.value)


def test_all_invalid_fields_are_reported_at_once():
    with pytest.raises(SpecError) as error:
        StudySpec.build({"search": {"composition": "Xy"}, "seeds": 0, "crystals": "many"})
    for field in ("search.composition", "seeds", "crystals"):
        assert f"\n  {field}: " in str(error.value)


def test_the_default_compares_both_models():
    spec = StudySpec.build({})
    assert [variant.name for variant in spec.variants] == ["vae", "hvae"]
    assert spec.variant("hvae").baselines == ("vae",)
    assert spec.generative_of("hvae").model == "hvae"
    assert (spec.seeds, spec.crystals, spec.search.formula_units) == (10, 100_000, (8,))
    with pytest.raises(SpecError, match="variant 'gan'"):
        spec.variant("gan")


def test_equal_time_multiplies_the_epochs_and_nothing_else():
    variants = [{"name": "short"}, {"name": "long", "equal_time": True}]
    spec = StudySpec.build({"variants": variants, "equal_time_factor": 2.5})
    short, long = spec.generative_of("short"), spec.generative_of("long")
    assert long.epochs == 2.5 * short.epochs
    assert long.model_copy(update={"epochs": short.epochs}) == short
