"""What may be asked of a study."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from crysearch.errors import SpecError
from crysearch.records.filters import parse_filters
from crysearch.records.schema_studies import TrialMeasures
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
        ([], "the study is a mapping of fields"),
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


def test_the_identifier_follows_what_can_change_a_result():
    spec = StudySpec.build(SMALL_STUDY)
    assert StudySpec.build(spec.model_dump(mode="json")) == spec
    renamed = SMALL_STUDY | {"name": "n", "search": SMALL_STUDY["search"] | {"name": "n"}}
    assert StudySpec.build(renamed).identifier == spec.identifier
    changes = [
        {"seeds": 3},
        {"crystals": 1001},
        {"relaxations": 1},
        {"low_energy": 0.3},
        {"search": SMALL_STUDY["search"] | {"seed": 4}},
        {"variants": SMALL_STUDY["variants"][:1]},
    ]
    found = {StudySpec.build(SMALL_STUDY | change).identifier for change in changes}
    assert len(found | {spec.identifier}) == len(changes) + 1


def test_its_documents_belong_to_a_search_of_their_own():
    """Without quotas, so that no crystals of another run mix with those of the study."""
    spec = StudySpec.build(SMALL_STUDY)
    assert spec.known.search_id != spec.search.search_id
    assert set(spec.known.screening.quotas.model_dump().values()) == {0}
    same = {"fingerprint", "replicas", "relaxation", "references", "seed", "formula_units"}
    assert spec.known.model_dump(include=same) == spec.search.model_dump(include=same)


def test_a_file_and_its_faults(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("seeds: 3\nvariants: [{name: a, generative: hvae}]\n")
    assert StudySpec.from_yaml(file).variants[0].generative.model == "hvae"
    file.write_text("seeds: none\n")
    with pytest.raises(SpecError, match=r"study.yaml: the study is not valid:\n  seeds: 'none'"):
        StudySpec.from_yaml(file)


def test_the_example_of_the_page_is_a_study():
    page = (Path(__file__).parents[1] / "docs" / "hvae-study.md").read_text(encoding="utf-8")
    example = yaml.safe_load(page.split("```yaml")[1].split("```")[0])
    assert StudySpec.build(example).variant("annealed").generative.annealing_epochs == 500


def test_measures_have_different_keys_and_labels():
    assert len({m.key for m in MEASURES}) == len({m.label for m in MEASURES}) == len(MEASURES)


def test_measures_are_the_fields_that_trials_can_be_filtered_by():
    assert list(TrialMeasures.__annotations__) == [measure.key for measure in MEASURES]
    assert parse_filters("trials", ["measures.roughness<0.01"])
