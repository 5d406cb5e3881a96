"""What is particular to SchNet: the equations, pairs across images, derivatives of all orders."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.optimize import BFGS
from scipy.interpolate import CubicHermiteSpline
from torch_geometric.nn.models.schnet import GaussianSmearing, InteractionBlock, ShiftedSoftplus

from crysearch.errors import TrainingError
from crysearch.generative.training import torch_generators
from crysearch.potentials import Configuration, create_potential, schnet
from crysearch.potentials.calculator import PotentialCalculator
from crysearch.potentials.history import LossWeights
from crysearch.potentials.pairs import Joint, Message, Pairs, Spread, Table, find_pairs, knots_of
from crysearch.potentials.relaxer import PotentialRelaxer
from crysearch.potentials.schnet import PairData, SchNetNetworks, SchNetPotential
from crysearch.relaxation import RelaxationSettings

SMALL = {"cutoff": 4.5, "features": 12, "gaussians": 10}


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.fixture(scope="module")
def trained(compound):
    potential = create_potential("schnet", elements=["O", "Si"], members=3, **SMALL)
    history = potential.fit(
        compound[:-3], validation=compound[-3:], epochs=120, learning_rate=5e-3, seed=0
    )
    return potential, history


def drawn(members, elements, cutoff, features, interactions, gaussians):
    networks = SchNetNetworks(members, elements, cutoff, features, interactions, gaussians)
    with torch.no_grad():
        networks.initialise(torch_generators(3, members))
        for parameter in networks.parameters():  # biases too
            parameter += 0.05 * torch.sin(
                torch.arange(parameter.numel(), dtype=torch.float64)
            ).view_as(parameter)
    return networks


def reference(networks, member, configuration, elements, cutoff):
    """Energy, forces and virial by PyTorch Geometric's layers, all pairs and plain autograd."""
    features = networks.embedding.shape[2]
    gaussians = networks.interactions[0].filter_inner.weight.shape[2]
    smearing = GaussianSmearing(0.0, cutoff, gaussians).double()
    activation = ShiftedSoftplus()
    strain = torch.zeros((3, 3), dtype=torch.float64, requires_grad=True)
    positions = torch.tensor(configuration.positions, requires_grad=True)
    cell = torch.tensor(configuration.cell)
    deformed = torch.eye(3, dtype=torch.float64) + (strain + strain.T) / 2
    moved, lattice = positions @ deformed, cell @ deformed
    # All images by brute force, not by a neighbour list; atoms may lie outside of the cell.
    thickness = 1.0 / np.linalg.norm(np.linalg.inv(configuration.cell), axis=0)
    reach = np.ceil(cutoff / thickness).astype(int) + 2
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1)
    images = torch.tensor(grid.reshape(-1, 3).astype(float)) @ lattice
    vectors = moved[None, None] - moved[:, None, None] + images[None, :, None]
    lengths = (vectors.detach() ** 2).sum(-1).sqrt()
    i, image, j = torch.nonzero((lengths < cutoff) & (lengths > 1e-6), as_tuple=True)
    distances = (vectors[i, image, j] ** 2).sum(-1).sqrt()
    order = {symbol: place for place, symbol in enumerate(elements)}
    symbols = Atoms(configuration.numbers).get_chemical_symbols()
    species = torch.tensor([order[symbol] for symbol in symbols])
    x = networks.embedding[member][species]
    for ours in networks.interactions:
        theirs = InteractionBlock(features, gaussians, features, cutoff).double()
        with torch.no_grad():
            for linear, layer in (
                (theirs.mlp[0], ours.filter_inner),
                (theirs.mlp[2], ours.filter_outer),
                (theirs.conv.lin2, ours.inner),
                (theirs.lin, ours.outer),
            ):
                linear.weight.copy_(layer.weight[member])
                linear.bias.copy_(layer.bias[member])
            theirs.conv.lin1.weight.copy_(ours.inputs[member])
        x = x + theirs(x, torch.stack([j, i]), distances, smearing(distances))
    hidden = activation(x @ networks.inner.weight[member].T + networks.inner.bias[member])
    energy = (hidden @ networks.last.weight[member].T + networks.last.bias[member]).sum()
    by_positions, by_strain = torch.autograd.grad(energy, (positions, strain))
    return energy.item(), -by_positions.numpy(), by_strain.numpy(), x.detach().numpy()


@pytest.mark.parametrize(("knots", "error"), [(60, 1.0), (schnet.KNOTS, 100.0)])
def test_energies_forces_and_stresses_are_those_of_pytorch_geometric(
    knots, error, compound, monkeypatch
):
    """Other code for the layers, the pairs and the derivatives; filters without knots."""
    monkeypatch.setattr(schnet, "KNOTS", knots)
    elements, cutoff = ("O", "Si"), 4.5
    networks = drawn(2, 2, cutoff, 6, 2, 7)
    for configuration in (*compound[:2], small_cell()):
        paired = find_pairs([configuration], elements, cutoff)
        with torch.no_grad():
            found = networks(
                torch.from_numpy(paired.species),
                paired.pairs,
                np.zeros(len(configuration), np.int64),
                1,
                1.0,
            )
        for member in range(2):
            energy, forces, virial, features = reference(
                networks, member, configuration, elements, cutoff
            )
            # Their Gaussians have a centre and a width rounded to single precision.
            close = partial(np.testing.assert_allclose, rtol=2e-6 * error, atol=2e-6 * error)
            close(found.energies[member, 0], energy)
            close(found.forces[member], forces)
            voigt = virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            close(found.virials[member, 0], voigt, atol=2e-5 * error)
            close(found.hidden[0][member], features)


def small_cell():
    """One atom, whose neighbours are images of itself only."""
    return Configuration(np.array([14]), 2.6 * np.eye(3) + 0.3, np.array([[5.0, -3.0, 0.2]]))


def test_each_pair_is_found_once():
    silicon = bulk("Si", "diamond", 5.43)
    cutoff = 4.0  # 4 neighbours at 2.35 Å, 12 at 3.84 Å
    whole = silicon * (2, 1, 1)
    whole.positions += 31.0
    given = [Configuration.from_atoms(atoms) for atoms in (silicon, whole, bulk("Si", "sc", 2.5))]
    found = find_pairs(given, ["Si"], cutoff)
    # Half of the neighbours of all atoms; simple cubic: 6 at 2.5 Å, 12 at 3.54 Å.
    assert np.diff(found.pair_starts).tolist() == [2 * 16 // 2, 4 * 16 // 2, 18 // 2]
    assert found.starts.tolist() == [0, 2, 6, 7]
    np.testing.assert_allclose(
        np.linalg.norm(found.pairs.vectors, axis=1), found.pairs.distances, rtol=1e-12
    )
    for start, end, pair, last in zip(
        found.starts[:-1], found.starts[1:], found.pair_starts[:-1], found.pair_starts[1:],
        strict=True,
    ):  # fmt: skip
        atoms = np.concatenate([found.pairs.first[pair:last], found.pairs.second[pair:last]])
        assert start <= atoms.min() and atoms.max() < end
        counts = np.bincount(atoms - start)
        assert (counts == counts[0]).all()


def test_sums_over_pairs_have_right_derivatives():
    """Against finite differences, also where an atom neighbours itself."""
    rng = np.random.default_rng(0)
    pairs = Pairs(
        np.array([0, 0, 1, 2]), np.array([1, 0, 2, 2]), rng.normal(size=(4, 3)), np.ones(4)
    )
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        values = torch.randn(shape, dtype=torch.float64, generator=generator)
        return values.requires_grad_()

    features, filters = draw(2, 3, 4), draw(2, 4, 4)
    message = lambda x, w: Message.apply(x, w, pairs)  # noqa: E731
    assert torch.autograd.gradcheck(message, (features, filters))
    assert torch.autograd.gradgradcheck(message, (features, filters))
    joint = lambda y, x: Joint.apply(y, x, pairs)  # noqa: E731
    assert torch.autograd.gradgradcheck(joint, (features, draw(2, 3, 4)))
    owners = np.zeros(3, np.int64)
    assert torch.autograd.gradcheck(lambda g: Spread.apply(g, pairs, owners, 1), (draw(2, 4),))


def test_tables_are_cubic_hermite_interpolation():
    """Against SciPy's, and derivatives by what is at the knots against finite differences."""
    knots, cutoff, rng = 9, 4.0, np.random.default_rng(2)
    values, slopes = (
        torch.tensor(rng.normal(size=(2, knots, 3))).requires_grad_() for _ in range(2)
    )
    distances = np.concatenate([rng.uniform(0.0, cutoff, 20), [0.0, 1.5, cutoff - 1e-12]])
    given = knots_of(distances, cutoff, knots)
    plain, steep = Table.apply(values, slopes, *given)
    for member in range(2):
        spline = CubicHermiteSpline(
            np.linspace(0.0, cutoff, knots), values[member].detach(), slopes[member].detach()
        )
        np.testing.assert_allclose(plain[member].detach(), spline(distances), atol=1e-12)
        np.testing.assert_allclose(steep[member].detach(), spline(distances, 1), atol=1e-10)
    assert torch.autograd.gradcheck(lambda v, s: Table.apply(v, s, *given), (values, slopes))


def test_the_gradient_of_the_loss_is_right(compound):
    """Of energies, forces and stresses by all weights, against finite differences."""
    potential = SchNetPotential(["O", "Si"], members=2, cutoff=3.5, features=3, gaussians=4)
    paired = potential._prepare(compound[:3])
    data = PairData(compound[:3], paired, np.array([-1.0, -2.0]))
    networks = drawn(2, 2, 3.5, 3, 2, 4)
    rows = np.array([2, 0])

    def loss():
        energy, force, stress = data.errors(networks, rows, 1.3, LossWeights())
        return (energy + force + stress).sum()

    loss().backward()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in networks.parameters():
            move = torch.tensor(rng.normal(size=parameter.shape))
            parameter += 1e-5 * move
            above = loss()
            parameter -= 2e-5 * move
            below = loss()
            parameter += 1e-5 * move
            slope = float(above - below) / 2e-5
            assert parameter.grad is not None
            expected = float((parameter.grad * move).sum())
            assert slope == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_it_learns_energies_forces_and_stresses(trained, compound):
    potential, history = trained
    assert (history.optimizer, history.batch_size, history.learning_rate) == ("adam", 10, 5e-3)
    predictions = potential.predict(compound)
    energies = np.array([c.energy / len(c) for c in compound])
    errors = [(p.energy - c.energy) / len(c) for p, c in zip(predictions, compound, strict=True)]
    assert rms(errors) < 0.3 * energies.std()
    forces = np.concatenate([c.forces for c in compound])
    away = np.concatenate([p.forces for p in predictions]) - forces
    assert rms(away) < 0.5 * rms(forces)
    stresses = np.array([c.stress for c in compound])
    assert rms(np.array([p.stress for p in predictions]) - stresses) < 0.4 * stresses.std()


def test_the_spread_is_larger_where_nothing_was_learned(trained, compound):
    potential, _ = trained
    known = np.mean([p.force_deviations.mean() for p in potential.predict(compound)])
    squeezed = [
        replace(c, cell=0.85 * c.cell, positions=0.85 * c.positions, forces=None, stress=None)
        for c in compound
    ]
    unknown = np.mean([p.force_deviations.mean() for p in potential.predict(squeezed)])
    assert unknown > 2.0 * known


def test_a_relaxation_with_ase_goes_downhill(trained, compound):
    potential, _ = trained
    atoms = compound[0].to_atoms()
    atoms.calc = PotentialCalculator(potential)
    before = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=15)
    assert atoms.get_potential_energy() < before


def test_it_is_an_engine(trained, compound):
    """Lower by the engine's own account and by the calculator's."""
    potential, _ = trained
    starts = [c.to_structure() for c in compound[:2]]
    results = PotentialRelaxer(potential).relax(
        starts, RelaxationSettings(force_tolerance=0.1, stress_tolerance=1.0, max_steps=40)
    )
    for start, result in zip(starts, results, strict=True):
        assert result.structure is not None and result.energy_per_atom is not None
        before, after = potential.predict([start, result.structure])
        assert after.energy < before.energy
        assert result.energy_per_atom == pytest.approx(after.energy / len(start), abs=1e-9)


def test_members_do_not_touch_one_another(compound):
    """Two members together are the same two, one after the other."""
    networks = drawn(2, 2, 4.5, 6, 2, 7)
    paired = find_pairs(compound[:2], ["O", "Si"], 4.5)
    owners = np.repeat([0, 1], np.diff(paired.starts))
    given = (torch.from_numpy(paired.species), paired.pairs, owners, 2, 1.0)
    with torch.no_grad():
        together = networks(*given)
        for member in range(2):
            alone = SchNetNetworks(1, 2, 4.5, 6, 2, 7)
            alone.load_state_dict(
                {name: value[member : member + 1] for name, value in networks.state_dict().items()}
            )
            forces = alone(*given).forces[0]
            np.testing.assert_allclose(together.forces[member], forces, rtol=1e-10, atol=1e-12)


def test_limited_memory_bfgs_is_possible_too(silicon):
    potential = create_potential("schnet", elements=["Si"], members=2, **SMALL)
    history = potential.fit(silicon, optimizer="lbfgs", epochs=10, seed=0)
    assert (history.optimizer, history.batch_size, history.learning_rate) == ("lbfgs", None, None)
    assert (np.diff(history.train_loss, axis=1) <= 0.0).all()
    with pytest.raises(TrainingError, match=r"batch_size.*lbfgs"):
        potential.fit(silicon, optimizer="lbfgs", batch_size=4, seed=0)


@pytest.mark.parametrize(
    "changes", [{"features": 0}, {"interactions": 0}, {"gaussians": 1}, {"features": 1.5}]
)
def test_bad_architectures_are_refused(changes):
    with pytest.raises(TrainingError, match=next(iter(changes))):
        create_potential("schnet", elements=["Si"], **changes)
