"""The flows of the molten salt and of amorphous silicon, in small and short."""

from __future__ import annotations

import numpy as np
import pytest
from flows import amorphous_silicon, nacl_melt

from crysearch.dynamics.base import DynamicsSettings
from crysearch.dynamics.registry import create_propagator
from crysearch.errors import DynamicsError


def test_salt_melts_and_has_its_density(tmp_path):
    protocol = nacl_melt.Protocol(
        repeats=2, melting=0.6, cooling=0.4, volume=0.6, equilibration=0.3, sampling=0.6
    )
    said: list[str] = []
    free, sampled = nacl_melt.melt(create_propagator("born-mayer-nacl"), protocol, said.append)
    assert [line.partition(":")[0] for line in said] == [
        "melting",
        "cooling",
        "constant pressure",
        "constant volume",
    ]
    assert len(sampled.numbers) == 64 and np.ptp(sampled.volumes) < 1e-6
    assert sampled.volumes[0] == pytest.approx(free.volumes.mean())
    assert 1.0 < sampled.densities[0] < 1.7
    table = nacl_melt.report(free, sampled, tmp_path / "melt.png")
    assert all(pair in table for pair in ("Na–Na", "Na–Cl", "Cl–Cl", "D(Na)", "D(Cl)"))
    assert (tmp_path / "melt.png").stat().st_size > 10_000


def test_silicon_melts_and_is_quenched():
    protocol = amorphous_silicon.Protocol(
        repeats=2, melting=2.0, liquid=0.5, sampling=0.4, rate=1000.0
    )
    said: list[str] = []
    glass, crystal = amorphous_silicon.melt_and_quench(
        create_propagator("stillinger-weber"), protocol, said.append
    )
    found = amorphous_silicon.Structural.of("glass", glass)
    ordered = amorphous_silicon.Structural.of("crystal", crystal)
    assert ordered.neighbours.fractions == {4: 1.0} and ordered.angles.standard_deviation < 10
    assert ordered.density == pytest.approx(2.323, abs=0.02)
    # Quenched a hundred times too fast: denser than the crystal, neighbours beyond four.
    assert found.density > 2.35 and found.neighbours.mean > 4.2
    assert found.angles.standard_deviation > 12
    assert "first peak" in found.line() and len(said) == 7


def test_the_known_amorphous_cells():
    cells = amorphous_silicon.amorphous_references()
    assert len(cells) == 5 and {len(cell) for cell in cells} == {100}
    found = amorphous_silicon.Structural.of("known", amorphous_silicon.as_frames(cells))
    assert found.radial.first_peak()[0] == pytest.approx(2.39, abs=0.02)
    assert found.density == pytest.approx(np.mean([cell.density for cell in cells]), rel=1e-3)
    assert sum(found.neighbours.fractions.values()) == pytest.approx(1)


def test_a_run_that_explodes_stops_the_flow():
    propagator = create_propagator("stillinger-weber")

    class Wild:
        def run(self, structure, settings, velocities=None, progress=None):
            hot = DynamicsSettings("nve", 3000.0, 10, 1, maximum_temperature=3001.0)
            fast = np.zeros((len(structure), 3))
            fast[0] = 1.0
            return propagator.run(structure, hot, fast)

    with pytest.raises(DynamicsError, match=r"crystal: the run exploded \(the temperature rose"):
        amorphous_silicon.melt_and_quench(Wild(), amorphous_silicon.Protocol(repeats=2))


def test_a_quench_at_constant_volume():
    protocol = amorphous_silicon.Protocol(
        repeats=2, melting=0.2, liquid=0.2, sampling=0.2, rate=5000.0, density=2.2
    )
    said: list[str] = []
    amorphous_silicon.melt_and_quench(create_propagator("stillinger-weber"), protocol, said.append)
    assert [line for line in said if "2.200 g/cm³" in line] == said[2:6]
