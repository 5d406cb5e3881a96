from __future__ import annotations

import subprocess
import sys

import pytest

from crysearch.errors import TrainingError
from crysearch.potentials import available_potentials, create_potential, load_potential


def test_names_are_known():
    assert "behler-parrinello" in available_potentials()
    for name in available_potentials():
        assert create_potential(name, elements=["Si"]).name == name


def test_unknown_names_and_arguments_are_refused():
    with pytest.raises(TrainingError, match="behler-parrinello"):
        create_potential("behler", elements=["Si"])
    with pytest.raises(TrainingError, match="behler-parrinello"):
        load_potential("behler", b"")
    with pytest.raises(TrainingError, match=r"takes no colour.*elements"):
        create_potential("behler-parrinello", elements=["Si"], colour="red")
    with pytest.raises(TrainingError, match="needs elements"):
        create_potential("behler-parrinello")


def test_torch_waits_for_the_first_potential():
    program = "import sys, crysearch.potentials; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
