"""``crysearch assess``."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from crysearch import localdb
from crysearch.cli.assess import _options_of
from crysearch.cli.main import app
from crysearch.errors import CrysearchError, SpecError

QUICK = [
    "--phases", "mp-149,mp-165", "--largest-cell", "200",
    "--set", "cost.smallest=50", "--set", "phonons.minimum_length=7",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assess") / "records"
    yield folder
    localdb.stop(folder)


@pytest.fixture
def command(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))

    def run(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        if isinstance(result.exception, CrysearchError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.mark.slow
def test_from_an_engine_to_tables_and_a_figure(command, tmp_path):
    shown = command("assess", "stillinger-weber", *QUICK)
    for said in ("measured", "C44 (GPa)", "79.60", "lonsdaleite (mp-165)", "McSkimin", "Figure: "):
        assert said in shown
    figures = list((tmp_path / "crysearch-figures").glob("*.png"))
    assert [path.name for path in figures] == ["assessment-Si-stillinger-weber.png"]
    again = command("assess", "stillinger-weber", *QUICK, "--show", "--json")
    content = json.loads(again)
    document = content["assessments"]["stillinger-weber"]
    assert document["quantities"]["elasticity"]["status"] == "computed"
    assert content["measured"]["C11"]["value"] == 165.8 and content["differences"] == {}
    page = command("assess", "stillinger-weber", *QUICK, "--show", "--format", "markdown")
    assert "| C11 (GPa)" in page
    other = command(
        "assess", "stillinger-weber", *QUICK, "--set", "phonons.maximum_atoms=90", "--show"
    )
    assert "phonons: with other settings than asked for: minimum_length 7.000" in other
    assert "elasticity: with other" not in other
    only = command("assess", "stillinger-weber", *QUICK, "--only", "phases", "--show")
    assert "C44" not in only and "lonsdaleite" in only


@pytest.mark.slow
def test_a_model_beside_its_reference(command):
    arguments = ["assess", "stillinger-weber", "--reference", "sevennet-0", "--only", "phases",
                 "--phases", "mp-149,mp-165"]  # fmt: skip
    content = json.loads(command(*arguments, "--json"))
    assert content["reference"] == "sevennet-0"
    assert list(content["assessments"]) == ["sevennet-0", "stillinger-weber"]
    phases = {
        name: document["quantities"]["phases"]["values"]
        for name, document in content["assessments"].items()
    }
    above = {name: found[1]["energy"] - found[0]["energy"] for name, found in phases.items()}
    # Lonsdaleite is above diamond but for a potential of first neighbours.
    assert above["sevennet-0"] > 0.005 and abs(above["stillinger-weber"]) < 1e-4
    [_, difference] = content["differences"]["stillinger-weber"]["phases"]
    assert difference["energy_difference"] == pytest.approx(
        above["stillinger-weber"] - above["sevennet-0"]
    )
    shown = command(*arguments, "--show")
    assert "Kendall" in shown and "Differences from sevennet-0" in shown


def test_queued_for_workers_and_shown_before_anything_is_computed(command):
    asked = ["assess", "stillinger-weber", "--phases", "mp-168", "--only", "elasticity"]
    shown = command(*asked, "--submit")
    assert "2 jobs" in shown and "added" in shown and "rlaunch" in shown
    assert "waiting" in command(*asked, "--submit")
    shown = command(*asked, "--show")
    assert "phases: not computed yet" in shown and "elasticity: not computed yet" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stillinger-weber", "--submit", "--show"], "give one of the two"),
        (["emt", "chgnet", "--option", "a=1"], "name one of emt, chgnet before it: emt.a="),
        (["emt", "chgnet", "--option", "gpaw.a=1"], "name one of emt, chgnet before it"),
        (["stillinger-weber", "--option", "threads"], "--option threads: write"),
        (["stillinger-weber", "--option", "threads=2"], "takes no options"),
        (["stillinger-weber", "--only", "gap"], "'gap'"),
        (["stillinger-weber", "--phases", "mp-0"], "mp-0 not in the snapshot"),
        (["stillinger-weber", "--reference", "abinit"], "'abinit' is neither an engine"),
        (["nothing"], "crysearch potential"),
        (["stillinger-weber", "--structures", "x.cif", "--phases", "mp-149"], "take the place"),
        (["stillinger-weber", "--show", "--set", "relaxation.seed=9"], "without --show"),
        (["emt", "--set", "cost.most=1"], "cost.most: unknown field"),
    ],
)
def test_mistakes_are_named(command, arguments, said):
    with pytest.raises(CrysearchError) as error:
        command("assess", *arguments)
    assert isinstance(error.value, SpecError) and said in str(error.value)


def test_options_of_several_models():
    given = ["espresso.functional=pbe", "gpaw.k_spacing=0.25", "gpaw.functional=pbe"]
    assert _options_of(["espresso", "gpaw", "emt"], given) == {
        "espresso": {"functional": "pbe"},
        "gpaw": {"k_spacing": 0.25, "functional": "pbe"},
        "emt": {},
    }
    for option in ("functional=pbe", "gpaw.functional=pbe"):
        assert _options_of(["gpaw"], [option]) == {"gpaw": {"functional": "pbe"}}
