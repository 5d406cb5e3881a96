"""Potentials in the records: trained on data sets, kept, and as files."""

from __future__ import annotations

from crysearch.workflows.potentials.files import export_potential, import_potential
from crysearch.workflows.potentials.maker import PotentialTrainingMaker, submit_training
from crysearch.workflows.potentials.training import potential_spec, train_on_dataset

__all__ = [
    "PotentialTrainingMaker",
    "export_potential",
    "import_potential",
    "potential_spec",
    "submit_training",
    "train_on_dataset",
]
