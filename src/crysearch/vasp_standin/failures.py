"""Failures on request, and VASP's own request to stop (STOPCAR).

What is asked for stands in the environment variable :data:`~crysearch.vasp_standin.FAIL_VARIABLE`
or, for one folder, in a file ``VASP_STANDIN_FAIL`` in it: names joined by commas, some with a value
after a colon.

``zbrent`` or ``zbrent:RUNS``
    After two ionic steps of a relaxation, stop as VASP does when its line minimisation fails;
    later runs in the same folder, or all but the first RUNS of them, go well.
``unconverged``
    Every ionic step takes NELM electronic steps.
``crash``
    After the first ionic step, end with status 139 and an unfinished vasprun.xml.
``hang``
    After the first ionic step, write nothing more until killed (or the parent process is gone).
``slow`` or ``slow:SECONDS``
    Wait SECONDS (1 unless given) in each ionic step, looking for a STOPCAR.
"""

from __future__ import annotations

import math
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crysearch.errors import VaspStandinError
from crysearch.vasp_standin.mark import FAIL_VARIABLE

FAIL_FILE = "VASP_STANDIN_FAIL"
COUNT_FILE = "vasp_standin.runs"
"""Holds the number of runs in the folder that ended in ``zbrent``."""

ZBRENT_STEPS = 2
_LOOK_SECONDS = 0.1

Stop = Literal["soft", "hard"]


@dataclass(frozen=True)
class Failures:
    """The failures asked for."""

    zbrent: int = 0
    unconverged: bool = False
    crash: bool = False
    hang: bool = False
    slow: float = 0.0


def read_failures(folder: Path) -> Failures:
    """What the environment and the folder ask for.

    Raises
    ------
    VaspStandinError
        If a name is unknown or its value is unusable.
    """
    asked = os.environ.get(FAIL_VARIABLE, "")
    file = folder / FAIL_FILE
    if file.is_file():
        asked += "," + file.read_text(encoding="utf-8")
    values: dict[str, float] = {}
    for word in re.split(r"[,\s]+", asked.strip()):
        if not word:
            continue
        name, colon, text = word.partition(":")
        if name not in ("zbrent", "unconverged", "crash", "hang", "slow"):
            raise VaspStandinError(
                f"{FAIL_VARIABLE}: {word!r} is unknown; choose zbrent, unconverged, crash, hang "
                "or slow:SECONDS"
            )
        try:
            value = float(text) if colon else 1.0
        except ValueError:
            value = math.nan
        if (colon and name not in ("zbrent", "slow")) or not 0 <= value < math.inf:
            raise VaspStandinError(f"{FAIL_VARIABLE}: the value of {word!r} is not usable")
        values[name] = value
    return Failures(
        zbrent=int(values.get("zbrent", 0)),
        unconverged="unconverged" in values,
        crash="crash" in values,
        hang="hang" in values,
        slow=values.get("slow", 0.0),
    )


def line_minimisation_fails(folder: Path, failures: Failures) -> bool:
    """Whether this run shall end in ``zbrent``; if so, it is counted."""
    count = folder / COUNT_FILE
    done = int(count.read_text(encoding="utf-8")) if count.is_file() else 0
    if done >= failures.zbrent:
        return False
    count.write_text(f"{done + 1}\n", encoding="utf-8")
    return True


def stop_requested(folder: Path) -> Stop | None:
    """What a STOPCAR asks for: ``"soft"`` (LSTOP), ``"hard"`` (LABORT) or nothing."""
    try:
        text = (folder / "STOPCAR").read_text(encoding="utf-8", errors="replace").upper()
    except OSError:
        return None
    for tag, stop in (("LABORT", "hard"), ("LSTOP", "soft")):
        if re.search(rf"{tag}\s*=\s*\.?T", text):
            return "hard" if stop == "hard" else "soft"
    return None


def remove_stopcar(folder: Path) -> None:
    """VASP takes STOPCAR away when it ends."""
    with suppress(OSError):
        (folder / "STOPCAR").unlink(missing_ok=True)


def wait(folder: Path, seconds: float) -> None:
    """Let time pass as an electronic minimisation does, which LABORT cuts short."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and stop_requested(folder) != "hard":
        time.sleep(min(left, _LOOK_SECONDS))


def hang() -> None:
    """Do nothing until killed; a run whose parent has died ends, so that no test leaves one."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
