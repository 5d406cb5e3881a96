"""Which references are set aside, and that the checks agree with independent computations."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.core.operations import SymmOp
from pymatgen.io.ase import AseAtomsAdaptor

from crysearch.errors import ReferencesError
from crysearch.references import (
    REASONS,
    Reference,
    SoundnessSettings,
    check_references,
    find_duplicates,
    load_snapshot,
)
from crysearch.references.soundness import nearest_neighbours

DISTANCES = {
    "Si": {("Si", "Si"): 2.1},
    "SnSe": {("Sn", "Sn"): 2.0, ("Sn", "Se"): 2.1, ("Se", "Se"): 2.2},
    "NaCl": {("Na", "Na"): 2.4, ("Na", "Cl"): 2.2, ("Cl", "Cl"): 2.6},
    "GaAs": {("Ga", "Ga"): 2.0, ("Ga", "As"): 2.0, ("As", "As"): 2.0},
    "Al2O3": {("Al", "Al"): 2.0, ("Al", "O"): 1.5, ("O", "O"): 2.0},
}
SET_ASIDE = {
    "Si": {
        "mp-16220": "isolated_atom",
        "mp-988210": "atoms_too_close",
        "mp-1403870": "atoms_too_close",
        "mp-1524805": "duplicate",
        "mp-1244933": "amorphous",
        "mp-1244971": "amorphous",
        "mp-1244990": "amorphous",
        "mp-1245041": "amorphous",
        "mp-1245242": "amorphous",
    },
    "SnSe": {"mp-1205455": "too_sparse", "mp-1179336": "duplicate"},
    "NaCl": {},
    "GaAs": {
        "mp-1244899": "amorphous",
        "mp-1244999": "amorphous",
        "mp-1245074": "amorphous",
        "mp-1245274": "amorphous",
        "mp-1245314": "amorphous",
        "mp-2362466": "duplicate",
    },
    "Al2O3": {
        "mp-638765": "atoms_too_close",
        "mp-723985": "atoms_too_close",
        "mp-1359927": "atoms_too_close",
        "mp-2637304": "atoms_too_close",
    },
}
SILICON = DISTANCES["Si"]


def diamond(lattice_constant: float = 5.43) -> Structure:
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(lattice_constant), ["Si"], [[0, 0, 0]])


def reference(structure: Structure, name: str = "a", energy: float | None = None) -> Reference:
    return Reference(name, structure, "test", energy_above_ground_state=energy)


def by_id(formula: str) -> dict[str, Reference]:
    return {entry.reference_id: entry for entry in load_snapshot(formula)}


def verdict(structure: Structure, **arguments) -> str | None:
    """Reason for which one Si structure is set aside."""
    _, set_aside = check_references([reference(structure)], SILICON, formula="Si", **arguments)
    return set_aside[0].reason if set_aside else None


@pytest.mark.parametrize("formula", DISTANCES)
def test_the_snapshots_are_sorted_as_documented(formula: str) -> None:
    references = load_snapshot(formula)
    started = time.perf_counter()
    sound, set_aside = check_references(references, DISTANCES[formula], formula=formula)
    assert time.perf_counter() - started < 30
    assert {item.reference.reference_id: item.reason for item in set_aside} == SET_ASIDE[formula]
    order = [entry.reference_id for entry in references]
    assert [entry.reference_id for entry in sound] == [
        name for name in order if name not in SET_ASIDE[formula]
    ]
    for item in set_aside:
        assert item.reason in REASONS
        assert item.detail.endswith(".") and any(letter.isdigit() for letter in item.detail)


def test_amorphous_cells_stay_when_wanted() -> None:
    silicon = by_id("Si")
    references = [silicon["mp-149"], silicon["mp-1244933"], silicon["mp-1244971"]]
    sound, set_aside = check_references(references, SILICON, formula="Si", include_amorphous=True)
    assert sound == references and not set_aside


def test_details_carry_the_numbers() -> None:
    details = {
        item.reference.reference_id: item.detail
        for formula in ("Si", "SnSe")
        for item in check_references(load_snapshot(formula), DISTANCES[formula], formula=formula)[1]
    }
    assert "1.733 Å" in details["mp-988210"] and "2.100 Å" in details["mp-988210"]
    assert "2 of 34 atoms" in details["mp-16220"] and "2.815 Å" in details["mp-16220"]
    assert "100 atoms" in details["mp-1244933"]
    assert "182.4 Å³" in details["mp-1205455"]
    assert "mp-1001113" in details["mp-1524805"]


def test_distances_may_be_relaxed_for_references() -> None:
    close = diamond(5.43 * 2.0 / 2.351)
    assert verdict(close) == "atoms_too_close"
    assert verdict(close, settings=SoundnessSettings(distance_fraction=0.9)) is None


def test_coincident_atoms_are_too_close() -> None:
    structure = diamond()
    structure.append("Si", structure[0].frac_coords)
    assert verdict(structure) == "atoms_too_close"


def test_an_atom_taken_out_of_its_bonds_is_isolated() -> None:
    structure = diamond() * (2, 2, 2)
    # Hexagonal rings leave a cage; doubling one axis opens a gap for a lone atom.
    gap = Structure(
        Lattice(np.diag([1, 1, 1.6]) @ structure.lattice.matrix),
        structure.species,
        np.array([0, 0, 2.5]) + structure.cart_coords,
        coords_are_cartesian=True,
    )
    top = gap.cart_coords[:, 2].max()
    gap.append("Si", [1, 1, top + 3.2], coords_are_cartesian=True)
    assert verdict(gap) == "isolated_atom"
    gap.remove_sites([len(gap) - 1])
    assert verdict(gap) is None


def test_uniformly_wide_bonds_are_no_isolated_atoms() -> None:
    """Solid argon: every neighbour at 1.77 times the covalent radii."""
    argon = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.31), ["Ar"], [[0, 0, 0]])
    sound, set_aside = check_references([reference(argon)], {("Ar", "Ar"): 3.0}, formula="Ar")
    assert len(sound) == 1 and not set_aside


def test_a_lone_molecule_is_too_sparse() -> None:
    dimer = Structure(Lattice.cubic(9), ["Si", "Si"], [[0, 0, 0], [0, 0, 2.3 / 9]])
    assert verdict(dimer) == "too_sparse"


def test_a_large_symmetric_cell_is_not_amorphous_but_a_shaken_one_is() -> None:
    structure = diamond() * (2, 2, 2)
    assert verdict(structure) is None
    generator = np.random.default_rng(1)
    displaced = structure.cart_coords + generator.normal(0, 0.06, (64, 3))
    shaken = Structure(structure.lattice, structure.species, displaced, coords_are_cartesian=True)
    assert verdict(shaken) == "amorphous"
    assert verdict(shaken, include_amorphous=True) is None
    assert verdict(shaken, settings=SoundnessSettings(amorphous_atoms=65)) is None


def test_a_supercell_without_symmetry_counts_its_primitive_atoms() -> None:
    small = by_id("Si")["mp-676011"].structure  # P1, 8 atoms
    assert verdict(small * (2, 2, 2)) is None


def test_disordered_and_foreign_structures() -> None:
    alloy = diamond()
    alloy.replace_species({"Si": {"Si": 0.5, "Ge": 0.5}})
    assert verdict(alloy) == "disordered"
    foreign = diamond()
    foreign.replace(0, "Ge")
    assert verdict(foreign) == "wrong_composition"


def test_oxidation_states_do_not_change_the_composition() -> None:
    salt = by_id("NaCl")["mp-22862"].structure.copy()
    salt.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    sound, _ = check_references([reference(salt)], DISTANCES["NaCl"], formula="NaCl")
    assert len(sound) == 1


def test_excluded_by_name() -> None:
    references = load_snapshot("NaCl")
    sound, set_aside = check_references(
        references, DISTANCES["NaCl"], formula="NaCl", exclude=["mp-22851"]
    )
    assert len(sound) == 2
    assert [item.reason for item in set_aside] == ["excluded"]


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_nearest_neighbours_agree_with_ase(seed: int) -> None:
    """Random cells, also small and skewed ones, against ASE's neighbour list."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(0, 3, (3, 3)) + 3 * np.eye(3)
    if abs(np.linalg.det(matrix)) < 4:
        return
    atoms = int(generator.integers(1, 6))
    species = generator.choice(["Cs", "O", "Si"], atoms)
    structure = Structure(matrix, species, generator.random((atoms, 3)))
    distances, ratios = nearest_neighbours(structure)

    radii = covalent_radii[[atomic_numbers[symbol] for symbol in species]]
    # Any smaller distance or ratio would lie within this reach.
    reach = max(distances.max(), (ratios * (radii + radii.max())).max()) + 0.01
    i, j, d = neighbor_list("ijd", AseAtomsAdaptor.get_atoms(structure), reach)
    for atom in range(atoms):
        mine = i == atom
        assert distances[atom] == pytest.approx(d[mine].min(), abs=1e-6)
        expected = (d[mine] / (radii[atom] + radii[j[mine]])).min()
        assert ratios[atom] == pytest.approx(expected, abs=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_too_close_agrees_with_ase(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cell = Lattice.from_parameters(*generator.uniform(4, 7, 3), *generator.uniform(50, 120, 3))
    if not np.isfinite(cell.volume) or cell.volume < 40:
        return
    structure = Structure(cell, ["Sn", "Sn", "Se", "Se"], generator.random((4, 3)))
    limits = {("Sn", "Sn"): 2.0, ("Sn", "Se"): 2.1, ("Se", "Se"): 2.2}
    i, j, d = neighbor_list("ijd", AseAtomsAdaptor.get_atoms(structure), 3.0)
    symbols = np.array(["Sn", "Sn", "Se", "Se"])
    expected = any(
        distance < limits.get((symbols[a], symbols[b]), limits.get((symbols[b], symbols[a]), 0))
        for a, b, distance in zip(i, j, d, strict=True)
    )
    _, set_aside = check_references([reference(structure)], limits, formula="SnSe")
    assert (bool(set_aside) and set_aside[0].reason == "atoms_too_close") == expected


def disguised(structure: Structure, seed: int = 0) -> Structure:
    """The same crystal: slightly strained, rotated, shifted, reordered, in another cell."""
    generator = np.random.default_rng(seed)
    copy = structure * [[1, 1, 0], [0, 1, 1], [0, 0, 2]]
    copy.apply_strain(0.01)
    rotation = SymmOp.from_axis_angle_and_translation([1, 2, 3], 47)
    copy.apply_operation(rotation)
    copy.translate_sites(range(len(copy)), generator.random(3))
    return Structure.from_sites([copy[int(i)] for i in generator.permutation(len(copy))])


@pytest.mark.parametrize("name", ["mp-149", "mp-168", "mp-34", "mp-1079297", "mp-1072544"])
def test_a_disguised_copy_is_a_duplicate(name: str) -> None:
    original = by_id("Si")[name]
    copy = replace(original, reference_id="copy", structure=disguised(original.structure))
    [(duplicate, kept, displacement)] = find_duplicates([original, copy])
    assert (duplicate.reference_id, kept.reference_id) == ("copy", name)
    assert displacement < 0.03


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [(0.2, 0.1, "b"), (0.1, 0.2, "a"), (None, 0.3, "b"), (None, None, "a")],
)
def test_the_lowest_energy_stays(first: float | None, second: float | None, kept: str) -> None:
    references = [reference(diamond(), "a", first), reference(disguised(diamond()), "b", second)]
    sound, set_aside = check_references(references, SILICON, formula="Si")
    assert [entry.reference_id for entry in sound] == [kept]
    assert set_aside[0].reason == "duplicate" and kept in set_aside[0].detail


def test_the_same_lattice_at_another_volume_is_no_duplicate() -> None:
    references = [reference(diamond(5.43), "a"), reference(diamond(5.43 * 1.08**0.5), "b")]
    assert find_duplicates(references) == []


def test_distinct_phases_of_the_published_set_stay() -> None:
    """R8 and BC8: StructureMatcher's own limits call them equal, the published set has both."""
    silicon = by_id("Si")
    bc8, r8 = silicon["mp-168"], silicon["mp-571520"]
    assert StructureMatcher().fit(bc8.structure, r8.structure)
    assert find_duplicates([bc8, r8]) == []


@pytest.mark.parametrize("formula", ["Si", "SnSe", "GaAs"])
def test_duplicates_agree_with_every_pair_compared(formula: str) -> None:
    """The preselection loses none that StructureMatcher finds pair by pair."""
    limits = SoundnessSettings()
    references = [entry for entry in load_snapshot(formula) if len(entry.structure) <= 24]
    matcher = StructureMatcher()
    expected = set()
    for one, two in combinations(references, 2):
        match = matcher.get_rms_dist(one.structure, two.structure)
        volumes = [entry.structure.volume / len(entry.structure) for entry in (one, two)]
        if (
            match is not None
            and match[0] <= limits.duplicate_displacement
            and max(volumes) - min(volumes) <= limits.duplicate_volume_difference * max(volumes)
        ):
            expected.add(frozenset((one.reference_id, two.reference_id)))
    found = {
        frozenset((duplicate.reference_id, kept.reference_id))
        for duplicate, kept, _ in find_duplicates(references)
    }
    assert found == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formula": ""}, "not a chemical formula"),
        ({"formula": "what"}, "not a chemical formula"),
        ({"formula": "Si0"}, "not a chemical formula"),
        ({"formula": "Si0.5"}, "whole numbers"),
        ({"minimum_distances": {}}, "Si–Si, got none"),
        ({"minimum_distances": {("Si", "Si"): 0.0}}, "positive"),
        ({"minimum_distances": {("Si", "Si"): float("nan")}}, "positive"),
        ({"exclude": ["mp-1"]}, "mp-1, but no reference has that id"),
    ],
)
def test_invalid_arguments_are_named(arguments: dict, message: str) -> None:
    defaults = {"minimum_distances": SILICON, "formula": "Si"}
    with pytest.raises(ReferencesError, match=message):
        check_references([reference(diamond())], **(defaults | arguments))


def test_contradictory_and_missing_pairs_are_named() -> None:
    entries = load_snapshot("NaCl")
    both = {("Na", "Na"): 2.4, ("Na", "Cl"): 2.2, ("Cl", "Na"): 2.3, ("Cl", "Cl"): 2.6}
    with pytest.raises(ReferencesError, match=r"Cl–Na, got \[2\.2, 2\.3\]"):
        check_references(entries, both, formula="NaCl")
    with pytest.raises(ReferencesError, match="Cl–Cl, got none"):
        check_references(entries, {("Na", "Na"): 2.4, ("Cl", "Na"): 2.2}, formula="NaCl")


def test_repeated_ids_are_named() -> None:
    with pytest.raises(ReferencesError, match="more than once: a"):
        check_references([reference(diamond()), reference(diamond())], SILICON, formula="Si")


@pytest.mark.parametrize("name", ["distance_fraction", "amorphous_atoms"])
def test_thresholds_must_be_positive(name: str) -> None:
    with pytest.raises(ReferencesError, match=f"{name} must be positive"):
        SoundnessSettings(**{name: 0})
