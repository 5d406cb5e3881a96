"""ASE's integrators against the contract of every propagator."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

from crysearch.dynamics import DynamicsSettings, Trajectory
from crysearch.dynamics.ase_propagator import AsePropagator
from crysearch.dynamics.conformance import CHECKS, DynamicsCase
from crysearch.errors import DynamicsError
from crysearch.relaxation import create_relaxer
from crysearch.relaxation.ase_calculator import AseRelaxer


def copper(repetitions: int = 2) -> Structure:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
    return cell * ([repetitions] * 3)


@cache
def case() -> DynamicsCase:
    return DynamicsCase(
        copper(),
        create_relaxer("emt"),
        timestep=6.0,
        steps=450,
        tension=-60.0,
        unknown=Structure(Lattice.cubic(4), ["U", "U"], [[0, 0, 0], [0.5] * 3]),
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ase_keeps_the_contract(check):
    check(AsePropagator(create_relaxer("emt")), case())


class Interrupted(AseRelaxer):
    """An engine that stops working after some evaluations."""

    left = 7

    def evaluate(self, batch):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the licence has run out")
        return super().evaluate(batch)


def test_an_engine_that_fails_is_a_failed_run_with_its_frames():
    engine = Interrupted("emt", EMT, {"package": "ase"})
    run = AsePropagator(engine).run(
        copper(1), DynamicsSettings("nvt", 300.0, 20, 1, sample_every=2)
    )
    assert (run.status, run.failure) == ("failed", "engine_error")
    assert run.failure_detail == "RuntimeError: the licence has run out"
    assert run.steps.tolist() == [0, 2, 4, 6]
    engine.left = 0
    run = AsePropagator(engine).run(copper(1), DynamicsSettings("npt", 300.0, 20, 1))
    assert run.status == "failed" and len(run) == 0
    assert len(Trajectory.from_bytes(run.to_bytes())) == 0


def test_a_hanging_engine_ends():
    class Hanging(AseRelaxer):
        def evaluate(self, batch):
            time.sleep(5)
            raise AssertionError("not reached")

    propagator = AsePropagator(Hanging("emt", EMT, {}), evaluation_timeout=0.05)
    run = propagator.run(copper(1), DynamicsSettings("nve", 300.0, 20, 1))
    assert (run.status, run.failure) == ("failed", "timeout")


def test_interrupting_is_no_failure():
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        AsePropagator(create_relaxer("emt")).run(
            copper(1), DynamicsSettings("nve", 300.0, 20, 1), progress=stop
        )


def test_a_thermostat_needs_motion():
    with pytest.raises(DynamicsError, match="velocities: all are 0"):
        AsePropagator(create_relaxer("emt")).run(
            copper(1), DynamicsSettings("nvt", 300.0, 20, 1), np.zeros((4, 3))
        )


def test_a_drift_of_velocities_given_is_taken_away():
    pushed = np.full((4, 3), 0.01)
    pushed[0] += 0.01
    run = AsePropagator(create_relaxer("emt")).run(
        copper(1), DynamicsSettings("nve", 300.0, 10, 1), pushed
    )
    moved = (run.positions[-1] - run.positions[0]).mean(axis=0)
    np.testing.assert_allclose(moved, 0, atol=1e-10)


def test_silicon_melts_when_heated():
    """Stillinger–Weber silicon: a crystal at 300 K, not at 5,000 K."""
    cell = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
    propagator = AsePropagator(create_relaxer("stillinger-weber"))
    moved = {}
    for temperature in (300.0, 5000.0):
        settings = DynamicsSettings("nvt", temperature, 200, 2, timestep=2.0)
        run = propagator.run(cell, settings)
        assert run.status == "finished"
        moved[temperature] = np.linalg.norm(run.positions[-1] - run.positions[0], axis=1).mean()
    assert moved[300.0] < 0.2 and moved[5000.0] > 0.5
