"""One outcome of three steps; corrections of the Materials Project."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from crysearch.workflows.vasp.outcome import corrected_energy, outcome_of
from crysearch.workflows.vasp.protocols import get_protocol

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
IRON_OXIDE = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(4.33), ["Fe", "O"], [[0] * 3, [0.5] * 3]
)
SILICON = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
UUIDS = ["first", "second", "third"]


def step(structure=SALT, state="converged", energy=-27.0, stand_in=False, **changes):
    symbols = {"Na": "Na_pv", "Cl": "Cl", "Si": "Si", "Fe": "Fe_pv", "O": "O"}
    spec = [
        {"titel": f"PAW_PBE {symbols[e.symbol]} 01Jan2000", "hash": None}
        for e in structure.composition
    ]
    return {
        "state": state, "reason": None, "detail": None, "dir_name": "here", "stand_in": stand_in,
        "custodian_corrections": [], "structure": structure.as_dict(), "energy": energy,
        "max_force": 0.001, "stress": None, "max_stress": None, "steps": 4, "band_gap": 5.0,
        "is_metal": False, "is_gap_direct": True,
        "settings": {"encut": 520.0},
        "entry_parameters": {
            "run_type": "GGA", "is_hubbard": False, "hubbards": {}, "potcar_spec": spec,
        },
    } | changes  # fmt: skip


def test_a_chloride_is_corrected_by_the_published_energy():
    # Wang et al., Sci. Rep. 11, 15496 (2021): −0.614 eV per Cl; four of them.
    assert corrected_energy(step()) == pytest.approx(-27.0 - 4 * 0.614, abs=1e-6)


def test_elements_are_not_corrected():
    assert corrected_energy(step(SILICON)) == pytest.approx(-27.0)


def test_other_hubbard_u_or_potentials_have_no_correction():
    assert corrected_energy(step(IRON_OXIDE)) is None  # the scheme asks for U on Fe
    spec = {"potcar_spec": [{"titel": "PAW_PBE Na 01Jan2000"}, {"titel": "PAW_PBE Cl 01Jan2000"}]}
    parameters = step()["entry_parameters"] | spec
    assert corrected_energy(step(entry_parameters=parameters)) is None


def test_raw_and_corrected_energy():
    outcome = outcome_of(get_protocol("mp-pbe"), [step()] * 3, UUIDS)
    assert (outcome["status"], outcome["scheme"]) == ("converged", "vasp:pbe-mp2020")
    assert outcome["energy_per_atom"] == pytest.approx(-27.0 / 8)
    assert outcome["corrected_energy_per_atom"] == pytest.approx(-27.0 / 8 - 0.307)
    assert outcome["correction_scheme"] == "MaterialsProject2020Compatibility"


@pytest.mark.parametrize(
    ("protocol", "stand_in", "incar", "scheme"),
    [
        ("lda", False, {}, "vasp:lda"),
        ("mp-r2scan", False, {}, "vasp:r2scan"),
        ("mp-pbe", True, {}, "stand-in for vasp:pbe-mp2020"),
        ("mp-pbe", False, {"ENCUT": 700}, "vasp:pbe-mp2020 with ENCUT=700"),
    ],
)
def test_nothing_else_is_corrected(protocol, stand_in, incar, scheme):
    outcome = outcome_of(get_protocol(protocol), [step(stand_in=stand_in)] * 3, UUIDS, incar)
    assert outcome["scheme"] == scheme
    assert outcome["corrected_energy_per_atom"] is outcome["correction_scheme"] is None
    assert outcome["energy"] == -27.0


def test_the_last_relaxation_says_whether_it_converged():
    lda = get_protocol("lda")
    late = step(state="unconverged", reason="unconverged_ionic", detail="99 steps")
    assert outcome_of(lda, [late, step(), step()], UUIDS)["status"] == "converged"
    outcome = outcome_of(lda, [step(), late, step(steps=0)], UUIDS)
    assert (outcome["status"], outcome["reason"]) == ("unconverged", "unconverged_ionic")
    assert outcome["energy"] == -27.0
    assert outcome["steps"] == 8


def test_a_lost_step():
    waiting = {
        "state": "not run", "reason": "lost", "detail": "…", "dir_name": None, "stand_in": None,
        "custodian_corrections": [],
    }  # fmt: skip
    outcome = outcome_of(get_protocol("lda"), [step(), None, waiting], UUIDS)
    assert (outcome["status"], outcome["reason"]) == ("failed", "lost")
    assert "relax 2" in outcome["detail"]
    assert [task["state"] for task in outcome["tasks"]] == ["converged", "lost", "not run"]
    assert [task["uuid"] for task in outcome["tasks"]] == UUIDS
    assert outcome["structure"] is outcome["energy"] is outcome["band_gap"] is None
