from __future__ import annotations

from crysearch.deployment.findings import Finding, State, run_checks
from crysearch.errors import SettingsError


def test_a_check_that_breaks_ends_no_other():
    def broken():
        yield Finding("a", State.ok, "first part")
        raise RuntimeError("cannot")

    def refused():
        raise SettingsError("database: is wrong")

    checks = [("a", broken), ("b", refused), ("c", refused), ("d", lambda: [])]
    checks.append(("e", lambda: [Finding("e", State.warning, "so so", "do this")]))
    found = list(run_checks(checks))
    assert [(f.check, f.state) for f in found] == [
        ("a", State.ok),
        ("a", State.failed),
        ("b", State.failed),
        ("c", State.failed),
        ("e", State.warning),
    ]
    assert "RuntimeError: cannot" in found[1].message
    assert found[2].message == "database: is wrong"
    assert found[3].message == "for the same reason as: b"


def test_no_password_is_shown():
    def careless():
        yield Finding("a", State.ok, "mongodb://me:hidden@host/db", "try mongodb+srv://x:y@z")
        raise RuntimeError("logged in with s3cret; s3cret")

    text = " ".join(
        f"{f.message} {f.advice}" for f in run_checks([("a", careless)], ["s3cret", ""])
    )
    assert "hidden" not in text
    assert "x:y" not in text
    assert "s3cret" not in text
    assert "mongodb://***@host/db" in text
