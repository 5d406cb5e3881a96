"""Accepted random crystals per second: the compiled sampler against PyXtal on the same request.

    python benchmarks/sampling.py --atoms 8 --seconds 60

One process, one thread; compilation is reported apart and is not part of the rates. The ratio is
what carries over to another machine, the rates are not.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from importlib.metadata import version

from crysearch.errors import SamplingError
from crysearch.sampling import CrystalRequest, CrystalSampler, create_sampler


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    request = CrystalRequest(
        ("Si",),
        (arguments.atoms,),
        arguments.volume * arguments.atoms,
        {("Si", "Si"): arguments.distance},
    )
    write(
        f"{request.formula}, {request.volume:g} Å^3 ± 10 %, Si-Si at least "
        f"{arguments.distance:g} Å, {len(request.hosting_groups)} space groups"
    )
    write(
        f"Python {platform.python_version()}, numba {version('numba')}, numpy {version('numpy')}, "
        f"pyxtal {version('pyxtal')}, {platform.machine()}"
    )
    start = time.perf_counter()
    ours = create_sampler("wyckoff", request)
    ours.sample(1, 0)
    write(f"{'start-up (compiled or from cache)':<36}{time.perf_counter() - start:>10.2f} s")
    theirs = create_sampler("pyxtal", request)
    theirs.sample(1, 0)
    our_rate, our_count = rate(ours, 0.25 * arguments.seconds, batch=1000)
    their_rate, their_count = rate(theirs, 0.75 * arguments.seconds, batch=1)
    write(f"{f'crysearch, {our_count} crystals':<36}{our_rate:>10.1f} /s")
    write(f"{f'PyXtal, {their_count} crystals':<36}{their_rate:>10.1f} /s")
    write(f"{'ratio':<36}{our_rate / their_rate:>10.0f}")


def rate(sampler: CrystalSampler, seconds: float, batch: int) -> tuple[float, int]:
    """Accepted crystals per second, and how many, over at least ``seconds``."""
    accepted = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        try:
            accepted += len(sampler.sample(batch, (1, accepted)))
        except SamplingError as error:
            raise SystemExit(f"{sampler.name}: {error}") from error
    return accepted / elapsed, accepted


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=8, help="Si atoms per cell")
    parser.add_argument("--volume", type=float, default=23.0, help="Å^3 per atom")
    parser.add_argument("--distance", type=float, default=2.1, help="smallest distance, Å")
    parser.add_argument("--seconds", type=float, default=60.0, help="measuring time in all")
    return parser.parse_args()


def write(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
