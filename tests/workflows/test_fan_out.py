"""Sampling by several jobs: what is found does not depend on how many, or in which order."""

from __future__ import annotations

import random
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from crysearch.records import open_records
from crysearch.screening import QuotaFilling
from crysearch.spec import SearchSpec
from crysearch.workflows import CrystalSearchMaker, stages
from crysearch.workflows.pace import Pace
from crysearch.workflows.stages.sampling import Stream
from small_search import SMALL

from .conftest import content

NEAR = ("neither", "database", "replicas", "both")
QUOTAS = {"I": 4, "II": 3, "III": 25}
SPEC = SearchSpec.build(SMALL).with_changes({"screening.quotas": QUOTAS})
batch_counts = st.tuples(*(st.integers(0, 4) for _ in NEAR)).map(
    lambda numbers: {"near": dict(zip(NEAR, numbers, strict=True)), "accepted": sum(numbers)}
)


def filled_in_order(batches: list[dict]) -> tuple[int | None, dict[str, int]]:
    """The batches needed and what each group has then, counted crystal by crystal."""
    kept = dict.fromkeys(QUOTAS, 0)
    for number, counts in enumerate(batches):
        if all(kept[group] == quota for group, quota in QUOTAS.items()):
            return number, kept
        for near, crystals in counts["near"].items():
            for _ in range(crystals):
                for group, members in (("I", "database both"), ("II", "replicas both")):
                    if near in members.split() and kept[group] < QUOTAS[group]:
                        kept[group] += 1
                if kept["III"] < QUOTAS["III"]:
                    kept["III"] += 1
    full = all(kept[group] == quota for group, quota in QUOTAS.items())
    return (len(batches) if full else None), kept


@given(st.lists(batch_counts, max_size=30), st.randoms(use_true_random=False))
def test_the_order_in_which_batches_finish_does_not_matter(batches, order):
    expected, kept = filled_in_order(batches)
    stream = Stream(SPEC, 4)
    numbers = list(range(len(batches)))
    order.shuffle(numbers)
    for number in numbers:
        stream.add(number, batches[number])
    assert stream.end() == expected
    assert stream.filling_before(expected).kept == kept


@settings(max_examples=50)
@given(
    st.lists(batch_counts, min_size=200, max_size=200),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
)
def test_jobs_never_stop_before_and_rarely_long_after_the_quotas_are_full(batches, parts, order):
    """Jobs that take turns at random end together with enough, after few rounds."""
    expected, _ = filled_in_order(batches)
    if expected is None:
        return
    stream = Stream(SPEC, 4)
    for _ in range(10):
        if stream.end() is not None:
            break
        working = {part: stream.unfinished(part, parts) for part in range(parts)}
        while working:
            part = order.choice(sorted(working))
            batch = next(working[part], None)
            if batch is None or batch >= len(batches) or not stream.needs(batch):
                del working[part]
                continue
            # What is kept of a batch is never less than in the order of the stream.
            in_order = QuotaFilling(QUOTAS)
            in_order.kept = filled_in_order(batches[:batch])[1]
            kept = stream.filling_before(batch).kept
            assert all(kept[group] <= in_order.kept[group] for group in QUOTAS)
            stream.add(batch, batches[batch])
    assert stream.end() == expected


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [2, 5])
def test_records_do_not_depend_on_the_number_of_jobs(finished_search, database, jobs, monkeypatch):
    spec, undisturbed = finished_search
    # Small rounds, so that there are several.
    monkeypatch.setenv("CRYSEARCH_JOB_MINUTES", "0.002")
    flow = CrystalSearchMaker(sampling_jobs=jobs).make(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        responses = run_locally(
            flow, log=False, ensure_success=True, raise_immediately=True,
            store=JobStore(MemoryStore()),
        )  # fmt: skip
    assert len(responses) > 2 * jobs
    assert content(database) == content(undisturbed)


@pytest.mark.slow
def test_what_several_jobs_made_too_much_is_removed(finished_search, database):
    spec, undisturbed = finished_search
    with open_records(database) as records:
        stages.open_search(records, spec)
        stages.gather_references(records, spec)
        stages.train_model(records, spec)
        stages.generate_replicas(records, spec)
        parts = list(range(4))
        random.Random(1).shuffle(parts)
        for stage, make, settle in (
            ("sampling", stages.sample_batches, stages.settle),
            ("guiding", stages.guide_batches, stages.settle_guided),
        ):
            summary, more = None, 0
            while summary is None:  # a guess that was too low leaves the rest to another round
                for part in parts:
                    make(records, spec, 8, Pace(None), part, 4)
                more = records.count("batches", {"stage": stage})
                summary = settle(records, spec, 8)
            assert records.count("batches", {"stage": stage}) == summary["batches"]
            assert more > summary["batches"] or stage == "guiding"
            assert settle(records, spec, 8) == summary
    here, there = content(database), content(undisturbed)
    for collection in ("candidates", "batches"):
        expected = {
            key: document
            for key, document in there[collection].items()
            if document["formula_units"] == 8
        }
        assert here[collection] == expected
