"""The questions people ask of the records: each a function of the store that returns rows.

``QUESTIONS`` has them all by name; `requests_of` gives the pymongo filters and pipelines that one
sends. The page ``docs/questions.md`` shows each as pymongo, as Python and on the command line.
"""

from __future__ import annotations

from crysearch.records.questions.asking import (
    QUESTIONS,
    Aggregate,
    Find,
    Recorder,
    Request,
    Rows,
    requests_of,
)
from crysearch.records.questions.comparisons import (
    compare_searches,
    composition,
    known_found,
    known_missed,
    searches_of_composition,
)
from crysearch.records.questions.origins import (
    crystals_near_reference,
    duplicates,
    engines,
    from_replica,
    lineage,
    replicas_by_reference,
)
from crysearch.records.questions.running import (
    acceptance,
    crystals_by_space_group,
    failed_inputs,
    failures_by_reason,
    progress,
    rejections,
    throughput,
)
from crysearch.records.questions.structures import (
    below_energy,
    density,
    lowest_energy_by_cell_size,
    lowest_energy_by_space_group,
    near_reference,
    new_structures,
    relaxation_moves,
    symmetry_changes,
    unconverged,
)

__all__ = [
    "QUESTIONS",
    "Aggregate",
    "Find",
    "Recorder",
    "Request",
    "Rows",
    "acceptance",
    "below_energy",
    "compare_searches",
    "composition",
    "crystals_by_space_group",
    "crystals_near_reference",
    "density",
    "duplicates",
    "engines",
    "failed_inputs",
    "failures_by_reason",
    "from_replica",
    "known_found",
    "known_missed",
    "lineage",
    "lowest_energy_by_cell_size",
    "lowest_energy_by_space_group",
    "near_reference",
    "new_structures",
    "progress",
    "rejections",
    "relaxation_moves",
    "replicas_by_reference",
    "requests_of",
    "searches_of_composition",
    "symmetry_changes",
    "throughput",
    "unconverged",
]
