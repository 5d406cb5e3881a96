"""Settings, the registry, and what a person meets when something is missing."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from crysearch.errors import RelaxationError
from crysearch.relaxation import RelaxationSettings, available_relaxers, create_relaxer, registry


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("force_tolerance", 0.0),
        ("stress_tolerance", -1.0),
        ("force_tolerance", math.nan),
        ("max_steps", -1),
        ("maximum_step", math.inf),
        ("batch_atoms", 0),
        ("optimizer", "adam"),
        ("minimum_volume_ratio", 1.5),
        ("maximum_volume_ratio", 0.5),
    ],
)
def test_bad_settings_name_field_and_value(field, value):
    with pytest.raises(RelaxationError, match=f"{field}={value!r}"):
        RelaxationSettings(**{field: value})


def test_unknown_engine_lists_the_known_ones():
    with pytest.raises(RelaxationError, match=r"'vasp5' is unknown; choose one of sevennet-0, "):
        create_relaxer("vasp5")


def test_missing_package_says_what_to_run(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "chgnet" else object())
    with pytest.raises(RelaxationError, match=r'run: pip install "chgnet'):
        create_relaxer("chgnet")
    installed = {info.name: info.installed for info in available_relaxers()}
    assert installed["sevennet-0"] and not installed["chgnet"]


def test_a_missing_program_is_seen_but_may_be_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    engines = {info.name: info for info in available_relaxers()}
    for name, program in (("espresso", "pw.x"), ("gpaw", "gpaw")):
        assert engines[name].missing == (program,) and not engines[name].installed
        assert engines[name].missing_packages == ()
        assert "apt-get install" in engines[name].install
    with pytest.raises(RelaxationError, match=r"command='pw\.x': there is no such program"):
        create_relaxer("espresso")
    (tmp_path / "pw.x").touch(mode=0o755)
    assert {info.name for info in available_relaxers() if info.installed} >= {"espresso"}


def test_wrong_options_are_named():
    with pytest.raises(RelaxationError, match=r"'emt' does not take these options \(device\)"):
        create_relaxer("emt", device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "abacus"}, "device='abacus' is unknown"),
        ({"device": "cuda:77"}, "device='cuda:77' is not available here"),
        ({"threads": 0}, "threads=0 must be a whole number of at least 1"),
    ],
)
@pytest.mark.parametrize("name", ["sevennet-0", "chgnet"])
def test_wrong_device_and_threads(name, options, message):
    with pytest.raises(RelaxationError, match=message):
        create_relaxer(name, **options)


def test_threads_hold_only_during_a_calculation():
    import torch

    from crysearch.relaxation.torch_runtime import torch_threads

    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_importing_the_package_loads_no_engine():
    code = (
        "import sys, crysearch.relaxation as relaxation; relaxation.available_relaxers();"
        "print([name for name in ('torch', 'sevenn', 'chgnet') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sevennet-0", "chgnet"])
def test_engines_say_nothing_on_the_terminal(name):
    code = (
        "from pymatgen.core import Lattice, Structure;"
        "from crysearch.relaxation import create_relaxer;"
        f"relaxer = create_relaxer({name!r}, device='cpu');"
        "(result,) = relaxer.single_point("
        "[Structure.from_spacegroup('Fd-3m', Lattice.cubic(5.43), ['Si'], [[0, 0, 0]])]);"
        "assert result.status == 'single_point', result.failure_detail"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
