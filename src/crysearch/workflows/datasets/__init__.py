"""Data sets of reference calculations between files and records."""

from __future__ import annotations

from crysearch.workflows.datasets.importing import Imported, import_files
from crysearch.workflows.datasets.reading import (
    check_dataset,
    export_dataset,
    labelled,
    read_dataset,
)
from crysearch.workflows.datasets.selecting import select_dataset

__all__ = [
    "Imported",
    "check_dataset",
    "export_dataset",
    "import_files",
    "labelled",
    "read_dataset",
    "select_dataset",
]
