"""What every propagator must do, as checks that a test suite runs on each of them.

A test parametrises over :data:`CHECKS`::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_propagator(check, propagator, case):
        check(propagator, case)

A check raises ``AssertionError`` with a sentence when the propagator breaks the contract.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from ase.data import atomic_masses
from ase.units import GPa, fs, kB
from pymatgen.core import Structure

from crysearch.dynamics.averages import Mean, drift_of, mean_of
from crysearch.dynamics.base import (
    DynamicsSettings,
    Ensemble,
    Propagator,
    Trajectory,
    initial_velocities,
)
from crysearch.errors import DynamicsError
from crysearch.relaxation.base import Relaxer


@dataclass(frozen=True)
class DynamicsCase:
    """What the checks need to know.

    Attributes
    ----------
    structure
        A solid near its equilibrium, some tens of atoms: the more, the shorter the runs can be.
    engine
        The same model as a relaxation engine, for energies and pressures of single frames.
    temperature
        K, at which the solid stays one.
    timestep
        The longest with which the energy is well conserved, fs.
    steps
        Of the runs whose means are looked at; they follow a third as many for equilibration.
    pressure
        Target of the NPT run, GPa.
    tension
        Pressure at which the solid comes apart, GPa, negative.
    unknown
        A structure with an element that the engine does not know; None if it knows all.
    energy_noise, pressure_noise
        What energies (eV/atom) and pressures (GPa) of one frame may differ between the propagator
        and the engine.
    drift
        Of the total energy in NVE, eV per atom and ps, at most.
    continued_noise
        What the positions of a run and of one continued half-way may differ at the end, Å; None
        where a run cannot be continued so.
    """

    structure: Structure
    engine: Relaxer
    temperature: float = 300.0
    timestep: float = 4.0
    steps: int = 1200
    pressure: float = 2.0
    tension: float = -100.0
    unknown: Structure | None = None
    energy_noise: float = 1e-8
    pressure_noise: float = 1e-5
    drift: float = 1e-3
    continued_noise: float | None = 1e-7

    def settings(self, ensemble: Ensemble, steps: int, **changes: object) -> DynamicsSettings:
        """Settings of a run with the case's temperature and time step."""
        plain = DynamicsSettings(
            ensemble,
            self.temperature,
            steps,
            seed=5,
            timestep=self.timestep,
            sample_every=1 if steps % 10 else 10,
            thermostat_time=12 * self.timestep,
            barostat_time=60 * self.timestep,
            pressure=self.pressure if ensemble == "npt" else 0.0,
        )
        return replace(plain, **changes)  # type: ignore[arg-type]


ENSEMBLES: tuple[Ensemble, ...] = ("nve", "nvt", "npt")


def check_frames_and_progress(propagator: Propagator, case: DynamicsCase) -> None:
    """Frames are where they should be, and every step is counted once."""
    for ensemble in ENSEMBLES:
        counted: list[int] = []
        settings = case.settings(ensemble, 12, sample_every=4, equilibration_steps=5)
        run = propagator.run(case.structure, settings, progress=counted.append)
        assert run.status == "finished" and run.failure is None, f"{run.failure_detail}"
        assert run.steps.tolist() == [0, 4, 8, 12], f"frames at {run.steps}"
        np.testing.assert_allclose(run.times, run.steps * case.timestep / 1000)
        assert sum(counted) == 17, "progress counts every step once"
        assert run.numbers.tolist() == list(case.structure.atomic_numbers), "sites keep their order"
        assert run.forces is None
        changed = np.ptp(run.volumes) > 0
        assert changed == (ensemble == "npt"), "the volume changes in NPT only"


def check_first_frame(propagator: Propagator, case: DynamicsCase) -> None:
    """Energies, forces and pressure at the beginning are those of engine and velocities."""
    settings = case.settings("nve", 1, sample_every=1, keep_forces=True)
    run = propagator.run(case.structure, settings)
    (single,) = case.engine.single_point([case.structure])
    found = single.evaluation
    assert found is not None, single.failure_detail
    atoms = len(case.structure)
    velocities = initial_velocities(run.numbers, case.temperature, settings.seed) / fs
    kinetic = 0.5 * float((atomic_masses[run.numbers][:, None] * velocities**2).sum())
    assert run.forces is not None
    np.testing.assert_allclose(run.positions[0], case.structure.cart_coords, atol=1e-6)
    np.testing.assert_allclose(run.forces[0], found.forces, atol=1e-4)
    assert abs(run.potential_energies[0] - found.energy) < case.energy_noise * atoms
    total = run.total_energies[0] - run.potential_energies[0]
    assert abs(total - kinetic) < 1e-4 * kinetic, "the total energy has the kinetic one added"
    expected = 2 * kinetic / ((3 * atoms - 3) * kB)
    assert abs(run.temperatures[0] / expected - 1) < 1e-4, "3n - 3 degrees of freedom"
    virial = -float(np.trace(found.stress)) / 3
    pressure = virial + 2 * kinetic / (3 * case.structure.volume) / GPa
    assert abs(run.pressures[0] - pressure) < case.pressure_noise, "pressure of virial and motion"


def check_determinism(propagator: Propagator, case: DynamicsCase) -> None:
    """Equal seeds give equal trajectories to the last bit, and other seeds others."""
    for ensemble in ENSEMBLES:
        settings = case.settings(ensemble, 20)
        first, second, other = (
            propagator.run(case.structure, replace(settings, seed=seed)) for seed in (5, 5, 6)
        )
        assert first.to_bytes() == second.to_bytes(), f"{ensemble}: not the same twice"
        assert np.abs(first.positions - other.positions).max() > 1e-3, f"{ensemble}: same seed"


def check_energy_is_conserved(propagator: Propagator, case: DynamicsCase) -> None:
    """In NVE the total energy does not drift, and its fluctuations fall as the time step²."""
    spread = []
    for part in (1, 2):
        settings = case.settings(
            "nve", 120 * part, timestep=case.timestep / part, sample_every=part
        )
        run = propagator.run(case.structure, settings)
        spread.append(float(run.total_energies.std()))
        drift = drift_of(run.times, run.total_energies, len(run.numbers))
        assert drift is not None and abs(drift) < case.drift, f"drift {drift} eV/atom/ps"
        exchanged = float(run.potential_energies.std())
        assert spread[-1] < 0.05 * exchanged, "energy goes to and fro, and its sum stays"
    ratio = spread[0] / spread[1]
    assert 2.5 < ratio < 6.5, f"fluctuations fell {ratio:.2f}-fold with half the time step, not 4"


def check_thermostat(propagator: Propagator, case: DynamicsCase) -> None:
    """In NVT the kinetic energy has the mean and the fluctuations of the canonical ensemble."""
    run = propagator.run(case.structure, _sampling(case, "nvt"))
    _check_temperature(run, case)
    freedom = 3 * len(run.numbers) - 3
    relative = run.temperatures.std() / run.temperatures.mean()
    ratio = relative / np.sqrt(2 / freedom)
    assert 0.65 < ratio < 1.4, f"the temperature fluctuates {ratio:.2f} times as in theory"


def check_barostat(propagator: Propagator, case: DynamicsCase) -> None:
    """In NPT pressure and temperature have their targets as means."""
    run = propagator.run(case.structure, _sampling(case, "npt"))
    _check_temperature(run, case)
    # The fluctuating part of the pressure is large: it is the mean that is set.
    found = mean_of(run.pressures)
    allowed = 4 * _error(found) + 0.02
    assert abs(found.mean - case.pressure) < allowed, f"pressure {found}, target {case.pressure}"
    assert allowed < max(1.0, abs(case.pressure)), f"too short to tell the pressure: {found}"
    shapes = run.cells / np.cbrt(run.volumes)[:, None, None]
    assert np.ptp(shapes, axis=0).max() < 1e-9, "the shape of the cell stays"


def check_ramp(propagator: Propagator, case: DynamicsCase) -> None:
    """The temperature follows a target that changes."""
    # Hot enough that the lattice, which begins without potential energy, does not decide.
    settings = case.settings(
        "nvt",
        case.steps // 2,
        equilibration_steps=case.steps // 6,
        final_temperature=0.25 * case.temperature,
    )
    run = propagator.run(case.structure, settings)
    quarter = len(run) // 4
    first, last = run.temperatures[:quarter].mean(), run.temperatures[-quarter:].mean()
    noise = 0.4
    assert abs(first / (0.906 * case.temperature) - 1) < noise, f"began at {first:.0f} K"
    assert abs(last / (0.344 * case.temperature) - 1) < noise, f"ended at {last:.0f} K"


def check_explosions(propagator: Propagator, case: DynamicsCase) -> None:
    """A run that passes a bound ends there with its frames and a reason, and raises nothing."""
    near = case.structure.copy()
    step = 0.2 * (near[1].coords - near[0].coords) / near.get_distance(0, 1)
    near.translate_sites([0], near.lattice.get_fractional_coords(near[1].coords - step))
    near.translate_sites([0], -case.structure.frac_coords[0])
    run = propagator.run(near, case.settings("nve", 100))
    assert run.status == "exploded" and run.failure in ("contact", "temperature", "non_finite"), (
        f"atoms that are near: {run.status}, {run.failure}"
    )
    assert run.failure_detail

    hot = case.settings("nve", 200, sample_every=1, maximum_temperature=1.001 * case.temperature)
    kicked = 1.1 * initial_velocities(case.structure.atomic_numbers, case.temperature, 3)
    run = propagator.run(case.structure, hot, kicked)
    assert (run.status, run.failure) == ("exploded", "temperature"), f"{run.status} {run.failure}"
    assert len(run) < 201

    torn = case.settings("npt", 2000, pressure=case.tension, maximum_volume_ratio=1.2)
    run = propagator.run(case.structure, torn)
    assert run.status == "exploded", f"under tension: {run.status}"
    assert run.failure in ("volume", "temperature", "contact", "non_finite"), f"{run.failure}"
    assert 0 < len(run) < 201, f"{len(run)} frames are kept"
    assert np.isfinite(run.positions).all() and np.isfinite(run.total_energies).all()
    assert run.volumes.max() < 1.2 * case.structure.volume * (1 + 1e-9)


def check_continued(propagator: Propagator, case: DynamicsCase) -> None:
    """Two runs of which the second goes on from the first are one run, in NVE."""
    if case.continued_noise is None:
        return
    whole = propagator.run(case.structure, case.settings("nve", 60))
    half = propagator.run(case.structure, case.settings("nve", 30))
    stored = Trajectory.from_bytes(half.to_bytes())
    rest = propagator.run(stored.frame(-1), case.settings("nve", 30), stored.velocities_of_last)
    at_end = rest.frame(-1)
    moved = at_end.lattice.get_all_distances(whole.frame(-1).frac_coords, at_end.frac_coords)
    distance = float(np.diag(moved).max())
    assert distance < case.continued_noise, f"continued, it ends {distance} Å away"
    np.testing.assert_allclose(rest.temperatures[-1], whole.temperatures[-1], rtol=1e-5)


def check_bad_input(propagator: Propagator, case: DynamicsCase) -> None:
    """What cannot be run is refused before any step."""
    settings = case.settings("nve", 10)
    disordered = case.structure.copy()
    symbol = disordered[0].specie.symbol
    disordered[0] = {symbol: 0.5}
    bad = [(disordered, None), (case.structure, np.zeros((1, 3)))]
    bad += [] if case.unknown is None else [(case.unknown, None)]
    for structure, velocities in bad:
        steps: list[int] = []
        try:
            propagator.run(structure, settings, velocities, steps.append)
        except DynamicsError:
            assert not steps
        else:
            raise AssertionError(f"{structure.formula} was not refused")


def check_provenance(propagator: Propagator, case: DynamicsCase) -> None:
    """The record says which engine, model and packages."""
    assert propagator.name
    for key in ("engine", "package", "package_version", "model", "propagator"):
        assert propagator.provenance.get(key), f"provenance lacks {key!r}"
    assert all(isinstance(value, str) for value in propagator.provenance.values())


CHECKS: tuple[Callable[[Propagator, DynamicsCase], None], ...] = (
    check_frames_and_progress,
    check_first_frame,
    check_determinism,
    check_energy_is_conserved,
    check_thermostat,
    check_barostat,
    check_ramp,
    check_explosions,
    check_continued,
    check_bad_input,
    check_provenance,
)
"""Every check, in the order in which a broken propagator is best understood."""


def _sampling(case: DynamicsCase, ensemble: Ensemble) -> DynamicsSettings:
    return case.settings(ensemble, case.steps, sample_every=2, equilibration_steps=case.steps // 3)


def _check_temperature(run: Trajectory, case: DynamicsCase) -> None:
    found = mean_of(run.temperatures)
    allowed = 4 * _error(found)
    assert abs(found.mean - case.temperature) < allowed, f"{found}, target {case.temperature} K"
    assert allowed < 0.2 * case.temperature, f"too short to tell the temperature: {found}"


def _error(found: Mean) -> float:
    assert found.standard_error is not None, f"the run is too short: {found}"
    return found.standard_error
