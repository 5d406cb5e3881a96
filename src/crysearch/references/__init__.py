"""Known structures: bundled snapshots, files and the Materials Project, checked for soundness."""

from __future__ import annotations

from crysearch.references.base import Reference, SetAside
from crysearch.references.files import load_files
from crysearch.references.materials_project import fetch_materials_project
from crysearch.references.snapshots import available_snapshots, load_snapshot
from crysearch.references.soundness import (
    REASONS,
    SoundnessSettings,
    check_references,
    find_duplicates,
)

__all__ = [
    "REASONS",
    "Reference",
    "SetAside",
    "SoundnessSettings",
    "available_snapshots",
    "check_references",
    "fetch_materials_project",
    "find_duplicates",
    "load_files",
    "load_snapshot",
]
