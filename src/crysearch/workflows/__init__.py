"""Jobs, Makers and the local run: the only code that knows jobflow or FireWorks."""

from __future__ import annotations

from crysearch.workflows.local import run_search
from crysearch.workflows.makers import CrystalSearchMaker

__all__ = ["CrystalSearchMaker", "run_search"]
