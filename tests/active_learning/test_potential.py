"""A trained potential as the ensemble of a search."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import GPa
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from active_learning.toy_ensembles import diamond
from crysearch.active_learning import EnsembleRelaxer, PotentialEnsemble
from crysearch.errors import ActiveLearningError
from crysearch.potentials import Configuration, create_potential
from crysearch.relaxation import create_relaxer

SMALL = {"elements": ["Si"], "cutoff": 4.0, "radial": 4, "angular": 0, "hidden_layers": [6]}


def crystals(count: int) -> list[Structure]:
    random = np.random.default_rng(2)
    found = []
    for _ in range(count):
        perfect = diamond(random.uniform(5.2, 5.7))
        positions = perfect.cart_coords + random.normal(0, 0.15, (len(perfect), 3))
        found.append(
            Structure(perfect.lattice, perfect.species, positions, coords_are_cartesian=True)
        )
    return found


@pytest.fixture(scope="module")
def potential():
    structures = crystals(12)
    results = create_relaxer("stillinger-weber").single_point(structures)
    found = create_potential("behler-parrinello", **SMALL, members=3)
    found.fit(
        [
            Configuration.from_structure(
                structure, result.energy, result.forces, result.stress * GPa
            )
            for structure, result in zip(structures, results, strict=True)
        ],
        epochs=15,
        seed=1,
    )
    return found


def test_means_and_deviations_are_those_of_the_potential(potential):
    structures = crystals(3)
    ensemble = PotentialEnsemble(potential)
    atoms = [AseAtomsAdaptor.get_atoms(structure) for structure in structures]
    predictions = potential.predict(structures)
    for evaluation, prediction in zip(ensemble.evaluate(atoms), predictions, strict=True):
        mean = evaluation.mean()
        assert mean.energy == pytest.approx(prediction.energy)
        assert mean.forces == pytest.approx(prediction.forces, abs=1e-9)
        assert mean.stress * GPa == pytest.approx(prediction.stress, abs=1e-9)
        assert mean.energy_deviation * 8 == pytest.approx(prediction.energy_deviation)
        assert mean.force_deviations == pytest.approx(prediction.force_deviations)
    assert ensemble.provenance["members"] == "3"


def test_a_structure_it_cannot_take_fails_alone(potential):
    foreign = Structure(diamond().lattice, ["Ge"] * 8, diamond().frac_coords)
    relaxer = EnsembleRelaxer(PotentialEnsemble(potential), None)
    good, bad = relaxer.single_point([crystals(1)[0], foreign])
    assert good.status == "single_point"
    assert (bad.status, bad.failure) == ("failed", "engine_error")
    assert "unknown_element" in bad.failure_detail


def test_one_member_and_an_untrained_potential_are_refused():
    with pytest.raises(ActiveLearningError, match="members=1"):
        PotentialEnsemble(create_potential("behler-parrinello", **SMALL, members=1))
    with pytest.raises(ActiveLearningError, match="not trained"):
        PotentialEnsemble(create_potential("behler-parrinello", **SMALL, members=2))
