"""Documents written and read per second, and what the steps of a search cost as candidates add up.

    python benchmarks/store.py [--quick]

The local store is measured against mongomock in this process, and against the MongoDB server that
CRYSEARCH_TEST_MONGODB_URI names, if any (its user must be allowed to create and drop databases).
The documents are what a search writes for random Si8 crystals. What takes longer than the time
limit is broken off and shown as such. In brackets is the CPU time, of this process and of the local
store's server, which other work on the machine disturbs less. Ratios carry over to another machine,
rates do not.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import platform
import random
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mongomock_ng
import numpy as np
import pandas as pd
import psutil
from mongomock_ng.gridfs import enable_gridfs_integration
from pymongo import MongoClient

from crysearch import localdb
from crysearch.fingerprints import RadialDistributionFunction
from crysearch.records import RecordStore, open_records, queries
from crysearch.records.batches import relaxation_batch_document, sampling_batch_document
from crysearch.records.documents import candidate_document, search_document
from crysearch.records.mongodb import GridFSBlobs
from crysearch.records.values import deterministic_id
from crysearch.sampling import CrystalRequest, create_sampler
from crysearch.spec import SearchSpec
from crysearch.workflows import stages

KEPT = 100  # candidates that a batch of random crystals leaves
BULK = 1000  # documents of an upsert
SINGLES = 500
Document = dict[str, Any]
MONGODB_URI = os.environ.get("CRYSEARCH_TEST_MONGODB_URI")


@dataclass(frozen=True)
class Cost:
    """Wall and CPU time, in seconds."""

    wall: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.cpu + other.cpu)

    def per(self, count: int) -> Cost:
        """The cost of one of so many."""
        return Cost(self.wall / count, self.cpu / count)


@dataclass(frozen=True)
class Place:
    """An empty database: as the record store, and as pymongo or its stand-in shows it."""

    records: RecordStore
    database: Any
    server: psutil.Process | None = None

    def cost(self, step: Callable[[], Any], limit: float) -> Cost | None:
        """What a step costs; None if it is not done within the limit."""
        wall, cpu = time.perf_counter(), self._cpu()
        try:
            with time_limit(limit):
                step()
        except TimeoutError:
            return None
        return Cost(time.perf_counter() - wall, self._cpu() - cpu)

    def _cpu(self) -> float:
        server = 0.0 if self.server is None else sum(self.server.cpu_times()[:2])
        return time.process_time() + server


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    write(
        f"Python {platform.python_version()}, pymongo {version('pymongo')}, mongomock-ng "
        f"{version('mongomock-ng')}, {os.cpu_count()} cores, {platform.machine()}"
    )
    templates = candidate_templates(BULK)
    # Else the collector goes through all libraries' objects now and then, whatever is measured.
    gc.freeze()
    operations, steps = [], []
    with tempfile.TemporaryDirectory() as folder:
        address = localdb.start(Path(folder))
        process = psutil.Process(localdb.status(Path(folder)).pid)
        try:
            places: dict[str, Callable[[], Any]] = {
                "local store": lambda: server(address.uri, process)
            }
            if MONGODB_URI is not None:
                places["MongoDB"] = lambda: server(mongodb_uri)
            places["mongomock"] = in_process
            for name, place in places.items():
                for size in arguments.sizes:
                    write(f"{name}, {size:,} documents …", sys.stderr)
                    with place() as opened:
                        search = Search(opened, size, templates, arguments.limit)
                        operations.append({"place": name, "size": size} | search.operations())
                        if search.complete:
                            steps.append({"place": name, "size": size} | search.steps())
                    if not search.complete:
                        break
        finally:
            localdb.stop(Path(folder))
    print_operations(operations, arguments)
    print_steps(steps)


def candidate_templates(number: int) -> list[Document]:
    """Documents of random Si8 crystals, whose ids and places are still to be given."""
    request = CrystalRequest(("Si",), (8,), 184.0, {("Si", "Si"): 2.1})
    crystals = create_sampler("wyckoff", request).sample(number, 0)
    fingerprints = RadialDistributionFunction().compute(
        crystals.lattices, crystals.fractional_coordinates
    )
    distances = np.random.default_rng(0).uniform(0.05, 0.13, number)
    return [
        candidate_document(
            search="",
            seed=[0, 8, 0],
            formula_units=8,
            batch=0,
            index=index,
            structure=crystals.structure(index),
            fingerprint=fingerprints[index],
            space_group_requested=int(crystals.space_groups[index]),
            groups=["I"] if index % 2 else ["II"],
            near="database" if index % 2 else "replicas",
            nearest_reference={
                "id": deterministic_id("reference", index % 40),
                "reference_id": f"mp-{index % 40}",
                "distance": float(distances[index]),
            },
        )
        for index in range(number)
    ]


class Search:
    """A search with a given number of candidates, written to an empty place and asked about."""

    def __init__(self, place: Place, size: int, templates: list[Document], limit: float) -> None:
        self.place, self.size, self.templates, self.limit = place, size, templates, limit
        self.records = place.records
        # As many crystals of groups I and II as there will be; none that was not screened.
        quotas = {"I": size // 2, "II": size // 2, "III": 0}
        self.spec = SearchSpec.build({"formula_units": [8], "screening": {"quotas": quotas}})
        self.search = self.spec.search_id
        self.written = 0

    @property
    def complete(self) -> bool:
        """Whether all candidates were written within the time limit."""
        return self.written >= self.size

    def operations(self) -> dict[str, Any]:
        """The cost per document of each kind of writing and reading; None for what took too long.

        Writing all documents may take three times as long as anything else.
        """
        self.records.ensure_indexes()
        filling: Cost | None = Cost(0.0, 0.0)
        while filling is not None and filling.wall < 3 * self.limit and not self.complete:
            documents = list(itertools.islice(self.candidates(self.written), BULK))
            one = self.place.cost(self._upserts([documents]), 3 * self.limit)
            filling = None if one is None else filling + one
            self.written += 0 if one is None else len(documents)
        if not self.written:
            raise SystemExit(f"not even {BULK} documents in {3 * self.limit:g} s: raise --limit")
        ids = random.Random(0).choices([self.id_of(n) for n in range(self.written)], k=SINGLES)
        singles = [[document] for document in itertools.islice(self.candidates(0), SINGLES)]
        collection = self.place.database["candidates"]
        half = {"search": self.search, "groups": "I"}
        steps: dict[str, tuple[Callable[[], Any], int]] = {
            "written one at a time": (self._upserts(singles), SINGLES),
            "found by _id": (lambda: [self.records.get("candidates", key) for key in ids], SINGLES),
            "found by search and group (half of all)": (
                lambda: exhaust(collection.find(half)),
                self.written // 2,
            ),
            "all read": (lambda: exhaust(collection.find()), self.written),
        }
        bulk = None if filling is None else filling.per(self.written)
        costs: dict[str, Any] = {"written": self.written, f"written, {BULK:,} at a time": bulk}
        for name, (step, count) in steps.items():
            cost = self.place.cost(step, self.limit)
            costs[name] = None if cost is None else cost.per(count)
        return costs

    def _upserts(self, parts: list[list[Document]]) -> Callable[[], Any]:
        return lambda: [self.records.upsert("candidates", part) for part in parts]

    def candidates(self, first: int) -> Iterator[Document]:
        """The documents of the candidates from one number on."""
        for number in range(first, self.size):
            batch, index = divmod(number, KEPT)
            yield self.templates[number % len(self.templates)] | {
                "_id": self.id_of(number),
                "search": self.search,
                "seed": [0, 8, batch],
                "batch": batch,
                "index": index,
            }

    def id_of(self, number: int) -> str:
        """The ``_id`` of a candidate."""
        return deterministic_id(self.search, "candidate", *divmod(number, KEPT))

    def steps(self) -> dict[str, Cost | None]:
        """The cost of the steps of a search that look at what has been done so far."""
        self._write_batches()
        surplus = [
            document | {"_id": f"surplus {index}", "batch": self.size // KEPT}
            for index, document in enumerate(self.templates[:KEPT])
        ]
        batch = self._sampling_batch(self.size // KEPT)

        def write_batch() -> None:
            place = {"search": self.search, "formula_units": 8, "batch": self.size // KEPT}
            self.records.delete("candidates", place)
            documents = [document | {"search": self.search} for document in surplus]
            self.records.upsert("candidates", documents)
            self.records.upsert("batches", [batch])

        steps: dict[str, Callable[[], Any]] = {
            f"write a batch of {KEPT}": write_batch,
            # Removes the batch that has just been written beyond the quotas.
            "settle the quotas": lambda: stages.settle(self.records, self.spec, 8),
            "find what is to be relaxed": lambda: stages.pending_batches(
                self.records, self.spec, "candidate"
            ),
            "sum up the relaxations": lambda: stages.relaxation_summary(
                self.records, self.spec, "candidate"
            ),
            "count everything (status)": lambda: queries.counts(self.records, self.search),
        }
        costs = {name: self.place.cost(step, self.limit) for name, step in steps.items()}
        left = self.records.count("candidates", {"search": self.search})
        assert left == self.size, f"{left} candidates after settling, not {self.size}"
        return costs

    def _write_batches(self) -> None:
        """The search's document, and those of its batches: all sampled, the first half relaxed."""
        content = self.spec.model_dump(mode="json")
        document = search_document(
            search=self.search, name="benchmark", spec=content, formula="Si", seed=0
        )
        self.records.upsert("searches", [document])
        sampled = [self._sampling_batch(number) for number in range(self.size // KEPT)]
        ids = [self.id_of(number) for number in range(self.size)]
        side_by_side = self.spec.relaxation.batch_size
        relaxed = [
            relaxation_batch_document(
                search=self.search,
                kind="candidate",
                batch=number,
                parents=ids[start : start + side_by_side],
                relaxed=side_by_side,
                converged=side_by_side,
                failed=0,
                seconds=100.0,
            )
            for number, start in enumerate(range(0, self.size // 2, side_by_side))
        ]
        self.records.upsert("batches", sampled + relaxed)

    def _sampling_batch(self, batch: int) -> Document:
        half = KEPT // 2
        return sampling_batch_document(
            search=self.search,
            formula_units=8,
            batch=batch,
            seed=[0, 8, batch],
            sampled=5000,
            accepted=2000,
            kept=KEPT,
            kept_by_group={"I": half, "II": half},
            rejected={"distance": 3000},
            near={"database": half, "replicas": half, "neither": 2000 - KEPT},
            seconds=1.0,
        )


def exhaust(found: Iterable[Any]) -> None:
    """Read to the end, keeping nothing."""
    for _ in found:
        pass


@contextmanager
def time_limit(limit: float) -> Iterator[None]:
    """Break off what takes longer: mongomock gives no other way."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def server(uri_of: Callable[[str], str], process: psutil.Process | None = None) -> Iterator[Place]:
    """A database of its own on a server, dropped afterwards."""
    name = f"crysearch_benchmark_{uuid.uuid4().hex}"
    client: MongoClient
    with MongoClient(uri_of(name)) as client:
        try:
            with open_records(uri_of(name)) as records:
                yield Place(records, client[name], process)
        finally:
            client.drop_database(name)


@contextmanager
def in_process() -> Iterator[Place]:
    """A database of mongomock in this process."""
    enable_gridfs_integration()
    database: Any = mongomock_ng.MongoClient(tz_aware=True)["crysearch"]
    yield Place(RecordStore(database, GridFSBlobs(database), "mongomock"), database)


def mongodb_uri(name: str) -> str:
    """The address of the MongoDB server with a database's name in it."""
    assert MONGODB_URI is not None
    return urlsplit(MONGODB_URI)._replace(path=f"/{name}").geturl()


def print_operations(measured: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """One row for each operation and size, one column for each place, and ratios."""
    write("\nDocuments per second (in brackets CPU time per document, µs)\n")
    by_place: dict[str, dict[int, dict[str, Any]]] = {}
    for row in measured:
        by_place.setdefault(row["place"], {})[row["size"]] = row
    names = [name for name in measured[0] if name not in ("place", "size", "written")]
    rows = []
    for name, size in itertools.product(names, arguments.sizes):
        cells: dict[str, str] = {"operation": name, "documents": f"{size:,}"}
        ours = by_place["local store"][size].get(name)
        for place, sizes in by_place.items():
            cost = sizes.get(size, {}).get(name)
            cells[place] = "–" if cost is None else f"{1 / cost.wall:,.0f} ({1e6 * cost.cpu:,.0f})"
            if place != "local store":
                ratio = cost.wall / ours.wall if ours and cost else None
                cells[f"local store / {place}"] = "–" if ratio is None else f"{ratio:.2f}"
        rows.append(cells)
    write(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))
    for row in measured:
        if row["written"] < row["size"]:
            write(
                f"\n{row['place']}: broken off on the way to {row['size']:,} documents after "
                f"{3 * arguments.limit:g} s, at {row['written']:,}; its rates are with so many."
            )
    write(f"\n–: not reached, or not done within {arguments.limit:g} s.")


def print_steps(measured: list[dict[str, Any]]) -> None:
    """Milliseconds of each step by place and number of candidates."""
    write("\nSteps of a search by the number of its candidates, ms (in brackets CPU time, ms)\n")
    rows = []
    for row in measured:
        cells = {"place": row["place"], "candidates": f"{row['size']:,}"}
        for name in [name for name in row if name not in ("place", "size")]:
            cost = row[name]
            shown = "–" if cost is None else f"{1e3 * cost.wall:,.0f} ({1e3 * cost.cpu:,.0f})"
            cells[name] = shown
        rows.append(cells)
    write(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10,000 documents at most, limit 5 s")
    parser.add_argument(
        "--sizes", type=numbers, help="numbers of documents, multiples of 200; such as 1000,10000"
    )
    parser.add_argument("--limit", type=float, help="seconds for one operation")
    arguments = parser.parse_args()
    arguments.sizes = arguments.sizes or (
        [1000, 10_000] if arguments.quick else [1000, 10_000, 100_000]
    )
    arguments.limit = arguments.limit or (5.0 if arguments.quick else 20.0)
    return arguments


def write(line: str, stream=sys.stdout) -> None:
    """One line of the report."""
    stream.write(line + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
