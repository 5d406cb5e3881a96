"""What is particular to the Deep Potential: DeePMD-kit's own answers, its process, its limits."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from crysearch.errors import TrainingError
from crysearch.potentials import (
    Configuration,
    Failure,
    FitHistory,
    LossWeights,
    create_potential,
    deepmd_process,
)
from crysearch.potentials.conformance import check_potential
from crysearch.potentials.conformance_physics import (
    Case,
    check_cutoff,
    check_derivatives,
    check_invariance,
)
from crysearch.potentials.data import energy_scaling
from crysearch.potentials.deepmd_neighbours import find_neighbours
from crysearch.potentials.deepmd_training import energies_above, labelled
from crysearch.potentials.deepmd_worker import _SLOTS, crystals, encode, pieces, prefactors

from . import deepmd_kit

SMALL = {
    "cutoff": 4.5,
    "neurons": [4, 8],
    "axis_neurons": 2,
    "fitting_neurons": [10, 10],
    "energy_prefactors": [1.0, 1.0],
    "force_prefactors": [1.0, 1.0],
}


@pytest.fixture
def kit():
    deepmd_kit.require()


@pytest.fixture(scope="module")
def trained(compound):
    deepmd_kit.require()
    potential = create_potential("deep-potential", elements=["O", "Si"], members=2, **SMALL)
    history = potential.fit(compound[:-3], validation=compound[-3:], epochs=100, seed=0)
    return potential, history


@pytest.mark.slow
def test_contract(compound, kit):
    check_potential("deep-potential", compound, architecture=SMALL, epochs=12)


def test_physics_of_distances_alone(silicon, kit):
    """The part of the contract that the descriptor decides."""
    arguments = {"elements": ["Si"], **SMALL, "descriptor": "se_e2_r"}
    case = Case("deep-potential", arguments, silicon, 3)
    potential = case.create(members=2)
    potential.fit(silicon, epochs=3, seed=0)
    for check in (check_invariance, check_derivatives, check_cutoff):
        check(case, potential)


def test_it_learns(trained, compound):
    potential, history = trained
    assert isinstance(history, FitHistory)
    assert (history.optimizer, history.batch_size, history.learning_rate) == ("adam", 10, 5e-3)
    predictions = potential.predict(compound)
    energies = np.array([c.energy / len(c) for c in compound])
    away = [(p.energy - c.energy) / len(c) for p, c in zip(predictions, compound, strict=True)]
    assert np.std(away) < 0.5 * energies.std()
    assert (history.validation_force_error.min(axis=1) < history.validation_force_error[:, 0]).all()


def test_it_is_what_the_kit_itself_says(trained, compound, tmp_path):
    """Its ASE calculator of a frozen model, its loss, its count of weights, its schedule."""
    if deepmd_process.deepmd_python() != sys.executable:
        pytest.skip("DeePMD-kit is in another Python, which has no crysearch")
    potential, _ = trained
    written = potential.export(tmp_path, "model")
    assert [path.name for path in written] == [
        "model-0.pth", "model-0.dp", "model-1.pth", "model-1.dp", "model.lammps",
    ]  # fmt: skip
    assert all(path.stat().st_size > 0 for path in written)
    prepared = find_neighbours(compound, potential.elements, potential.cutoff)
    above = energies_above(compound, prepared, np.zeros(2))
    request = {
        "data": encode(labelled(compound, prepared, above, 1.0)),
        "model": potential.definition([20, 24]),
        "schedule": {"energy": [0.02, 1.0], "force": [1000.0, 2.0], "virial": [0.3, 3.0]},
        "weights": {"energy": 1.0, "force": 1.0, "stress": 1.0},
        "learning_rate": 2e-3,
        "final_rate": 1e-2,
        "epochs": 20,
        "rate": 7e-4,
        "crystals": [
            {
                "numbers": c.numbers.tolist(),
                "cell": c.cell.tolist(),
                "positions": c.positions.tolist(),
            }
            for c in compound[:4]
        ],
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    theirs = deepmd_kit.reference(tmp_path)
    for crystal, prediction in zip(
        theirs["crystals"], potential.predict(compound[:4]), strict=True
    ):
        assert prediction.energies[0] == pytest.approx(crystal["energy"], rel=1e-10)
        np.testing.assert_allclose(prediction.forces_of_members[0], crystal["forces"], atol=1e-9)
        np.testing.assert_allclose(prediction.stresses[0], crystal["stress"], atol=1e-9)
    assert theirs["loss"][0] == pytest.approx(theirs["loss"][1], rel=1e-7)
    assert theirs["parameters"] == potential.parameter_count
    assert theirs["rates"] == pytest.approx([2e-3, 2e-4, 2e-5])
    assert theirs["taken"]


def test_lammps_is_told_the_models_and_the_elements(trained, tmp_path):
    potential, _ = trained
    lines = potential.export(tmp_path / "new", "a")[-1].read_text().splitlines()
    assert lines[1:] == ["pair_style deepmd a-0.pb a-1.pb", "pair_coeff * * O Si"]


def test_crystals_with_more_neighbours_than_there_is_room_for_are_failures(trained, compound):
    potential, _ = trained
    c = compound[0]
    squeezed = Configuration(c.numbers, 0.7 * c.cell, 0.7 * c.positions)
    assert find_neighbours([squeezed], ["O", "Si"], 4.5).failures == {}
    first, failure, last = potential.evaluate([c, squeezed, c])
    assert isinstance(failure, Failure) and failure.reason == "too_dense"
    assert "neighbours of" in failure.detail and "room for" in failure.detail
    assert first.energy == last.energy


def test_crystals_too_large_for_one_go_are_done_in_parts(trained, compound):
    potential, _ = trained
    small = compound[0]
    count = np.array([9, 9, 9])
    shifts = np.array(list(np.ndindex(*count))) @ small.cell
    large = Configuration(
        np.tile(small.numbers, len(shifts)),
        small.cell * count[:, None],
        (small.positions + shifts[:, None]).reshape(-1, 3),
    )
    one, many = potential.predict([small, large])
    atoms = Atoms(large.numbers, cell=large.cell, positions=large.positions, pbc=True)
    assert len(neighbor_list("i", atoms, SMALL["cutoff"])) > 2 * _SLOTS
    assert many.energy == pytest.approx(len(shifts) * one.energy, abs=1e-8)
    np.testing.assert_allclose(many.forces, np.tile(one.forces, (len(shifts), 1)), atol=1e-10)
    np.testing.assert_allclose(many.stress, one.stress, atol=1e-12)
    np.testing.assert_allclose(many.descriptor, len(shifts) * one.descriptor, rtol=1e-10)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_parts_hold_every_pair_once(count):
    rng = np.random.default_rng(count)
    first = np.sort(rng.integers(0, 9, 30))
    arrays = {
        "starts": np.array([0, 9]), "pair_starts": np.array([0, 30]),
        "species": rng.integers(0, 2, 9), "positions": rng.random((9, 3)),
        "first": first, "second": rng.integers(0, 9, 30), "vectors": rng.random((30, 3)),
    }  # fmt: skip
    [whole] = crystals(arrays)
    parts = pieces(whole, slots=count * whole.pairs.shape[1])
    assert [len(part.species) for part in parts] == [count] * (9 // count) + [9 % count] * bool(
        9 % count
    )
    found = [
        (part.first + atom, part.others[pair], part.ghosts[pair], *part.vectors[pair])
        for part in parts
        for atom, row in enumerate(part.pairs)
        for pair in row[row >= 0]
    ]
    species, second = arrays["species"], arrays["second"]
    assert found == [
        (a, b, species[b], *vector)
        for a, b, vector in zip(first, second, arrays["vectors"], strict=True)
    ]


def test_a_process_that_is_killed_is_said_and_replaced(trained, compound):
    potential, _ = trained
    before = potential.predict(compound[:1])[0].energy

    def interrupt(count):
        waiting = deepmd_process._idle[os.getpid(), deepmd_process.deepmd_python()]
        assert not waiting, "the process that trains is not idle"
        with deepmd_process.deepmd_process() as other:  # asked while another one trains
            assert other.ask({"task": "version"})["deepmd-kit"]
        raise KeyboardInterrupt

    other = create_potential("deep-potential", elements=["O", "Si"], members=1, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        other.fit(compound, epochs=50, seed=0, progress=interrupt)
    assert not other.is_fitted
    with deepmd_process.deepmd_process() as process:
        stopped = process._process
    os.kill(stopped.pid, signal.SIGKILL)
    stopped.wait()
    assert potential.predict(compound[:1])[0].energy == before
    with (
        pytest.raises(TrainingError, match="has ended: it was killed by signal 9"),
        deepmd_process.deepmd_process() as process,
    ):
        os.kill(process._process.pid, signal.SIGKILL)
        process._process.wait()
        process.ask({"task": "version"})
    deepmd_process.end_processes()
    assert not deepmd_process._idle[os.getpid(), deepmd_process.deepmd_python()]


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("/bin/true", r"/bin/true cannot import DeePMD-kit.*pip install.*CRYSEARCH_DEEPMD_PYTHON"),
        ("/no/such/python", r"CRYSEARCH_DEEPMD_PYTHON is '/no/such/python'.*pip install"),
    ],
)
def test_without_the_kit_it_says_how_to_install_it(python, message, silicon, monkeypatch):
    monkeypatch.setenv("CRYSEARCH_DEEPMD_PYTHON", python)
    potential = create_potential("deep-potential", elements=["Si"])
    with pytest.raises(TrainingError, match=message):
        potential.fit(silicon, epochs=1, seed=0)
    assert not potential.is_fitted


def test_this_python_is_asked_by_default(monkeypatch):
    monkeypatch.delenv("CRYSEARCH_DEEPMD_PYTHON", raising=False)
    assert deepmd_process.deepmd_python() == sys.executable


def test_the_definition_is_deepmd_kits():
    potential = create_potential("deep-potential", elements=["Si", "O"], **SMALL)
    assert potential.definition([12, 8]) == {
        "type": "standard",
        "type_map": ["O", "Si"],
        "descriptor": {
            "type": "se_e2_a",
            "rcut": 4.5,
            "rcut_smth": 0.5,
            "sel": [12, 8],
            "neuron": [4, 8],
            "axis_neuron": 2,
            "type_one_side": True,
            "precision": "float64",
        },
        "fitting_net": {"neuron": [10, 10], "resnet_dt": True, "precision": "float64"},
    }
    radial = create_potential("deep-potential", elements=["Si"], descriptor="se_e2_r")
    assert "axis_neuron" not in radial.definition([8])["descriptor"]


def test_prefactors_go_from_start_to_limit_with_the_learning_rate():
    potential = create_potential(
        "deep-potential",
        elements=["Si"],
        energy_prefactors=(0.1, 2.0),
        force_prefactors=(100.0, 1.0),
        virial_prefactors=(0.3, 0.5),
    )
    schedule = potential.schedule(LossWeights())
    assert prefactors(schedule, 1.0) == pytest.approx([0.1, 100.0, 0.3])
    assert prefactors(schedule, 0.25) == pytest.approx([1.525, 25.75, 0.45])
    assert prefactors(schedule, 0.0) == pytest.approx([2.0, 1.0, 0.5])
    without = potential.schedule(LossWeights(force=0.0))
    assert prefactors(without, 0.5) == pytest.approx([1.05, 0.0, 0.4])


def test_neighbours_are_counted_by_element(compound):
    """Against all distances in a supercell."""
    c = compound[1]
    found = find_neighbours([c], ["O", "Si"], 3.0)
    atoms = c.to_atoms()
    atoms.wrap()
    large = atoms * (5, 5, 5)
    middle = 62 * len(c)
    for place in range(len(c)):
        distances = large.get_distances(middle + place, range(len(large)))
        near = (distances > 1e-6) & (distances < 3.0)
        counts = [int((near & (large.numbers == z)).sum()) for z in (8, 14)]
        assert found.counts[place].tolist() == counts
    lengths = np.linalg.norm(found.vectors, axis=1)
    assert (np.diff(found.first) >= 0).all() and lengths.max() < 3.0
    ends = c.positions[found.first] + found.vectors - c.positions[found.second]
    shifts = ends @ np.linalg.inv(c.cell)
    np.testing.assert_allclose(shifts, np.round(shifts), atol=1e-9)


def test_crystals_of_high_energy_count_less(silicon):
    prepared = find_neighbours(silicon, ["Si"], 4.5)
    references = energy_scaling(silicon, prepared.species, 1)["references"]
    above = energies_above(silicon, prepared, references)
    above -= above.min()
    importance = labelled(silicon, prepared, above, 0.5)["importance"]
    assert importance[above.argmin()] == 1.0
    np.testing.assert_allclose(importance, 1.0 / (1.0 + (above / 0.5) ** 2))
    bare = replace(silicon[0], forces=None, stress=None)
    data = labelled([bare], find_neighbours([bare], ["Si"], 4.5), np.zeros(1), 1.0)
    assert data["has_forces"].tolist() == data["has_virials"].tolist() == [0.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"smoothing_start": 6.0},
        {"smoothing_start": 0.0},
        {"descriptor": "se_e3"},
        {"neurons": []},
        {"neurons": [10, 0]},
        {"axis_neurons": 41},
        {"fitting_neurons": [640, 20]},
        {"fitting_neurons": "60"},
        {"neighbours": [10, 10]},
        {"energy_prefactors": [1.0]},
        {"force_prefactors": [1.0, float("inf")]},
        {"virial_prefactors": [-1.0, 1.0]},
        {"final_rate": 1.5},
    ],
)
def test_bad_architectures_are_refused(changes):
    with pytest.raises(TrainingError, match=next(iter(changes))):
        create_potential("deep-potential", elements=["Si"], **changes)
