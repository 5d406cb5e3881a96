"""Relaxation energies and volumes."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crysearch.assessment import Phase, disturbed, given_phase, named_phases, relax_phases
from crysearch.errors import AnalysisError
from crysearch.relaxation import RelaxationSettings, create_relaxer

#: Energy per atom (−2 ε, eV) and lattice constant (2^(1/6)·…: 5.431 Å) of Stillinger and Weber's
#: diamond, Phys. Rev. B 31, 5262 (1985).
COHESIVE, EDGE = -4.3366, 5.4310
SETTINGS = RelaxationSettings(force_tolerance=1e-3, stress_tolerance=0.01, max_steps=200)


@pytest.fixture(scope="module")
def engine():
    return create_relaxer("stillinger-weber")


def test_energy_and_volume_of_relaxation_end_at_the_published_crystal(engine):
    phases = named_phases("Si", ["mp-149"])
    [found] = relax_phases(phases, engine, SETTINGS, seed=1)
    start = disturbed(phases[0], 1)
    [before] = engine.single_point([start])
    assert found.relaxation_energy == pytest.approx(before.energy / 2 - COHESIVE, abs=1e-4)
    assert found.relaxation_volume == pytest.approx((EDGE**3 / 4 - start.volume) / 2, abs=2e-3)
    assert found.energy == pytest.approx(COHESIVE, abs=1e-4)
    assert found.volume == pytest.approx(EDGE**3 / 8, abs=2e-3)
    assert found.is_kept and found.returns and found.space_group == "Fd-3m"
    assert found.reason is None and found.disturbed_reason is None


def test_a_failure_is_the_reason_of_its_phase_only(engine):
    foreign = given_phase("copper", Structure(Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]]))
    good, bad = relax_phases([*named_phases("Si", ["mp-149"]), foreign], engine, SETTINGS)
    assert good.reason is None and good.energy is not None
    assert bad.energy is None and bad.is_kept is None and bad.relaxation_energy is None
    assert "does not know Cu" in str(bad.reason) and "does not know Cu" in str(bad.disturbed_reason)


def test_what_does_not_converge_is_no_result(engine):
    [found] = relax_phases(
        named_phases("Si", ["mp-149"]),
        engine,
        RelaxationSettings(force_tolerance=1e-3, max_steps=1),
    )
    assert found.energy is None and found.relaxation_energy is None
    assert "not converged after 1 steps" in str(found.disturbed_reason)


def test_a_crystal_that_turns_into_another_is_marked(engine):
    """A broken diamond heals: the relaxed cell is diamond, not what was listed."""
    shifted = _small()
    shifted.perturb(0.5, seed=4)
    [found] = relax_phases([Phase("broken", "broken", shifted)], engine, SETTINGS)
    assert found.reason is None and found.is_kept is False
    assert found.energy == pytest.approx(COHESIVE, abs=1e-4)


DIAMOND = [
    [x / 4 + s, y / 4 + t, z / 4 + u]
    for x, y, z in ((0, 0, 0), (1, 1, 1))
    for s, t, u in ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
]


def test_disturbances_have_their_sizes_and_depend_on_name_and_seed():
    cell = Structure(Lattice.cubic(5.43), ["Si"] * 8, DIAMOND) * (5, 5, 5)
    phase = Phase("p", "p", cell)
    moved = disturbed(phase, 3, displacement=0.1, strain=0.0)
    assert np.allclose(moved.lattice.matrix, cell.lattice.matrix)
    assert np.std(moved.cart_coords - cell.cart_coords) == pytest.approx(0.1, rel=0.05)
    strains = []
    for seed in range(60):
        strained = disturbed(Phase("p", "p", _small()), seed, 0.0, 0.03)
        tensor = np.linalg.solve(_small().lattice.matrix, strained.lattice.matrix) - np.eye(3)
        assert np.allclose(tensor, tensor.T, atol=1e-12)
        assert np.allclose(strained.frac_coords, _small().frac_coords)
        strains.append(tensor[np.triu_indices(3)])
    assert np.std(strains) == pytest.approx(0.03, rel=0.15)
    same = disturbed(phase, 3, displacement=0.1, strain=0.0)
    assert np.array_equal(same.cart_coords, moved.cart_coords)
    for other in (disturbed(phase, 4, 0.1, 0.0), disturbed(Phase("q", "p", cell), 3, 0.1, 0.0)):
        assert not np.allclose(other.cart_coords, moved.cart_coords)


def _small() -> Structure:
    return Structure(Lattice.cubic(5.43), ["Si"] * 8, DIAMOND)


@pytest.mark.parametrize("wrong", [{"displacement": -0.1}, {"strain": float("nan")}])
def test_bad_sizes_are_refused(wrong):
    with pytest.raises(AnalysisError, match="give a number of at least 0"):
        disturbed(Phase("p", "p", _small()), 0, **wrong)
