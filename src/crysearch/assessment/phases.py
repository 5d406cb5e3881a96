"""The crystals that a potential is assessed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pymatgen.core import Structure

from crysearch.analysis import analyse_symmetry
from crysearch.errors import ReferencesError
from crysearch.references import Reference, load_snapshot

#: Distance in Å within which a listed cell is reduced to its primitive one and named.
SYMMETRY_TOLERANCE = 0.01

#: Phases of a composition without a list of its own: the lowest in energy with at most so many
#: atoms in the primitive cell.
MOST_PHASES = 8
MOST_ATOMS = 24

# Of silicon: phases known from experiment or long discussed, the ground state first. Left out are
# those of the snapshot with broken cells, and hypothetical ones.
_CHOSEN = {
    "Si": {
        "mp-149": "diamond",
        "mp-165": "lonsdaleite",
        "mp-971662": "clathrate Si46",
        "mp-1095269": "Si24",
        "mp-168": "BC8",
        "mp-571520": "R8",
        "mp-92": "β-tin",
        "mp-34": "simple hexagonal",
    }
}


@dataclass(frozen=True)
class Phase:
    """A crystal as a source lists it.

    Attributes
    ----------
    name
        Id of the source, or what the crystal is called.
    label
        Usual name, or the space group.
    structure
        Primitive cell.
    """

    name: str
    label: str
    structure: Structure


def default_phases(formula: str) -> list[str]:
    """Ids of the bundled snapshot's phases that are taken without a choice, ground state first.

    Raises
    ------
    ReferencesError
        If no snapshot of the composition is bundled.
    """
    known = load_snapshot(formula)
    reduced = known[0].structure.composition.reduced_formula
    if reduced in _CHOSEN:
        return list(_CHOSEN[reduced])
    usable = [
        (reference.energy_above_ground_state, reference.reference_id)
        for reference in known
        if reference.energy_above_ground_state is not None
        and reference.metadata.get("structure_matcher_duplicate_of") is None
        and len(reference.structure.get_primitive_structure()) <= MOST_ATOMS
    ]
    return [name for _, name in sorted(usable)[:MOST_PHASES]]


def named_phases(formula: str, names: Sequence[str]) -> list[Phase]:
    """Phases of the bundled snapshot by their ids, in the order given.

    Raises
    ------
    ReferencesError
        If there is no snapshot of the composition, or an id is not in it.
    """
    known = {reference.reference_id: reference for reference in load_snapshot(formula)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ReferencesError(
            f"phases: {', '.join(unknown)} not in the snapshot of {formula}; there are "
            f"{', '.join(known)}. Give other crystals as files (--structures)."
        )
    return [_listed(known[name]) for name in names]


def given_phase(name: str, structure: Structure) -> Phase:
    """A crystal of one's own as a phase: its primitive cell, named after its space group."""
    symmetry = analyse_symmetry(structure, SYMMETRY_TOLERANCE)
    label = symmetry.symbol or "no symmetry found"
    return Phase(name, label, symmetry.primitive or structure.copy())


def _listed(reference: Reference) -> Phase:
    phase = given_phase(reference.reference_id, reference.structure)
    reduced = reference.structure.composition.reduced_formula
    label = _CHOSEN.get(reduced, {}).get(phase.name)
    return phase if label is None else Phase(phase.name, label, phase.structure)
