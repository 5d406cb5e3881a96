"""What a check finds, and running checks so that one that breaks ends no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from crysearch.errors import CrysearchError


class State(StrEnum):
    """How a check ends."""

    ok = "ok"
    warning = "warning"
    failed = "failed"
    absent = "not set up"


@dataclass(frozen=True)
class Finding:
    """One line of `crysearch doctor`.

    Attributes
    ----------
    check
        What was looked at.
    state
        How it is; only ``failed`` is a reason for exit status 1.
    message
        What was found.
    advice
        What to do about it; empty if nothing.
    """

    check: str
    state: State
    message: str
    advice: str = ""


Check = Callable[[], Iterable[Finding]]

_LOGIN = re.compile(r"(?<=://)[^/\s]*@")


def run_checks(
    checks: Iterable[tuple[str, Check]], secrets: Sequence[str] = ()
) -> Iterator[Finding]:
    """Run checks one after the other.

    Parameters
    ----------
    checks
        Names and functions; one that raises becomes a failed finding under its name.
    secrets
        The texts that must not be shown, whatever an error says.
    """
    reported: dict[str, str] = {}
    for name, check in checks:
        try:
            for finding in check():
                yield _redacted(finding, secrets)
        except CrysearchError as error:
            # Broken settings break many checks: said once.
            first = reported.setdefault(str(error), name)
            text = str(error) if first == name else f"for the same reason as: {first}"
            yield _redacted(Finding(name, State.failed, text), secrets)
        except Exception as error:
            text = f"the check itself failed: {type(error).__name__}: {error}"
            yield _redacted(Finding(name, State.failed, text), secrets)


def _redacted(finding: Finding, secrets: Sequence[str]) -> Finding:
    message, advice = (_LOGIN.sub("***@", text) for text in (finding.message, finding.advice))
    for secret in filter(None, secrets):
        message, advice = (text.replace(secret, "***") for text in (message, advice))
    return replace(finding, message=message, advice=advice)
