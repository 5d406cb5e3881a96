"""Every kind of fault is found, and what is sound is not flagged."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase.build import make_supercell

from crysearch.datasets import Facts, Limits, check, duplicate_pairs, facts_of
from crysearch.datasets.checks import REASONS
from crysearch.errors import DatasetError
from labelled_crystals import label, rattled


@pytest.fixture(scope="module")
def sound() -> list[Facts]:
    """Thirty different crystals with energies near −4 eV/atom."""
    rng = np.random.default_rng(0)
    return [
        facts_of(label(rattled(i), 8 * rng.normal(-4.0, 0.05), forces=np.zeros((8, 3))))
        for i in range(30)
    ]


def flags(facts: list[Facts], **limits: float) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for finding in check(facts, Limits(**limits)):
        found.setdefault(finding.index, []).append(finding.reason)
    return found


def test_nothing_is_wrong_with_sound_configurations(sound: list[Facts]) -> None:
    assert check(sound) == []
    assert check([]) == []


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"energy_per_atom": None, "faults": ("no_energy",)}, "no_energy", "missing or not finite"),
        ({"faults": ("forces_not_finite",)}, "forces_not_finite", "a force is not finite"),
        ({"faults": ("stress_not_finite",)}, "stress_not_finite", "stress is not finite"),
        ({"max_force": 50.1}, "large_force", "a force of 50.1 > 50 eV/Å"),
        ({"net_force": 0.011}, "net_force", "the forces sum to 0.011 > 0.01 eV/Å per atom"),
        ({"max_stress": 5.1}, "large_stress", "5.1 > 5 eV/Å³: another unit?"),
        ({"closest_contact": 0.49, "minimum_distance": 1.1}, "atoms_too_close", "1.100 Å apart"),
        ({"energy_per_atom": 4.0}, "energy_outlier", r"4.0000 eV/atom is \+8.0\d\d from"),
        ({"energy_per_atom": -12.0}, "energy_outlier", r"is -7.9\d\d from what is usual"),
    ],
)
def test_each_fault_is_found(
    sound: list[Facts], changes: dict[str, Any], reason: str, detail: str
) -> None:
    facts = [*sound[:7], replace(sound[7], **changes), *sound[8:]]
    (finding,) = check(facts)
    assert (finding.index, finding.reason) == (7, reason)
    assert re.search(detail, finding.detail)


def test_real_atoms_that_are_too_close() -> None:
    atoms = rattled(0)
    atoms.positions[1] = atoms.positions[0] + [0.9, 0, 0]
    assert flags([facts_of(label(atoms))]) == {0: ["atoms_too_close"]}


def test_energies_are_compared_with_those_of_the_composition() -> None:
    rng = np.random.default_rng(1)
    facts = []
    for i in range(60):
        n = int(rng.integers(0, 9))
        symbols = f"Si{8 - n}Ge{n}" if 0 < n < 8 else ("Si8" if n == 0 else "Ge8")
        energy = -5.0 * (8 - n) + 3.0 * n + 8 * rng.normal(0, 0.02)
        facts.append(facts_of(label(rattled(i, symbols), energy)))
    assert flags(facts) == {}
    for wrong in (3, 20, 41):
        energy = facts[wrong].energy_per_atom
        assert energy is not None
        facts[wrong] = replace(facts[wrong], energy_per_atom=energy + 7.0)
    assert flags(facts) == {i: ["energy_outlier"] for i in (3, 20, 41)}


def test_a_compound_is_compared_with_itself() -> None:
    rng = np.random.default_rng(2)
    facts = [
        facts_of(label(rattled(i, symbols), 8 * (energy + rng.normal(0, 0.02))))
        for symbols, energy in (("Na8", -1.3), ("Cl8", -1.8), ("Na4Cl4", -3.4))
        for i in range(20)
    ]
    assert flags(facts) == {}
    # Two elements of low energy among many compounds: fitted, not compared.
    few = [*facts[:2], *facts[20:22], *facts[40:]]
    assert flags(few) == {}
    few[0] = replace(few[0], energy_per_atom=6.0)
    assert flags(few) == {0: ["energy_outlier"]}
    wrong = facts[50].energy_per_atom
    assert wrong is not None
    facts[50] = replace(facts[50], energy_per_atom=wrong - 0.3)
    assert flags(facts) == {50: ["energy_outlier"]}


def test_a_tail_of_high_energies_is_sound_and_one_of_low_ones_is_not() -> None:
    tail = np.random.default_rng(0).exponential(0.5, size=200)
    above = [facts_of(label(rattled(i), 8 * (-5 + e))) for i, e in enumerate(tail)]
    below = [facts_of(label(rattled(i), 8 * (-5 - e))) for i, e in enumerate(tail)]
    assert flags(above) == {}
    deviations = (tail - np.median(tail)) / (1.4826 * np.median(np.abs(tail - np.median(tail))))
    assert list(flags(below)) == list(np.flatnonzero(deviations > 6))
    assert len(flags(below)) > 0


def test_the_limits_are_what_decides(sound: list[Facts]) -> None:
    facts = [replace(sound[0], max_force=30.0), *sound[1:]]
    assert flags(facts) == {}
    assert flags(facts, maximum_force=29.0) == {0: ["large_force"]}
    assert len(flags(sound, energy_deviations_above=1.0, energy_floor=1e-6)) > 1


def test_repetitions_are_found_whatever_describes_them() -> None:
    atoms = rattled(5)
    turned = atoms.copy()
    turned.rotate(35, (1, 2, 3), rotate_cell=True)
    larger = make_supercell(atoms, [[1, 0, 0], [0, 1, 0], [0, 0, 2]])
    shaken = atoms.copy()
    shaken.positions += 2e-4 * np.random.default_rng(0).normal(size=(8, 3)).clip(-1, 1)
    moved = atoms.copy()
    moved.positions[0] += 0.05
    frames = [
        label(rattled(6), -33.0),
        label(atoms, -34.0),
        label(turned, -34.001),
        label(moved, -34.0),
        label(larger, -68.0),
        label(shaken, -34.0),
    ]
    facts = [facts_of(frame) for frame in frames]
    assert flags(facts) == {2: ["duplicate"], 4: ["duplicate"], 5: ["duplicate"]}
    details = {f.index: f.detail for f in check(facts, numbers=[10, 11, 12, 13, 14, 15])}
    assert details[4] == "the same structure and energy as configuration 11"


def test_other_elements_are_another_structure() -> None:
    one, other = rattled(5, "Si4Ge4"), rattled(5, "Ge4Si4")
    assert flags([facts_of(label(one)), facts_of(label(other))]) == {}
    assert flags([facts_of(label(one)), facts_of(label(rattled(5, "Si8")))]) == {}


def test_one_structure_with_two_energies_is_a_conflict() -> None:
    atoms = rattled(5)
    facts = [facts_of(label(atoms, energy)) for energy in (-34.0, -34.0, -34.08)]
    found = check(facts)
    assert [(f.index, f.reason) for f in found] == [
        (0, "conflicting_energy"),
        (1, "duplicate"),
        (2, "conflicting_energy"),
    ]
    assert found[2].detail == "the same structure as configuration 0, 0.01 eV/atom apart"
    # On a steep slope a small distance makes a difference.
    steep = [replace(one, max_force=20.0) for one in facts]
    assert [f.reason for f in check(steep)] == ["duplicate", "duplicate"]


def test_missing_energies_do_not_hide_repetitions() -> None:
    facts = [facts_of(label(rattled(5), energy)) for energy in (-34.0, None)]
    assert flags(facts) == {1: ["no_energy", "duplicate"]}


def test_many_equal_structures_have_few_pairs() -> None:
    facts = [facts_of(label(rattled(1)))] * 20000
    pairs = duplicate_pairs(facts, 1e-3)
    assert len(pairs) == 19999
    assert (pairs[:, 0] == 0).all()


def test_pairs_agree_with_brute_force() -> None:
    rng = np.random.default_rng(3)
    facts = []
    for i in range(60):
        atoms = rattled(i % 12)
        atoms.positions += 2e-3 * rng.normal(size=(8, 3))
        facts.append(facts_of(label(atoms)))
    table = np.array([one.fingerprint for one in facts], dtype=float)
    for tolerance in (1e-3, 3e-3, 1e-2):
        apart = np.abs(table[:, None] - table[None]).max(axis=2)
        expected = [(i, j) for i, j in zip(*np.nonzero(apart <= tolerance), strict=True) if i < j]
        assert [tuple(pair) for pair in duplicate_pairs(facts, tolerance)] == expected


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), True, "3"])
def test_limits_that_limit_nothing_are_refused(value: Any) -> None:
    with pytest.raises(DatasetError, match=r"maximum_force is .*: give a number greater than 0"):
        Limits(maximum_force=value)


def test_every_reason_of_a_finding_is_listed(sound: list[Facts]) -> None:
    assert {"duplicate", "conflicting_energy", "joins_splits"} <= set(REASONS)
    assert len(set(REASONS)) == len(REASONS)
