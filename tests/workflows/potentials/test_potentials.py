"""Potentials trained on data sets, kept, exported and imported; and as an engine of a search."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fireworks.core.rocket_launcher import rapidfire

from crysearch import localdb
from crysearch.errors import (
    DatasetError,
    RelaxationError,
    SpecError,
    TrainingError,
)
from crysearch.potentials import Configuration, load_potential
from crysearch.records import RecordStore, open_records, potentials
from crysearch.records.values import structure_from_document
from crysearch.spec import SearchSpec
from crysearch.workflows import self_trained, submit
from crysearch.workflows.context import make_engine, make_relaxer, validate, with_whole_ids
from crysearch.workflows.datasets import import_files
from crysearch.workflows.datasets.reading import read_dataset
from crysearch.workflows.launchpad import launchpad
from crysearch.workflows.potentials import (
    export_potential,
    fitting,
    import_potential,
    potential_spec,
    train_on_dataset,
)
from crysearch.workflows.verification.calculate import scheme_of
from labelled_crystals import silicon_file
from small_potential import METHOD, QUICK, silicon_dataset
from small_study import LARGE

PART = potential_spec(QUICK)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """A folder of records with a data set and a potential, for tests that only read."""
    folder = tmp_path_factory.mktemp("potentials")
    with open_records(folder / "records") as records:
        document = train_on_dataset(records, silicon_dataset(records, folder), PART, seed=3)
    yield folder / "records", document
    localdb.stop(folder / "records")


@pytest.fixture
def records(trained, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(trained[0]))
    with open_records(trained[0], read_only=True) as found:
        yield found


def frames(records: RecordStore, split: str) -> list[Any]:
    return list(read_dataset(records, "silicon", split))


def test_a_training_keeps_the_splits_and_reports_test_errors(trained, records) -> None:
    _, document = trained
    assert records.get("potentials", document["_id"]) == document
    sizes = [len(frames(records, split)) for split in ("train", "validation", "test")]
    assert sizes == [18, 6, 6]
    assert document["configurations"] == 24
    [dataset] = records.find("datasets")
    learned = {"id": dataset["_id"], "name": "silicon", "configurations": 24}
    assert document["datasets"] == [learned] and document["method"] == METHOD
    assert (document["origin"], document["search"], document["seed"]) == ("dataset", None, 3)
    assert document["settings"]["epochs"] == 20 and "cutoff" not in document["settings"]
    assert document["errors"]["validation"]["configurations"] == 6
    # The errors, calculated here from the stored weights.
    potential = load_potential(document["model"], potentials.potential_weights(records, document))
    tested = frames(records, "test")
    crystals = [Configuration(f.numbers.astype(int), f.cell, f.positions) for f in tested]
    found = potential.predict(crystals)
    away = [(p.energy - f.energy) / 8 for p, f in zip(found, tested, strict=True)]
    errors = document["errors"]["test"]
    assert errors["configurations"] == 6 and errors["failed"] == 0
    assert errors["energy_mae"] == pytest.approx(np.abs(away).mean(), rel=1e-9)
    forces = np.array([p.forces - f.forces for p, f in zip(found, tested, strict=True)])
    assert errors["force_rmse"] == pytest.approx(np.sqrt(np.square(forces).mean()), rel=1e-9)
    # It has learned something: forces of zero would be off by the forces themselves.
    assert errors["force_rmse"] < 0.5 * np.sqrt(np.mean([f.forces**2 for f in tested]))


def test_the_same_training_is_not_repeated_and_another_is_another(tmp_path, monkeypatch) -> None:
    with open_records(tmp_path / "records") as records:
        name = silicon_dataset(records, tmp_path, 15)
        first = train_on_dataset(records, name, PART)
        put: list[str] = []
        keep = records.put_blob
        monkeypatch.setattr(
            records, "put_blob", lambda *given: put.append(given[0]) or keep(*given)
        )
        assert train_on_dataset(records, name, PART) == first and put == []
        # Without the weights it is trained again, to the same.
        records.delete_blob(first["blob_id"])
        again = train_on_dataset(records, name, PART)
        assert again["_id"] == first["_id"] and again["weights_sha256"] == first["weights_sha256"]
        file = silicon_file(tmp_path / "more.extxyz", range(40, 46))
        import_files(records, [file], name=name, method=METHOD)
        more = train_on_dataset(records, name, PART)
        other = train_on_dataset(records, name, PART, seed=1)
        assert len({one["_id"] for one in (first, more, other)}) == 3 == records.count("potentials")


def test_an_interrupted_training_goes_on(trained, records, tmp_path, monkeypatch) -> None:
    _, document = trained
    monkeypatch.setattr(fitting, "CHECKPOINT_EPOCHS", 8)
    with open_records(tmp_path / "records") as copy:
        for name in ("configurations", "datasets"):
            copy.upsert(name, records.find(name))
        keep, kept = copy.put_blob, []

        def put_and_stop(*given: Any) -> None:
            keep(*given)
            kept.append(given[0])
            if len(kept) == 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(copy, "put_blob", put_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train_on_dataset(copy, "silicon", PART, seed=3)
        assert kept == [f"{document['blob_id']}-checkpoint"] and not copy.count("potentials")
        again = train_on_dataset(copy, "silicon", PART, seed=3)
        assert again["weights_sha256"] == document["weights_sha256"]
        assert copy.find_blob(kept[0]) is None


def test_what_cannot_be_trained_is_said_before(tmp_path) -> None:
    for changes, message in (
        ({"members": 1}, "members: 1 — input should be greater than or equal to 2"),
        ({"layers": 3}, "layers: unknown field — allowed here: model, members"),
        ({"model": "crystal-ball"}, "model: 'crystal-ball' — choose one of behler-parrinello"),
        ({"architecture.cutoff": 5.0}, r"architecture: .*cutoff: give it beside"),
        ({"members": 2, "members.x": 1}, "members.x: members has no parts"),
    ):
        with pytest.raises(SpecError, match=message):
            potential_spec(changes)
    with open_records(tmp_path / "records") as records:
        silicon_dataset(records, tmp_path, 15)
        wrong = potential_spec({"architecture.colour": "red"})
        with pytest.raises(TrainingError, match="takes no colour"):
            train_on_dataset(records, "silicon", wrong)
        ids = [one["_id"] for one in records.find("configurations", {"split": "train"})]
        records.update("configurations", {key: {"energy": None} for key in ids})
        with pytest.raises(DatasetError, match="no sound configuration with an energy in its tra"):
            train_on_dataset(records, "silicon", PART)
        assert records.count("potentials") == 0


def test_files_carry_a_potential_to_another_database(trained, records, tmp_path) -> None:
    _, document = trained
    file = tmp_path / "si.potential"
    _, beside = export_potential(records, document["_id"][:8], file)
    assert beside == tmp_path / "si.potential.json"
    assert load_potential("behler-parrinello", file.read_bytes()).is_fitted
    with pytest.raises(TrainingError, match=r"si.potential exists already: give --overwrite"):
        export_potential(records, document["_id"], file)
    export_potential(records, document["_id"], file, overwrite=True)
    with open_records(tmp_path / "records") as other:
        taken = import_potential(other, file)
        same = set(document) - {"created_at", "provenance"}
        assert {name: taken[name] for name in same} == {name: document[name] for name in same}
        assert potentials.potential_weights(other, taken) == file.read_bytes()
        assert import_potential(other, file) == taken and other.count("potentials") == 1
        with pytest.raises(TrainingError, match="says it already; leave it out"):
            import_potential(other, file, method="LDA")
        # Other weights under the same id are refused.
        other.update("potentials", {taken["_id"]: {"weights_sha256": "0"}})
        with pytest.raises(TrainingError, match="in the records with other weights"):
            import_potential(other, file)
        content = json.loads(beside.read_text())
        for change, message in (
            ({"weights_sha256": "0"}, "is of other weights"),
            ({"_id": "../x"}, "not 24 hexadecimal digits"),
        ):
            beside.write_text(json.dumps(content | change))
            with pytest.raises(TrainingError, match=message):
                import_potential(other, file)
        beside.write_text("{}")
        with pytest.raises(TrainingError, match="has no _id, weights_sha256, datasets"):
            import_potential(other, file)
        beside.unlink()
        with pytest.raises(TrainingError, match="or give --method METHOD"):
            import_potential(other, file)
        bare = import_potential(other, file, method="PBE")
        assert bare["_id"] != taken["_id"] and bare["origin"] == "file"
        assert (bare["members"], bare["elements"]) == (2, ["Si"])
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(TrainingError, match=r"no stored potential .*wrong checksum"):
            import_potential(other, file)
        with pytest.raises(TrainingError, match=r"none\.potential: cannot be read"):
            import_potential(other, tmp_path / "none.potential")


def search(potential: Any, **changes: Any) -> SearchSpec:
    return SearchSpec.build(
        {
            "formula_units": [4],
            "references": {"exclude": LARGE},
            "replicas": {"grid_points": 0},
            "screening": {"quotas": {"I": 0, "II": 0, "III": 6}},
            "sampling": {"batch_size": 20},
            "relaxation": {
                "engine": "self-trained",
                "options": {"potential": potential},
                "force_tolerance": 0.1,
                "stress_tolerance": 1.0,
                "max_steps": 30,
                "batch_size": 4,
                "maximum_reference_atoms": 2,
            },
        }
    ).with_changes(changes)


def test_the_id_of_a_search_is_that_of_its_potential_and_older_searches_keep_theirs() -> None:
    assert search("a").search_id != search("b").search_id
    plain = SearchSpec().model_dump(mode="json")
    assert "options" not in plain["relaxation"]
    assert SearchSpec.build(search("a").model_dump(mode="json")) == search("a")


def test_a_search_is_refused_before_it_starts(trained, records) -> None:
    _, document = trained
    key = document["_id"]
    assert with_whole_ids(search(key[:9])) == search(key)
    validate(search(key))
    field = r"relaxation\.options\.potential: "
    for spec, message in (
        (search(key[:9]), rf"{field}'{key[:9]}' — give the whole id, '{key}'"),
        (search("zz"), f"{field}'zz' — No potential has an id.*`crysearch potential list`"),
        (search(7), f"{field}7 — give the id as text, in quotes"),
        (search("a").with_changes({"relaxation.options": {}}), f"{field}missing — give the id"),
        (search(key, **{"relaxation.options.device": "cpu"}), r"options.device: 'cpu' — 'self-tr"),
        (
            search(key).with_changes(
                {
                    "composition": "Ge",
                    "volume_per_formula_unit": 24.0,
                    "minimum_distances": {"Ge-Ge": 2.2},
                }
            ),
            f"{field}'{key}' was not trained on Ge, but on Si",
        ),
        (
            search("a").with_changes(
                {"relaxation.engine": "stillinger-weber", "relaxation.options": {"speed": 3}}
            ),
            r"relaxation\.options\.speed: 3 — 'stillinger-weber' takes no options",
        ),
    ):
        with pytest.raises(SpecError, match=message):
            validate(spec)
    with pytest.raises(SpecError, match=f"{field}'zz' — No potential"):
        with_whole_ids(search("zz"))
    with pytest.raises(RelaxationError, match=r"'self-trained': .*missing — give the id"):
        make_engine("self-trained", {})


def test_the_engine_is_loaded_once_and_says_which_potential_it_is(
    trained, records, monkeypatch
) -> None:
    _, document = trained
    monkeypatch.setattr(self_trained, "_loaded", {})
    engine = make_relaxer(search(document["_id"]))
    assert make_relaxer(search(document["_id"])) is engine
    assert engine.name == "self-trained"
    told = engine.provenance
    assert told["potential"] == document["_id"]
    assert told["weights_sha256"] == document["weights_sha256"]
    assert told["method"] == METHOD and told["data_sets"].startswith("silicon (")
    assert document["_id"] in told["model"]
    # Energies of two potentials are never subtracted from each other.
    assert scheme_of(engine) == f"self-trained:{document['_id']}"
    with pytest.raises(RelaxationError, match=r"options\.device: 'cpu' — 'self-trained' takes pot"):
        make_engine("self-trained", {"potential": document["_id"], "device": "cpu"})


@pytest.mark.slow
def test_a_search_relaxes_with_a_potential(trained, tmp_path, monkeypatch) -> None:
    """Workers of FireWorks find it by its id."""
    place, document = trained
    file = tmp_path / "si.potential"
    monkeypatch.chdir(tmp_path)
    with open_records(place, read_only=True) as records:
        export_potential(records, document["_id"], file)
    monkeypatch.setenv("CRYSEARCH_DATABASE", str(tmp_path / "records"))
    with open_records(tmp_path / "records") as records:
        import_potential(records, file)
        spec = search(document["_id"])
        assert submit(spec).state == "added"
        rapidfire(launchpad(), nlaunches=0, sleep_time=1)
        found = records.find("relaxations", {"search": spec.search_id, "converged": True})
        assert {one["parent_kind"] for one in found} >= {"reference"}
        potential = load_potential("behler-parrinello", file.read_bytes())
        for one in found:
            assert one["engine"] == "self-trained"
            assert one["provenance"]["engine"]["potential"] == document["_id"]
            crystal = Configuration.from_structure(structure_from_document(one))
            again = potential.predict([crystal])[0]
            assert one["energy"] == pytest.approx(again.energy, abs=1e-8)
        assert records.get("searches", spec.search_id)["status"] == "complete"
