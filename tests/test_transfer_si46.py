"""The transfer to larger cells, as it is in `flows`, with smaller ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from crysearch.errors import SpecError
from crysearch.records import open_records
from crysearch.workflows.potentials import potential_spec, train_on_dataset
from small_potential import QUICK, silicon_dataset
from small_study import LARGE

FILE = Path(__file__).parents[1] / "flows" / "transfer_si46.py"


@pytest.fixture(scope="module")
def flow():
    description = importlib.util.spec_from_file_location("transfer_si46", FILE)
    assert description is not None and description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


@pytest.fixture
def potential(tmp_path, monkeypatch):
    """The id of a potential in the records of the settings."""
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    with open_records(tmp_path / "records") as records:
        name = silicon_dataset(records, tmp_path)
        return train_on_dataset(records, name, potential_spec(QUICK))["_id"]


def test_the_pool_is_not_screened_and_the_flow_has_the_whole_id(flow, potential):
    spec = flow.build_spec(potential[:8], crystals=7)
    assert spec.formula_units == (46,) and not spec.replicas.wanted
    assert spec.screening.quotas.model_dump() == {"I": 0, "II": 0, "III": 7, "IV": 0}
    assert len(spec.sampling.space_groups) == 230
    assert flow.build_spec("a", space_groups=[223]).sampling.space_groups == (223,)
    job, _ = next(flow.build_flow(potential[:8]).iterflow())
    assert job.function_args[0]["relaxation"]["options"] == {"potential": potential}
    with pytest.raises(SpecError, match="No potential has an id"):
        flow.build_flow("x")


@pytest.mark.slow
def test_a_known_structure_is_found_and_has_energies_by_both(flow, potential, monkeypatch, capsys):
    """Eight atoms in Fd-3m are diamond."""
    for name, value in (("ATOMS", 8), ("CUBIC", (227,)), ("CLATHRATES", ("mp-149",))):
        monkeypatch.setattr(flow, name, value)
    few = {"references.exclude": LARGE, "relaxation.maximum_reference_atoms": 1}
    build = flow.build_spec
    monkeypatch.setattr(flow, "build_spec", lambda *given: build(*given).with_changes(few))
    options = ["--crystals", "3", "--cubic", "--reference", "stillinger-weber", "--best", "1"]
    monkeypatch.setattr(sys, "argv", ["transfer_si46.py", potential[:8], *options])
    flow.main()
    said = capsys.readouterr().out
    assert "known structures in the pool: mp-149 (3)" in said
    # The pool's diamond and the known one.
    first, second = (line.split()[1:] for line in said.splitlines()[-2:])
    assert first == second and first[0] == "mp-149" and first[2] == "0.0000"
