"""Figures of publication quality from plain documents and arrays.

Every ``plot_*`` returns a matplotlib Figure that no global state knows of, and writes it to
``path`` (.png, .pdf or .svg) if one is given.
"""

from __future__ import annotations

from crysearch.plotting.active_learning import (
    plot_learning_curve,
    plot_pool_energies,
    plot_pool_map,
)
from crysearch.plotting.active_learning_errors import plot_calibration, plot_predictions
from crysearch.plotting.assessment import plot_assessments
from crysearch.plotting.descent import Descent, plot_descent
from crysearch.plotting.design import plot_design_map
from crysearch.plotting.distances import plot_distances
from crysearch.plotting.energies import plot_energies
from crysearch.plotting.equation_of_state import plot_equations_of_state
from crysearch.plotting.hull import plot_hull
from crysearch.plotting.latent import plot_latent_map
from crysearch.plotting.overview import RdfPair, plot_overview
from crysearch.plotting.pairs import plot_rdf_pair, plot_xray_pair
from crysearch.plotting.phonon_bands import plot_phonon_bands
from crysearch.plotting.radial import (
    Curve,
    Network,
    plot_networks,
    plot_radial_distributions,
)
from crysearch.plotting.selection import plot_selection_errors, plot_selection_liquids
from crysearch.plotting.study import plot_study_losses, plot_study_measures
from crysearch.plotting.training import plot_loss_curves

__all__ = [
    "Curve",
    "Descent",
    "Network",
    "RdfPair",
    "plot_assessments",
    "plot_calibration",
    "plot_descent",
    "plot_design_map",
    "plot_distances",
    "plot_energies",
    "plot_equations_of_state",
    "plot_hull",
    "plot_latent_map",
    "plot_learning_curve",
    "plot_loss_curves",
    "plot_networks",
    "plot_overview",
    "plot_phonon_bands",
    "plot_pool_energies",
    "plot_pool_map",
    "plot_predictions",
    "plot_radial_distributions",
    "plot_rdf_pair",
    "plot_selection_errors",
    "plot_selection_liquids",
    "plot_study_losses",
    "plot_study_measures",
    "plot_xray_pair",
]
