"""A trained potential under the contract of relaxation engines."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import GPa
from pymatgen.core import Lattice, Structure

from crysearch.errors import RelaxationError, TrainingError
from crysearch.potentials import Configuration, create_potential
from crysearch.potentials.calculator import PotentialCalculator
from crysearch.potentials.relaxer import PotentialRelaxer
from crysearch.relaxation import RelaxationSettings, create_relaxer
from crysearch.relaxation.conformance import CHECKS, ConformanceCase


def distorted(structure, size, seed):
    """A copy without symmetry: random strain and displacements."""
    rng = np.random.default_rng(seed)
    cell = structure.lattice.matrix @ (np.eye(3) + size * 0.3 * rng.uniform(-1, 1, (3, 3)))
    positions = structure.frac_coords @ cell + size * rng.uniform(-1, 1, (len(structure), 3))
    return Structure(Lattice(cell), structure.species, positions, coords_are_cartesian=True)


DIAMOND = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
TIN = Structure.from_spacegroup("I4_1/amd", Lattice.tetragonal(4.8, 2.65), ["Si"], [[0, 0, 0]])
KINDS = (DIAMOND.get_primitive_structure(), TIN.get_primitive_structure(), TIN)


@pytest.fixture(scope="module")
def potential():
    """Trained on distorted diamond and β-tin of Stillinger and Weber."""
    bare = [distorted(KINDS[seed % 3], 0.05 + 0.01 * (seed % 40), seed) for seed in range(150)]
    configurations = []
    for structure, result in zip(
        bare, create_relaxer("stillinger-weber").single_point(bare), strict=True
    ):
        if result.evaluation is not None:
            e = result.evaluation
            stress = (e.stress + e.stress.T) / 2 * GPa
            configurations.append(
                Configuration.from_structure(structure, e.energy, e.forces, stress)
            )
    made = create_potential(
        "behler-parrinello",
        elements=["Si"],
        cutoff=5.0,
        radial=8,
        angular=2,
        hidden_layers=(12, 12),
        members=2,
    )
    made.fit(configurations, epochs=120, seed=0)
    return made


@pytest.fixture(scope="module")
def case(potential):
    box = Lattice.cubic(4)
    return ConformanceCase(
        (distorted(TIN, 0.12, 1001), distorted(KINDS[0], 0.15, 1002)),
        (
            (Structure(box, ["U"], [[0, 0, 0]]), ("engine_error",)),
            (Structure(box, [{"Si": 0.5, "Al": 0.5}], [[0, 0, 0]]), ("unsupported",)),
            (Structure(box, ["Si"] * 2, [[0, 0, 0], [0, 0, 0.01]]), ("collapse",)),
            (Structure(Lattice(np.diag([4, 4, 1e-9])), ["Si"], [[0, 0, 0]]), ("unsupported",)),
        ),
        RelaxationSettings(force_tolerance=0.02, stress_tolerance=0.1, max_steps=200),
        energy_noise=1e-9,
        force_noise=1e-4,
        stress_noise=1e-3,
        calculator=lambda: PotentialCalculator(potential),
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_is_an_engine(check, potential, case):
    check(PotentialRelaxer(potential), case)


def test_it_relaxes_to_what_it_was_trained_on(potential):
    """Diamond of Stillinger and Weber: 5.431 Å, -4.337 eV/atom."""
    start = distorted(KINDS[0], 0.1, 7)
    (result,) = PotentialRelaxer(potential).relax([start])
    assert result.converged
    assert result.energy_per_atom == pytest.approx(-4.337, abs=0.02)
    assert result.structure.volume == pytest.approx(5.431**3 / 4, rel=0.03)


def test_what_it_was_not_trained_for_is_refused(potential):
    relaxer = PotentialRelaxer(potential)
    relaxer.check_elements(["Si"])
    with pytest.raises(RelaxationError, match="not trained on Ge"):
        relaxer.check_elements(["Si", "Ge"])
    with pytest.raises(TrainingError, match="not trained"):
        PotentialRelaxer(create_potential("behler-parrinello", elements=["Si"]))
