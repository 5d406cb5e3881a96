"""``crysearch doctor``: what works here, what does not, and what to do about it."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from typing import Annotated, TextIO

import typer

from crysearch.deployment.check_database import (
    check_database,
    check_fireworks,
    check_job_store,
    check_launchpad,
    check_settings,
)
from crysearch.deployment.check_machine import (
    check_api_key,
    check_deepmd,
    check_device,
    check_disk,
    check_engines,
    check_queue,
    check_vasp,
)
from crysearch.deployment.findings import Check, Finding, State, run_checks
from crysearch.deployment.project import secret_texts
from crysearch.errors import CrysearchError

_COLOURS = {
    State.ok: typer.colors.GREEN,
    State.warning: typer.colors.YELLOW,
    State.failed: typer.colors.RED,
    State.absent: typer.colors.BRIGHT_BLACK,
}


class DoctorFormat(StrEnum):
    """How the findings are printed."""

    text = "text"
    json = "json"


def doctor(
    format: Annotated[DoctorFormat, typer.Option(help="Form of the output.")] = DoctorFormat.text,
    online: Annotated[
        bool, typer.Option("--online", help="Also try the Materials Project's key.")
    ] = False,
) -> None:
    """Check the database, FireWorks, engines, VASP, keys, disk and queue.

    Exit status 1 if something that is needed failed; what is optional may be "not set up".
    """
    checks: list[tuple[str, Check]] = [
        ("settings", check_settings),
        ("database", check_database),
        ("launch pad", check_launchpad),
        ("FireWorks", check_fireworks),
        ("job store", check_job_store),
        ("queue", check_queue),
        ("engine", check_engines),
        ("potential", check_deepmd),
        ("device", check_device),
        ("VASP", check_vasp),
        ("Materials Project", partial(check_api_key, online)),
        ("disk", check_disk),
    ]
    findings: list[Finding] = []
    # Libraries talk on standard output, which belongs to the findings.
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for finding in run_checks(checks, _secrets()):
            findings.append(finding)
            if format is DoctorFormat.text:
                _print(finding, out)
    failed = sum(finding.state is State.failed for finding in findings)
    if format is DoctorFormat.json:
        json.dump([asdict(finding) for finding in findings], out, indent=2, ensure_ascii=False)
        out.write("\n")
    else:
        warnings = sum(finding.state is State.warning for finding in findings)
        typer.echo(f"\n{failed} failed, {warnings} warnings")
    if failed:
        raise typer.Exit(1)


def _secrets() -> list[str]:
    """What must not be shown; broken settings are the first check's to report."""
    try:
        return list(secret_texts())
    except CrysearchError:
        return []


def _print(finding: Finding, out: TextIO) -> None:
    state = typer.style(f"{finding.state.value:<11}", fg=_COLOURS[finding.state])
    typer.echo(f"{state}{finding.check:<18}{finding.message}", file=out)
    if finding.advice:
        typer.echo(f"{'':<29}→ {finding.advice}", file=out)
