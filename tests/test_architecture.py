"""The import rules of the house."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import crysearch

ROOT = Path(crysearch.__file__).parent
SCIENCE = (
    "active_learning",
    "assessment",
    "fingerprints",
    "generative",
    "guiding",
    "sampling",
    "screening",
    "packing",
    "relaxation",
    "potentials",
    "datasets",
    "dynamics",
    "analysis",
    "references",
)
WORKFLOW_LIBRARIES = {"jobflow", "fireworks", "pymongo", "maggma", "mongomock", "mongomock_ng"}
UPPER_ROOMS = {
    "active_learning_spec",
    "dynamics_spec",
    "protocol_spec",
    "assessment_spec",
    "selection_spec",
    "records",
    "workflows",
    "cli",
    "serve",
    "plotting",
    "settings",
    "spec",
    "spec_generative",
    "spec_parts",
    "verification",
    "study",
}


def modules(room: str) -> list[Path]:
    single = ROOT / f"{room}.py"
    return [single] if single.exists() else sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_of(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("crysearch.")}


@pytest.mark.parametrize("room", SCIENCE)
def test_science_knows_no_database_and_no_workflow(room):
    for path in modules(room):
        names = imported(path)
        assert not {name.split(".")[0] for name in names} & WORKFLOW_LIBRARIES, path
        assert not rooms_of(names) & UPPER_ROOMS, path


def test_records_import_no_other_room():
    for path in modules("records"):
        names = imported(path)
        assert rooms_of(names) <= {"records", "localdb", "errors", "__version__"}, path
        assert not {name.split(".")[0] for name in names} & {"jobflow", "fireworks"}, path


def test_the_local_store_knows_nothing_of_crystals():
    for path in modules("localdb"):
        names = imported(path)
        assert rooms_of(names) <= {"localdb", "errors"}, path
        assert not {name.split(".")[0] for name in names} & {"pymatgen", "ase", "jobflow"}, path


def test_the_stand_in_for_vasp_knows_only_the_engines():
    for path in modules("vasp_standin"):
        names = imported(path)
        assert rooms_of(names) <= {"vasp_standin", "relaxation", "errors"}, path
        forbidden = WORKFLOW_LIBRARIES | {"atomate2", "custodian", "emmet"}
        assert not {name.split(".")[0] for name in names} & forbidden, path


@pytest.mark.parametrize("room", ["cli", "plotting", "deployment"])
def test_only_workflows_know_jobflow(room):
    for path in modules(room):
        names = imported(path)
        assert not {name.split(".")[0] for name in names} & WORKFLOW_LIBRARIES, path


def test_only_records_talk_to_a_database():
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] in ("records", "localdb"):
            continue
        top = {name.split(".")[0] for name in imported(path)}
        assert not top & {"pymongo", "gridfs", "mongomock", "mongomock_ng", "sqlite3"}, path


def test_every_room_is_checked():
    """A new room must be placed on one side of the rules."""
    known = {*SCIENCE, "records", "workflows", "cli", "serve", "plotting", "localdb", "deployment"}
    known |= {"vasp_standin", "study"}
    known |= {"__init__", "__main__", "errors", "spec", "spec_parts", "settings", "validation"}
    known |= {"spec_generative", "verification", "active_learning_spec", "dynamics_spec"}
    known |= {"assessment_spec", "selection_spec", "protocol_spec"}
    found = {p.stem for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert found <= known
