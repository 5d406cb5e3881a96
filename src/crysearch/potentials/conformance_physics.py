"""What every potential owes to physics, as checks; the rest is in `conformance`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from crysearch.errors import TrainingError
from crysearch.potentials.base import Prediction, TrainablePotential
from crysearch.potentials.configuration import Configuration, Failure
from crysearch.potentials.registry import create_potential


@dataclass(frozen=True)
class Case:
    """A potential and what it is trained on."""

    name: str
    arguments: dict[str, Any]
    configurations: list[Configuration]
    epochs: int

    def create(self, members: int = 3) -> TrainablePotential:
        """Make the untrained potential."""
        return create_potential(self.name, **{"members": members, **self.arguments})


def expect(promise: str, kept: Any) -> None:
    """Raise AssertionError naming a promise that is not kept."""
    if not kept:
        raise AssertionError(f"broken promise: {promise}")


def expect_refusal(promise: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    """Raise AssertionError unless a call raises a TrainingError that says something."""
    try:
        call(*arguments, **named)
    except TrainingError as error:
        expect(f"{promise}: the error must say something", len(str(error)) > 20)
        return
    raise AssertionError(f"broken promise: {promise} must raise TrainingError")


def close(first: Any, second: Any, tolerance: float) -> bool:
    """Whether two arrays are the same within an absolute tolerance."""
    return bool(np.allclose(first, second, rtol=0.0, atol=tolerance))


def moved(c: Configuration, cell: Any = None, positions: Any = None) -> Configuration:
    """The same atoms in another cell or at other positions, unlabelled."""
    return Configuration(
        c.numbers, c.cell if cell is None else cell, c.positions if positions is None else positions
    )


def check_invariance(case: Case, potential: TrainablePotential) -> None:
    """Rotation, translation, permutation, the choice of cell and supercells."""
    rotation = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()
    skew = np.array([[1, 1, 0], [0, 1, -1], [0, 0, 1]])
    for c in case.configurations[:4]:
        order = np.roll(np.arange(len(c)), 1)
        large = c.to_atoms() * (2, 1, 3)
        plain, turned, shifted, permuted, skewed, supercell = potential.predict(
            [
                moved(c),
                moved(c, c.cell @ rotation.T, c.positions @ rotation.T),
                moved(c, positions=c.positions + np.array([0.13, 7.7, -2.41])),
                Configuration(c.numbers[order], c.cell, c.positions[order]),
                moved(c, skew @ c.cell),
                large,
            ]
        )
        scale = 1e-8 * len(c)
        for promise, other in (
            ("rotation", turned),
            ("translation", shifted),
            ("permutation", permuted),
            ("the choice of cell", skewed),
        ):
            same = close(other.energies, plain.energies, scale)
            expect(f"{promise} does not change the energy", same)
            same = np.allclose(other.descriptor, plain.descriptor, rtol=1e-8, atol=1e-8)
            expect(f"{promise} does not change the descriptor", same)
        expect("rotation turns forces", close(turned.forces, plain.forces @ rotation.T, 1e-8))
        expect(
            "rotation turns the stress",
            close(turned.stress, rotation @ plain.stress @ rotation.T, 1e-8),
        )
        expect("translation keeps forces", close(shifted.forces, plain.forces, 1e-8))
        expect("permutation permutes forces", close(permuted.forces, plain.forces[order], 1e-8))
        expect("the choice of cell keeps the stress", close(skewed.stress, plain.stress, 1e-8))
        expect(
            "a supercell has six times the energy",
            close(supercell.energies, 6 * plain.energies, 6 * scale),
        )
        expect("a supercell has the same stress", close(supercell.stress, plain.stress, 1e-8))
        expect(
            "a supercell has six times the descriptor",
            np.allclose(supercell.descriptor, 6 * plain.descriptor, rtol=1e-8, atol=1e-7),
        )


def _slope(
    potential: TrainablePotential,
    c: Configuration,
    move: NDArray[np.float64],
    strain: NDArray[np.float64],
    step: float = 1e-3,
) -> NDArray[np.float64]:
    """Derivatives (K,) of the energies by a move and a strain, by differences of fourth order."""
    points = []
    for k in (-2, -1, 1, 2):
        deformed = np.eye(3) + k * step * strain
        points.append(moved(c, c.cell @ deformed, (c.positions + k * step * move) @ deformed))
    far_left, left, right, far_right = (p.energies for p in potential.predict(points))
    return (far_left - 8.0 * left + 8.0 * right - far_right) / (12.0 * step)


def check_derivatives(case: Case, potential: TrainablePotential) -> None:
    """Forces and stress against differences of the energy."""
    rng = np.random.default_rng(0)
    for c in case.configurations[:3]:
        (p,) = potential.predict([c])
        force_size = max(1.0, float(np.abs(p.forces_of_members).max()))
        virial_size = max(1.0, float(np.abs(p.stresses).max()) * c.volume)
        for _ in range(3):
            move = rng.normal(size=(len(c), 3))
            move /= np.linalg.norm(move)
            expect(
                "forces are minus the derivative of the energy",
                close(
                    _slope(potential, c, move, np.zeros((3, 3))),
                    -(p.forces_of_members * move).sum(axis=(1, 2)),
                    1e-5 * force_size,
                ),
            )
            strain = rng.normal(size=(3, 3))
            strain = (strain + strain.T) / 2 / np.linalg.norm(strain)
            expect(
                "stress is the derivative of the energy by strain over the volume",
                close(
                    _slope(potential, c, np.zeros((len(c), 3)), strain),
                    (p.stresses * strain).sum(axis=(1, 2)) * c.volume,
                    1e-4 * virial_size,
                ),
            )


def check_cutoff(case: Case, potential: TrainablePotential) -> None:
    """Continuity where an atom passes the cut-off, and an atom alone."""
    number = case.configurations[0].numbers[0]
    cutoff = potential.cutoff
    cell = np.eye(3) * (3.0 * cutoff)

    def pair(distance: float) -> Configuration:
        near = 0.55 * cutoff
        positions = [[0, 0, 0], [0.0, near, 0], [distance, 0, 0]]
        return Configuration(np.full(3, number), cell, np.array(positions))

    inside, outside, beyond = potential.predict(
        [pair(cutoff - 1e-7), pair(cutoff + 1e-7), pair(cutoff + 0.3)]
    )
    expect(
        "the energy is continuous at the cut-off", close(inside.energies, outside.energies, 1e-6)
    )
    same = close(inside.forces_of_members, outside.forces_of_members, 1e-5)
    expect("forces are continuous at the cut-off", same)
    # The other atom is then out of sight of both.
    expect("atoms beyond the cut-off feel nothing", close(beyond.forces[2], 0.0, 1e-12))
    (alone,) = potential.predict([Configuration(np.array([number]), cell, np.zeros((1, 3)))])
    expect("an atom alone has an energy", np.isfinite(alone.energies).all())
    expect("an atom alone feels no force", close(alone.forces, 0.0, 1e-12))
    expect("an atom alone has no stress", close(alone.stress, 0.0, 1e-12))


def check_failures(case: Case, potential: TrainablePotential) -> None:
    """What cannot be evaluated fails by itself, with its reason."""
    sound = case.configurations[0]
    number = int(sound.numbers[0])
    box = 3.0 * potential.cutoff * np.eye(3)
    twice = np.array([number, number])
    bad = {
        "unknown_element": Configuration(np.array([118]), box, np.zeros((1, 3))),
        "too_close": Configuration(twice, box, np.array([[0.0, 0, 0], [0.2, 0, 0]])),
        "degenerate_cell": Configuration(np.array([number]), np.zeros((3, 3)), np.zeros((1, 3))),
    }
    disordered = Structure(box, [{"Si": 0.5, "Ge": 0.5}], [[0, 0, 0]])
    given: list[Any] = [sound, *bad.values(), disordered, Atoms("Si"), sound]
    results = potential.evaluate(given)
    reasons = [*bad, "unsupported", "unsupported"]
    for reason, result in zip(reasons, results[1:-1], strict=True):
        expect(f"{reason} is a failure of its own", isinstance(result, Failure))
        assert isinstance(result, Failure)
        expect(f"{reason} is named", result.reason == reason and len(result.detail) > 10)
    ends = [results[0], results[-1]]
    expect("a failure stops no others", all(isinstance(end, Prediction) for end in ends))
    expect_refusal("predict of what cannot be", potential.predict, [bad["too_close"]])
