"""``crysearch verify`` and what ``crysearch show`` then says."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure
from typer.testing import CliRunner

from crysearch.cli.main import app
from crysearch.cli.verdicts import sentence
from crysearch.errors import CrysearchError, SpecError
from crysearch.records import open_records
from crysearch.records.verification import verdict_document
from verified_search import SPEC, run_in

SEARCH = SPEC.search_id


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("cli") / "records")


@pytest.fixture
def command(database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(database))

    def run(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, CrysearchError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.mark.slow
def test_from_the_best_structures_to_verdicts_and_figures(command, database, tmp_path):
    spec = tmp_path / "verification.yaml"
    spec.write_text("properties: {phonons: {minimum_length: 6}, equation_of_state: {points: 5}}\n")
    shown = command("verify", "--best", "1", "--spec", str(spec), "--engine", "stillinger-weber")
    assert "stillinger-weber" in shown
    figures = tmp_path / "crysearch-figures" / SEARCH
    assert len(list(figures.glob("verification-*/*.png"))) >= 3
    with open_records(database) as records:
        [verdict] = records.find("verdicts", {"verification_spec.level.engine": "stillinger-weber"})
    page = command("show", verdict["relaxation_id"][:12])
    for said in ("Verdict", "elasticity", "phonons", "not computed: stillinger-weber knows no"):
        assert said in page
    listed = command("results", "--collection", "verdicts", "--columns", "relaxation_id,is_metal")
    assert verdict["relaxation_id"] in listed


def test_a_known_structure_by_its_name(command):
    shown = command("verify", "mp-149", "--properties", "none")
    assert "mp-149" in shown
    assert "itself" in shown
    assert "not computed: not asked for" in command("show", "mp-149")


def test_queued_for_workers(command):
    shown = command("verify", "mp-149", "--properties", "elasticity", "--submit")
    assert "added" in shown
    assert "rlaunch" in shown
    again = command("verify", "mp-149", "--properties", "elasticity", "--submit")
    assert "waiting" in again


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --best N"),
        (["mp-149", "--best", "2"], "one of the two"),
        (["mp-149", "--new"], "--new: only with --best"),
        (["mp-149", "--option", "functional"], "write NAME=VALUE"),
        (["mp-149", "--option", "functional=lda"], "name the engine"),
        (["mp-149", "--properties", "elastic"], "'elastic'"),
        (["mp-149", "--engine", "abinit"], "'abinit' is unknown"),
    ],
)
def test_mistakes_are_named(command, arguments, said):
    with pytest.raises(SpecError) as error:
        command("verify", *arguments)
    assert said in str(error.value)


def test_what_is_not_known_is_said():
    assert sentence("phonons", {"status": "failed", "reason": "too large"}) == "failed: too large"
    answer = {"status": "not_computed", "reason": "no electrons"}
    assert sentence("electronic", answer) == "not computed: no electrons"
    assert sentence("electronic", {"status": "computed", "is_metal": True}) == "metal"


def test_phonons_of_a_structure_that_is_not_at_rest_are_no_verdict():
    answer = {
        "status": "computed",
        "is_stable": True,
        "is_relaxed": False,
        "residual_force": 0.2,
        "imaginary_mode_count": 0,
        "supercell_atoms": 64,
        "displaced_cells": 1,
    }
    assert "NOT AT REST, force 0.200" in sentence("phonons", answer)
    facts = {
        "search": "s",
        "verification": "v",
        "verification_spec": {},
        "relaxation_id": "r",
        "calculation_id": None,
        "label": None,
        "structure": Structure(Lattice.cubic(3), ["Si"], [[0, 0, 0]]),
        "engine": "e",
        "scheme": "e",
        "stand_in": False,
        "levels": [],
        "matches": None,
        "is_new": True,
        "duplicate_of": None,
        "space_group": None,
    }
    for at_rest, verdict in ((False, None), (True, True)):
        answers = {"phonons": answer | {"is_relaxed": at_rest}}
        document = verdict_document(answers=answers, **facts)
        assert document["is_dynamically_stable"] is verdict
