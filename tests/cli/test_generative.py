"""Conditional and Hamiltonian models, and latent spaces of other dimensions, as a person uses them.

Two small searches: a conditional Hamiltonian model with three latent coordinates, and a plain one
with a single coordinate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from conftest import stop_servers_below
from crysearch.cli.main import app
from crysearch.cli.plot import Figure
from crysearch.errors import CrysearchError
from crysearch.records import RecordStore, open_records, queries
from crysearch.records.values import from_binary_vector
from crysearch.workflows.stages.generation import load_trained_model
from small_search import SMALL

pytestmark = pytest.mark.slow

FEW: dict[str, Any] = {
    "formula_units": [4],
    "screening": {"threshold": 0.3, "quotas": {"I": 1, "II": 0, "III": 2, "IV": 1}},
}
LINE = {"first": "mp-149", "last": "mp-27", "points": 3}
CONDITIONAL = SMALL | FEW | {
    "name": "conditional",
    "generative": {"latent_dimension": 3, "epochs": 40, "condition": "energy",
                   "likelihood": "continuous-bernoulli", "annealing_epochs": 10},
    "replicas": {"grid_points": 2, "random_points": 3, "interpolations": [LINE],
                 "conditions": [0.0, 0.25]},
}  # fmt: skip
SINGLE = SMALL | FEW | {
    "name": "single",
    "generative": {"latent_dimension": 1, "epochs": 40, "optimizer": "sgd"},
    "replicas": {"grid_points": 5},
}  # fmt: skip
OF_EACH_CONDITION = 2**3 + 3 + 3


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, CrysearchError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records, and the figures of each search, in a folder."""
    folder = tmp_path_factory.mktemp("generative")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(folder / "records"))
        for content, options in ((CONDITIONAL, ["--set", "generative=hvae"]), (SINGLE, [])):
            name = content["name"]
            file = folder / f"{name}.yaml"
            file.write_text(yaml.safe_dump(content), encoding="utf-8")
            told = invoke("run", str(file), "--figures", str(folder / name), *options).output
            assert "no figure" not in told
    yield folder
    stop_servers_below(folder)


@pytest.fixture(scope="module")
def records(folder):
    with open_records(folder / "records", read_only=True) as store:
        yield store


@pytest.fixture
def call(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(folder / "records"))
    return lambda *arguments: invoke(*arguments).output


def of(records: RecordStore, name: str) -> dict[str, Any]:
    return {"search": queries.resolve_search(records, name)["_id"]}


def test_every_figure_is_drawn_in_any_latent_dimension(folder: Path) -> None:
    for name in ("conditional", "single"):
        (search,) = (folder / name).iterdir()
        assert {path.stem for path in search.iterdir()} == set(Figure) - {"all"}
        with Image.open(search / "overview.png") as image:
            assert image.size[0] > 1000


def test_known_structures_without_an_energy_are_left_out_of_the_training(
    records: RecordStore,
) -> None:
    here = of(records, "conditional")
    model = records.find_one("models", here)
    sound = records.find("references", here | {"status": "sound"})
    unknown = {d["reference_id"] for d in sound if d["energy_above_ground_state"] is None}
    assert len(unknown) == 11 and set(model["left_out"]) == unknown
    assert set(model["reference_ids"]) == {d["reference_id"] for d in sound} - unknown
    assert all((d["latent"] is None) == (d["reference_id"] in unknown) for d in sound)
    stage = queries.resolve_search(records, "conditional")["stages"]["model"]
    assert stage["summary"]["left_out"] == model["left_out"]
    assert (model["model"], model["condition"], model["likelihood"]) == (
        "hvae",
        "energy",
        "continuous-bernoulli",
    )
    assert model["history"]["annealing_epochs"] == 10
    plain = records.find_one("models", of(records, "single"))
    assert (plain["condition"], plain["left_out"]) == (None, [])
    assert plain["history"]["optimizer"] == "sgd"


def test_every_kind_of_replica_is_made_at_every_condition(records: RecordStore) -> None:
    here = of(records, "conditional")
    replicas = records.find("replicas", here)
    assert len(replicas) == 2 * OF_EACH_CONDITION
    places = {(d["kind"], *d["label"]): d for d in replicas}
    assert len(places) == OF_EACH_CONDITION
    for place in places:
        same = [d for d in replicas if (d["kind"], *d["label"]) == place]
        assert {d["condition"] for d in same} == {0.0, 0.25}
        assert same[0]["latent"] == same[1]["latent"]
    model = load_trained_model(records, here["search"])
    known = {d["reference_id"]: d for d in records.find("references", here)}
    for replica in replicas:
        decoded = model.decode([replica["latent"]], conditions=[replica["condition"]])[0]
        stored = from_binary_vector(replica["fingerprint"])
        np.testing.assert_array_equal(stored, decoded.astype(np.float32))
    ends = [places["interpolation", "mp-149", "mp-27", index]["latent"] for index in (0, 2)]
    assert ends == [known[name]["latent"] for name in ("mp-149", "mp-27")]
    points = model.locate(
        [from_binary_vector(known["mp-27"]["fingerprint"])],
        conditions=[[known["mp-27"]["energy_above_ground_state"]]],
        above_maximum="clip",  # the stored fingerprint is rounded
    )
    np.testing.assert_allclose(points[0], known["mp-27"]["latent"], atol=1e-4)


def test_conditions_can_be_asked_for_and_are_shown(call, records: RecordStore) -> None:
    low = call(
        "results", "conditional", "--collection", "replicas", "--filter", "condition<0.1",
        "--columns", "_id,condition", "--format", "csv",
    ).split()  # fmt: skip
    assert len(low) == 1 + OF_EACH_CONDITION
    assert "condition" in call("show", low[1].split(",")[0])
    model = records.find_one("models", of(records, "conditional"))
    shown = " ".join(call("show", model["_id"]).split())
    for text in ("leapfrog_steps 3", "left_out", "adam at learning rate 0.003", "over 10 epochs"):
        assert text in shown
    assert "mp-1072544" in call("status", "conditional")
    relaxed = records.find("relaxations", of(records, "conditional") | {"parent_kind": "candidate"})
    candidate = records.get("candidates", relaxed[0]["parent_id"])
    replica = records.get("replicas", candidate["nearest_replica"]["id"])
    lineage = call("show", relaxed[0]["_id"])
    assert f"replica decoded with energy {replica['condition']:g} by hvae" in lineage
    assert "trained on 23 known structures" in lineage


LATENT = ("design", "--search", "conditional", "--latent", "0,0,0")
BETWEEN = ("design", "--search", "conditional", "--near", "mp-149", "--towards", "mp-27")
FAST = ("--draw", "200", "--descend", "20", "--threshold", "1.5", "-n", "1")


def test_a_design_with_a_condition(call, tmp_path: Path, records: RecordStore) -> None:
    told = call(*LATENT, "--condition", "0.1", *FAST, "--map", "map.png", "-o", "point")
    assert "energy (eV/atom)" in told and "0.100" in told
    (file,) = (tmp_path / "point").iterdir()
    assert "(latent point 0.000000,0.000000,0.000000; energy 0.1 eV/atom)" in file.read_text()
    assert (tmp_path / "map.png").exists()
    assert "outside" not in told
    told = call(*LATENT, "--condition", "2", *FAST, "-o", "beyond")
    assert "--condition 2: outside of what the model has learned, 0 to 0.541 eV/atom" in told
    told = call(*BETWEEN, "--steps", "3", *FAST, "-o", "line")
    energies = [
        records.find_one("references", {"reference_id": name})["energy_above_ground_state"]
        for name in ("mp-149", "mp-27")
    ]
    for energy in (energies[0], sum(energies) / 2, energies[1]):
        assert f"{energy:.3f}" in told
    assert "energy" not in call("design", "--search", "single", "--latent", "0.1", *FAST)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (LATENT, r"give --condition VALUE in eV/atom \(known structures: 0 to 0\.5"),
        ((*LATENT, "--condition=-1"), "--condition -1: is no energy; give 0 or more"),
        ((*LATENT, "--condition", "nan"), "--condition nan: is not finite"),
        ((*BETWEEN, "--condition", "0.1"), "a line takes the conditions of its ends"),
        ((*BETWEEN[:-1], "mp-1072544"), "--towards mp-1072544: has no place .* energy is not kno"),
        (
            ("design", "--search", "single", "--latent", "0.1", "--condition", "0.1"),
            "--condition 0.1: the model of the search takes none",
        ),
        (
            ("design", "--search", "single", "--latent", "0.1", "--map", "map.png"),
            "needs targets in a latent space of two or more dimensions",
        ),
    ],
)
def test_what_is_wrong_with_a_condition_is_said(call, arguments, message: str) -> None:
    with pytest.raises(CrysearchError, match=message):
        call(*arguments)
