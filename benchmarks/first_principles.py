"""How the energies of silicon phases converge with k-points and cut-off in an engine.

    python benchmarks/first_principles.py --engine espresso

Diamond, BC8 and β-tin silicon at fixed cells near their LDA minima: energies above diamond for
several k-spacings at one cut-off and several cut-offs at one k-spacing, then the equation of state
and the band gap of diamond with the defaults of the engine.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from pymatgen.analysis.eos import EOS
from pymatgen.core import Lattice, Structure

from crysearch.relaxation import create_relaxer

SPACINGS = [0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1257]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--engine", default="espresso", choices=("espresso", "gpaw"))
    parser.add_argument("--functional", default="lda", choices=("lda", "pbe"))
    parser.add_argument("--spacings", type=numbers, default=SPACINGS)
    parser.add_argument("--cutoffs", type=numbers, default=[200, 250, 330, 400, 500])
    parser.add_argument("--cutoff", type=float, default=330, help="for the k-spacings, eV")
    parser.add_argument("--spacing", type=float, default=0.3, help="for the cut-offs, 1/Å")
    parser.add_argument("--only-defaults", action="store_true", help="no convergence")
    arguments = parser.parse_args()
    if not arguments.only_defaults:
        print("cut-off eV  k-spacing 1/Å  BC8 meV/atom  β-tin meV/atom  seconds")
        for spacing in arguments.spacings:
            compare(arguments, arguments.cutoff, spacing)
        for cutoff in arguments.cutoffs:
            compare(arguments, cutoff, arguments.spacing)
    defaults(arguments)


def numbers(text: str) -> list[float]:
    """Numbers separated by commas."""
    return [float(word) for word in text.split(",")]


def diamond(a: float) -> Structure:
    """Primitive cell."""
    cubic = Structure.from_spacegroup("Fd-3m", Lattice.cubic(a), ["Si"], [[0, 0, 0]])
    return cubic.get_primitive_structure()


def phases() -> list[Structure]:
    """Diamond, BC8 and β-tin."""
    bc8 = Structure.from_spacegroup("Ia-3", Lattice.cubic(6.58), ["Si"], [[0.1003] * 3])
    tin = Structure.from_spacegroup("I4_1/amd", Lattice.tetragonal(4.76, 2.62), ["Si"], [[0, 0, 0]])
    return [diamond(5.39), bc8.get_primitive_structure(), tin.get_primitive_structure()]


def energies(engine: Any, structures: list[Structure]) -> list[float]:
    """Energies per atom, eV."""
    results = engine.single_point(structures)
    for result in results:
        if result.energy_per_atom is None:
            raise SystemExit(result.failure_detail)
    return [result.energy_per_atom for result in results]


def compare(arguments: argparse.Namespace, cutoff: float, spacing: float) -> None:
    """One line of the table."""
    started = time.perf_counter()
    engine = create_relaxer(
        arguments.engine,
        functional=arguments.functional,
        plane_wave_cutoff=cutoff,
        k_spacing=spacing,
    )
    lowest, *others = energies(engine, phases())
    above = [1000 * (energy - lowest) for energy in others]
    seconds = time.perf_counter() - started
    print(f"{cutoff:<12g}{spacing:<15g}{above[0]:<14.1f}{above[1]:<16.1f}{seconds:.0f}", flush=True)


def defaults(arguments: argparse.Namespace) -> None:
    """Equation of state and gap of diamond with the engine's defaults."""
    engine: Any = create_relaxer(arguments.engine, functional=arguments.functional)
    started = time.perf_counter()
    crystals = [diamond(a) for a in (5.20, 5.30, 5.40, 5.50, 5.60)]
    volumes = [crystal.volume for crystal in crystals]
    fit = EOS("birch_murnaghan").fit(volumes, [2 * e for e in energies(engine, crystals)])
    print(
        f"diamond: a = {(4 * fit.v0) ** (1 / 3):.4f} Å, B = {float(fit.b0_GPa):.1f} GPa "
        f"({time.perf_counter() - started:.0f} s)",
        flush=True,
    )
    started = time.perf_counter()
    gap = engine.electronic_structure(diamond(5.40))
    kind = "metal" if gap.is_metal else "direct" if gap.is_direct else "indirect"
    print(
        f"diamond at 5.40 Å: gap {gap.band_gap:.3f} eV, {kind}, {gap.k_points} k-points "
        f"({time.perf_counter() - started:.0f} s)"
    )


if __name__ == "__main__":
    main()
