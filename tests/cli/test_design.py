"""``crysearch design``, as a person uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pymatgen.core import Structure
from typer.testing import CliRunner, Result

from conftest import stop_servers_below
from crysearch.analysis import analyse_symmetry
from crysearch.cli.design_output import condensed
from crysearch.cli.main import app
from crysearch.errors import CrysearchError
from crysearch.fingerprints import pearson_distance
from crysearch.records import open_records
from crysearch.records.values import from_binary_vector
from crysearch.spec import SearchSpec
from crysearch.workflows import run_search
from crysearch.workflows.stages.generation import load_trained_model
from small_search import SMALL

FEW = ("--draw", "800", "--descend", "60")
Design = Callable[..., Result]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Records of two searches: one with a trained model, one with known structures only."""
    folder = tmp_path_factory.mktemp("design") / "records"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(folder))
        bare = {**SMALL, "name": "bare", "seed": 4}
        run_search(SearchSpec.build(bare), "references")
        run_search(SearchSpec.build({**SMALL, "generative": {"epochs": 300}}), "replicas")
    yield folder
    stop_servers_below(folder.parent)


@pytest.fixture
def call(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Design:
    """Run the command in this process, in an empty folder, with the records elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(app, ["design", *arguments])
        if isinstance(result.exception, CrysearchError):
            raise result.exception
        return result

    return run


def comments(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("# crysearch:"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF")
def test_a_line_between_two_known_structures(call: Design, place: Path, tmp_path: Path) -> None:
    result = call(
        "--near", "mp-149", "--towards", "mp-1079297", "--steps", "3", "--threshold", "0.3",
        "--figure", "way.png", "--map", "map.png", *FEW,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for number in (1, 2, 3):
        assert f"mp-149 to mp-1079297, {number}/3" in result.output
    assert "of 120" in result.output  # two cell sizes
    files = sorted((tmp_path / "crysearch-design").iterdir())
    assert f"{len(files)} crystals written to crysearch-design" in result.output
    assert {file.name[:2] for file in files} == {"01", "02", "03"}
    with open_records(str(place)) as records:
        search = records.find_one("searches", {"name": "small"})
        spec = SearchSpec.build(search["spec"])
        known = {
            d["reference_id"]: d for d in records.find("references", {"search": search["_id"]})
        }
        model = load_trained_model(records, search["_id"])
    ends = [np.array(known[name]["latent"]) for name in ("mp-149", "mp-1079297")]
    points = [ends[0], (ends[0] + ends[1]) / 2, ends[1]]
    for file in files:
        number, rank, formula, *_ = file.stem.split("-")
        crystal = Structure.from_file(file)
        assert crystal.composition.formula.replace(" ", "") == formula
        fingerprint = spec.radial_distribution_function.from_structures([crystal])[0]
        target = model.decode(points[int(number) - 1][None])[0]
        distance = pearson_distance(fingerprint, target)
        said = comments(file)
        assert distance <= 0.3 and f"Pearson's distance to the target: {distance:.4f}" in said
        assert f"space group {analyse_symmetry(crystal).symbol} within 0.1 angstrom" in said
        assert f"target: mp-149 to mp-1079297, {number[1]}/3" in said and "seed 3 " in said
        nearest = min(
            pearson_distance(fingerprint, from_binary_vector(d["fingerprint"]))
            for d in known.values()
            if d["status"] == "sound"
        )
        assert f"at {nearest:.4f}" in said
        assert int(rank) <= 3
    for name in ("way.png", "map.png"):
        with Image.open(tmp_path / name) as image:
            assert image.size[0] > 500


@pytest.mark.slow
def test_a_known_structure_itself_and_latent_points(call: Design, tmp_path: Path) -> None:
    result = call(
        "--near", "mp-149", "--latent=-0.5,0.25", "--latent", "0.3,-0.2", "--formula-units", "4",
        "--search", "small", "-n", "1", "--threshold", "0.3", "-o", "out", *FEW,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "-0.500,0.250" in result.output and "0.300,-0.200" in result.output
    (diamond,) = (tmp_path / "out").glob("01-*")
    assert "target: mp-149; search" in comments(diamond)
    assert diamond.name == "01-1-Si4-Fd-3m.cif"
    again = call(
        "--near", "mp-149", "--formula-units", "4", "--search", "small", "-n", "1",
        "--threshold", "0.3", "-o", "again", *FEW,
    )  # fmt: skip
    assert again.exit_code == 0
    assert (tmp_path / "again" / diamond.name).read_bytes() == diamond.read_bytes()
    assert call("--near", "mp-149", "--seed", "9", "-o", "other", *FEW).exit_code == 0
    assert "seed 9 " in comments(next((tmp_path / "other").iterdir()))


@pytest.mark.slow
def test_what_is_not_reached_is_said(call: Design, tmp_path: Path) -> None:
    result = call(
        "--near", "mp-149", "--threshold", "0.0001", "--formula-units", "5", "--figure", "f.png",
        "-o", "out", *FEW,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "0 of 60" in result.output and "No crystal: nothing is written." in result.output
    assert "Target 1 (mp-149) was not reached: the nearest of 60 crystals, Si5 in" in result.output
    assert "no figure f.png: no target was reached" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_known_structures_need_no_model(call: Design, tmp_path: Path) -> None:
    result = call("--near", "mp-149", "--search", "bare", "--formula-units", "8", "-o", "o", *FEW)
    assert result.exit_code == 0 and list((tmp_path / "o").iterdir())
    for more in (("--towards", "mp-165"), ("--latent", "0,0")):
        with pytest.raises(CrysearchError, match=r"no trained model .* --until replicas"):
            call("--near", "mp-149", "--search", "bare", *more)


LINE = ("--near", "mp-149", "--towards", "mp-165")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no target: give --near ID"),
        (("--towards", "mp-149"), "--towards mp-149: needs --near"),
        (("--near", "mp-149", "--towards", "mp-149"), "--towards mp-149: is where the line starts"),
        (("--near", "mp-149", "--steps", "4"), "--steps 4: needs a line"),
        ((*LINE, "--steps", "1"), "--steps 1: .*give 2 or more"),
        (("--near", "mp-1490"), "--near mp-1490: is none of the .*did you mean mp-149"),
        (("--near", "mp-149", "--towards", "165"), "--towards 165: is none of .*mp-165"),
        (("--near", "mp-16220"), r"--near mp-16220: was set aside by the search \(isolated_atom\)"),
        (("--latent", "0.3"), "--latent 0.3: has 1 coordinate, but .* has 2"),
        (("--latent", "1,2,3"), "--latent 1,2,3: has 3 coordinates"),
        (("--latent", "a,b"), "--latent a,b: write numbers, such as --latent 0.3,-1.2"),
        (("--latent", "nan,0"), "--latent nan,0: is not finite"),
        ((*LINE, "--threshold", "2"), "--threshold 2: is not a Pearson's distance"),
        ((*LINE, "--figure", "a.gif"), r"--figure a.gif: give a name ending in \.png"),
        ((*LINE, "--map", "a.txt"), r"--map a.txt: give a name"),
        (("--near", "mp-149", "--map", "a.png"), "--map a.png: needs targets in a latent space"),
        ((*LINE, "--search", "no such"), "No search has the name 'no such'"),
        ((*LINE, "-o", "a.cif"), "--output a.cif: give a folder"),
        ((*LINE, "-o", "full"), "--output full: exists already and is not overwritten"),
    ],
)
def test_what_is_wrong_is_said(call: Design, tmp_path: Path, arguments, message: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(CrysearchError, match=message):
        call(*arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_condensed_wyckoff_positions() -> None:
    assert condensed("Si: 1a 1a 2b") == "Si: 1a×2 2b"
    assert condensed("Sn: 4c 4c; Se: 4c 4c 4c") == "Sn: 4c×2; Se: 4c×3"
    assert condensed("unknown") == "unknown"
