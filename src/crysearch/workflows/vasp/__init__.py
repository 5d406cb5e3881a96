"""First-principles relaxations with VASP, through atomate2 and custodian.

Importing this needs neither: a machine may submit what another runs.
"""

from __future__ import annotations

from crysearch.workflows.vasp.checks import check_vasp
from crysearch.workflows.vasp.jobs import vasp_jobs
from crysearch.workflows.vasp.protocols import PROTOCOLS, Protocol, get_protocol

__all__ = ["PROTOCOLS", "Protocol", "check_vasp", "get_protocol", "vasp_jobs"]
