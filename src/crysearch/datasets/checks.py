"""What may be wrong with the configurations of a data set; none is dropped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial import cKDTree

from crysearch.datasets.facts import (
    FORCES_NOT_FINITE,
    NO_ENERGY,
    STRESS_NOT_FINITE,
    Facts,
)
from crysearch.errors import DatasetError

Reason = Literal[
    "no_energy",
    "forces_not_finite",
    "stress_not_finite",
    "large_force",
    "net_force",
    "large_stress",
    "atoms_too_close",
    "energy_outlier",
    "duplicate",
    "conflicting_energy",
    "joins_splits",
]
REASONS: tuple[str, ...] = get_args(Reason)
# Fewer energies have no deviation to speak of.
_FEWEST_ENERGIES = 8
# Energies of formation, which a sum over atoms does not know, reach several eV/atom.
_LEAST_OF_RARE_COMPOSITIONS = 5.0
_TO_STANDARD_DEVIATION = 1.4826
_FAULTS = {
    NO_ENERGY: "the energy is missing or not finite",
    FORCES_NOT_FINITE: "a force is not finite",
    STRESS_NOT_FINITE: "a component of the stress is not finite",
}


@dataclass(frozen=True)
class Limits:
    """Beyond these a configuration is flagged.

    Attributes
    ----------
    maximum_force : float
        Norm of a force, eV/Å.
    net_force : float
        Norm of the sum of the forces over the number of atoms, eV/Å.
    maximum_stress : float
        Component of the stress, eV/Å³; 5 are 801 GPa, so that more hints at another unit.
    closest_contact : float
        Distance of two atoms over the sum of their covalent radii; less is flagged.
    energy_deviations_above, energy_deviations_below : float
        Distance of an energy per atom from what is expected of the composition, in robust standard
        deviations (1.4826 times the median absolute deviation) of the whole set. Random crystals
        have a long tail of high energies, and none of low ones. Where fewer than eight
        configurations have the composition, the first holds below as well, and 5 eV/atom are
        always allowed.
    energy_floor : float
        eV/atom; no smaller distance is flagged, however narrow the energies lie.
    duplicate_distance : float
        Largest difference of two `crysearch.datasets.facts.distance_fingerprint` of one structure,
        Å.
    duplicate_energy : float
        Largest difference of two energies of one structure, eV/atom, beside what the forces make
        of `duplicate_distance`.

    Raises
    ------
    DatasetError
        A limit is not a positive, finite number.
    """

    maximum_force: float = 50.0
    net_force: float = 0.01
    maximum_stress: float = 5.0
    closest_contact: float = 0.5
    energy_deviations_above: float = 20.0
    energy_deviations_below: float = 6.0
    energy_floor: float = 0.2
    duplicate_distance: float = 0.001
    duplicate_energy: float = 0.001

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value > 0):
                raise DatasetError(f"{entry.name} is {value!r}: give a number greater than 0")


@dataclass(frozen=True)
class Finding:
    """What is wrong with a configuration.

    Attributes
    ----------
    index : int
        Of the configuration, counted from 0.
    reason : str
        One of `REASONS`.
    detail : str
        The reason as a phrase with its numbers.
    """

    index: int
    reason: Reason
    detail: str


def check(
    facts: Sequence[Facts], limits: Limits | None = None, numbers: Sequence[int] | None = None
) -> list[Finding]:
    """Check the configurations of a data set, each by itself and together.

    The second and later of several configurations with the same structure are duplicates; where
    their energies differ, all are flagged as conflicting instead.

    Parameters
    ----------
    facts
        Of all configurations of the set.
    numbers
        What to call the configurations in the findings, by default 0, 1, 2, …

    Returns
    -------
    list of Finding
        In the order of the configurations; ``index`` is the place in ``facts``.
    """
    limits = limits or Limits()
    names = range(len(facts)) if numbers is None else numbers
    findings = [found for i, one in enumerate(facts) for found in _alone(i, one, limits)]
    findings += _outliers(facts, limits)
    findings += _repeated(facts, limits, names)
    order = {reason: place for place, reason in enumerate(REASONS)}
    return sorted(findings, key=lambda found: (found.index, order[found.reason]))


def duplicate_pairs(facts: Sequence[Facts], tolerance: float) -> NDArray[np.int64]:
    """Find pairs of configurations with the same structure.

    Structures are the same if their reduced compositions are, and no number of their distance
    fingerprints differs by more than the tolerance (Å). Of several structures that are equal to a
    hundredth of it, only the pairs with the first are returned.

    Returns
    -------
    numpy.ndarray
        Places in ``facts``, the smaller first, sorted, shape (pairs, 2).
    """
    classes: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for i, one in enumerate(facts):
        classes.setdefault(one.reduced, []).append(i)
    found = [np.empty((0, 2), dtype=np.int64)]
    for members in classes.values():
        places = np.array(members)
        table = np.array([facts[i].fingerprint for i in members], dtype=np.float64)
        # Many equal structures would have very many pairs.
        rounded = np.round(table / (0.01 * tolerance))
        _, first, inverse = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
        of_each = first[inverse.reshape(-1)]
        equal = np.flatnonzero(of_each != np.arange(len(places)))
        found.append(np.stack([places[of_each[equal]], places[equal]], axis=1))
        tree = cKDTree(table[first])
        near = tree.query_pairs(tolerance, p=np.inf, output_type="ndarray")
        found.append(np.sort(places[first[near.astype(np.int64)]], axis=1))
    pairs = np.concatenate(found)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _alone(i: int, one: Facts, limits: Limits) -> Iterable[Finding]:
    for fault in one.faults:
        yield Finding(i, fault, _FAULTS[fault])  # type: ignore[arg-type]
    if one.max_force is not None and one.max_force > limits.maximum_force:
        yield Finding(
            i, "large_force", f"a force of {one.max_force:.4g} > {limits.maximum_force:g} eV/Å"
        )
    if one.net_force is not None and one.net_force > limits.net_force:
        yield Finding(
            i,
            "net_force",
            f"the forces sum to {one.net_force:.3g} > {limits.net_force:g} eV/Å per atom",
        )
    if one.max_stress is not None and one.max_stress > limits.maximum_stress:
        yield Finding(
            i,
            "large_stress",
            f"a stress of {one.max_stress:.4g} > {limits.maximum_stress:g} eV/Å³: another unit?",
        )
    if one.closest_contact is not None and one.closest_contact < limits.closest_contact:
        yield Finding(
            i,
            "atoms_too_close",
            f"atoms {one.minimum_distance:.3f} Å apart: {one.closest_contact:.3f} < "
            f"{limits.closest_contact:g} of the sum of their covalent radii",
        )


def _outliers(facts: Sequence[Facts], limits: Limits) -> list[Finding]:
    known = [i for i, one in enumerate(facts) if one.energy_per_atom is not None]
    if len(known) < _FEWEST_ENERGIES:
        return []
    energies = np.array([facts[i].energy_per_atom for i in known], dtype=np.float64)
    expected, own = _expected([facts[i] for i in known], energies)
    away = energies - expected
    deviation = _TO_STANDARD_DEVIATION * float(np.median(np.abs(away)))
    deviations = np.where(
        (away < 0) & own, limits.energy_deviations_below, limits.energy_deviations_above
    )
    least = np.where(own, limits.energy_floor, _LEAST_OF_RARE_COMPOSITIONS)
    allowed = np.maximum(least, deviations * deviation)
    return [
        Finding(
            known[k],
            "energy_outlier",
            f"{energies[k]:.4f} eV/atom is {away[k]:+.3f} from what is usual for the composition; "
            f"{allowed[k]:.3f} allowed",
        )
        for k in np.flatnonzero(np.abs(away) > allowed)
    ]


def _expected(
    facts: Sequence[Facts], energies: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Energy per atom expected of each, and whether enough others have its composition.

    It is then their median; otherwise a sum over atoms of an energy of each element, fitted
    robustly.
    """
    places: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for i, one in enumerate(facts):
        places.setdefault(one.reduced, []).append(i)
    expected = np.zeros(len(facts))
    own = np.zeros(len(facts), dtype=bool)
    for members in places.values():
        if len(members) >= _FEWEST_ENERGIES:
            expected[members] = np.median(energies[members])
            own[members] = True
    if not own.all():
        elements = sorted({element for one in facts for element in one.composition})
        shares = np.array(
            [[one.composition.get(e, 0) / one.nsites for e in elements] for one in facts]
        )
        fit = least_squares(
            lambda x: shares @ x - energies,
            np.linalg.lstsq(shares, energies, rcond=None)[0],
            jac=lambda x: shares,
            loss="soft_l1",
            f_scale=0.1,
        )
        expected[~own] = (shares @ fit.x)[~own]
    return expected, own


def _repeated(facts: Sequence[Facts], limits: Limits, names: Sequence[int]) -> list[Finding]:
    conflicts: dict[int, Finding] = {}
    agreeing: list[tuple[int, int]] = []
    for first, second in duplicate_pairs(facts, limits.duplicate_distance).tolist():
        one, other = facts[first], facts[second]
        if one.energy_per_atom is None or other.energy_per_atom is None:
            agreeing.append((first, second))
            continue
        forces = max(one.max_force or 0.0, other.max_force or 0.0)
        apart = abs(one.energy_per_atom - other.energy_per_atom)
        if apart <= limits.duplicate_energy + limits.duplicate_distance * forces:
            agreeing.append((first, second))
            continue
        for i, j in ((first, second), (second, first)):
            conflicts.setdefault(
                i,
                Finding(
                    i,
                    "conflicting_energy",
                    f"the same structure as configuration {names[j]}, {apart:.4g} eV/atom apart",
                ),
            )
    repeated: dict[int, Finding] = {}
    # Sorted by the first: it is known by then whether that is a duplicate itself.
    for first, second in agreeing:
        if first not in repeated and second not in repeated and second not in conflicts:
            repeated[second] = Finding(
                second,
                "duplicate",
                f"the same structure and energy as configuration {names[first]}",
            )
    return [*conflicts.values(), *repeated.values()]
