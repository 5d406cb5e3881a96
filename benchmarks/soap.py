"""Speed of the SOAP power spectrum and its derivatives against featomic's, on the same crystals.

    pip install --no-deps featomic metatensor-core metatensor-operations wigners ctypes-dlpack
    python benchmarks/soap.py

featomic (the successor of librascal: Musil et al., J. Chem. Phys. 154, 114109 (2021)) makes the
same power spectra in Rust, with derivatives by positions and strain written out, as fits need them.
Evaluation needs no more than energies, forces and stress; the third line of each crystal is time
for these, from derivatives of the energy by the features, which we pull back, and for which
featomic's derivatives are multiplied. Both work on one thread, with 8 radial functions, L = 6 and
5 Å. Printed are milliseconds of processor time and the largest difference of the normalised
kernels.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ["RAYON_NUM_THREADS"] = "1"

import numpy as np
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray

from crysearch.potentials import Configuration
from crysearch.potentials.soap import SoapFeatures

CUTOFF, WIDTH, RADIAL, ANGULAR, SMOOTHING = 5.0, 0.5, 8, 6, 0.5


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """The shortest processor time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000.0 * min(times)


def theirs(peer: Any, atoms: Atoms, elements: list[int]) -> NDArray[np.float64]:
    """featomic's normalised power spectra (n, D), in the order of the atoms.

    Blocks of two elements have their factor of √2 already.
    """
    spectra = peer.compute(atoms)
    found: dict[int, list[NDArray[np.float64]]] = {}
    keys = [(a, b) for a in elements for b in elements if a <= b]
    for centre in elements:
        for first, second in keys:
            block = spectra.block(
                {"center_type": centre, "neighbor_1_type": first, "neighbor_2_type": second}
            )
            for atom, row in zip(block.samples["atom"], block.values, strict=True):
                found.setdefault(int(atom), []).append(row)
    whole = np.array([np.concatenate(found[atom]) for atom in range(len(atoms))])
    return whole / np.linalg.norm(whole, axis=1, keepdims=True)


def compare(name: str, atoms: Atoms, repeats: int) -> None:
    """Print the lines of one crystal."""
    from featomic import SoapPowerSpectrum

    peer = SoapPowerSpectrum(
        cutoff={"radius": CUTOFF, "smoothing": {"type": "ShiftedCosine", "width": SMOOTHING}},
        density={"type": "Gaussian", "width": WIDTH, "center_atom_weight": 1.0},
        basis={
            "type": "TensorProduct",
            "max_angular": ANGULAR,
            "radial": {"type": "Gto", "max_radial": RADIAL - 1},
        },
    )
    elements = tuple(sorted(set(atoms.symbols)))
    soap = SoapFeatures(elements, CUTOFF, WIDTH, RADIAL, ANGULAR, SMOOTHING)
    given = [Configuration.from_atoms(atoms)]
    environments = soap.compute(given)
    by_features = np.random.default_rng(0).normal(size=environments.features.shape)
    environments.pull(by_features), environments.derivatives(0, len(atoms))
    features = theirs(peer, atoms, sorted(set(atoms.numbers.tolist())))
    ours = environments.features
    difference = np.abs(ours @ ours.T - features @ features.T).max()
    gradients = ["positions", "strain"]
    slow = milliseconds(lambda: peer.compute(atoms, gradients=gradients), repeats)
    lines = {
        "values": (
            milliseconds(lambda: soap.compute(given), repeats),
            milliseconds(lambda: peer.compute(atoms), repeats),
        ),
        "derivatives": (
            milliseconds(lambda: soap.compute(given).derivatives(0, len(atoms)), repeats),
            slow,
        ),
        "forces, stress": (
            milliseconds(lambda: soap.compute(given).pull(by_features), repeats),
            slow,
        ),
    }
    print(f"{name}, {len(atoms)} atoms; kernels differ by {difference:.1e}")
    for what, (mine, other) in lines.items():
        print(f"  {what:15s} {mine:9.2f} {other:9.2f} ms   ratio {other / mine:6.1f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    for name, unit in (
        ("Si", bulk("Si", cubic=True)),
        ("NaCl", bulk("NaCl", "rocksalt", 5.64, cubic=True)),
    ):
        for times in (1, 2):
            atoms = unit * (times, times, times)
            atoms.rattle(0.05, seed=1)
            compare(name, atoms, arguments.repeats)


if __name__ == "__main__":
    main()
