"""Structure prototypes: is this crystal diamond, rock salt, wurtzite?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pymatgen.core import Structure

from crysearch.analysis.plain import PlainResult
from crysearch.errors import AnalysisError

if TYPE_CHECKING:
    from pymatgen.analysis.prototypes import PrototypeDatabaseMatcher


@dataclass(frozen=True)
class Prototype(PlainResult):
    """One structure type of the AFLOW library.

    Attributes
    ----------
    aflow
        AFLOW label, such as ``A_cF8_227_a``.
    mineral
        Name of the prototype, such as ``diamond``; None without one.
    pearson
        Pearson symbol.
    strukturbericht
        Strukturbericht symbol, such as ``A4``; None without one.
    """

    aflow: str
    mineral: str | None
    pearson: str | None
    strukturbericht: str | None


@dataclass(frozen=True)
class PrototypeMatch(PlainResult):
    """The prototypes of a crystal; usually one or none.

    Attributes
    ----------
    prototypes
        Prototypes that still match when the tolerances have been tightened as far as needed to
        tell them apart; empty if none of the library matches.
    length_tolerance, site_tolerance, angle_tolerance
        Tolerances to begin with: relative, relative to the cube root of the volume per atom, in
        degrees.
    """

    prototypes: tuple[Prototype, ...]
    length_tolerance: float
    site_tolerance: float
    angle_tolerance: float


def match_prototypes(
    structure: Structure,
    length_tolerance: float = 0.2,
    site_tolerance: float = 0.3,
    angle_tolerance: float = 5.0,
) -> PrototypeMatch:
    """Prototypes of a crystal in the AFLOW library that comes with pymatgen.

    Elements do not matter: silicon and carbon in the diamond structure have the same prototype.
    The library (Mehl et al., Comput. Mater. Sci. 136, S1 (2017)) has 288 structure types: none
    found does not mean a new type.

    Parameters
    ----------
    structure
        Ordered crystal.
    length_tolerance, site_tolerance, angle_tolerance
        Tolerances of pymatgen's ``StructureMatcher``; if several prototypes match, all three are
        tightened by a fifth until one is left.

    Raises
    ------
    AnalysisError
        If a tolerance is not positive or the structure is disordered.
    """
    tolerances = (float(length_tolerance), float(site_tolerance), float(angle_tolerance))
    if not min(tolerances) > 0:
        raise AnalysisError(
            f"length_tolerance, site_tolerance, angle_tolerance={tolerances}: give numbers "
            "greater than 0"
        )
    if not structure.is_ordered or len(structure) == 0:
        raise AnalysisError(
            f"{structure.composition.formula or 'the structure'} has no atoms or partly occupied "
            "sites: a prototype needs an ordered crystal"
        )
    bare = Structure(
        structure.lattice, [site.specie.symbol for site in structure], structure.frac_coords
    )
    matcher = _matcher(bare.composition.anonymized_formula, *tolerances)
    found = matcher.get_prototypes(bare) or []
    return PrototypeMatch(tuple(_prototype(entry["tags"]) for entry in found), *tolerances)


def _prototype(tags: Mapping[str, Any]) -> Prototype:
    def text(name: str) -> str | None:
        value = tags.get(name)
        return None if value in (None, "", "None") else str(value)

    return Prototype(str(tags["aflow"]), text("mineral"), text("pearson"), text("strukturbericht"))


@lru_cache(maxsize=64)
def _matcher(
    formula: str, length_tolerance: float, site_tolerance: float, angle_tolerance: float
) -> PrototypeDatabaseMatcher:
    """The prototypes of an anonymous formula, such as AB2: only they can match.

    Reducing the cells of the whole library takes seconds.
    """
    import pandas as pd
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY, PrototypeDatabaseMatcher

    entries = [
        entry
        for entry in AFLOW_PROTOTYPE_LIBRARY
        if entry["snl"].structure.composition.anonymized_formula == formula
    ]
    return PrototypeDatabaseMatcher(
        pd.DataFrame(entries), length_tolerance, site_tolerance, angle_tolerance
    )
