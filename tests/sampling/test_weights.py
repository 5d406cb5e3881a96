"""Weights of space groups, and what a batch says about each group."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import numpy as np
import pytest
from scipy import stats

from crysearch.errors import SamplingError
from crysearch.sampling import SAMPLERS, CrystalBatch, CrystalRequest, create_sampler
from crysearch.sampling.conformance import violations
from crysearch.spec import SearchSpec

SILICON: dict[str, Any] = {
    "species": ("Si",),
    "counts": (8,),
    "volume": 184.0,
    "minimum_distances": {("Si", "Si"): 2.1},
}
# SHA-256 of lattices, coordinates, groups and sites, recorded before weights existed (x86-64).
BEFORE_WEIGHTS = {
    8: "48dc6f36a4ec6dd87b588c70dafdf23ae7cdad85e3bd8ecb6a7ca833202e1ecb",
    16: "04c6ddf66b3f5f9dcbb1dbc1b6f6adbd64c6d835556808ff82b02c888a4559e8",
}
PYXTAL_BEFORE_WEIGHTS = "ad0e674335d359057fd08444f5902b0443ad48eb53a7df079836958dfdc6ef14"


def silicon(**changes: Any) -> CrystalRequest:
    return CrystalRequest(**{**SILICON, **changes})


def fingerprint(batch: CrystalBatch) -> str:
    arrays = (batch.lattices, batch.fractional_coordinates, batch.space_groups, batch.sites)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


@pytest.mark.parametrize("formula_units", [8, 16])
def test_crystals_of_the_default_specification_are_what_they_always_were(formula_units) -> None:
    spec = SearchSpec()
    sampler = create_sampler("wyckoff", spec.crystal_request(formula_units))
    batch = sampler.sample(300, (spec.seed, formula_units, 0))
    assert fingerprint(batch) == BEFORE_WEIGHTS[formula_units]


def test_crystals_of_pyxtal_are_what_they_always_were() -> None:
    """PyXtal's own release may change them; its version is pinned in constraints.txt."""
    batch = create_sampler("pyxtal", silicon()).sample(4, 7)
    assert fingerprint(batch) == PYXTAL_BEFORE_WEIGHTS


@pytest.mark.parametrize("name", SAMPLERS)
def test_equal_weights_change_nothing(name: str) -> None:
    groups = (2, 12, 194, 225)
    plain = create_sampler(name, silicon(space_groups=groups)).sample(5, 3)
    twos = silicon(space_groups=groups, space_group_weights=dict.fromkeys(groups, 2.0))
    assert fingerprint(create_sampler(name, twos).sample(5, 3)) == fingerprint(plain)


@pytest.mark.parametrize(("name", "n"), [("wyckoff", 6000), ("pyxtal", 250)])
def test_groups_are_drawn_by_weight(name: str, n: int) -> None:
    weights = {1: 0.0, 12: 3.0, 225: 0.5, 194: 2.25}
    request = silicon(
        minimum_distances={("Si", "Si"): 0.3},
        space_groups=(1, 2, 12, 63, 194, 225),
        space_group_weights=weights,
    )
    assert request.hosting_groups == (2, 12, 63, 194, 225)
    batch = create_sampler(name, request).sample(n, 1)
    chosen = {group: count["chosen"] for group, count in batch.group_counts.items()}
    expected = np.array([weights.get(group, 1.0) for group in chosen])
    result = stats.chisquare(
        list(chosen.values()), expected / expected.sum() * sum(chosen.values())
    )
    assert list(chosen) == [2, 12, 63, 194, 225]
    assert result.pvalue > 1e-4
    assert violations(batch.select(slice(0, 30)), request) == []


def test_one_group_can_have_all_the_weight() -> None:
    nothing = dict.fromkeys(range(1, 231), 0.0)
    request = silicon(space_group_weights={**nothing, 227: 1e-3})
    assert set(create_sampler("wyckoff", request).sample(20, 0).space_groups) == {227}


def test_order_of_weights_and_groups_of_numpy_do_not_matter() -> None:
    first = silicon(space_group_weights={np.int64(227): 5, 1: np.float64(2.0)})
    second = silicon(space_group_weights={1: 2.0, 227: 5.0})
    assert first == second and list(first.space_group_weights) == [1, 227]
    assert type(next(iter(first.space_group_weights))) is int


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([227], r"\[227\] is not a mapping"),
        ({"227": 1.0}, "'227' is not a whole number from 1 to 230"),
        ({True: 1.0}, "True is not a whole number"),
        ({231: 1.0}, "231 is not a number from 1 to 230"),
        ({227: -1.0}, "-1.0 for space group 227 is not a finite number, 0 or more"),
        ({227: float("nan")}, "nan for space group 227"),
        ({227: float("inf")}, "inf for space group 227"),
        ({227: "5"}, "'5' for space group 227"),
        ({227: True}, "True for space group 227"),
        (dict.fromkeys(range(1, 231), 0.0), "0 for all 230 requested .* leaves none"),
        (
            {228: 2.0},
            r"228 has the weight 2, but .*smallest: .*16a\) cannot hold Si8 .*take its weight away"
            ".*can host it: 1-",
        ),
    ],
)
def test_invalid_weights_are_named_and_explained(weights, message: str) -> None:
    with pytest.raises(SamplingError, match=f"space_group_weights: .*{message}"):
        silicon(space_group_weights=weights)


def test_a_weight_on_a_group_that_was_not_requested_is_refused() -> None:
    with pytest.raises(SamplingError, match="227 has the weight 2 but is not in space_groups"):
        silicon(space_groups=(1, 2), space_group_weights={227: 2.0})
    # To leave a group out that is out anyway is no contradiction.
    assert silicon(space_groups=(1, 2), space_group_weights={227: 0.0}).hosting_groups == (1, 2)


def test_weights_that_leave_only_groups_that_cannot_host_are_explained() -> None:
    started = time.perf_counter()
    with pytest.raises(SamplingError) as caught:
        silicon(space_groups=(2, 228, 230), space_group_weights={2: 0.0})
    message = str(caught.value)
    assert "Si8 in one conventional cell fits the Wyckoff positions of none of the 2" in message
    assert "(1 others have the weight 0)" in message
    assert "228 offers" in message and "can host it: 1-" in message
    assert time.perf_counter() - started < 3.0


def test_the_record_of_the_groups_adds_up_and_is_plain_json() -> None:
    batch = create_sampler("wyckoff", silicon(space_groups=(2, 214, 225))).sample(200, 1)
    record = batch.group_record
    assert json.loads(json.dumps(record)) == record
    assert sum(attempts for attempts, _, _ in record.values()) == batch.attempts
    assert sum(accepted for _, accepted, _ in record.values()) == len(batch)
    assert sum(given_up for *_, given_up in record.values()) == batch.rejections["group_exhausted"]
    assert record["2"][2] == 0 and record["225"][1] > 0
    # 214 has only 8a and 8b for eight atoms, at most 2.1 Å apart in this volume: never a crystal.
    assert record["214"][1:] == [0, batch.group_counts[214]["chosen"]]
    nothing = create_sampler("wyckoff", silicon()).sample(0, 1)
    assert nothing.group_record == {}


@pytest.mark.parametrize("name", SAMPLERS)
def test_hard_groups_cannot_eat_the_budget(name: str) -> None:
    """All groups but one never give a crystal: their share is recorded, and bounded.

    Diamond (227) is 2.54 Å at most in this volume and 225 has 2.84 Å on 8c. PyXtal attempts in
    calls of up to 400.
    """
    hard = (203, 210, 214, 227) if name == "wyckoff" else (214, 227)
    bound = 40 if name == "wyckoff" else 400
    n = 60 if name == "wyckoff" else 6

    def shares(**changes: Any) -> tuple[float, dict[str, list[int]]]:
        request = silicon(
            minimum_distances={("Si", "Si"): 2.6},
            space_groups=(*hard, 225),
            attempts_per_group=40,
            **changes,
        )
        batch = create_sampler(name, request).sample(n, 5)
        record = batch.group_record
        assert set(batch.space_groups) == {225} and len(batch) == n
        for group in hard:
            attempts, accepted, exhausted = record.get(str(group), [0, 0, 0])
            assert accepted == 0 and attempts <= bound * exhausted
        spent = sum(record.get(str(group), [0])[0] for group in hard)
        return spent / batch.attempts, record

    equal, record = shares()
    # Drawn as often as the one group that works, and given up at the bound each time.
    drawn = sum(record[str(group)][2] for group in hard)
    assert drawn <= 3 * len(hard) * n
    assert 0.5 < equal < 1.0
    less, _ = shares(space_group_weights={group: 1e-3 for group in hard})
    assert less < 0.6 * equal
    none, record = shares(space_group_weights={group: 0.0 for group in hard})
    assert none == 0.0 and list(record) == ["225"]
