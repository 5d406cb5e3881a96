"""Measured properties of crystals, to hold calculated ones against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A measured value.

    Attributes
    ----------
    value
        In the unit of the quantity (:class:`~crysearch.assessment.Headline`).
    source
        Where it was published.
    """

    value: float
    source: str


_ELASTIC = "McSkimin and Andreatch, J. Appl. Phys. 35, 2161 (1964), 298 K"
_NEUTRONS = "Nilsson and Nelin, Phys. Rev. B 6, 3777 (1972), 298 K"
_LATTICE = "a = 5.4310 Å: Mohr, Taylor and Newell, Rev. Mod. Phys. 80, 633 (2008), 295.65 K"

# By reduced formula and space group of the crystal.
_VALUES: dict[tuple[str, int], dict[str, Measured]] = {
    ("Si", 227): {
        "equilibrium_volume": Measured(5.4310**3 / 8, _LATTICE),
        "bulk_modulus": Measured(97.9, _ELASTIC),
        "C11": Measured(165.8, _ELASTIC),
        "C12": Measured(63.9, _ELASTIC),
        "C44": Measured(79.6, _ELASTIC),
        "phonon_G_highest": Measured(15.53, _NEUTRONS),
        "phonon_X_lowest": Measured(4.49, _NEUTRONS),
        "phonon_X_highest": Measured(13.90, _NEUTRONS),
        "phonon_L_lowest": Measured(3.43, _NEUTRONS),
        "phonon_L_highest": Measured(14.68, _NEUTRONS),
    }
}


def measured_values(formula: str, space_group: int) -> Mapping[str, Measured]:
    """Measured values by the keys of :func:`crysearch.assessment.headlines`; empty if unknown."""
    return dict(_VALUES.get((formula, space_group), {}))
