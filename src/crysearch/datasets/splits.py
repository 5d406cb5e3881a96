"""Training, validation and test sets that share no structure and no group."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from crysearch.datasets.facts import Facts
from crysearch.errors import DatasetError

SPLITS = ("train", "validation", "test")
DEFAULT_FRACTIONS = (0.8, 0.1, 0.1)


def check_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    """Return the shares of training, validation and test set.

    Raises
    ------
    DatasetError
        There are not three, one is negative, or they do not sum to 1.
    """
    wrong = len(fractions) != 3 or not all(math.isfinite(f) and f >= 0 for f in fractions)
    if wrong or abs(sum(fractions) - 1.0) > 1e-6:
        given = ",".join(f"{f:g}" for f in fractions)
        raise DatasetError(
            f"split is {given}: give three shares (training, validation, test) that sum to 1, "
            "such as 0.8,0.1,0.1"
        )
    train, validation, test = (float(f) for f in fractions)
    return train, validation, test


def clusters(facts: Sequence[Facts], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the sets of configurations that must stay together, shape (configurations,).

    Those are joined, over any number of steps, by being a pair (shape (pairs, 2)) or of one group.
    """
    links = [np.asarray(pairs, dtype=np.int64).reshape(-1, 2)]
    first_of: dict[str, int] = {}
    for i, one in enumerate(facts):
        if one.group is not None:
            links.append(np.array([[first_of.setdefault(one.group, i), i]]))
    rows, columns = np.concatenate(links).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(facts), len(facts)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def assign_splits(
    facts: Sequence[Facts],
    pairs: NDArray[np.int64],
    *,
    seed: int,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    present: Sequence[str | None] | None = None,
) -> list[str | None]:
    """Give every configuration a split.

    Clusters (see `clusters`) are taken in an order that only the seed and the hashes of their
    configurations determine, not their order in a file, and each goes where most configurations are
    missing. Configurations that have a split keep it, and others of their cluster get it.

    Parameters
    ----------
    pairs
        Of places in ``facts``, from `crysearch.datasets.duplicate_pairs`.
    seed
        Any whole number.
    fractions
        Shares of training, validation and test set.
    present
        The splits that configurations have already, or None.

    Returns
    -------
    list
        ``train``, ``validation`` or ``test``; None for new configurations that would join two
        splits.
    """
    shares = check_fractions(fractions)
    given = list(present) if present is not None else [None] * len(facts)
    labels = clusters(facts, pairs)
    order = np.argsort(labels, kind="stable")
    ends = np.flatnonzero(np.diff(labels[order])) + 1
    members = np.split(order, ends) if len(facts) else []
    result: list[str | None] = list(given)
    free: list[tuple[str, NDArray[np.int64]]] = []
    for cluster in members:
        known = {given[i] for i in cluster} - {None}
        if not known:
            free.append((_rank(seed, (facts[i].key for i in cluster)), cluster))
        elif len(known) == 1:
            (split,) = known
            for i in cluster:
                result[i] = split
    wanted = {s: f * len(facts) for s, f in zip(SPLITS, shares, strict=True) if f > 0}
    for split in result:
        if split in wanted:
            wanted[split] -= 1
    for _, cluster in sorted(free, key=lambda entry: entry[0]):
        split = max(wanted, key=lambda name: wanted[name])
        wanted[split] -= len(cluster)
        for i in cluster:
            result[i] = split
    return result


def _rank(seed: int, keys: Iterable[str]) -> str:
    return hashlib.sha256(f"{seed}:{min(keys)}".encode()).hexdigest()
