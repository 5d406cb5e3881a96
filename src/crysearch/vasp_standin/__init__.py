"""A program that takes VASP's input files and writes VASP's output files, but is not VASP.

For tests and demonstrations on machines without VASP: energies, forces and stresses come from one
of the engines of :mod:`crysearch.relaxation`, ASE's optimizers move the atoms, and everything that
needs electrons (eigenvalues, densities of states, magnetisation) is absent from the output. Every
file says that it comes from the stand-in; :func:`is_standin` reads that back.
"""

from __future__ import annotations

from crysearch.vasp_standin.mark import ENGINE_VARIABLE, FAIL_VARIABLE, MARK, VERSION, is_standin

__all__ = ["ENGINE_VARIABLE", "FAIL_VARIABLE", "MARK", "VERSION", "is_standin"]
