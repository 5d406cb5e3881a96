from __future__ import annotations

import gzip
import json
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp
from pymatgen.symmetry.groups import SpaceGroup
from pyxtal import pyxtal
from pyxtal.symmetry import Group

from crysearch.analysis import Symmetry, analyse_symmetries, analyse_symmetry, crystal_system
from crysearch.errors import AnalysisError

# Lee and Chang: cells (Å, °), and the Wyckoff positions they print.
PUBLISHED = {
    "Cmmm": (
        (8.21, 6.59, 5.20, 90, 90, 90),
        {(0, 0.5, 0.75536): "4l", (0.25, 0.25, 0.72747): "8m", (0.86311, 0, 0): "4g"},
    ),
    "C2/m": (
        (13.73, 3.82, 6.29, 90, 83.3, 90),
        {
            (0.94460, 0, 0.87347): "4i",
            (0.44097, 0, 0.65322): "4i",
            (0.78744, 0, 0.05727): "4i",
            (0.27303, 0, 0.58547): "4i",
        },
    ),
    "C2/m*": (
        (3.77, 16.56, 6.93, 90, 133.7, 90),
        {
            (0.08137, 0, 0.86120): "4i",
            (0.07598, 0.87869, 0.36283): "8j",
            (0, 0.29131, 0): "4g",
        },
    ),
}
# Letters after the choice of the alphabetically first description; in Cmmm, moving the origin by
# (1/2, 0, 0) turns 4l into 4k and leaves 4g and 8m as they are.
UNIQUE = {"Cmmm": "Si: 4g 4k 8m", "C2/m": "Si: 4i 4i 4i 4i", "C2/m*": "Si: 4g 4i 8j"}


def published(name: str) -> Structure:
    cell, sites = PUBLISHED[name]
    return Structure.from_spacegroup(
        name.rstrip("*"), Lattice.from_parameters(*cell), ["Si"] * len(sites), list(sites)
    )


def snapshot(name: str) -> list[dict]:
    data = files("crysearch.references") / "data" / f"{name}_mp.json.gz"
    return json.loads(gzip.decompress(data.read_bytes()))


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("tolerance", [0.1, 0.01])
def test_published_cells(name, tolerance):
    symmetry = analyse_symmetry(published(name), tolerance)
    assert symmetry.failure is None
    assert symmetry.symbol == name.rstrip("*")
    assert symmetry.wyckoff_label == UNIQUE[name]
    assert len(symmetry.conventional) == 16
    assert len(symmetry.primitive) == 8
    # The letters printed in the paper are one of the equivalent descriptions.
    alternatives = Group(symmetry.number).get_alternatives()["Transformed WP"]
    letters = alternatives[0].split()
    equivalent = [
        sorted(f"{label[:-1]}{row.split()[letters.index(label[-1])]}" for label in labels)
        for labels in [PUBLISHED[name][1].values()]
        for row in alternatives
    ]
    assert sorted(orbit.label for orbit in symmetry.wyckoff) in equivalent


def test_conventional_cell_of_cmmm_has_the_published_axes():
    conventional = analyse_symmetry(published("Cmmm")).conventional
    np.testing.assert_allclose(conventional.lattice.abc, (8.21, 6.59, 5.20), atol=1e-6)
    assert np.linalg.det(conventional.lattice.matrix) > 0


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(PUBLISHED)),
    shift=st.tuples(*[st.floats(0, 1)] * 3),
    seed=st.integers(0, 1000),
    supercell=st.sampled_from(
        [None, [[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[2, 0, 0], [0, 1, 0], [0, 0, 1]]]
    ),
)
def test_the_same_crystal_gets_the_same_label(name, shift, seed, supercell):
    rng = np.random.default_rng(seed)
    structure = published(name).get_primitive_structure()
    if supercell is not None:
        structure = structure * supercell
    structure.translate_sites(range(len(structure)), shift)
    axis = rng.normal(size=3)
    structure.apply_operation(SymmOp.from_axis_angle_and_translation(axis, rng.uniform(0, 360)))
    structure = Structure.from_sites([structure[k] for k in rng.permutation(len(structure))])
    symmetry = analyse_symmetry(structure, 0.01)
    assert symmetry.wyckoff_label == UNIQUE[name]
    expected = analyse_symmetry(published(name), 0.01).conventional.lattice.parameters
    np.testing.assert_allclose(symmetry.conventional.lattice.parameters, expected, atol=1e-5)


@pytest.mark.parametrize(
    "number", [2, 5, 12, 19, 36, 52, 65, 70, 74, 93, 122, 141, 152, 166, 186, 198, 214, 225, 227]
)
def test_letters_and_coordinates_agree_with_pyxtal(number):
    """Every listed coordinate lies on the orbit that its letter names in PyXtal's tables."""
    group = Group(number)
    crystal = pyxtal()
    for seed in range(50):
        # The smallest composition that leaves a choice of positions.
        crystal.from_random(3, number, ["Si"], [group[0].multiplicity], 1.5, random_state=seed)
        if crystal.valid and len(crystal.atom_sites) > 1:
            break
    structure = crystal.to_pymatgen()
    rng = np.random.default_rng(number)
    structure.translate_sites(range(len(structure)), rng.random(3))
    symmetry = analyse_symmetry(structure, 0.01)
    assert symmetry.failure is None
    assert sum(orbit.multiplicity for orbit in symmetry.wyckoff) == len(symmetry.conventional)
    assert analyse_symmetry(symmetry.conventional, 0.01).number == symmetry.number
    check_letters(symmetry)


@pytest.mark.parametrize("axes", [(4, 5, 7), (5, 4, 7)])
@pytest.mark.parametrize("special", [(0.25, 0.25, 0.25), (0.25, 0.25, 0.75), (0, 0, 0.5)])
def test_a_change_of_axes_that_is_not_its_own_inverse(axes, special):
    structure = Structure.from_spacegroup(
        "Imma", Lattice.orthorhombic(*axes), ["Si"] * 2, [special, (0, 0.25, 0.3)]
    )
    symmetry = analyse_symmetry(structure, 0.01)
    assert symmetry.number == 74
    assert symmetry.wyckoff[0].label == "4a"
    check_letters(symmetry)


def check_letters(symmetry: Symmetry) -> None:
    group = Group(symmetry.number)
    for orbit in symmetry.wyckoff:
        position = next(wp for wp in group if wp.letter == orbit.letter)
        assert position.multiplicity == orbit.multiplicity
        images = [operation.operate(orbit.coordinates) for operation in group[0].ops]
        assert any(_is_on(position.ops[0], image) for image in images), orbit


def _is_on(representative: SymmOp, point: np.ndarray) -> bool:
    """Whether e.g. (x, x, 0) leaves the point where it is, up to lattice vectors."""
    offset = representative.operate(point) - point
    return np.abs(offset - np.round(offset)).max() < 1e-3


@pytest.mark.parametrize("name", ["si", "snse", "nacl", "gaas", "al2o3"])
def test_space_groups_of_the_materials_project(name):
    for entry in snapshot(name):
        if entry["nsites"] >= 100:
            continue  # amorphous cells without symmetry, and seconds of work
        symmetries = analyse_symmetries(Structure.from_dict(entry["structure"]))
        assert symmetries[0.1].number == entry["spacegroup"]["number"], entry["material_id"]
        assert symmetries[0.01].number == entry["spacegroup_symprec_0_01"][1]


def test_several_elements_are_listed_separately():
    rock_salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Cl", "Na"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    symmetry = analyse_symmetry(rock_salt)
    assert symmetry.wyckoff_label == "Na: 4a; Cl: 4b"
    assert (symmetry.crystal_system, len(symmetry.primitive)) == ("cubic", 2)


def test_tolerance_decides():
    structure = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    structure.perturb(0.03)
    symmetries = analyse_symmetries(structure)
    assert symmetries[0.1].number == 227
    assert symmetries[0.01].number == 1


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (Structure(Lattice.cubic(5), ["Si", "Si"], [[0, 0, 0], [0, 0, 0]]), "closer than"),
        (Structure(Lattice.cubic(5), ["Si"], [[np.nan, 0, 0]]), "not finite"),
        (Structure(Lattice(np.zeros((3, 3))), ["Si"], [[0, 0, 0]]), "no volume"),
        (Structure(Lattice.cubic(5), [{"Si": 0.5}], [[0, 0, 0]]), "partly occupied"),
        (Structure(Lattice.cubic(5), [], []), "no atoms"),
    ],
)
def test_a_structure_without_symmetry_gives_a_reason(structure, reason):
    symmetry = analyse_symmetry(structure)
    assert reason in symmetry.failure
    assert symmetry.number is symmetry.symbol is symmetry.wyckoff_label is None
    assert symmetry.crystal_system is None


@pytest.mark.parametrize("old", [True, False])
def test_the_reason_does_not_depend_on_what_else_uses_spglib(old, monkeypatch):
    monkeypatch.setattr("spglib.error.OLD_ERROR_HANDLING", old)
    structure = Structure(Lattice.cubic(5), ["Si", "Si"], [[0, 0, 0], [0, 0, 0]])
    assert "closer than that" in analyse_symmetry(structure).failure


def test_bad_input():
    structure = Structure(Lattice.cubic(5), ["Si"], [[0, 0, 0]])
    with pytest.raises(AnalysisError, match="tolerance=0"):
        analyse_symmetry(structure, 0)
    with pytest.raises(AnalysisError, match="space_group=231"):
        crystal_system(231)


@pytest.mark.parametrize("last", [2, 15, 74, 142, 167, 194])
def test_crystal_systems_agree_with_pymatgen(last):
    for number in (last - 1, last, last + 1):
        assert crystal_system(number) == SpaceGroup.from_int_number(number).crystal_system


@pytest.mark.parametrize(
    "number", [1, 5, 12, 38, 40, 65, 42, 70, 44, 74, 79, 141, 146, 148, 155, 166, 167, 197, 227]
)
def test_primitive_cell_is_the_same_crystal(number):
    """All centrings, against pymatgen's own search for a primitive cell."""
    group = Group(number)
    crystal = pyxtal()
    crystal.from_random(3, number, ["Si"], [group[0].multiplicity], 1.5, random_state=1)
    structure = crystal.to_pymatgen()
    symmetry = analyse_symmetry(structure, 0.01)
    assert len(symmetry.primitive) == len(structure.get_primitive_structure(tolerance=0.01))
    matcher = StructureMatcher(
        ltol=0.01, stol=0.01, angle_tol=0.5, primitive_cell=True, scale=False
    )
    assert matcher.fit(structure, symmetry.primitive)
    assert matcher.fit(structure, symmetry.conventional)
