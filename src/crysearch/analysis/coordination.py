"""Coordination numbers and bond lengths."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pymatgen.analysis.local_env import CrystalNN, MinimumDistanceNN, NearNeighbors
from pymatgen.core import Structure

from crysearch.analysis.plain import PlainResult
from crysearch.errors import AnalysisError

Method = Literal["crystal-nn", "minimum-distance"]


@dataclass(frozen=True)
class BondLengths(PlainResult):
    """Lengths of the bonds between two elements, Å.

    Attributes
    ----------
    pair
        The two elements in alphabetical order, such as ``Cl-Na``.
    lengths
        Every length, ascending. A bond counts once from each of its ends (once per cell and
        end), so that a bond that only one end sees counts half as much as another.
    mean, shortest, longest
        Of the lengths.
    """

    pair: str
    lengths: tuple[float, ...]
    mean: float
    shortest: float
    longest: float


@dataclass(frozen=True)
class Coordination(PlainResult):
    """Coordination of the atoms of a crystal.

    Attributes
    ----------
    method
        How neighbours were found.
    numbers
        Coordination number of every site, (atoms,).
    mean
        Mean coordination number.
    histogram
        Number of sites by coordination number, ascending.
    bonds
        Bond lengths by pair of elements.
    """

    method: Method
    numbers: tuple[int, ...]
    mean: float
    histogram: dict[int, int]
    bonds: tuple[BondLengths, ...]


def analyse_coordination(structure: Structure, method: Method = "crystal-nn") -> Coordination:
    """Coordination numbers and bond lengths, by pymatgen.

    Parameters
    ----------
    structure
        Ordered crystal.
    method
        ``"crystal-nn"``: solid angles of Voronoi cells and distances relative to covalent radii
        (Pan et al., Inorg. Chem. 60, 1590 (2021)); ``"minimum-distance"``: neighbours within
        1.1 times the shortest distance of the site.

    Raises
    ------
    AnalysisError
        If the method is unknown or finds no neighbours of a site.
    """
    finders: dict[str, NearNeighbors] = {
        "crystal-nn": CrystalNN(),
        "minimum-distance": MinimumDistanceNN(),
    }
    if method not in finders:
        raise AnalysisError(f"method={method!r}: give one of {', '.join(finders)}")
    if not structure.is_ordered:
        raise AnalysisError(
            f"{structure.composition.formula} has partly occupied sites: order them first"
        )
    try:
        with warnings.catch_warnings():
            # CrystalNN warns that there are no oxidation states, which it does not need.
            warnings.simplefilter("ignore")
            neighbours = finders[method].get_all_nn_info(structure)
    except (ValueError, RuntimeError) as error:
        raise AnalysisError(
            f"{method} finds no neighbours in {structure.composition.formula}: {error}; use the "
            "other method"
        ) from error
    lengths: dict[str, list[float]] = {}
    for site, found in zip(structure, neighbours, strict=True):
        for neighbour in found:
            pair = "-".join(sorted((site.specie.symbol, neighbour["site"].specie.symbol)))
            distance = float(np.linalg.norm(neighbour["site"].coords - site.coords))
            lengths.setdefault(pair, []).append(distance)
    numbers = tuple(len(found) for found in neighbours)
    return Coordination(
        method=method,
        numbers=numbers,
        mean=float(np.mean(numbers)),
        histogram=dict(sorted(Counter(numbers).items())),
        bonds=tuple(
            BondLengths(
                pair, tuple(sorted(values)), float(np.mean(values)), min(values), max(values)
            )
            for pair, values in sorted(lengths.items())
        ),
    )
