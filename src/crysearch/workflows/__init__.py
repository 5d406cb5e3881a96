"""Jobs, Makers, the local run and submission: the only code that knows jobflow or FireWorks."""

from __future__ import annotations

from crysearch.workflows.local import run_search
from crysearch.workflows.makers import CrystalSearchMaker
from crysearch.workflows.submission import Submission, submit

__all__ = ["CrystalSearchMaker", "Submission", "run_search", "submit"]
