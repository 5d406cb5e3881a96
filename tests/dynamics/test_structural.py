"""What characterises crystals, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.geometry.rdf import get_rdf
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from crysearch.dynamics.structural import as_frames, measured_diffusion, structural
from crysearch.errors import DynamicsError

A = 5.43


def shaken(cell: Structure, count: int, amplitude: float = 0.02) -> list[Structure]:
    draw = np.random.default_rng(5)
    return [
        Structure(
            cell.lattice,
            cell.species,
            cell.cart_coords + draw.normal(0, amplitude, (len(cell), 3)),
            coords_are_cartesian=True,
        )
        for _ in range(count)
    ]


def crystal(name: str, prototype: str, a: float, repeats: int = 2) -> Structure:
    atoms = bulk(name, prototype, a=a, cubic=True).repeat(repeats)
    return AseAtomsAdaptor.get_structure(atoms)


def test_diamond() -> None:
    cell = crystal("Si", "diamond", A)
    found = structural(as_frames(shaken(cell, 6)), cutoff=5.0, bins=100)
    [pair] = found.pairs
    assert found.frames == 6 and found.density.mean == pytest.approx(cell.density, rel=1e-4)
    assert pair.peak == pytest.approx(A * np.sqrt(3) / 4, abs=0.02)
    assert pair.coordination == pytest.approx(4) and pair.coordination_error == pytest.approx(0)
    assert pair.reason is None and pair.height_error is not None and pair.height_error > 0
    assert found.bonds is not None and found.bonds.cutoff == pair.minimum
    assert found.bonds.neighbours.fractions == {4: 1.0}
    assert found.bonds.angles.mean == pytest.approx(np.degrees(np.arccos(-1 / 3)), abs=0.3)
    # A longer cut-off: the 12 of the second shell too.
    wide = structural(as_frames([cell]), cutoff=5.0, bins=100, bond_cutoff=4.2)
    assert wide.bonds is not None and wide.bonds.neighbours.mean == 16
    assert wide.pairs[0].height_error is None and "single frame" in str(wide.pairs[0].reason)


def test_distributions_are_those_of_ase() -> None:
    [frame] = shaken(crystal("Si", "diamond", A, 3), 1, 0.1)
    [pair] = structural(as_frames([frame]), cutoff=8.0, bins=80).pairs
    g, r = get_rdf(AseAtomsAdaptor.get_atoms(frame), 8.0, 80)
    assert pair.distribution.r == pytest.approx(r)
    assert pair.distribution.g == pytest.approx(g, rel=1e-6, abs=1e-9)


def test_rock_salt() -> None:
    found = structural(as_frames(shaken(crystal("NaCl", "rocksalt", 5.64), 4)), cutoff=5.5)
    pairs = {pair.distribution.pair: pair for pair in found.pairs}
    # Elements in the order of their atomic numbers.
    assert list(pairs) == [("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")]
    assert pairs["Na", "Cl"].peak == pytest.approx(2.82, abs=0.03)
    assert pairs["Na", "Cl"].coordination == pytest.approx(6)
    assert pairs["Na", "Na"].coordination == pytest.approx(12)
    assert found.bonds is None and found.bonds_reason == "several elements: give a cut-off"
    near = structural(as_frames([crystal("NaCl", "rocksalt", 5.64)]), 5.5, 200, 3.2)
    assert near.bonds is not None and near.bonds.neighbours.fractions == {6: 1.0}


def test_what_is_not_there_has_a_reason() -> None:
    far = Structure(Lattice.cubic(20), ["Si"] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]])
    found = structural(as_frames([far]), cutoff=6.0)
    assert found.pairs[0].peak is None and "no peak within" in str(found.pairs[0].reason)
    assert found.bonds is None and found.bonds_reason == found.pairs[0].reason
    lonely = structural(as_frames([far]), cutoff=6.0, bond_cutoff=1.0).bonds
    assert lonely is not None and lonely.neighbours.fractions == {0: 1.0}
    assert np.isnan(lonely.angles.mean)
    solid = structural(as_frames([crystal("Si", "diamond", A)]), cutoff=2.4, bins=24)
    assert solid.pairs[0].peak is not None and "no minimum" in str(solid.pairs[0].reason)


def test_frames_of_one_formula() -> None:
    salt = crystal("NaCl", "rocksalt", 5.64)
    other = Structure(salt.lattice, salt.species[::-1], salt.frac_coords[::-1])
    together = as_frames([salt, other])
    assert len(together) == 2 and together.numbers.tolist() == [11] * 32 + [17] * 32
    with pytest.raises(DynamicsError, match=r"different atoms \(Na32Cl32, Na4Cl4\)"):
        as_frames([salt, crystal("NaCl", "rocksalt", 5.64, 1)])
    with pytest.raises(DynamicsError, match="none given"):
        as_frames([])
    with pytest.raises(DynamicsError, match="1 frames are too few for diffusion; give 12"):
        measured_diffusion(as_frames([salt]), "Na")
