"""How well a potential of the records knows silicon phases that it did not learn from.

    python benchmarks/transfer.py POTENTIAL --reference sevennet-0

Known structures, every atom displaced at random, are relaxed with the potential and with the
reference method. Energies are above diamond by the same method; "kept" says whether the relaxed
structure is still the one that it was before the displacement.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from pymatgen.core import Lattice, Structure

from crysearch.analysis import CrystalMatcher, MatchTolerances
from crysearch.records import open_records, potentials
from crysearch.references import load_snapshot
from crysearch.relaxation import RelaxationResult, RelaxationSettings, Relaxer
from crysearch.settings import load_settings
from crysearch.workflows.context import make_engine

DIAMOND = "mp-149"
PHASES = {
    DIAMOND: "diamond",
    "mp-165": "lonsdaleite",
    "mp-168": "BC8",
    "mp-1095269": "Si24",
    "mp-971662": "clathrate I",
    "mp-971661": "I-43m",
    "mp-1204627": "Cmcm",
    "mp-1196961": "P6/mmm",
    "Si34": "clathrate II",
}


def phases() -> dict[str, Structure]:
    """Primitive cells, diamond first.

    Clathrate II is not from the snapshot, whose entry of it (mp-16220) is broken.
    """
    known = {one.reference_id: one.structure for one in load_snapshot("Si")}
    # Fd-3m, origin at -3m: Si136 with 8a, 32e and 96g.
    sites = [[0.125, 0.125, 0.125], [0.2175, 0.2175, 0.2175], [0.1824, 0.1824, 0.3705]]
    known["Si34"] = Structure.from_spacegroup(
        "Fd-3m:2", Lattice.cubic(14.7), ["Si"] * len(sites), sites
    )
    return {name: known[name].get_primitive_structure() for name in PHASES}


def displaced(cell: Structure, displacement: float, seed: int) -> Structure:
    """A copy with every atom moved by so many Å in a random direction."""
    moves = np.random.default_rng(seed).normal(size=(len(cell), 3))
    moves *= displacement / np.linalg.norm(moves, axis=1, keepdims=True)
    return Structure(
        cell.lattice, cell.species, cell.cart_coords + moves, coords_are_cartesian=True
    )


def relax(engine: Relaxer, starts: list[Structure]) -> list[RelaxationResult]:
    """Relax all, and say how long it took."""
    started = time.perf_counter()
    results = engine.relax(starts, RelaxationSettings())
    print(f"{engine.name}: {time.perf_counter() - started:.0f} s")
    return results


def main() -> None:
    """Print a line for each phase."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("potential", help="its id, or an active learning's, or their beginning")
    parser.add_argument("--reference", default="sevennet-0", help="the reference method")
    parser.add_argument("--displacement", type=float, default=0.1, help="of each atom, Å")
    given = parser.parse_args()
    place = load_settings().database.get_secret_value()
    with open_records(place, read_only=True) as records:
        found = potentials.resolve_potential(records, given.potential)
    print(f"potential {found['_id']}: {found['configurations']} of {found['method']}")
    cells = phases()
    starts = [displaced(cell, given.displacement, n) for n, cell in enumerate(cells.values())]
    own = relax(make_engine("self-trained", {"potential": found["_id"]}), starts)
    theirs = relax(make_engine(given.reference, {}), starts)
    matcher = CrystalMatcher(MatchTolerances())
    print("\n| phase | atoms | energy (meV/atom) | reference | volume (Å³/atom) | reference "
          "| kept | reference |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for n, (name, cell) in enumerate(cells.items()):
        columns = [f"{name}, {PHASES[name]}", str(len(cell))]
        pair = own[n], theirs[n]
        columns += [
            energy(result, results[0]) for result, results in zip(pair, (own, theirs), strict=True)
        ]
        columns += [
            "–" if one.structure is None else f"{one.structure.volume / len(cell):.2f}"
            for one in pair
        ]
        columns += [kept(matcher, cell, one) for one in pair]
        print(f"| {' | '.join(columns)} |")


def energy(result: RelaxationResult, lowest: RelaxationResult) -> str:
    """Energy above another structure, meV/atom; the reason if there is none."""
    if result.energy_per_atom is None or lowest.energy_per_atom is None:
        return str(result.failure or "no diamond")
    return f"{(result.energy_per_atom - lowest.energy_per_atom) * 1000:.1f}"


def kept(matcher: CrystalMatcher, cell: Structure, result: RelaxationResult) -> str:
    """Whether a relaxed structure is still the one it was."""
    if result.structure is None:
        return str(result.failure)
    same = "yes" if matcher.same(cell, result.structure) else "no"
    return same if result.converged else f"{same} ({result.status})"


if __name__ == "__main__":
    main()
