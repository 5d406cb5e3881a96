"""Relaxation with the mean of an ensemble, which ends where its members disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ase import Atoms

from crysearch.active_learning.ensembles import Ensemble, MeanEvaluation
from crysearch.errors import ActiveLearningError
from crysearch.relaxation.base import Evaluation, Status
from crysearch.relaxation.lockstep import LockstepRelaxer


class EnsembleRelaxer(LockstepRelaxer):
    """Relaxation engine around an ensemble of potentials.

    Each structure ends as ``converged``, ``step_limit``, ``uncertain`` (the members disagree: the
    structure is the first at which they do) or ``failed`` with its reason. The evaluations of the
    results are :class:`~crysearch.active_learning.ensembles.MeanEvaluation`.

    Parameters
    ----------
    ensemble
    disagreement_limit
        A relaxation stops when the standard deviation over the members of the force on any atom
        exceeds this, eV/Å; also one whose mean forces are small. None never stops.
    relative_limit
        And exceeds this times the largest mean force. Where forces are large, as in most random
        crystals, the members agree on the way down long before they agree on how steep it is. 0
        leaves the first condition alone.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        disagreement_limit: float | None,
        relative_limit: float = 0.0,
    ) -> None:
        if disagreement_limit is not None and not (
            math.isfinite(disagreement_limit) and disagreement_limit > 0
        ):
            raise ActiveLearningError(
                f"disagreement_limit={disagreement_limit!r} must be greater than 0 (in eV/Å), or "
                "None for no limit"
            )
        if not (math.isfinite(relative_limit) and relative_limit >= 0):
            raise ActiveLearningError(f"relative_limit={relative_limit!r} must be at least 0")
        self._ensemble = ensemble
        self._limit = disagreement_limit
        self._relative = relative_limit

    @property
    def name(self) -> str:
        """``"ensemble"``."""
        return "ensemble"

    @property
    def provenance(self) -> dict[str, str]:
        """What the ensemble says of itself."""
        return {"engine": self.name, **self._ensemble.provenance}

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """Mean energy, forces and stress of each structure, with the disagreement."""
        return [found.mean() for found in self._ensemble.evaluate(batch)]

    def early_end(self, evaluation: Evaluation) -> Status | None:
        """``"uncertain"`` where the members disagree."""
        if self._limit is None:
            return None
        assert isinstance(evaluation, MeanEvaluation)
        limit = max(self._limit, self._relative * evaluation.largest_force)
        return "uncertain" if evaluation.disagreement > limit else None
