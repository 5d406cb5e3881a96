"""Energy above the ground state and above the convex hull, with decomposition products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from crysearch.analysis.plain import PlainResult
from crysearch.errors import AnalysisError

#: Products with a smaller share of the atoms are rounding.
_SMALLEST_SHARE = 1e-6


@dataclass(frozen=True)
class EnergyEntry(PlainResult):
    """The energy of one crystal.

    Attributes
    ----------
    entry_id
        Identifier.
    formula
        Any formula, such as ``Si8``.
    energy_per_atom
        eV/atom.
    scheme
        What the energy was calculated with: engine or functional, pseudopotentials, settings.
        Energies of different schemes cannot be compared.
    """

    entry_id: str
    formula: str
    energy_per_atom: float
    scheme: str


@dataclass(frozen=True)
class Product(PlainResult):
    """A phase into which a crystal would decompose.

    Attributes
    ----------
    entry_id, formula
        Of the phase; the formula is reduced.
    fraction
        Share of the atoms.
    """

    entry_id: str
    formula: str
    fraction: float


@dataclass(frozen=True)
class Stability(PlainResult):
    """Stability of one crystal against the known ones, eV/atom.

    Attributes
    ----------
    entry_id, formula, scheme
        Of the crystal; the formula is reduced.
    energy_above_ground_state
        Above the lowest known entry of the same reduced formula: negative for a crystal that
        is more stable than all of them; None if there is none.
    energy_above_hull
        Above the convex hull of the known entries: negative by how much the crystal lies below
        it; None if the hull cannot be computed.
    formation_energy
        From the elemental ground states; None if the hull cannot be computed.
    decomposition
        Phases of the known hull at this composition; empty if the hull cannot be computed.
    not_computed
        Why the hull could not be computed; None if it was.
    """

    entry_id: str
    formula: str
    scheme: str
    energy_above_ground_state: float | None
    energy_above_hull: float | None
    formation_energy: float | None
    decomposition: tuple[Product, ...]
    not_computed: str | None


def stabilities(entries: Sequence[EnergyEntry], known: Sequence[EnergyEntry]) -> list[Stability]:
    """Stability of each of some crystals against known ones.

    The hull is that of the known entries alone (pymatgen's phase diagram), so that a new
    crystal below it has a negative energy and two new crystals do not hide each other. For the
    usual energy above the hull of everything, give all entries as known.

    Parameters
    ----------
    entries
        Crystals to judge.
    known
        Crystals that make the hull; entries with other elements than a crystal's are left out.

    Returns
    -------
    list of Stability
        One per entry, in order.

    Raises
    ------
    AnalysisError
        If the entries are of different schemes, or a formula or an energy is invalid.
    """
    compositions = [_composition(entry) for entry in entries]
    pool = [(entry, _composition(entry)) for entry in known]
    schemes = sorted({entry.scheme for entry in [*entries, *known]})
    if len(schemes) > 1:
        raise AnalysisError(
            f"entries of {len(schemes)} schemes ({', '.join(repr(s) for s in schemes)}) cannot be "
            "compared: calculate all with one of them"
        )
    hulls: dict[frozenset[str], PhaseDiagram | str] = {}
    results = []
    for entry, composition in zip(entries, compositions, strict=True):
        elements = frozenset(element.symbol for element in composition.elements)
        if elements not in hulls:
            hulls[elements] = _hull(pool, elements)
        same = [
            other.energy_per_atom
            for other, its in pool
            if its.reduced_formula == composition.reduced_formula
        ]
        results.append(_stability(entry, composition, same, hulls[elements]))
    return results


def _stability(
    entry: EnergyEntry,
    composition: Composition,
    same: list[float],
    hull: PhaseDiagram | str,
) -> Stability:
    above_hull = formation = None
    products: tuple[Product, ...] = ()
    if not isinstance(hull, str):
        own = PDEntry(composition, entry.energy_per_atom * composition.num_atoms)
        decomposition, above_hull = hull.get_decomp_and_e_above_hull(
            own, allow_negative=True, check_stable=False
        )
        formation = float(hull.get_form_energy_per_atom(own))
        assert decomposition is not None
        found = [
            Product(str(phase.name), phase.composition.reduced_formula, float(share))
            for phase, share in decomposition.items()
            if share > _SMALLEST_SHARE and isinstance(phase, PDEntry)
        ]
        products = tuple(sorted(found, key=lambda product: -product.fraction))
    return Stability(
        entry_id=entry.entry_id,
        formula=composition.reduced_formula,
        scheme=entry.scheme,
        energy_above_ground_state=entry.energy_per_atom - min(same) if same else None,
        energy_above_hull=None if above_hull is None else float(above_hull),
        formation_energy=formation,
        decomposition=products,
        not_computed=hull if isinstance(hull, str) else None,
    )


def _hull(
    pool: Sequence[tuple[EnergyEntry, Composition]], elements: frozenset[str]
) -> PhaseDiagram | str:
    """The hull of the entries within some elements, or why there is none."""
    inside = [(entry, its) for entry, its in pool if elements >= its.chemical_system_set]
    missing = sorted(
        elements.difference(*(i.chemical_system_set for _, i in inside if i.is_element))
    )
    if missing:
        return (
            f"no known entry of the element{'s' * (len(missing) > 1)} {', '.join(missing)}: the "
            "hull needs the energy of every element"
        )
    return PhaseDiagram(
        [
            PDEntry(its, entry.energy_per_atom * its.num_atoms, name=entry.entry_id)
            for entry, its in inside
        ]
    )


def _composition(entry: EnergyEntry) -> Composition:
    try:
        composition = Composition(entry.formula)
        valid = composition.valid and composition.num_atoms > 0
    except ValueError:
        valid = False
    if not valid:
        raise AnalysisError(
            f"formula={entry.formula!r} of {entry.entry_id} is no formula: give one such as Si8"
        )
    if not math.isfinite(entry.energy_per_atom):
        raise AnalysisError(
            f"energy_per_atom={entry.energy_per_atom} of {entry.entry_id} is not a number: leave "
            "crystals without an energy out"
        )
    return composition
