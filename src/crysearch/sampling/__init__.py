"""Random crystals with chosen composition, volume, minimum distances and space groups.

``create_sampler(name, request)`` makes a sampler; a new one is a module and a line in
``SAMPLERS``. Samplers are imported on first use, since checking a request needs neither numba nor
PyXtal.
"""

from __future__ import annotations

from importlib import import_module

from crysearch.errors import SamplingError
from crysearch.sampling.base import CrystalBatch, CrystalRequest, CrystalSampler

SAMPLERS = {
    "wyckoff": ("crysearch.sampling.random_crystals", "WyckoffSampler"),
    "pyxtal": ("crysearch.sampling.pyxtal_sampler", "PyXtalSampler"),
}


def create_sampler(name: str, request: CrystalRequest) -> CrystalSampler:
    """Make the sampler of a name for a request.

    Parameters
    ----------
    name : str
        A key of ``SAMPLERS``: ``"wyckoff"`` (compiled, fast) or ``"pyxtal"`` (independent, slow).
    request : CrystalRequest

    Raises
    ------
    SamplingError
        For an unknown name.
    """
    if name not in SAMPLERS:
        raise SamplingError(f"sampler: {name!r} is unknown; choose from {', '.join(SAMPLERS)}")
    module, attribute = SAMPLERS[name]
    return getattr(import_module(module), attribute)(request)


__all__ = ["SAMPLERS", "CrystalBatch", "CrystalRequest", "CrystalSampler", "create_sampler"]
