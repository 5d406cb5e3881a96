"""Interatomic potentials that are trained here: energies, forces, stresses and their doubt.

``create_potential("behler-parrinello", elements=["Si"])`` makes one, ``fit`` trains it on
`Configuration` objects, ``evaluate`` gives a `Prediction` or a `Failure` for each structure. torch
is imported with the first potential, not before.
"""

from __future__ import annotations

from crysearch.potentials.base import MINIMUM_CONFIGURATIONS, Prediction, TrainablePotential
from crysearch.potentials.configuration import Configuration, Failure
from crysearch.potentials.history import FitHistory, LossWeights
from crysearch.potentials.registry import available_potentials, create_potential, load_potential
from crysearch.potentials.symmetry_functions import SymmetryFunctions

__all__ = [
    "MINIMUM_CONFIGURATIONS",
    "Configuration",
    "Failure",
    "FitHistory",
    "LossWeights",
    "Prediction",
    "SymmetryFunctions",
    "TrainablePotential",
    "available_potentials",
    "create_potential",
    "load_potential",
]
