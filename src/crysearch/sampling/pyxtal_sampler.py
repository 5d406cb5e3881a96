"""The same request through PyXtal: slow, but an independent implementation to compare with.

PyXtal (Fredericks et al., Comput. Phys. Commun. 261, 107810 (2021)) differs from
:mod:`crysearch.sampling.random_crystals` in the following.

- It prefers large Wyckoff positions: for each orbit, with probability one half, it takes one of
  the largest that still fit, otherwise any that fits. Combinations are not equally likely.
- A point that lands too close to its own images is moved to a position of higher symmetry
  ("merged") where there is one.
- Given a lattice it keeps that lattice's volume; given none it takes the volume from atomic radii.
  So a lattice of the drawn volume is always given.
- It looks for neighbours in the 26 adjacent cells only, which misses some in skewed ones. Crystals
  that an exact neighbour list finds too close are rejected here (``too_close``).
- One call makes up to 40 cells with 10 attempts at the coordinates in each, or 5 with 5 for
  compositions that it regards as without freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from crysearch.sampling.base import CrystalBatch, CrystalRequest
from crysearch.sampling.effort import checked_seed, effort_error

ATTEMPTS_PER_CALL = 400


class PyXtalSampler:
    """Crystals made by PyXtal; see :mod:`crysearch.sampling.pyxtal_sampler`.

    ``attempts_per_group`` is rounded up to PyXtal's 400 per call; ``attempts_per_orbit`` is
    PyXtal's own and not changed.

    Parameters
    ----------
    request : CrystalRequest
    """

    name = "pyxtal"

    def __init__(self, request: CrystalRequest) -> None:
        from pyxtal.tolerance import Tol_matrix

        self.request = request
        pairs = request.minimum_distances.items()
        # The prototype only sets the radii of elements that are not in the request.
        self._tolerances = Tol_matrix(
            *((first, second, value) for (first, second), value in pairs), prototype="atomic"
        )

    def sample(self, n: int, seed: int | Sequence[int]) -> CrystalBatch:
        """Exactly ``n`` accepted crystals; see :meth:`CrystalSampler.sample`.

        Raises
        ------
        SamplingError
            For an invalid ``n`` or seed, and when as many space groups as can host the
            composition (at least 10) were exhausted in a row.
        """
        request = self.request
        rng = np.random.Generator(np.random.PCG64(checked_seed(n, seed)))
        hosts = request.hosting_groups
        counts = {
            group: {"chosen": 0, "exhausted": 0, "attempts": 0, "accepted": 0} for group in hosts
        }
        rejections = {"cell_too_flat": 0, "too_close": 0, "group_exhausted": 0}
        found: list[tuple[int, np.ndarray, np.ndarray, list[int]]] = []
        cumulative = request.cumulative_weights
        equal = (np.diff(cumulative) == cumulative[0]).all()
        exhausted = 0
        while len(found) < n:
            if equal:
                group = hosts[int(rng.integers(len(hosts)))]
            else:
                place = rng.random() * cumulative[-1]
                group = hosts[int(np.searchsorted(cumulative, place, side="right"))]
            counts[group]["chosen"] += 1
            crystal = None
            for _ in range(-(-request.attempts_per_group // ATTEMPTS_PER_CALL)):
                crystal = self._attempt(group, rng, counts[group], rejections)
                if crystal is not None:
                    break
            if crystal is not None:
                found.append((group, *crystal))
                counts[group]["accepted"] += 1
                exhausted = 0
                continue
            counts[group]["exhausted"] += 1
            rejections["group_exhausted"] += 1
            exhausted += 1
            if exhausted >= max(10, len(hosts)):
                raise effort_error(request, len(found), n, counts)
        width = max((len(codes) for *_, codes in found), default=0)
        atoms = request.number_of_atoms
        return CrystalBatch(
            species=request.species,
            species_index=np.repeat(np.arange(len(request.species)), request.counts),
            lattices=np.array([lattice for _, lattice, _, _ in found]).reshape(n, 3, 3),
            fractional_coordinates=np.array([xyz for _, _, xyz, _ in found]).reshape(n, atoms, 3),
            space_groups=np.array([group for group, *_ in found], dtype=np.int64),
            sites=np.array(
                [codes + [-1] * (width - len(codes)) for *_, codes in found], dtype=np.int16
            ).reshape(n, width),
            attempts=sum(row["attempts"] for row in counts.values()),
            rejections=rejections,
            group_counts=counts,
        )

    def _attempt(
        self,
        group: int,
        rng: np.random.Generator,
        counts: dict[str, int],
        rejections: dict[str, int],
    ) -> tuple[np.ndarray, np.ndarray, list[int]] | None:
        """One call of PyXtal: cell (Å), fractional coordinates and site codes, or None."""
        from pyxtal.crystal import random_crystal
        from pyxtal.lattice import Lattice
        from pyxtal.msg import VolumeError

        request = self.request
        symmetry = _group(group)
        volume = rng.uniform(*request.volume_range)
        try:
            lattice = Lattice(symmetry.lattice_type, volume, random_state=rng)
            crystal = random_crystal(
                dim=3,
                group=symmetry,
                species=list(request.species),
                numIons=list(request.counts),
                lattice=lattice,
                conventional=True,
                tm=self._tolerances,
                random_state=rng,
            )
        except VolumeError:
            counts["attempts"] += 1
            rejections["cell_too_flat"] += 1
            return None
        tried = crystal.cycle1 * crystal.coord_attempts + crystal.cycle2 + 1
        counts["attempts"] += tried
        if not crystal.valid:
            rejections["too_close"] += tried
            return None
        rejections["too_close"] += tried - 1
        coordinates = []
        codes = []
        for index, name in enumerate(request.species):
            for site in crystal.atom_sites:
                if site.specie == name:
                    coordinates.append(np.asarray(site.coords))
                    codes.append(int(site.wp.index) * len(request.species) + index)
        cell = np.array(crystal.lattice.matrix)
        fractions = np.concatenate(coordinates) % 1.0
        # A negative number of the order of 1e-17 comes out of the modulus as 1.
        fractions[fractions >= 1.0] = 0.0
        if not self._keeps_distances(cell, fractions):
            rejections["too_close"] += 1
            return None
        return cell, fractions, codes

    def _keeps_distances(self, cell: np.ndarray, fractions: np.ndarray) -> bool:
        from pymatgen.core import Lattice
        from pymatgen.core.structure import Structure

        request = self.request
        allowed = request.distance_matrix
        species = np.repeat(np.arange(len(request.species)), request.counts)
        structure = Structure(Lattice(cell), [request.species[s] for s in species], fractions)
        first, second, _, distances = structure.get_neighbor_list(float(allowed.max()))
        return bool((distances >= allowed[species[first], species[second]]).all())


@lru_cache(maxsize=230)
def _group(number: int):
    from pyxtal.symmetry import Group

    return Group(number)
