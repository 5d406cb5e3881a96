"""Running pw.x of Quantum ESPRESSO: its process, its reasons for failing, its eigenvalues."""

from __future__ import annotations

import math
import re
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from ase.calculators.espresso import EspressoProfile
from ase.units import Hartree
from numpy.typing import NDArray

from crysearch.errors import RelaxationError
from crysearch.relaxation.programs import end_program, exit_reason, program_environment

PREFIX = "pwscf"
"""What pw.x is told to call its files."""


class PwxProfile(EspressoProfile):
    """Runs pw.x in a process group of its own, which does not outlive the calculation."""

    def __init__(self, command: str, pseudo_dir: Path, threads: int) -> None:
        super().__init__(command, pseudo_dir)
        self._environment = program_environment(threads)
        self._version: str | None = None

    def run(
        self,
        directory: Path,
        inputfile: str | None,
        outputfile: str,
        errorfile: str | None = None,
        append: bool = False,
    ) -> None:
        """Run and wait; raise with pw.x's own reason unless all went well."""
        output, errors = directory / outputfile, directory / (errorfile or f"{outputfile}.err")
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                self.get_command(inputfile),
                cwd=directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                status = process.wait()
            except BaseException:  # also a time limit, or Ctrl-C
                end_program(process)
                raise
        text = output.read_text(errors="replace")
        self._version = _program_version(text) or self._version
        reason = failure_in(text)
        if reason is None and status != 0:
            said = errors.read_text(errors="replace").strip().splitlines()[-3:]
            reason = " / ".join([exit_reason(status), *said])
        if reason is not None:
            raise RelaxationError(f"pw.x: {reason}")

    def version(self) -> str:
        """The program's version, asked for with an empty input if it has not run yet."""
        if self._version is None:
            with tempfile.TemporaryDirectory(prefix="crysearch-espresso-") as name:
                folder = Path(name)
                (folder / "empty").touch()
                try:
                    self.run(folder, "empty", "output")
                except RelaxationError:  # as it must: but it has said its version before
                    self._version = _program_version((folder / "output").read_text())
        return self._version or "unknown"


def failure_in(output: str) -> str | None:
    """Why pw.x failed, from what it wrote; None if it says nothing of a failure.

    An error is a block between two lines of per cent signs.
    """
    block = re.search(r"^\s*%{20,}\s*\n(.*?)^\s*%{20,}", output, re.MULTILINE | re.DOTALL)
    if block is not None:
        return " ".join(block.group(1).split())
    unconverged = re.search(r"convergence NOT achieved after\s+(\d+) iterations", output)
    if unconverged is not None:
        accuracies = re.findall(r"estimated scf accuracy\s*<\s*(\S+)", output)
        last = f", estimated error {accuracies[-1]} Ry" if accuracies else ""
        return (
            f"not self-consistent after {unconverged.group(1)} iterations{last}; raise "
            "max_scf_steps or lower mixing"
        )
    return None


def _program_version(output: str) -> str | None:
    found = re.search(r"Program PWSCF\s+v\.?\s*(\S+)", output)
    return None if found is None else found.group(1)


def read_bands(folder: Path) -> tuple[float, float, NDArray[np.float64]]:
    """Electrons, Fermi energy (eV) and eigenvalues (k-points, bands; eV) of the last run.

    Raises
    ------
    RelaxationError
        If they are not there.
    """
    try:
        root = ElementTree.parse(folder / f"{PREFIX}.xml").getroot()
        bands = root.find("output/band_structure")
        assert bands is not None
        electrons = float(bands.findtext("nelec", ""))
        fermi_energy = float(bands.findtext("fermi_energy", "nan")) * Hartree
        rows = [
            [float(word) for word in (item.findtext("eigenvalues") or "").split()]
            for item in bands.findall("ks_energies")
        ]
        eigenvalues = np.array(rows) * Hartree
        assert eigenvalues.ndim == 2 and math.isfinite(electrons)
    except Exception as error:
        raise RelaxationError(
            f"the eigenvalues of pw.x cannot be read ({type(error).__name__}: {error})"
        ) from error
    return electrons, fermi_energy, eigenvalues
