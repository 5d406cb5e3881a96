"""Crystals for chosen targets: points of the latent space, or known structures.

Random crystals are cheap and descents are not quite: many are drawn, and those that are nearest to
a target at the broadest smearing are moved onto it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure

from crysearch.analysis.matching import CrystalMatcher, MatchTolerances
from crysearch.errors import GuidingError
from crysearch.fingerprints import RadialDistributionFunction, is_comparable
from crysearch.generative import GenerativeModel, interpolate
from crysearch.guiding.base import OUTCOMES, GuidedBatch, GuidingSettings
from crysearch.guiding.guide import Guide
from crysearch.sampling import CrystalBatch, CrystalRequest, create_sampler
from crysearch.screening import DistinctFingerprints

#: Last entry of the seeds of crystals drawn for a design, which sets them apart from those of a
#: search (which end in the number of the batch, or in 4 for guided ones).
STREAM = 5
#: Crystals drawn at a time; part of the random stream.
BATCH = 5000
#: The descent ends at this distance: much below the threshold of a search, since the best few of
#: hundreds are wanted and a descent takes less than a millisecond.
STOP_DISTANCE = 0.02

# Pearson's distances are at most 2.
_FARTHEST = 2.0


@dataclass(frozen=True, eq=False)
class DesignTarget:
    """What a crystal is to look like.

    Attributes
    ----------
    label : str
        What a person calls it.
    fingerprint : (size,) float64
        Its RDF.
    latent : (d,) float64 or None
        The point that the RDF was decoded from; None for the RDF of a known structure.
    volume : float or None
        Å^3 per atom; for guiding settings with the volume of the target.
    condition : float or None
        What a conditional model was told when it decoded the RDF, in the unit of its training.
    """

    label: str
    fingerprint: np.ndarray
    latent: np.ndarray | None = None
    volume: float | None = None
    condition: float | None = None


def line_targets(
    model: GenerativeModel,
    first: tuple[str, Sequence[float]],
    last: tuple[str, Sequence[float]],
    steps: int,
    conditions: tuple[float, float] | None = None,
) -> list[DesignTarget]:
    """Targets along the straight line between two known structures, both ends included.

    With a conditional model the condition changes in equal steps too, so that each end is decoded
    with its own.

    Parameters
    ----------
    model : GenerativeModel
    first, last : (str, sequence of float)
        Name and latent point (the mean of the encoded Gaussian) of each.
    steps : int
        Points on the line, at least 2.
    conditions : (float, float), optional
        Those of the two known structures, for a conditional model.

    Raises
    ------
    TrainingError
        For fewer than two steps.
    """
    points = interpolate(first[1], last[1], steps)
    labels = [f"{first[0]} to {last[0]}, {number}/{steps}" for number in range(1, steps + 1)]
    told = None if conditions is None else np.linspace(*conditions, steps)
    return point_targets(model, points, labels, told)


def point_targets(
    model: GenerativeModel,
    points: np.ndarray,
    labels: Sequence[str],
    conditions: np.ndarray | None = None,
) -> list[DesignTarget]:
    """Targets decoded from latent points, shape (n, d).

    Parameters
    ----------
    model : GenerativeModel
    points : ndarray, shape (n, d)
    labels : sequence of str
    conditions : ndarray, shape (n,), optional
        For a conditional model, in the unit of its training.

    Raises
    ------
    GuidingError
        Where a point decodes to a constant, which has no Pearson's distance to anything.
    """
    told = [None] * len(points) if conditions is None else conditions.tolist()
    decoded = model.decode(points, conditions=None if conditions is None else conditions[:, None])
    bad = ~is_comparable(decoded)
    if bad.any():
        point = ", ".join(f"{value:g}" for value in points[int(np.argmax(bad))])
        raise GuidingError(
            f"latent point ({point}): decodes to a constant, which no crystal resembles; give a "
            "point nearer to the known structures, which lie within about 3 of the origin"
        )
    return [
        DesignTarget(label, fingerprint, point, condition=condition)
        for label, fingerprint, point, condition in zip(labels, decoded, points, told, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class DesignedCrystal:
    """A crystal moved onto a target.

    Attributes
    ----------
    crystal, start : CrystalBatch
        Of one crystal: after the descent, and as it was drawn.
    formula_units : int
        Cell size it was drawn for.
    seed : tuple of int
        Of the batch that it was drawn in.
    index : int
        Its number in that batch.
    fingerprint : (size,) float64
        Its RDF after the descent.
    distance_before, distance_after : float
        Pearson's distances to the target.
    outcome : str
        One of :data:`crysearch.guiding.OUTCOMES`.
    """

    crystal: CrystalBatch
    start: CrystalBatch
    formula_units: int
    seed: tuple[int, ...]
    index: int
    fingerprint: np.ndarray
    distance_before: float
    distance_after: float
    outcome: str


@dataclass(frozen=True, eq=False)
class DesignResult:
    """What was found for a target.

    Attributes
    ----------
    target : DesignTarget
    set_out : int
        Crystals moved towards it.
    reached : int
        Those that came within the wanted distance, minimum distances kept.
    distinct : int
        Those of them whose RDFs differ.
    crystals : list of DesignedCrystal
        The best of these, nearest first, none the same crystal as another.
    nearest : DesignedCrystal or None
        The one that came nearest, whatever its outcome; None if none has a distance.
    """

    target: DesignTarget
    set_out: int
    reached: int
    distinct: int
    crystals: list[DesignedCrystal]
    nearest: DesignedCrystal | None


@dataclass
class _Drawn:
    """Drawn crystals of a batch that are among the nearest of some target so far."""

    seed: tuple[int, ...]
    rows: np.ndarray
    crystals: CrystalBatch
    distances: np.ndarray

    def keep(self, mask: np.ndarray) -> None:
        self.rows, self.distances = self.rows[mask], self.distances[mask]
        self.crystals = self.crystals.select(mask)


@dataclass(frozen=True, eq=False)
class _Moved:
    """Crystals of a batch after their descents, with the RDFs of those that arrived."""

    formula_units: int
    seed: tuple[int, ...]
    rows: np.ndarray
    start: CrystalBatch
    guided: GuidedBatch
    fingerprints: np.ndarray

    def crystal(self, place: int, rdf: RadialDistributionFunction) -> DesignedCrystal:
        crystal = self.guided.crystals.select([place])
        return DesignedCrystal(
            crystal=crystal,
            start=self.start.select([place]),
            formula_units=self.formula_units,
            seed=self.seed,
            index=int(self.rows[place]),
            fingerprint=_fingerprints(rdf, crystal)[0],
            distance_before=float(self.guided.distance_before[place]),
            distance_after=float(self.guided.distance_after[place]),
            outcome=OUTCOMES[self.guided.outcome[place]],
        )


class Navigator:
    """Draws random crystals of one or several cell sizes and moves the nearest onto targets.

    What is found for a target depends on its RDF and the parameters only, not on other targets.

    Parameters
    ----------
    radial_distribution_function : RadialDistributionFunction
    requests : mapping of int to CrystalRequest
        By formula units.
    settings : GuidingSettings
    sampler : str
        Name of the sampler of random crystals.
    seed : int
        Batch *b* of a cell size is drawn with the seed (seed, formula units, *b*, 5).
    draw : int
        Random crystals per cell size.
    descend : int
        How many of these are moved towards each target: those of smallest broad distance.
    crystals : int
        Different crystals to keep per target.
    duplicate_distance : float
        Pearson's distance up to which a crystal repeats a better one, whatever its structure.

    Raises
    ------
    GuidingError
        Where a number is not positive, or there is no cell size.
    """

    def __init__(
        self,
        radial_distribution_function: RadialDistributionFunction,
        requests: Mapping[int, CrystalRequest],
        settings: GuidingSettings,
        *,
        sampler: str = "wyckoff",
        seed: int = 0,
        draw: int = 10_000,
        descend: int = 300,
        crystals: int = 3,
        duplicate_distance: float = 0.01,
    ) -> None:
        for name, value in (("draw", draw), ("descend", descend), ("crystals", crystals)):
            if value < 1:
                raise GuidingError(f"{name}: {value} is not positive; give at least 1")
        if not requests:
            raise GuidingError("requests: empty; give at least one cell size")
        self.rdf, self.requests, self.settings = radial_distribution_function, requests, settings
        self.sampler, self.seed = sampler, seed
        self.draw, self.descend, self.crystals = draw, descend, crystals
        self.duplicate_distance = duplicate_distance

    def design(
        self, targets: Sequence[DesignTarget], progress: Callable[[int], object] | None = None
    ) -> list[DesignResult]:
        """Find crystals for each target.

        Parameters
        ----------
        targets : sequence of DesignTarget
        progress : callable, optional
            Called with the number of newly drawn crystals.

        Raises
        ------
        GuidingError
            Where the targets do not fit the RDF.
        SamplingError
            Where random crystals cannot be had.
        """
        moved: list[_Moved] = []
        for units in self.requests:
            guide = self._guide(units, targets)
            drawn, limits = self._draw(units, guide, progress)
            moved += [self._move(units, guide, piece, limits) for piece in drawn]
        return [self._result(number, target, moved) for number, target in enumerate(targets)]

    def way(self, crystal: DesignedCrystal, target: DesignTarget) -> np.ndarray:
        """RDFs of a crystal on its way onto a target, the drawn one first: (n, size)."""
        return self._guide(crystal.formula_units, [target]).path(crystal.start, 0)[1]

    def _guide(self, units: int, targets: Sequence[DesignTarget]) -> Guide:
        fingerprints = np.stack([target.fingerprint for target in targets])
        volumes = [target.volume for target in targets if target.volume is not None]
        known = np.array(volumes) if len(volumes) == len(targets) else None
        return Guide(self.rdf, fingerprints, self.requests[units], self.settings, known)

    def _draw(
        self, units: int, guide: Guide, progress: Callable[[int], object] | None
    ) -> tuple[list[_Drawn], np.ndarray]:
        """The crystals nearest to any target, and how far the last of each target is.

        Only those are held in memory.
        """
        sampler = create_sampler(self.sampler, self.requests[units])
        kept: list[_Drawn] = []
        limits = np.empty(0)
        for batch in range(-(-self.draw // BATCH)):
            number = min(BATCH, self.draw - batch * BATCH)
            seed = (self.seed, units, batch, STREAM)
            crystals = sampler.sample(number, seed)
            distances = guide.broad_distances(crystals)
            kept.append(_Drawn(seed, np.arange(number), crystals, distances))
            limits = self._limits(np.concatenate([piece.distances for piece in kept]))
            for piece in kept:
                piece.keep(np.any(piece.distances <= limits, axis=1))
            if progress is not None:
                progress(number)
        return [piece for piece in kept if len(piece.rows)], limits

    def _limits(self, distances: np.ndarray) -> np.ndarray:
        """Broad distance up to which a crystal is moved, for each target: (k,)."""
        place = min(self.descend, len(distances)) - 1
        limits = np.partition(distances, place, axis=0)[place]
        # A crystal without an RDF has no distance and is never moved.
        return np.minimum(limits, _FARTHEST)

    def _move(self, units: int, guide: Guide, piece: _Drawn, limits: np.ndarray) -> _Moved:
        """Move the crystals of a batch onto the targets that they are among the nearest of."""
        rows, target = np.nonzero(piece.distances <= limits)
        start = piece.crystals.select(rows)
        guided = guide.descend(start, target)
        fingerprints = np.full((len(rows), self.rdf.size), np.nan)
        if guided.reached.any():
            fingerprints[guided.reached] = _fingerprints(
                self.rdf, guided.crystals.select(guided.reached)
            )
        return _Moved(units, piece.seed, piece.rows[rows], start, guided, fingerprints)

    def _result(self, number: int, target: DesignTarget, moved: list[_Moved]) -> DesignResult:
        """Order what set out for a target by where it came to, smaller cells first."""
        places = [
            (float(part.guided.distance_after[place]), part, int(place))
            for part in moved
            for place in np.flatnonzero(part.guided.target == number)
        ]
        places = sorted(
            (place for place in places if np.isfinite(place[0])), key=lambda place: place[0]
        ) + [place for place in places if not np.isfinite(place[0])]
        reached = [(part, place) for _, part, place in places if part.guided.reached[place]]
        different = (
            DistinctFingerprints(self.duplicate_distance).add(
                np.stack([part.fingerprints[place] for part, place in reached])
            )
            if reached
            else np.zeros(0, dtype=bool)
        )
        candidates = [reached[k] for k in np.flatnonzero(different)]
        came = bool(places) and np.isfinite(places[0][0])
        return DesignResult(
            target=target,
            set_out=len(places),
            reached=len(reached),
            distinct=int(different.sum()),
            crystals=self._best(candidates),
            nearest=places[0][1].crystal(places[0][2], self.rdf) if came else None,
        )

    def _best(self, candidates: Sequence[tuple[_Moved, int]]) -> list[DesignedCrystal]:
        """The first few crystals of which none can be laid on another."""
        # Cells of one crystal that differ a little in volume have RDFs farther apart than repeats.
        matcher = CrystalMatcher(MatchTolerances())
        best: list[DesignedCrystal] = []
        structures: list[Structure] = []
        for part, place in candidates:
            if len(best) == self.crystals:
                break
            crystal = part.crystal(place, self.rdf)
            structure = crystal.crystal.structure(0)
            if not any(matcher.same(earlier, structure) for earlier in structures):
                best.append(crystal)
                structures.append(structure)
        return best


def _fingerprints(rdf: RadialDistributionFunction, crystals: CrystalBatch) -> np.ndarray:
    symbols = [crystals.species[index] for index in crystals.species_index]
    return rdf.compute(crystals.lattices, crystals.fractional_coordinates, symbols)
