from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crysearch.analysis import analyse_mechanical_stability, born_conditions, laue_class
from crysearch.analysis.mechanical_stability import LAUE_CLASSES, standard_form
from crysearch.errors import AnalysisError


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    tensor = np.diag(np.array([c11, c11, c11, c44, c44, c44], dtype=float))
    tensor[:3, :3] += c12 * (1 - np.eye(3))
    return tensor


@st.composite
def random_tensors(draw, name: str) -> np.ndarray:
    """Tensors of the form of a class, shifted so that both verdicts are common."""
    numbers = draw(st.lists(st.floats(-1, 1), min_size=36, max_size=36))
    matrix = np.reshape(numbers, (6, 6))
    shift = draw(st.floats(0.0, 2.0))
    return standard_form((matrix + matrix.T) / 2 + shift * np.eye(6), name)


@pytest.mark.parametrize("name", [name for name in LAUE_CLASSES if name != "triclinic"])
@given(data=st.data())
def test_conditions_are_necessary_and_sufficient(name, data):
    tensor = data.draw(random_tensors(name))
    eigenvalues = np.linalg.eigvalsh(tensor)
    assume(np.abs(eigenvalues).min() > 1e-3)
    conditions = born_conditions(tensor, name)
    assert all(condition.holds for condition in conditions) == (eigenvalues.min() > 0)


@pytest.mark.parametrize("name", LAUE_CLASSES)
def test_both_verdicts_occur(name):
    """The random tensors of the test above are stable and unstable in turn."""
    rng = np.random.default_rng(1)
    verdicts = set()
    for shift in np.linspace(0, 2, 40):
        matrix = rng.uniform(-1, 1, (6, 6))
        tensor = standard_form((matrix + matrix.T) / 2 + shift * np.eye(6), name)
        verdicts.add(bool(np.linalg.eigvalsh(tensor).min() > 0))
    assert verdicts == {True, False}


@pytest.mark.parametrize(
    ("space_group", "expected"),
    [
        (2, "triclinic"),
        (12, "monoclinic"),
        (62, "orthorhombic"),
        (75, "tetragonal II"),
        (88, "tetragonal II"),
        (89, "tetragonal I"),
        (142, "tetragonal I"),
        (148, "rhombohedral II"),
        (149, "rhombohedral I"),
        (167, "rhombohedral I"),
        (168, "hexagonal"),
        (194, "hexagonal"),
        (227, "cubic"),
    ],
)
def test_laue_classes(space_group, expected):
    assert laue_class(space_group) == expected


PUBLISHED = {
    # Measured at room temperature, GPa, rounded: Simmons and Wang (1971) for the elements.
    "silicon": (227, cubic(165.7, 63.9, 79.6)),
    "copper": (225, cubic(168.4, 121.4, 75.4)),
    "magnesium": (
        194,
        standard_form(
            [
                [59.7, 26.2, 21.7, 0, 0, 0],
                [26.2, 59.7, 21.7, 0, 0, 0],
                [21.7, 21.7, 61.7, 0, 0, 0],
                [0, 0, 0, 16.4, 0, 0],
                [0, 0, 0, 0, 16.4, 0],
                [0, 0, 0, 0, 0, 16.75],
            ],
            "hexagonal",
        ),
    ),
    "quartz": (
        154,
        standard_form(
            [
                [87.2, 6.6, 12.0, -17.8, 0, 0],
                [6.6, 87.2, 12.0, 17.8, 0, 0],
                [12.0, 12.0, 105.8, 0, 0, 0],
                [-17.8, 17.8, 0, 57.2, 0, 0],
                [0, 0, 0, 0, 57.2, -17.8],
                [0, 0, 0, 0, -17.8, 40.3],
            ],
            "rhombohedral I",
        ),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_real_crystals_are_stable(name):
    space_group, tensor = PUBLISHED[name]
    result = analyse_mechanical_stability(tensor, space_group)
    assert result.is_stable
    assert result.failing == ()
    assert all(condition.holds for condition in result.conditions)
    json.dumps(result.to_dict())


def test_kelvin_moduli_of_a_cubic_crystal():
    """Their closed form: C11 - C12 (twice), 2 C44 (three times), C11 + 2 C12."""
    result = analyse_mechanical_stability(cubic(165.7, 63.9, 79.6), 227)
    np.testing.assert_allclose(
        result.eigenvalues, sorted([101.8, 101.8, 159.2, 159.2, 159.2, 293.5])
    )


def test_a_failing_shear_is_named():
    result = analyse_mechanical_stability(cubic(100, 50, -10), 225)
    assert not result.is_stable
    assert [c.expression for c in result.conditions if not c.holds] == ["C44"]
    assert len(result.failing) == 3
    for pattern in result.failing:
        strain = np.array(pattern.strain)
        assert pattern.modulus == pytest.approx(-20)
        np.testing.assert_allclose(np.diag(strain), 0, atol=1e-12)
        assert np.linalg.norm(strain) == pytest.approx(1)


def test_moduli_do_not_depend_on_the_axes():
    """The Kelvin moduli of a turned crystal are the same, unlike the eigenvalues of Voigt's."""
    from pymatgen.analysis.elasticity import ElasticTensor
    from pymatgen.core.operations import SymmOp

    turn = SymmOp.from_axis_angle_and_translation([1, 2, 3], 37)
    tensor = PUBLISHED["quartz"][1]
    turned = np.array(ElasticTensor.from_voigt(tensor).transform(turn).voigt)
    before = analyse_mechanical_stability(tensor, 1).eigenvalues
    np.testing.assert_allclose(analyse_mechanical_stability(turned, 1).eigenvalues, before)
    with pytest.raises(AnalysisError, match="rhombohedral I crystal"):
        analyse_mechanical_stability(turned, 154)


def test_tolerance():
    tensor = cubic(100, 99, 50)
    assert analyse_mechanical_stability(tensor, 225).is_stable
    assert not analyse_mechanical_stability(tensor, 225, tolerance=2.0).is_stable


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.eye(3), r"shape \(3, 3\)"),
        (np.full((6, 6), np.nan), "finite"),
        (cubic(100, 50, 30) + np.triu(np.ones((6, 6)), 1), "not symmetric"),
        (np.diag([1.0, 2, 3, 4, 5, 6]), "form of a cubic crystal"),
    ],
)
def test_bad_input(tensor, message):
    with pytest.raises(AnalysisError, match=message):
        analyse_mechanical_stability(tensor, 227)
    with pytest.raises(AnalysisError, match="space_group=0"):
        analyse_mechanical_stability(np.eye(6), 0)
    with pytest.raises(AnalysisError, match="laue_class='cube'"):
        born_conditions(np.eye(6), "cube")
