"""mongoeco, an independent server of the MongoDB protocol, in a Python of its own.

It needs Python 3.13 or later, which is not the one that crysearch is tested with.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from platformdirs import user_cache_path

# Pinned, because the tests name its deviations from MongoDB.
REQUIREMENT = "mongoeco[wire]==4.11.0"
INSTALL_SECONDS = 180.0
START_SECONDS = 30.0

SERVE = """
import asyncio, sys
from mongoeco.engines.sqlite import SQLiteEngine
from mongoeco.wire import AsyncMongoEcoProxyServer

async def serve():
    async with AsyncMongoEcoProxyServer(engine=SQLiteEngine(sys.argv[1])) as server:
        print(server.address.uri, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(serve())
"""


@contextmanager
def second_server(folder: Path) -> Iterator[str]:
    """Run the server in a folder and yield its address; skip where it cannot be had."""
    python = prepared_python()
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [str(python), "-c", SERVE, str(folder / "mongoeco.sqlite")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, (folder / "server.log").read_text()
            yield address
        finally:
            process.kill()
            process.communicate(timeout=START_SECONDS)


@cache
def prepared_python() -> Path:
    """Return a Python that has mongoeco, made once per machine and user."""
    base = suitable_python()
    place = user_cache_path("crysearch-tests") / "mongoeco"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    python = place / "venv" / "bin" / "python"
    with (place / "lock").open("w") as lock:
        # Test processes that run side by side make it once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place / "requirement"
        if not (done.exists() and done.read_text() == REQUIREMENT and python.exists()):
            shutil.rmtree(place / "venv", ignore_errors=True)
            for command in (
                [base, "-m", "venv", str(place / "venv")],
                [str(python), "-m", "pip", "install", "--quiet", REQUIREMENT],
            ):
                run_or_skip(command)
            done.write_text(REQUIREMENT)
    return python


@cache
def suitable_python() -> str:
    """Return the path of a Python 3.13 or later, or skip."""
    named = [shutil.which(name) for name in ("python3.14", "python3.13", "python3")]
    managed = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"), reverse=True)
    check = "import sys, venv; print(sys.version_info >= (3, 13))"
    for candidate in [*(path for path in named if path), *map(str, managed)]:
        # A name on PATH can be a shim that refuses to run.
        answer = subprocess.run([candidate, "-c", check], capture_output=True, text=True)
        if answer.stdout.strip() == "True":
            return candidate
    pytest.skip("mongoeco as a second server: no Python 3.13 or later on this machine")


def run_or_skip(command: list[str]) -> None:
    """Run one command of the installation; skip with its last words where it fails."""
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"mongoeco as a second server: {command[-1]} took over {INSTALL_SECONDS:g} s")
    if answer.returncode:
        words = answer.stderr.strip().splitlines()
        pytest.skip(f"mongoeco as a second server: {words[-1] if words else command[-1]}")
