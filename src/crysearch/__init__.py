"""crysearch: search for new crystal phases near, and beyond, the known ones."""

from __future__ import annotations

__version__ = "0.1.0"
