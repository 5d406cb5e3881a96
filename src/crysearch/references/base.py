"""What a known structure is to the search, and how one is set aside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pymatgen.core import Composition, Structure

from crysearch.errors import ReferencesError


@dataclass(frozen=True)
class Reference:
    """One known structure.

    Attributes
    ----------
    reference_id
        Materials Project id such as ``"mp-149"``, or the file it came from (with ``#frame`` where
        a file holds several structures).
    structure
        The crystal as the source gives it (Å), without oxidation states.
    source
        Where it comes from, in words.
    energy_above_ground_state
        eV per atom above the most stable structure of the same composition, or None if unknown.
    energy_origin
        How that energy was obtained; None where there is none.
    reported_space_group
        International number stated by the source, or None.
    metadata
        Anything else the source says, as JSON-compatible values.
    """

    reference_id: str
    structure: Structure
    source: str
    energy_above_ground_state: float | None = None
    energy_origin: str | None = None
    reported_space_group: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SetAside:
    """A reference that the search does not use.

    Attributes
    ----------
    reference
        The reference itself, unchanged.
    reason
        One of `crysearch.references.soundness.REASONS`.
    detail
        The same as a sentence with the numbers that decided it.
    """

    reference: Reference
    reason: str
    detail: str


def reduced_composition(formula: str) -> Composition:
    """Composition in smallest whole numbers from any way of writing it (``"Se4Sn4"``: SnSe).

    Raises
    ------
    ReferencesError
        If `formula` is no chemical formula in whole numbers.
    """
    try:
        composition = Composition(formula).reduced_composition
    except ValueError:
        composition = Composition()
    if not composition or any(amount % 1 for amount in composition.values()):
        raise ReferencesError(
            f"references: {formula!r} is not a chemical formula in whole numbers; write it like "
            "'Si' or 'Al2O3'."
        )
    return composition
