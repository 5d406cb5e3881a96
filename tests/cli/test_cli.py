"""The command line, as a person and as a pipe use it."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import pytest
import yaml
from pymatgen.core import Structure

from crysearch.records import open_records
from crysearch.spec import SearchSpec
from small_search import SMALL

FLOW = Path(__file__).parents[2] / "flows" / "si_allotropes.py"


@pytest.fixture
def crysearch(finished_search, tmp_path):
    """Run the command on the finished search; returns the completed process."""

    def call(*arguments: str, database: Path | None = None) -> subprocess.CompletedProcess[str]:
        place = database or finished_search[1]
        return subprocess.run(
            [sys.executable, "-m", "crysearch", "--database", str(place), *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
            check=False,
        )

    return call


def rows(process: subprocess.CompletedProcess[str]) -> list[dict]:
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.slow
def test_results_filter_sort_and_formats(crysearch):
    everything = rows(crysearch("results", "--format", "json", "--duplicates"))
    assert everything
    energies = [row["energy_above_ground_state_found"] for row in everything]
    known = [energy for energy in energies if energy is not None]
    assert known == sorted(known)
    columns = "_id,energy_per_atom,converged"
    chosen = rows(
        crysearch(
            "results", "-f", "converged=true", "--sort", "-energy_per_atom", "--columns", columns,
            "--limit", "3", "--format", "json",
        )
    )  # fmt: skip
    assert 0 < len(chosen) <= 3
    assert list(chosen[0]) == columns.split(",")
    assert [row["energy_per_atom"] for row in chosen] == sorted(
        (row["energy_per_atom"] for row in chosen), reverse=True
    )
    text = crysearch("results", "--columns", columns, "--format", "csv", "--duplicates").stdout
    assert len(list(csv.DictReader(io.StringIO(text)))) == len(everything)


@pytest.mark.slow
def test_table_in_a_pipe_is_plain_and_whole(crysearch):
    process = crysearch("results")
    lines = process.stdout.splitlines()
    assert process.returncode == 0
    assert lines[0].split()[:2] == ["id", "formula"]
    assert "\x1b" not in process.stdout
    assert all("→" in line for line in lines[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("results", "-f", "colour=1"), "There is no field 'colour'"),
        (("results", "nowhere"), "nowhere"),
        (("show", "ffffffffff"), "No document has the id"),
        (("run", "missing.yaml"), "missing.yaml: cannot be read"),
        (("run", str(FLOW), "--set", "qouta=3"), "neither a parameter of build_spec"),
        (("run", str(FLOW), "--set", "quota=-3"), "screening.quotas.I: -3"),
        (("run", str(FLOW), "--set", "quota"), "write FIELD=VALUE"),
        (("run", str(FLOW), "--set", "formula_units=2.5"), "build_spec with"),
        (("run", str(FLOW), "--figures", "/proc/figures"), "--figures /proc/figures"),
        (("run", str(FLOW), "--set", "relaxation.engine=vsap"), "relaxation.engine: 'vsap'"),
    ],
)
def test_errors_are_one_clear_sentence_and_status_1(crysearch, arguments, message):
    process = crysearch(*arguments)
    assert process.returncode == 1
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert not process.stdout


@pytest.mark.slow
def test_wrong_usage_is_status_2(crysearch):
    assert crysearch("results", "--limit", "none").returncode == 2
    assert crysearch("export").returncode == 2
    assert crysearch("nonsense").returncode == 2


@pytest.mark.slow
def test_without_records_the_way_out_is_named(crysearch, tmp_path):
    process = crysearch("results", database=tmp_path / "empty")
    assert process.returncode == 1
    assert "run a search first" in process.stderr
    assert not (tmp_path / "empty").exists()


@pytest.mark.slow
def test_status_and_show(crysearch, finished_search):
    spec, _ = finished_search
    assert spec.search_id in crysearch("status").stdout
    status = rows(crysearch("status", "latest", "--format", "json"))
    assert status["status"] == "complete"
    assert {stage["status"] for stage in status["stages"]} == {"complete"}
    (first, *_) = rows(crysearch("results", "--format", "json", "--limit", "1"))
    shown = crysearch("show", first["_id"][:8])
    assert shown.returncode == 0, shown.stderr
    assert "of random crystal" in shown.stdout
    assert "trained on 34 known structures" in shown.stdout
    document = rows(crysearch("show", first["_id"][:8], "--json"))
    assert document["_id"] == first["_id"]
    assert len(document["fingerprint"]) == 200
    assert "mp-149" in crysearch("show", "mp-149").stdout


@pytest.mark.slow
def test_export_reads_back_as_the_same_crystal(crysearch, tmp_path):
    columns = "_id,nsites,volume,formula"
    (first, *_) = rows(
        crysearch("results", "--columns", columns, "--format", "json", "--limit", "1")
    )
    for format, name in (("cif", "a.cif"), ("poscar", "POSCAR"), ("json", "a.json")):
        process = crysearch("export", first["_id"][:10], "--format", format, "-o", name)
        assert process.returncode == 0, process.stderr
        if format == "json":
            content = json.loads((tmp_path / name).read_text())["structure"]
            structure = Structure.from_dict(content)
        else:
            structure = Structure.from_file(tmp_path / name)
        assert len(structure) == first["nsites"]
        assert structure.volume == pytest.approx(first["volume"], rel=1e-4)
    again = crysearch("export", first["_id"][:10], "-o", "a.cif")
    assert again.returncode == 1
    assert "exists already" in again.stderr
    everything = crysearch("export", "--all", "latest", "--format", "extxyz", "-o", "all.extxyz")
    assert everything.returncode == 0, everything.stderr
    frames = ase.io.read(tmp_path / "all.extxyz", ":")
    assert len(frames) == len(rows(crysearch("results", "--format", "json")))
    assert all("energy_per_atom" in frame.info for frame in frames)
    files = crysearch("export", "--all", "latest", "-o", "folder")
    assert files.returncode == 0, files.stderr
    assert len(list((tmp_path / "folder").glob("*.cif"))) == len(frames)
    stream = crysearch("export", "--all", "latest", "--format", "json", "-o", "-")
    assert len(rows(stream)) == len(frames)
    assert crysearch("export", "--all", "latest", "-o", "-").returncode == 2
    piped = crysearch("export", first["_id"][:10], "--format", "poscar", "-o", "-")
    assert piped.stdout == (tmp_path / "POSCAR").read_text()


@pytest.mark.slow
def test_plot_writes_every_figure(crysearch, tmp_path):
    process = crysearch("plot", "-o", "figures")
    assert process.returncode == 0, process.stderr
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert names == {"losses", "latent", "energies", "distances", "rdf", "xray", "overview"}
    process = crysearch("plot", "--figure", "rdf", "--pair", "mp-149", "mp-165", "-o", "pair",
                        "--format", "svg")  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "pair" / "rdf.svg").stat().st_size > 1000


@pytest.mark.slow
def test_run_of_a_complete_search_shows_it_again(crysearch, finished_search, tmp_path):
    spec, _ = finished_search
    (tmp_path / "spec.yaml").write_text(spec.to_yaml())
    process = crysearch("run", "spec.yaml")
    assert process.returncode == 0, process.stderr
    assert "is complete already" in process.stderr
    assert "Figures: 7 in" in process.stdout
    assert "random crystals screened" in process.stdout
    # The commands proposed lead to this search and database, as this one was called.
    place = finished_search[1]
    assert f"-d {place} results {spec.search_id[:8]}" in process.stdout
    assert crysearch("run", "spec.yaml", "--set", "name=odd [/b] $x.y").returncode == 0
    assert "odd [/b] $x.y" in crysearch("status").stdout
    assert crysearch("run", "spec.yaml").returncode == 0


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    place = tmp_path / "records"
    process = subprocess.Popen(
        [sys.executable, "-m", "crysearch", "-d", str(place), "run", str(FLOW),
         "--set", "relaxation.engine=stillinger-weber", "--set", "formula_units=8"],
        stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        # A shell has what it runs in the background ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (place / "records.sqlite").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    # Python ends itself by the signal, which a shell shows as 130 too, where the interrupt came in
    # code that was made from a string, such as a dataclass's.
    assert process.returncode in (130, -signal.SIGINT)
    assert "The same command continues the search" in errors
    assert "Traceback" not in errors
    with open_records(place, read_only=True) as records:
        assert records.find("searches")[0]["status"] == "interrupted"


@pytest.mark.slow
def test_a_paused_run_says_what_there_is(tmp_path):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    process = subprocess.run(
        [sys.executable, "-m", "crysearch", "-d", str(tmp_path / "records"), "run", str(file),
         "--until", "candidates"],
        capture_output=True, text=True, cwd=tmp_path, timeout=300, check=True,
    )  # fmt: skip
    assert "Paused after" in process.stderr
    counts = re.search(
        r"34 known structures, 19 replicas, ([\d,]+) random crystals screened, "
        r"\d+ guided, (\d+) kept: 6 in group I, 6 in group III, 6 in group IV",
        process.stdout,
    )
    assert counts is not None, process.stdout
    assert int(counts[1].replace(",", "")) >= 120 and 12 <= int(counts[2]) <= 18
    assert "goes on from here" in process.stdout


def test_spec_prints_complete_yaml_and_a_page(crysearch):
    content = yaml.safe_load(crysearch("spec").stdout)
    assert SearchSpec.build(content) == SearchSpec()
    page = crysearch("spec", "--format", "markdown").stdout
    for name in ("volume_per_formula_unit", "attempts_per_orbit", "screening.quotas"):
        assert name in page


@pytest.mark.parametrize(
    ("page", "option"),
    [
        ("spec", []),
        ("verification-spec", ["--verification"]),
        ("active-learning-spec", ["--active-learning"]),
    ],
)
def test_the_generated_pages_are_up_to_date(crysearch, page, option):
    path = Path(__file__).parents[2] / "docs" / f"{page}.md"
    shown = crysearch("spec", "--format", "markdown", *option).stdout
    assert path.read_text(encoding="utf-8") == shown, "run `make docs`"


def test_flow_is_the_published_protocol():
    from crysearch.cli.run import read_spec

    published = SearchSpec(name="silicon allotropes")
    assert read_spec(FLOW, []).search_id == published.search_id
    small = read_spec(FLOW, ["quota=2", "formula_units=8", "seed=5"])
    assert small.screening.quotas.II == 2
    assert small.formula_units == (8,)
    assert small.seed == 5
