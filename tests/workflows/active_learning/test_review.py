"""What figures and tables show, against the records they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crysearch.active_learning import FeatureScaler, PoolMap
from crysearch.active_learning_spec import ActiveLearningSpec
from crysearch.errors import ActiveLearningError
from crysearch.potentials import Failure
from crysearch.records import open_records
from crysearch.records.values import from_binary_array
from crysearch.workflows.active_learning import (
    best_of,
    calibration_table,
    conclusion_lines,
    conclusion_of,
    cycle_table,
    cycles_of,
    map_of,
    pools_of,
    predictions_of,
    review,
)
from crysearch.workflows.active_learning.pool import potential_of, relaxed_pool
from small_active_learning import SMALL_ACTIVE_LEARNING

SPEC = ActiveLearningSpec.build(SMALL_ACTIVE_LEARNING)


@pytest.fixture(scope="module")
def records(finished_active_learning):
    with open_records(finished_active_learning, read_only=True) as found:
        yield found


class Earlier:
    """The records as they were before some cycles ended."""

    def __init__(self, records, cycles: list[dict[str, Any]], calculated: int) -> None:
        self._records, self._cycles, self._calculated = records, cycles, calculated

    def find(self, collection, *arguments, **options):
        if collection == "cycles":
            return self._cycles
        found = self._records.find(collection, *arguments, **options)
        return found[: self._calculated] if collection == "configurations" else found

    def __getattr__(self, name):
        return getattr(self._records, name)


def test_predictions_are_those_from_before_they_were_learned_from(records):
    found = predictions_of(records, SPEC)
    [new] = [cycle for cycle in cycles_of(records, SPEC) if cycle["errors"] is not None]
    assert found.count == new["calculated"] == 4
    assert set(found.cycles) == {new["cycle"]}
    assert len(found.forces) == 4 * 4 and found.members == 2
    # The errors that the cycle itself has recorded.
    energies = np.abs(found.energies - found.reference_energies)
    assert energies.mean() == pytest.approx(new["errors"]["energy_mae"], rel=1e-9)
    forces = found.forces - found.reference_forces
    assert np.abs(forces).mean() == pytest.approx(new["errors"]["force_mae"], rel=1e-9)
    assert np.sqrt(np.square(forces).mean()) == pytest.approx(new["errors"]["force_rmse"])
    # The disagreement that the choice has recorded, for the same structures.
    told = [one["energy_deviation"] for one in new["chosen"]]
    assert found.energy_deviations == pytest.approx(told, abs=1e-7)
    largest = np.sqrt(np.square(found.force_deviations).sum(axis=1)).reshape(4, 4).max(axis=1)
    assert largest == pytest.approx([one["force_deviation"] for one in new["chosen"]], abs=1e-6)
    documents = records.find("configurations", {"metadata.cycle": 1}, sort=[("index", 1)])
    labels = np.concatenate([from_binary_array(d["forces"], (4, 3)) for d in documents])
    assert found.reference_forces == pytest.approx(labels)


def test_what_a_potential_cannot_take_is_left_out(records, monkeypatch):
    load = review.potential_of

    class Choosy:
        def __init__(self, potential) -> None:
            self.potential, self.descriptors = potential, potential.descriptors

        def evaluate(self, structures):
            rest = self.potential.evaluate(structures[1:]) if len(structures) > 1 else []
            return [Failure("too_close", "two atoms are in one place"), *rest]

    monkeypatch.setattr(review, "potential_of", lambda *a: Choosy(load(*a)))
    found = predictions_of(records, SPEC)
    assert found.count == 3 and len(found.forces) == 12
    assert len(map_of(records, SPEC)[1].calculated) == 10


def test_pools_have_the_energies_of_what_was_relaxed(records):
    pools = pools_of(records, SPEC)
    assert [pool.cycle for pool in pools] == [0, 1, 2]
    assert not pools[0].energies.size and len(pools[0].calculated) == 7
    for pool, cycle in zip(pools[1:], cycles_of(records, SPEC)[1:], strict=True):
        assert pool.statuses == cycle["pool"]
        assert len(pool.energies) == 14 - pool.statuses.get("failed", 0)
        assert pool.energies.min() == pytest.approx(cycle["lowest_energy_per_atom"])
        assert len(pool.calculated) == len(cycle["chosen"])


def test_the_best_are_those_relaxed_with_the_reference_method(records):
    best = best_of(records, SPEC)
    relaxed = records.find("relaxations", {"converged": True})
    for energy, kind in ((best.found, "candidate"), (best.known, "reference")):
        energies = [d["energy_per_atom"] for d in relaxed if d["parent_kind"] == kind]
        assert energy == (min(energies) if energies else None)
    assert best.known is not None
    # Another active learning with the same pool, and one with another.
    assert best_of(records, SPEC.with_changes({"top": 4})) == review.Best(None, best.known)
    assert best_of(records, SPEC.with_changes({"search.seed": 1})) == review.Best(None, None)


def test_the_map_has_the_clusters_of_the_records(records):
    number, found = map_of(records, SPEC)
    cycle = cycles_of(records, SPEC)[-1]
    assert number == cycle["cycle"] == 2
    sizes = [cluster["size"] for cluster in cycle["clusters"]]
    assert np.bincount(found.ranks).tolist() == sizes
    assert len(found.points) == sum(sizes) and not found.chosen.any()
    assert len(found.calculated) == cycle["configurations"]
    relaxed = {d["parent_id"]: d for d in records.find("relaxations")}
    sound = [c for c in relaxed_pool(records, SPEC, 2) if c.structure is not None]
    ranks = {crystal.candidate: rank for crystal, rank in zip(sound, found.ranks, strict=True)}
    last = [best for best in cycle["finalists"] if best["cycle"] == 2]
    assert last
    for best in last:
        document = relaxed[best["candidate"]]
        name = document["matches"] or document["space_group_after"]["symbol"]
        assert found.names[ranks[best["candidate"]]] == name
    assert len(found.names) <= len(cycle["finalists"])
    # No two structures are further apart in the plane than they are.
    features = potential_of(records, SPEC, 2).descriptors([c.structure for c in sound])
    true = FeatureScaler.fit(features).distances(features, features)
    seen = np.linalg.norm(found.points[:, None] - found.points[None], axis=-1)
    assert (seen <= true + 1e-9).all()


def test_a_search_that_is_on_its_way_is_shown_as_far_as_it_is(records):
    cycles = cycles_of(records, SPEC)
    first = Earlier(records, cycles[:1], 7)
    for gather in (predictions_of, map_of):
        with pytest.raises(ActiveLearningError, match="yet; let"):
            gather(first, SPEC)
    assert [pool.cycle for pool in pools_of(first, SPEC)] == [0]
    # The first ensemble has chosen, and nothing of it is calculated.
    chosen = Earlier(records, [cycles[0], cycles[1] | {"errors": None, "calculated": None}], 7)
    with pytest.raises(ActiveLearningError, match="no structure that an ensemble has chosen"):
        predictions_of(chosen, SPEC)
    number, found = map_of(chosen, SPEC)
    assert isinstance(found, PoolMap) and number == 1
    assert found.chosen.sum() == 4
    # The relaxations of the end started from another cycle.
    assert found.names == {}
    assert pools_of(chosen, SPEC)[1].calculated.size == 0


def test_tables_say_what_the_documents_say(records):
    lines = cycle_table(cycles_of(records, SPEC)).splitlines()
    assert len(lines) == 3
    error = cycles_of(records, SPEC)[1]["errors"]["energy_mae"]
    assert f"{error:.3f}" in lines[1]
    assert lines[2].split() == ["2", "11", *lines[2].split()[2:]] and len(lines[2].split()) == 4
    summary = conclusion_of(records, SPEC)
    assert summary is not None
    text = conclusion_lines(summary)
    assert text.startswith("11 reference calculations (0 failed) in 2 cycles; ended: cycle_limit")
    assert "none of the best structures converged" in conclusion_lines(summary | {"best": None})
    best = {"energy_per_atom": -4.2, "energy_above_reference_ground_state": None, "matches": None}
    assert "best: -4.2000 eV/atom; no known" in conclusion_lines(summary | {"best": best})
    assert conclusion_of(records, SPEC.with_changes({"top": 4})) is None


def test_calibration_is_told_beside_that_of_an_ideal_ensemble(records):
    found = predictions_of(records, SPEC)
    heading, energies, forces, ideal = calibration_table(found).splitlines()
    assert "4 new structures" in heading
    assert energies.split()[:2] == ["energies", f"{found.of_energies().ratio:.2f}"]
    assert forces.split()[0] == "forces"
    # Two members: Cauchy's distribution, and √3.
    assert ideal.split() == ["an", "ideal", "ensemble", "of", "2", "1.73", "33", "%", "55", "%"]
