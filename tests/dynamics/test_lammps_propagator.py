"""LAMMPS' dynamics against the relaxation engines' forces and statistical mechanics."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.units import GPa, kB
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.spatial.transform import Rotation

from crysearch.dynamics import DynamicsSettings
from crysearch.dynamics.base import initial_velocities
from crysearch.dynamics.conformance import CHECKS, DynamicsCase
from crysearch.dynamics.lammps_propagator import LammpsPropagator
from crysearch.dynamics.registry import create_propagator
from crysearch.errors import DynamicsError
from crysearch.relaxation import create_relaxer
from crysearch.relaxation.lammps_models import BornMayerNaCl, StillingerWeberSi

SILICON = AseAtomsAdaptor.get_structure(bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2))
SALT = AseAtomsAdaptor.get_structure(bulk("NaCl", "rocksalt", a=5.7, cubic=True) * (2, 2, 2))
SYSTEMS = {
    "stillinger-weber": (LammpsPropagator(StillingerWeberSi()), SILICON, 1e-9),
    "born-mayer-nacl": (LammpsPropagator(BornMayerNaCl()), SALT, 5e-5),
}


URANIUM = Structure(Lattice.cubic(4), ["U", "U"], [[0, 0, 0], [0.5] * 3])
CASES = {
    "stillinger-weber": DynamicsCase(
        SILICON,
        create_relaxer("stillinger-weber"),
        timestep=4.0,
        tension=-60.0,
        pressure=1.0,
        unknown=URANIUM,
    ),
    # LAMMPS' forces of ions are accurate to 1e-5 eV/Å in dynamics.
    "born-mayer-nacl": DynamicsCase(
        SALT,
        create_relaxer("born-mayer-nacl"),
        timestep=5.0,
        steps=900,
        pressure=1.0,
        tension=-30.0,
        unknown=URANIUM,
        energy_noise=1e-5,
        pressure_noise=2e-3,
        continued_noise=1e-4,
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CASES)
def test_lammps_keeps_the_contract(name, check):
    check(SYSTEMS[name][0], CASES[name])


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("ensemble", ["nve", "npt"])
def test_frames_have_the_engines_energies_forces_and_pressures(name, ensemble):
    propagator, structure, accuracy = SYSTEMS[name]
    settings = DynamicsSettings(ensemble, 500, 60, 3, sample_every=30, keep_forces=True)
    found = propagator.run(structure, settings)
    assert found.status == "finished" and len(found) == 3 and found.forces is not None
    engine = create_relaxer(name)
    for index in range(3):
        (expected,) = engine.evaluate([found.atoms(index)])
        np.testing.assert_allclose(found.forces[index], expected.forces, atol=accuracy)
        # With a barostat the potential of the ions is not shifted at the cut-off.
        allowed = 64 * (5e-4 if (ensemble, name) == ("npt", "born-mayer-nacl") else accuracy)
        assert found.potential_energies[index] == pytest.approx(expected.energy, abs=allowed)
        virial = -np.trace(expected.stress) / 3
        # The centre of mass is at rest.
        ideal = 63 * kB * found.temperatures[index] / found.volumes[index] / GPa
        assert found.pressures[index] == pytest.approx(virial + ideal, abs=2e-3)


def test_volume_of_silicon_at_300_kelvin():
    """The fluctuation of the volume is the bulk modulus', √(kT V / B) with B about 100 GPa."""
    propagator = SYSTEMS["stillinger-weber"][0]
    settings = DynamicsSettings("npt", 300, 10000, 5, sample_every=20, equilibration_steps=2000)
    # From the perfect crystal the atoms would beat in time for the first 10 ps.
    found = propagator.run(SILICON.copy().perturb(0.12, seed=1), settings)
    assert found.temperatures.mean() == pytest.approx(300, abs=12)
    assert found.temperatures.std() == pytest.approx(300 * np.sqrt(2 / 189), rel=0.2)
    assert found.pressures.mean() == pytest.approx(0, abs=0.1)
    assert np.cbrt(found.volumes.mean()) / 2 == pytest.approx(5.4375, abs=0.004)
    expected = np.sqrt(kB * 300 * found.volumes.mean() / (100 * GPa))
    assert found.volumes.std() == pytest.approx(expected, rel=0.4)


def test_a_continued_run_is_one_run():
    """In NVE, where no thermostat draws anew; and looking at the run does not change it."""
    propagator, structure, _ = SYSTEMS["stillinger-weber"]
    whole = propagator.run(structure, DynamicsSettings("nve", 800, 240, 1, sample_every=40))
    half = propagator.run(structure, DynamicsSettings("nve", 800, 120, 1, sample_every=120))
    rest = propagator.run(
        half.frame(-1), DynamicsSettings("nve", 800, 120, 1), half.velocities_of_last
    )
    shift = rest.positions[-1] - whole.positions[-1]
    whole_cells = np.rint(structure.lattice.get_fractional_coords(shift))
    np.testing.assert_allclose(
        shift, structure.lattice.get_cartesian_coords(whole_cells), atol=1e-8
    )
    np.testing.assert_allclose(rest.velocities_of_last, whole.velocities_of_last, atol=1e-9)


@pytest.mark.parametrize("ensemble", ["nve", "npt"])
def test_any_cell_and_orientation(ensemble):
    """The same crystal in a turned, left-handed, skewed cell, its atoms outside of it."""
    propagator = SYSTEMS["stillinger-weber"][0]
    velocities = initial_velocities(SILICON.atomic_numbers, 600, 4)
    rotation = Rotation.from_euler("xyz", [0.4, -1.1, 2.3]).as_matrix()
    skew = np.array([[0, 1, 0], [1, 0, -2], [0, 1, 1]])
    cell = skew @ SILICON.lattice.matrix @ rotation.T
    assert np.linalg.det(cell) < 0
    moved = SILICON.cart_coords @ rotation.T + np.array([7, -30, 2.0])
    turned = Structure(Lattice(cell), SILICON.species, moved, coords_are_cartesian=True)
    settings = DynamicsSettings(ensemble, 600, 40, 1, thermostat_time=1e9)
    plain = propagator.run(SILICON, settings, velocities)
    other = propagator.run(turned, settings, velocities @ rotation.T)
    np.testing.assert_allclose(other.positions[0], turned.cart_coords, atol=1e-9)
    np.testing.assert_allclose(other.cells[0], cell, atol=1e-9)
    np.testing.assert_allclose(other.pressures, plain.pressures, atol=1e-6)
    np.testing.assert_allclose(other.volumes, plain.volumes, rtol=1e-9)
    np.testing.assert_allclose(other.cells[-1], skew @ plain.cells[-1] @ rotation.T, atol=1e-8)
    if ensemble == "nve":
        walked = (plain.positions[-1] - plain.positions[0]) @ rotation.T
        np.testing.assert_allclose(other.positions[-1] - other.positions[0], walked, atol=1e-8)


def test_explosions_keep_what_was_before():
    propagator, salt = SYSTEMS["born-mayer-nacl"][0], SALT
    wild = propagator.run(salt, DynamicsSettings("nve", 3000, 400, 2, timestep=40.0))
    assert wild.status == "exploded" and wild.failure_detail and 1 <= len(wild) < 41
    fast = initial_velocities(salt.atomic_numbers, 5000, 1)
    bounded = DynamicsSettings("nvt", 900, 100, 2, maximum_temperature=2000)
    hot = propagator.run(salt, bounded, fast)
    assert (hot.status, hot.failure) == ("exploded", "temperature")
    close = salt.copy()
    chlorine = [index for index, site in enumerate(close) if site.specie.symbol == "Cl"]
    close.translate_sites(
        chlorine[1:2],
        close.lattice.get_fractional_coords(
            close[chlorine[0]].coords - close[chlorine[1]].coords + [1.2, 0, 0]
        ),
    )
    fused = propagator.run(close, DynamicsSettings("nve", 300, 10, 2))
    assert (fused.status, fused.failure, len(fused)) == ("exploded", "contact", 0)
    assert fused.failure_detail and "Cl–Cl atoms are 1.2 Å apart" in fused.failure_detail


def test_progress_counts_every_step():
    done: list[int] = []
    settings = DynamicsSettings("nvt", 300, 250, 1, sample_every=250, equilibration_steps=130)
    SYSTEMS["stillinger-weber"][0].run(SILICON, settings, progress=done.append)
    assert sum(done) == 380


def test_what_cannot_start():
    propagator = SYSTEMS["born-mayer-nacl"][0]
    settings = DynamicsSettings("nve", 300, 10, 1)
    with pytest.raises(DynamicsError, match="does not know Si"):
        propagator.run(SILICON, settings)
    charged = SALT.copy()
    charged.remove_sites([0])
    with pytest.raises(DynamicsError, match=r"charged \(31 Na, 32 Cl; -1 e\)"):
        propagator.run(charged, settings)


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("born-mayer-nacl", "lammps:born-mayer-nacl"),
        ("stillinger-weber", "lammps:stillinger-weber"),
        ("lammps:stillinger-weber", "lammps:stillinger-weber"),
    ],
)
def test_lammps_is_chosen_where_it_has_the_potential(engine, name):
    assert create_propagator(engine).name == name


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("lammps:chgnet", {}, "LAMMPS has no such potential here; choose one of born-mayer-nacl"),
        ("gromacs:emt", {}, "'gromacs' does not integrate"),
        ("born-mayer-nacl", {"cut": 3}, r"does not take these options \(cut\)"),
        ("born-mayer-nacl", {"cutoff": 3}, "must lie between 6 and 30"),
    ],
)
def test_wrong_engines_and_options(engine, options, message):
    with pytest.raises(DynamicsError, match=message):
        create_propagator(engine, options)
