"""Guided crystals: random symmetric crystals moved downhill onto a target."""

from __future__ import annotations

from crysearch.guiding.base import OUTCOMES, GuidedBatch, GuidingSettings, VolumeMode
from crysearch.guiding.guide import Guide
from crysearch.guiding.targets import TargetChoice, choose_targets

__all__ = [
    "OUTCOMES",
    "Guide",
    "GuidedBatch",
    "GuidingSettings",
    "TargetChoice",
    "VolumeMode",
    "choose_targets",
]
