"""Trained generative models as bytes; see `crysearch.packing`."""

from __future__ import annotations

from crysearch.packing import Packing

FORMAT = "crysearch-generative-model"
FORMAT_VERSION = 1

_PACKING = Packing(FORMAT, "generative model", FORMAT_VERSION)
pack = _PACKING.pack
unpack = _PACKING.unpack
