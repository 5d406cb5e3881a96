"""GPAW: the contract, failures with their reasons, and silicon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crysearch.errors import RelaxationError
from crysearch.relaxation import RelaxationSettings, create_relaxer
from crysearch.relaxation.conformance import CHECKS, check_batching, check_determinism
from crysearch.relaxation.gpaw import GpawRelaxer

from .first_principles import (
    GPAW,
    case,
    diamond,
    hydrogen,
    remembering,
    require,
    structures_for,
)

CHEAP = {"functional": "lda", "plane_wave_cutoff": 300.0, "k_spacing": 10.0}
SILICON = {"functional": "lda", "plane_wave_cutoff": 300.0, "k_spacing": 0.5}


@pytest.fixture(autouse=True)
def _installed() -> None:
    require(GPAW)


@cache
def cheap_engine(repeats: bool) -> GpawRelaxer:
    return (GpawRelaxer if repeats else remembering(GpawRelaxer))(**CHEAP)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_keeps_the_contract(check):
    relaxer = cheap_engine(check in (check_batching, check_determinism))
    check(relaxer, case(structures_for(check, 4.0), "Fm"))


def worker_of(relaxer: GpawRelaxer) -> int:
    process = relaxer._worker._process
    assert process is not None
    return process.pid


def test_provenance_names_versions_and_data_sets():
    relaxer = create_relaxer("gpaw", **CHEAP)
    assert relaxer.single_point([hydrogen(3.0)])[0].failure_detail is None
    provenance = relaxer.provenance
    assert provenance["package_version"][0].isdigit()
    name, _, checksum = provenance["setups_md5"].partition("=")
    assert name == "H" and len(checksum) == 32


def test_an_element_without_data_set_is_named():
    relaxer = create_relaxer("gpaw", **CHEAP)
    with pytest.raises(RelaxationError, match="GPAW has no LDA data set of Fm"):
        relaxer.check_elements(["Si", "Fm"])
    relaxer.check_elements(["Na", "Cl", "Sn", "Se", "Ga", "As", "Al", "O", "Si"])
    with pytest.raises(RelaxationError, match="data set of Fm"):
        relaxer.electronic_structure(Structure(Lattice.cubic(4), ["Fm"], [[0, 0, 0]]))


def test_what_does_not_become_self_consistent_fails():
    relaxer = create_relaxer("gpaw", max_scf_steps=3, **CHEAP)
    (result,) = relaxer.single_point([hydrogen(3.0)])
    assert result.failure == "engine_error"
    assert "KohnShamConvergenceError" in result.failure_detail


def test_a_killed_process_fails_its_structure_alone():
    relaxer = create_relaxer("gpaw", **CHEAP)
    first = worker_of(relaxer)
    timer = threading.Timer(2.0, os.kill, (first, signal.SIGKILL))
    timer.start()
    large, small = relaxer.single_point([diamond() * (2, 2, 2), hydrogen(3.0)])
    timer.join()
    assert large.failure == "engine_error" and "SIGKILL" in large.failure_detail
    assert small.failure_detail is None
    assert worker_of(relaxer) != first


def test_a_process_that_hangs_is_ended():
    relaxer = create_relaxer("gpaw", **CHEAP)
    pid = worker_of(relaxer)
    os.kill(pid, signal.SIGSTOP)
    settings = RelaxationSettings(evaluation_timeout=0.5, max_steps=0)
    started = time.monotonic()
    (result,) = relaxer.relax([hydrogen(3.0)], settings)
    assert result.failure == "timeout"
    assert time.monotonic() - started < 30
    assert not Path(f"/proc/{pid}").exists()
    assert relaxer.single_point([hydrogen(3.0)])[0].failure_detail is None


def test_no_process_is_left_behind():
    relaxer = create_relaxer("gpaw", **CHEAP)
    pid = worker_of(relaxer)
    relaxer.close()
    assert not Path(f"/proc/{pid}").exists()
    code = (
        "from crysearch.relaxation import create_relaxer;"
        "print(create_relaxer('gpaw')._worker._process.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"python": "/no/such/python"}, "no such program.*CRYSEARCH_GPAW_PYTHON"),
        ({"python": "/bin/true"}, "cannot import GPAW.*apt-get install gpaw"),
        ({"functional": "hse"}, "functional='hse' is unknown"),
        ({"plane_wave_cutoff": 0}, "plane_wave_cutoff=0 must be"),
        ({"threads": 0}, "threads=0 must be"),
        ({"command": "pw.x"}, "does not take these options"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(RelaxationError, match=message):
        create_relaxer("gpaw", **options)


@pytest.mark.slow
def test_silicon_has_the_volume_of_the_local_density_approximation():
    """5.40 Å: Wang and Ye, J. Phys.: Condens. Matter 15, L197 (2003)."""
    crystals = [diamond(a) for a in (5.35, 5.45)]
    results = create_relaxer("gpaw", **SILICON).single_point(crystals)
    pressures = [-np.trace(result.stress) / 3 for result in results]
    volume = np.interp(0, pressures[::-1], [crystal.volume for crystal in crystals][::-1])
    assert volume == pytest.approx(5.40**3 / 4, rel=0.015)


@pytest.mark.slow
def test_the_gap_of_silicon_is_indirect_and_that_of_the_local_density_approximation():
    """0.52 eV: Ku and Eguiluz, Phys. Rev. Lett. 89, 126401 (2002)."""
    relaxer = create_relaxer("gpaw", **SILICON)
    found = relaxer.electronic_structure(diamond(), k_spacing=1.0)
    assert found.band_gap == pytest.approx(0.5, abs=0.1)
    assert not found.is_metal and found.is_direct is False
    assert found.settings["scf_mesh"] == "5x5x5"


@pytest.mark.slow
def test_a_compound_that_quantum_espresso_has_no_pseudopotentials_for() -> None:
    """Sodium chloride: rock salt lies below the caesium chloride structure, as it is found."""
    engine = create_relaxer("gpaw", functional="pbe", plane_wave_cutoff=300.0, k_spacing=0.5)
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    rock_salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], places)
    other = Structure(Lattice.cubic(3.46), ["Na", "Cl"], places)
    first, second = engine.single_point([rock_salt.get_primitive_structure(), other])
    assert first.failure_detail is second.failure_detail is None
    # Literature has some hundredths of an eV; meshes as coarse as these leave the sign.
    assert 0.0 < second.energy_per_atom - first.energy_per_atom < 0.3
    assert np.abs(first.forces).max() < 1e-2
