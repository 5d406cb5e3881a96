"""Makers of flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from jobflow import Flow, Job, Maker

from crysearch.errors import SpecError
from crysearch.settings import load_settings
from crysearch.spec import SearchSpec
from crysearch.workflows import jobs
from crysearch.workflows.context import validate

#: What a search makes, in this order.
Goal = Literal["references", "replicas", "candidates", "verdicts"]
GOALS: tuple[Goal, ...] = get_args(Goal)


@dataclass
class CrystalSearchMaker(Maker):
    """Maker of the whole search, from the known structures to the verdicts.

    Parameters
    ----------
    name
        Name of the flow.
    sampling_jobs
        Jobs that sample random crystals of one cell size side by side; None for the number of the
        settings. What a search finds does not depend on it.
    until
        Where to pause: with the known ``references``, their ``replicas`` or the ``candidates`` at
        hand. A flow of the same specification goes on from there.
    """

    name: str = "crystal search"
    sampling_jobs: int | None = None
    until: Goal = "verdicts"

    def make(self, spec: SearchSpec) -> Flow:
        """Make the flow of a search.

        Raises
        ------
        SpecError
            If the search cannot work, with every reason, before any work starts.
        """
        if self.until not in GOALS:
            raise SpecError(f"until: {self.until!r} — choose one of {', '.join(GOALS)}")
        wanted = GOALS.index(self.until)
        validate(spec)
        settings = load_settings()
        content = spec.model_dump(mode="json")
        steps: list[Any] = [jobs.named(jobs.gather_references(content), spec, "known structures")]

        def then(step: Job, name: str) -> None:
            steps.append(jobs.named(step, spec, name))

        if wanted >= GOALS.index("replicas") and spec.replicas.wanted:
            then(jobs.train_model(content, after=steps[-1].output), "train the model")
            then(jobs.generate_replicas(content, after=steps[-1].output), "generate replicas")
        parallel = self.sampling_jobs or settings.sampling_jobs
        for size in spec.formula_units if wanted >= GOALS.index("candidates") else ():
            for guided in (False, True) if spec.screening.quotas.IV else (False,):
                filling = jobs.fill_quotas(content, size, parallel, guided, after=steps[-1].output)
                then(filling, jobs.quotas_name(size, guided))
        if self.until == "verdicts":
            for kind in ("reference", "candidate"):
                relaxing = jobs.relax_all(content, kind, after=steps[-1].output)
                then(relaxing, f"relax {kind}s")
            then(jobs.judge(content, after=steps[-1].output), "verdicts")
        return Flow(steps, output=steps[-1].output, name=f"{self.name}: {spec.name}")
