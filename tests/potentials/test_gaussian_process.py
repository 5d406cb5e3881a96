"""The sparse Gaussian process, against direct solutions and itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crysearch.errors import TrainingError
from crysearch.potentials import LossWeights, create_potential
from crysearch.potentials.gaussian_process import STEP, GaussianProcessPotential
from crysearch.potentials.ridge import RidgePath, Triangle
from crysearch.potentials.soap import SoapFeatures
from crysearch.potentials.sparse import choose_sparse_points, designs, reduce_data

SMALL = {"cutoff": 4.5, "radial": 4, "angular": 3, "sparse_points": 30}
SOAP = {"cutoff": 4.5, "radial": 4, "angular": 3, "decay": 3.0}


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 120),
    width=st.integers(1, 12),
    seed=st.integers(0, 1000),
    strength=st.floats(1e-8, 1.0),
)
def test_ridge_path_is_the_direct_solution(
    rows: int, width: int, seed: int, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    matrix, wanted = rng.normal(size=(rows, width)), rng.normal(size=rows)
    triangle = Triangle(width + 1)
    for part in np.array_split(np.arange(rows), 5):
        triangle.add(np.column_stack([matrix, wanted])[part])
    triangle.close()
    found = RidgePath.of(triangle).solve(strength)
    damping = strength * np.linalg.norm(matrix, 2) ** 2 * np.eye(width)
    expected = np.linalg.solve(matrix.T @ matrix + damping, matrix.T @ wanted)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    error = np.square(matrix @ found - wanted).sum()
    assert triangle.error(found) == pytest.approx(error, rel=1e-9, abs=1e-12)


def test_designs_are_what_evaluates(compound):
    """Energies, forces and stresses by rows of derivatives, and by the way back."""
    potential = create_potential("gaussian-process", elements=["O", "Si"], members=2, **SMALL)
    potential.fit(compound, seed=0)
    assert isinstance(potential, GaussianProcessPotential)
    points = potential._points
    assert points is not None
    found = designs(potential.soap, points, compound[:4], np.zeros(2), True)
    for crystal, design, prediction in zip(
        compound, found, potential.predict(compound[:4]), strict=False
    ):
        n = len(crystal)
        level = sum(potential._references[[8, 14].index(z)] for z in crystal.numbers)
        energies = n * design.energy[:, :-1] @ potential._weights.T + level
        np.testing.assert_allclose(energies[0], prediction.energies, atol=1e-8)
        forces = np.sqrt(3 * n) * design.forces[:, :-1] @ potential._weights.T
        expected = prediction.forces_of_members.reshape(2, -1).T
        np.testing.assert_allclose(forces, expected, atol=1e-8)
        virials = design.stress[:, :-1] @ potential._weights.T
        wanted = prediction.stresses[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * crystal.volume / n
        scale = np.sqrt(np.array([1, 1, 1, 2, 2, 2]) / 9)
        np.testing.assert_allclose(virials, (wanted * scale).T, atol=1e-8)
        np.testing.assert_allclose(design.forces[:, -1] * np.sqrt(3 * n), crystal.forces.ravel())


def test_weights_are_those_of_the_subset_of_regressors(silicon):
    """(K_MN W K_NM + λ K_MM) α = K_MN W y, solved as it stands, predicts the same."""
    soap = SoapFeatures(("Si",), **SOAP)
    points = choose_sparse_points(soap, silicon, 10, 2, 1, 0)
    rows = [np.arange(12)], [np.arange(12, 16)]
    loss = LossWeights(energy=0.7, force=0.2, stress=0.1, energy_scale=np.inf)
    references = np.array([-3.0])
    reduced = reduce_data(soap, points, silicon, silicon, rows, loss, references)
    strength = 1e-5
    found = reduced.weights(0, strength)
    parts = []
    for design in designs(soap, points, silicon[:12], references, True):
        parts += [np.sqrt(0.7 / 12) * design.energy, np.sqrt(0.2 / 12) * design.forces,
                  np.sqrt(0.1 / 12) * design.stress]  # fmt: skip
    matrix, wanted = np.concatenate(parts)[:, :-1], np.concatenate(parts)[:, -1]
    own = np.flatnonzero(points.members[0])
    assert 0 < len(own) < len(points.features)
    assert not found[np.setdiff1d(np.arange(len(found)), own)].any()
    damping = strength * reduced.paths[0].singular_values[0] ** 2 * points.kernel(own)
    matrix = matrix[:, own]
    direct = np.linalg.solve(matrix.T @ matrix + damping, matrix.T @ wanted)
    np.testing.assert_allclose(matrix @ found[own], matrix @ direct, atol=1e-6)
    curve = reduced.curves(strength)[0]
    assert curve[0] == pytest.approx(np.square(matrix @ found[own] - wanted).sum(), rel=1e-6)


def test_what_it_can_represent_is_learned(silicon, make_crystal):
    """A Gaussian process learns another one's energies from few crystals, by forces alone too."""
    teacher = create_potential("gaussian-process", elements=["Si"], members=1, **SMALL)
    teacher.fit(silicon, seed=3)
    crystals = [make_crystal([14] * 4, 50 + seed, closest=2.0) for seed in range(24)]
    crystals = [
        replace(c, energy=p.energy, forces=p.forces, stress=(p.stress + p.stress.T) / 2)
        for c, p in zip(crystals, teacher.predict(crystals), strict=True)
    ]
    errors = {}
    for name, weights in (
        ("all", LossWeights(energy_scale=np.inf)),
        ("energies", LossWeights(force=0.0, stress=0.0, energy_scale=np.inf)),
    ):
        student = create_potential(
            "gaussian-process", elements=["Si"], members=2, **{**SMALL, "sparse_points": 200}
        )
        history = student.fit(crystals[:16], weights=weights, seed=0)
        assert history.optimizer == "least-squares" and history.batch_size is None
        pairs = zip(student.predict(crystals[16:]), crystals[16:], strict=True)
        errors[name] = np.sqrt(np.mean([np.square(p.forces - c.forces).mean() for p, c in pairs]))
    plain = np.sqrt(np.mean([np.square(c.forces).mean() for c in crystals[16:]]))
    assert errors["all"] < 0.1 * plain
    assert errors["all"] < 0.5 * errors["energies"]


def test_members_disagree_more_on_what_is_unlike_all_they_know(silicon, make_crystal):
    potential = create_potential("gaussian-process", elements=["Si"], members=5, **SMALL)
    potential.fit(silicon, seed=0)
    known = [p.energy_deviation / len(c) for p, c in zip(
        potential.predict(silicon), silicon, strict=True)]  # fmt: skip
    dense = [make_crystal([14] * 4, 90 + seed, volume=11.0, closest=1.7) for seed in range(6)]
    strange = [p.energy_deviation / 4 for p in potential.predict(dense)]
    assert np.median(strange) > 3 * np.median(known)


def test_epochs_weaken_the_regularisation(silicon):
    potential = create_potential("gaussian-process", elements=["Si"], members=2, **SMALL)
    history = potential.fit(silicon, epochs=500, patience=500, seed=0)
    assert history.epochs == 72 and pytest.approx(1e-18, rel=1e-6) == STEP**72
    assert (np.diff(history.train_loss, axis=1) <= 1e-9 * history.train_loss[:, :-1]).all()
    assert (history.best_epoch > 0).all()
    stopped = potential.fit(silicon, epochs=500, patience=3, seed=0)
    assert stopped.epochs == stopped.best_epoch.max() + 4


@pytest.mark.parametrize(("field", "value"), [("batch_size", 10), ("learning_rate", 1e-3)])
def test_there_are_no_batches(silicon, field, value):
    potential = create_potential("gaussian-process", elements=["Si"], **SMALL)
    with pytest.raises(TrainingError, match=f"{field} is {value}, but the potential"):
        potential.fit(silicon, seed=0, **{field: value})


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"sparse_points": 0}, "sparse_points is 0"), ({"power": 1.5}, "power is 1.5"),
     ({"smoothing": 9.0}, "smoothing is 9")],
)  # fmt: skip
def test_impossible_arguments_are_refused(changes, said):
    with pytest.raises(TrainingError, match=said):
        create_potential("gaussian-process", elements=["Si"], **changes)
