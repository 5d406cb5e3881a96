"""Settings, initial velocities, bounds and trajectories."""

from __future__ import annotations

from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase.units import fs, kB
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from crysearch.dynamics import DynamicsSettings, Trajectory
from crysearch.dynamics.base import check_start, initial_velocities, internal_temperature, runaway
from crysearch.errors import DynamicsError

NVT = DynamicsSettings("nvt", 300.0, 100, 1)


def trajectory(frames: int = 4, atoms: int = 3, **changes) -> Trajectory:
    random = np.random.default_rng(0)
    fields = {
        "numbers": np.array([14] * atoms),
        "steps": np.arange(frames) * 10,
        "times": np.arange(frames) * 0.01,
        **{
            name: random.normal(size=frames)
            for name in ("temperatures", "pressures", "potential_energies", "total_energies")
        },
        "cells": np.eye(3) * 5.0 + random.normal(scale=0.1, size=(frames, 3, 3)),
        "positions": random.normal(scale=20.0, size=(frames, atoms, 3)),
        "velocities_of_last": random.normal(size=(atoms, 3)),
    }
    return Trajectory(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ensemble": "nph"}, "ensemble='nph'"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"steps": 0}, "steps=0"),
        ({"steps": 101}, "steps=101"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": True}, "seed=True"),
        ({"pressure": 1.0}, "pressure=1"),
        ({"pressure": float("inf"), "ensemble": "npt"}, "pressure=inf"),
        ({"ensemble": "nve", "final_temperature": 100.0}, "final_temperature=100"),
        ({"timestep": 0.0}, "timestep=0.0"),
        ({"thermostat_time": 1.0}, "thermostat_time=1"),
        ({"maximum_temperature": 200.0}, "maximum_temperature=200"),
        ({"maximum_volume_ratio": 0.5}, "maximum_volume_ratio=0.5"),
        ({"equilibration_steps": 1.5}, "equilibration_steps=1.5"),
    ],
)
def test_wrong_settings_are_refused_by_name(changes, named):
    with pytest.raises(DynamicsError, match=named.replace("(", r"\(")):
        replace(NVT, **changes)


def test_target_follows_the_ramp_and_stays_within_it():
    ramp = replace(NVT, final_temperature=100.0)
    assert [ramp.target_temperature(step) for step in (-5, 0, 50, 100, 200)] == [
        300,
        300,
        200,
        100,
        100,
    ]
    assert NVT.target_temperature(50) == 300
    assert NVT.temperature_limit == 4000 and ramp.frames == 11


def test_initial_velocities_are_maxwell_boltzmann_at_rest():
    numbers = np.array([14, 79] * 4000)
    velocities = initial_velocities(numbers, 500.0, 3)
    masses = np.array([28.085, 196.966570] * 4000)
    assert np.abs(masses @ velocities).max() < 1e-7
    for kind, mass in ((0, 28.085), (1, 196.96657)):
        spread = (velocities[kind::2] / fs).std() ** 2 * mass / kB
        assert spread == pytest.approx(500, rel=0.03)
    assert internal_temperature(numbers, velocities) == pytest.approx(500, rel=0.02)
    drifting = velocities + np.array([0.3, 0.0, -1.0])
    assert internal_temperature(numbers, drifting) == pytest.approx(
        internal_temperature(numbers, velocities)
    )
    assert (initial_velocities(numbers, 500.0, 3) == velocities).all()
    assert (initial_velocities(numbers, 500.0, 4) != velocities).any()


@given(seed=st.integers(0, 2**32 - 1), atoms=st.integers(2, 20))
def test_the_centre_of_mass_rests(seed, atoms):
    numbers = np.random.default_rng(seed).integers(1, 90, atoms)
    velocities = initial_velocities(numbers, 300.0, seed)
    assert np.isfinite(velocities).all()
    # Equal to within rounding: the temperature about the centre of mass is all there is.
    from ase import Atoms

    atoms_ = Atoms(numbers=numbers, velocities=velocities / fs)
    whole = 2 * atoms_.get_kinetic_energy() / ((3 * atoms - 3) * kB)
    assert internal_temperature(numbers, velocities) == pytest.approx(whole, rel=1e-9)


def test_bounds():
    fine = {"temperature": 300.0, "energy": -1.0, "volume_ratio": 1.0}
    assert runaway(NVT, **fine) is None
    for change, word in (
        ({"temperature": 4001.0}, "temperature"),
        ({"volume_ratio": 4.1}, "volume"),
        ({"energy": float("nan")}, "non_finite"),
        ({"temperature": float("inf")}, "non_finite"),
    ):
        found = runaway(NVT, **(fine | change))
        assert found is not None and found[0] == word
    numbers, cell = np.array([14, 14]), np.eye(3) * 10
    # 0.35 times twice 1.11 Å are 0.777 Å; the second pair is near through the boundary.
    for second, near in (([0, 0, 0.78], False), ([0, 0, 0.77], True), ([0, 0, 9.3], True)):
        places = np.array([[0, 0, 0], second], dtype=float)
        found = runaway(NVT, **fine, numbers=numbers, cell=cell, positions=places)
        assert (found is not None and found[0] == "contact") == near
    places = np.array([[0, 0, 0], [0, 0, np.nan]])
    found = runaway(NVT, **fine, numbers=numbers, cell=cell, positions=places)
    assert found is not None and found[0] == "non_finite"


def test_structures_that_cannot_start():
    box = Lattice.cubic(5)
    for structure, word in (
        (Structure(box, ["Si"], [[0, 0, 0]]), "at least two"),
        (Structure(box, [{"Si": 0.5, "Ge": 0.5}] * 2, [[0, 0, 0], [0.5] * 3]), "disordered"),
        (Structure(box, ["Si"] * 2, [[0, 0, 0], [np.nan] * 3]), "not finite"),
    ):
        with pytest.raises(DynamicsError, match=word):
            check_start(structure, None)
    pair = Structure(box, ["Si"] * 2, [[0, 0, 0], [0.5] * 3])
    check_start(pair, np.zeros((2, 3)))
    with pytest.raises(DynamicsError, match=r"velocities: shape \(3,\)"):
        check_start(pair, np.zeros(3))


@pytest.mark.parametrize("forces", [False, True])
@pytest.mark.parametrize("frames", [0, 1, 4])
def test_trajectory_as_bytes(frames, forces):
    given = trajectory(
        frames,
        forces=np.ones((frames, 3, 3)) / 3 if forces else None,
        status="exploded",
        failure="contact",
        failure_detail="near",
    )
    data = given.to_bytes()
    assert data == given.to_bytes()
    back = Trajectory.from_bytes(data)
    for name in ("numbers", "steps", "times", "temperatures", "pressures", "cells"):
        assert (getattr(back, name) == getattr(given, name)).all()
    np.testing.assert_allclose(back.positions, given.positions, atol=1e-5)
    assert (back.positions[-1:] == given.positions[-1:]).all()
    assert (back.velocities_of_last == given.velocities_of_last).all()
    assert (back.forces is None) == (not forces)
    assert (back.status, back.failure, back.failure_detail) == ("exploded", "contact", "near")


def test_damaged_bytes_are_noticed():
    data = bytearray(trajectory().to_bytes())
    data[-5] ^= 1
    with pytest.raises(DynamicsError, match=r"damaged .* run the molecular dynamics again"):
        Trajectory.from_bytes(bytes(data))


def test_frames_densities_and_files(tmp_path):
    cells = np.stack([np.eye(3) * 5.431] * 2)
    run = trajectory(2, 8, cells=cells)
    # A cubic cell of silicon: 2.329 g/cm³.
    np.testing.assert_allclose(run.densities, 2.329, atol=2e-3)
    frame = run.frame(0)
    assert frame.composition.formula == "Si8"
    assert (frame.frac_coords >= 0).all() and (frame.frac_coords < 1).all()
    for name in ("run.extxyz", "run.traj"):
        run.write(tmp_path / name)
        read = ase.io.read(tmp_path / name, ":")
        assert len(read) == 2
        np.testing.assert_allclose(read[1].positions, run.positions[1], atol=1e-7)
        assert read[0].get_potential_energy() == pytest.approx(run.potential_energies[0])
        assert read[1].info["step"] == 10
        np.testing.assert_allclose(
            read[1].get_velocities() * fs, run.velocities_of_last, rtol=1e-5, atol=1e-7
        )
    with pytest.raises(DynamicsError, match="no format has this ending"):
        run.write(tmp_path / "run.unknown-format")
    with pytest.raises(DynamicsError, match="cannot be written"):
        run.write(tmp_path / "no-folder" / "run.extxyz")


@given(frames=st.integers(1, 200), count=st.integers(1, 60))
def test_thinned_frames_are_even_and_end_with_the_last(frames, count):
    run = trajectory(frames, 1)
    chosen = run.thinned(count)
    assert len(chosen) == min(frames, count) and chosen[-1] == frames - 1
    assert (np.diff(chosen) > 0).all()
    if len(chosen) > 2:
        assert np.ptp(np.diff(chosen)) <= 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": np.arange(3)}, "times: shape"),
        ({"positions": np.zeros((4, 2, 3))}, "positions: shape"),
        ({"forces": np.zeros((4, 2, 3))}, "forces: shape"),
        ({"status": "exploded"}, "contradict"),
        ({"status": "lost", "failure": "contact"}, "status='lost'"),
    ],
)
def test_trajectories_that_make_no_sense(changes, named):
    with pytest.raises(DynamicsError, match=named):
        trajectory(**changes)
