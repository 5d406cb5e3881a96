from __future__ import annotations

import json

import pytest
from pymatgen.core import Lattice, Structure

from crysearch.analysis import match_prototypes
from crysearch.errors import AnalysisError

CRYSTALS = {
    "A_cF8_227_a": ("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]),
    "AB_cF8_225_a_b": ("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "A_cI2_229_a": ("Im-3m", Lattice.cubic(2.87), ["Fe"], [[0, 0, 0]]),
}


# Reading pymatgen's library takes about five seconds.
@pytest.mark.slow
@pytest.mark.parametrize("label", CRYSTALS)
def test_textbook_prototypes(label, disguise):
    structure = Structure.from_spacegroup(*CRYSTALS[label])
    result = match_prototypes(disguise(structure, 2, noise=0.01))
    (prototype,) = result.prototypes
    assert prototype.aflow == label
    assert prototype.pearson == label.split("_")[1]
    assert (result.length_tolerance, result.site_tolerance, result.angle_tolerance) == (
        0.2,
        0.3,
        5.0,
    )
    json.dumps(result.to_dict())


@pytest.mark.slow
def test_names():
    diamond = match_prototypes(Structure.from_spacegroup(*CRYSTALS["A_cF8_227_a"])).prototypes[0]
    assert (diamond.mineral, diamond.strukturbericht) == ("diamond", "A4")


@pytest.mark.slow
def test_no_prototype(published):
    assert match_prototypes(published["C2/m"]).prototypes == ()


@pytest.mark.slow
def test_no_prototype_of_the_formula():
    symbols = ["Li", "Na", "K", "Rb", "Cs", "Be", "Mg"]
    sites = [[k / 7, 0, 0] for k in range(7)]
    structure = Structure(Lattice.orthorhombic(20, 4, 4), symbols, sites)
    assert match_prototypes(structure).prototypes == ()


def test_bad_input():
    with pytest.raises(AnalysisError, match="greater than 0"):
        match_prototypes(Structure(Lattice.cubic(3), ["Cu"], [[0, 0, 0]]), angle_tolerance=0)
    mixed = Structure(Lattice.cubic(3), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(AnalysisError, match="partly occupied"):
        match_prototypes(mixed)
