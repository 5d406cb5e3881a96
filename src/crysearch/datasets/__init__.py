"""Data sets of reference calculations: files, checks and splits."""

from __future__ import annotations

from crysearch.datasets.checks import Finding, Limits, check, duplicate_pairs
from crysearch.datasets.facts import Facts, facts_of
from crysearch.datasets.files import Keys, read_extxyz, write_extxyz
from crysearch.datasets.labelled import LabelledStructure
from crysearch.datasets.splits import SPLITS, assign_splits, check_fractions

__all__ = [
    "SPLITS",
    "Facts",
    "Finding",
    "Keys",
    "LabelledStructure",
    "Limits",
    "assign_splits",
    "check",
    "check_fractions",
    "duplicate_pairs",
    "facts_of",
    "read_extxyz",
    "write_extxyz",
]
