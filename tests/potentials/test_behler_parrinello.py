"""What is particular to Behler-Parrinello potentials: learning, optimisers, speed of storage."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from ase.optimize import BFGS

from crysearch.errors import TrainingError
from crysearch.potentials import LossWeights, SymmetryFunctions, create_potential
from crysearch.potentials.calculator import PotentialCalculator
from crysearch.potentials.optimizers import Lbfgs

SMALL = {"cutoff": 5.0, "radial": 8, "angular": 2, "hidden_layers": (12, 12)}


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.fixture(scope="module")
def trained(compound):
    potential = create_potential("behler-parrinello", elements=["O", "Si"], members=3, **SMALL)
    history = potential.fit(compound[:-3], validation=compound[-3:], epochs=150, seed=0)
    return potential, history


def test_it_learns_energies_forces_and_stresses(trained, compound):
    potential, history = trained
    assert history.epochs <= 150
    predictions = potential.predict(compound)
    energies = np.array([c.energy / len(c) for c in compound])
    errors = [(p.energy - c.energy) / len(c) for p, c in zip(predictions, compound, strict=True)]
    assert rms(errors) < 0.15 * energies.std()
    forces = np.concatenate([c.forces for c in compound])
    away = np.concatenate([p.forces for p in predictions]) - forces
    assert rms(away) < 0.35 * rms(forces)
    stresses = np.array([c.stress for c in compound])
    assert rms(np.array([p.stress for p in predictions]) - stresses) < 0.3 * stresses.std()


def test_forces_are_learned_from_forces(compound):
    """Weights on forces bring forces nearer than weights on energies alone."""
    found = []
    for weights in (LossWeights(force=0.0, stress=0.0), LossWeights(force=1.0, stress=0.0)):
        potential = create_potential("behler-parrinello", elements=["O", "Si"], members=1, **SMALL)
        potential.fit(compound[:-3], validation=compound[-3:], epochs=60, seed=0, weights=weights)
        predictions = potential.predict(compound[-3:])
        pairs = zip(predictions, compound[-3:], strict=True)
        found.append(rms(np.concatenate([p.forces - c.forces for p, c in pairs])))
    assert found[1] < found[0]


def test_the_spread_is_larger_where_nothing_was_learned(trained, compound):
    potential, _ = trained
    known = np.mean([p.force_deviations.mean() for p in potential.predict(compound)])
    squeezed = [
        replace(c, cell=0.85 * c.cell, positions=0.85 * c.positions, forces=None, stress=None)
        for c in compound
    ]
    unknown = np.mean([p.force_deviations.mean() for p in potential.predict(squeezed)])
    assert unknown > 2.0 * known


def test_high_energies_count_less(silicon):
    """A crystal of absurd energy spoils a fit in which all count alike."""
    spoilt = [replace(silicon[0], energy=silicon[0].energy + 300.0), *silicon[1:]]
    found = []
    for scale in (1.0, math.inf):
        potential = create_potential("behler-parrinello", elements=["Si"], members=1, **SMALL)
        potential.fit(
            spoilt,
            validation=silicon[1:],
            epochs=40,
            seed=0,
            weights=LossWeights(energy_scale=scale),
        )
        pairs = zip(potential.predict(silicon[1:]), silicon[1:], strict=True)
        found.append(rms([(p.energy - c.energy) / len(c) for p, c in pairs]))
    assert found[0] < found[1]


def test_adam_is_resumed_bitwise_too(silicon):
    settings = {"optimizer": "adam", "batch_size": 5, "epochs": 12, "seed": 3}
    straight = create_potential("behler-parrinello", elements=["Si"], members=2, **SMALL)
    checkpoints = []
    history = straight.fit(silicon, checkpoint=checkpoints.append, checkpoint_every=5, **settings)
    assert (history.optimizer, history.batch_size, history.learning_rate) == ("adam", 5, 5e-3)
    assert len(checkpoints) == 2
    other = create_potential("behler-parrinello", elements=["Si"], members=2, **SMALL)
    for data in checkpoints:
        other.fit(silicon, resume=data, **settings)
        assert other.to_bytes() == straight.to_bytes()
    with pytest.raises(TrainingError, match="another training"):
        other.fit(silicon, resume=checkpoints[0], **{**settings, "batch_size": 6})


@pytest.mark.parametrize("field", ["batch_size", "learning_rate"])
def test_what_an_optimiser_has_not_is_refused(field, silicon):
    potential = create_potential("behler-parrinello", elements=["Si"], **SMALL)
    with pytest.raises(TrainingError, match=f"{field}.*lbfgs"):
        potential.fit(silicon, seed=0, **{field: 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_layers": ()},
        {"hidden_layers": "30"},
        {"hidden_layers": (0,)},
        {"activation": "step"},
        {"radial": 1},
        {"angular": -1},
        {"functions": {"elements": ["Si"]}},
    ],
)
def test_bad_architectures_are_refused(changes):
    with pytest.raises(TrainingError):
        create_potential("behler-parrinello", elements=["Si"], **changes)


def test_functions_of_ones_own(silicon):
    own = SymmetryFunctions(("Si",), radial=((0.5, 1.0), (0.5, 2.5)), exponents=(), cutoff=4.0)
    potential = create_potential("behler-parrinello", elements=["Si"], functions=own.to_dict())
    assert potential.cutoff == 4.0
    potential.fit(silicon, epochs=2, seed=0)
    again = type(potential).from_bytes(potential.to_bytes())
    assert again.functions == own


def test_members_in_step_are_members_alone():
    """Each member of a committee minimises its own function as it would alone."""

    class Valleys:
        """Rosenbrock's valleys of other steepness, from other starting points."""

        def __init__(self, starts, steepness):
            self.flat, self.steepness = torch.tensor(starts).reshape(-1), torch.tensor(steepness)
            self.members = len(starts)
            self.places = torch.arange(self.flat.numel()).view(self.members, -1)

        def set_weights(self, weights):
            self.flat[self.places] = weights

        def full(self):
            w = self.flat[self.places].clone().requires_grad_()
            valley = self.steepness * (w[:, 1] - w[:, 0] ** 2) ** 2 + (1.0 - w[:, 0]) ** 2
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(valley.sum(), w)
            return valley.detach(), gradient

    starts = [[-1.2, 1.0], [0.5, -2.0], [1.0, 1.0], [-3.0, 4.0]]
    steepness = [100.0, 10.0, 1.0, 30.0]
    together = Valleys(starts, steepness)
    minimiser = Lbfgs(together)
    losses = [minimiser.epoch(number) for number in range(80)]
    assert losses[-1].max() < 1e-12
    for before, after in pairwise(losses):
        assert (after <= before).all()
    for k in range(4):
        alone = Lbfgs(Valleys(starts[k : k + 1], steepness[k : k + 1]))
        found = [float(alone.epoch(number)[0]) for number in range(20)]
        np.testing.assert_allclose(found, [float(x[k]) for x in losses[:20]], rtol=1e-6, atol=1e-15)


def test_a_relaxation_with_ase_goes_downhill(trained, compound):
    potential, _ = trained
    atoms = compound[0].to_atoms()
    atoms.calc = PotentialCalculator(potential)
    before = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=15)
    assert atoms.get_potential_energy() < before


def test_a_crystal_may_lack_an_element(trained, make_crystal):
    potential, _ = trained
    for numbers in ([14, 14], [8, 8, 8]):
        both, alone = (potential.predict(given) for given in (
            [make_crystal(numbers, 3), make_crystal([14, 8], 4)], [make_crystal(numbers, 3)],
        ))  # fmt: skip
        np.testing.assert_allclose(both[0].energies, alone[0].energies, rtol=1e-12)
        np.testing.assert_allclose(both[0].descriptor, alone[0].descriptor, rtol=1e-12)


def test_an_element_that_is_nowhere_cannot_be_learned(silicon):
    potential = create_potential("behler-parrinello", elements=["O", "Si"], **SMALL)
    with pytest.raises(TrainingError, match="elements hold O"):
        potential.fit(silicon, seed=0, epochs=1)
