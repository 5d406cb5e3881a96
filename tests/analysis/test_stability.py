from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crysearch.analysis import EnergyEntry, stabilities
from crysearch.errors import AnalysisError


def entry(name: str, formula: str, energy: float, scheme: str = "pbe") -> EnergyEntry:
    return EnergyEntry(name, formula, energy, scheme)


SALT = [
    entry("na", "Na2", -1.3),
    entry("na-high", "Na4", -1.2),
    entry("cl", "Cl4", -1.8),
    entry("salt", "Na4Cl4", -3.4),
]


def test_known_numbers():
    result = stabilities([*SALT, entry("nacl3", "NaCl3", -2.4)], SALT)
    assert [r.energy_above_hull for r in result] == pytest.approx([0, 0.1, 0, 0, 0.2])
    assert [r.formation_energy for r in result] == pytest.approx([0, 0.1, 0, -1.85, -0.725])
    assert [(p.entry_id, p.formula) for p in result[-1].decomposition] == [
        ("salt", "NaCl"),
        ("cl", "Cl2"),
    ]
    assert [p.fraction for p in result[-1].decomposition] == pytest.approx([0.5, 0.5])
    assert result[1].energy_above_ground_state == pytest.approx(0.1)
    assert result[-1].energy_above_ground_state is None
    json.dumps([r.to_dict() for r in result])


def test_new_crystals_below_the_known_hull():
    """Each is judged by the known crystals alone."""
    better, worse = stabilities([entry("a", "NaCl", -3.5), entry("b", "Na2Cl2", -3.45)], SALT)
    assert better.energy_above_hull == pytest.approx(-0.1)
    assert better.energy_above_ground_state == pytest.approx(-0.1)
    assert worse.energy_above_hull == pytest.approx(-0.05)
    assert better.decomposition[0].entry_id == "salt"


def test_one_element():
    above, ground = stabilities(
        [entry("x", "Si8", -5.2), entry("y", "Si2", -5.5)], [entry("diamond", "Si", -5.4)]
    )
    assert (above.energy_above_hull, ground.energy_above_hull) == pytest.approx((0.2, -0.1))
    assert above.decomposition[0].entry_id == "diamond"


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 5), st.floats(-3, 0)), min_size=1, max_size=6
    )
)
def test_binary_hull_against_its_definition(phases):
    """The lowest straight line between any two known phases, at the composition of each phase."""
    known = [entry("a", "Na", 0.0), entry("b", "Cl", 0.0)]
    known += [entry(f"p{k}", f"Na{n}Cl{m}", e) for k, (n, m, e) in enumerate(phases)]
    points = [(0.0, 0.0), (1.0, 0.0)] + [(m / (n + m), e) for n, m, e in phases]
    for (n, m, energy), result in zip(phases, stabilities(known, known)[2:], strict=True):
        x = m / (n + m)
        lines = [
            e1 if x1 == x2 else e1 + (e2 - e1) * (x - x1) / (x2 - x1)
            for x1, e1 in points
            for x2, e2 in points
            if min(x1, x2) <= x <= max(x1, x2)
        ]
        assert result.energy_above_hull == pytest.approx(energy - min(lines), abs=1e-6)
        assert sum(p.fraction for p in result.decomposition) == pytest.approx(1)


def test_missing_elements_are_not_guessed():
    potassium, elements = stabilities(
        [entry("kcl", "KCl", -3.0), entry("nakcl", "NaKCl2", -3.0)],
        [*SALT, entry("old", "KCl", -3.1)],
    )
    assert potassium.energy_above_hull is None
    assert potassium.formation_energy is None
    assert potassium.decomposition == ()
    assert "element K:" in potassium.not_computed
    assert potassium.energy_above_ground_state == pytest.approx(0.1)
    assert "element K:" in elements.not_computed
    assert elements.energy_above_ground_state is None
    both = stabilities([entry("kcl", "KCl", -3.0)], [])[0]
    assert "elements Cl, K:" in both.not_computed


def test_schemes_do_not_mix():
    with pytest.raises(AnalysisError, match=r"2 schemes \('pbe', 'sevennet-0'\)"):
        stabilities([entry("x", "NaCl", -3.3, "sevennet-0")], SALT)


def test_bad_input():
    with pytest.raises(AnalysisError, match=r"formula='Xx2' of x"):
        stabilities([entry("x", "Xx2", -3.3)], SALT)
    with pytest.raises(AnalysisError, match=r"energy_per_atom=nan of x"):
        stabilities([entry("x", "NaCl", np.nan)], SALT)
    assert stabilities([], SALT) == []
