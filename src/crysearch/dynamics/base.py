"""What every propagator takes and gives: settings and the interface.

Units: Å, fs (times of frames: ps), K, GPa, eV, eV/Å; velocities in Å/fs. A positive pressure
compresses.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from ase.data import atomic_masses, covalent_radii
from ase.units import fs, kB
from numpy.typing import ArrayLike, NDArray
from pymatgen.core import Structure

from crysearch.dynamics.trajectory import DynamicsStatus, Failure, Trajectory
from crysearch.errors import DynamicsError

__all__ = [
    "DynamicsSettings",
    "DynamicsStatus",
    "Ensemble",
    "Failure",
    "Propagator",
    "Trajectory",
    "check_start",
    "initial_velocities",
    "internal_temperature",
    "runaway",
]

Ensemble = Literal["nve", "nvt", "npt"]
ENSEMBLES: tuple[Ensemble, ...] = get_args(Ensemble)


@dataclass(frozen=True)
class DynamicsSettings:
    """One molecular dynamics run.

    The run has ``equilibration_steps`` that are not sampled, and then ``steps`` of which every
    ``sample_every``-th is, the state before the first of them included: frames are at the steps
    0, ``sample_every``, 2 ``sample_every``, … , ``steps``.

    Attributes
    ----------
    ensemble
        ``"nve"``, ``"nvt"`` (thermostat) or ``"npt"`` (thermostat and barostat; the shape of the
        cell stays, its volume fluctuates).
    temperature
        Target, and temperature of the initial velocities, K. In NVE only the latter.
    steps
        Time steps after the equilibration, a multiple of ``sample_every``.
    seed
        Of initial velocities, thermostat and barostat.
    final_temperature
        The thermostat's target goes from ``temperature`` to this linearly over ``steps`` (not
        over the equilibration), K; None: constant.
    pressure
        Target, GPa; NPT only.
    timestep
        fs.
    sample_every
        Steps from one frame to the next.
    equilibration_steps
        Steps before the first frame, in the same ensemble.
    thermostat_time, barostat_time
        Relaxation times, fs.
    maximum_temperature
        A hotter run has exploded, K; None: ten times the larger target, and 1,000 K.
    minimum_distance_ratio
        A run with atoms nearer than this times the sum of their covalent radii has exploded.
    maximum_volume_ratio
        A run whose volume is larger than this times the initial one has exploded.
    keep_forces
        Keep the forces of each frame.

    Raises
    ------
    DynamicsError
        A value is not finite, out of its range or contradicts another.
    """

    ensemble: Ensemble
    temperature: float
    steps: int
    seed: int
    final_temperature: float | None = None
    pressure: float = 0.0
    timestep: float = 1.0
    sample_every: int = 10
    equilibration_steps: int = 0
    thermostat_time: float = 100.0
    barostat_time: float = 1000.0
    maximum_temperature: float | None = None
    minimum_distance_ratio: float = 0.35
    maximum_volume_ratio: float = 4.0
    keep_forces: bool = False

    def __post_init__(self) -> None:
        if self.ensemble not in ENSEMBLES:
            raise DynamicsError(
                f"ensemble={self.ensemble!r} is unknown; choose one of {', '.join(ENSEMBLES)}"
            )
        for name, least in (
            ("steps", 1),
            ("seed", 0),
            ("sample_every", 1),
            ("equilibration_steps", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise DynamicsError(f"{name}={value!r} must be a whole number of at least {least}")
        for name in (
            "temperature",
            "final_temperature",
            "timestep",
            "thermostat_time",
            "barostat_time",
            "maximum_temperature",
            "minimum_distance_ratio",
            "maximum_volume_ratio",
        ):
            value = getattr(self, name)
            if value is None and name in ("final_temperature", "maximum_temperature"):
                continue
            if not (_is_number(value) and value > 0):
                raise DynamicsError(f"{name}={value!r} must be a finite number greater than 0")
        if not _is_number(self.pressure):
            raise DynamicsError(f"pressure={self.pressure!r} must be a finite number (GPa)")
        self._check_together()

    def _check_together(self) -> None:
        if self.pressure != 0 and self.ensemble != "npt":
            raise DynamicsError(
                f"pressure={self.pressure:g} has no meaning in the ensemble {self.ensemble!r}; "
                "leave it out, or choose ensemble='npt'"
            )
        if self.final_temperature is not None and self.ensemble == "nve":
            raise DynamicsError(
                f"final_temperature={self.final_temperature:g} needs a thermostat; leave it out, "
                "or choose ensemble='nvt' or 'npt'"
            )
        if self.steps % self.sample_every:
            raise DynamicsError(
                f"steps={self.steps} must be a multiple of sample_every={self.sample_every}, so "
                "that the last step is a frame"
            )
        for name in ("thermostat_time", "barostat_time"):
            if self.ensemble != "nve" and getattr(self, name) < 2 * self.timestep:
                raise DynamicsError(
                    f"{name}={getattr(self, name):g} must be at least two time steps "
                    f"({2 * self.timestep:g} fs)"
                )
        if self.maximum_volume_ratio <= 1:
            raise DynamicsError(
                f"maximum_volume_ratio={self.maximum_volume_ratio:g} must be greater than 1"
            )
        hottest = max(self.temperature, self.final_temperature or 0.0)
        if self.temperature_limit <= hottest:
            raise DynamicsError(
                f"maximum_temperature={self.temperature_limit:g} must be greater than the target, "
                f"{hottest:g}"
            )

    @property
    def temperature_limit(self) -> float:
        """Temperature above which a run has exploded, K."""
        if self.maximum_temperature is not None:
            return self.maximum_temperature
        return 10 * max(self.temperature, self.final_temperature or 0.0) + 1000

    @property
    def frames(self) -> int:
        """Frames of a run that comes to its end."""
        return self.steps // self.sample_every + 1

    def target_temperature(self, step: int) -> float:
        """The thermostat's target at a step after the equilibration, K."""
        if self.final_temperature is None:
            return self.temperature
        share = min(max(step, 0), self.steps) / self.steps
        return self.temperature + share * (self.final_temperature - self.temperature)


class Propagator(ABC):
    """Integrates the equations of motion with the forces of one engine."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Integrators and engine, such as ``"ase:stillinger-weber"``."""

    @property
    @abstractmethod
    def provenance(self) -> dict[str, str]:
        """What produced the numbers: engine, model, packages with versions, integrators."""

    @abstractmethod
    def run(
        self,
        structure: Structure,
        settings: DynamicsSettings,
        velocities: NDArray[np.float64] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Trajectory:
        """Run molecular dynamics.

        Parameters
        ----------
        structure
            Ordered and periodic, of at least two atoms; its cell is the simulation cell.
        settings
        velocities
            (n, 3) in Å/fs, of a run that is continued; None: Maxwell–Boltzmann's distribution at
            ``settings.temperature``, from the seed, with the centre of mass at rest.
        progress
            Called with the number of steps just done, those of the equilibration included.

        Returns
        -------
        Trajectory
            A run that explodes, or whose engine fails, ends there: the frames before are kept,
            and ``status`` and ``failure`` say what happened. One that fails before its first
            frame has none.

        Raises
        ------
        DynamicsError
            The structure or the velocities cannot be used, or the engine does not know an
            element; before any step.
        """


def check_start(structure: Structure, velocities: ArrayLike | None) -> None:
    """Refuse a structure or velocities that no propagator can start from.

    Raises
    ------
    DynamicsError
        Naming what is wrong.
    """
    if not structure.is_ordered:
        raise DynamicsError(f"structure: {structure.formula} is disordered; order its sites first")
    if len(structure) < 2:
        raise DynamicsError(
            f"structure: {len(structure)} atoms; molecular dynamics needs at least two: repeat "
            "the cell"
        )
    if structure.volume < 1e-3 or not np.isfinite(structure.cart_coords).all():
        raise DynamicsError(
            f"structure: the cell is degenerate (volume {structure.volume:.3g} Å^3) or positions "
            "are not finite"
        )
    if velocities is not None:
        given = np.asarray(velocities, dtype=float)
        if given.shape != (len(structure), 3) or not np.isfinite(given).all():
            raise DynamicsError(
                f"velocities: shape {given.shape} — give ({len(structure)}, 3) finite numbers, "
                "in Å/fs"
            )


def initial_velocities(numbers: ArrayLike, temperature: float, seed: int) -> NDArray[np.float64]:
    """Draw velocities from Maxwell–Boltzmann's distribution, with the centre of mass at rest.

    Parameters
    ----------
    numbers
        (n,) atomic numbers.
    temperature
        K.
    seed
        Of numpy's default generator.

    Returns
    -------
    ndarray
        (n, 3) in Å/fs. Every propagator starts from the same ones.
    """
    masses = atomic_masses[np.asarray(numbers, dtype=int)][:, None]
    draws = np.random.default_rng(seed).standard_normal((len(masses), 3))
    velocities = draws * np.sqrt(kB * temperature / masses)
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    return velocities * fs


def internal_temperature(numbers: ArrayLike, velocities: ArrayLike) -> float:
    """The temperature of the motion about the centre of mass, K.

    Twice its kinetic energy, by the 3n - 3 degrees of freedom that it has in a periodic cell.

    Parameters
    ----------
    numbers
        (n,) atomic numbers.
    velocities
        (n, 3) in Å/fs.
    """
    masses = atomic_masses[np.asarray(numbers, dtype=int)][:, None]
    moving = np.asarray(velocities, dtype=float) / fs
    moving = moving - (masses * moving).sum(axis=0) / masses.sum()
    with np.errstate(over="ignore", invalid="ignore"):
        return float((masses * moving**2).sum() / ((3 * len(masses) - 3) * kB))


def runaway(
    settings: DynamicsSettings,
    *,
    temperature: float,
    energy: float,
    volume_ratio: float,
    numbers: NDArray[np.int64] | None = None,
    cell: ArrayLike | None = None,
    positions: ArrayLike | None = None,
) -> tuple[Failure, str] | None:
    """Whether a run has exploded.

    Parameters
    ----------
    settings
        Its bounds.
    temperature, energy
        K; eV.
    volume_ratio
        Volume by the initial one.
    numbers, cell, positions
        (n,); (3, 3) and (n, 3) in Å: distances are looked at if they are given.

    Returns
    -------
    tuple of str and str, or None
        Machine word and sentence; None if the run can go on.
    """
    if not (math.isfinite(energy) and math.isfinite(temperature) and math.isfinite(volume_ratio)):
        return "non_finite", "energy, velocities or volume are not finite"
    if temperature > settings.temperature_limit:
        return "temperature", (
            f"the temperature rose to {temperature:.5g} K, above maximum_temperature="
            f"{settings.temperature_limit:g}"
        )
    if volume_ratio > settings.maximum_volume_ratio:
        return "volume", (
            f"the volume grew to {volume_ratio:.3g} times the initial one "
            f"(maximum_volume_ratio={settings.maximum_volume_ratio:g})"
        )
    if numbers is None or cell is None or positions is None:
        return None
    return _contact(settings.minimum_distance_ratio, numbers, cell, positions)


def _contact(
    ratio: float, numbers: NDArray[np.int64], cell: ArrayLike, positions: ArrayLike
) -> tuple[Failure, str] | None:
    from matscipy.neighbours import neighbour_list

    places = np.array(positions, dtype=float)
    if not np.isfinite(places).all():
        return "non_finite", "positions are not finite"
    kinds = sorted({int(number) for number in numbers})
    cutoffs = {
        (a, b): ratio * float(covalent_radii[a] + covalent_radii[b]) for a in kinds for b in kinds
    }
    distances = neighbour_list(
        "d",
        positions=places,
        cell=np.array(cell, dtype=float),
        pbc=[True] * 3,
        numbers=np.asarray(numbers, dtype=np.int32),
        cutoff=cutoffs,
    )
    if len(distances):
        return "contact", (
            f"atoms came to {distances.min():.3g} Å of each other, nearer than "
            f"minimum_distance_ratio={ratio:g} times the sum of their covalent radii"
        )
    return None


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float | np.integer | np.floating)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )
