"""Quantum ESPRESSO: density-functional theory with pseudopotentials, by the program pw.x.

Giannozzi et al., J. Phys.: Condens. Matter 21, 395502 (2009) and 29, 465901 (2017). ASE writes the
input and reads the output; this module runs the program, and says why it failed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.espresso import Espresso
from ase.units import GPa, Rydberg
from pymatgen.core import Structure

from crysearch.errors import RelaxationError
from crysearch.relaxation.base import Evaluation
from crysearch.relaxation.electronic import (
    ElectronicStructure,
    band_count,
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
from crysearch.relaxation.programs import require_program
from crysearch.relaxation.pseudopotentials import (
    Pseudopotential,
    find_pseudopotential,
    read_pseudopotential,
)
from crysearch.relaxation.pwscf import PREFIX, PwxProfile, read_bands

DEFAULT_FOLDER = "/usr/share/espresso/pseudo"
"""Where Debian's quantum-espresso-data puts its pseudopotentials."""

_INSTALL = "apt-get install quantum-espresso quantum-espresso-data, say"
_DENSITY_FACTOR = {"norm-conserving": 4.0, "PAW": 8.0, "ultrasoft": 10.0}


class EspressoRelaxer(LockstepRelaxer):
    """Relaxations with pw.x of Quantum ESPRESSO, one structure at a time, without spin.

    The atoms are moved by crysearch's own optimizers; pw.x evaluates each geometry from scratch,
    so that a result depends on nothing but the structure. The energy is the free energy
    ``E − TS`` of the smeared electrons, which is what forces and stress are derivatives of.

    Parameters
    ----------
    functional
        ``"lda"`` or ``"pbe"``; it chooses the pseudopotentials.
    plane_wave_cutoff
        Kinetic-energy cut-off of the wavefunctions, eV (divide by 13.606 for Ry).
    density_cutoff
        That of the density, eV; None for 4 times ``plane_wave_cutoff`` with norm-conserving, 8
        times with PAW and 10 times with ultrasoft pseudopotentials.
    k_spacing
        Largest distance of k-points, Å⁻¹ including 2π; the mesh is centred on Γ.
    smearing
        pw.x's name of the smearing; ``"gaussian"`` serves metals and insulators.
    smearing_width
        eV.
    scf_threshold
        Self-consistency: estimated error of the energy, eV per atom.
    max_scf_steps
        Iterations after which a calculation that is not self-consistent fails.
    mixing
        Fraction of the new density that is mixed in; smaller converges more slowly and surely.
    command
        The program, with what has to be before it: ``"pw.x"``, ``"mpirun -np 4 pw.x"``.
    pseudopotentials_folder
        Folder of UPF files; None for the environment's ``ESPRESSO_PSEUDO`` or Debian's folder.
    pseudopotentials
        File names in the folder by element, where the choice of
        :func:`~crysearch.relaxation.pseudopotentials.find_pseudopotential` is not the wanted one.
    threads
        OpenMP threads of each process.
    scratch
        Folder for temporary files, which are removed after each calculation; None for the
        system's.

    Raises
    ------
    RelaxationError
        If an option has no sense, or the program or the folder is not there.
    """

    # A calculation takes long: a failure must not have its whole batch calculated again.
    default_batch_atoms = 1

    def __init__(
        self,
        *,
        functional: Functional = "lda",
        plane_wave_cutoff: float = 500.0,
        density_cutoff: float | None = None,
        k_spacing: float = 0.2,
        smearing: str = "gaussian",
        smearing_width: float = 0.1,
        scf_threshold: float = 1e-8,
        max_scf_steps: int = 200,
        mixing: float = 0.7,
        command: str = "pw.x",
        pseudopotentials_folder: str | Path | None = None,
        pseudopotentials: Mapping[str, str] | None = None,
        threads: int = 1,
        scratch: str | Path | None = None,
    ) -> None:
        check_functional(self.name, functional)
        check_positive(
            self.name,
            plane_wave_cutoff=plane_wave_cutoff,
            density_cutoff=density_cutoff,
            k_spacing=k_spacing,
            smearing_width=smearing_width,
            scf_threshold=scf_threshold,
            max_scf_steps=max_scf_steps,
            mixing=mixing,
        )
        check_threads(self.name, threads)
        require_program(self.name, command, "command", "CRYSEARCH_ESPRESSO_COMMAND", _INSTALL)
        folder = pseudopotentials_folder or os.environ.get("ESPRESSO_PSEUDO") or DEFAULT_FOLDER
        self._folder = Path(folder).expanduser().resolve()
        if not self._folder.is_dir():
            raise RelaxationError(
                f"engine {self.name!r}: pseudopotentials_folder={str(folder)!r} is no folder; say "
                f"where UPF files are (CRYSEARCH_ESPRESSO_PSEUDOPOTENTIALS), or install some "
                f"({_INSTALL})"
            )
        if scratch is not None and not Path(scratch).is_dir():
            raise RelaxationError(f"engine {self.name!r}: scratch={str(scratch)!r} is no folder")
        self._functional: Functional = functional
        self._cutoff = plane_wave_cutoff
        self._density_cutoff = density_cutoff
        self._k_spacing = k_spacing
        self._smearing = smearing
        self._width = smearing_width
        self._threshold = scf_threshold
        self._max_scf_steps = max_scf_steps
        self._mixing = mixing
        self._scratch = None if scratch is None else str(Path(scratch).resolve())
        self._named = dict(pseudopotentials or {})
        self._chosen: dict[str, Pseudopotential] = {}
        self._command = command
        self._profile = PwxProfile(command, self._folder, threads)

    @property
    def name(self) -> str:
        """The engine's name."""
        return "espresso"

    @property
    def provenance(self) -> dict[str, str]:
        """Program and version, functional, cut-offs, k-spacing, pseudopotentials used so far."""
        chosen = sorted(self._chosen.items())
        return {
            "engine": self.name,
            "package": "quantum-espresso",
            "package_version": self._profile.version(),
            "ase_version": version("ase"),
            "model": self._functional.upper(),
            "plane_wave_cutoff_eV": f"{self._cutoff:g}",
            "density_cutoff_eV": f"{self._density_cutoff_for(self._chosen.values()):g}",
            "k_spacing_per_angstrom": f"{self._k_spacing:g}",
            "smearing": f"{self._smearing} {self._width:g} eV",
            "scf_threshold_eV_per_atom": f"{self._threshold:g}",
            "pseudopotentials": ", ".join(f"{key}={item.path.name}" for key, item in chosen),
            "pseudopotentials_sha256": ", ".join(f"{key}={i.checksum}" for key, i in chosen),
            "command": self._command,
            "dtype": "float64",
        }

    def check_elements(self, symbols: Iterable[str]) -> None:
        """See :meth:`crysearch.relaxation.base.Relaxer.check_elements`."""
        for symbol in sorted(set(symbols)):
            self._find_pseudopotential(symbol)

    def evaluate(self, batch: Sequence[Atoms]) -> list[Evaluation]:
        """Calculate the structures one after the other.

        Raises
        ------
        RelaxationError
            If an element has no pseudopotential, or with pw.x's reason.
        """
        evaluations = []
        for atoms in batch:
            with self._folder_of_run() as folder:
                evaluations.append(self._self_consistent(atoms, folder))
        return evaluations

    def electronic_structure(
        self, structure: Structure, k_spacing: float | None = None
    ) -> ElectronicStructure:
        """Band gap of a structure as it is.

        A self-consistent calculation with the engine's settings, then, in its potential,
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
            With pw.x's reason.
        """
        points = band_points(structure, k_spacing or self._k_spacing / 2)
        atoms = _atoms(points.structure)
        weights = np.ones((len(points.points), 1))
        with self._folder_of_run() as folder:
            self._self_consistent(atoms, folder)
            electrons, fermi_energy, _ = read_bands(folder)
            bands = self._calculator(
                atoms,
                folder,
                np.concatenate([points.points, weights], axis=1),
                control={"calculation": "bands", "tprnfor": False, "tstress": False},
                system={"nbnd": band_count(electrons)},
            )
            bands.write_inputfiles(atoms, [])
            bands.template.execute(folder, self._profile)
            _, _, eigenvalues = read_bands(folder)
        if len(eigenvalues) != len(points.points):
            raise RelaxationError(
                f"pw.x gave eigenvalues at {len(eigenvalues)} of {len(points.points)} k-points"
            )
        settings = {
            **{key: value for key, value in self.provenance.items() if key != "command"},
            "scf_mesh": "x".join(map(str, k_mesh(atoms, self._k_spacing))),
            **points.settings,
        }
        return structure_of_bands(eigenvalues, electrons, fermi_energy, settings)

    @contextmanager
    def _folder_of_run(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(
            prefix="crysearch-espresso-", dir=self._scratch, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)

    def _self_consistent(self, atoms: Atoms, folder: Path) -> Evaluation:
        mesh = k_mesh(atoms, self._k_spacing)
        atoms = atoms.copy()
        atoms.calc = self._calculator(atoms, folder, mesh)
        try:
            return Evaluation(
                energy=float(atoms.get_potential_energy(force_consistent=True)),
                forces=np.array(atoms.get_forces(), dtype=float),
                stress=np.array(atoms.get_stress(voigt=False), dtype=float) / GPa,
            )
        except RelaxationError:
            raise
        except Exception as error:
            raise RelaxationError(
                f"the output of pw.x cannot be read ({type(error).__name__}: {error})"
            ) from error

    def _calculator(
        self,
        atoms: Atoms,
        folder: Path,
        points: Any,
        control: Mapping[str, Any] | None = None,
        system: Mapping[str, Any] | None = None,
    ) -> Any:
        chosen = {symbol: self._pseudopotential(symbol) for symbol in sorted(set(atoms.symbols))}
        return Espresso(
            profile=self._profile,
            directory=folder,
            pseudopotentials={symbol: item.path.name for symbol, item in chosen.items()},
            kpts=points,
            input_data={
                "control": {
                    "calculation": "scf",
                    "prefix": PREFIX,
                    "outdir": str(folder),
                    "tprnfor": True,
                    "tstress": True,
                    # Wavefunctions are wanted only in memory.
                    "disk_io": "low",
                    **(control or {}),
                },
                "system": {
                    "ecutwfc": self._cutoff / Rydberg,
                    "ecutrho": self._density_cutoff_for(chosen.values()) / Rydberg,
                    "occupations": "smearing",
                    "smearing": self._smearing,
                    "degauss": self._width / Rydberg,
                    **(system or {}),
                },
                "electrons": {
                    "conv_thr": self._threshold * len(atoms) / Rydberg,
                    "electron_maxstep": self._max_scf_steps,
                    "mixing_beta": self._mixing,
                },
            },
        )

    def _density_cutoff_for(self, chosen: Iterable[Pseudopotential]) -> float:
        factor = max((_DENSITY_FACTOR[item.kind] for item in chosen), default=4.0)
        return self._density_cutoff or factor * self._cutoff

    def _pseudopotential(self, symbol: str) -> Pseudopotential:
        if symbol not in self._chosen:
            self._chosen[symbol] = self._find_pseudopotential(symbol)
        return self._chosen[symbol]

    def _find_pseudopotential(self, symbol: str) -> Pseudopotential:
        if symbol not in self._named:
            return find_pseudopotential(self._folder, symbol, self._functional)
        found = read_pseudopotential(self._folder / self._named[symbol])
        if (found.element, found.functional) != (symbol, self._functional):
            raise RelaxationError(
                f"pseudopotentials[{symbol!r}]={self._named[symbol]!r} is a "
                f"{found.functional or 'foreign'} one of {found.element}; name a "
                f"{self._functional} one of {symbol}"
            )
        return found


def _atoms(structure: Structure) -> Atoms:
    return Atoms(
        numbers=structure.atomic_numbers,
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords,
        pbc=True,
    )
