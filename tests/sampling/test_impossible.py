"""What cannot be is recognised before work or within seconds, and explained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from crysearch.errors import SamplingError, SpecError
from crysearch.sampling import CrystalRequest, create_sampler, kernel, random_crystals
from crysearch.sampling.random_crystals import WyckoffSampler
from crysearch.spec import SearchSpec

SILICON: dict[str, Any] = {
    "species": ("Si",),
    "counts": (16,),
    "volume": 368.0,
    "minimum_distances": {("Si", "Si"): 2.1},
}


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compilation, once per installation, is not what is timed here."""
    create_sampler("wyckoff", CrystalRequest(**SILICON)).sample(1, 0)


@contextmanager
def refused(within: float) -> Iterator[Any]:
    started = time.perf_counter()
    with pytest.raises(SamplingError) as caught:
        yield caught
    assert time.perf_counter() - started < within


def test_spheres_that_do_not_fit_are_refused_before_work() -> None:
    with refused(1.0) as caught:
        CrystalRequest(**{**SILICON, "minimum_distances": {("Si", "Si"): 3.31}})
    assert "volume: 368 Å^3 (at most 404.8 with the tolerance) is too small" in str(caught.value)


@pytest.mark.parametrize(
    ("counts", "distance"), [((16,), 3.28), ((7,), 3.26), ((5, 3, 4), 3.28), ((40,), 3.27)]
)
def test_spheres_that_fit_in_theory_only_are_given_up_within_seconds(
    counts: tuple[int, ...], distance: float
) -> None:
    """Just inside the bound of the densest packing, which no such cell reaches by chance."""
    species = ("Si", "Ge", "Sn")[: len(counts)]
    request = CrystalRequest(
        species,
        counts,
        23.0 * sum(counts),
        {(a, b): distance for a in species for b in species},
    )
    sampler = create_sampler("wyckoff", request)
    with refused(15.0) as caught:
        sampler.sample(1000, 0)
    message = str(caught.value)
    assert f"only 0 of 1000 crystals of {request.formula}" in message
    assert "enlarge volume" in message and "shorten minimum_distances" in message
    # Once at random and once in turn, not the ten times of a request that did yield crystals.
    attempts = int(message.split(" attempts")[0].split()[-1])
    assert attempts <= 1000 * (max(200, len(request.hosting_groups)) + len(request.hosting_groups))


def test_doubts_do_not_change_the_crystals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only 225 has room. Where a try of each group finds that, the sample goes on as it was."""
    request = CrystalRequest(
        ("Si",),
        (8,),
        184.0,
        {("Si", "Si"): 2.6},
        space_groups=(203, 210, 214, 225, 227),
        attempts_per_group=5,
    )
    plain = create_sampler("wyckoff", request).sample(8, 1)
    tries = []
    original = WyckoffSampler._try_each_group

    def try_each_group(*arguments: Any) -> np.ndarray:
        tries.append(original(*arguments))
        return tries[-1]

    monkeypatch.setattr(WyckoffSampler, "_try_each_group", try_each_group)
    monkeypatch.setattr(random_crystals, "failed_in_a_row", lambda hosting: (1, 10_000))
    doubting = create_sampler("wyckoff", request).sample(8, 1)
    np.testing.assert_array_equal(doubting.lattices, plain.lattices)
    assert doubting.group_counts == plain.group_counts
    # 225 is the fourth of the five: the three before were exhausted once, the last not tried.
    (tried,) = tries
    assert tried[:, kernel.EXHAUSTED].tolist() == [1, 1, 1, 0, 0]
    assert tried[:, kernel.ACCEPTED].tolist() == [0, 0, 0, 1, 0]


def test_a_composition_that_fits_no_group_is_refused_before_work() -> None:
    with refused(3.0) as caught:
        CrystalRequest(**{**SILICON, "counts": (7,), "space_groups": tuple(range(222, 231))})
    assert "Si7 in one conventional cell fits the Wyckoff positions of" in str(caught.value)


def test_the_message_names_weights_where_there_are_some() -> None:
    request = CrystalRequest(
        ("Si",),
        (8,),
        184.0,
        {("Si", "Si"): 2.6},
        space_groups=(214, 225),
        space_group_weights={225: 1e-9},
        attempts_per_group=10,
    )
    with refused(5.0) as caught:
        create_sampler("wyckoff", request).sample(5, 0)
    assert "more weight in space_group_weights" in str(caught.value)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"space_groups": [214, 228], "space_group_weights": {214: 0}}, "228 offers"),
        ({"space_groups": [228, 230]}, "fits the Wyckoff positions of none of the 2"),
    ],
)
def test_specifications_explain_themselves(sampling: dict[str, Any], expected: str) -> None:
    spec = SearchSpec.build({"formula_units": [8], "sampling": sampling})
    with refused(3.0) as caught:
        spec.crystal_request(8)
    assert expected in str(caught.value)


def test_a_weight_without_effect_is_an_invalid_field() -> None:
    started = time.perf_counter()
    with pytest.raises(SpecError) as caught:
        SearchSpec.build({"formula_units": [4, 8], "sampling": {"space_group_weights": {228: 3}}})
    assert "sampling.space_group_weights: space group 228" in str(caught.value)
    assert "cannot hold Si × [4, 8]" in str(caught.value)
    assert time.perf_counter() - started < 3.0
