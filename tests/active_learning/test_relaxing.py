"""Relaxation with an ensemble of Stillinger–Weber potentials of different three-body strengths."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from active_learning.toy_ensembles import StillingerWeberEnsemble, diamond
from crysearch.active_learning import EnsembleRelaxer, MeanEvaluation, score
from crysearch.errors import ActiveLearningError
from crysearch.relaxation import RelaxationSettings, create_relaxer

SETTINGS = RelaxationSettings(force_tolerance=0.05, stress_tolerance=0.5, max_steps=60)


def rattled(amount: float, seed: int = 0) -> Structure:
    perfect = diamond()
    moves = np.random.default_rng(seed).normal(0, amount, (len(perfect), 3))
    return Structure(
        perfect.lattice,
        perfect.species,
        perfect.cart_coords + moves,
        coords_are_cartesian=True,
    )


def test_the_mean_of_equal_members_relaxes_like_one():
    structures = [rattled(0.1), rattled(0.3)]
    ours = EnsembleRelaxer(StillingerWeberEnsemble([1.0, 1.0]), 0.1).relax(structures, SETTINGS)
    theirs = create_relaxer("stillinger-weber").relax(structures, SETTINGS)
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.status == its.status == "converged"
        assert mine.steps == its.steps
        assert mine.energy == pytest.approx(its.energy, abs=1e-9)
        assert mine.evaluation.disagreement == pytest.approx(0.0, abs=1e-9)


def test_members_agree_at_the_minimum_and_disagree_far_from_it():
    # λ weighs deviations from the tetrahedral angle: there are none in diamond.
    relaxer = EnsembleRelaxer(StillingerWeberEnsemble(), 0.5)
    near, far = relaxer.relax([rattled(0.05), rattled(0.35)], SETTINGS)
    assert near.status == "converged"
    assert near.energy_per_atom == pytest.approx(-4.3364, abs=2e-3)
    assert isinstance(near.evaluation, MeanEvaluation)
    assert far.status == "uncertain"
    assert not far.converged
    assert far.structure is not None
    assert far.evaluation.disagreement > 0.5


def test_an_uncertain_structure_is_the_first_at_which_the_members_disagree():
    ensemble, start = StillingerWeberEnsemble(), rattled(0.2, seed=5)
    path: list[float] = []
    EnsembleRelaxer(ensemble, None).relax(
        [start], SETTINGS, on_step=lambda index, steps, found: path.append(found.disagreement)
    )
    # The disagreement grows in the first step.
    assert path[0] + 0.01 < path[1] == max(path)
    for limit, steps in ((path[0] - 0.01, 0), (path[0] + 0.01, 1)):
        (stopped,) = EnsembleRelaxer(ensemble, limit).relax([start], SETTINGS)
        assert (stopped.status, stopped.steps) == ("uncertain", steps)
        assert stopped.evaluation.disagreement == pytest.approx(path[steps])
        assert stopped.initial_energy is not None
    (never,) = EnsembleRelaxer(ensemble, max(path) + 0.01).relax([start], SETTINGS)
    assert never.status == "converged"


def test_a_relative_limit_lets_the_steep_beginning_pass():
    ensemble, start = StillingerWeberEnsemble(), rattled(0.2, seed=5)
    (at_start,) = EnsembleRelaxer(ensemble, None).single_point([start])
    found = at_start.evaluation
    share = found.disagreement / found.largest_force
    limit = 0.5 * found.disagreement
    (stopped,) = EnsembleRelaxer(ensemble, limit, 0.9 * share).relax([start], SETTINGS)
    assert (stopped.status, stopped.steps) == ("uncertain", 0)
    (later,) = EnsembleRelaxer(ensemble, limit, 1.1 * share).relax([start], SETTINGS)
    assert later.steps > 0


def test_every_structure_ends_with_a_reason():
    close = Structure(diamond().lattice, ["Si", "Si"], [[0, 0, 0], [0.01, 0, 0]])
    relaxer = EnsembleRelaxer(StillingerWeberEnsemble(), 0.5)
    structures = [rattled(0.05), rattled(0.35), close]
    results = relaxer.relax(structures, SETTINGS)
    assert [result.status for result in results] == ["converged", "uncertain", "failed"]
    assert results[2].failure == "collapse"
    assert results[2].failure_detail
    short = RelaxationSettings(force_tolerance=1e-6, max_steps=1)
    assert relaxer.relax([rattled(0.05)], short)[0].status == "step_limit"
    scores = score([result.evaluation for result in results[:2]])
    assert scores.force_deviations[1] > 0.5 > scores.force_deviations[0]


def test_one_bad_structure_stops_nothing():
    class Picky(StillingerWeberEnsemble):
        def evaluate(self, batch):
            if any(len(atoms) == 2 for atoms in batch):
                raise ValueError("two atoms are too few for me")
            return super().evaluate(batch)

    pair = Structure(diamond().lattice, ["Si", "Si"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    good, bad = EnsembleRelaxer(Picky(), 0.5).relax([rattled(0.05), pair], SETTINGS)
    assert good.status == "converged"
    assert (bad.status, bad.failure) == ("failed", "engine_error")
    assert "two atoms" in bad.failure_detail


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_wrong_limit_is_named(limit):
    with pytest.raises(ActiveLearningError, match="disagreement_limit"):
        EnsembleRelaxer(StillingerWeberEnsemble(), limit)


@pytest.mark.parametrize("limit", [-0.1, float("nan"), float("inf")])
def test_a_wrong_relative_limit_is_named(limit):
    with pytest.raises(ActiveLearningError, match="relative_limit"):
        EnsembleRelaxer(StillingerWeberEnsemble(), 0.5, limit)
