"""Launches per second: jobs that do nothing, run by FireWorks' `rapidfire`.

    python benchmarks/launches.py [--quick]

In one process and in two, in workflows of ten, as bare FireWorks and as jobs of jobflow with their
outputs in the same database. On the local store, and on the MongoDB server that
CRYSEARCH_TEST_MONGODB_URI names, if any (its user must be allowed to create and drop databases).
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
from fireworks import Firework, FWorker, LaunchPad, PyTask, Workflow
from fireworks.core.rocket_launcher import rapidfire
from jobflow import SETTINGS, Flow, JobStore, job
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import MongoStore
from pymongo import MongoClient

from crysearch import localdb

JOBS_IN_WORKFLOW = 10
MONGODB_URI = os.environ.get("CRYSEARCH_TEST_MONGODB_URI")


def main() -> None:
    """Measure and print launches per second by kind of job, number of processes and place."""
    number = parse_arguments().jobs
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        address = localdb.start(Path(folder))
        places: dict[str, Callable[[str], str]] = {"local store": address.uri}
        if MONGODB_URI is not None:
            places["MongoDB"] = mongodb_uri
        try:
            for kind in ("FireWorks", "jobflow"):
                for processes in (1, 2):
                    row: dict[str, Any] = {"jobs": kind, "processes": processes}
                    for place, uri_of in places.items():
                        row[place] = launches_per_second(uri_of, kind, processes, number)
                    if len(places) > 1:
                        row["ratio"] = row["local store"] / row["MongoDB"]
                    rows.append(row)
        finally:
            localdb.stop(Path(folder))
    write(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    write(f"\nLaunches per second ({number} jobs)\n")
    write(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".1f"))


def launches_per_second(
    uri_of: Callable[[str], str], kind: str, processes: int, number: int
) -> float:
    """The rate of all processes together, from the first launch to the last."""
    with fresh_database(uri_of) as uri, tempfile.TemporaryDirectory() as folder:
        pad = launch_pad(uri)
        pad.reset("", require_password=False, max_reset_wo_password=0)
        for _ in range(number // JOBS_IN_WORKFLOW):
            pad.add_wf(workflow(kind))
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(processes + 1)
        workers = [
            context.Process(target=work, args=(uri, folder, kind, barrier))
            for _ in range(processes)
        ]
        for worker in workers:
            worker.start()
        barrier.wait(120)
        start = time.perf_counter()
        for worker in workers:
            worker.join()
        elapsed = time.perf_counter() - start
        done = pad.get_fw_ids({"state": "COMPLETED"}, count_only=True)
        launched = pad.launches.count_documents({})
        assert done == launched == number, f"{done} of {number} jobs done in {launched} launches"
    return number / elapsed


def work(uri: str, folder: str, kind: str, barrier: Any) -> None:
    """A worker process: everything is loaded and connected before the clock starts."""
    pad = launch_pad(uri)
    if kind == "jobflow":
        SETTINGS.JOB_STORE = JobStore(MongoStore.from_uri(uri, "outputs", key="uuid"))
    logging.disable()
    pad.run_exists()
    barrier.wait(120)
    rapidfire(pad, FWorker(), m_dir=folder, strm_lvl="CRITICAL")


def workflow(kind: str) -> Workflow:
    """Jobs that do next to nothing and do not depend on one another."""
    if kind == "jobflow":
        mean = job(statistics.mean)
        flow = Flow([mean([n, n + 1]) for n in range(JOBS_IN_WORKFLOW)])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Some jobs are not connected")
            return flow_to_workflow(flow)
    task = {"func": "statistics.mean", "args": [[1, 2]]}
    return Workflow([Firework(PyTask(task)) for _ in range(JOBS_IN_WORKFLOW)])


def launch_pad(uri: str) -> LaunchPad:
    """FireWorks' launch pad in a database."""
    name = urlsplit(uri).path.strip("/")
    return LaunchPad(host=uri, name=name, uri_mode=True, strm_lvl="CRITICAL")


@contextmanager
def fresh_database(uri_of: Callable[[str], str]) -> Iterator[str]:
    """The address of a database of its own, dropped afterwards."""
    uri = uri_of(f"crysearch_benchmark_{uuid.uuid4().hex}")
    try:
        yield uri
    finally:
        client: MongoClient
        with MongoClient(uri) as client:
            client.drop_database(urlsplit(uri).path.strip("/"))


def mongodb_uri(name: str) -> str:
    """The address of the MongoDB server with a database's name in it."""
    assert MONGODB_URI is not None
    return urlsplit(MONGODB_URI)._replace(path=f"/{name}").geturl()


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="50 jobs instead of 200")
    parser.add_argument("--jobs", type=int, help="jobs to launch, a multiple of 10")
    arguments = parser.parse_args()
    arguments.jobs = arguments.jobs or (50 if arguments.quick else 200)
    return arguments


def write(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
