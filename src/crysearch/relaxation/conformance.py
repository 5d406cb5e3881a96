"""What every relaxation engine must do, as checks that a test suite runs on each of them.

A test parametrises over :data:`CHECKS`::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_engine(check, relaxer, case):
        check(relaxer, case)

A check raises ``AssertionError`` with a sentence when the engine breaks the contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.units import GPa
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from crysearch.relaxation.base import Evaluation, RelaxationResult, RelaxationSettings, Relaxer


@dataclass(frozen=True)
class ConformanceCase:
    """What the checks need to know about an engine.

    Attributes
    ----------
    structures
        At least two sound structures of different sizes, without symmetry, not relaxed, with
        forces of the order of 0.1 to 10 eV/Å, that relax within ``settings``.
    bad
        Structures that must fail, each with the failures (machine words) that are acceptable.
    settings
        Convergence for the relaxations.
    energy_noise
        Numerical noise of the energy, eV/atom.
    force_noise
        Tolerance of forces against finite differences and between batches, eV/Å.
    stress_noise
        The same for the stress, GPa.
    cell_energy_noise, cell_stress_noise
        What energy (eV/atom) and stress (GPa) may differ between a crystal's cells, for engines
        whose k-points depend on the cell; None for ``energy_noise`` and ``stress_noise``.
    derivatives
        Random directions in which forces, and components in which the stress is compared with
        differences of the energy, at most 6; fewer for engines that take long.
    calculator
        Makes an independent ASE calculator of the same model; None if there is none.
    """

    structures: tuple[Structure, ...]
    bad: tuple[tuple[Structure, tuple[str, ...]], ...]
    settings: RelaxationSettings
    energy_noise: float = 1e-6
    force_noise: float = 5e-3
    stress_noise: float = 2e-2
    cell_energy_noise: float | None = None
    cell_stress_noise: float | None = None
    derivatives: int = 6
    calculator: Callable[[], BaseCalculator] | None = None


def check_order_and_progress(relaxer: Relaxer, case: ConformanceCase) -> None:
    """One result per structure, in the order given; progress counts each once."""
    structures = [*case.structures, *reversed(case.structures)]
    settings = replace(case.settings, max_steps=1)
    for run in (
        lambda progress: relaxer.relax(structures, settings, progress),
        lambda progress: relaxer.single_point(structures, progress),
    ):
        finished: list[int] = []
        results = run(finished.append)
        assert len(results) == len(structures), "one result per structure"
        for structure, result in zip(structures, results, strict=True):
            assert result.initial is structure, "results keep the order of the structures"
            assert result.structure is not None
            assert result.structure.species == structure.species, "sites keep their order"
        assert sum(finished) == len(structures), "progress counts every structure once"
    assert relaxer.relax([]) == [], "nothing in, nothing out"


def check_extensive(relaxer: Relaxer, case: ConformanceCase) -> None:
    """A supercell has the energy of its parts, and the same stress."""
    for structure in case.structures:
        small, large = _single(relaxer, [structure, structure * (2, 1, 3)])
        atoms = 6 * len(structure)
        allowed = (case.cell_energy_noise or case.energy_noise) * atoms
        assert abs(large.energy - 6 * small.energy) < allowed, (
            f"supercell energy {large.energy} eV, expected {6 * small.energy} eV"
        )
        noise = case.cell_stress_noise or case.stress_noise
        _close(large.stress, small.stress, noise, "stress of a supercell, GPa")
        for cell in (small, large):
            if cell.atomic_energies is not None:
                difference = abs(cell.atomic_energies.sum() - cell.energy)
                assert difference < allowed, f"atomic energies are {difference} eV off in all"


def check_invariance(relaxer: Relaxer, case: ConformanceCase) -> None:
    """Rotation, translation, permutation and the choice of cell do not change the physics."""
    rotation = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()
    for structure in case.structures:
        order = np.roll(np.arange(len(structure)), 1)
        lattice, fractional = structure.lattice.matrix, structure.frac_coords
        species = structure.species
        skew = np.array([[1, 2, 0], [0, 1, -1], [0, 0, 1]])
        mirrored_axes = [1, 0, 2]
        plain, rotated, shifted, permuted, skewed, left_handed = _single(
            relaxer,
            [
                structure,
                Structure(lattice @ rotation.T, species, fractional),
                Structure(lattice, species, fractional + np.array([0.13, 0.77, -2.41])),
                Structure(lattice, [species[i] for i in order], fractional[order]),
                Structure(skew @ lattice, species, fractional @ np.linalg.inv(skew)),
                Structure(lattice[mirrored_axes], species, fractional[:, mirrored_axes]),
            ],
        )
        expected = {
            "rotated": (rotated, plain.forces @ rotation.T, rotation @ plain.stress @ rotation.T),
            "shifted": (shifted, plain.forces, plain.stress),
            "permuted": (permuted, plain.forces[order], plain.stress),
            "skewed": (skewed, plain.forces, plain.stress),
            "left-handed": (left_handed, plain.forces, plain.stress),
        }
        for label, (changed, forces, stress) in expected.items():
            difference = abs(changed.energy - plain.energy) / len(structure)
            assert difference < case.energy_noise, f"{label}: energy differs by {difference}"
            _close(changed.forces, forces, case.force_noise, f"{label} forces, eV/Å")
            _close(changed.stress, stress, case.stress_noise, f"{label} stress, GPa")


def check_forces(relaxer: Relaxer, case: ConformanceCase) -> None:
    """Forces are minus the derivative of the energy along random directions."""
    random = np.random.default_rng(11)
    for structure in case.structures:
        (plain,) = _single(relaxer, [structure])
        directions = random.normal(size=(case.derivatives, len(structure), 3))
        directions /= np.linalg.norm(directions, axis=(1, 2), keepdims=True)

        def moved(step: float, direction: NDArray[np.float64], base: Structure) -> Structure:
            positions = base.cart_coords + step * direction
            return Structure(base.lattice, base.species, positions, coords_are_cartesian=True)

        numerical = [
            -_derivative(relaxer, partial(moved, direction=direction, base=structure), 0.01)
            for direction in directions
        ]
        analytic = np.einsum("dax,ax->d", directions, plain.forces)
        _close(np.array(numerical), analytic, case.force_noise, "forces along directions, eV/Å")


def check_stress(relaxer: Relaxer, case: ConformanceCase) -> None:
    """The stress is the derivative of the energy by strain over the volume, positive in tension."""
    for structure in case.structures:
        (plain,) = _single(relaxer, [structure])
        components = list(combinations_with_replacement(range(3), 2))
        # From the last: two are one of tension and one of shear.
        for i, j in components[::-1][: case.derivatives]:
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5
            strain[j, i] += 0.5

            def strained(step: float, unit: NDArray[np.float64], base: Structure) -> Structure:
                matrix = base.lattice.matrix @ (np.eye(3) + step * unit)
                return Structure(Lattice(matrix), base.species, base.frac_coords)

            energy_by_strain = partial(strained, unit=strain, base=structure)
            numerical = _derivative(relaxer, energy_by_strain, 0.004) / structure.volume / GPa
            _close(
                np.array(plain.stress[i, j]),
                np.array(numerical),
                case.stress_noise,
                f"stress component {'xyz'[i]}{'xyz'[j]}, GPa",
            )


def check_batching(relaxer: Relaxer, case: ConformanceCase) -> None:
    """A structure's result does not depend on the company that it is calculated in."""
    structures = [*case.structures, *case.structures]
    together = relaxer.single_point(structures)
    for structure, batched in zip(structures, together, strict=True):
        (alone,) = relaxer.single_point([structure])
        assert alone.energy is not None and batched.energy is not None
        assert abs(alone.energy - batched.energy) < case.energy_noise * len(structure)
        _close(batched.forces, alone.forces, case.force_noise, "batched forces, eV/Å")
        _close(batched.stress, alone.stress, case.stress_noise, "batched stress, GPa")


def check_determinism(relaxer: Relaxer, case: ConformanceCase) -> None:
    """The same batch twice gives the same numbers to the last bit."""
    settings = replace(case.settings, max_steps=3)
    first = relaxer.relax(case.structures, settings)
    second = relaxer.relax(case.structures, settings)
    for a, b in zip(first, second, strict=True):
        assert (a.status, a.steps, a.energy) == (b.status, b.steps, b.energy)
        assert a.structure == b.structure


def check_relaxed(relaxer: Relaxer, case: ConformanceCase) -> None:
    """Relaxed structures have small forces and stress when they are calculated again."""
    settings = case.settings
    relaxed = relaxer.relax(case.structures, settings)
    for initial, result in zip(_single(relaxer, case.structures), relaxed, strict=True):
        assert result.converged and result.status == "converged" and result.failure is None, (
            f"not converged: {result.status} {result.failure_detail}"
        )
        assert result.steps > 0 and result.evaluation is not None
        assert result.evaluation.energy < initial.energy, "relaxation lowers the energy"
        assert result.structure is not None
        checks = _single(relaxer, [result.structure])
        if case.calculator is not None:
            checks.append(_independent(case.calculator, result.structure))
        for check in checks:
            assert check.largest_force < settings.force_tolerance + case.force_noise
            assert check.largest_stress < settings.stress_tolerance + case.stress_noise
            difference = abs(check.energy - result.evaluation.energy)
            assert difference < case.energy_noise * len(result.structure)


def check_fixed_cell(relaxer: Relaxer, case: ConformanceCase) -> None:
    """With a fixed cell only the positions move, and only the forces count."""
    settings = replace(case.settings, fixed_cell=True)
    for result in relaxer.relax(case.structures, settings):
        assert result.converged and result.evaluation is not None and result.structure is not None
        assert result.evaluation.largest_force < settings.force_tolerance
        _close(
            result.structure.lattice.matrix, result.initial.lattice.matrix, 1e-12, "fixed cell, Å"
        )


def check_step_limit(relaxer: Relaxer, case: ConformanceCase) -> None:
    """At the step limit the last structure is kept, and nothing is called a failure."""
    for result in relaxer.relax(case.structures, replace(case.settings, max_steps=1)):
        assert result.status == "step_limit" and not result.converged and result.failure is None
        assert result.steps == 1
        assert result.structure is not None and result.evaluation is not None
        (again,) = _single(relaxer, [result.structure])
        assert abs(again.energy - result.evaluation.energy) < case.energy_noise * len(again.forces)


def check_bad_structures(relaxer: Relaxer, case: ConformanceCase) -> None:
    """Structures that cannot be calculated fail alone, with a reason; the others are unharmed."""
    good = list(case.structures)
    settings = replace(case.settings, max_steps=2)
    expected = relaxer.relax(good, settings)
    mixed = [structure for structure, _ in case.bad] + good
    results = relaxer.relax(mixed, settings)
    assert len(results) == len(mixed)
    for (_, failures), result in zip(case.bad, results, strict=False):
        assert result.status == "failed" and not result.converged
        assert result.failure in failures, f"{result.failure}: {result.failure_detail}"
        assert result.failure_detail and result.structure is None and result.energy is None
    for reference, result in zip(expected, results[len(case.bad) :], strict=True):
        assert result.status == reference.status, f"{result.status}: {result.failure_detail}"
        assert result.energy_per_atom is not None and reference.energy_per_atom is not None
        assert abs(result.energy_per_atom - reference.energy_per_atom) < 1e-3


def check_provenance(relaxer: Relaxer, case: ConformanceCase) -> None:
    """The record says which engine, package and version, model and precision."""
    provenance = relaxer.provenance
    assert provenance["engine"] == relaxer.name
    for key in ("package", "package_version", "model", "dtype"):
        assert provenance.get(key), f"provenance lacks {key!r}"
    assert all(isinstance(value, str) for value in provenance.values())


CHECKS: tuple[Callable[[Relaxer, ConformanceCase], None], ...] = (
    check_order_and_progress,
    check_extensive,
    check_invariance,
    check_forces,
    check_stress,
    check_batching,
    check_determinism,
    check_relaxed,
    check_fixed_cell,
    check_step_limit,
    check_bad_structures,
    check_provenance,
)
"""Every check, in the order in which a broken engine is best understood."""


def _single(relaxer: Relaxer, structures: Sequence[Structure]) -> list[Evaluation]:
    return [_evaluation(result) for result in relaxer.single_point(structures)]


def _evaluation(result: RelaxationResult) -> Evaluation:
    assert result.evaluation is not None, f"{result.failure}: {result.failure_detail}"
    return result.evaluation


def _derivative(relaxer: Relaxer, at: Callable[[float], Structure], step: float) -> float:
    """Fourth-order central difference of the energy at zero."""
    energies = [
        evaluation.energy for evaluation in _single(relaxer, [at(k * step) for k in (-2, -1, 1, 2)])
    ]
    return float(np.dot([1, -8, 8, -1], energies)) / (12 * step)


def _independent(calculator: Callable[[], BaseCalculator], structure: Structure) -> Evaluation:
    atoms = Atoms(
        numbers=structure.atomic_numbers,
        cell=structure.lattice.matrix,
        positions=structure.cart_coords,
        pbc=True,
    )
    atoms.calc = calculator()
    return Evaluation(
        energy=float(atoms.get_potential_energy()),
        forces=np.asarray(atoms.get_forces(), dtype=float),
        stress=np.asarray(atoms.get_stress(voigt=False), dtype=float) / GPa,
    )


def _close(
    actual: NDArray[np.float64] | None,
    expected: NDArray[np.float64] | None,
    tolerance: float,
    what: str,
) -> None:
    assert actual is not None and expected is not None
    difference = float(np.abs(np.asarray(actual) - np.asarray(expected)).max())
    assert difference < tolerance, f"{what}: differ by {difference:.3g} (allowed {tolerance:.3g})"
