"""An engine assessed from its name to its document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write
from ase.units import GPa
from fireworks.core.rocket_launcher import rapidfire

from crysearch import localdb
from crysearch.assessment import compare, headlines
from crysearch.assessment_spec import AssessmentSpec, CostSpec
from crysearch.errors import SpecError
from crysearch.records import open_records
from crysearch.records.assessments import assessments, computed
from crysearch.workflows.assessment import (
    AssessmentMaker,
    assessment_of,
    engine_of,
    own_structures,
    reference_of,
    run_assessment,
    submit_assessment,
    whole_spec,
)
from crysearch.workflows.launchpad import launchpad
from crysearch.workflows.potentials import potential_spec, train_on_dataset
from small_potential import QUICK, silicon_dataset

SMALL: dict[str, Any] = {
    "engine": "stillinger-weber",
    "phases": ["mp-149", "mp-165"],
    "phonons": {"minimum_length": 7},
    "cost": {"smallest": 50, "largest": 200, "per_decade": 1},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("assessment") / "records"
    yield folder
    localdb.stop(folder)


@pytest.fixture(scope="module")
def finished(place: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSEARCH_DATABASE", str(place))
        return run_assessment(AssessmentSpec.build(SMALL))


@pytest.fixture
def database(place: Path, finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(place))
    return place


def test_silicon_of_stillinger_and_weber_as_published(finished: dict[str, Any]) -> None:
    """Elastic constants in GPa of the relaxed crystal; cohesive energy and volume by definition."""
    parts = finished["quantities"]
    assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(
        ("phases", "equation_of_state", "elasticity", "phonons", "cost"), "computed"
    )
    found = {line.key: line.value for line in headlines(computed(finished))}
    published = {"C11": 151.4, "C12": 76.4, "C44": 56.4, "bulk_modulus": 101.4}
    assert {key: found[key] for key in published} == pytest.approx(published, abs=0.3)
    assert found["equilibrium_volume"] == pytest.approx(5.431**3 / 8, abs=5e-3)
    first, second = computed(finished)["phases"]
    assert first["energy"] == pytest.approx(-4.3366, abs=1e-4)
    # A potential of first neighbours cannot tell lonsdaleite from diamond.
    assert second["energy"] - first["energy"] == pytest.approx(0, abs=1e-5)
    assert computed(finished)["phonons"]["is_stable"]
    assert [point["atoms"] for point in computed(finished)["cost"]["points"]] == [64, 216]


def test_where_the_numbers_come_from_is_recorded(finished: dict[str, Any]) -> None:
    assert finished["scheme"] == "stillinger-weber"
    assert finished["provenance"]["engine"]["package"] == "matscipy"
    assert finished["provenance"]["seed"] == 0
    assert finished["phases"] == ["mp-149", "mp-165"]
    assert finished["chemical_formula_reduced"] == "Si"
    assert finished["quantities"]["phonons"]["settings"]["minimum_length"] == 7


def test_what_is_computed_is_not_computed_again(database: Path, finished: dict[str, Any]) -> None:
    again = run_assessment(AssessmentSpec.build(SMALL))
    assert again == finished
    changed = AssessmentSpec.build({**SMALL, "equation_of_state": {"points": 5}})
    other = run_assessment(changed)
    parts = {name for name in other["quantities"] if other["quantities"][name]
             != finished["quantities"][name]}  # fmt: skip
    assert other["_id"] == finished["_id"] and parts == {"equation_of_state"}
    assert len(other["quantities"]["equation_of_state"]["values"][0]["volumes"]) == 5
    run_assessment(AssessmentSpec.build(SMALL))


def test_another_process_finds_the_same_numbers(
    database: Path, finished: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through workers of FireWorks, all but the times."""
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    monkeypatch.chdir(tmp_path)
    spec = AssessmentSpec.build({**SMALL, "quantities": ["equation_of_state", "elasticity"]})
    first = submit_assessment(spec)
    assert (first.state, len(first.fw_ids)) == ("added", 3)
    assert submit_assessment(spec).state == "waiting"
    rapidfire(launchpad(), strm_lvl="ERROR")
    with open_records(tmp_path / "records", read_only=True) as records:
        found = assessment_of(records, whole_spec(spec))
    assert found is not None and found["_id"] == finished["_id"]
    assert found["quantities"]["cost"] is None
    for name in ("phases", "equation_of_state", "elasticity"):
        assert found["quantities"][name]["values"] == finished["quantities"][name]["values"]


def test_a_quantity_that_fails_is_a_reason_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    asked = {**SMALL, "phases": ["mp-149"], "quantities": ["phonons", "elasticity"]}
    few = AssessmentSpec.build({**asked, "phonons": {"maximum_atoms": 10}})
    document = run_assessment(few)
    assert document["quantities"]["phonons"]["status"] == "failed"
    assert "maximum_atoms=10" in document["quantities"]["phonons"]["reason"]
    assert document["quantities"]["elasticity"]["status"] == "computed"
    assert "phonons" not in computed(document)
    document = run_assessment(AssessmentSpec.build(asked))
    assert document["quantities"]["phonons"]["status"] == "computed"


def test_an_error_that_nobody_foresaw_stops_its_quantity_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crysearch.workflows.assessment import calculate as module

    def broken(*_: object) -> None:
        raise ZeroDivisionError("no such luck")

    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    monkeypatch.setitem(module._CALCULATE, "phonons", broken)
    asked = {**SMALL, "phases": ["mp-149"], "quantities": ["phonons", "elasticity"]}
    parts = run_assessment(AssessmentSpec.build(asked))["quantities"]
    assert parts["phonons"]["reason"] == "ZeroDivisionError: no such luck"
    assert parts["elasticity"]["status"] == "computed"


def test_copper_against_finite_differences_of_its_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crystal of one's own; the elastic constants from second differences of ASE's energies."""
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    monkeypatch.chdir(tmp_path)
    write("copper.cif", bulk("Cu", "fcc", 3.6, cubic=True))
    spec = AssessmentSpec.build(
        {
            "engine": "emt",
            "structures": own_structures([Path("copper.cif")]),
            "quantities": ["equation_of_state", "elasticity"],
        }
    )
    document = run_assessment(spec)
    assert document["phases"] == ["copper.cif"]
    found = {line.key: line.value for line in headlines(computed(document))}
    volume = computed(document)["phases"][0]["volume"]
    atoms = bulk("Cu", "fcc", (4 * volume) ** (1 / 3), cubic=True)
    atoms.calc = EMT()
    cell, step = atoms.cell.array.copy(), 0.004

    def curvature(strain: np.ndarray) -> float:
        def energy(amount: float) -> float:
            # Exact in second order of the Green–Lagrange strain.
            stretch = np.eye(3) + 2 * amount * strain
            values, vectors = np.linalg.eigh(stretch)
            atoms.set_cell(cell @ (vectors * np.sqrt(values)) @ vectors.T, scale_atoms=True)
            return atoms.get_potential_energy()

        difference = energy(step) - 2 * energy(0) + energy(-step)
        return difference / step**2 / (4 * volume) / GPa

    axial = np.diag([1.0, 0, 0])
    shear = np.zeros((3, 3))
    shear[1, 2] = shear[2, 1] = 1.0
    c11 = curvature(axial)
    c12 = (curvature(np.diag([1.0, 1, 0])) - 2 * c11) / 2
    expected = {"C11": c11, "C12": c12, "C44": curvature(shear) / 4}
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=0.01)
    assert found["bulk_modulus"] == pytest.approx((c11 + 2 * c12) / 3, rel=0.02)


@pytest.mark.slow
def test_a_potential_trained_here_is_held_against_what_it_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    with open_records(tmp_path / "records") as records:
        trained = train_on_dataset(
            records, silicon_dataset(records, tmp_path), potential_spec(QUICK), seed=3
        )
    engine, options = engine_of(trained["_id"][:8])
    assert (engine, options) == ("self-trained", {"potential": trained["_id"]})
    loose = {"force_tolerance": 0.02, "stress_tolerance": 0.5, "displacement": 0.05, "strain": 0.01}
    content = {
        "phases": ["mp-149"],
        "quantities": ["equation_of_state"],
        "relaxation": loose,
    }
    spec = AssessmentSpec.build({**content, "engine": engine, "options": options})
    assert reference_of(spec) == "stillinger-weber"
    model = run_assessment(spec)
    reference = run_assessment(AssessmentSpec.build({**content, "engine": "stillinger-weber"}))
    assert model["potential"] == trained["_id"] and model["scheme"].endswith(trained["_id"])
    assert model["provenance"]["parents"] == [trained["_id"]]
    assert model["material"] == reference["material"] and model["_id"] != reference["_id"]
    found = compare(computed(model), computed(reference))
    assert abs(found.phases[0].volume_difference or 99) < 1.5
    with open_records(tmp_path / "records", read_only=True) as records:
        assert len(assessments(records, material=model["material"])) == 2
        assert len(assessments(records, engine="self-trained")) == 1


@pytest.mark.parametrize(
    ("method", "engine"),
    [
        ("sevennet-0", "sevennet-0"),
        ("SevenNet-0 (2025)", "sevennet-0"),
        ("Stillinger-Weber 1985, matscipy", "stillinger-weber"),
        ("sevennet-05", None),
        ("PBE, VASP", None),
        # Of programs from first principles the settings would have to be the same.
        ('espresso {"functional": "lda"}', None),
        ("espresso", None),
    ],
)
def test_only_a_method_that_names_an_engine_is_a_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, engine: str | None
) -> None:
    class Records:
        def __enter__(self) -> Records:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def get(self, *_: str) -> dict[str, str]:
            return {"method": method}

    monkeypatch.setattr("crysearch.workflows.assessment.subjects.job_records", Records)
    spec = AssessmentSpec(engine="self-trained", options={"potential": "p"})
    assert reference_of(spec) == engine
    assert reference_of(AssessmentSpec(engine="chgnet")) is None


def test_the_cost_of_programs_is_left_out_unless_a_size_is_asked_for(
    database: Path, finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from crysearch.workflows.assessment import calculate as module

    class Program:
        name, programs = "stillinger-weber", ("pw.x",)

    monkeypatch.setattr(module, "available_relaxers", lambda: [Program])
    with pytest.raises(module._LeftOut, match="asked for"):
        module._cost(finished, None, AssessmentSpec(engine="stillinger-weber"))  # type: ignore[arg-type]


def test_sizes_go_up_in_equal_ratios_to_the_largest() -> None:
    assert CostSpec().sizes(100_000) == [100, 316, 1000, 3162, 10_000, 31_623, 100_000]
    assert CostSpec(per_decade=1).sizes(100_000) == [100, 1000, 10_000, 100_000]
    assert CostSpec(per_decade=1).sizes(4000) == [100, 1000, 4000]
    assert CostSpec().sizes(64) == [64]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": "abinit"}, "'abinit' is neither an engine"),
        ({"engine": "emt"}, "'emt' does not know Si"),
        ({"phases": ["mp-0"]}, "mp-0 not in the snapshot"),
        ({"phases": ["mp-149", "mp-149"]}, "give each one once"),
        ({"composition": "Fe2O3"}, "no snapshot of 'Fe2O3'"),
        ({"quantities": ["gap"]}, "quantities.0: 'gap'"),
        ({"quantities": []}, "quantities: "),
        ({"cost": {"largest": 0}}, "cost.largest: 0"),
        ({"relaxation": {"strain": 0.5}}, "relaxation.strain: 0.5"),
        ({"options": {"threads": 2}}, "takes no options"),
    ],
)
def test_mistakes_are_named_before_any_work(
    database: Path, changes: dict[str, Any], said: str
) -> None:
    content = {**SMALL, **changes}
    with pytest.raises(SpecError) as error:
        engine, options = engine_of(content["engine"], content.pop("options", {}))
        spec = AssessmentSpec.build({**content, "engine": engine, "options": options})
        AssessmentMaker().make(spec)
    assert said in str(error.value)
