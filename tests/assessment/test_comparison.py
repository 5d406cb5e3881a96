"""Differences between two engines."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crysearch.assessment import compare, headlines, measured_values
from crysearch.assessment.comparison import special_points


def phases(energies, volumes=None, kept=None, gains=None):
    count = len(energies)
    return [
        {
            "name": f"p{k}",
            "label": f"phase {k}",
            "energy": energies[k],
            "volume": (volumes or [20.0] * count)[k],
            "is_kept": (kept or [True] * count)[k],
            "relaxation_energy": (gains or [0.3] * count)[k],
            "relaxation_volume": 0.5,
        }
        for k in range(count)
    ]


DISTINCT = st.lists(st.integers(-1000, 1000), min_size=2, max_size=8, unique=True)


@given(DISTINCT, st.data())
def test_order_and_inversions_are_those_of_counting_pairs(energies, data):
    other = data.draw(st.permutations(energies))
    found = compare({"phases": phases(energies)}, {"phases": phases(other)})
    pairs = list(combinations(range(len(energies)), 2))
    signs = [np.sign((energies[i] - energies[j]) * (other[i] - other[j])) for i, j in pairs]
    assert found.kendall_tau == pytest.approx(np.mean(signs))
    assert len(found.inversions) == signs.count(-1)
    for lower, higher in found.inversions:
        i, j = int(lower[1:]), int(higher[1:])
        assert other[i] < other[j] and energies[i] > energies[j]


def test_zeros_of_energy_do_not_matter_and_differences_do():
    reference = phases([-5.0, -4.9, -4.7], [20.0, 21.0, 15.0], gains=[0.3, 0.2, 0.1])
    model = phases([-1.0, -0.88, -0.73], [20.1, 21.0, 14.8], gains=[0.4, 0.2, 0.1])
    found = compare({"phases": model}, {"phases": reference})
    assert [p.energy_difference for p in found.phases] == pytest.approx([0, 0.02, -0.03])
    assert found.energy_mean_absolute == pytest.approx(0.025)
    assert found.volume_mean_absolute == pytest.approx(0.1)
    assert found.relaxation_energy_mean_absolute == pytest.approx(0.1 / 3)
    assert found.relaxation_volume_mean_absolute == 0
    assert (found.kendall_tau, found.ordered, found.inversions) == (pytest.approx(1), 3, ())


def test_phases_that_were_lost_or_failed_do_not_count_in_the_order():
    reference = phases([0.0, 0.1, 0.2, 0.3], kept=[True, True, True, None])
    model = phases([0.0, 0.1, -5.0, None], kept=[True, True, False, None])
    found = compare({"phases": model}, {"phases": reference})
    assert found.ordered == 2 and found.kendall_tau == pytest.approx(1)
    assert [p.is_ordered for p in found.phases] == [True, True, False, False]
    assert found.phases[3].energy_difference is None
    assert compare({"phases": model[:1]}, {"phases": reference}).kendall_tau is None
    assert compare({}, {}).energy_mean_absolute is None


def phonons(scale):
    return {
        "bands": [
            {"labels": ("G", "X"), "frequencies": [[0, 0, scale * 15], [4, 8, scale * 12]]},
            {"labels": ("X", "L"), "frequencies": [[4, 8, scale * 12], [3, 9, scale * 10]]},
        ]
    }


def test_phonons_are_compared_at_the_special_points():
    assert special_points(phonons(1)) == {"G": [0, 0, 15], "X": [4, 8, 12], "L": [3, 9, 10]}
    found = compare({"phonons": phonons(1.1)}, {"phonons": phonons(1)})
    assert found.phonon_mean_absolute == pytest.approx(0.1 * (15 + 12 + 10) / 9)
    lines = {line.key: line.value for line in headlines({"phonons": phonons(1)})}
    assert lines == {
        "phonon_G_highest": 15,
        "phonon_X_lowest": 4,
        "phonon_X_highest": 12,
        "phonon_L_lowest": 3,
        "phonon_L_highest": 10,
    }


def test_headlines_have_the_independent_elastic_constants():
    tensor = np.diag([160.0, 160, 160, 80, 80, 80])
    tensor[:3, :3] += 60 * (1 - np.eye(3))
    lines = headlines({"elasticity": {"tensor": tensor.tolist(), "space_group": 227}})
    assert {line.key: line.value for line in lines} == {"C11": 160, "C12": 60, "C44": 80}
    # A trigonal crystal of the higher Laue class has no C15.
    tensor[0, 3] = 7.0
    lines = headlines({"elasticity": {"tensor": tensor.tolist(), "space_group": 166}})
    assert [line.key for line in lines] == ["C11", "C12", "C13", "C14", "C33", "C44"]


def test_what_failed_has_no_headline():
    state = {"name": "p0", "label": "p0", "reason": "no minimum"}
    assert headlines({"equation_of_state": [state]}) == []
    assert headlines({}) == []


def test_measured_values_belong_to_the_crystal():
    silicon = measured_values("Si", 227)
    # Of a cubic crystal B = (C11 + 2 C12) / 3.
    bulk = (silicon["C11"].value + 2 * silicon["C12"].value) / 3
    assert bulk == pytest.approx(silicon["bulk_modulus"].value, abs=0.1)
    assert all(one.source for one in silicon.values())
    assert measured_values("Si", 194) == {}
