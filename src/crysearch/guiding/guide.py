"""Moves random symmetric crystals downhill onto target radial distribution functions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from crysearch.errors import FingerprintError, GuidingError
from crysearch.fingerprints import RadialDistributionFunction, is_comparable
from crysearch.fingerprints.distances import standardised
from crysearch.guiding import kernel
from crysearch.guiding.base import GuidedBatch, GuidingSettings
from crysearch.guiding.parameters import (
    CELL_BASIS,
    CELL_FREEDOM,
    CrystalParameters,
    position_tables,
)
from crysearch.guiding.stages import make_stages, stage_arrays
from crysearch.sampling import CrystalBatch, CrystalRequest
from crysearch.sampling.wyckoff import wyckoff_tables

# Distances are asked for a relative 1e-9 larger, so that rounding never lets a pair through that
# an independent check would call too short.
ROUNDING = 1.0 + 1e-9
# Between calls of the compiled loop Python sees an interrupt.
CALL_CRYSTALS = 128
# Room for listed distances: so many times those of the request's smallest volume, and a few.
# Ends of the broad stages, which only lead the way, and of the last one: relative fall of the loss
# in ten steps.
BROAD_STOP = 0.03
BROAD_STALL = 0.05
OWN_STALL = 0.05
_VOLUME_MODES = {
    "free": kernel.FREE,
    "bounded": kernel.BOUNDED,
    "fixed": kernel.FIXED,
    "target": kernel.BOUNDED,
}
_ROOM, _LEAST_ROOM = 4.0, 4096


class Guide:
    """Descends Pearson's distance to targets, each crystal within its space group and orbits.

    The loss of a crystal is its Pearson's distance to the target, both at the smearing of the
    stage, plus a penalty of distances below the minimum ones. The result for a crystal depends on
    the crystal, its target and the settings only, not on the rest of the batch.

    Parameters
    ----------
    radial_distribution_function : RadialDistributionFunction
        With ``species`` (those of the request) for compounds.
    targets : numpy.ndarray
        Shape (k, size): RDFs at its smearing, of known structures, replicas, latent points or
        mixtures of them.
    request : CrystalRequest
        Composition, minimum distances and range of volumes.
    settings : GuidingSettings
    target_volumes : numpy.ndarray, optional
        Shape (k,): volumes of the targets, Å^3 per atom; for ``settings.volume = "target"``.

    Raises
    ------
    GuidingError
        Where the targets do not fit the RDF, or the RDF the request, or volumes are missing.
    """

    def __init__(
        self,
        radial_distribution_function: RadialDistributionFunction,
        targets: np.ndarray,
        request: CrystalRequest,
        settings: GuidingSettings | None = None,
        target_volumes: np.ndarray | None = None,
    ) -> None:
        self.radial_distribution_function = rdf = radial_distribution_function
        self.request = request
        self.settings = settings = settings or GuidingSettings()
        self.targets = _checked_targets(targets, rdf)
        channels, populations = _channels(rdf, request)
        self._stages = make_stages(rdf, settings.smearings)
        broad = len(settings.smearings)
        distances = request.distance_matrix * ROUNDING
        self._stage_arrays = stage_arrays(
            self._stages,
            rdf,
            self.targets,
            populations,
            float(distances.max()) * settings.margin,
            settings.steps,
            settings.longest_steps,
            (BROAD_STOP,) * broad + (settings.stop_distance,),
            (BROAD_STALL,) * broad + (OWN_STALL,),
        )
        self._rules = kernel.Rules(
            skin=float(settings.skin),
            strain_length=float(settings.strain_length),
            penalty=settings.penalty / request.number_of_atoms,
            margin=float(settings.margin),
            volume_mode=_VOLUME_MODES[settings.volume],
            volumes=self._volumes(target_volumes),
            wanted=float(settings.wanted_distance),
            channels=channels,
            distances=distances,
        )
        tables = position_tables()
        self._tables = kernel.Tables(
            wyckoff_tables().operation_start.astype(np.int64),
            tables.rotations,
            tables.translations,
            tables.columns,
            CELL_BASIS,
            CELL_FREEDOM,
        )

    def _volumes(self, target_volumes: np.ndarray | None) -> np.ndarray:
        """Smallest and largest volumes of the cell for each target, shape (2, k), Å^3."""
        request = self.request
        if self.settings.volume != "target":
            return np.tile(np.array(request.volume_range)[:, None], len(self.targets))
        if target_volumes is None:
            raise GuidingError(
                "target_volumes: missing for volume 'target'; give the volume per atom of each "
                "target in Å^3, or choose another volume"
            )
        volumes = np.asarray(target_volumes, dtype=np.float64)
        if volumes.shape != (len(self.targets),) or not (
            np.isfinite(volumes).all() and (volumes > 0.0).all()
        ):
            raise GuidingError(
                f"target_volumes: shape {volumes.shape}; give a positive number (Å^3 per atom) for "
                f"each of the {len(self.targets)} targets"
            )
        cells = volumes * request.number_of_atoms
        tolerance = request.volume_tolerance
        return np.stack([cells * (1.0 - tolerance), cells * (1.0 + tolerance)])

    def broad_distances(self, crystals: CrystalBatch) -> np.ndarray:
        """Pearson's distances to all targets at the broadest smearing, for choosing targets.

        Parameters
        ----------
        crystals : CrystalBatch

        Returns
        -------
        numpy.ndarray
            Shape (n, k), between 0 and 2; infinite for a crystal without an RDF.

        Raises
        ------
        GuidingError
            Where the crystals are not those of the request.
        """
        self._check_composition(crystals)
        if not len(crystals):
            return np.zeros((0, len(self.targets)))
        rdf, stage = self.radial_distribution_function, self._stages[0]
        broad = replace(rdf, cutoff=stage.end, grid_points=stage.points, smearing=stage.smearing)
        symbols = [crystals.species[s] for s in crystals.species_index]
        prints = broad.compute(crystals.lattices, crystals.fractional_coordinates, symbols)
        distances = np.full((len(crystals), len(self.targets)), np.inf)
        known = self._stage_arrays.targets[0, :, : prints.shape[1]]
        # Row by row: the product of two matrices may differ in the last digit with their sizes.
        for row in np.flatnonzero(is_comparable(prints)):
            distances[row] = 1.0 - known @ standardised(prints[row])[0]
        return np.clip(distances, 0.0, None)

    def descend(self, crystals: CrystalBatch, target: np.ndarray) -> GuidedBatch:
        """Move each crystal onto its target.

        Parameters
        ----------
        crystals : CrystalBatch
            As a sampler made it for the request.
        target : numpy.ndarray
            Shape (n,): row of the targets for each crystal; or (n, t): rows in the order of
            preference, each tried from where the crystal is until one is reached.

        Returns
        -------
        GuidedBatch
            A crystal that does not arrive is there with its outcome, where it came nearest.

        Raises
        ------
        GuidingError
            Where the crystals are not those of the request, or a target does not exist.
        """
        target = self._checked_target(crystals, target)
        parameters = self._parameters(crystals)
        results = self._run(parameters, target, np.zeros((0, 0)))
        return GuidedBatch(
            crystals=parameters.apply(crystals),
            target=results.target,
            distance_before=results.before,
            distance_after=results.after,
            path_length=results.path,
            steps=results.steps,
            outcome=results.outcome,
        )

    def path(self, crystals: CrystalBatch, target: int) -> tuple[CrystalBatch, np.ndarray]:
        """The way of one crystal onto a target.

        Parameters
        ----------
        crystals : CrystalBatch
            Of one crystal.
        target : int
            Row of the targets.

        Returns
        -------
        CrystalBatch
            The crystal before, after each step and at the end.
        numpy.ndarray
            Shape (crystals on the way, size): their RDFs at the RDF's own smearing.

        Raises
        ------
        GuidingError
            As :meth:`descend`, and where there is not one crystal.
        """
        if len(crystals) != 1:
            raise GuidingError(f"crystals: {len(crystals)} given; select the one to follow")
        rows = self._checked_target(crystals, np.array([target]))
        parameters = self._parameters(crystals)
        width = 3 * parameters.positions.shape[1] + 6
        trace = np.full((sum(self.settings.steps) + 10 * len(self._stages), width), np.nan)
        started = self._parameters(crystals)
        self._run(parameters, rows, trace)
        seen = trace[np.isfinite(trace[:, 0])]
        frames = _frames(started, seen)
        index = np.zeros(len(seen) + 1, dtype=np.int64)
        way = frames.apply(crystals.select(index))
        symbols = [crystals.species[s] for s in crystals.species_index]
        return way, self.radial_distribution_function.compute(
            way.lattices, way.fractional_coordinates, symbols
        )

    def _run(
        self, parameters: CrystalParameters, target: np.ndarray, trace: np.ndarray
    ) -> kernel.Results:
        n = len(target)
        results = kernel.Results(
            target=np.zeros(n, dtype=np.int64),
            before=np.full(n, np.nan),
            after=np.full(n, np.nan),
            path=np.zeros(n),
            steps=np.zeros(n, dtype=np.int64),
            outcome=np.zeros(n, dtype=np.int8),
        )
        arrays, work = self._crystals(parameters), self._work(parameters)
        for begin in range(0, n, CALL_CRYSTALS):
            kernel.descend(
                begin, min(n, begin + CALL_CRYSTALS), target, arrays, self._stage_arrays,
                self._rules, self._tables, work, results, trace,
            )  # fmt: skip
        results.before[~np.isfinite(results.before)] = np.nan
        results.after[~np.isfinite(results.after)] = np.nan
        return results

    def _checked_target(self, crystals: CrystalBatch, target: np.ndarray) -> np.ndarray:
        target = np.asarray(target)
        whole = target.dtype.kind in "iu" and target.ndim in (1, 2)
        if not whole or len(target) != len(crystals) or target.size < len(crystals):
            raise GuidingError(
                f"target: an array of shape {target.shape} and type {target.dtype}; give one row "
                f"number of the targets, or a few, for each of the {len(crystals)} crystals"
            )
        target = (target if target.ndim == 2 else target[:, None]).astype(np.int64)
        bad = ((target < 0) | (target >= len(self.targets))).any(axis=1)
        if bad.any():
            raise GuidingError(
                f"target: {target[np.argmax(bad)].tolist()} for crystal {int(np.argmax(bad))} is "
                f"not among the {len(self.targets)} targets; give 0 to {len(self.targets) - 1}"
            )
        return target

    def _check_composition(self, crystals: CrystalBatch) -> None:
        request = self.request
        expected = np.repeat(np.arange(len(request.species)), request.counts)
        if crystals.species != request.species or not np.array_equal(
            crystals.species_index, expected
        ):
            raise GuidingError(
                f"crystals: their composition is not {request.formula} of the request; "
                "make a guide for each composition"
            )

    def _parameters(self, crystals: CrystalBatch) -> CrystalParameters:
        self._check_composition(crystals)
        return CrystalParameters.of(crystals)

    def _crystals(self, parameters: CrystalParameters) -> kernel.Crystals:
        return kernel.Crystals(
            parameters.systems,
            parameters.cells,
            parameters.orbits,
            parameters.positions,
            parameters.species,
            parameters.starts,
            parameters.coordinates,
        )

    def _work(self, parameters: CrystalParameters) -> kernel.Work:
        atoms, orbits = self.request.number_of_atoms, parameters.positions.shape[1]
        count = 3 * orbits + 6
        pairs = atoms * (atoms + 1) // 2
        ball = (
            4.0
            / 3.0
            * math.pi
            * (self._stage_arrays.limits[kernel.REACH].max() + self._rules.skin) ** 3
        )
        room = int(_ROOM * pairs * ball / self._rules.volumes.min()) + _LEAST_ROOM
        nodes = max(
            (s.points - 1) * s.phases + 2 * s.half + 1 + s.phases for s in self._stages
        )  # rounded up to whole phases
        channels = len(self.radial_distribution_function.pairs or [None])
        memory = self.settings.memory
        return kernel.Work(
            sizes=np.zeros(4, dtype=np.int64),
            first=np.zeros(orbits + 2, dtype=np.int64),
            rows=np.zeros((8, count)),
            atoms=np.zeros((3, atoms, 3)),
            cells=np.zeros((5, 3, 3)),
            blocks=np.zeros((pairs, 6), dtype=np.int64),
            weight=np.zeros(pairs),
            pairs=np.zeros((14, room)),
            place=np.zeros(room, dtype=np.int32),
            mesh=np.zeros((channels, nodes)),
            split=np.zeros(nodes),
            fingerprint=np.zeros(self._stage_arrays.scale.shape[1]),
            metric=np.zeros((orbits + 2, 6, 9)),
            history=np.zeros((2, memory, count)),
            curvature=np.zeros((2, memory)),
        )


def _frames(start: CrystalParameters, trace: np.ndarray) -> CrystalParameters:
    """Parameters of one crystal before and after each row of the trace."""
    number = len(trace) + 1
    coordinates = np.repeat(start.coordinates, number, axis=0)
    cells = np.repeat(start.cells, number, axis=0)
    count = 0
    for orbit in range(int(start.orbits[0])):
        for column in position_tables().columns[start.positions[0, orbit]]:
            if column >= 0:
                coordinates[1:, orbit, column] = trace[:, count]
                count += 1
    freedom = int(CELL_FREEDOM[start.systems[0]])
    cells[1:, :freedom] = trace[:, count : count + freedom]
    repeated = {
        name: np.repeat(getattr(start, name), number, axis=0)
        for name in ("systems", "orbits", "positions", "species", "starts")
    }
    return CrystalParameters(cells=cells, coordinates=coordinates, atoms=start.atoms, **repeated)


def _checked_targets(targets: np.ndarray, rdf: RadialDistributionFunction) -> np.ndarray:
    targets = np.array(targets, dtype=np.float64)
    if targets.ndim != 2 or len(targets) == 0 or targets.shape[1] != rdf.size:
        raise GuidingError(
            f"targets: an array of shape {targets.shape}; give (k, {rdf.size}), one RDF of these "
            "settings a row, at least one"
        )
    try:
        standardised(targets)
    except FingerprintError as error:
        raise GuidingError(f"targets: {error}") from None
    return targets


def _channels(
    rdf: RadialDistributionFunction, request: CrystalRequest
) -> tuple[np.ndarray, np.ndarray]:
    """Channel of each pair of species, and ordered pairs of atoms of each channel."""
    kinds = len(request.species)
    if rdf.species is None or rdf.pairs is None:
        atoms = float(request.number_of_atoms)
        return np.zeros((kinds, kinds), dtype=np.int64), np.array([atoms * atoms])
    missing = [name for name in request.species if name not in rdf.species]
    if missing:
        raise GuidingError(
            f"request: {', '.join(missing)} is not among the species of the RDF "
            f"({', '.join(rdf.species)}); add it there"
        )
    number = dict(zip(request.species, request.counts, strict=True))
    channel = {frozenset(pair): index for index, pair in enumerate(rdf.pairs)}
    populations = [
        float(number.get(a, 0) * number.get(b, 0) * (1 if a == b else 2)) for a, b in rdf.pairs
    ]
    channels = [[channel[frozenset((a, b))] for b in request.species] for a in request.species]
    return np.array(channels, dtype=np.int64), np.array(populations)
