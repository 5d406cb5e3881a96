"""ASE's integrators with the forces of any relaxation engine.

NVE
    Velocity Verlet.
NVT
    Stochastic rescaling of the velocities: Bussi, Donadio and Parrinello, J. Chem. Phys. 126,
    014101 (2007). It samples the canonical ensemble, hardly disturbs the motion (diffusion is
    nearly that of NVE), and its target can follow a ramp. The centre of mass stays at rest, and
    the 3n - 3 other degrees of freedom are thermostatted.
NPT
    Langevin–Hoover: Quigley and Probert, J. Chem. Phys. 120, 11432 (2004), integrated as BAOAB,
    with an isotropic cell. It samples the isothermal–isobaric ensemble, its noise damps the
    oscillations that Nosé–Hoover barostats have in small stiff crystals, and its target can
    follow a ramp (that of ASE's Martyna–Tobias–Klein barostats is fixed). The motion is damped
    with ``thermostat_time``: take transport coefficients from NVT or NVE.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.md.bussi import Bussi
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa, fs, kB
from numpy.typing import NDArray
from pymatgen.core import Structure
from threadpoolctl import threadpool_limits

from crysearch.dynamics.base import (
    DynamicsSettings,
    Propagator,
    check_start,
    initial_velocities,
    internal_temperature,
    runaway,
)
from crysearch.dynamics.trajectory import DynamicsStatus, Failure, Trajectory
from crysearch.errors import DynamicsError, RelaxationError
from crysearch.relaxation.lockstep import LockstepRelaxer
from crysearch.relaxation.time_limit import EvaluationTimeout, time_limit

# Distances are looked at at least so often; temperature, energy and volume at each step.
_CONTACT_STEPS = 10
# A drift of the centre of mass below this is rounding, Å/fs.
_AT_REST = 1e-9
_INTEGRATORS = {
    "nve": "velocity Verlet",
    "nvt": "velocity Verlet, Bussi-Donadio-Parrinello velocity rescaling",
    "npt": "Langevin-Hoover BAOAB (Quigley-Probert), isotropic cell",
}


class AsePropagator(Propagator):
    """Molecular dynamics of one structure with ASE's integrators.

    Equal calls give equal trajectories to the last bit, if the engine does. A run that is
    continued with the velocities of its last frame goes on within rounding in NVE; the
    thermostats begin with new random numbers.

    Parameters
    ----------
    engine
        Gives energies, forces and stresses.
    evaluation_timeout
        Seconds (wall time) that one evaluation may take; None for no limit.
    """

    def __init__(self, engine: LockstepRelaxer, evaluation_timeout: float | None = None) -> None:
        if not isinstance(engine, LockstepRelaxer):
            raise DynamicsError(
                f"engine {getattr(engine, 'name', engine)!r} relaxes by itself and gives no "
                "forces on the way; choose an engine that evaluates"
            )
        self.engine = engine
        self.evaluation_timeout = evaluation_timeout

    @property
    def name(self) -> str:
        """``"ase:"`` and the engine."""
        return f"ase:{self.engine.name}"

    @property
    def provenance(self) -> dict[str, str]:
        """That of the engine, with ASE's version and the integrators."""
        integrators = {f"integrator_{kind}": name for kind, name in _INTEGRATORS.items()}
        return {
            **self.engine.provenance,
            "propagator": "ase",
            "ase_version": version("ase"),
            **integrators,
        }

    def run(
        self,
        structure: Structure,
        settings: DynamicsSettings,
        velocities: NDArray[np.float64] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Trajectory:
        """See :meth:`crysearch.dynamics.base.Propagator.run`."""
        check_start(structure, velocities)
        try:
            self.engine.check_elements(sorted({site.specie.symbol for site in structure}))
        except RelaxationError as error:
            raise DynamicsError(f"structure: {error}") from error
        atoms = _atoms(structure, settings, velocities)
        if settings.ensemble == "nvt" and not atoms.get_momenta().any():
            raise DynamicsError(
                "velocities: all are 0 — the thermostat of 'nvt' only rescales them; leave them "
                "out for new ones"
            )
        atoms.calc = _EngineCalculator(self.engine, self.evaluation_timeout)
        sampled = _Sampled(settings.keep_forces)
        status: DynamicsStatus = "finished"
        ended: tuple[Failure, str] | None
        with self.engine.session(), threadpool_limits(limits=1, user_api="blas"):
            try:
                # What goes wrong in earnest is not finite, and found.
                with np.errstate(all="ignore"):
                    ended = _run(atoms, settings, sampled, progress)
                status = "finished" if ended is None else "exploded"
            except EvaluationTimeout as error:
                status, ended = "failed", ("timeout", str(error))
            except Exception as error:
                status, ended = "failed", ("engine_error", f"{type(error).__name__}: {error}")
        return sampled.trajectory(atoms, status, ended)


class _EngineCalculator(Calculator):
    """An engine's evaluation as ASE's integrators ask for it."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, engine: LockstepRelaxer, timeout: float | None) -> None:
        super().__init__()
        self._engine = engine
        self._timeout = timeout

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        with time_limit(self._timeout):
            (found,) = self._engine.evaluate([atoms])
        self.results = {
            "energy": found.energy,
            "free_energy": found.energy,
            "forces": found.forces,
            "stress": full_3x3_to_voigt_6_stress(found.stress * GPa),
        }


class _Sampled:
    """The frames so far."""

    def __init__(self, keep_forces: bool) -> None:
        self._keep_forces = keep_forces
        self._rows: dict[str, list[Any]] = {
            name: []
            for name in (
                "steps",
                "times",
                "temperatures",
                "pressures",
                "potential_energies",
                "total_energies",
                "cells",
                "positions",
                "forces",
            )
        }
        self._velocities: NDArray[np.float64] | None = None

    def add(self, atoms: Atoms, step: int, timestep: float, temperature: float) -> None:
        energy, kinetic = float(atoms.get_potential_energy()), float(atoms.get_kinetic_energy())
        virial = -float(np.trace(atoms.get_stress(voigt=False))) / 3
        here = {
            "steps": step,
            "times": step * timestep / 1000,
            "temperatures": temperature,
            "pressures": (virial + 2 * kinetic / (3 * atoms.get_volume())) / GPa,
            "potential_energies": energy,
            "total_energies": energy + kinetic,
            "cells": atoms.cell.array.copy(),
            "positions": atoms.get_positions(),
        }
        if self._keep_forces:
            here["forces"] = atoms.get_forces()
        for name, value in here.items():
            self._rows[name].append(value)
        self._velocities = atoms.get_velocities() * fs

    def trajectory(
        self, atoms: Atoms, status: DynamicsStatus, ended: tuple[Failure, str] | None
    ) -> Trajectory:
        n = len(atoms)
        shapes = {"cells": (-1, 3, 3), "positions": (-1, n, 3), "forces": (-1, n, 3)}
        arrays: dict[str, Any] = {
            name: np.array(rows, dtype=np.int64 if name == "steps" else np.float64).reshape(
                shapes.get(name, (-1,))
            )
            for name, rows in self._rows.items()
        }
        if not self._keep_forces:
            arrays["forces"] = None
        return Trajectory(
            numbers=np.array(atoms.numbers, dtype=np.int64),
            **arrays,
            velocities_of_last=np.zeros((n, 3)) if self._velocities is None else self._velocities,
            status=status,
            failure=None if ended is None else ended[0],
            failure_detail=None if ended is None else ended[1],
        )


def _atoms(
    structure: Structure, settings: DynamicsSettings, velocities: NDArray[np.float64] | None
) -> Atoms:
    atoms = Atoms(
        numbers=[site.specie.Z for site in structure],
        cell=structure.lattice.matrix,
        positions=structure.cart_coords,
        pbc=True,
    )
    if velocities is None:
        moving = initial_velocities(atoms.numbers, settings.temperature, settings.seed)
    else:
        moving = np.array(velocities, dtype=float)
        masses = atoms.get_masses()[:, None]
        drift = (masses * moving).sum(axis=0) / masses.sum()
        if settings.ensemble != "npt" and np.abs(drift).max() > _AT_REST:
            moving = moving - drift
    atoms.set_velocities(moving / fs)
    return atoms


def _integrator(atoms: Atoms, settings: DynamicsSettings) -> MolecularDynamics:
    timestep = settings.timestep * fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    # Another stream than that of the initial velocities.
    random = np.random.default_rng([settings.seed, 1])
    if settings.ensemble == "nvt":
        thermostat = Bussi(
            atoms, timestep, settings.temperature, settings.thermostat_time * fs, rng=random
        )
        # ASE counts those of the centre of mass, which is at rest.
        thermostat.ndof = 3 * len(atoms) - 3
        _retarget(thermostat, settings.temperature)
        return thermostat
    with warnings.catch_warnings():
        # That the mass of the barostat is made from barostat_time.
        warnings.filterwarnings("ignore", message="Using heuristic P_mass")
        return LangevinBAOAB(
            atoms,
            timestep,
            temperature_K=settings.temperature,
            externalstress=-settings.pressure * GPa,
            hydrostatic=True,
            T_tau=settings.thermostat_time * fs,
            P_tau=settings.barostat_time * fs,
            rng=random,
        )


def _retarget(dynamics: MolecularDynamics, temperature: float) -> None:
    """Give a thermostat another target, K."""
    if isinstance(dynamics, Bussi):
        dynamics.target_kinetic_energy = 0.5 * dynamics.ndof * kB * temperature
    elif isinstance(dynamics, LangevinBAOAB):
        dynamics.set_temperature(temperature)


def _run(
    atoms: Atoms,
    settings: DynamicsSettings,
    sampled: _Sampled,
    progress: Callable[[int], None] | None,
) -> tuple[Failure, str] | None:
    """Go through the steps; returns why the run exploded, or None."""
    numbers, volume = np.array(atoms.numbers), atoms.get_volume()
    looked_at = min(settings.sample_every, _CONTACT_STEPS)
    dynamics = _integrator(atoms, settings)
    before = settings.equilibration_steps
    for done, _ in enumerate(dynamics.irun(before + settings.steps)):
        step = done - before
        temperature = internal_temperature(numbers, atoms.get_velocities() * fs)
        kept = step >= 0 and step % settings.sample_every == 0
        close = kept or not done or step % looked_at == 0
        exploded = runaway(
            settings,
            temperature=temperature,
            energy=float(atoms.get_potential_energy()),
            volume_ratio=atoms.get_volume() / volume,
            numbers=numbers if close else None,
            cell=atoms.cell.array,
            positions=atoms.positions,
        )
        if exploded is not None:
            return exploded
        if kept:
            sampled.add(atoms, step, settings.timestep, temperature)
        if settings.final_temperature is not None:
            _retarget(dynamics, settings.target_temperature(step + 1))
        if progress is not None and done:
            progress(1)
    return None
