"""Identifiers, arrays and structures as they are stored."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import pytest
from bson.binary import Binary
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition, Lattice, Structure

from crysearch.errors import RecordsError
from crysearch.records import (
    RecordStore,
)
from crysearch.records.values import (
    deterministic_id,
    from_binary_array,
    from_binary_vector,
    structure_document,
    structure_from_document,
    to_binary_array,
    to_binary_vector,
)


def test_identifiers_never_change_between_versions() -> None:
    text = b'["s","candidate",5,8,0,1]'
    expected = hashlib.sha256(text).hexdigest()[:24]
    assert deterministic_id("s", "candidate", 5, 8, np.int64(0), 1) == expected
    assert deterministic_id({"b": 1, "a": (1, 2)}) == deterministic_id({"a": [1, 2], "b": 1})


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
@settings(max_examples=100, deadline=None)
def test_different_parts_give_different_identifiers(one: list[str], other: list[str]) -> None:
    assert (deterministic_id(*one) == deterministic_id(*other)) == (one == other)


def test_identifiers_distinguish_types_and_refuse_objects() -> None:
    assert len({deterministic_id(part) for part in (1, 1.0, "1", True, None, [1])}) == 6
    with pytest.raises(RecordsError, match="identifier cannot be made"):
        deterministic_id(object())


# --- vectors -----------------------------------------------------------------------------------


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=50))
@settings(max_examples=100, deadline=None)
def test_single_precision_numbers_survive_exactly(values: list[float]) -> None:
    vector = to_binary_vector(values)
    # the layout that BSON's specification gives: type, padding, little-endian numbers
    assert bytes(vector) == b"\x27\x00" + struct.pack(f"<{len(values)}f", *values)
    assert vector.subtype == 9
    np.testing.assert_array_equal(from_binary_vector(vector), np.array(values, dtype=float))


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_double_precision_numbers_are_rounded(values: list[float]) -> None:
    np.testing.assert_allclose(
        from_binary_vector(to_binary_vector(values)), values, rtol=2**-24, atol=1e-44
    )


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [1e39], [[1.0, 2.0]], 3.0])
def test_what_is_no_vector_is_refused(values: Any) -> None:
    with pytest.raises(RecordsError, match="A vector to store has"):
        to_binary_vector(values)


@pytest.mark.parametrize("value", [b"bytes", Binary(b"\x27\x00\x00"), Binary(b"\x03\x00\x01", 9)])
def test_what_is_no_stored_vector_is_refused(value: Any) -> None:
    with pytest.raises(RecordsError, match="stored vector"):
        from_binary_vector(value)


@given(st.lists(st.floats(), max_size=12))
@settings(max_examples=50, deadline=None)
def test_arrays_in_double_precision_survive_exactly(values: list[float]) -> None:
    table = np.array(values[: len(values) // 3 * 3]).reshape(-1, 3)
    found = from_binary_array(to_binary_array(table), table.shape)
    np.testing.assert_array_equal(found, table)


def test_arrays_of_another_shape_are_refused() -> None:
    with pytest.raises(RecordsError, match=r"does not have the shape \(2, 3\)"):
        from_binary_array(to_binary_array(np.zeros(5)), (2, 3))
    with pytest.raises(RecordsError, match="does not have the shape"):
        from_binary_array(b"12345", (1,))


# --- structures --------------------------------------------------------------------------------


def test_structures_survive(diamond: Structure, store: RecordStore) -> None:
    skewed = Structure(
        Lattice.from_parameters(3.1, 4.2, 5.3, 71, 82, 93),
        ["Sn", "Se", "Sn"],
        np.random.default_rng(3).random((3, 3)),
        site_properties={"magmom": [1.0, np.float64(2.0), 3.0]},
    )
    for i, structure in enumerate((diamond, skewed)):
        store.upsert("candidates", [{"_id": f"{i}", **structure_document(structure)}])
        document = store.get("candidates", f"{i}")
        assert document is not None
        found = structure_from_document(document)
        assert found == structure
        np.testing.assert_array_equal(found.lattice.matrix, structure.lattice.matrix)
        np.testing.assert_array_equal(found.frac_coords, structure.frac_coords)


@pytest.mark.parametrize(
    ("species", "formula", "reduced", "elements"),
    [
        (["Si"] * 8, "Si8", "Si", ["Si"]),
        (["Al"] * 4 + ["O"] * 6, "Al4O6", "Al2O3", ["Al", "O"]),
        (["Na", "Cl"], "Na1Cl1", "ClNa", ["Cl", "Na"]),  # OPTIMADE: alphabetical, no ones
        (["Sn", "Se"] * 4, "Sn4Se4", "SeSn", ["Se", "Sn"]),
        (["Ga", "As"] * 2, "Ga2As2", "AsGa", ["As", "Ga"]),
    ],
)
def test_formulas(species: list[str], formula: str, reduced: str, elements: list[str]) -> None:
    coordinates = np.random.default_rng(4).random((len(species), 3))
    document = structure_document(Structure(Lattice.cubic(6), species, coordinates))
    assert document["formula"] == formula
    assert document["chemical_formula_reduced"] == reduced
    assert document["elements"] == elements
    assert document["nsites"] == len(species)
    assert document["volume"] == pytest.approx(216)
    assert document["volume_per_atom"] == pytest.approx(216 / len(species))
    grams = Composition("".join(species)).weight * 1.66053906660e-24
    assert document["density"] == pytest.approx(grams / 216e-24, rel=1e-6)


def test_a_stored_structure_cannot_name_code_to_run(diamond: Structure) -> None:
    document = structure_document(diamond)
    evil = {"@module": "pathlib", "@class": "PurePosixPath", "@version": "1"}
    for site in document["structure"]["sites"]:
        site["properties"] = {"evil": {**evil, "data": 1}}
    document["structure"]["@module"] = "os"
    structure = structure_from_document(document)
    assert structure[0].properties["evil"] == {"data": 1}


@pytest.mark.parametrize(
    "broken", [None, "Si", {}, {"lattice": {"matrix": [1]}, "sites": []}, {"lattice": 1}]
)
def test_what_is_no_structure_is_refused(broken: Any) -> None:
    with pytest.raises(RecordsError, match="'structure'"):
        structure_from_document({"_id": "a", "structure": broken})
