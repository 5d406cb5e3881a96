"""Radial distribution functions per second: ours beside a pymatgen-neighbour-list implementation.

    python benchmarks/fingerprints.py

Random 8-atom silicon crystals, g(r) up to 8 Å on 200 points, σ = 0.06 Å, one core; both in the same
run on the same crystals, with the largest difference between their results.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from pymatgen.core import Structure

from crysearch.fingerprints import NearestFingerprint, RadialDistributionFunction
from crysearch.sampling import CrystalRequest, create_sampler


def peer(structure: Structure, rdf: RadialDistributionFunction) -> np.ndarray:
    """g(r) from pymatgen's compiled neighbour list and NumPy, vectorised over the distances."""
    distances = structure.get_neighbor_list(rdf.cutoff + 6 * rdf.smearing)[3]
    counts = np.exp(-0.5 * ((rdf.grid[:, None] - distances) / rdf.smearing) ** 2).sum(axis=1)
    shell = 4 * np.pi * rdf.grid**2 * len(structure) ** 2 / structure.volume
    return counts / (rdf.smearing * np.sqrt(2 * np.pi)) / shell


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crystals", type=int, default=20_000, help="crystals for ours")
    parser.add_argument("--peer-crystals", type=int, default=100, help="crystals for the peer")
    arguments = parser.parse_args()
    request = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
    crystals = create_sampler("wyckoff", request).sample(arguments.crystals, 0)
    rdf = RadialDistributionFunction()
    rdf.compute(crystals.lattices[:2], crystals.fractional_coordinates[:2])  # compile

    start = time.perf_counter()
    ours = rdf.compute(crystals.lattices, crystals.fractional_coordinates)
    our_rate = len(crystals) / (time.perf_counter() - start)
    structures = [crystals.structure(i) for i in range(arguments.peer_crystals)]
    start = time.perf_counter()
    theirs = np.stack([peer(structure, rdf) for structure in structures])
    peer_rate = len(structures) / (time.perf_counter() - start)
    difference = np.abs(ours[: len(theirs)] - theirs).max() / theirs.max()
    screen = NearestFingerprint(ours[:261])
    start = time.perf_counter()
    screen.query(ours)
    query_rate = len(ours) / (time.perf_counter() - start)
    print(f"crysearch               {our_rate:10,.0f} RDFs/s")
    print(f"pymatgen neighbour list {peer_rate:10,.0f} RDFs/s")
    print(f"ratio                   {our_rate / peer_rate:10.0f}")
    print(f"largest difference      {difference:10.1e} of the highest peak")
    print(f"nearest of 261          {query_rate:10,.0f} queries/s")


if __name__ == "__main__":
    main()
