"""What a descent onto a target is asked for and what it gives back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from crysearch.errors import GuidingError
from crysearch.sampling import CrystalBatch

VolumeMode = Literal["free", "bounded", "fixed", "target"]

#: What becomes of a crystal, in the order of ``GuidedBatch.outcome`` codes: within the wanted
#: distance with all minimum distances kept; farther; within, but with atoms too close; or not to be
#: moved at all (non-finite, collapsed cell, no distance within the cut-off).
OUTCOMES = ("reached", "too_far", "too_close", "failed")


@dataclass(frozen=True)
class GuidingSettings:
    """How crystals are moved downhill onto a target.

    Parameters
    ----------
    wanted_distance : float
        A crystal has reached its target at this Pearson's distance, in (0, 2); the published
        screening threshold is 0.13.
    stop_distance : float
        The descent goes on until this distance, at most ``wanted_distance``. Most crystals
        that reach the wanted distance go on to a small one in a few steps; how far they should
        go is a choice between likeness and variety.
    smearings : tuple of float
        Standard deviations of the Gaussian, Å, of the stages before the last, from broad to narrow
        and all broader than the RDF's own, which the last stage always has. Broad peaks overlap
        from afar, so that a crystal feels where its distances have to go. A crystal that a broad
        stage leaves beyond ``wanted_distance`` is given up: it hardly ever arrives.
    steps : tuple of int
        Largest number of evaluations of each stage, the last one included.
    longest_steps : tuple of float
        Largest displacement of an atom in one step of each stage, Å.
    penalty : float
        Weight of short distances: per atom and pair, the squared relative shortfall times this is
        added to Pearson's distance.
    margin : float
        Distances are pushed to this multiple of the minimum, so that the check, which is hard,
        does not fail for a hair's breadth.
    volume : {"free", "bounded", "fixed", "target"}
        The volume of the cell follows the target's RDF, whatever the request's range; or does so
        within that range; or stays as it was drawn; or it is brought to the volume per atom of the
        target and kept within the request's tolerance of it. Pearson's distance does not know the
        density, so that a free cell can come near a target with far too few atoms in it.
    strain_length : float
        A strain counts as a displacement of this length times it, Å.
    memory : int
        Steps from which the Hessian is estimated.
    skin : float
        Å by which neighbours beyond the reach are listed; changes speed, not results.

    Raises
    ------
    GuidingError
        Where a field is invalid; the message names the field, the value and the way out.
    """

    wanted_distance: float = 0.13
    stop_distance: float = 0.10
    smearings: tuple[float, ...] = (0.40, 0.15)
    steps: tuple[int, ...] = (50, 50, 100)
    longest_steps: tuple[float, ...] = (0.30, 0.20, 0.10)
    penalty: float = 30.0
    margin: float = 1.02
    volume: VolumeMode = "free"
    strain_length: float = 2.5
    memory: int = 8
    skin: float = 0.6

    def __post_init__(self) -> None:
        for name in ("smearings", "steps", "longest_steps"):
            try:
                object.__setattr__(self, name, tuple(getattr(self, name)))
            except TypeError:
                raise GuidingError(
                    f"{name}: {getattr(self, name)!r} is not a sequence of numbers"
                ) from None
        self._check_distances()
        self._check_stages()
        for name, low, high, unit in (
            ("penalty", 0.0, 1e6, "a weight"),
            ("margin", 1.0, 2.0, "a factor"),
            ("strain_length", 0.01, 100.0, "Å"),
            ("skin", 0.0, 10.0, "Å"),
        ):
            value = getattr(self, name)
            if not (_is_number(value) and low <= value <= high):
                raise GuidingError(
                    f"{name}: {value!r} is not a number from {low:g} to {high:g}; give {unit}"
                )
        if not (_is_whole(self.memory) and 1 <= self.memory <= 100):
            raise GuidingError(f"memory: {self.memory!r} is not a whole number from 1 to 100")
        if self.volume not in get_args(VolumeMode):
            raise GuidingError(
                f"volume: {self.volume!r} is unknown; choose from {', '.join(get_args(VolumeMode))}"
            )

    def _check_distances(self) -> None:
        if not (_is_number(self.wanted_distance) and 0.0 < self.wanted_distance < 2.0):
            raise GuidingError(
                f"wanted_distance: {self.wanted_distance!r} is not a Pearson's distance; "
                "give a number above 0 and below 2, such as the screening threshold 0.13"
            )
        if not (_is_number(self.stop_distance) and self.stop_distance > 0.0):
            raise GuidingError(
                f"stop_distance: {self.stop_distance!r} is not a positive number; no descent ends "
                "at exactly 0, so give the distance that is near enough"
            )
        if self.stop_distance > self.wanted_distance:
            raise GuidingError(
                f"stop_distance: {self.stop_distance:g} is above wanted_distance "
                f"({self.wanted_distance:g}), which would never be reached; lower it"
            )

    def _check_stages(self) -> None:
        for value in self.smearings:
            if not (_is_number(value) and value > 0.0):
                raise GuidingError(f"smearings: {value!r} is not a positive length in Å")
        if list(self.smearings) != sorted(set(self.smearings), reverse=True):
            raise GuidingError(f"smearings: {self.smearings} do not fall; order them from broad on")
        stages = len(self.smearings) + 1
        for name in ("steps", "longest_steps"):
            values = getattr(self, name)
            if len(values) != stages:
                raise GuidingError(
                    f"{name}: {values} has {len(values)} entries; give {stages}, one for each of "
                    "smearings and one for the RDF's own"
                )
        for count in self.steps:
            if not (_is_whole(count) and count >= 1):
                raise GuidingError(f"steps: {count!r} is not a positive whole number")
        for value in self.longest_steps:
            if not (_is_number(value) and 0.0 < value <= 1.0):
                raise GuidingError(
                    f"longest_steps: {value!r} is not a number above 0 and up to 1; give Å"
                )


@dataclass(frozen=True, eq=False)
class GuidedBatch:
    """Crystals after their descent; every crystal of the input is there, in the same order.

    Attributes
    ----------
    crystals : CrystalBatch
        With the space groups, sites and counts of the input. A crystal that failed is where it was
        when it did.
    target : (n,) int64
        Row of the targets.
    distance_before, distance_after : (n,) float64
        Pearson's distances to the target at the RDF's own smearing; NaN where there is none.
    path_length : (n,) float64
        Å: the sum over steps of the root mean square displacement of the atoms in fixed cells, with
        the strain times ``strain_length`` as one more displacement.
    steps : (n,) int64
        Evaluations of loss and gradient.
    outcome : (n,) int8
        Index into :data:`OUTCOMES`.
    """

    crystals: CrystalBatch
    target: np.ndarray
    distance_before: np.ndarray
    distance_after: np.ndarray
    path_length: np.ndarray
    steps: np.ndarray
    outcome: np.ndarray

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def reached(self) -> np.ndarray:
        """(n,) bool: within the wanted distance with all minimum distances kept."""
        return self.outcome == OUTCOMES.index("reached")

    def counts(self) -> dict[str, int]:
        """Crystals of each outcome."""
        totals = np.bincount(self.outcome, minlength=len(OUTCOMES))
        return {name: int(total) for name, total in zip(OUTCOMES, totals, strict=True)}


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float | np.number)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
