"""Molecular dynamics as flows: a job for each run, records, files, configurations."""

from __future__ import annotations

from crysearch.workflows.dynamics.analysing import Analysed, analyse_runs, draw_observables
from crysearch.workflows.dynamics.files import (
    export_trajectory,
    label_frames,
    read_trajectory,
)
from crysearch.workflows.dynamics.maker import (
    DynamicsMaker,
    run_dynamics,
    submit_dynamics,
)
from crysearch.workflows.dynamics.protocol import (
    ProtocolMaker,
    run_protocol,
    submit_protocol,
)
from crysearch.workflows.dynamics.running import summary_of
from crysearch.workflows.dynamics.starting import start_structure

__all__ = [
    "Analysed",
    "DynamicsMaker",
    "ProtocolMaker",
    "analyse_runs",
    "draw_observables",
    "export_trajectory",
    "label_frames",
    "read_trajectory",
    "run_dynamics",
    "run_protocol",
    "start_structure",
    "submit_dynamics",
    "submit_protocol",
    "summary_of",
]
