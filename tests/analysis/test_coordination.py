from __future__ import annotations

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crysearch.analysis import analyse_coordination
from crysearch.errors import AnalysisError

CRYSTALS = {
    "diamond": ("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]], 4, 5.431 * np.sqrt(3) / 4),
    "rock salt": (
        "Fm-3m",
        Lattice.cubic(5.64),
        ["Na", "Cl"],
        [[0, 0, 0], [0.5, 0.5, 0.5]],
        6,
        2.82,
    ),
    "fcc": ("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]], 12, 3.6 / np.sqrt(2)),
}


@pytest.mark.parametrize("method", ["crystal-nn", "minimum-distance"])
@pytest.mark.parametrize("name", CRYSTALS)
def test_textbook_crystals(name, method):
    *cell, number, length = CRYSTALS[name]
    structure = Structure.from_spacegroup(*cell)
    result = analyse_coordination(structure, method)
    assert result.numbers == (number,) * len(structure)
    assert result.mean == number
    assert result.histogram == {number: len(structure)}
    (bond,) = result.bonds
    assert len(bond.lengths) == number * len(structure)
    assert (bond.shortest, bond.mean, bond.longest) == pytest.approx((length,) * 3)
    assert bond.pair == ("Cl-Na" if name == "rock salt" else f"{cell[2][0]}-{cell[2][0]}")
    assert json.loads(json.dumps(result.to_dict()))["histogram"] == {str(number): len(structure)}


def test_mixed_coordination():
    """Rutile: six around titanium, three around oxygen."""
    structure = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    )
    result = analyse_coordination(structure)
    assert result.histogram == {3: 4, 6: 2}
    assert result.mean == pytest.approx(4)
    (bond,) = result.bonds
    assert bond.pair == "O-Ti"
    assert bond.shortest < bond.longest


def test_bad_input():
    structure = Structure(Lattice.cubic(3), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(AnalysisError, match="partly occupied"):
        analyse_coordination(structure)
    with pytest.raises(AnalysisError, match="method='voronoi'"):
        analyse_coordination(Structure(Lattice.cubic(3), ["Cu"], [[0, 0, 0]]), "voronoi")
