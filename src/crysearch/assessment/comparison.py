"""The numbers of an assessment that people compare, and differences between two engines.

Both take the quantities of an assessment as plain dictionaries by name: ``phases``
(:class:`~crysearch.assessment.RelaxedPhase` in a list), ``equation_of_state`` (by phase, with
``reason`` where it failed), ``elasticity``, ``phonons`` and ``cost``. What was not computed is
missing or None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from crysearch.analysis import crystal_system
from crysearch.analysis.plain import PlainResult

Quantities = Mapping[str, Any]

#: Independent elastic constants of the crystal systems, by their Voigt indices.
_CONSTANTS = {
    "cubic": "11 12 44",
    "hexagonal": "11 12 13 33 44",
    "trigonal": "11 12 13 14 15 33 44",
    "tetragonal": "11 12 13 16 33 44 66",
    "orthorhombic": "11 12 13 22 23 33 44 55 66",
    "monoclinic": "11 12 13 15 22 23 25 33 35 44 46 55 66",
    "triclinic": " ".join(f"{i}{j}" for i in range(1, 7) for j in range(i, 7)),
}
#: Of these constants, those that some Laue classes of the system do not have are left out if so
#: small a part of the largest.
_ABSENT = 1e-6


@dataclass(frozen=True)
class Headline(PlainResult):
    """One number of an assessment.

    Attributes
    ----------
    key
        The same in all assessments.
    label, unit
        For people; the unit is empty for a pure number.
    value
        None if it was not computed.
    error
        Standard error, of the slope of the cost only.
    """

    key: str
    label: str
    unit: str
    value: float | None
    error: float | None = None


@dataclass(frozen=True)
class PhaseComparison(PlainResult):
    """One phase by a model and by its reference: values of the model, and minus the reference's.

    Attributes
    ----------
    name, label
        The phase.
    energy, energy_difference
        Energy above that of the first phase, eV/atom.
    volume_difference
        Of the relaxed volumes, Å³/atom.
    relaxation_energy_difference
        Of the energies gained from the same disturbed cell, eV/atom.
    relaxation_volume_difference
        Of the volumes gained from the same disturbed cell, Å³/atom.
    bulk_modulus_difference
        GPa.
    is_ordered
        Whether both engines kept the crystal, so that it counts in the order of phases.
    """

    name: str
    label: str
    energy: float | None
    energy_difference: float | None
    volume_difference: float | None
    relaxation_energy_difference: float | None
    relaxation_volume_difference: float | None
    bulk_modulus_difference: float | None
    is_ordered: bool


@dataclass(frozen=True)
class Comparison(PlainResult):
    """A model against its reference.

    Attributes
    ----------
    phases
        One by one.
    kendall_tau
        Kendall's τ-b between the energies of the phases that both engines kept: 1 is the same
        order; None with fewer than two.
    kendall_p
        Its two-sided probability if the orders had nothing to do with one another.
    ordered
        How many phases these are.
    inversions
        Pairs of them that the model puts in the other order, the lower of the reference first.
    energy_mean_absolute
        Mean absolute difference of the energies above the first phase (without the first), eV/atom.
    volume_mean_absolute
        Of the relaxed volumes, Å³/atom.
    relaxation_energy_mean_absolute
        eV/atom.
    relaxation_volume_mean_absolute
        Å³/atom.
    phonon_mean_absolute
        Mean absolute difference of the frequencies at the special points, THz.
    """

    phases: tuple[PhaseComparison, ...]
    kendall_tau: float | None
    kendall_p: float | None
    ordered: int
    inversions: tuple[tuple[str, str], ...]
    energy_mean_absolute: float | None
    volume_mean_absolute: float | None
    relaxation_energy_mean_absolute: float | None
    relaxation_volume_mean_absolute: float | None
    phonon_mean_absolute: float | None


def headlines(quantities: Quantities) -> list[Headline]:
    """The numbers of the first phase and the cost, in the order of tables."""
    found = [*_of_state(quantities), *_elastic(quantities), *_phonon(quantities)]
    cost = quantities.get("cost")
    if cost is not None:
        largest = cost["points"][-1]
        slope = Headline(
            "cost_slope", "cost: slope of log time", "", cost["slope"], cost["slope_error"]
        )
        value = 1e6 * largest["cpu_per_atom"]
        found += [
            slope,
            Headline("cost_per_atom", "cost per atom and step, largest cell", "µs", value),
        ]
    return found


def compare(model: Quantities, reference: Quantities) -> Comparison:
    """Differences of a model's quantities from its reference's.

    Phases are matched by their names; energies are above the first phase of the model's list.
    """
    theirs = {phase["name"]: phase for phase in reference.get("phases") or ()}
    pairs = [(p, theirs[p["name"]]) for p in model.get("phases") or () if p["name"] in theirs]
    phases: list[PhaseComparison] = []
    for mine, other in pairs:
        energies = [_minus(p["energy"], pairs[0][k]["energy"]) for k, p in enumerate((mine, other))]
        moduli = [_bulk_modulus(q, mine["name"]) for q in (model, reference)]
        phases.append(
            PhaseComparison(
                name=mine["name"],
                label=mine["label"],
                energy=energies[0],
                energy_difference=_minus(*energies),
                volume_difference=_minus(mine["volume"], other["volume"]),
                relaxation_energy_difference=_minus(
                    mine["relaxation_energy"], other["relaxation_energy"]
                ),
                relaxation_volume_difference=_minus(
                    mine["relaxation_volume"], other["relaxation_volume"]
                ),
                bulk_modulus_difference=_minus(*moduli),
                is_ordered=bool(mine["is_kept"] and other["is_kept"]),
            )
        )
    kept = [pair for pair, phase in zip(pairs, phases, strict=True) if phase.is_ordered]
    tau, probability = _kendall(kept)
    return Comparison(
        phases=tuple(phases),
        kendall_tau=tau,
        kendall_p=probability,
        ordered=len(kept),
        inversions=_inversions(kept),
        energy_mean_absolute=_mean_absolute([p.energy_difference for p in phases[1:]]),
        volume_mean_absolute=_mean_absolute([p.volume_difference for p in phases]),
        relaxation_energy_mean_absolute=_mean_absolute(
            [p.relaxation_energy_difference for p in phases]
        ),
        relaxation_volume_mean_absolute=_mean_absolute(
            [p.relaxation_volume_difference for p in phases]
        ),
        phonon_mean_absolute=_phonon_difference(model, reference),
    )


def special_points(phonons: Mapping[str, Any]) -> dict[str, list[float]]:
    """Frequencies (THz, ascending) at each special point of the bands."""
    found: dict[str, list[float]] = {}
    for segment in phonons["bands"]:
        for label, end in zip(segment["labels"], (0, -1), strict=True):
            found.setdefault(label, sorted(segment["frequencies"][end]))
    return found


def _of_state(quantities: Quantities) -> list[Headline]:
    states = quantities.get("equation_of_state") or []
    first = states[0] if states else None
    if first is None or first["reason"] is not None:
        return []
    return [
        Headline("equilibrium_volume", "V0", "Å³/atom", first["equilibrium_volume"]),
        Headline("bulk_modulus", "B0", "GPa", first["bulk_modulus"]),
        Headline("bulk_modulus_derivative", "B0′", "", first["bulk_modulus_derivative"]),
    ]


def _elastic(quantities: Quantities) -> list[Headline]:
    found = quantities.get("elasticity")
    if found is None:
        return []
    tensor = np.array(found["tensor"])
    least = _ABSENT * np.abs(tensor).max()
    values = {
        name: float(tensor[int(name[0]) - 1, int(name[1]) - 1])
        for name in _CONSTANTS[crystal_system(found["space_group"])].split()
    }
    return [
        Headline(f"C{name}", f"C{name}", "GPa", value)
        for name, value in values.items()
        if abs(value) > least
    ]


def _phonon(quantities: Quantities) -> list[Headline]:
    found = quantities.get("phonons")
    if found is None:
        return []
    lines = []
    for label, frequencies in special_points(found).items():
        name = "Γ" if label == "G" else label
        if label != "G":  # at Γ the lowest are the acoustic ones, zero
            key = f"phonon_{label}_lowest"
            lines.append(Headline(key, f"phonon at {name}, lowest", "THz", frequencies[0]))
        key = f"phonon_{label}_highest"
        lines.append(Headline(key, f"phonon at {name}, highest", "THz", frequencies[-1]))
    return lines


def _bulk_modulus(quantities: Quantities, name: str) -> float | None:
    for state in quantities.get("equation_of_state") or []:
        if state["name"] == name and state["reason"] is None:
            return float(state["bulk_modulus"])
    return None


def _kendall(pairs: Sequence[tuple[Quantities, Quantities]]) -> tuple[float | None, float | None]:
    if len(pairs) < 2:
        return None, None
    found: Any = kendalltau([m["energy"] for m, _ in pairs], [r["energy"] for _, r in pairs])
    return float(found.statistic), float(found.pvalue)


def _inversions(pairs: Sequence[tuple[Quantities, Quantities]]) -> tuple[tuple[str, str], ...]:
    ordered = sorted(pairs, key=lambda pair: float(pair[1]["energy"]))
    return tuple(
        (lower["name"], higher["name"])
        for (lower, _), (higher, _) in combinations(ordered, 2)
        if lower["energy"] > higher["energy"]
    )


def _phonon_difference(model: Quantities, reference: Quantities) -> float | None:
    mine, theirs = model.get("phonons"), reference.get("phonons")
    if mine is None or theirs is None:
        return None
    first, second = special_points(mine), special_points(theirs)
    if {k: len(v) for k, v in first.items()} != {k: len(v) for k, v in second.items()}:
        return None
    return float(np.mean(np.abs(np.concatenate([np.subtract(first[k], second[k]) for k in first]))))


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _mean_absolute(values: Sequence[float | None]) -> float | None:
    known = [abs(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
