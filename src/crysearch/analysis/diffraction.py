"""Simulated X-ray powder patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pymatgen.analysis.diffraction.xrd import WAVELENGTHS, XRDCalculator
from pymatgen.core import Structure

from crysearch.analysis.plain import PlainResult
from crysearch.errors import AnalysisError

#: Lines weaker than this fraction of the strongest are left out.
WEAKEST = 1e-5


@dataclass(frozen=True)
class Peak(PlainResult):
    """One line of a powder pattern.

    Attributes
    ----------
    two_theta
        Position in degrees.
    intensity
        Relative intensity; the strongest line of the pattern has 100.
    miller_indices
        One (h, k, l) per family of planes that contributes, in the axes of the given cell.
    spacing
        Distance between the planes in Å.
    """

    two_theta: float
    intensity: float
    miller_indices: tuple[tuple[int, ...], ...]
    spacing: float


@dataclass(frozen=True)
class DiffractionPattern(PlainResult):
    """Lines of an X-ray powder pattern.

    Attributes
    ----------
    peaks
        Lines in order of 2θ.
    wavelength
        In Å.
    two_theta_range
        Range of 2θ in degrees.
    """

    peaks: tuple[Peak, ...]
    wavelength: float
    two_theta_range: tuple[float, float]

    def merged(self, width: float = 0.05) -> DiffractionPattern:
        """Pattern in which lines that no diffractometer resolves are one.

        The cell of a relaxed crystal keeps its symmetry only within a tolerance, which splits
        lines.

        Parameters
        ----------
        width
            Lines up to so many degrees above the first of them join it: intensities add, the
            position and the spacing are those of the strongest.
        """
        groups: list[list[Peak]] = []
        for peak in self.peaks:
            if groups and peak.two_theta - groups[-1][0].two_theta <= width:
                groups[-1].append(peak)
            else:
                groups.append([peak])
        sums = [sum(peak.intensity for peak in group) for group in groups]
        scale = 100 / max(sums, default=100)
        peaks = []
        for group, total in zip(groups, sums, strict=True):
            strongest = max(group, key=lambda peak: peak.intensity)
            families = tuple(indices for peak in group for indices in peak.miller_indices)
            peaks.append(Peak(strongest.two_theta, total * scale, families, strongest.spacing))
        return DiffractionPattern(tuple(peaks), self.wavelength, self.two_theta_range)

    def profile(self, width: float = 0.2, points: int = 2000) -> tuple[np.ndarray, np.ndarray]:
        """Pattern with every line broadened into a Gaussian.

        Parameters
        ----------
        width
            Full width at half maximum in degrees of 2θ, greater than 0.
        points
            Grid points over the range, at least 2. Lines narrower than a few grid steps are
            cut: keep ``width`` above three steps.

        Returns
        -------
        two_theta, intensity
            Degrees, and intensity with the highest point at 100; shapes (points,). Zero
            everywhere if there is no line in the range.

        Raises
        ------
        AnalysisError
            If the grid is too coarse for the width.
        """
        low, high = self.two_theta_range
        if points < 2 or not width >= 3 * (high - low) / (points - 1):
            raise AnalysisError(
                f"width={width}° on {points} points from {low}° to {high}°: give a width of at "
                "least three grid steps, or more points"
            )
        grid = np.linspace(low, high, points)
        centres = np.array([peak.two_theta for peak in self.peaks])
        heights = np.array([peak.intensity for peak in self.peaks])
        sigma = width / (2 * np.sqrt(2 * np.log(2)))
        offsets = (grid[:, None] - centres[None, :]) / sigma
        intensity = np.exp(-0.5 * offsets**2) @ heights
        top = intensity.max()
        return grid, 100 * intensity / top if top > 0 else intensity


def xray_pattern(
    structure: Structure,
    wavelength: str | float = "CuKa",
    two_theta_range: tuple[float, float] = (10.0, 90.0),
) -> DiffractionPattern:
    """X-ray powder pattern of a crystal, by pymatgen (kinematic, without thermal factors).

    Parameters
    ----------
    structure
        Crystal.
    wavelength
        A name that pymatgen knows, such as ``CuKa`` (weighted mean of Kα1 and Kα2) or
        ``CuKa1``, or a length in Å.
    two_theta_range
        Lowest and highest 2θ in degrees, within 0 and 180.

    Raises
    ------
    AnalysisError
        If the wavelength is unknown or not positive, or the range is empty or out of bounds.
    """
    if isinstance(wavelength, str) and wavelength not in WAVELENGTHS:
        raise AnalysisError(
            f"wavelength={wavelength!r} is unknown: give a length in Å or one of "
            f"{', '.join(sorted(WAVELENGTHS))}"
        )
    if not isinstance(wavelength, str) and not (np.isfinite(wavelength) and wavelength > 0):
        raise AnalysisError(f"wavelength={wavelength}: give a length in Å greater than 0")
    low, high = two_theta_range
    if not 0 <= low < high <= 180:
        raise AnalysisError(
            f"two_theta_range=({low}, {high}): give two angles with 0 <= low < high <= 180 degrees"
        )
    calculator = XRDCalculator(wavelength)
    length = float(calculator.wavelength)
    radii = [2 * np.sin(np.radians(angle / 2)) / length for angle in (low, high)]
    reciprocal = structure.lattice.reciprocal_lattice_crystallographic
    points = reciprocal.get_points_in_sphere([[0, 0, 0]], [0, 0, 0], radii[1])
    # pymatgen fails on a range without a reciprocal lattice point.
    if not any(distance > max(radii[0], 1e-8) for _, distance, *_ in points):
        return DiffractionPattern((), length, (low, high))
    try:
        pattern = calculator.get_pattern(structure, scaled=False, two_theta_range=(low, high))
    except ValueError as error:
        raise AnalysisError(f"no X-ray pattern of {structure.formula}: {error}") from error
    # Scaled by pymatgen, the round-off of an extinct line alone in the range would become 100.
    electrons = sum(site.species.total_electrons for site in structure)
    lines = [
        line
        for line in zip(pattern.x, pattern.y, pattern.hkls, pattern.d_hkls, strict=True)
        if line[1] > 1e-12 * electrons**2
    ]
    top = max((intensity for _, intensity, _, _ in lines), default=1.0)
    peaks = tuple(
        Peak(
            float(two_theta),
            float(100 * intensity / top),
            tuple(tuple(int(index) for index in plane["hkl"]) for plane in planes),
            float(spacing),
        )
        for two_theta, intensity, planes, spacing in lines
        if intensity >= WEAKEST * top
    )
    return DiffractionPattern(peaks, length, (low, high))
