"""GPAW: density-functional theory with the projector-augmented wave method, in plane waves.

Enkovaara et al., J. Phys.: Condens. Matter 22, 253202 (2010); Mortensen et al., J. Chem. Phys. 160,
092503 (2024). GPAW is compiled for the system's Python as a rule, so that it runs there, in a
process of its own that answers one request after the other (:mod:`.gpaw_worker`).
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.units import GPa
from pymatgen.core import Structure

from crysearch.errors import RelaxationError
from crysearch.relaxation.base import Evaluation
from crysearch.relaxation.electronic import (
    ElectronicStructure,
    band_points,
    k_mesh,
    structure_of_bands,
)
from crysearch.relaxation.lockstep import LockstepRelaxer
from crysearch.relaxation.options import (
    Functional,
    check_functional,
    check_positive,
    check_threads,
)
from crysearch.relaxation.programs import (
    end_program,
    exit_reason,
    program_environment,
    require_program,
)

_WORKER = Path(__file__).with_name("gpaw_worker.py")
_INSTALL = "apt-get install gpaw gpaw-data, say"
_SETTING = "CRYSEARCH_GPAW_PYTHON"


class GpawRelaxer(LockstepRelaxer):
    """Relaxations with GPAW in plane waves, one structure at a time, without spin.

    The atoms are moved by crysearch's own optimizers; GPAW evaluates each geometry from scratch.
    The energy is the free energy ``E − TS`` of the electrons with Gaussian smearing, of which
    forces and stress are derivatives. It counts from isolated reference atoms, as GPAW does.

    Parameters
    ----------
    functional
        ``"lda"`` or ``"pbe"``; it chooses the data sets (GPAW's setups).
    plane_wave_cutoff
        Kinetic-energy cut-off, eV.
    k_spacing
        Largest distance of k-points, Å⁻¹ including 2π; the mesh is centred on Γ.
    smearing_width
        eV.
    scf_threshold
        Self-consistency: change of the energy, eV per valence electron.
    max_scf_steps
        Iterations after which a calculation that is not self-consistent fails.
    python
        The Python that can import GPAW.
    threads
        OpenMP threads.

    Raises
    ------
    RelaxationError
        If an option has no sense, or that Python or GPAW in it is not there.
    """

    # A calculation takes long: a failure must not have its whole batch calculated again.
    default_batch_atoms = 1

    def __init__(
        self,
        *,
        functional: Functional = "lda",
        plane_wave_cutoff: float = 500.0,
        k_spacing: float = 0.2,
        smearing_width: float = 0.1,
        scf_threshold: float = 1e-5,
        max_scf_steps: int = 200,
        python: str = "/usr/bin/python3",
        threads: int = 1,
    ) -> None:
        check_functional(self.name, functional)
        check_positive(
            self.name,
            plane_wave_cutoff=plane_wave_cutoff,
            k_spacing=k_spacing,
            smearing_width=smearing_width,
            scf_threshold=scf_threshold,
            max_scf_steps=max_scf_steps,
        )
        check_threads(self.name, threads)
        program = require_program(self.name, python, "python", _SETTING, _INSTALL)
        self._functional = functional
        self._cutoff = plane_wave_cutoff
        self._k_spacing = k_spacing
        self._width = smearing_width
        self._threshold = scf_threshold
        self._max_scf_steps = max_scf_steps
        self._setups: dict[str, str] = {}
        self._worker = _Worker(program, threads)
        try:
            self._versions = self._worker.ask({"task": "version"})
        except RelaxationError as error:
            raise RelaxationError(
                f"engine {self.name!r}: python={python!r} cannot import GPAW ({error}); install it "
                f"({_INSTALL}), or say which Python has it ({_SETTING})"
            ) from error

    @property
    def name(self) -> str:
        """The engine's name."""
        return "gpaw"

    @property
    def provenance(self) -> dict[str, str]:
        """Versions, functional, cut-off, k-spacing and the data sets used so far."""
        return {
            "engine": self.name,
            "package": "gpaw",
            "package_version": str(self._versions["gpaw"]),
            "ase_version": version("ase"),
            "gpaw_python_version": str(self._versions["python"]),
            "gpaw_ase_version": str(self._versions["ase"]),
            "model": self._functional.upper(),
            "plane_wave_cutoff_eV": f"{self._cutoff:g}",
            "k_spacing_per_angstrom": f"{self._k_spacing:g}",
            "smearing": f"gaussian {self._width:g} eV",
            "scf_threshold_eV_per_electron": f"{self._threshold:g}",
            "setups_md5": ", ".join(f"{key}={md5}" for key, md5 in sorted(self._setups.items())),
            "dtype": "float64",
        }

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """Calculate the structures one after the other.

        Raises
        ------
        RelaxationError
            With GPAW's reason, or how its process ended.
        """
        evaluations = []
        for atoms in batch:
            reply = self._ask("evaluate", atoms)
            evaluations.append(
                Evaluation(
                    energy=float(reply["energy"]),
                    forces=np.array(reply["forces"], dtype=float).reshape(-1, 3),
                    stress=np.array(reply["stress"], dtype=float) / GPa,
                )
            )
        return evaluations

    def electronic_structure(
        self, structure: Structure, k_spacing: float | None = None
    ) -> ElectronicStructure:
        """Band gap of a structure as it is.

        A self-consistent calculation with the engine's settings, then, at its density,
        eigenvalues on a denser mesh and along the high-symmetry path.

        Parameters
        ----------
        structure
            Any cell of the crystal; it is reduced to the primitive one.
        k_spacing
            Of the denser mesh, Å⁻¹ including 2π; None for half the engine's.

        Raises
        ------
        RelaxationError
            With GPAW's reason.
        """
        points = band_points(structure, k_spacing or self._k_spacing / 2)
        atoms = Atoms(
            numbers=points.structure.atomic_numbers,
            cell=points.structure.lattice.matrix,
            scaled_positions=points.structure.frac_coords,
            pbc=True,
        )
        reply = self._ask("eigenvalues", atoms, points=points.points.tolist())
        settings = {
            **self.provenance,
            "scf_mesh": "x".join(map(str, k_mesh(atoms, self._k_spacing))),
            **points.settings,
        }
        return structure_of_bands(
            np.array(reply["eigenvalues"], dtype=float),
            float(reply["electrons"]),
            float(reply["fermi_energy"]),
            settings,
        )

    def check_elements(self, symbols: Iterable[str]) -> None:
        """See :meth:`crysearch.relaxation.base.Relaxer.check_elements`."""
        for symbol in sorted(set(symbols)):
            self._worker.ask(
                {"task": "setup", "symbol": symbol, "functional": self._functional.upper()}
            )

    def close(self) -> None:
        """End GPAW's process; the next calculation starts another."""
        self._worker.close()

    def _ask(self, task: str, atoms: Atoms, **more: Any) -> dict[str, Any]:
        reply = self._worker.ask(
            {
                "task": task,
                "numbers": atoms.numbers.tolist(),
                "cell": atoms.cell.array.tolist(),
                "positions": atoms.positions.tolist(),
                "functional": self._functional.upper(),
                "plane_wave_cutoff": self._cutoff,
                "mesh": list(k_mesh(atoms, self._k_spacing)),
                "smearing_width": self._width,
                "scf_threshold": self._threshold,
                # GPAW's own thresholds for 0.0005 eV, scaled: squares of residuals and of errors
                # of the density go with the energy.
                "density_threshold": 1e-4 * math.sqrt(self._threshold / 5e-4),
                "eigenstate_threshold": 4e-8 * self._threshold / 5e-4,
                "max_scf_steps": self._max_scf_steps,
                **more,
            }
        )
        self._setups |= reply["setups"]
        return reply


class _Worker:
    """The process that has GPAW; started when there is a question, restarted after a failure."""

    def __init__(self, program: str, threads: int) -> None:
        self._program = program
        self._threads = threads
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._finalizer: Any = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its result."""
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            reply = json.loads(line) if line else None
        except (BrokenPipeError, json.JSONDecodeError):
            reply = None
        except BaseException:  # also a time limit, or Ctrl-C: its reply would be the next one's
            self.close()
            raise
        if reply is None:
            reason = self._last_words()
            self.close()
            raise RelaxationError(f"GPAW's process has ended: {reason}")
        if "error" in reply:
            missing = re.search(r"required PAW dataset file .(\w+)\.(\w+)", reply["error"])
            if missing is not None:
                raise RelaxationError(
                    f"GPAW has no {missing.group(2)} data set of {missing.group(1)}; add one "
                    "(`gpaw install-data`, GPAW_SETUP_PATH), or choose another functional or engine"
                )
            raise RelaxationError(f"GPAW: {reply['error']}")
        result: dict[str, Any] = reply["result"]
        return result

    def close(self) -> None:
        """End the process, if there is one."""
        if self._finalizer is not None:
            self._finalizer()
        self._process = self._errors = self._finalizer = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
            self._process = subprocess.Popen(
                [self._program, str(_WORKER)],
                env=program_environment(self._threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                start_new_session=True,
            )
            self._finalizer = weakref.finalize(self, _end, self._process, self._errors)
        return self._process

    def _last_words(self) -> str:
        """How the process ended, with the last line that it wrote."""
        assert self._process is not None and self._errors is not None
        try:
            words = [exit_reason(self._process.wait(timeout=5))]
        except subprocess.TimeoutExpired:
            words = ["it answers no more"]
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return " / ".join([*words, *said[-1:]])


def _end(process: subprocess.Popen[str], errors: IO[bytes]) -> None:
    end_program(process)
    for stream in (process.stdin, process.stdout, errors):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
