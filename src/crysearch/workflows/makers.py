"""Makers of flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobflow import Flow, Job, Maker

from crysearch.settings import load_settings
from crysearch.spec import SearchSpec
from crysearch.workflows import jobs
from crysearch.workflows.context import validate


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
    """

    name: str = "crystal search"
    sampling_jobs: int | None = None

    def make(self, spec: SearchSpec) -> Flow:
        """Make the flow of a search.

        Raises
        ------
        SpecError
            If the search cannot work, with every reason, before any work starts.
        """
        validate(spec)
        settings = load_settings()
        content = spec.model_dump(mode="json")
        steps: list[Any] = [jobs.named(jobs.gather_references(content), spec, "known structures")]

        def then(step: Job, name: str) -> None:
            steps.append(jobs.named(step, spec, name))

        if spec.replicas.wanted:
            then(jobs.train_model(content, after=steps[-1].output), "train the model")
            then(jobs.generate_replicas(content, after=steps[-1].output), "generate replicas")
        parallel = self.sampling_jobs or settings.sampling_jobs
        for size in spec.formula_units:
            filling = jobs.fill_quotas(content, size, parallel, after=steps[-1].output)
            then(filling, jobs.quotas_name(size))
        for kind in ("reference", "candidate"):
            relaxing = jobs.relax_all(content, kind, after=steps[-1].output)
            then(relaxing, f"relax {kind}s")
        then(jobs.judge(content, after=steps[-1].output), "verdicts")
        return Flow(steps, output=steps[-1].output, name=f"{self.name}: {spec.name}")
