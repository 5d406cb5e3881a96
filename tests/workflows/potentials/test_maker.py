"""A potential trained by a worker."""

from __future__ import annotations

import pytest
from fireworks.core.rocket_launcher import rapidfire
from typer.testing import CliRunner

from crysearch.cli.main import app
from crysearch.errors import RecordsError, TrainingError
from crysearch.records import open_records
from crysearch.workflows.launchpad import launchpad
from crysearch.workflows.potentials import (
    PotentialTrainingMaker,
    potential_spec,
    submit_training,
    train_on_dataset,
)
from small_potential import QUICK, silicon_dataset


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    with open_records(tmp_path / "records") as records:
        silicon_dataset(records, tmp_path)
    return tmp_path / "records"


def test_a_worker_trains_what_the_command_trains(place, tmp_path) -> None:
    part = potential_spec(QUICK)
    identifier, submission = submit_training("silicon", part, seed=1)
    assert submission.state == "added" and len(submission.fw_ids) == 1
    assert submit_training("silicon", part, seed=1)[1].state == "waiting"
    [other] = PotentialTrainingMaker().make("silicon", part, seed=2).jobs
    assert other.metadata["potential"] != identifier
    rapidfire(launchpad(), nlaunches=0, sleep_time=1)
    with open_records(place) as records:
        by_worker = records.get("potentials", identifier)
        assert by_worker is not None and by_worker["errors"]["test"]["configurations"] > 0
        # Elsewhere, without the worker's.
        with open_records(tmp_path / "other") as others:
            silicon_dataset(others, tmp_path)
            here = train_on_dataset(others, "silicon", part, seed=1)
    assert {**here, "created_at": 0} == {**by_worker, "created_at": 0}
    assert submit_training("silicon", part, seed=1) == (identifier, submission_of("complete"))
    words = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
    said = CliRunner().invoke(
        app, ["potential", "train", "silicon", *words, "--seed", "1", "--submit"]
    )
    assert f"Potential {identifier[:10]} is trained already." in said.output


def submission_of(state):
    from crysearch.workflows.submission import Submission

    return Submission(None, state)


def test_what_cannot_work_is_said_before_anything_is_submitted(place) -> None:
    with pytest.raises(RecordsError, match="germanium"):
        submit_training("germanium", potential_spec(QUICK))
    wrong = potential_spec({**QUICK, "architecture.colour": "red"})
    with pytest.raises(TrainingError, match="colour"):
        PotentialTrainingMaker().make("silicon", wrong)
    assert launchpad().get_fw_ids() == []
