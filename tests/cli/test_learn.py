"""``crysearch learn``, and what other commands say of an active learning."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from crysearch import localdb
from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.cli.main import app
from crysearch.cli.run import read_spec_of
from crysearch.errors import ActiveLearningError, SpecError
from crysearch.workflows import active_learning
from small_active_learning import SMALL_ACTIVE_LEARNING

FLOWS = Path(__file__).parents[2] / "flows"
FLOW = FLOWS / "active_learning_si16.py"
SPEC = ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING)


@pytest.fixture
def crysearch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    Path("small.yaml").write_text(yaml.safe_dump(SMALL_ACTIVE_LEARNING), encoding="utf-8")

    def run(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def finished(crysearch, finished_active_learning, tmp_path):
    localdb.stop(finished_active_learning)  # the port, which the copy remembers, becomes free
    shutil.copytree(finished_active_learning, tmp_path / "records")
    return crysearch


NAMES = ("calibration", "clusters", "learning", "pool", "predictions")


def test_a_finished_one_is_shown_with_tables_and_figures(finished, tmp_path):
    shown = finished("learn", "small.yaml", "--figures", "drawn", "--set", "name=another")
    assert "11 reference calculations (0 failed) in 2 cycles; ended: cycle_limit" in shown
    assert "Figures: 5 in" in shown and "an ideal ensemble of 2" in shown
    folder = tmp_path / "drawn" / f"active-learning-{SPEC.identifier}"
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.png" for name in NAMES]
    assert f"data show {SPEC.dataset}" in shown


def test_what_is_only_shown_needs_no_calculation(finished, monkeypatch):
    monkeypatch.setattr(active_learning, "run_active_learning", None)
    assert "ended: cycle_limit" in finished("learn", "small.yaml", "--show")
    assert "is complete already" in finished("learn", "small.yaml", "--submit")
    with pytest.raises(SpecError, match=r"has no cycles in .*without --show"):
        finished("learn", "small.yaml", "--show", "--set", "top=4")


@pytest.mark.slow
def test_it_is_submitted_once(crysearch):
    assert "is on the launch pad: 3 jobs (1 to 3)" in crysearch("learn", "small.yaml", "--submit")
    again = crysearch("learn", "small.yaml", "--submit")
    assert "is on the launch pad already: 3 jobs (1 to 3)" in again
    assert "rlaunch rapidfire" in again and "--show instead of --submit" in again


def test_status_and_show_speak_of_it(finished):
    stages = finished("status", "latest")
    short = SPEC.identifier[:8]
    for step in ("cycle 0 reference calculations", "cycle 1 training", "relaxing the best"):
        assert f"active learning {short} {step}" in stages
    assert SPEC.identifier not in stages and "best_epochs" not in stages
    content = json.loads(finished("status", "latest", "--format", "json"))
    assert f"active learning {SPEC.identifier} conclusion" in str(content)
    listed = finished("results", "--collection", "cycles", "--columns", "_id,cycle", "--format",
                      "csv")  # fmt: skip
    key = next(line.split(",")[0] for line in listed.splitlines() if line.endswith(",1"))
    shown = finished("show", key)
    assert "Best clusters" in shown and "(all of them: --json)" in shown
    assert len(json.loads(finished("show", key, "--json"))["chosen"]) == 4


def test_one_that_has_just_begun_is_shown_as_far_as_it_is(finished, monkeypatch):
    cycles_of = active_learning.cycles_of
    first = lambda *a: [cycles_of(*a)[0], cycles_of(*a)[1] | {"errors": None}]  # noqa: E731

    def nothing(*arguments):
        raise ActiveLearningError("no structure that an ensemble has chosen was calculated yet")

    monkeypatch.setattr(active_learning, "cycles_of", first)
    monkeypatch.setattr(active_learning, "conclusion_of", lambda *a: None)
    monkeypatch.setattr(active_learning, "predictions_of", nothing)
    shown = finished("learn", "small.yaml", "--show", "--format", "svg")
    assert "11 reference calculations so far; cycle 1: go_on" in shown
    drawn = Path("crysearch-figures", f"active-learning-{SPEC.identifier}").iterdir()
    assert sorted(path.name for path in drawn) == ["clusters.svg", "learning.svg", "pool.svg"]


def test_a_flow_is_read_with_its_parameters_and_fields():
    changes = ["engine=stillinger-weber", "atoms=8", "pool=60", "batch=20", "search.seed=3"]
    spec = read_spec_of(ActiveLearningSpec, FLOW, [*changes, "potential.loss.force=0.2"])
    assert (spec.reference.engine, spec.formula_units, spec.pool.size) == (
        "stillinger-weber",
        8,
        60,
    )
    assert (spec.search.seed, spec.potential.loss.force) == (3, 0.2)
    assert spec.search.minimum_distances == {"Si-Si": 1.6}
    assert spec.search.references.source == "snapshot"


def test_changes_keep_the_search_that_stands_there_by_default():
    changed = ActiveLearningSpec().with_changes({"search.seed": 4, "pool.size": 200})
    assert changed.search.formula_units == (16,)
    assert changed.search.minimum_distances == {"Si-Si": 1.6}
    assert (changed.search.seed, changed.pool.size) == (4, 200)
    assert ActiveLearningSpec().with_changes({}) == ActiveLearningSpec()
    pair = ActiveLearningSpec().with_changes(
        {"search.composition": "SiC", "search.volume_per_formula_unit": 20.0,
         "search.minimum_distances": {"Si-Si": 1.6, "C-C": 1.2, "C-Si": 1.4}}
    ).with_changes({"search.minimum_distances.Si-C": 1.5})  # fmt: skip
    assert pair.search.minimum_distances["C-Si"] == 1.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("learn", "small.yaml", "-s", "pool.sizes=3"), r"pool.sizes: unknown field"),
        (("learn", "small.yaml", "-s", "search.seed=-1"), r"search.seed: -1"),
        (("learn", "small.yaml", "-s", "potential.model=oracle"), r"potential.model: 'oracle'"),
        (("learn", str(FLOW), "-s", "cylces=3"), r"neither a parameter of build_spec"),
        (("learn", "small.yaml", "--submit", "--show"), r"--submit, --show: give one"),
        (("learn", str(FLOWS / "si_allotropes.py")), r"a ActiveLearningSpec is needed; try crysea"),
        (("run", str(FLOW)), r"where a SearchSpec is needed; try crysearch learn"),
        (("spec", "--verification", "--active-learning"), r"give one of them"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(crysearch, arguments, said):
    with pytest.raises(SpecError, match=said):
        crysearch(*arguments)


def test_a_specification_can_be_written_out_and_checked(crysearch):
    content = yaml.safe_load(crysearch("spec", "--active-learning"))
    assert ActiveLearningSpec.build(content) == ActiveLearningSpec()
    checked = yaml.safe_load(crysearch("spec", "--active-learning", "small.yaml"))
    assert ActiveLearningSpec.build(checked).identifier == SPEC.identifier
