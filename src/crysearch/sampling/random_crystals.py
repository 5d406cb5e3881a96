"""Random symmetric crystals from Wyckoff positions, compiled.

The distribution
----------------
One crystal is drawn like this; all draws are independent.

1. *Space group*: one of the requested groups whose Wyckoff positions can hold the composition,
   with a probability proportional to its weight in ``space_group_weights`` (1 where none is given,
   so that without weights all groups are equally likely).
2. Up to ``attempts_per_group`` times (1000), an attempt:

   a. *Volume* V of the conventional cell: uniform in ``volume * (1 ± volume_tolerance)``.
   b. *Cell* of the group's crystal system in its standard setting, scaled to V. With g standard
      normal numbers, lengths are log-normal and angles normal:

      - triclinic: a : b : c = exp(0.35 g1) : exp(0.35 g2) : exp(0.35 g3); alpha, beta and gamma
        each 90° + 20° g, drawn again outside 30° to 150°, and all three drawn again while the
        parallelepiped with unit edges has a volume below 0.1;
      - monoclinic: the same lengths, beta like an angle above, alpha = gamma = 90°;
      - orthorhombic: the same lengths, right angles;
      - tetragonal: c = V^(1/3) exp(0.606 g), a = b from V;
      - trigonal and hexagonal (hexagonal axes): c = (2V/√3)^(1/3) exp(0.606 g), a = b from V;
      - cubic: a = V^(1/3).

      (0.606 = 0.35 √3. Except for triclinic angles these are PyXtal's distributions, without its
      bounds on lengths.) The attempt fails (``cell_too_flat``) if a lattice vector, centring
      vectors included, is shorter than the largest like-pair minimum distance.
   c. *Wyckoff combination*: uniform over all combinations of the group
      (:mod:`crysearch.sampling.wyckoff`).
   d. *Positions*: orbits are placed one after the other, those without free parameters first,
      then those with the fewest, of these the largest. The free parameters of an orbit are
      uniform over the cell and are drawn up to ``attempts_per_orbit`` times (10) until the orbit
      keeps the minimum distances to itself, its periodic images and all orbits placed before. If
      none does, the attempt fails (``too_close``).

3. A group whose attempts all fail is given up (``group_exhausted``) and step 1 is repeated.

So all compatible groups and combinations can occur, but crowded ones occur less often. With
``attempts_per_orbit=1`` the crystals of one group are exactly the independent draws a to d
conditioned on the minimum distances; larger values fill cells of many orbits far more often, at
the price that later orbits go, uniformly, into what room the earlier ones left (random sequential
addition). No orbit can collapse onto a position of higher symmetry, because its atoms would be
closer than the minimum distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crysearch.sampling import kernel
from crysearch.sampling.base import CrystalBatch, CrystalRequest
from crysearch.sampling.build_tables import TRANSLATION_UNIT
from crysearch.sampling.effort import checked_seed, effort_error, failed_in_a_row
from crysearch.sampling.wyckoff import CombinationTable, combination_table, wyckoff_tables

# Distances are asked for a relative 1e-9 larger, so that rounding never lets a pair through that
# an independent check would call too short.
ROUNDING = 1.0 + 1e-9
# Between calls of the compiled loop Python sees an interrupt.
CALL_ATTEMPTS = 50_000
CALL_CRYSTALS = 256


class WyckoffSampler:
    """The distribution above; the first call in a fresh installation compiles for some seconds.

    Parameters
    ----------
    request : CrystalRequest

    Raises
    ------
    SamplingError
        Where the combinations of a space group are too many to count in memory.
    """

    name = "wyckoff"

    def __init__(self, request: CrystalRequest) -> None:
        self.request = request
        tables = (combination_table(group, request.counts) for group in request.hosting_groups)
        self._tables = [table for table in tables if table is not None]
        self._groups = _flatten_groups(self._tables, request.cumulative_weights)
        self._positions = _flatten_positions()

    def sample(self, n: int, seed: int | Sequence[int]) -> CrystalBatch:
        """Exactly ``n`` accepted crystals; see :meth:`CrystalSampler.sample`.

        Raises
        ------
        SamplingError
            For an invalid ``n`` or seed, and when 10 exhausted space groups per hosting group
            (at least 200) follow each other without a crystal. Before the first crystal one per
            hosting group (at least 200) is enough if then none of them, each tried on its own,
            gives a crystal.
        """
        entropy = checked_seed(n, seed)
        rng = np.random.Generator(np.random.PCG64(entropy))
        request = self.request
        output, work = self._arrays(n)
        doubtful, hopeless = failed_in_a_row(len(self._tables))
        limits = kernel.Limits(
            *request.volume_range,
            tries_per_orbit=request.attempts_per_orbit,
            attempts_per_group=request.attempts_per_group,
            groups_in_a_row=doubtful,
            attempts_per_call=CALL_ATTEMPTS,
        )
        accepted = exhausted = 0
        while accepted < n:
            last = min(n, accepted + CALL_CRYSTALS)
            accepted, exhausted = self._fill(
                rng, accepted, last, exhausted, limits, self._groups, work, output
            )
            if exhausted < limits.groups_in_a_row:
                continue
            counts = output.group_counts
            if exhausted < hopeless and accepted == 0:
                tried = self._try_each_group(entropy, limits)
                counts = counts + tried
                exhausted = exhausted if tried[:, kernel.ACCEPTED].any() else hopeless
            if exhausted >= hopeless:
                raise effort_error(request, accepted, n, self._group_counts(counts))
            limits = limits._replace(groups_in_a_row=hopeless)
        numbers = np.array([table.group for table in self._tables], dtype=np.int64)
        space_groups = numbers[output.group]
        return CrystalBatch(
            species=request.species,
            species_index=np.repeat(np.arange(len(request.species)), request.counts),
            lattices=output.lattices,
            fractional_coordinates=output.coordinates,
            space_groups=space_groups,
            sites=self._group_sites(output.sites, space_groups),
            attempts=int(output.group_counts[:, kernel.ATTEMPTS].sum()),
            rejections={
                "cell_too_flat": int(output.reasons[kernel.CELL_TOO_FLAT]),
                "too_close": int(output.reasons[kernel.TOO_CLOSE]),
                "group_exhausted": int(output.group_counts[:, kernel.EXHAUSTED].sum()),
            },
            group_counts=self._group_counts(output.group_counts),
        )

    def _arrays(self, n: int) -> tuple[kernel.Output, kernel.Workspace]:
        """Memory for ``n`` crystals and for one in the making."""
        atoms = self.request.number_of_atoms
        output = kernel.Output(
            lattices=np.zeros((n, 3, 3)),
            coordinates=np.zeros((n, atoms, 3)),
            group=np.zeros(n, dtype=np.int64),
            sites=np.full((n, atoms), -1, dtype=np.int32),
            group_counts=np.zeros((len(self._tables), 4), dtype=np.int64),
            reasons=np.zeros(2, dtype=np.int64),
        )
        work = kernel.Workspace(
            left=np.zeros(len(self.request.species), dtype=np.int64),
            position=np.zeros(atoms, dtype=np.int64),
            species=np.zeros(atoms, dtype=np.int64),
            start=np.zeros(atoms + 1, dtype=np.int64),
            atoms=np.zeros((atoms, 3)),
            lattice=np.zeros((3, 3)),
        )
        return output, work

    def _fill(
        self,
        rng: np.random.Generator,
        first: int,
        last: int,
        exhausted: int,
        limits: kernel.Limits,
        groups: kernel.GroupArrays,
        work: kernel.Workspace,
        output: kernel.Output,
    ) -> tuple[int, int]:
        request = self.request
        species_start = np.concatenate([[0], np.cumsum(request.counts)[:-1]]).astype(np.int64)
        return kernel.fill(
            rng,
            first,
            last,
            exhausted,
            limits,
            request.distance_matrix * ROUNDING,
            species_start,
            groups,
            self._positions,
            work,
            output,
        )

    def _try_each_group(self, entropy: np.random.SeedSequence, limits: kernel.Limits) -> np.ndarray:
        """Group counts of one crystal tried in each group, until there is one.

        With a random stream of its own: the crystals of the sample do not depend on it.
        """
        rng = np.random.Generator(np.random.PCG64(entropy.spawn(1)[0]))
        output, work = self._arrays(1)
        limits = limits._replace(groups_in_a_row=1)
        for g in range(len(self._tables)):
            weight = np.zeros(len(self._tables))
            weight[g:] = 1.0
            groups = self._groups._replace(cumulative_weight=weight)
            if self._fill(rng, 0, 1, 0, limits, groups, work, output)[0]:
                break
        return output.group_counts

    def _group_sites(self, sites: np.ndarray, space_groups: np.ndarray) -> np.ndarray:
        """Codes of flat positions to codes of positions in their group, unused columns cut."""
        start = wyckoff_tables().group_start[space_groups - 1] * len(self.request.species)
        width = int((sites >= 0).sum(axis=1).max(initial=0))
        cut = sites[:, :width]
        return np.where(cut >= 0, cut - start[:, None], -1).astype(np.int16)

    def _group_counts(self, counts: np.ndarray) -> dict[int, dict[str, int]]:
        return {
            table.group: {
                "chosen": int(row[kernel.CHOSEN]),
                "exhausted": int(row[kernel.EXHAUSTED]),
                "attempts": int(row[kernel.ATTEMPTS]),
                "accepted": int(row[kernel.ACCEPTED]),
            }
            for table, row in zip(self._tables, counts, strict=True)
        }


def _crystal_system(group: int) -> int:
    limits = (2, 15, 74, 142, 194, 230)
    return next(system for system, last in enumerate(limits) if group <= last)


def _flatten_groups(
    tables: Sequence[CombinationTable], cumulative_weight: np.ndarray
) -> kernel.GroupArrays:
    flat = wyckoff_tables()
    centring = []
    for table in tables:
        rotations, translations = flat.operations(flat.positions(table.group)[0])
        pure = (rotations == np.eye(3)).all(axis=(1, 2)) & (translations != 0.0).any(axis=1)
        centring.append(translations[pure])

    def starts(lengths: Sequence[int]) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def positions(kind: str) -> np.ndarray:
        rows = [
            flat.positions(table.group)[index] for table in tables for index in getattr(table, kind)
        ]
        return np.array(rows, dtype=np.int64)

    return kernel.GroupArrays(
        system=np.array([_crystal_system(table.group) for table in tables], dtype=np.int64),
        counts=np.array([table.counts for table in tables], dtype=np.int64),
        strides=np.array([table.strides for table in tables], dtype=np.int64),
        fixed_start=starts([len(table.fixed) for table in tables]),
        fixed_position=positions("fixed"),
        fixed_size=np.concatenate([table.fixed_size for table in tables]),
        fixed_ways=np.concatenate([table.fixed_ways.ravel() for table in tables]),
        fixed_ways_start=starts([table.fixed_ways.size for table in tables]),
        states=np.array([table.fixed_ways.shape[1] for table in tables], dtype=np.int64),
        free_start=starts([len(table.free) for table in tables]),
        free_position=positions("free"),
        free_size=np.concatenate([table.free_size for table in tables]),
        free_ways=np.concatenate([table.free_ways.ravel() for table in tables]),
        free_ways_start=starts([table.free_ways.size for table in tables]),
        free_width=np.array([table.free_ways.shape[1] for table in tables], dtype=np.int64),
        centring=np.concatenate(centring),
        centring_start=starts([len(vectors) for vectors in centring]),
        cumulative_weight=cumulative_weight,
    )


def _flatten_positions() -> kernel.PositionArrays:
    tables = wyckoff_tables()
    return kernel.PositionArrays(
        multiplicity=tables.multiplicity.astype(np.int64),
        freedom=tables.freedom.astype(np.int64),
        operation_start=tables.operation_start.astype(np.int64),
        rotations=tables.rotations.astype(np.float64),
        translations=tables.translations / TRANSLATION_UNIT,
    )
