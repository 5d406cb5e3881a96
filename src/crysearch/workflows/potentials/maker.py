"""The training of a potential on a data set as a flow, for workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireworks import LaunchPad
from jobflow import Flow, Job, Maker, job

from crysearch.active_learning_spec import PotentialSpec
from crysearch.workflows.context import job_records
from crysearch.workflows.jobs import BATCHED, config
from crysearch.workflows.launchpad import launchpad as configured_launchpad
from crysearch.workflows.potentials.training import Training, plan_training, train_on_dataset
from crysearch.workflows.submission import Submission, add_to, submitted_before


@job(config=config(BATCHED))
def train_potential(dataset: str, potential: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train a potential on the data set with this ``_id``, and keep it in the records."""
    with job_records() as records:
        part = PotentialSpec.model_validate(potential)
        document = train_on_dataset(records, dataset, part, seed)
    return {"potential": document["_id"], "errors": document["errors"]}


@dataclass
class PotentialTrainingMaker(Maker):
    """Maker of the flow that trains a potential: one job.

    Where its worker is killed, the next one goes on from the last checkpoint. Other jobs refer to
    the potential as ``flow.output["potential"]``.
    """

    name: str = "training"

    def make(self, dataset: str, part: PotentialSpec, seed: int = 0) -> Flow:
        """Make the flow.

        Parameters
        ----------
        dataset
            Its name, or the beginning of its ``_id``.
        part
            See `crysearch.workflows.potentials.potential_spec`.
        seed
            Of weights, batches and held-out parts.

        Raises
        ------
        CrysearchError
            There is no such data set, it has nothing to learn from, or the potential does not take
            its arguments.
        """
        with job_records() as records:
            return self._flow(plan_training(records, dataset, part, seed), part, seed)

    def _flow(self, asked: Training, part: PotentialSpec, seed: int) -> Flow:
        new: Job = train_potential(asked.dataset["_id"], part.model_dump(mode="json"), seed)
        new.name = f"{self.name} of {part.model} on {asked.dataset['name']}"
        new.metadata["potential"] = asked.identifier
        return Flow([new], output=new.output, name=new.name)


def submit_training(
    dataset: str, part: PotentialSpec, seed: int = 0, launchpad: LaunchPad | None = None
) -> tuple[str, Submission]:
    """Put a training on the launch pad, once; if it has failed, it is made ready again.

    Returns
    -------
    str
        The ``_id`` that the potential will have.
    Submission

    Raises
    ------
    CrysearchError
        It cannot work, or the database does not answer.
    """
    with job_records() as records:
        asked = plan_training(records, dataset, part, seed)
        if asked.known(records) is not None:
            return asked.identifier, Submission(None, "complete")
    pad = configured_launchpad() if launchpad is None else launchpad
    metadata = {"potential": asked.identifier}
    earlier = submitted_before(pad, metadata)
    flow = PotentialTrainingMaker()._flow(asked, part, seed)
    state, fw_ids = earlier or ("added", add_to(pad, flow, metadata))
    return asked.identifier, Submission(None, state, fw_ids)
