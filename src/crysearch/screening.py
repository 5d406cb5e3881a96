"""Screening of random crystals by the distance of their fingerprints to known ones.

Selection of Lee and Chang ("Crystal structure prediction in a continuous representative space"):
group I, crystals near a known structure; group II, near a replica; group III, the control, random
crystals that are not screened at all. A crystal near both belongs to I and II.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crysearch.errors import FingerprintError
from crysearch.fingerprints import NearestFingerprint, is_comparable
from crysearch.fingerprints.distances import standardised

#: What a crystal can be near to, in the order of ``ScreeningResult.near`` codes.
NEAR = ("neither", "database", "replicas", "both")


@dataclass(frozen=True)
class ScreeningResult:
    """Nearest known structure and nearest replica of each crystal of a batch.

    Attributes
    ----------
    nearest_reference, nearest_replica
        Indices, shape (n,); −1 where there is none to compare with.
    distance_to_reference, distance_to_replica
        Pearson's distances, shape (n,); infinite where there is none to compare with.
    near
        Index into :data:`NEAR`, shape (n,): bit 0, within the threshold of a reference; bit 1,
        of a replica.
    """

    nearest_reference: np.ndarray
    distance_to_reference: np.ndarray
    nearest_replica: np.ndarray
    distance_to_replica: np.ndarray
    near: np.ndarray

    def counts(self) -> dict[str, int]:
        """Crystals near to neither, the database only, replicas only, and both."""
        totals = np.bincount(self.near, minlength=len(NEAR))
        return {name: int(total) for name, total in zip(NEAR, totals, strict=True)}


class Screen:
    """Compares fingerprints with those of the references and of the replicas.

    Parameters
    ----------
    references
        Fingerprints of the known structures, shape (k, m).
    replicas
        Fingerprints of the replicas, shape (l, m); may be empty.
    threshold
        Largest Pearson's distance that counts as near, in (0, 2].
    """

    def __init__(self, references: np.ndarray, replicas: np.ndarray, threshold: float) -> None:
        _check_threshold(threshold)
        self.threshold = threshold
        self._references = NearestFingerprint(references)
        self._replicas = NearestFingerprint(replicas) if len(replicas) else None

    def classify(self, fingerprints: np.ndarray) -> ScreeningResult:
        """Find the nearest reference and replica of each fingerprint, shape (n, m).

        A fingerprint without a peak (no two atoms within the cut-off) is infinitely far from all.
        """
        comparable = is_comparable(fingerprints)
        reference, to_reference = _query(self._references, fingerprints, comparable)
        replica, to_replica = _query(self._replicas, fingerprints, comparable)
        near = (to_reference <= self.threshold) + 2 * (to_replica <= self.threshold)
        return ScreeningResult(reference, to_reference, replica, to_replica, near)


class SetScreen:
    """Tells which of many sets of fingerprints crystals are near to, such as sets of replicas.

    Parameters
    ----------
    sets
        Fingerprints of each set, shapes (k, m); a set may be empty, and then nothing is near it.
    threshold
        Largest Pearson's distance that counts as near, in (0, 2].

    Raises
    ------
    FingerprintError
        For a threshold out of range, or a fingerprint that is constant or not finite.
    """

    def __init__(self, sets: Sequence[np.ndarray], threshold: float) -> None:
        _check_threshold(threshold)
        self.threshold = threshold
        self._sets = [standardised(known) if len(known) else None for known in sets]

    def near(self, fingerprints: np.ndarray) -> np.ndarray:
        """Whether each set has a member within the threshold of each fingerprint, (n, m).

        Returns
        -------
        numpy.ndarray
            Shape (sets, n), bool; False for a fingerprint without a peak.
        """
        near = np.zeros((len(self._sets), len(fingerprints)), dtype=bool)
        comparable = is_comparable(fingerprints)
        if not comparable.any():
            return near
        queries = standardised(fingerprints[comparable])
        for row, known in zip(near, self._sets, strict=True):
            if known is not None:
                # One product for each set: its matrix of correlations stays in the cache.
                row[comparable] = 1.0 - (queries @ known.T).max(axis=1) <= self.threshold
        return near


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 2:
        raise FingerprintError(f"threshold = {threshold}: give a Pearson's distance in (0, 2]")


def _query(
    known: NearestFingerprint | None, fingerprints: np.ndarray, comparable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    nearest = np.full(len(fingerprints), -1)
    distances = np.full(len(fingerprints), np.inf)
    if known is not None and comparable.all():
        return known.query(fingerprints)
    if known is not None and comparable.any():
        nearest[comparable], distances[comparable] = known.query(fingerprints[comparable])
    return nearest, distances


class DistinctFingerprints:
    """Fingerprints farther than a distance from all that came before them.

    Parameters
    ----------
    distance
        Pearson's distance up to which one repeats an earlier one.
    """

    def __init__(self, distance: float) -> None:
        self.distance = distance
        self._known: np.ndarray | None = None
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def add(self, fingerprints: np.ndarray) -> np.ndarray:
        """Take note of fingerprints, shape (n, m); which of them are distinct, (n,) bool."""
        distinct = np.zeros(len(fingerprints), dtype=bool)
        if not len(fingerprints):
            return distinct
        for row, fingerprint in enumerate(standardised(fingerprints)):
            if self._known is None:
                self._known = np.empty((64, len(fingerprint)))
            if self._number == len(self._known):
                self._known = np.concatenate([self._known, np.empty_like(self._known)])
            nearest = (self._known[: self._number] @ fingerprint).max(initial=-1.0)
            if 1.0 - nearest > self.distance:
                self._known[self._number] = fingerprint
                self._number += 1
                distinct[row] = True
        return distinct


class QuotaFilling:
    """Fills the quotas of the groups from a stream of batches, in the order of the stream.

    Parameters
    ----------
    quotas
        Crystals wanted per group: ``{"I": …, "II": …, "III": …}``.
    """

    def __init__(self, quotas: Mapping[str, int]) -> None:
        unknown = set(quotas) - {"I", "II", "III"}
        if unknown:
            raise ValueError(f"groups {sorted(unknown)}: only I, II and III are known")
        self.quotas = {group: int(quotas.get(group, 0)) for group in ("I", "II", "III")}
        self.kept = dict.fromkeys(self.quotas, 0)

    @property
    def full(self) -> bool:
        """Whether every quota is filled."""
        return all(self.kept[group] >= quota for group, quota in self.quotas.items())

    def shortfall(self) -> dict[str, int]:
        """Crystals still missing per group, groups without any left out."""
        missing = {group: quota - self.kept[group] for group, quota in self.quotas.items()}
        return {group: number for group, number in missing.items() if number > 0}

    def select(self, result: ScreeningResult) -> dict[int, list[str]]:
        """Crystals of the batch to keep: index → groups it is kept for."""
        members = {
            "I": np.flatnonzero(result.near & 1),
            "II": np.flatnonzero(result.near & 2),
            "III": np.arange(len(result.near)),
        }
        selection: dict[int, list[str]] = {}
        for group, indices in members.items():
            for index in indices[: max(0, self.quotas[group] - self.kept[group])]:
                selection.setdefault(int(index), []).append(group)
                self.kept[group] += 1
        return dict(sorted(selection.items()))
