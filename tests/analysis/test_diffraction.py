from __future__ import annotations

import json

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crysearch.analysis import xray_pattern
from crysearch.errors import AnalysisError


@pytest.fixture(scope="module")
def diamond() -> Structure:
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])


def test_published_lines_of_silicon(diamond):
    """2θ of the silicon powder standard for Cu Kα1; intensities fall in the known order."""
    pattern = xray_pattern(diamond, "CuKa1", (10, 80))
    positions = [peak.two_theta for peak in pattern.peaks]
    np.testing.assert_allclose(positions, [28.44, 47.30, 56.12, 69.13, 76.38], atol=0.01)
    planes = [tuple(sorted(peak.miller_indices[0])) for peak in pattern.peaks]
    assert planes == [(1, 1, 1), (0, 2, 2), (1, 1, 3), (0, 0, 4), (1, 3, 3)]
    intensities = [peak.intensity for peak in pattern.peaks]
    assert intensities[0] == 100
    np.testing.assert_allclose(intensities[1:3], [60, 35], atol=8)


def test_lines_follow_bragg(diamond):
    pattern = xray_pattern(diamond)
    assert pattern.wavelength == pytest.approx(1.54184)
    for peak in pattern.peaks:
        spacing = 5.431 / np.linalg.norm(peak.miller_indices[0])
        assert peak.spacing == pytest.approx(spacing)
        assert 2 * spacing * np.sin(np.radians(peak.two_theta / 2)) == pytest.approx(1.54184)


def test_a_pattern_as_a_document(diamond):
    document = json.loads(json.dumps(xray_pattern(diamond).to_dict()))
    assert document["two_theta_range"] == [10.0, 90.0]
    assert document["peaks"][0]["intensity"] == 100


def test_the_cell_does_not_matter(diamond, disguise):
    one = xray_pattern(diamond)
    other = xray_pattern(disguise(diamond.get_primitive_structure(), 3))
    np.testing.assert_allclose(
        [(peak.two_theta, peak.intensity) for peak in one.peaks],
        [(peak.two_theta, peak.intensity) for peak in other.peaks],
        rtol=1e-6,
    )


def test_profile(diamond):
    pattern = xray_pattern(diamond, "CuKa1")
    two_theta, intensity = pattern.profile(width=0.3, points=8001)
    assert (two_theta[0], two_theta[-1], len(intensity)) == (10, 90, 8001)
    assert intensity.max() == 100
    strongest = pattern.peaks[0].two_theta
    assert two_theta[intensity.argmax()] == pytest.approx(strongest, abs=0.01)
    above = two_theta[(intensity > 50) & (np.abs(two_theta - strongest) < 2)]
    assert above[-1] - above[0] == pytest.approx(0.3, abs=0.03)
    # Every line keeps its share of the area.
    near = np.abs(two_theta - pattern.peaks[1].two_theta) < 2
    first = np.abs(two_theta - strongest) < 2
    share = intensity[near].sum() / intensity[first].sum()
    assert share == pytest.approx(pattern.peaks[1].intensity / 100, rel=1e-3)


@pytest.mark.parametrize("two_theta_range", [(0, 5), (10, 20), (10, 12)])
def test_no_lines(diamond, two_theta_range):
    """Nothing there, or the extinct 100 line only."""
    pattern = xray_pattern(diamond, "CuKa1", two_theta_range)
    assert pattern.peaks == ()
    assert not pattern.profile()[1].any()


def test_bad_input(diamond):
    with pytest.raises(AnalysisError, match="CuKa1"):
        xray_pattern(diamond, "Cu")
    with pytest.raises(AnalysisError, match="wavelength=-1"):
        xray_pattern(diamond, -1)
    with pytest.raises(AnalysisError, match="two_theta_range"):
        xray_pattern(diamond, two_theta_range=(50, 20))
    with pytest.raises(AnalysisError, match=r"width=0\.01"):
        xray_pattern(diamond).profile(width=0.01)


def test_lines_split_by_a_slight_distortion_are_merged():
    cubic = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
    distorted = cubic.copy()
    distorted.apply_strain([1e-4, 0, -1e-4])
    whole, split = xray_pattern(cubic), xray_pattern(distorted)
    assert len(split.peaks) > len(whole.peaks)
    merged = split.merged()
    assert merged.wavelength == whole.wavelength
    below = [peak for peak in whole.peaks if peak.two_theta < 80]
    again = [peak for peak in merged.peaks if peak.two_theta < 80]
    assert len(again) == len(below)
    for peak, expected in zip(again, below, strict=True):
        assert peak.two_theta == pytest.approx(expected.two_theta, abs=0.03)
        assert peak.intensity == pytest.approx(expected.intensity, rel=0.01)
    assert whole.merged().peaks == whole.peaks
