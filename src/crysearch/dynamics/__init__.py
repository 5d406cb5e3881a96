"""Molecular dynamics behind one interface: a structure in, a trajectory out."""

from crysearch.dynamics.base import (
    DynamicsSettings,
    DynamicsStatus,
    Ensemble,
    Propagator,
)
from crysearch.dynamics.trajectory import Trajectory

__all__ = [
    "DynamicsSettings",
    "DynamicsStatus",
    "Ensemble",
    "Propagator",
    "Trajectory",
]
