"""Identifiers, vectors, structures, and the builders of documents."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure

from crysearch import __version__
from crysearch.errors import RecordsError
from crysearch.records import (
    RecordStore,
    assessments,
    batches,
    cycles,
    datasets,
    documents,
    dynamics,
    observables,
    potentials,
    protocols,
    schema,
    selection,
    study,
    verification,
)
from crysearch.records.kinds import KINDS

NOON = datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)
TRAJECTORY = dict.fromkeys(KINDS["trajectories"].__annotations__) | {"_id": "t"}
NEAREST = {"id": "r", "reference_id": "mp-149", "distance": 0.1}


def build(kind: str, structure: Structure, /, **changes: Any) -> dict[str, Any]:
    """Build a document of a kind with as few fields as may be."""
    crystal = {"structure": structure, "groups": ["I"]}
    fields: dict[str, dict[str, Any]] = {
        "searches": {"name": "silicon", "spec": {"a": 1}, "formula": "Si"},
        "references": {
            "reference_id": "mp-149",
            "structure": structure,
            "status": "sound",
            "source": "snapshot",
        },
        "models": {
            "model": "vae",
            "seed": [1, 2],
            "parameter_count": 23550,
            "history": {"train": np.array([2.0, 1.0])},
            "reference_ids": ("mp-149",),
        },
        "replicas": {
            "model_id": "m",
            "kind": "grid",
            "label": [7, np.int64(3)],
            "latent": np.array([0.5, -0.5]),
            "fingerprint": np.ones(3),
        },
        "candidates": crystal
        | {
            "seed": 5,
            "formula_units": 8,
            "batch": 0,
            "index": np.int64(1),
            "fingerprint": np.ones(3),
            "space_group_requested": 227,
            "near": "both",
        },
        "relaxations": crystal
        | {
            "parent_kind": "candidate",
            "parent_id": "c",
            "engine": "sevennet-0",
            "energy": np.float32(-43.0),
            "converged": np.bool_(True),
            "steps": 12,
        },
        "failures": {
            "stage": "relaxation",
            "where": "sevennet-0",
            "reason": "exploded",
            "detail": "The cell exploded.",
            "input": structure,
        },
        "batches": {
            "formula_units": 8,
            "batch": 0,
            "seed": 5,
            "sampled": 10,
            "accepted": 5,
            "kept": 1,
        },
        "calculations": {
            "structure": structure,
            "level": "l",
            "parent_id": "r",
            "parent_kind": "candidate",
            "engine": "espresso",
            "scheme": "espresso:lda",
            "energy": np.float64(-800.0),
            "converged": np.bool_(True),
            "steps": 3,
        },
        "properties": {
            "relaxation_id": "r",
            "kind": "elasticity",
            "settings_id": "x",
            "structure_id": "r",
            "engine": "sevennet-0",
            "settings": {"strains": (0.01,)},
            "values": {"tensor": np.eye(6)},
        },
        "verdicts": {
            "structure": structure,
            "verification": "v",
            "verification_spec": {},
            "relaxation_id": "r",
            "calculation_id": None,
            "label": None,
            "engine": "sevennet-0",
            "scheme": "sevennet-0",
            "stand_in": False,
            "levels": [{"engine": "sevennet-0"}],
            "answers": {"electronic": {"status": "not_computed", "reason": "no electrons"}},
            "matches": None,
            "is_new": True,
            "duplicate_of": None,
            "space_group": None,
        },
        "trials": {
            "study": "t",
            "variant": "vae-sgd",
            "seed": 3,
            "model": "vae",
            "generative": {"epochs": 2},
            "reference_ids": ["mp-149"],
            "history": {"train_divergence": np.ones(2)},
            "measures": {"roughness": np.nan},
            "parents": ["r"],
        },
        "studies": {
            "study": "t",
            "name": "study",
            "spec": {"seeds": 2},
            "variants": [{"name": "vae-sgd", "measures": {}}],
            "differences": [],
            "controls": [],
            "sentences": ["No difference seen."],
            "parents": ["a", "b"],
        },
        "cycles": {
            "active_learning": "a",
            "cycle": 1,
            "dataset": "d",
            "method": "PBE",
            "potential": "behler-parrinello",
            "configurations": 8,
            "chosen": [{"candidate": "c", "score": np.float64(-4.3)}],
            "errors": {"energy_mae": np.nan},
            "parents": ["b"],
        },
        "potentials": {
            "key": ["a", 1],
            "model": "behler-parrinello",
            "architecture": {"hidden_layers": (8, 8)},
            "members": 2,
            "parameter_count": 200,
            "elements": ("Si",),
            "cutoff": 4.5,
            "origin": "active_learning",
            "method": "PBE",
            "blob_id": "p",
            "weights": b"weights",
            "errors": {"test": {"energy_mae": np.nan}},
        },
        "dynamics": {
            "name": "silicon",
            "spec": {},
            "asked": {"steps": 10},
            "structure": structure,
            "engine": "ase:emt",
            "ensemble": "npt",
            "state_points": ((300.0, np.float64(0.0)),),
        },
        "trajectories": {
            "dynamics": "d",
            "engine": "ase:emt",
            "propagator": "ase:emt",
            "ensemble": "npt",
            "structure": structure,
            "temperature": 300.0,
            "pressure": 0,
            "settings": {"timestep": 1.0, "steps": 10},
            "seed": 5,
            "status": "exploded",
            "failure": "contact",
            "failure_detail": "near",
            "blob": b"frames",
            "frames": 2,
            "duration": 0.01,
            "seconds": 1.0,
            "averages": {
                "temperature": {"mean": 1.0, "standard_deviation": 0.1, "standard_error": None}
            },
            "final_structure": structure,
        },
        "frames": {
            "dynamics": "d",
            "trajectory": "t",
            "index": np.int64(3),
            "step": 30,
            "time": 0.03,
            "structure": structure,
            "temperature": 300.0,
            "pressure": 0.1,
            "potential_energy": -8.0,
            "total_energy": -7.0,
        },
        "protocols": {
            "name": "melt",
            "spec": {},
            "asked": {"stages": []},
            "structure": structure,
            "engine": "ase:emt",
            "seed": 3,
            "stages": [
                {
                    "name": "melting",
                    "after": None,
                    "ensemble": "nvt",
                    "target_temperature": 900.0,
                }
            ],
        },
        "observables": {
            "trajectory": TRAJECTORY,
            "cutoff": 6,
            "bins": 100,
            "bond_cutoff": None,
            "mean_density": {
                "mean": np.float64(2.3),
                "standard_deviation": 0.1,
                "standard_error": None,
            },
            "pairs": [],
            "diffusion": [],
            "bonds": None,
            "bonds_reason": "no cut-off",
        },
        "selection_studies": {"study": "a", "name": "salt", "spec": {}},
        "selection_fits": {
            "study": "a",
            "model": "network",
            "method": "forces",
            "size": np.int64(8),
            "seed": 1,
            "status": "fitted",
            "frames": np.arange(8),
            "measures": {
                "force_error_max": 1.0,
                "force_error_rms": 0.2,
                "force_error_mean": None,
                "energy_error_rms": np.float64(0.01),
            },
        },
        "assessments": {
            "engine": "self-trained",
            "options": {"potential": "p"},
            "material": "m",
            "elements": ("Si",),
            "formula": "Si",
            "phases": ("mp-149",),
            "spec": {"composition": "Si"},
            "seed": 3,
        },
        "datasets": {
            "name": "silicon",
            "method": "PBE",
            "seed": 0,
            "fractions": {"train": 1.0, "validation": 0.0, "test": 0.0},
        },
        "configurations": {
            "structure": structure,
            "dataset": "d",
            "key": "k",
            "index": np.int64(4),
            "method": "PBE",
            "fingerprint": np.ones(3),
            "energy": np.float64(-43.0),
            "forces": np.zeros((8, 3)),
            "stress": np.zeros(6),
            "split": "train",
        },
    }
    return BUILDERS[kind](**{"search": "s", "created_at": NOON} | fields[kind] | changes)


BUILDERS: dict[str, Callable[..., dict[str, Any]]] = {
    "searches": documents.search_document,
    "references": documents.reference_document,
    "models": documents.model_document,
    "replicas": documents.replica_document,
    "candidates": documents.candidate_document,
    "relaxations": documents.relaxation_document,
    "failures": documents.failure_document,
    "batches": batches.sampling_batch_document,
    "calculations": verification.calculation_document,
    "properties": verification.property_document,
    "verdicts": verification.verdict_document,
    "cycles": cycles.cycle_document,
    "trials": study.trial_document,
    "studies": study.study_document,
    "datasets": datasets.dataset_document,
    "configurations": datasets.configuration_document,
    "potentials": potentials.potential_document,
    "dynamics": dynamics.dynamics_document,
    "trajectories": dynamics.trajectory_document,
    "frames": dynamics.frame_document,
    "protocols": protocols.protocol_document,
    "observables": observables.observables_document,
    "assessments": assessments.assessment_document,
    "selection_studies": selection.selection_study_document,
    "selection_fits": selection.selection_fit_document,
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_builders_give_exactly_the_fields_of_the_schema(
    kind: str, diamond: Structure, store: RecordStore
) -> None:
    document = build(kind, diamond)
    assert set(document) == set(KINDS[kind].__annotations__)
    assert document["schema_version"] == schema.SCHEMA_VERSION
    assert document["search"] == "s"
    assert document["created_at"] == NOON.replace(microsecond=123000)
    software = document["provenance"]["software"]
    assert software["crysearch"] == __version__
    assert {"pymatgen", "torch", "numpy"} <= set(software)
    store.upsert(kind, [document])
    assert store.get(kind, document["_id"]) == document


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_same_work_has_the_same_id_and_other_work_another(
    kind: str, diamond: Structure
) -> None:
    assert build(kind, diamond)["_id"] == build(kind, diamond, created_at=None)["_id"]
    assert build(kind, diamond)["_id"] != build(kind, diamond, search="other")["_id"]


def test_every_part_that_tells_candidates_apart_is_in_the_id(diamond: Structure) -> None:
    parts: list[dict[str, Any]] = [
        {},
        {"seed": 6},
        {"batch": 1},
        {"index": 2},
        {"formula_units": 16},
        {"seed": [5]},
    ]
    assert len({build("candidates", diamond, **part)["_id"] for part in parts}) == len(parts)


def test_replicas_of_one_place_at_several_conditions_have_ids_of_their_own(
    diamond: Structure,
) -> None:
    built = [build("replicas", diamond, condition=value) for value in (None, 0, 0.1, 0.2)]
    assert len({document["_id"] for document in built}) == 4
    assert [document["condition"] for document in built] == [None, 0, 0.1, 0.2]
    assert build("replicas", diamond)["_id"] == built[0]["_id"]
    assert build("replicas", diamond, condition=0.0)["_id"] == built[1]["_id"]


def test_provenance_leads_to_the_parents(diamond: Structure) -> None:
    replica = {"id": "p", "label": [7, 3], "distance": 0.2}
    candidate = build("candidates", diamond, nearest_reference=NEAREST, nearest_replica=replica)
    assert candidate["provenance"]["parents"] == ["r", "p"]
    assert candidate["provenance"]["seed"] == 5
    relaxation = build("relaxations", diamond, provenance={"engine": {"version": "0.13"}})
    assert relaxation["provenance"]["parents"] == ["c"]
    assert relaxation["provenance"]["engine"] == {"version": "0.13"}


def test_relaxations_follow_from_what_is_given(diamond: Structure) -> None:
    document = build("relaxations", diamond)
    assert document["energy_per_atom"] == pytest.approx(-43.0 / 8)
    assert document["status"] == "converged"
    assert build("relaxations", diamond, converged=False)["status"] == "unconverged"


def test_what_is_not_a_number_is_null(diamond: Structure) -> None:
    document = build("relaxations", diamond, distance_after=math.nan, max_force=np.inf)
    assert document["distance_after"] is None
    assert document["max_force"] is None


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("datasets", {"status": "done"}, "choose one of importing, complete"),
        ("dynamics", {"status": "lost"}, "choose one of submitted, running"),
        ("trajectories", {"status": "lost"}, "choose one of finished, exploded, failed"),
        ("trajectories", {"averages": {"pressure": {"mean": 1}}}, "give mean, standard_deviation"),
        ("protocols", {"status": "lost"}, "choose one of submitted, running, complete, incomplete"),
        ("observables", {"mean_density": {"mean": 1}}, "give mean, standard_deviation"),
        ("observables", {"pairs": [{"pair": "Si-Si"}]}, "give pair, r, g, error, peak"),
        ("potentials", {"origin": "sky"}, "choose one of active_learning, dataset, file"),
        ("potentials", {"datasets": [{"id": "d"}]}, "give id, name, configurations"),
        ("configurations", {"split": "exam"}, "choose one of train, validation, test"),
        ("searches", {"status": "done"}, "status is 'done': choose one of submitted, running"),
        ("references", {"status": "good"}, "sound, set_aside"),
        ("replicas", {"kind": "lattice"}, "grid, random, interpolation"),
        ("candidates", {"near": "far"}, "near is 'far'"),
        ("candidates", {"groups": ["V"]}, "groups is 'V': choose one of I, II, III, IV"),
        ("candidates", {"nearest_reference": {"id": "r"}}, "give id, reference_id, distance"),
        ("relaxations", {"parent_kind": "replica"}, "candidate, reference"),
        ("relaxations", {"fingerprint": [np.nan]}, "not finite"),
        ("batches", {"near": {"moon": 1}}, "near counts 'moon': use database"),
    ],
)
def test_bad_fields_are_named(
    kind: str, changes: dict[str, Any], message: str, diamond: Structure
) -> None:
    with pytest.raises(RecordsError, match=message):
        build(kind, diamond, **changes)


def test_builders_say_what_their_arguments_are() -> None:
    for builder in (*BUILDERS.values(), batches.relaxation_batch_document):
        assert all(
            parameter.kind is inspect.Parameter.KEYWORD_ONLY
            for parameter in inspect.signature(builder).parameters.values()
        )


def test_batches_of_relaxations_have_the_fields_of_the_schema() -> None:
    def build(**changes: Any) -> dict[str, Any]:
        fields = {
            "search": "s", "kind": "candidate", "batch": 0, "parents": ["a", "b"],
            "relaxed": 1, "converged": 1, "failed": 1,
        }  # fmt: skip
        return batches.relaxation_batch_document(**fields | changes)

    document = build()
    assert set(document) == set(schema.BatchDocument.__annotations__)
    assert set(document["counts"]) == set(schema.BatchCounts.__annotations__)
    assert document["provenance"]["parents"] == ["a", "b"]
    assert len({build(**c)["_id"] for c in ({}, {"batch": 1}, {"kind": "reference"})}) == 3
    with pytest.raises(RecordsError, match="kind is 'replica': use candidate, reference"):
        build(kind="replica")


# --- identifiers -------------------------------------------------------------------------------


def test_trials_are_told_apart_by_study_variant_and_seed(diamond: Structure) -> None:
    changes: list[dict[str, Any]] = [{}, {"study": "u"}, {"variant": "hvae"}, {"seed": 4}]
    trials = [build("trials", diamond, **change) for change in changes]
    assert len({trial["_id"] for trial in trials}) == 4
    assert trials[0]["status"] == "trained" and trials[0]["blob_id"] == f"trial-{trials[0]['_id']}"
    failed = build("trials", diamond, reason="the loss is not finite", history=None)
    assert failed["status"] == "failed" and failed["blob_id"] is None
    assert failed["_id"] == trials[0]["_id"]  # a rerun that fails replaces, and the other way round
    assert trials[0]["measures"] == {"roughness": None}
