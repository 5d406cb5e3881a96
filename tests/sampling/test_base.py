"""Requests check themselves and say what to do."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from crysearch.errors import SamplingError
from crysearch.sampling import CrystalBatch, CrystalRequest, create_sampler

SILICON: dict[str, Any] = {
    "species": ("Si",),
    "counts": (8,),
    "volume": 184.0,
    "minimum_distances": {("Si", "Si"): 2.1},
}
TIN_SELENIDE: dict[str, Any] = {
    "species": ("Sn", "Se"),
    "counts": (8, 8),
    "volume": 457.0,
    "minimum_distances": {("Sn", "Sn"): 2.0, ("Se", "Sn"): 2.1, ("Se", "Se"): 2.2},
}


def test_defaults_are_the_published_protocol() -> None:
    request = CrystalRequest(**SILICON)
    assert request.volume_range == pytest.approx((165.6, 202.4))
    assert request.space_groups == tuple(range(1, 231))
    assert request.formula == "Si8"
    assert len(request.hosting_groups) == 206
    assert pickle.loads(pickle.dumps(request)) == request


def test_distances_work_in_either_order() -> None:
    request = CrystalRequest(**TIN_SELENIDE)
    np.testing.assert_array_equal(request.distance_matrix, [[2.0, 2.1], [2.1, 2.2]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"species": ()}, r"species: empty"),
        ({"species": ("Xx",)}, r"species: 'Xx' is not a chemical symbol"),
        ({"species": ("Si", "Si"), "counts": (4, 4)}, r"species: .* twice"),
        ({"counts": (8, 8)}, r"counts: \(8, 8\) has 2 entries for 1 species"),
        ({"counts": (0,)}, r"counts: 0 atoms of Si; give at least 1"),
        ({"counts": (8.0,)}, r"counts: 8.0 is not a whole number"),
        ({"counts": 8}, r"counts: 8 is not a sequence"),
        ({"volume": -1.0}, r"volume: -1.0 is not a positive number; give Å\^3"),
        ({"volume": float("nan")}, r"volume: nan"),
        ({"volume": "184"}, r"volume: '184'"),
        ({"volume_tolerance": 1.0}, r"volume_tolerance: 1.0 .* below 1"),
        ({"attempts_per_group": 0}, r"attempts_per_group: 0 is not a positive"),
        ({"attempts_per_orbit": True}, r"attempts_per_orbit: True is not a positive"),
        ({"minimum_distances": {}}, r"minimum_distances: no value for Si-Si"),
        ({"minimum_distances": 2.1}, r"minimum_distances: 2.1 is not a mapping"),
        ({"minimum_distances": {"SiSi": 2.1}}, r"minimum_distances: 'SiSi' is not a pair"),
        ({"minimum_distances": {("Si", "Ge"): 2.1}}, r"not a pair of the species"),
        ({"minimum_distances": {("Si", "Si"): 0.0}}, r"0.0 for Si-Si is not a positive"),
        ({"space_groups": ()}, r"space_groups: empty"),
        ({"space_groups": (0, 1)}, r"space_groups: 0 is not a number from 1 to 230"),
        ({"space_groups": (5, 2, 5)}, r"space_groups: 5 is given twice"),
    ],
)
def test_invalid_fields_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        CrystalRequest(**{**SILICON, **changes})


def test_contradicting_and_missing_pairs_are_named() -> None:
    distances = TIN_SELENIDE["minimum_distances"]
    with pytest.raises(SamplingError, match="Sn-Se is given twice with different values"):
        CrystalRequest(**{**TIN_SELENIDE, "minimum_distances": {**distances, ("Sn", "Se"): 2.4}})
    with pytest.raises(SamplingError, match="no value for Sn-Se"):
        CrystalRequest(
            **{
                **TIN_SELENIDE,
                "minimum_distances": {("Sn", "Sn"): 2.0, ("Se", "Se"): 2.2},
            }
        )


def test_composition_that_fits_no_group_is_explained() -> None:
    with pytest.raises(SamplingError) as caught:
        CrystalRequest(**{**SILICON, "counts": (5,), "space_groups": (227, 225)})
    message = str(caught.value)
    assert "Si5" in message
    assert "225 offers" in message and "4a" in message and "227 offers" in message
    assert "can host it: 1-3" in message


def test_volume_too_small_for_the_distances_is_recognised() -> None:
    # Face-centred cubic: four atoms at distance d need 4 d^3 / sqrt(2), and that is possible.
    cubic = {**SILICON, "counts": (4,), "volume_tolerance": 0.0}
    needed = 4 * 2.1**3 / np.sqrt(2.0)
    with pytest.raises(SamplingError, match=r"volume: .* too small for 4 atoms of Si"):
        CrystalRequest(**{**cubic, "volume": needed * 0.999})
    request = CrystalRequest(**{**cubic, "volume": needed * 1.001, "space_groups": (225,)})
    assert len(create_sampler("wyckoff", request).sample(3, 0)) == 3


def test_volume_bound_does_not_reject_small_atoms_in_holes() -> None:
    """Rock salt of touching large ions fills more than 0.7405 of space; it must pass."""
    request = CrystalRequest(
        ("Na", "Cl"),
        (4, 4),
        5.64**3,
        {("Na", "Na"): 3.9, ("Cl", "Cl"): 3.9, ("Na", "Cl"): 2.8},
        volume_tolerance=0.01,
        space_groups=(225,),
    )
    batch = create_sampler("wyckoff", request).sample(5, 0)
    assert {tuple(map(tuple, batch.wyckoff(i).values())) for i in range(5)} <= {
        (("4a",), ("4b",)),
        (("4b",), ("4a",)),
    }
    with pytest.raises(SamplingError, match="8 atoms of Na, Cl"):
        CrystalRequest(("Na", "Cl"), (4, 4), 180.0, {p: 3.5 for p in request.minimum_distances})


def test_unknown_sampler_is_named() -> None:
    with pytest.raises(SamplingError, match="sampler: 'airss' is unknown; choose from wyckoff"):
        create_sampler("airss", CrystalRequest(**SILICON))


def test_batches_select_and_describe_themselves() -> None:
    request = CrystalRequest(**TIN_SELENIDE)
    batch = create_sampler("wyckoff", request).sample(20, 4)
    part = batch.select([3, 7])
    assert isinstance(part, CrystalBatch) and len(part) == 2
    assert part.structure(1) == batch.structure(7)
    assert part.wyckoff(0) == batch.wyckoff(3)
    assert len(batch.select([])) == 0
    assert len(batch.select(batch.space_groups > 230)) == 0
    assert batch.structure(0).composition.reduced_formula == "SnSe"
    np.testing.assert_allclose(batch.volumes[5], batch.structure(5).volume)
