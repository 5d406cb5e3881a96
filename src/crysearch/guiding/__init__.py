"""Guided crystals: random symmetric crystals moved downhill onto a target."""

from __future__ import annotations

from crysearch.guiding.base import OUTCOMES, GuidedBatch, GuidingSettings
from crysearch.guiding.guide import Guide

__all__ = ["OUTCOMES", "Guide", "GuidedBatch", "GuidingSettings"]
