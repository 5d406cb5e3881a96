"""Speed of the symmetry functions against DScribe's, on the same crystals with the same functions.

    pip install --no-deps dscribe sparse
    python benchmarks/symmetry_functions.py

DScribe 2.1 (Himanen et al., Comput. Phys. Commun. 247, 106949 (2020)) has the same G2 and G4 in C++
and makes derivatives by differences of the values, so that its cost grows with the number of atoms
squared. Both work on one thread. Crystals are random cells of silicon, or of silicon and oxygen, of
18 Å³ per atom; the cut-off is 6 Å and of the cosine kind, which both have. Printed is the time per
atom; the largest difference of the values is printed too.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from crysearch.potentials import Configuration, SymmetryFunctions
from crysearch.sampling import CrystalRequest, create_sampler


def crystals(symbols: tuple[str, ...], atoms: int, count: int) -> list[Configuration]:
    """Random crystals of equal parts of the elements."""
    closest = {(a, b): 1.8 for a in symbols for b in symbols if a <= b}
    counts = (atoms // len(symbols),) * len(symbols)
    request = CrystalRequest(symbols, counts, 18.0 * atoms, closest)
    batch = create_sampler("wyckoff", request).sample(count, 0)
    numbers = np.repeat([atomic_numbers[symbol] for symbol in symbols], counts)
    return [
        Configuration(numbers, lattice, fractions @ lattice)
        for lattice, fractions in zip(batch.lattices, batch.fractional_coordinates, strict=True)
    ]


def seconds(call: Callable[..., object], given: list[Any], repeats: int) -> float:
    """The shortest time of several calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call(given)
        times.append(time.perf_counter() - start)
    return min(times)


def each(call: Callable[..., object], given: list[Any]) -> list[object]:
    """Call for one after the other."""
    return [call(one) for one in given]


def compare(symbols: tuple[str, ...], atoms: int, count: int, repeats: int) -> str:
    """One line of the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dscribe.descriptors import ACSF
    given = crystals(symbols, atoms, count)
    functions = SymmetryFunctions.standard(symbols, cutoff_function="cosine")
    peer = ACSF(
        species=list(symbols),
        r_cut=functions.cutoff,
        g2_params=[list(pair) for pair in functions.radial],
        g4_params=[
            [eta, zeta, sign]
            for eta in functions.exponents
            for sign in functions.signs
            for zeta in functions.powers
        ],
        periodic=True,
    )
    as_atoms = [c.to_atoms() for c in given]
    theirs = np.concatenate([peer.create(a) for a in as_atoms])
    # Each element's functions start there with a plain sum of the cut-off function.
    extra = [element * (len(functions.radial) + 1) for element in range(len(symbols))]
    theirs = np.delete(theirs, extra, axis=1)
    away = np.abs(functions.compute(given, derivatives=False).values - theirs).max()
    few = 1 if atoms > 8 else min(4, count)
    values = (
        seconds(partial(functions.compute, derivatives=False), given, repeats),
        seconds(partial(each, peer.create), as_atoms, 1),
    )
    derivatives = (
        seconds(functions.compute, given, repeats),
        seconds(
            partial(each, partial(peer.derivatives, attach=True, method="numerical")),
            as_atoms[:few],
            1,
        )
        * count
        / few,
    )
    micro = 1e6 / sum(map(len, given))
    cells = "".join(
        f"{micro * ours:>12.0f}{micro * other:>12.0f}{other / ours:>10.0f}"
        for ours, other in (values, derivatives)
    )
    return f"{count:>3} of {atoms:>2} atoms {'-'.join(symbols):6}{cells}{away:>12.1e}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="the fastest counts")
    arguments = parser.parse_args()
    print(f"{'µs per atom':22}{'values':>34}{'and derivatives':>34}")
    columns = f"{'ours':>12}{'DScribe':>12}{'ratio':>10}"
    print(f"{'':22}{columns}{columns}{'difference':>12}")
    for symbols, atoms, count in (
        (("Si",), 2, 20),
        (("Si",), 8, 20),
        (("Si",), 64, 2),
        (("O", "Si"), 8, 20),
    ):
        print(compare(symbols, atoms, count, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
