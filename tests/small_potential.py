"""A potential that is trained in a second, on rattled silicon of Stillinger and Weber."""

from __future__ import annotations

from pathlib import Path

from crysearch.records import RecordStore
from crysearch.workflows.datasets import import_files
from labelled_crystals import silicon_file

METHOD = "Stillinger-Weber, matscipy"
#: Changes of the settings of a training that make it fast.
QUICK = {
    "members": 2,
    "cutoff": 4.5,
    "architecture.radial": 6,
    "architecture.angular": 1,
    "architecture.hidden_layers": [8],
    "epochs": 20,
}


def silicon_dataset(records: RecordStore, folder: Path, frames: int = 30) -> str:
    """Import rattled silicon: 60 % to train on, 20 % for validation and test each; its name."""
    file = silicon_file(folder / "silicon.extxyz", range(frames))
    import_files(records, [file], name="silicon", method=METHOD, fractions=[0.6, 0.2, 0.2])
    return "silicon"
