"""A structure through VASP's whole chain, with the stand-in as VASP; and each way to fail."""

from __future__ import annotations

import json
import os
import time

import bson
import numpy as np
import pytest
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow
from pymatgen.core import Lattice, Structure

pytest.importorskip("atomate2", reason="pip install 'crysearch[vasp]'")

from emmet.core.tasks import TaskDoc

from crysearch.errors import VaspError
from crysearch.relaxation import create_relaxer
from crysearch.settings import load_settings
from crysearch.vasp_standin import FAIL_VARIABLE
from crysearch.workflows.jobs import CPU, MPI
from crysearch.workflows.vasp import get_protocol, protocols, time_limit, vasp_jobs
from crysearch.workflows.vasp import jobs as vasp_module
from crysearch.workflows.vasp.running import run_step

from .conftest import compute


@pytest.mark.slow
def test_silicon_relaxes_to_the_engine_s_own_minimum(standin, silicon):
    outcome, store = compute(silicon)
    assert (outcome["status"], outcome["reason"]) == ("converged", None)
    assert outcome["stand_in"] is True
    assert outcome["scheme"] == "stand-in for vasp:lda"
    assert outcome["max_force"] < 0.01
    assert outcome["max_stress"] < 0.1
    assert outcome["steps"] > 2
    relaxed = Structure.from_dict(outcome["structure"])
    # Diamond, for which the potential was made; once more by our own relaxation.
    relaxer = create_relaxer("stillinger-weber")
    (reference,) = relaxer.relax([silicon])
    assert outcome["energy_per_atom"] == pytest.approx(reference.energy / 2, abs=2e-4)
    assert relaxed.volume == pytest.approx(5.431**3 / 4, rel=5e-3)
    # Sign and unit of the stress, from the same engine at the same structure.
    (single,) = relaxer.evaluate([relaxed.to_ase_atoms()])
    assert np.allclose(outcome["stress"], single.stress, atol=2e-3)
    # What the stand-in cannot know.
    assert outcome["band_gap"] is outcome["is_metal"] is outcome["is_gap_direct"] is None
    settings = outcome["settings"]
    assert settings["functional"] == "LDA (Ceperley–Alder)"
    assert (settings["encut"], settings["k_mesh"]) == (500, [16, 16, 16])
    assert settings["potcar_symbols"] == ["PAW Si fake"]
    assert bson.decode(bson.encode(outcome)) == outcome
    json.dumps(outcome)
    # What atomate2's users expect in the JobStore.
    for task in outcome["tasks"]:
        assert task["state"] == "converged"
        kept = store.get_output(task["uuid"], load=True)
        document = TaskDoc.model_validate({k: v for k, v in kept.items() if k[0] != "@"})
        assert document.dir_name == task["dir_name"]
        assert document.task_label == f"lda {task['step']}"
        (described,) = store.query({"uuid": task["uuid"]})
        assert described["metadata"]["search"] == "none"
    assert document.structure == relaxed
    assert document.output.energy == pytest.approx(outcome["energy"])


@pytest.mark.slow
def test_custodian_repairs_and_it_is_recorded(standin, silicon):
    standin.setenv(FAIL_VARIABLE, "zbrent")
    outcome, _ = compute(silicon)
    assert outcome["status"] == "converged"
    # The second relaxation starts at the minimum, and has no line to minimise along.
    (repair,) = outcome["custodian_corrections"]
    assert (repair["step"], repair["handler"]) == ("relax 1", "VaspErrorHandler")
    assert repair["errors"] == ["zbrent"]
    assert {"file": "CONTCAR", "action": {"_file_copy": {"dest": "POSCAR"}}} in repair["actions"]


@pytest.fixture
def few_repairs(monkeypatch):
    """custodian gives up after two attempts, where atomate2's default is five."""
    arguments = time_limit.custodian_arguments
    monkeypatch.setattr(
        time_limit, "custodian_arguments", lambda *given: arguments(*given) | {"max_errors": 2}
    )


@pytest.mark.slow
def test_a_relaxation_that_is_not_finished_is_unconverged(standin, silicon, few_repairs, tmp_path):
    task, summary = run_step(
        silicon, get_protocol("lda"), "relax 1", tmp_path / "work", load_settings(),
        {"NSW": 2, "EDIFFG": -1e-6},
    )  # fmt: skip
    assert (summary["state"], summary["reason"]) == ("unconverged", "unconverged_ionic")
    assert summary["detail"] == "the relaxation did not converge in 2 ionic steps"
    assert summary["energy"] < 0
    assert [found["handler"] for found in summary["custodian_corrections"]] == [
        "UnconvergedErrorHandler"
    ] * 2
    assert task.structure == Structure.from_dict(summary["structure"])
    assert task.state.value == "failed"


FAILED = ["failed", "not run", "not run"]


def failed(outcome, reason, states=FAILED):
    assert (outcome["status"], outcome["reason"]) == ("failed", reason), outcome["detail"]
    assert [task["state"] for task in outcome["tasks"]] == states
    assert outcome["energy"] is outcome["structure"] is None
    assert bson.encode(outcome)
    return outcome["detail"]


def test_no_command(standin, silicon):
    standin.setenv("CRYSEARCH_VASP_COMMAND", "vasp_nowhere")
    outcome, _ = compute(silicon)
    assert "CRYSEARCH_VASP_COMMAND" in failed(outcome, "no_vasp_command")


def test_no_atomate2(standin, silicon, monkeypatch):
    monkeypatch.setattr(protocols, "find_spec", lambda name: None)
    outcome, _ = compute(silicon)
    assert "pip install 'crysearch[vasp]'" in failed(outcome, "no_atomate2")


def test_no_potentials(standin, tmp_path, silicon):
    standin.setenv("CRYSEARCH_VASP_POTENTIALS", str(tmp_path))
    outcome, _ = compute(silicon, "mp-pbe")
    assert "no usable POTCAR of PBE for Si" in failed(outcome, "no_potcar")


def test_a_disordered_structure(standin):
    alloy = Structure(Lattice.cubic(3), [{"Si": 0.5, "Ge": 0.5}], [[0, 0, 0]])
    outcome, _ = compute(alloy)
    failed(outcome, "unsupported")


def test_protocols_that_continue_need_the_files(standin, silicon, tmp_path):
    task, summary = run_step(
        silicon, get_protocol("mp-pbe"), "relax 2", tmp_path / "work", load_settings(),
        previous="elsewhere:/nowhere/launcher_1",
    )  # fmt: skip
    assert task is None
    assert (summary["state"], summary["reason"]) == ("failed", "no_previous_files")
    assert "elsewhere:/nowhere/launcher_1" in summary["detail"]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["mp-pbe", "mp-r2scan"])
def test_one_energy_of_the_materials_project_s_sets(standin, silicon, tmp_path, protocol):
    task, summary = run_step(
        silicon, get_protocol(protocol), "static", tmp_path / "work", load_settings()
    )
    assert (summary["state"], summary["stand_in"]) == ("converged", True), summary["detail"]
    assert task.task_label == f"{protocol} static"
    # By density; by KSPACING: |b| / 0.22 Å⁻¹ is 8.9 for each vector.
    assert summary["settings"]["k_mesh"] == ([8] * 3 if protocol == "mp-pbe" else [9] * 3)
    assert summary["settings"]["k_spacing"] == (0.22 if protocol == "mp-r2scan" else None)


@pytest.mark.slow
def test_a_crash(standin, silicon):
    standin.setenv(FAIL_VARIABLE, "crash")
    outcome, _ = compute(silicon)
    assert "segmentation fault" in failed(outcome, "crash")
    assert outcome["stand_in"] is True


@pytest.mark.slow
def test_electronic_steps_that_do_not_converge(standin, silicon, few_repairs):
    standin.setenv(FAIL_VARIABLE, "unconverged")
    outcome, _ = compute(silicon, incar={"NELM": 5})
    failed(outcome, "unconverged_electronic")
    handlers = [found["handler"] for found in outcome["custodian_corrections"]]
    assert handlers.count("UnconvergedErrorHandler") == 2


@pytest.mark.slow
@pytest.mark.parametrize(("trouble", "seconds"), [("hang", 5), ("slow:0.6", 6)])
def test_the_time_limit(standin, silicon, trouble, seconds):
    """One that hangs is killed; one that is slow is asked to stop, and does."""
    standin.setenv(FAIL_VARIABLE, trouble)
    standin.setenv("CRYSEARCH_VASP_WALLTIME", str(seconds))
    started = time.monotonic()
    outcome, _ = compute(silicon, incar={"EDIFFG": -1e-9})
    failed(outcome, "walltime")
    assert time.monotonic() - started < 25
    assert "CUSTODIAN_WALLTIME_START" not in os.environ


def test_what_cannot_be_computed_is_refused_when_jobs_are_made(silicon):
    with pytest.raises(VaspError, match="protocol: 'b3lyp'"):
        vasp_jobs(silicon, "b3lyp", "x")
    with pytest.raises(VaspError, match="incar: 'encut' is no tag"):
        vasp_jobs(silicon, "lda", "x", incar={"encut": 500})
    with pytest.raises(VaspError, match=r"incar\.ENCUT: \{\}"):
        vasp_jobs(silicon, "lda", "x", incar={"ENCUT": {}})


def test_jobs_have_categories_names_and_go_on_without_their_parents(silicon):
    jobs, final = vasp_jobs(silicon, "lda", "Si2 no. 7", {"search": "abc", "candidate": "c7"})
    assert jobs[-1] is final
    workflow = flow_to_workflow(Flow(jobs))
    assert [fw.name for fw in workflow.fws] == [
        "Si2 no. 7: lda relax 1", "Si2 no. 7: lda relax 2", "Si2 no. 7: lda static",
        "Si2 no. 7: lda outcome",
    ]  # fmt: skip
    assert [fw.spec["_category"] for fw in workflow.fws] == [MPI, MPI, MPI, CPU]
    for firework in workflow.fws:
        assert firework.spec["_allow_fizzled_parents"] is True
        assert (firework.spec["search"], firework.spec["candidate"]) == ("abc", "c7")


def test_a_job_that_ends_without_an_output_is_lost(standin, silicon, monkeypatch):
    def killed(*arguments):
        raise SystemError("killed")

    monkeypatch.setattr(vasp_module, "run_step", killed)
    outcome, _ = compute(silicon, success=False)
    assert "relax 1" in failed(outcome, "lost", ["lost", "not run", "not run"])
