"""Guided crystals: random symmetric crystals moved downhill onto a target.

A crystal drawn from the Wyckoff positions of a space group has a few free coordinates and cell
parameters. Pearson's distance between its radial distribution function and a target is
differentiable in them, so that it can be moved onto a chosen known structure, replica or mixture
without leaving its space group::

    guide = Guide(rdf, targets, request)
    choice, used = TargetChoice(tries=3).assign(guide.broad_distances(crystals), used)
    guided = guide.descend(crystals, choice)
    guided.counts()                             # {"reached": ..., "too_far": ..., ...}
    guided.crystals.select(guided.reached)
"""

from __future__ import annotations

from crysearch.guiding.base import OUTCOMES, GuidedBatch, GuidingSettings, VolumeMode
from crysearch.guiding.guide import Guide
from crysearch.guiding.parameters import without_symmetry
from crysearch.guiding.targets import Policy, TargetChoice, mixtures

__all__ = [
    "OUTCOMES",
    "Guide",
    "GuidedBatch",
    "GuidingSettings",
    "Policy",
    "TargetChoice",
    "VolumeMode",
    "mixtures",
    "without_symmetry",
]
