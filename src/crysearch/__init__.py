"""crysearch: search for new crystal phases near, and beyond, the known ones."""

from __future__ import annotations

import os

# OpenMP threads that wait by spinning make torch tens of times slower as soon as anything else
# uses the cores. Must be set before torch is imported; a value set by the user stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# spglib's library writes to the terminal what its functions report anyway.
os.environ.setdefault("SPGLIB_WARNING", "OFF")

__version__ = "0.1.0"
