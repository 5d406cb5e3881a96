"""What an active learning asks, and what is refused."""

from __future__ import annotations

import pytest
import yaml

from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.errors import SpecError
from crysearch.records.filters import parse_filters
from small_active_learning import SMALL_ACTIVE_LEARNING


def test_the_defaults_are_the_published_protocol():
    spec = ActiveLearningSpec()
    assert spec.formula_units == 16
    assert spec.search.minimum_distances == {"Si-Si": 1.6}
    assert (spec.pool.size, spec.batch, spec.maximum_cycles) == (1000, 100, 15)
    assert (spec.potential.members, spec.force_weight, spec.pool.force_tolerance) == (5, 0.5, 0.05)
    assert (spec.top, spec.energy_tolerance) == (10, 0.01)


def test_it_survives_being_written_out():
    spec = ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING)
    again = ActiveLearningSpec.build(spec.model_dump(mode="json"))
    assert again == spec
    assert again.identifier == spec.identifier
    assert again.known == spec.known


def test_names_change_no_identifier_and_everything_else_does():
    spec = ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING)
    search = SMALL_ACTIVE_LEARNING["search"]
    renamed = {"name": "another", "search": search | {"name": "another"}}
    assert ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING | renamed).identifier == spec.identifier
    for change in (
        {"batch": 5},
        {"search": search | {"seed": 6}},
        {"potential": {"members": 3}},
        {"reference": {"engine": "stillinger-weber", "options": {"a": 1}}},
    ):
        assert (
            ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING | change).identifier != spec.identifier
        )


def test_the_search_of_its_documents_is_the_unscreened_pool():
    known = ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING).known
    quotas = known.screening.quotas
    assert (quotas.I, quotas.II, quotas.III, quotas.IV) == (0, 0, 14, 0)
    assert not known.replicas.wanted
    assert known.relaxation.engine == "stillinger-weber"
    assert known.name == "small active learning"


def test_the_method_names_engine_and_options():
    options = {"functional": "lda", "cutoff": 30}
    spec = ActiveLearningSpec.build({"reference": {"engine": "espresso", "options": options}})
    assert spec.method == 'espresso {"cutoff": 30, "functional": "lda"}'
    assert ActiveLearningSpec().method == "sevennet-0"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"search": {"formula_units": [8, 16]}}, r"search.formula_units: \[8, 16\] — give one"),
        ({"first_batch": 1001}, r"first_batch: 1001 — give at most pool.size, 1000"),
        (
            {"potential": {"architecture": {"members": 3}}},
            r"architecture: .*members: give it beside",
        ),
        (
            {"potential": {"loss": {"energy": 0, "force": 0, "stress": 0}}},
            r"potential.loss: all weights are 0",
        ),
        (
            {"search": {"formula_units": [8], "relaxation": {"options": {"functional": "pbe"}}}},
            r"search.relaxation.options: {'functional': 'pbe'} — give them as reference.options",
        ),
        (
            {"reference": {"engine": "self-trained"}},
            r"reference.engine: 'self-trained' — what was learned here is no reference method",
        ),
        (
            {"search": {"formula_units": [8], "relaxation": {"engine": "chgnet"}}},
            r"search.relaxation.engine: 'chgnet' — reference.engine is 'sevennet-0'",
        ),
        ({"potential": {"members": 1}}, r"potential.members: 1 — "),
        ({"pool": {"sizes": 3}}, r"pool.sizes: unknown field — allowed here: size, "),
        ({"search": {"seed": -1}}, r"search.seed: -1 — "),
        ({"top": 0}, r"top: 0 — "),
    ],
)
def test_what_is_wrong_is_named(change, line):
    with pytest.raises(SpecError, match=line):
        ActiveLearningSpec.build(change)


def test_it_can_be_read_from_a_file(tmp_path):
    path = tmp_path / "active.yaml"
    path.write_text(yaml.safe_dump(SMALL_ACTIVE_LEARNING), encoding="utf-8")
    assert ActiveLearningSpec.from_yaml(path) == ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING)


def test_cycles_can_be_filtered():
    assert parse_filters("cycles", ["lowest_energy_per_atom<-4"])
