"""Writing OUTCAR, OSZICAR, CONTCAR, XDATCAR and the standard output."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.units import GPa
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp.inputs import Poscar

from crysearch.vasp_standin.inputs import Inputs
from crysearch.vasp_standin.mark import MARK, VERSION, label
from crysearch.vasp_standin.moves import KBAR, IonicStep

_RULE = "-" * 104
_KBAR_VOLUME = KBAR * GPa
"""eV/Å^3."""


class TextWriters:
    """The open text files of a run.

    Parameters
    ----------
    folder
        Where they are written.
    inputs
        The calculation.
    engine
        The engine's name.
    """

    def __init__(self, folder: Path, inputs: Inputs, engine: str) -> None:
        self._folder = folder
        self._inputs = inputs
        self._label = label(engine)
        self._started = time.perf_counter()
        self._count = 0
        self._before = 0.0
        self._outcar = (folder / "OUTCAR").open("w", encoding="utf-8")
        self._oszicar = (folder / "OSZICAR").open("w", encoding="utf-8")
        self._xdatcar = (folder / "XDATCAR").open("w", encoding="utf-8")
        # VASP starts with an empty CONTCAR.
        (folder / "CONTCAR").write_bytes(b"")
        title = f"vasp.{VERSION} {self._label}"
        self.say(f" {title}")
        self._out(f" {title}", *self._header())

    def _header(self) -> list[str]:
        inputs = self._inputs
        lines = [
            # pymatgen reads the number of cores from the first line with this word.
            " running    1 mpi-ranks, on    1 nodes",
            "",
            *(f" POTCAR:    {potential.header}" for potential in inputs.potentials),
            " INCAR:",
            *(f"   {tag} = {value}" for tag, value in inputs.incar.items()),
            "",
            # Zero bands and overflown plane waves: OUTCAR's parsers need the lines.
            "   k-points           NKPTS =      0   k-points in BZ     NKDIM =      0"
            "   number of bands    NBANDS=      0",
            f"   number of dos      NEDOS =      0   number of ions     NIONS = "
            f"{len(inputs.structure):6d}",
            "   total plane-waves  NPLWV = ******",
            f"   ions per type = {' '.join(f'{count:6d}' for _, count in inputs.species)}",
            "",
            f"   ISPIN  = {int(inputs.incar.get('ISPIN', 1)):6d}    (echoed; there are no spins)",
            f"   NELM   = {inputs.nelm:6d}",
            f"   EDIFF  = {inputs.ediff:10.1E}   (echoed; there are no electronic steps)",
            f"   EDIFFG = {inputs.ediffg:10.1E}",
            f"   NSW    = {inputs.nsw:6d}",
            f"   IBRION = {inputs.ibrion:6d}",
            f"   ISIF   = {inputs.isif:6d}",
            f"   PSTRESS= {inputs.pstress:10.1f} kBar",
            "",
        ]
        if inputs.unhonoured:
            lines.append(
                f" NOTE: functional tags are not honoured ({', '.join(inputs.unhonoured)}); the "
                "engine has one energy"
            )
        if inputs.ibrion == -1 and inputs.nsw > 1:
            lines.append(f" NOTE: IBRION = -1, one step is taken and not NSW = {inputs.nsw}")
        lines.append(" NOTE: POTIM, symmetry, k-points and cutoffs do not influence the result")
        return lines

    def say(self, text: str) -> None:
        """Write to the standard output, which custodian keeps as vasp.out."""
        print(text, flush=True)

    def add(self, step: IonicStep, electronic: Sequence[float], seconds: float) -> None:
        """Write an ionic step: energies of its electronic steps (eV), and what it gave."""
        self._count += 1
        count, inputs = self._count, self._inputs
        # The parsers take the column titles' line as it is, so that the name can stand in it.
        lines = [
            "       N       E                     dE             d eps       ncg     rms"
            f"          rms(c)   {self._label}"
        ]
        previous = 0.0
        for number, energy in enumerate(electronic, start=1):
            lines.append(f"ENG: {number:3d} {energy:20.12E} {energy - previous:14.5E}")
            previous = energy
        total = step.enthalpy
        summary = f"{count:4d} F= {total:.8E} E0= {total:.8E}  d E ={total - self._before:.6E}"
        self._before = total
        self._oszicar.write("\n".join([*lines, summary]) + "\n")
        self._oszicar.flush()
        self.say(summary)
        self._out(*self._electronic(electronic), *self._ionic(step))
        self._out(f"     LOOP+:  cpu time {seconds:10.4f}: real time {seconds:10.4f}")
        self._write_structures(step)
        if count >= inputs.nsw:
            self._out("")

    def _electronic(self, electronic: Sequence[float]) -> list[str]:
        lines = []
        for number, energy in enumerate(electronic, start=1):
            lines += [
                "",
                f"{'-' * 38} Iteration {self._count:6d}({number:4d})  {'-' * 38}",
                "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
                "  " + "-" * 51,
                f"  free  energy   TOTEN  = {energy:18.8f} eV",
                "",
                f"  energy without entropy = {energy:18.8f}  energy(sigma->0) = {energy:18.8f}",
            ]
        reason = "EDIFF is reached" if len(electronic) < self._inputs.nelm else "NELM is reached"
        return [*lines, "", f"{'-' * 24} aborting loop because {reason} {'-' * 40}"]

    def _ionic(self, step: IonicStep) -> list[str]:
        inputs = self._inputs
        order = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))
        kbar = [step.stress[pair] for pair in order]
        units = [value * _KBAR_VOLUME * step.volume for value in kbar]
        pressure = np.trace(step.stress) / 3.0 - inputs.pstress
        lines = [
            "",
            "  FORCE on cell =-STRESS in cart. coord.  units (eV):",
            "  Direction    XX          YY          ZZ          XY          YZ          ZX",
            "  " + "-" * 86,
            "  Total   " + " ".join(f"{value:11.5f}" for value in units),
            "  in kB   " + " ".join(f"{value:11.5f}" for value in kbar),
            f"  external pressure = {pressure:11.2f} kB  Pullay stress = {inputs.pstress:11.2f} kB",
            "",
            " VOLUME and BASIS-vectors are now :",
            " " + "-" * 77,
            f"  energy-cutoff  :  (not used)\n  volume of cell : {step.volume:12.4f}",
            "      direct lattice vectors                 reciprocal lattice vectors",
        ]
        reciprocal = np.linalg.inv(step.lattice).T
        for direct, inverse in zip(step.lattice, reciprocal, strict=True):
            lines.append("  " + "".join(f"{value:13.9f}" for value in (*direct, *inverse)))
        lines += [
            "",
            " POSITION                                       TOTAL-FORCE (eV/Angst)",
            " " + "-" * 83,
        ]
        cartesian = step.positions @ step.lattice
        for position, force in zip(cartesian, step.forces, strict=True):
            lines.append(
                " "
                + " ".join(f"{value:12.5f}" for value in position)
                + "   "
                + " ".join(f"{value:13.6f}" for value in force)
            )
        drift = " ".join(f"{value:13.6f}" for value in step.forces.sum(axis=0))
        lines += [
            " " + "-" * 83,
            f"    total drift:                          {drift}",
            "",
            "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
            "  " + "-" * 51,
            f"  free  energy   TOTEN  = {step.energy:18.8f} eV",
            "",
            f"  energy  without entropy={step.energy:18.8f}  energy(sigma->0) ={step.energy:18.8f}",
        ]
        if inputs.pstress:
            volume = step.enthalpy - step.energy
            lines.append(
                f"  enthalpy is  TOTEN    = {step.enthalpy:18.8f} eV   P V= {volume:18.8f}"
            )
        return lines

    def _write_structures(self, step: IonicStep) -> None:
        inputs = self._inputs
        species = [site.specie.symbol for site in inputs.structure]
        structure = Structure(Lattice(step.lattice), species, step.positions)
        comment = inputs.comment if MARK in inputs.comment else f"{inputs.comment} | {self._label}"
        flags = None
        if inputs.fixed:
            flags = [[index not in inputs.fixed] * 3 for index in range(len(species))]
        poscar = Poscar(structure, comment=comment, selective_dynamics=flags, sort_structure=False)
        temporary = self._folder / "CONTCAR.new"
        temporary.write_text(poscar.get_str(significant_figures=16), encoding="utf-8")
        temporary.replace(self._folder / "CONTCAR")
        lines = [
            f"{comment}",
            "           1",
            *(" ".join(f"{value:16.10f}" for value in row) for row in step.lattice),
            " ".join(symbol for symbol, _ in inputs.species),
            " ".join(str(count) for _, count in inputs.species),
            f"Direct configuration={self._count:6d}",
            *(" ".join(f"{value:14.10f}" for value in row) for row in step.positions),
        ]
        self._xdatcar.write("\n".join(lines) + "\n")
        self._xdatcar.flush()

    def note(self, *lines: str) -> None:
        """Write to OUTCAR and to the standard output."""
        self._out(*lines)
        self.say("\n".join(lines))

    def finish(self) -> None:
        """Write the accounting at the end of OUTCAR; all numbers are the stand-in's own."""
        times = os.times()
        elapsed = time.perf_counter() - self._started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory //= 1024 if sys.platform == "darwin" else 1
        self._out(
            "",
            " General timing and accounting informations for this job:",
            " ========================================================",
            "",
            f"                  Total CPU time used (sec): {times.user + times.system:12.3f}",
            f"                            User time (sec): {times.user:12.3f}",
            f"                          System time (sec): {times.system:12.3f}",
            f"                         Elapsed time (sec): {elapsed:12.3f}",
            f"                   Maximum memory used (kb): {memory:12d}",
            "                   Average memory used (kb):          N/A",
        )
        self.close()

    def close(self) -> None:
        """Close the files as they are."""
        for stream in (self._outcar, self._oszicar, self._xdatcar):
            stream.close()

    def _out(self, *lines: str) -> None:
        self._outcar.write("\n".join(lines) + "\n")
        self._outcar.flush()
