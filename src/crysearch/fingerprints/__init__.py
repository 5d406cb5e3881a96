"""Fingerprints of crystals: radial distribution functions and the distance between them."""

from __future__ import annotations

from crysearch.fingerprints.distances import (
    is_comparable,
    pearson_distance,
    pearson_distance_matrix,
)
from crysearch.fingerprints.nearest import NearestFingerprint
from crysearch.fingerprints.rdf import RadialDistributionFunction

__all__ = [
    "NearestFingerprint",
    "RadialDistributionFunction",
    "is_comparable",
    "pearson_distance",
    "pearson_distance_matrix",
]
