"""Set unsound known structures aside, each with the reason.

The thresholds were chosen on the bundled snapshots (103 entries of Si, SnSe, NaCl, GaAs and
Al2O3): every default lies in a wide gap between the crystals that are sound and those that are
not. The numbers on either side are given with each constant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from crysearch.errors import ReferencesError
from crysearch.references.base import Reference, SetAside, reduced_composition

REASONS = (
    "excluded",
    "disordered",
    "wrong_composition",
    "atoms_too_close",
    "isolated_atom",
    "too_sparse",
    "amorphous",
    "duplicate",
)
"""Machine words of `SetAside.reason`, in the order in which the checks are made."""


@dataclass(frozen=True)
class SoundnessSettings:
    """Thresholds of `check_references`.

    Attributes
    ----------
    distance_fraction
        Two atoms are too close below this fraction of their minimum distance. 1 takes the
        distances of the search literally: with 2.1 Å the shortest bond of a sound Si entry is
        2.29 Å (a clathrate), the longest of a broken one 1.88 Å.
    isolation_bond_ratio, isolation_outlier_ratio
        An atom is isolated if its nearest neighbour is farther than the first number times the
        sum of the covalent radii *and* than the second number times what is usual (the median)
        in the same structure. The broken clathrate mp-16220 has 1.27 and 1.23; among the others
        face-centred cubic Si comes nearest by the first (1.22) but has all bonds alike (1.00).
    sparse_volume_ratio
        A structure is too sparse if its volume exceeds this many times that of its covalent
        spheres. The most open sound entry has 5.9, mp-1205455 (SnSe at 182 Å³ per atom) 19.7.
    amorphous_atoms
        A structure without symmetry (P1) counts as amorphous from this many atoms per primitive
        cell. The largest P1 crystals have 40, the amorphous cells 100.
    symmetry_tolerance
        Distance tolerance of spglib for that space group, Å.
    duplicate_displacement
        Two structures are the same if StructureMatcher superposes them with a root-mean-square
        displacement of at most this fraction of (volume per atom)^(1/3). True duplicates have
        up to 0.052; the distinct phases R8 (mp-571520) and BC8 (mp-168), both in the published
        set of references, 0.096.
    duplicate_volume_difference
        ... and if their volumes per atom differ by at most this fraction of the larger one.
    """

    distance_fraction: float = 1.0
    isolation_bond_ratio: float = 1.25
    isolation_outlier_ratio: float = 1.15
    sparse_volume_ratio: float = 10.0
    amorphous_atoms: int = 60
    symmetry_tolerance: float = 0.1
    duplicate_displacement: float = 0.07
    duplicate_volume_difference: float = 0.10

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise ReferencesError(f"references: {name} must be positive, got {value!r}.")


def check_references(
    references: Sequence[Reference],
    minimum_distances: Mapping[tuple[str, str], float],
    *,
    formula: str,
    include_amorphous: bool = False,
    exclude: Collection[str] = (),
    settings: SoundnessSettings | None = None,
) -> tuple[list[Reference], list[SetAside]]:
    """Separate the references that the search can use from those it cannot.

    Parameters
    ----------
    references
        Known structures from any source.
    minimum_distances
        Å, for every unordered pair of the elements in `formula`, in either order.
    formula
        Composition of the search; only the ratio counts.
    include_amorphous
        Keep large cells without symmetry.
    exclude
        Reference ids not to use, whatever their structure; each must occur.
    settings
        Thresholds; the defaults are explained in `SoundnessSettings`.

    Returns
    -------
    sound, set_aside
        Both in the order of the input. Of duplicates the one of lowest energy stays (the first
        one if no energy is known). Each reference is set aside for the first reason that
        applies, in the order of `REASONS`.

    Raises
    ------
    ReferencesError
        If the formula or a distance is invalid, a pair is missing, ids are not unique, or an
        excluded id does not occur.
    """
    settings = settings or SoundnessSettings()
    composition = reduced_composition(formula)
    distances = _distance_table(minimum_distances, composition)
    _check_ids(references, exclude)

    sound: list[Reference] = []
    reasons: dict[str, tuple[str, str]] = {}
    for reference in references:
        fault = _fault(reference, composition, distances, include_amorphous, exclude, settings)
        if fault is None:
            sound.append(reference)
        else:
            reasons[reference.reference_id] = fault
    for reference, kept, displacement in find_duplicates(sound, settings):
        reasons[reference.reference_id] = (
            "duplicate",
            f"the same structure as {kept.reference_id} (root-mean-square displacement "
            f"{displacement:.3f} of (volume per atom)^(1/3), limit "
            f"{settings.duplicate_displacement:g}).",
        )
    return (
        [reference for reference in sound if reference.reference_id not in reasons],
        [
            SetAside(reference, *reasons[reference.reference_id])
            for reference in references
            if reference.reference_id in reasons
        ],
    )


def find_duplicates(
    references: Sequence[Reference], settings: SoundnessSettings | None = None
) -> list[tuple[Reference, Reference, float]]:
    """References that repeat another one.

    Parameters
    ----------
    references
        Ordered structures.
    settings
        Thresholds `duplicate_displacement` and `duplicate_volume_difference`.

    Returns
    -------
    list of (duplicate, kept, displacement)
        The displacement is the root mean square over the atoms in units of
        (volume per atom)^(1/3), dimensionless. `kept` is never itself a duplicate.
    """
    settings = settings or SoundnessSettings()
    matcher = StructureMatcher(primitive_cell=False)
    by_energy = sorted(
        references,
        key=lambda reference: (
            np.inf
            if reference.energy_above_ground_state is None
            else reference.energy_above_ground_state
        ),
    )
    kept: list[tuple[Reference, Structure]] = []
    duplicates: list[tuple[Reference, Reference, float]] = []
    for reference in by_energy:
        # As StructureMatcher does it itself; done here once per structure rather than per pair.
        primitive = reference.structure.get_primitive_structure()
        for other, other_primitive in kept:
            if not _comparable(primitive, other_primitive, settings):
                continue
            match = matcher.get_rms_dist(primitive, other_primitive)
            if match is not None and match[0] <= settings.duplicate_displacement:
                duplicates.append((reference, other, float(match[0])))
                break
        else:
            kept.append((reference, primitive))
    return duplicates


def nearest_neighbours(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Distance from each atom to its nearest neighbour, periodic images included.

    Returns
    -------
    distances : (atoms,) float
        Å.
    ratios : (atoms,) float
        The smallest ratio of an interatomic distance to the sum of the two covalent radii
        (Cordero et al., Dalton Trans. 2832 (2008)); dimensionless.
    """
    radii = _covalent_radii(structure)
    reach = 3 * float(radii.max())
    while True:
        centre, neighbour, _, distance = structure.get_neighbor_list(reach)
        nearest = np.full(len(structure), np.inf)
        np.minimum.at(nearest, centre, distance)
        ratios = np.full(len(structure), np.inf)
        np.minimum.at(ratios, centre, distance / (radii[centre] + radii[neighbour]))
        # Beyond the reach there may still be a smaller ratio, to an atom of larger radius.
        if np.all(ratios * (radii + radii.max()) <= reach):
            break
        reach *= 2
    return nearest, ratios


def _fault(
    reference: Reference,
    composition: Composition,
    minimum_distances: Mapping[tuple[str, str], float],
    include_amorphous: bool,
    exclude: Collection[str],
    settings: SoundnessSettings,
) -> tuple[str, str] | None:
    """The first reason to set one reference aside, duplicates apart."""
    structure = reference.structure
    if reference.reference_id in exclude:
        return "excluded", "excluded by name."
    if not structure.is_ordered:
        return "disordered", (
            f"some sites are partially occupied or shared ({structure.composition.formula})."
        )
    if structure.composition.element_composition.reduced_composition != composition:
        return "wrong_composition", (
            f"its composition is {structure.composition.reduced_formula}, "
            f"the search is for {composition.reduced_formula}."
        )
    return (
        _too_close(structure, minimum_distances, settings)
        or _isolated(structure, settings)
        or _too_sparse(structure, settings)
        or (None if include_amorphous else _amorphous(structure, settings))
    )


def _too_close(
    structure: Structure,
    minimum_distances: Mapping[tuple[str, str], float],
    settings: SoundnessSettings,
) -> tuple[str, str] | None:
    symbols = [site.specie.symbol for site in structure]
    centre, neighbour, _, distance = structure.get_neighbor_list(
        settings.distance_fraction * max(minimum_distances.values())
    )
    limits = settings.distance_fraction * np.array(
        [minimum_distances[symbols[i], symbols[j]] for i, j in zip(centre, neighbour, strict=True)]
    )
    if not np.any(distance < limits):
        return None
    worst = int(np.argmin(distance / limits))
    i, j = centre[worst], neighbour[worst]
    return "atoms_too_close", (
        f"{symbols[i]} and {symbols[j]} (atoms {i} and {j}) are {distance[worst]:.3f} Å apart, "
        f"closer than the {limits[worst]:.3f} Å allowed."
    )


def _isolated(structure: Structure, settings: SoundnessSettings) -> tuple[str, str] | None:
    distances, ratios = nearest_neighbours(structure)
    limit = max(
        settings.isolation_bond_ratio, settings.isolation_outlier_ratio * float(np.median(ratios))
    )
    isolated = np.flatnonzero(ratios > limit)
    if len(isolated) == 0:
        return None
    worst = isolated[np.argmax(ratios[isolated])]
    return "isolated_atom", (
        f"{len(isolated)} of {len(structure)} atoms are bonded to nothing: the nearest neighbour "
        f"of atom {worst} ({structure[int(worst)].specie.symbol}) is {distances[worst]:.3f} Å "
        f"away, {ratios[worst]:.2f} times the sum of the covalent radii (limit "
        f"{limit:.2f}, usual in this structure {np.median(ratios):.2f})."
    )


def _too_sparse(structure: Structure, settings: SoundnessSettings) -> tuple[str, str] | None:
    spheres = float(np.sum(4 / 3 * np.pi * _covalent_radii(structure) ** 3))
    ratio = structure.volume / spheres
    if ratio <= settings.sparse_volume_ratio:
        return None
    return "too_sparse", (
        f"{structure.volume / len(structure):.1f} Å³ per atom is {ratio:.1f} times the volume of "
        f"the covalent spheres (limit {settings.sparse_volume_ratio:g}): not a bulk crystal."
    )


def _amorphous(structure: Structure, settings: SoundnessSettings) -> tuple[str, str] | None:
    if len(structure) < settings.amorphous_atoms:
        return None
    analyzer = SpacegroupAnalyzer(structure, symprec=settings.symmetry_tolerance)
    if analyzer.get_space_group_number() != 1:
        return None
    atoms = len(analyzer.find_primitive() or structure)
    if atoms < settings.amorphous_atoms:
        return None
    return "amorphous", (
        f"{atoms} atoms in the primitive cell and no symmetry at "
        f"{settings.symmetry_tolerance:g} Å (limit {settings.amorphous_atoms} atoms in P1)."
    )


def _comparable(first: Structure, second: Structure, settings: SoundnessSettings) -> bool:
    """Whether two primitive cells can be duplicates at all; spares StructureMatcher the rest."""
    if first.composition != second.composition:
        return False
    larger = max(first.volume, second.volume)
    return abs(first.volume - second.volume) <= settings.duplicate_volume_difference * larger


def _covalent_radii(structure: Structure) -> np.ndarray:
    return covalent_radii[[atomic_numbers[site.specie.symbol] for site in structure]]


def _distance_table(
    minimum_distances: Mapping[tuple[str, str], float], composition: Composition
) -> dict[tuple[str, str], float]:
    """Minimum distances in both orders of each pair, complete and positive."""
    symbols = sorted(element.symbol for element in composition)
    table: dict[tuple[str, str], float] = {}
    for first, second in combinations_with_replacement(symbols, 2):
        given = {
            minimum_distances[pair]
            for pair in ((first, second), (second, first))
            if pair in minimum_distances
        }
        if len(given) != 1 or not all(np.isfinite(value) and value > 0 for value in given):
            raise ReferencesError(
                f"references: minimum_distances needs one positive number (Å) for "
                f"{first}–{second}, got {sorted(given) or 'none'}."
            )
        table[first, second] = table[second, first] = float(given.pop())
    return table


def _check_ids(references: Sequence[Reference], exclude: Collection[str]) -> None:
    counts = Counter(reference.reference_id for reference in references)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise ReferencesError(
            f"references: these ids occur more than once: {', '.join(repeated)}; "
            "rename the files or drop one source."
        )
    unknown = sorted(set(exclude) - set(counts))
    if unknown:
        raise ReferencesError(
            f"references: exclude names {', '.join(unknown)}, but no reference has that id; "
            "correct or remove it."
        )
