"""Quantum ESPRESSO: the contract, failures with their reasons, and silicon."""

from __future__ import annotations

import hashlib
import stat
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.eos import EOS
from pymatgen.core import Lattice, Structure

from crysearch.errors import RelaxationError
from crysearch.relaxation import RelaxationSettings, create_relaxer
from crysearch.relaxation.conformance import CHECKS, check_batching, check_determinism
from crysearch.relaxation.espresso import EspressoRelaxer
from crysearch.relaxation.pwscf import failure_in

from .first_principles import (
    ESPRESSO,
    case,
    diamond,
    hydrogen,
    remembering,
    require,
    structures_for,
)

CHEAP = {"functional": "lda", "plane_wave_cutoff": 400.0, "k_spacing": 10.0}
SILICON = {"functional": "lda", "plane_wave_cutoff": 330.0, "k_spacing": 0.4}
FOLDER = Path("/usr/share/espresso/pseudo")


@pytest.fixture(autouse=True)
def _installed() -> None:
    require(ESPRESSO)


@cache
def cheap_engine(repeats: bool) -> EspressoRelaxer:
    return (EspressoRelaxer if repeats else remembering(EspressoRelaxer))(**CHEAP)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_keeps_the_contract(check):
    relaxer = cheap_engine(check in (check_batching, check_determinism))
    check(relaxer, case(structures_for(check, 4.5), "Sn"))


def test_a_supercell_with_the_folded_mesh_is_the_same_crystal():
    """k-points 2 x 1 x 2 of the cell are k-point Γ of the supercell."""
    cell = hydrogen(4.0)
    lengths = 2 * np.pi / np.array([4.0, 4.0, 4.1])
    relaxer = create_relaxer("espresso", **CHEAP | {"k_spacing": float(lengths.max()) * 0.6})
    folded = relaxer.single_point([cell * (2, 2, 2)])[0]
    plain = relaxer.single_point([cell])[0]
    assert folded.energy_per_atom == pytest.approx(plain.energy_per_atom, abs=2e-5)
    np.testing.assert_allclose(folded.stress, plain.stress, atol=0.02)


def test_provenance_names_program_and_files():
    relaxer = create_relaxer("espresso", **CHEAP)
    assert relaxer.provenance["pseudopotentials"] == ""
    assert relaxer.single_point([hydrogen(3.0)])[0].failure_detail is None
    provenance = relaxer.provenance
    assert provenance["package_version"][0].isdigit()
    assert provenance["pseudopotentials"] == "H=H.pz-vbc.UPF"
    checksum = hashlib.sha256((FOLDER / "H.pz-vbc.UPF").read_bytes()).hexdigest()
    assert provenance["pseudopotentials_sha256"] == f"H={checksum}"
    assert provenance["density_cutoff_eV"] == "1600"


def test_an_element_without_pseudopotential_is_named_with_the_ways_out():
    relaxer = create_relaxer("espresso", **CHEAP)
    tin = Structure(Lattice.cubic(4), ["Sn"], [[0, 0, 0]])
    bad, good = relaxer.single_point([tin, hydrogen(3.0)])
    assert (bad.failure, good.failure) == ("engine_error", None)
    for word in ("LDA", " Sn ", str(FOLDER), "gpaw"):
        assert word in bad.failure_detail
    relaxer.check_elements(["Si", "O"])
    with pytest.raises(RelaxationError, match="pseudopotential of Sn"):
        relaxer.check_elements(["Si", "Sn"])


def test_a_named_pseudopotential_is_taken_and_checked():
    relaxer = create_relaxer("espresso", pseudopotentials={"O": "O.pz-rrkjus.UPF"}, **CHEAP)
    relaxer.check_elements(["O"])
    for name in ("Si.pz-vbc.UPF", "O.pbe-rrkjus.UPF", "no.UPF"):
        relaxer = create_relaxer("espresso", pseudopotentials={"O": name}, **CHEAP)
        with pytest.raises(RelaxationError, match=name):
            relaxer.check_elements(["O"])


def test_what_does_not_become_self_consistent_fails():
    (result,) = create_relaxer("espresso", max_scf_steps=2, **CHEAP).single_point([hydrogen(3.0)])
    assert result.failure == "engine_error"
    assert "not self-consistent after 2 iterations" in result.failure_detail


def test_an_error_of_the_program_is_quoted():
    (result,) = create_relaxer("espresso", smearing="buttery", **CHEAP).single_point(
        [hydrogen(3.0)]
    )
    assert result.failure == "engine_error"
    assert "Error in routine" in result.failure_detail and "buttery" in result.failure_detail


def test_failures_in_outputs():
    assert failure_in("!    total energy = -15.8 Ry\n JOB DONE.\n") is None
    line = " " + 78 * "%" + "\n"
    block = f"text\n{line}  Error in routine x (1):\n   no\n{line}"
    assert failure_in(block) == "Error in routine x (1): no"


def program(folder: Path, text: str) -> str:
    """A program in place of pw.x."""
    path = folder / "stand-in"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_killed_program_is_a_failure_with_its_signal(tmp_path):
    command = program(tmp_path, "echo out of memory >&2; kill -9 $$")
    (result,) = create_relaxer("espresso", command=command, **CHEAP).single_point([hydrogen(3.0)])
    assert result.failure == "engine_error"
    assert "SIGKILL" in result.failure_detail and "out of memory" in result.failure_detail


def test_output_that_says_nothing_is_a_failure(tmp_path):
    command = program(tmp_path, "echo all is well")
    (result,) = create_relaxer("espresso", command=command, **CHEAP).single_point([hydrogen(3.0)])
    assert result.failure == "engine_error"
    assert "cannot be read" in result.failure_detail


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path):
    pids = tmp_path / "pids"
    command = program(tmp_path, f"sleep 300 & echo $$ $! > {pids}; wait")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    relaxer = create_relaxer("espresso", command=command, scratch=scratch, **CHEAP)
    started = time.monotonic()
    (result,) = relaxer.relax([hydrogen(3.0)], RelaxationSettings(evaluation_timeout=1.5))
    assert time.monotonic() - started < 30
    assert result.failure == "timeout"
    assert not list(scratch.iterdir()), "temporary files are removed"
    end = time.monotonic() + 5
    numbers = [int(word) for word in pids.read_text().split()]
    while any(alive(number) for number in numbers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(number) for number in numbers)


def alive(number: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": "no-such-pw.x -npool 2"}, "no such program.*CRYSEARCH_ESPRESSO_COMMAND"),
        ({"command": "pw.x 'x"}, "is no command line"),
        ({"command": ""}, "no such program"),
        ({"pseudopotentials_folder": "/no/such/folder"}, "pseudopotentials_folder.*is no folder"),
        ({"scratch": "/no/such/folder"}, "scratch.*is no folder"),
        ({"functional": "hse"}, "functional='hse' is unknown; choose 'lda' or 'pbe'"),
        ({"plane_wave_cutoff": -1.0}, "plane_wave_cutoff=-1.0 must be"),
        ({"k_spacing": 0.0}, "k_spacing=0.0 must be"),
        ({"smearing_width": float("nan")}, "smearing_width=nan must be"),
        ({"threads": 0}, "threads=0 must be"),
        ({"cutoff": 3}, "does not take these options"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(RelaxationError, match=message):
        create_relaxer("espresso", **options)


@pytest.mark.slow
def test_silicon_has_the_volume_and_bulk_modulus_of_the_local_density_approximation(tmp_path):
    """a = 5.40 Å, B = 96 GPa: what converged LDA gives in the literature.

    The lattice parameter for instance in Wang and Ye, J. Phys.: Condens. Matter 15, L197 (2003).
    """
    options = SILICON | {"k_spacing": 0.25}
    relaxer = create_relaxer("espresso", scratch=tmp_path, **options)
    crystals = [diamond(a) for a in (5.20, 5.30, 5.40, 5.50, 5.60)]
    results = relaxer.single_point(crystals)
    fit = EOS("birch_murnaghan").fit([c.volume for c in crystals], [r.energy for r in results])
    assert fit.v0 == pytest.approx(5.40**3 / 4, rel=0.01)
    assert fit.b0_GPa == pytest.approx(96, rel=0.05)
    # The same minimum by the stress: energies, stress and units agree.
    pressures = [-np.trace(result.stress) / 3 for result in results]
    assert np.interp(0, pressures[::-1], [c.volume for c in crystals][::-1]) == pytest.approx(
        fit.v0, rel=0.01
    )
    assert not list(tmp_path.iterdir()), "temporary files are removed"


@pytest.mark.slow
def test_phases_of_silicon_are_in_order():
    """Diamond below BC8 below β-tin, as in Yin and Cohen, Phys. Rev. B 30, 1773 (1984)."""
    spacegroup = Structure.from_spacegroup
    bc8 = spacegroup("Ia-3", Lattice.cubic(6.58), ["Si"], [[0.1003] * 3])
    tin = spacegroup("I4_1/amd", Lattice.tetragonal(4.76, 2.62), ["Si"], [[0, 0, 0]])
    crystals = [diamond(5.39), bc8.get_primitive_structure(), tin.get_primitive_structure()]
    relaxer = create_relaxer("espresso", **SILICON | {"k_spacing": 0.5})
    first, second, third = (r.energy_per_atom for r in relaxer.single_point(crystals))
    assert 0.05 < second - first < 0.20
    assert 0.15 < third - first < 0.35
    assert second < third


@pytest.mark.slow
def test_the_gap_of_silicon_is_indirect_and_that_of_the_local_density_approximation():
    """0.52 eV: Ku and Eguiluz, Phys. Rev. Lett. 89, 126401 (2002)."""
    relaxer = create_relaxer("espresso", **SILICON)
    found = relaxer.electronic_structure(diamond() * (2, 1, 1), k_spacing=0.45)
    assert found.band_gap == pytest.approx(0.5, abs=0.05)
    assert not found.is_metal and found.is_direct is False
    assert found.valence_band_maximum < found.fermi_energy < found.conduction_band_minimum
    assert found.settings["atoms"] == "2" and found.settings["scf_mesh"] == "6x6x6"
    assert found.settings["pseudopotentials"] == "Si=Si.pz-vbc.UPF"


def test_aluminium_is_a_metal():
    relaxer = create_relaxer("espresso", plane_wave_cutoff=150.0, k_spacing=0.7)
    found = relaxer.electronic_structure(
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0), ["Al"], [[0, 0, 0]]), k_spacing=0.7
    )
    assert found.is_metal and found.band_gap == 0 and found.is_direct is None


def test_a_gap_that_cannot_be_calculated_is_an_error_and_not_zero():
    relaxer = create_relaxer("espresso", **CHEAP)
    with pytest.raises(RelaxationError, match="pseudopotential of Sn"):
        relaxer.electronic_structure(Structure(Lattice.cubic(4), ["Sn"], [[0, 0, 0]]))


@pytest.mark.slow
def test_cell_and_positions_relax_together():
    crystal = diamond(5.5)
    strain = np.array([[1.01, 0.01, 0], [0, 1, -0.01], [0, 0, 0.99]])
    squeezed = Structure(crystal.lattice.matrix @ strain, ["Si", "Si"], [[0, 0, 0], [0.26] * 3])
    relaxer = create_relaxer("espresso", plane_wave_cutoff=250.0, k_spacing=0.7)
    settings = RelaxationSettings(force_tolerance=0.05, stress_tolerance=1.0, max_steps=20)
    (result,) = relaxer.relax([squeezed], settings)
    assert result.converged, result.failure_detail
    assert result.structure.volume == pytest.approx(5.40**3 / 4, rel=0.05)
    assert result.structure.get_distance(0, 1) == pytest.approx(5.40 * 3**0.5 / 4, rel=0.02)
    assert result.energy < result.initial_energy
