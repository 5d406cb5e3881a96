"""Scores by hand, and the disagreement of the members of an ensemble."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from crysearch.active_learning import EnsembleEvaluation, score
from crysearch.errors import ActiveLearningError


def ensemble(energies, forces):
    return EnsembleEvaluation(
        np.array(energies), np.array(forces), np.zeros((len(energies), 3, 3))
    ).mean()


# Two atoms: the mean forces are (3, 4, 0) and (0, 0, -1), the mean energy is -10.
TWO_ATOMS = ensemble(
    [-9.0, -11.0],
    [[[3.0, 3.0, 0.0], [0.0, 0.0, -1.0]], [[3.0, 5.0, 0.0], [0.0, 0.0, -1.0]]],
)


def test_the_score_is_the_energy_less_the_weighted_largest_force():
    found = score([TWO_ATOMS], force_weight=0.5)
    assert found.scores == pytest.approx([(-10.0 - 0.5 * 5.0) / 2])
    assert found.energies == pytest.approx([-5.0])
    assert found.largest_forces == pytest.approx([5.0])


def test_the_largest_force_is_of_the_mean_not_the_mean_of_the_largest():
    # The members pull an atom in opposite directions: nothing is gained by moving it.
    opposite = ensemble([0.0, 0.0], [[[2.0, 0.0, 0.0]], [[-2.0, 0.0, 0.0]]])
    assert score([opposite]).scores == pytest.approx([0.0])
    assert opposite.disagreement == pytest.approx(2.0)


def test_deviations_by_hand():
    # Energies -9 and -11 deviate by 1 eV, on two atoms; one component of one force by 1 eV/Å.
    found = score([TWO_ATOMS])
    assert found.energy_deviations == pytest.approx([0.5])
    assert TWO_ATOMS.force_deviations == pytest.approx([1.0, 0.0])
    assert found.force_deviations == pytest.approx([1.0])


def test_within_one_cell_size_the_order_is_the_published_one():
    random = np.random.default_rng(0)
    found = [ensemble(random.normal(size=3), random.normal(size=(3, 4, 3))) for _ in range(20)]
    published = [e.energy - 0.5 * np.linalg.norm(e.forces, axis=1).max() for e in found]
    assert list(np.argsort(score(found).scores)) == list(np.argsort(published))


def test_without_weight_the_score_is_the_energy():
    assert score([TWO_ATOMS], force_weight=0.0).scores == pytest.approx([-5.0])


def test_nothing_in_nothing_out():
    assert score([]).scores.shape == (0,)


@given(
    arrays.arrays(float, (3, 4, 3), elements=st.floats(-5, 5)),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.permutations(range(4)),
)
def test_rotation_permutation_and_order_of_members_change_nothing(forces, angles, order):
    energies = [1.0, -2.0, 0.5]
    rotation = Rotation.from_rotvec(angles).as_matrix()
    plain = score([ensemble(energies, forces)])
    other = score([ensemble(energies[::-1], (forces @ rotation.T)[::-1][:, order])])
    for field in ("scores", "largest_forces", "energy_deviations", "force_deviations"):
        assert getattr(other, field) == pytest.approx(getattr(plain, field), abs=1e-9)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_wrong_weight_is_named(weight):
    with pytest.raises(ActiveLearningError, match="force_weight"):
        score([TWO_ATOMS], force_weight=weight)


def test_what_is_not_finite_is_named():
    broken = ensemble([np.nan, 0.0], np.zeros((2, 1, 3)))
    with pytest.raises(ActiveLearningError, match="first: number 1"):
        score([TWO_ATOMS, broken])


@pytest.mark.parametrize(
    ("energies", "forces", "stresses"),
    [
        ([1.0], np.zeros((1, 2, 3)), np.zeros((1, 3, 3))),
        ([1.0, 2.0], np.zeros((3, 2, 3)), np.zeros((2, 3, 3))),
        ([1.0, 2.0], np.zeros((2, 2, 3)), np.zeros((2, 6))),
        (1.0, np.zeros((2, 2, 3)), np.zeros((2, 3, 3))),
        ([1.0, 2.0], np.zeros((2, 0, 3)), np.zeros((2, 3, 3))),
    ],
)
def test_shapes_are_checked(energies, forces, stresses):
    with pytest.raises(ActiveLearningError):
        EnsembleEvaluation(energies, forces, stresses)
