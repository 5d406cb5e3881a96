"""Makers of flows."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import Flow, Job, Maker

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
    """

    name: str = "crystal search"

    def make(self, spec: SearchSpec) -> Flow:
        """Make the flow of a search.

        Raises
        ------
        SpecError
            If the search cannot work, with every reason, before any work starts.
        """
        validate(spec)
        content = spec.model_dump(mode="json")
        steps: list[Flow | Job] = [jobs.gather_references(content)]
        if spec.replicas.wanted:
            steps.append(jobs.train_model(content, after=steps[-1].output))
            steps.append(jobs.generate_replicas(content, after=steps[-1].output))
        for formula_units in spec.formula_units:
            sampling = jobs.sample_and_screen(content, formula_units, after=steps[-1].output)
            sampling.name = f"sample and screen, {formula_units} formula units"
            steps.append(sampling)
        for kind in ("reference", "candidate"):
            relaxing = jobs.relax_all(content, kind, after=steps[-1].output)
            relaxing.name = f"relax {kind}s"
            steps.append(relaxing)
        steps.append(jobs.judge(content, after=steps[-1].output))
        return Flow(steps, output=steps[-1].output, name=f"{self.name}: {spec.name}")
