"""What others use for the same: fingerprints of crystals, and the plain search of the nearest."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list as ase_neighbour_list
from matscipy.neighbours import neighbour_list as matscipy_neighbour_list
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from crysearch.fingerprints import RadialDistributionFunction
from crysearch.fingerprints.distances import standardised

Fingerprint = Callable[[Any], np.ndarray]


def smeared(distances: np.ndarray, rdf: RadialDistributionFunction, norm: float) -> np.ndarray:
    """g(r) of a list of distances, vectorised over them with NumPy."""
    counts = np.exp(-0.5 * ((rdf.grid[:, None] - distances) / rdf.smearing) ** 2).sum(axis=1)
    return norm * counts / (rdf.smearing * np.sqrt(2 * np.pi) * 4 * np.pi * rdf.grid**2)


def pymatgen_rdf(structure: Structure, rdf: RadialDistributionFunction) -> np.ndarray:
    """g(r), species-resolved if asked, from pymatgen's compiled neighbour list."""
    first, second, _, distances = structure.get_neighbor_list(rdf.cutoff + 8 * rdf.smearing)
    if rdf.species is None:
        return smeared(distances, rdf, structure.volume / len(structure) ** 2)
    symbols = np.array([site.specie.symbol for site in structure])
    channels = []
    for a, b in combinations_with_replacement(rdf.species, 2):
        pairs = (symbols[first] == a) & (symbols[second] == b)
        norm = structure.volume / ((symbols == a).sum() * (symbols == b).sum())
        channels.append(smeared(distances[pairs], rdf, norm))
    return np.concatenate(channels)


def atoms_rdf(neighbours: Callable[..., np.ndarray], rdf: RadialDistributionFunction):
    """g(r) from the neighbour list of ASE or matscipy."""

    def fingerprint(atoms: Atoms) -> np.ndarray:
        distances = neighbours("d", atoms, rdf.cutoff + 8 * rdf.smearing)
        return smeared(distances, rdf, atoms.get_volume() / len(atoms) ** 2)

    return fingerprint


def fingerprints_of_others() -> dict[str, tuple[Fingerprint | None, str]]:
    """Name → function of a pymatgen structure or ASE atoms, and which of the two it takes.

    The function is None where the package is not installed.
    """
    rdf = RadialDistributionFunction()
    found: dict[str, tuple[Fingerprint | None, str]] = {
        "RDF, ASE neighbour list": (atoms_rdf(ase_neighbour_list, rdf), "ase"),
        "RDF, matscipy neighbour list": (atoms_rdf(matscipy_neighbour_list, rdf), "matscipy"),
    }
    try:
        featurizer = import_module("matminer.featurizers.structure").RadialDistributionFunction(
            cutoff=rdf.cutoff, bin_size=rdf.cutoff / rdf.grid_points
        )
        found["RDF histogram, matminer"] = (featurizer.featurize, "matminer")
    except ImportError:
        found["RDF histogram, matminer"] = (None, "matminer")
    try:
        descriptors = import_module("dscribe.descriptors")
        soap = descriptors.SOAP(
            species=["Si"], periodic=True, r_cut=6.0, n_max=8, l_max=6, average="inner"
        )
        found["SOAP (6 Å, n 8, l 6), dscribe"] = (soap.create, "dscribe")
    except ImportError:
        found["SOAP, dscribe"] = (None, "dscribe")
    return found


def inputs(structures: list[Structure], package: str) -> list[Any]:
    """Structures in the form that the fingerprint of a package takes."""
    if package == "matminer":
        return structures
    return [AseAtomsAdaptor.get_atoms(structure) for structure in structures]


def every_pair(
    queries: np.ndarray, known: np.ndarray, block: int = 512
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest known fingerprint by one BLAS product with all of them, block by block.

    ``known`` comes standardised, as in an index that is built once.
    """
    nearest, distances = [], []
    for start in range(0, len(queries), block):
        all_distances = 1.0 - standardised(queries[start : start + block]) @ known.T
        nearest.append(all_distances.argmin(axis=1))
        distances.append(all_distances.min(axis=1))
    return np.concatenate(nearest), np.concatenate(distances)


def version_of(package: str) -> str:
    """Version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
