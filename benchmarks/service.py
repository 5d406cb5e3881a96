"""What orchestrating a search costs, as a share of its computing.

    python benchmarks/service.py [--quick]

The same search as bare stage functions in one process with records in memory, as `run_search` with
a local store, and submitted and run by one `rlaunch rapidfire`. Each run is a process of its own;
the runs take turns, so that a machine that is busy now and then slows down all of them. What a run
costs beyond loading Python and computing is its orchestration: launch pad, records, and the server
of the local store.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from fireworks import LaunchPad

from crysearch import localdb

FLOW_FILE = Path(__file__).parents[1] / "flows" / "si_allotropes.py"
RLAUNCH = Path(sys.executable).parent / "rlaunch"
RUNS = {
    "bare": "bare stage functions",
    "run_search": "run_search, local store",
    "worker": "one worker, local store",
}
Costs = dict[str, float]


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    if arguments.part is not None:
        PARTS[arguments.part](arguments)
        return
    write(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    costs: dict[str, list[Costs]] = {run: [] for run in RUNS}
    for repeat in range(arguments.repeats):
        # To and fro: neither a drift nor what the first run left in caches favours one of them.
        for run in list(RUNS) if repeat % 2 == 0 else reversed(RUNS):
            costs[run].append(whole_run(run, arguments))
            last = costs[run][-1]
            write(f"{run}: {last['wall']:.1f} s, {last['cpu']:.1f} s of CPU", sys.stderr)
    contents = {json.dumps(one["content"]) for runs in costs.values() for one in runs}
    assert len(contents) == 1, f"the runs found different things: {contents}"
    write(
        f"\n{FLOW_FILE.name}, quota {arguments.quota}, references up to "
        f"{arguments.maximum_reference_atoms} atoms; {arguments.repeats} runs of each in turn, "
        "median and range\n"
    )
    print_runs(costs)
    print_parts(costs)


def print_runs(costs: dict[str, list[Costs]]) -> None:
    """One row for each way of running the search."""
    rows = []
    for run, text in RUNS.items():
        row: dict[str, Any] = {"run": text}
        for clock, unit in (("wall", "wall / s"), ("cpu", "CPU / s")):
            computing = middle(costs["bare"], f"computing {clock}")
            # Loading and computing alone: the bare run without its records in memory.
            needed = middle(costs["bare"], clock) - middle(costs["bare"], "in memory")
            extra = middle(costs[run], clock) - needed
            row[unit] = spread(costs[run], clock)
            row[f"orchestration, {unit}"] = f"{extra:.1f}"
            row[f"of computing, {clock}"] = f"{100 * extra / computing:.1f} %"
        rows.append(row)
    write(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def print_parts(costs: dict[str, list[Costs]]) -> None:
    """What the time of the runs is made of."""
    parts = (
        ("bare", "loading", "loading Python and crysearch, in every process"),
        ("bare", "computing wall", "computing: the bare stage functions"),
        ("bare", "in memory", "records in memory, bare"),
        ("run_search", "server cpu", "CPU of the local store's server, run_search"),
        ("worker", "server cpu", "CPU of the local store's server, worker"),
        ("worker", "submitting", "the process that submits (not in the worker's time)"),
        ("worker", "starting", "worker, from its start to its first job"),
        ("worker", "in jobs", "worker, within jobs"),
        ("worker", "between jobs", "worker, between and after jobs"),
        ("worker", "jobs", "number of jobs launched"),
    )
    rows = [{"part": text, "s": spread(costs[run], name)} for run, name, text in parts]
    write("\n" + pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))
    counted = middle(costs["worker"], "between jobs") + middle(costs["worker"], "server cpu")
    share = 100 * counted / middle(costs["bare"], "computing wall")
    write(
        f"\nCounted directly, and so free of the noise of a difference, but without what is within "
        f"jobs: between jobs and in the server {counted:.1f} s, {share:.1f} % of the computing."
    )


def whole_run(run: str, arguments: argparse.Namespace) -> Costs:
    """Run a search in processes of its own, and say what it cost."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        environment = os.environ | {
            "CRYSEARCH_DATABASE": str(project / "records"),
            "CRYSEARCH_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
        }
        try:
            if run == "worker":
                return submitted(project, environment, arguments)
            return one_process(run, project, environment, arguments)
        finally:
            localdb.stop(project / "records")


def one_process(run: str, project: Path, environment: dict, arguments: Any) -> Costs:
    """The costs of the bare stage functions or of `run_search`."""
    costs, said = timed(part_command(run, arguments), project, environment)
    costs |= json.loads(said)
    if run == "run_search":
        costs |= server_cpu(project)
        costs["cpu"] += costs["server cpu"]
    return costs


def submitted(project: Path, environment: dict, arguments: argparse.Namespace) -> Costs:
    """The costs of a search that one worker runs."""
    submitting, _ = timed(part_command("submit", arguments), project, environment)
    uri = localdb.ensure_running(project / "records").uri()
    (project / "launchpad.yaml").touch(mode=0o600)
    (project / "launchpad.yaml").write_text(f"host: {uri}\nuri_mode: true\nname: crysearch\n")
    command = [str(RLAUNCH), "-s", "-l", "launchpad.yaml", "rapidfire"]
    started = time.time()
    costs, _ = timed(command, project, environment)
    pad = LaunchPad(host=uri, name="crysearch", uri_mode=True, strm_lvl="CRITICAL")
    ids = [document["launch_id"] for document in pad.launches.find({}, {"launch_id": 1})]
    launches = [pad.get_launch_by_id(launch_id) for launch_id in ids]
    failed = [launch.launch_id for launch in launches if launch.state != "COMPLETED"]
    assert not failed, f"{len(failed)} jobs of the search failed"
    first = min(epoch(launch.time_start) for launch in launches)
    costs |= server_cpu(project)
    costs["cpu"] += costs["server cpu"]
    costs["submitting"] = submitting["wall"]
    costs["starting"] = first - started
    costs["in jobs"] = sum(launch.runtime_secs for launch in launches)
    costs["between jobs"] = costs["wall"] - costs["starting"] - costs["in jobs"]
    costs["jobs"] = len(launches)
    _, said = timed(part_command("content", arguments), project, environment)
    return costs | json.loads(said)


def epoch(moment: datetime) -> float:
    """Seconds since 1970 of FireWorks' times, which are UTC but do not say so."""
    return moment.replace(tzinfo=UTC).timestamp()


def timed(command: list[str], project: Path, environment: dict) -> tuple[Costs, str]:
    """Wall and CPU time of a process, and the last line that it wrote."""
    before = os.times()
    start = time.perf_counter()
    finished = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - start
    after = os.times()
    if finished.returncode:
        raise SystemExit(f"{command} failed:\n{finished.stdout}\n{finished.stderr}")
    cpu = sum(after[2:4]) - sum(before[2:4])
    return {"wall": wall, "cpu": cpu}, finished.stdout.strip().rpartition("\n")[2]


def server_cpu(project: Path) -> Costs:
    """CPU time of the local store's server so far."""
    process = psutil.Process(localdb.status(project / "records").pid)
    return {"server cpu": sum(process.cpu_times()[:2])}


def part_command(part: str, arguments: argparse.Namespace) -> list[str]:
    """This file again, for one part of the measurement in a process of its own."""
    atoms = arguments.maximum_reference_atoms
    options = ["--quota", str(arguments.quota), "--maximum-reference-atoms", str(atoms)]
    return [sys.executable, str(Path(__file__).resolve()), "--part", part, *options]


def bare(arguments: argparse.Namespace) -> None:
    """All stage functions, one after the other, with records in memory."""
    from mongomock_ng import MongoClient as Stand_in
    from mongomock_ng.gridfs import enable_gridfs_integration

    from crysearch.records import RecordStore
    from crysearch.records.mongodb import GridFSBlobs
    from crysearch.workflows import stages
    from crysearch.workflows.pace import Pace

    class Timed(RecordStore):
        """Knows how long its operations took, which is not computing."""

        seconds = 0.0

        def _perform(self, *operation: Any) -> Any:
            start = time.perf_counter()
            try:
                return super()._perform(*operation)
            finally:
                self.seconds += time.perf_counter() - start

    enable_gridfs_integration()
    database: Any = Stand_in(tz_aware=True)["crysearch"]
    records = Timed(database, GridFSBlobs(database), "memory")
    spec = specification(arguments)

    def search() -> None:
        stages.open_search(records, spec)
        stages.gather_references(records, spec)
        stages.train_model(records, spec)
        stages.generate_replicas(records, spec)
        for size in spec.formula_units:
            while stages.settle(records, spec, size) is None:
                stages.sample_batches(records, spec, size, Pace(None))
        for kind in ("reference", "candidate"):
            for batch in stages.pending_batches(records, spec, kind):
                stages.relax_batch(records, spec, kind, batch)
        stages.judge(records, spec)

    report(search, records, lambda: records.seconds)


def run_search(arguments: argparse.Namespace) -> None:
    """The whole search in one process, as `crysearch run` does."""
    from crysearch import workflows
    from crysearch.records import open_records

    spec = specification(arguments)
    with open_records(os.environ["CRYSEARCH_DATABASE"]) as records:
        report(lambda: workflows.run_search(spec), records)


def report(
    search: Callable[[], Any], records: Any, writing: Callable[[], float] = lambda: 0.0
) -> None:
    """Run and print the costs as a line of JSON."""
    loading = time.time() - psutil.Process().create_time()
    wall, cpu = time.perf_counter(), time.process_time()
    search()
    costs = {
        "loading": loading,
        "computing wall": time.perf_counter() - wall - writing(),
        "computing cpu": time.process_time() - cpu - writing(),
        "in memory": writing(),
    }
    write(json.dumps(costs | {"content": content_of(records)}))


def submit(arguments: argparse.Namespace) -> None:
    """What `crysearch submit` does."""
    from crysearch import workflows

    workflows.submit(specification(arguments))


def content(arguments: argparse.Namespace) -> None:
    """Print what the search has found."""
    from crysearch.records import open_records

    with open_records(os.environ["CRYSEARCH_DATABASE"]) as records:
        write(json.dumps({"content": content_of(records)}))


def content_of(records: Any) -> dict[str, Any]:
    """How many documents of each kind there are, and the sum of the energies."""
    from crysearch.records.store import COLLECTIONS

    relaxed = records.find("relaxations", {}, ["energy_per_atom"])
    energy = sum(document["energy_per_atom"] for document in relaxed)
    return {name: records.count(name) for name in COLLECTIONS} | {"energy": round(energy, 4)}


def specification(arguments: argparse.Namespace) -> Any:
    """The search that is measured."""
    return runpy.run_path(str(FLOW_FILE))["build_spec"](
        quota=arguments.quota,
        formula_units=8,
        maximum_reference_atoms=arguments.maximum_reference_atoms,
    )


def middle(runs: list[Costs], name: str) -> float:
    """The median of the repeated runs."""
    return statistics.median(one[name] for one in runs)


def spread(runs: list[Costs], name: str) -> str:
    """The median, and the range in brackets."""
    values = [one[name] for one in runs]
    text = f"{statistics.median(values):.1f}"
    return text if len(values) == 1 else f"{text} ({min(values):.1f}–{max(values):.1f})"


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "bare": bare,
    "run_search": run_search,
    "submit": submit,
    "content": content,
}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a search of 20 s of computing")
    parser.add_argument("--repeats", type=int, help="runs of each kind of the search")
    parser.add_argument("--quota", type=int, help="crystals per group")
    parser.add_argument("--maximum-reference-atoms", type=int, help="to relax; more take longer")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    quick, full = (1, 2, 4), (1, 4, 8)
    names = ("repeats", "quota", "maximum_reference_atoms")
    for name, value in zip(names, quick if arguments.quick else full, strict=True):
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


def write(line: str, stream=sys.stdout) -> None:
    """One line of the report."""
    stream.write(line + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
