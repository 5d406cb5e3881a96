"""Generative models of radial distribution functions, and the replicas made with them.

``create_model("vae")`` makes a model, ``fit`` trains it, `replicas` has the latent points to
decode and the diagnostics of what comes out. torch is imported with the first model, not before.
"""

from __future__ import annotations

from crysearch.generative.base import MINIMUM_TRAINING, GenerativeModel, TrainingHistory
from crysearch.generative.registry import available_models, create_model, load_model
from crysearch.generative.replicas import (
    ReplicaDiagnostics,
    interpolate,
    latent_arithmetic,
    latent_grid,
    random_latent_points,
    replica_diagnostics,
)
from crysearch.generative.scaler import GlobalMaximumScaler

__all__ = [
    "MINIMUM_TRAINING",
    "GenerativeModel",
    "GlobalMaximumScaler",
    "ReplicaDiagnostics",
    "TrainingHistory",
    "available_models",
    "create_model",
    "interpolate",
    "latent_arithmetic",
    "latent_grid",
    "load_model",
    "random_latent_points",
    "replica_diagnostics",
]
