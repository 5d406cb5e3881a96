"""From relaxed structures to verdicts, with a classical potential in the place of the code."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from fireworks.core.rocket_launcher import rapidfire
from pymatgen.core import Lattice, Structure

from crysearch.errors import RecordsError, SpecError
from crysearch.records import open_records
from crysearch.records.values import structure_from_document
from crysearch.relaxation.ase_calculator import AseRelaxer
from crysearch.spec import SearchSpec
from crysearch.verification import VerificationSpec
from crysearch.workflows import run_search
from crysearch.workflows.launchpad import launchpad
from crysearch.workflows.verification import (
    best_distinct,
    find_subjects,
    run_verification,
    submit_verification,
)
from verified_search import SPEC

SEARCH = SPEC.search_id
LEVEL = {"engine": "stillinger-weber", "force_tolerance": 1e-4, "stress_tolerance": 1e-3}
CHEAP = {"phonons": {"minimum_length": 6.0}, "equation_of_state": {"points": 5}}


def build(**content):
    return VerificationSpec.build({"level": LEVEL, "properties": CHEAP} | content)


def documents(place, collection, **query):
    with open_records(place, read_only=True) as records:
        return records.find(collection, query, sort=[("_id", 1)])


def without_times(found):
    light = ("created_at", "seconds", "provenance")
    return [{k: v for k, v in document.items() if k not in light} for document in found]


def test_diamond_has_every_answer_and_the_numbers_of_the_literature(database):
    with open_records(database) as records:
        subjects = find_subjects(records, SEARCH, ["mp-149"])
    summary = run_verification(SEARCH, subjects, build())
    assert summary == {"verdicts": 1, "calculated": 1, "failed": 0}
    [verdict] = documents(database, "verdicts")
    assert verdict["label"] == verdict["matches"] == "mp-149"
    assert verdict["energy_above_ground_state"] == 0 == verdict["energy_above_hull"]
    assert verdict["is_mechanically_stable"] is True
    assert verdict["is_dynamically_stable"] is True
    # Stillinger and Weber's diamond: a = 5.431 Å, E = -4.3366 eV/atom, B = 101.4 GPa
    # (Cowley, Phys. Rev. Lett. 60, 2379 (1988); Balamane et al., Phys. Rev. B 46, 2250 (1992)).
    assert verdict["bulk_modulus"] == pytest.approx(101.4, rel=0.01)
    assert verdict["volume_per_atom"] == pytest.approx(5.431**3 / 8, rel=1e-3)
    constants = np.array(verdict["answers"]["elasticity"]["tensor"])
    assert constants[0, 0] == pytest.approx(151.4, rel=0.01)
    assert constants[0, 1] == pytest.approx(76.4, rel=0.01)
    assert constants[3, 3] == pytest.approx(56.4, rel=0.01)
    assert verdict["prototype"] is not None
    # What a classical potential cannot know is not computed, and that is not "no".
    assert verdict["answers"]["electronic"]["status"] == "not_computed"
    assert verdict["band_gap"] is None is verdict["is_metal"]
    strongest = max(verdict["answers"]["diffraction"]["peaks"], key=lambda p: p["intensity"])
    assert strongest["two_theta"] == pytest.approx(28.44, abs=0.05)  # (111) with Cu Kα


def test_levels_stand_side_by_side(database):
    with open_records(database) as records:
        subjects = best_distinct(records, SEARCH, 2)
    run_verification(SEARCH, subjects, build(properties={"wanted": []}))
    for verdict in documents(database, "verdicts"):
        first, second = verdict["levels"]
        assert second["scheme"] == "stillinger-weber"
        assert second["energy_per_atom"] <= first["energy_per_atom"] + 1e-6
        assert second["energy_above_ground_state"] == pytest.approx(
            first["energy_above_ground_state"], abs=1e-3
        )
        assert verdict["answers"]["phonons"] == {
            "status": "not_computed",
            "reason": "not asked for (properties.wanted)",
            "engine": None,
        }
    # The known ground state was calculated at the same level, to count energies from.
    kinds = [c["parent_kind"] for c in documents(database, "calculations")]
    assert sorted(kinds) == ["candidate", "candidate", "reference"]


def test_without_a_level_the_search_s_own_energies_are_judged(database):
    with open_records(database) as records:
        subjects = best_distinct(records, SEARCH, 1)
    run_verification(SEARCH, subjects, build(level={}, properties={"wanted": []}))
    [verdict] = documents(database, "verdicts")
    [relaxation] = documents(database, "relaxations", _id=subjects[0])
    assert verdict["calculation_id"] is None
    assert verdict["energy_above_ground_state"] == pytest.approx(
        relaxation["energy_above_reference_ground_state"], abs=1e-9
    )
    assert documents(database, "calculations") == []


def test_a_repetition_computes_nothing_and_changes_nothing(database, monkeypatch):
    with open_records(database) as records:
        subjects = best_distinct(records, SEARCH, 1)
    run_verification(SEARCH, subjects, build())
    before = {
        name: without_times(documents(database, name))
        for name in ("calculations", "properties", "verdicts")
    }
    assert all(before.values())

    def refuse(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(AseRelaxer, "evaluate", refuse)
    run_verification(SEARCH, subjects, build())
    for name, found in before.items():
        assert without_times(documents(database, name)) == found


def test_a_failed_calculation_is_a_verdict_too(database, monkeypatch):
    with open_records(database) as records:
        subjects = best_distinct(records, SEARCH, 2)
        doomed = structure_from_document(records.get("relaxations", subjects[0]))
    real = AseRelaxer.evaluate

    def fail(self, batch):
        if any(abs(atoms.get_volume() - doomed.volume) < 1e-3 for atoms in batch):
            raise RuntimeError("the engine crashed")
        return real(self, batch)

    spec = build(properties={"wanted": []})
    with monkeypatch.context() as patch:
        patch.setattr(AseRelaxer, "evaluate", fail)
        summary = run_verification(SEARCH, subjects, spec)
    assert summary == {"verdicts": 2, "calculated": 1, "failed": 1}
    [failure] = documents(database, "failures", stage="verification")
    assert failure["parent"] == subjects[0]
    assert "crashed" in failure["detail"]
    [verdict] = documents(database, "verdicts", relaxation_id=subjects[0])
    assert verdict["levels"][1]["status"] == "failed"
    assert verdict["answers"]["energy"]["status"] == "failed"
    assert verdict["energy_above_ground_state"] is None
    # The engine works again: the failure goes.
    assert run_verification(SEARCH, subjects, spec)["failed"] == 0
    assert documents(database, "failures", stage="verification") == []


def test_a_property_that_fails_has_its_reason_and_is_tried_again(database):
    with open_records(database) as records:
        subjects = best_distinct(records, SEARCH, 1)
    small = {"wanted": ["phonons"], "phonons": {"minimum_length": 30.0, "maximum_atoms": 50}}
    run_verification(SEARCH, subjects, build(level={}, properties=small))
    [document] = documents(database, "properties")
    assert document["status"] == "failed"
    assert "maximum_atoms=50" in document["reason"]
    [verdict] = documents(database, "verdicts")
    assert verdict["answers"]["phonons"]["status"] == "failed"
    assert verdict["is_dynamically_stable"] is None


@pytest.mark.slow
def test_workers_of_fireworks_write_the_same_records(database, tmp_path, monkeypatch):
    with open_records(database) as records:
        subjects = best_distinct(records, SEARCH, 2)
    spec = build()
    submission = submit_verification(SEARCH, subjects, spec)
    assert submission.state == "added"
    again = submit_verification(SEARCH, subjects, spec)
    assert (again.state, again.fw_ids) == ("waiting", submission.fw_ids)
    monkeypatch.chdir(tmp_path)
    rapidfire(launchpad(), strm_lvl="ERROR")
    assert {fw["state"] for fw in launchpad().fireworks.find({}, {"state": 1})} == {"COMPLETED"}
    by_workers = without_times(documents(database, "verdicts"))
    assert len(by_workers) == 2
    with open_records(database) as records:
        for name in ("calculations", "properties", "verdicts"):
            records.delete(name, {"search": SEARCH})
    run_verification(SEARCH, subjects, spec)
    assert without_times(documents(database, "verdicts")) == by_workers


def test_what_cannot_work_is_refused_before_any_work(database):
    with open_records(database) as records:
        subjects = best_distinct(records, SEARCH, 1)
        with pytest.raises(RecordsError, match="No document has the id 'mp-1'"):
            find_subjects(records, SEARCH, ["mp-1"])
    with pytest.raises(SpecError, match="'abinit' is unknown"):
        run_verification(SEARCH, subjects, build(level={"engine": "abinit"}))
    with pytest.raises(SpecError, match="does not know Si"):
        run_verification(SEARCH, subjects, build(level={"engine": "emt"}))
    with pytest.raises(SpecError, match="subjects: none"):
        run_verification(SEARCH, [], build())
    assert documents(database, "verdicts") == []


def test_a_compound_has_a_hull_when_its_elements_are_given(tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    monkeypatch.chdir(tmp_path)
    known, elements = tmp_path / "known", tmp_path / "elements"
    known.mkdir()
    elements.mkdir()
    tetragonal = Lattice.tetragonal(2.8, 3.7)
    compound = Structure(tetragonal, ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    compound.to(str(known / "CuAu.cif"))
    for symbol, a in (("Cu", 3.6), ("Au", 4.1)):
        Structure.from_spacegroup(225, Lattice.cubic(a), [symbol], [[0, 0, 0]]).to(
            str(elements / f"{symbol}.cif")
        )
    search = SearchSpec.build(
        {
            "composition": "CuAu",
            "formula_units": [1],
            "volume_per_formula_unit": 29.0,
            "minimum_distances": {"Cu-Cu": 2.0, "Au-Cu": 2.0, "Au-Au": 2.0},
            "fingerprint": {"species_resolved": True},
            "references": {"source": "files", "files": ["known"]},
            "replicas": {"grid_points": 0},
            "screening": {"quotas": {"I": 0, "II": 0, "III": 0}},
            "relaxation": {"engine": "emt"},
        }
    )
    run_search(search)
    with open_records(tmp_path / "records") as records:
        subjects = find_subjects(records, search.search_id, ["CuAu"])
    content = {"level": {"engine": "emt"}, "properties": {"wanted": []}}
    run_verification(search.search_id, subjects, VerificationSpec.build(content))
    [verdict] = documents(tmp_path / "records", "verdicts")
    assert verdict["answers"]["stability"]["status"] == "not_computed"
    assert "Au, Cu" in verdict["answers"]["stability"]["reason"]
    assert verdict["energy_above_hull"] is None

    whole = VerificationSpec.build(content | {"competing": ["elements"]})
    run_verification(search.search_id, subjects, whole)
    [verdict] = documents(tmp_path / "records", "verdicts", verification=whole.identifier)
    energies = {}
    for symbol in ("Cu", "Au"):  # ASE alone
        atoms = bulk(symbol, "fcc")
        atoms.calc = EMT()
        BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4)
        energies[symbol] = atoms.get_potential_energy()
    formation = verdict["levels"][1]["energy_per_atom"] - np.mean(list(energies.values()))
    answer = verdict["answers"]["stability"]
    assert answer["formation_energy"] == pytest.approx(formation, abs=1e-4)
    assert answer["known_phases"] == 3
    # It is on the hull of itself and the elements, or above it by what it could give off.
    assert verdict["energy_above_hull"] == pytest.approx(max(0.0, formation), abs=1e-4)
