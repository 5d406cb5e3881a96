"""Features of frames, for the methods of selection that go by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crysearch.datasets.frames import LabelledFrames
from crysearch.potentials.soap import SoapFeatures

#: Of the power spectra; a coarser set than a potential needs tells frames apart.
CUTOFF, RADIAL, ANGULAR = 6.0, 6, 4
_ATOMS = 4000


def frame_features(frames: LabelledFrames) -> NDArray[np.float64]:
    """SOAP power spectra of the atoms, averaged over those of each element.

    Returns
    -------
    ndarray
        (F, elements · D), one row for each frame.
    """
    configurations = frames.configurations()
    elements = configurations[0].elements
    soap = SoapFeatures(elements, cutoff=CUTOFF, radial=RADIAL, angular=ANGULAR)
    kinds = np.unique(frames.numbers)
    step = max(1, _ATOMS // len(frames.numbers))
    rows = []
    for begin in range(0, len(configurations), step):
        part = configurations[begin : begin + step]
        spectra = soap.compute(part).features.reshape(len(part), len(frames.numbers), -1)
        means = [spectra[:, frames.numbers == kind].mean(axis=1) for kind in kinds]
        rows.append(np.concatenate(means, axis=1))
    return np.concatenate(rows)
