"""Calls of a relaxation engine for an analysis that needs every one of its structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pymatgen.core import Structure

from crysearch.analysis.symmetry import Symmetry, analyse_symmetry
from crysearch.errors import AnalysisError
from crysearch.relaxation import Evaluation, RelaxationResult, RelaxationSettings, Relaxer

#: Forces of this size (eV/Å) on the atoms of a cell at rest change the numbers of an analysis.
RESIDUAL_FORCE = 0.01


def symmetrised(structure: Structure, tolerance: float) -> Symmetry:
    """The symmetry of a structure, with its idealised cells.

    Raises
    ------
    AnalysisError
        If no space group is found.
    """
    if not tolerance > 0:
        raise AnalysisError(f"symmetry_tolerance={tolerance}: give a length in Å greater than 0")
    symmetry = analyse_symmetry(structure, tolerance)
    if symmetry.number is None:
        raise AnalysisError(
            f"no space group of {structure.composition.formula} at symmetry_tolerance="
            f"{tolerance} Å: {symmetry.failure}"
        )
    return symmetry


def relax_ions(
    relaxer: Relaxer,
    structures: Sequence[Structure],
    labels: Sequence[str],
    settings: RelaxationSettings | None,
    quantity: str,
) -> list[Evaluation]:
    """Relax the ions of every structure in its fixed cell, in one call of the engine.

    Parameters
    ----------
    labels
        What each structure is, for the error.
    settings
        ``fixed_cell`` is set whatever it was; None for forces below 0.001 eV/Å.
    quantity
        What the structures are for, for the error.

    Raises
    ------
    AnalysisError
        If one of them fails or does not converge.
    """
    settings = replace(settings or RelaxationSettings(force_tolerance=1e-3), fixed_cell=True)
    results = relaxer.relax(structures, settings)
    return _evaluations(relaxer, results, labels, quantity, settings)


def evaluate_all(
    relaxer: Relaxer, structures: Sequence[Structure], labels: Sequence[str], quantity: str
) -> list[Evaluation]:
    """Evaluate every structure as it is, in one call of the engine.

    Raises
    ------
    AnalysisError
        If one of them fails.
    """
    return _evaluations(relaxer, relaxer.single_point(structures), labels, quantity, None)


def _evaluations(
    relaxer: Relaxer,
    results: Sequence[RelaxationResult],
    labels: Sequence[str],
    quantity: str,
    settings: RelaxationSettings | None,
) -> list[Evaluation]:
    evaluations, troubles = [], []
    for result, label in zip(results, labels, strict=True):
        if result.evaluation is None:
            troubles.append(f"{label} failed ({result.failure}: {result.failure_detail})")
        elif settings is not None and not result.converged:
            troubles.append(
                f"{label} kept a force of {result.evaluation.largest_force:.3g} eV/Å after "
                f"{result.steps} steps (force_tolerance={settings.force_tolerance:g}, "
                f"max_steps={settings.max_steps})"
            )
        else:
            evaluations.append(result.evaluation)
    if troubles:
        more = f"; and {len(troubles) - 3} more" if len(troubles) > 3 else ""
        raise AnalysisError(
            f"no {quantity} by {relaxer.name}: {'; '.join(troubles[:3])}{more}; relax the "
            "structure first, or change the settings or the engine"
        )
    return evaluations
