"""Speed and quality of the selection of configurations by features, against scikit-matter.

    pip install --no-deps skmatter
    python benchmarks/selection.py

scikit-matter (Goscinski et al., Open Res. Europe 3, 81 (2023)) has farthest-point and CUR selection
of samples. Both choose from the same features: 50 correlated ones and noise, of most of a pool
close together and of a few far out. Printed are seconds, the largest distance from any of the pool
to the nearest chosen (farthest point: that is what it keeps small) and the relative error of the
features projected on the chosen rows (CUR; scikit-matter chooses one direction at a time, and takes
what it explains out of the features after each). They choose from parts of the pool: the
peer takes minutes for the whole. Last, the seconds of all methods on a pool of 10⁵
configurations of 100 atoms.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crysearch.datasets.selection import SelectionPool, available_methods, create_method


def features_of(size: int, width: int, seed: int) -> NDArray[np.float64]:
    """Correlated features, most of them near the mean, a few far out."""
    rng = np.random.default_rng(seed)
    spread = rng.standard_t(4, size=(size, 50)) * np.exp(-np.arange(50) / 8)
    return spread @ rng.normal(size=(50, width)) + 0.05 * rng.normal(size=(size, width)) + 1.0


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def reach(features: NDArray[np.float64], chosen: NDArray[np.int64]) -> float:
    """Largest distance of a row to the nearest chosen one."""
    nearest = np.full(len(features), np.inf)
    for row in features[chosen]:
        nearest = np.minimum(nearest, np.linalg.norm(features - row, axis=1))
    return float(nearest.max())


def left_over(features: NDArray[np.float64], chosen: NDArray[np.int64]) -> float:
    """Relative error of the features projected on the chosen rows."""
    basis = np.linalg.qr(features[chosen].T)[0]
    away = features - (features @ basis) @ basis.T
    return float(np.linalg.norm(away) / np.linalg.norm(features))


def compare(name: str, peer: Any, features: NDArray[np.float64], count: int) -> None:
    """Print one line of the table."""
    pool = SelectionPool(np.ones(len(features), int), np.full(len(features), 14), features=features)
    method = create_method(name)
    method.select(pool, 2, 0)  # compiled
    ours, our_seconds = timed(lambda: method.select(pool, count, 0))
    selector = peer(n_to_select=count)
    if name == "farthest-point":
        selector = peer(n_to_select=count, initialize=int(ours[0]))
    theirs, their_seconds = timed(lambda: selector.fit(features).selected_idx_)
    measure = reach if name == "farthest-point" else left_over
    print(
        f"{name:15s} {peer.__name__:12s} {len(features):8,d} x {features.shape[1]} {count:5d}  "
        f"{our_seconds:8.2f} s {their_seconds:8.2f} s  ratio {their_seconds / our_seconds:6.1f}  "
        f"{measure(features, ours):.4g} and {measure(features, theirs):.4g}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    from skmatter.sample_selection import CUR, FPS, VoronoiFPS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("--count", type=int, default=512)
    arguments = parser.parse_args()
    size, count = arguments.size, arguments.count
    features = features_of(size, arguments.width, 0)
    print("method, peer, pool, choices: seconds of ours and the peer's, quality of both")
    compare("farthest-point", FPS, features[: size // 5], count // 2)
    compare("farthest-point", VoronoiFPS, features[: size // 20], count // 8)
    compare("cur", CUR, features[: size // 50], count // 16)
    rng = np.random.default_rng(0)
    pool = SelectionPool(
        np.full(size, 100),
        np.tile(np.repeat([11, 17], 50), size),
        rng.normal(size=size),
        rng.normal(size=(size * 100, 3)),
        rng.normal(size=size * 100),
        features,
    )
    for name in available_methods():
        method = create_method(name)
        method.select(pool, 1, 0)
        _, seconds = timed(lambda method=method: method.select(pool, count, 0))  # type: ignore[misc]
        print(f"{name:15s} {size:,} configurations of 100 atoms, {count}: {seconds:.2f} s")


if __name__ == "__main__":
    main()
