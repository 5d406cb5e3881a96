"""Every engine against the same contract."""

from __future__ import annotations

import contextlib
import io
import warnings
from functools import cache

import numpy as np
import pytest
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

from crysearch.relaxation import RelaxationSettings, Relaxer, create_relaxer
from crysearch.relaxation.conformance import CHECKS, ConformanceCase

SETTINGS = RelaxationSettings(force_tolerance=0.02, stress_tolerance=0.1, max_steps=200)

#: Chlorine atoms 1.2 Å apart, where the dispersion of the Born–Mayer potential wins.
CLOSE_CHLORINE = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0.5, 0.24, 0.5]]


def distorted(structure: Structure, size: float, seed: int) -> Structure:
    """A copy without symmetry: random strain and displacements."""
    random = np.random.default_rng(seed)
    strain = np.eye(3) + size * 0.2 * random.uniform(-1, 1, (3, 3))
    cell = structure.lattice.matrix @ strain
    positions = structure.frac_coords @ cell + size * random.uniform(-1, 1, (len(structure), 3))
    return Structure(Lattice(cell), structure.species, positions, coords_are_cartesian=True)


def silicon() -> tuple[Structure, ...]:
    diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    beta_tin = Structure.from_spacegroup(
        "I4_1/amd", Lattice.tetragonal(4.80, 2.65), ["Si"], [[0, 0, 0]]
    )
    return distorted(beta_tin, 0.15, 1), distorted(diamond.get_primitive_structure(), 0.2, 2)


def metals() -> tuple[Structure, ...]:
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.7), ["Cu"], [[0, 0, 0]])
    alloy = Structure(Lattice.tetragonal(2.8, 3.7), ["Au", "Cu"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return distorted(copper, 0.15, 3), distorted(alloy, 0.2, 4)


def salts() -> tuple[Structure, ...]:
    rock_salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    caesium_chloride = Structure(Lattice.cubic(3.4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return distorted(rock_salt, 0.15, 5), distorted(caesium_chloride, 0.2, 6)


def bad(symbol: str, unknown: str) -> tuple[tuple[Structure, tuple[str, ...]], ...]:
    box = Lattice.cubic(4)
    return (
        (Structure(box, [unknown], [[0, 0, 0]]), ("engine_error",)),
        (Structure(box, [{symbol: 0.5, "Al": 0.5}], [[0, 0, 0]]), ("unsupported",)),
        (Structure(box, [symbol] * 2, [[0, 0, 0], [0, 0, 0.01]]), ("collapse",)),
        (Structure(Lattice(np.diag([4, 4, 1e-9])), [symbol], [[0, 0, 0]]), ("unsupported",)),
        (Structure(box, [symbol], [[0, 0, np.nan]]), ("unsupported",)),
    )


def sevennet_calculator(model: str, fidelity: str | None):
    from sevenn.calculator import SevenNetCalculator

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return SevenNetCalculator(model, modal=fidelity, device="cpu")


def chgnet_calculator():
    from chgnet.model import CHGNetCalculator

    with contextlib.redirect_stdout(io.StringIO()):
        return CHGNetCalculator(use_device="cpu")


CASES = {
    "emt": ConformanceCase(
        metals(),
        bad("Cu", "U"),
        SETTINGS,
        energy_noise=1e-9,
        force_noise=1e-5,
        stress_noise=1e-3,
        calculator=EMT,
    ),
    "stillinger-weber": ConformanceCase(
        silicon(),
        bad("Si", "U"),
        SETTINGS,
        energy_noise=1e-9,
        force_noise=1e-4,
        stress_noise=1e-3,
    ),
    "born-mayer-nacl": ConformanceCase(
        salts(),
        (
            *bad("Na", "U"),
            (Structure(Lattice.cubic(4), ["Na"], [[0, 0, 0]]), ("engine_error",)),
            (
                Structure(Lattice.cubic(5), ["Na", "Na", "Cl", "Cl"], CLOSE_CHLORINE),
                ("engine_error",),
            ),
        ),
        SETTINGS,
        energy_noise=1e-6,
        force_noise=5e-4,
        stress_noise=5e-3,
    ),
    "sevennet-0": ConformanceCase(
        silicon(),
        bad("Si", "Fm"),
        SETTINGS,
        energy_noise=5e-6,
        calculator=lambda: sevennet_calculator("7net-0", None),
    ),
    "sevennet-mf-0": ConformanceCase(
        silicon(),
        bad("Si", "Fm"),
        SETTINGS,
        energy_noise=5e-6,
        calculator=lambda: sevennet_calculator("7net-mf-0", "PBE"),
    ),
    "chgnet": ConformanceCase(
        silicon(),
        bad("Si", "Fm"),
        SETTINGS,
        energy_noise=5e-6,
        force_noise=2e-2,
        stress_noise=5e-2,
        calculator=chgnet_calculator,
    ),
}


@cache
def relaxer(name: str) -> Relaxer:
    classical = ("emt", "stillinger-weber", "born-mayer-nacl")
    options = {} if name in classical else {"device": "cpu", "threads": 1}
    return create_relaxer(name, **options)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CASES)
def test_engine_keeps_the_contract(name, check):
    check(relaxer(name), CASES[name])
