"""Molecular dynamics by LAMMPS, for the potentials that it calculates itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from numpy.typing import NDArray
from pymatgen.core import Structure

from crysearch.dynamics.base import (
    DynamicsSettings,
    Failure,
    Propagator,
    check_start,
    initial_velocities,
    internal_temperature,
    runaway,
)
from crysearch.dynamics.trajectory import DynamicsStatus, Trajectory
from crysearch.errors import DynamicsError, RelaxationError
from crysearch.relaxation.lammps import find_contact
from crysearch.relaxation.lammps_models import LammpsModel
from crysearch.relaxation.lammps_runtime import (
    GPA_PER_BAR,
    Orientation,
    fill_box,
    open_lammps,
    per_atom,
)

#: Steps between two looks at whether the run has exploded, at most.
_STRIDE = 100

#: What LAMMPS says of atoms that have flown apart, rather than of itself.
_EXPLODED = (
    "Lost atoms",
    "Out of range atoms",
    "Non-numeric",
    "missing on proc",
    "neighbor bins",
)

_SKIN = 1.5
_FS_PER_PS = 1000.0


class LammpsPropagator(Propagator):
    """LAMMPS' integrators with one of LAMMPS' potentials, in this process.

    NVE is velocity Verlet. NVT adds Bussi, Donadio and Parrinello's stochastic rescaling of the
    velocities (J. Chem. Phys. 126, 014101, 2007), which has no oscillations when the target
    changes; NPT has Martyna, Tobias and Klein's barostat besides (J. Chem. Phys. 101, 4177, 1994),
    isotropic.

    For ions, the energies of NPT runs are LAMMPS' own, whose potential is cut without a shift: they
    differ from those of the relaxation engine by what a uniform density differs from the true one
    at the cut-off (of the order of 0.1 meV/atom). Forces and pressures do not differ.

    Parameters
    ----------
    model
        The potential.

    Raises
    ------
    DynamicsError
        If LAMMPS is missing, with the command that brings it.
    """

    def __init__(self, model: LammpsModel) -> None:
        self.model = model
        try:
            open_lammps().close()
        except RelaxationError as error:
            raise DynamicsError(str(error)) from error

    @property
    def name(self) -> str:
        """``"lammps:"`` and the engine with the same potential."""
        return f"lammps:{self.model.engine}"

    @property
    def provenance(self) -> dict[str, str]:
        """Engine, LAMMPS' version, model and integrators."""
        return {
            "propagator": self.name,
            "engine": self.model.engine,
            "package": "lammps",
            "package_version": version("lammps"),
            "model": self.model.label,
            "dtype": "float64",
            "nve": "velocity Verlet",
            "nvt": "velocity Verlet, stochastic velocity rescaling (Bussi 2007)",
            "npt": "the same, Martyna–Tobias–Klein barostat, isotropic",
            **self.model.parameters,
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
        symbols = [site.specie.symbol for site in structure]
        try:
            types = self.model.types(symbols)
        except RelaxationError as error:
            raise DynamicsError(str(error)) from error
        numbers = np.array(structure.atomic_numbers, dtype=np.int64)
        if velocities is None:
            velocities = initial_velocities(numbers, settings.temperature, settings.seed)
        run = _Run(self.model, structure, numbers, types, settings)
        try:
            run.go(np.asarray(velocities, dtype=float), progress)
        finally:
            run.close()
        return run.trajectory()


class _Ended(Exception):
    """The run cannot go on."""

    def __init__(self, status: DynamicsStatus, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.status: DynamicsStatus = status
        self.failure: Failure = failure
        self.detail = detail


class _Run:
    """One run: an instance of LAMMPS and the frames so far."""

    def __init__(
        self,
        model: LammpsModel,
        structure: Structure,
        numbers: NDArray[np.int64],
        types: list[int],
        settings: DynamicsSettings,
    ) -> None:
        self.model, self.settings = model, settings
        self.numbers, self.types = numbers, types
        self.positions = np.array(structure.cart_coords, dtype=float)
        self.orientation = Orientation.of(np.array(structure.lattice.matrix, dtype=float))
        self.volume = float(structure.volume)
        counts = {symbol: types.count(i) for i, symbol in enumerate(model.symbols, start=1)}
        # With a barostat, LAMMPS has to know all of the pressure.
        self.lammps_tail = settings.ensemble == "npt"
        self.tail = 0.0 if self.lammps_tail else model.tail(counts)
        self.frames: list[dict[str, Any]] = []
        self.velocities = np.zeros((len(numbers), 3))
        self.status: DynamicsStatus = "finished"
        self.failure: Failure | None = None
        self.failure_detail: str | None = None
        self.lammps: Any = open_lammps()

    def close(self) -> None:
        self.lammps.close()

    def go(self, velocities: NDArray[np.float64], progress: Callable[[int], None] | None) -> None:
        """Run to the end, or to where it ends early."""
        try:
            self._prepare(velocities)
            for done in self._steps():
                if progress is not None and done:
                    progress(done)
        except _Ended as ended:
            self.status, self.failure = ended.status, ended.failure
            self.failure_detail = ended.detail

    def _steps(self) -> Iterator[int]:
        """Advance and sample; gives the steps done since the last time."""
        settings = self.settings
        self._check()
        start = settings.equilibration_steps
        for done in _pieces(start):
            self._advance(done, 0, start)
            self._check()
            yield done
        if settings.final_temperature is not None and start:
            self._integrators(settings.temperature, settings.final_temperature)
            self._command("run 0 post no")
        self._sample(0)
        for frame in range(1, settings.frames):
            for done in _pieces(settings.sample_every):
                self._advance(done, start, start + settings.steps)
                self._check()
                yield done
            self._sample(frame * settings.sample_every)

    def _prepare(self, velocities: NDArray[np.float64]) -> None:
        settings, model = self.settings, self.model
        try:
            fill_box(
                self.lammps,
                self.orientation,
                self.positions,
                self.types,
                model.masses,
                model.charges,
                skin=_SKIN,
            )
        except Exception as error:
            raise _Ended("failed", "engine_error", _sentence(error)) from error
        # LAMMPS wraps the atoms: whole lattice vectors bring them back to where they were.
        lower = self.orientation.cell
        moved = self.orientation.vectors(self.positions) - per_atom(self.lammps, "x")
        self.images = np.rint(np.linalg.solve(lower.T, moved.T).T)
        for command in model.commands(len(self.types), dynamics=True, tail=self.lammps_tail):
            self._command(command)
        count = int(self.lammps.extract_global("nlocal"))
        ids = np.array(self.lammps.numpy.extract_atom("id")[:count])
        self.lammps.numpy.extract_atom("v")[:count] = (
            self.orientation.vectors(velocities) * _FS_PER_PS
        )[ids - 1]
        self._command("compute unwrapped all property/atom xu yu zu")
        self._command("thermo_style custom step pe ke press vol")
        self._command("thermo_modify norm no lost error")
        self._command(f"timestep {settings.timestep / _FS_PER_PS:.17g}")
        final = settings.final_temperature
        equilibrating = settings.equilibration_steps > 0
        self._integrators(
            settings.temperature,
            settings.temperature if final is None or equilibrating else final,
        )
        self._command("run 0 post no")

    def _integrators(self, temperature: float, final: float) -> None:
        """(Re)define what integrates; the thermostat's target goes between the temperatures."""
        settings = self.settings
        for name in ("integrator", "thermostat"):
            if self.lammps.has_id("fix", name):
                self._command(f"unfix {name}")
        target = f"{temperature:.17g} {final:.17g}"
        time = settings.thermostat_time / _FS_PER_PS
        if settings.ensemble == "npt":
            pressure = settings.pressure / GPA_PER_BAR
            barostat = settings.barostat_time / _FS_PER_PS
            self._command(
                f"fix integrator all nph iso {pressure:.17g} {pressure:.17g} {barostat:.17g} "
                f"ptemp {(temperature + final) / 2:.17g}"
            )
        else:
            self._command("fix integrator all nve")
        if settings.ensemble != "nve":
            # LAMMPS takes seeds from 1 to 900,000,000.
            draw = np.random.SeedSequence([settings.seed, bool(temperature != final)])
            seed = int(draw.generate_state(1)[0]) % 900_000_000 + 1
            self._command(f"fix thermostat all temp/csvr {target} {time:.17g} {seed}")

    def _advance(self, steps: int, start: int, stop: int) -> None:
        self._command(f"run {steps} start {start} stop {stop} pre no post no")

    def _command(self, command: str) -> None:
        try:
            self.lammps.command(command)
        except Exception as error:
            sentence = _sentence(error)
            if any(words in sentence for words in _EXPLODED):
                raise _Ended(
                    "exploded", "non_finite", f"the atoms or the cell flew apart: {sentence}"
                ) from error
            raise _Ended("failed", "engine_error", sentence) from error

    def _state(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Cell (3, 3), unwrapped positions and velocities (n, 3), crystal's axes; Å, Å/fs."""
        low, high, xy, yz, xz, _, _ = self.lammps.extract_box()
        lengths = np.subtract(high, low)
        box = np.array([[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]])
        count = int(self.lammps.extract_global("nlocal"))
        ids = np.array(self.lammps.numpy.extract_atom("id")[:count])
        unwrapped = np.empty((count, 3))
        unwrapped[ids - 1] = self.lammps.numpy.extract_compute("unwrapped", 1, 2)[:count]
        back = self.orientation.vectors_back
        positions = back(unwrapped - np.array(low) + self.images @ box)
        return (
            self.orientation.cell_back(box),
            positions,
            back(per_atom(self.lammps, "v")) / _FS_PER_PS,
        )

    def _check(self) -> None:
        """End the run if it has exploded."""
        cell, positions, velocities = self._state()
        found = runaway(
            self.settings,
            temperature=internal_temperature(self.numbers, velocities),
            energy=float(self.lammps.get_thermo("pe")),
            volume_ratio=float(abs(np.linalg.det(cell))) / self.volume,
            numbers=self.numbers,
            cell=cell,
            positions=positions,
        )
        if found is None:
            atoms = Atoms(numbers=self.numbers, positions=positions, cell=cell, pbc=True)
            contact = find_contact(self.model, atoms)
            found = None if contact is None else ("contact", contact)
        if found is not None:
            raise _Ended("exploded", *found)

    def _sample(self, step: int) -> None:
        cell, positions, self.velocities = self._state()
        volume = float(abs(np.linalg.det(cell)))
        potential = float(self.lammps.get_thermo("pe")) + self.tail / volume
        frame = {
            "steps": step,
            "times": step * self.settings.timestep / _FS_PER_PS,
            "temperatures": internal_temperature(self.numbers, self.velocities),
            "pressures": float(self.lammps.get_thermo("press")) * GPA_PER_BAR
            + self.tail / volume**2 / GPa,
            "potential_energies": potential,
            "total_energies": potential + float(self.lammps.get_thermo("ke")),
            "cells": cell,
            "positions": positions,
        }
        if self.settings.keep_forces:
            frame["forces"] = self.orientation.vectors_back(per_atom(self.lammps, "f"))
        self.frames.append(frame)

    def trajectory(self) -> Trajectory:
        """What was sampled."""
        count, atoms = len(self.frames), len(self.numbers)

        def gathered(name: str, *shape: int) -> NDArray[Any]:
            return np.array([frame[name] for frame in self.frames]).reshape(count, *shape)

        return Trajectory(
            numbers=self.numbers,
            steps=gathered("steps").astype(np.int64),
            times=gathered("times"),
            temperatures=gathered("temperatures"),
            pressures=gathered("pressures"),
            potential_energies=gathered("potential_energies"),
            total_energies=gathered("total_energies"),
            cells=gathered("cells", 3, 3),
            positions=gathered("positions", atoms, 3),
            velocities_of_last=self.velocities,
            forces=gathered("forces", atoms, 3) if self.settings.keep_forces else None,
            status=self.status,
            failure=self.failure,
            failure_detail=self.failure_detail,
        )


def _pieces(steps: int) -> Iterator[int]:
    """Steps in portions after each of which the run is looked at."""
    while steps > 0:
        piece = min(steps, _STRIDE)
        yield piece
        steps -= piece


def _sentence(error: Exception) -> str:
    """LAMMPS' message without its frame."""
    return " ".join(str(error).removeprefix("ERROR:").split())
