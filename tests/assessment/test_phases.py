"""The crystals that potentials are assessed on."""

from __future__ import annotations

import pytest

from crysearch.assessment import default_phases, given_phase, named_phases
from crysearch.errors import ReferencesError
from crysearch.references import available_snapshots, load_snapshot


def test_silicon_has_its_known_phases_under_their_usual_names():
    phases = {phase.name: phase for phase in named_phases("Si", default_phases("Si"))}
    known = {reference.reference_id: reference for reference in load_snapshot("Si")}
    # The space groups and atoms in the primitive cell of the phases with these names.
    expected = {
        "diamond": (227, 2),
        "lonsdaleite": (194, 4),
        "clathrate Si46": (223, 46),
        "Si24": (63, 12),
        "BC8": (206, 8),
        "R8": (148, 8),
        "β-tin": (141, 2),
        "simple hexagonal": (191, 1),
    }
    assert {
        phase.label: (known[name].reported_space_group, len(phase.structure))
        for name, phase in phases.items()
    } == expected
    for name, phase in phases.items():
        listed = known[name].structure
        assert phase.structure.volume / len(phase.structure) == pytest.approx(
            listed.volume / len(listed), rel=1e-6
        )


@pytest.mark.parametrize("formula", [name for name in available_snapshots() if name != "Si"])
def test_other_compositions_begin_with_their_ground_state(formula):
    names = default_phases(formula)
    energies = {r.reference_id: r.energy_above_ground_state for r in load_snapshot(formula)}
    assert energies[names[0]] == min(e for e in energies.values() if e is not None)
    assert 1 <= len(names) <= 8
    assert [energies[name] for name in names] == sorted(energies[name] for name in names)


def test_a_phase_that_is_not_there_is_named():
    with pytest.raises(ReferencesError, match="mp-0 not in the snapshot of Si"):
        named_phases("Si", ["mp-149", "mp-0"])


def test_a_crystal_of_ones_own_is_reduced_to_its_primitive_cell():
    cell = next(r for r in load_snapshot("Si") if r.reference_id == "mp-149").structure
    phase = given_phase("mine", cell * (2, 1, 1))
    assert (phase.name, phase.label, len(phase.structure)) == ("mine", "Fd-3m", 2)
