"""Writing vasprun.xml, block by block as VASP does.

Eigenvalues, densities of states, occupations and the list of k-points are absent: the stand-in has
none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from crysearch.vasp_standin.inputs import Inputs
from crysearch.vasp_standin.mark import VERSION, label
from crysearch.vasp_standin.moves import IonicStep


class VasprunWriter:
    """An open vasprun.xml.

    Parameters
    ----------
    folder
        Where it is written.
    inputs
        The calculation.
    engine
        The engine's name.
    """

    def __init__(self, folder: Path, inputs: Inputs, engine: str) -> None:
        self._inputs = inputs
        self._stream = (folder / "vasprun.xml").open("w", encoding="utf-8")
        self._last: IonicStep | None = None
        self._write(
            '<?xml version="1.0" encoding="UTF-8"?>',
            "<modeling>",
            *_generator(engine),
            "<incar>",
            # emmet reads IBRION from here when there are no bands; VASP writes it only if given.
            *_parameters({**inputs.incar, "IBRION": inputs.ibrion}),
            "</incar>",
            *_kpoints(inputs),
            "<parameters>",
            '<separator name="general">',
            *_parameters(effective_parameters(inputs)),
            "</separator>",
            "</parameters>",
            *_atominfo(inputs),
        )
        lattice = np.array(inputs.structure.lattice.matrix)
        self._write(*_structure(lattice, inputs.structure.frac_coords % 1.0, "initialpos"))

    def add(self, step: IonicStep, electronic: Sequence[float], seconds: float) -> None:
        """Write an ionic step: energies of its electronic steps (eV), and what it gave."""
        self._last = step
        lines = ["<calculation>"]
        for energy in electronic:
            lines += ["<scstep>", *_energies(energy), "</scstep>"]
        lines += _structure(step.lattice, step.positions, None)
        lines += _array("forces", step.forces)
        lines += _array("stress", step.stress)
        # With PSTRESS, VASP's ionic steps hold the enthalpy and its electronic steps the energy.
        lines += _energies(step.enthalpy)
        lines += [f'<time name="totalsc">{seconds:8.2f} {seconds:8.2f}</time>', "</calculation>"]
        self._write(*lines)

    def break_off(self) -> None:
        """Leave the file in the middle of an ionic step, as a crash does."""
        self._write("<calculation>", "<scstep>", "<energy>")
        self._stream.close()

    def leave_open(self) -> None:
        """Close the file without its end, as an error stop does."""
        self._stream.close()

    def finish(self) -> None:
        """Write the last structure and end the file."""
        if self._last is not None:
            self._write(*_structure(self._last.lattice, self._last.positions, "finalpos"))
        self._write("</modeling>")
        self._stream.close()

    def _write(self, *lines: str) -> None:
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()


def effective_parameters(inputs: Inputs) -> dict[str, Any]:
    """What VASP would work with: INCAR's tags, and VASP's defaults of those that parsers read."""
    incar = inputs.incar
    cutoff = max(potential.cutoff for potential in inputs.potentials)
    defaults: dict[str, Any] = {
        "SYSTEM": "unknown system",
        "PREC": "normal",
        "ENMAX": float(incar.get("ENCUT", cutoff)),
        "EDIFF": inputs.ediff,
        "EDIFFG": inputs.ediffg,
        "NELM": inputs.nelm,
        "NELMIN": 2,
        "NELECT": inputs.electrons,
        "NSW": inputs.nsw,
        "IBRION": inputs.ibrion,
        "ISIF": inputs.isif,
        "PSTRESS": inputs.pstress,
        "POTIM": 0.5,
        "ISMEAR": 1,
        "SIGMA": 0.2,
        "ISPIN": 1,
        "ISYM": 2,
        "ISTART": 0,
        "ICHARG": 2,
        "LORBIT": 0,
        "GGA": "--",
        "LDAU": False,
        "LHFCALC": False,
        "AEXX": 0.0,
        "HFSCREEN": 0.0,
        "LUSE_VDW": False,
        "LASPH": False,
    }
    given = {tag: value for tag, value in incar.items() if tag != "ENCUT"}
    # As numbers of the types that parsers expect: INCAR may say EDIFFG = -1.
    read = {tag: defaults[tag] for tag in ("EDIFF", "EDIFFG", "PSTRESS", "NELECT")}
    return {**defaults, **given, **read}


def _generator(engine: str) -> list[str]:
    now = datetime.now()
    fields = {
        "program": "vasp",
        "version": VERSION,
        "subversion": label(engine),
        "platform": "none",
        "date": now.strftime("%Y %m %d"),
        "time": now.strftime("%H:%M:%S"),
    }
    lines = [f'<i name="{name}" type="string">{escape(text)}</i>' for name, text in fields.items()]
    return ["<generator>", *lines, "</generator>"]


def _parameters(values: dict[str, Any]) -> list[str]:
    return [_parameter(tag, value) for tag, value in values.items()]


def _parameter(tag: str, value: Any) -> str:
    name = quoteattr(tag)
    if isinstance(value, list | tuple):
        items = list(_flat(value))
        kind = _kind(items[0]) if items else "string"
        if kind == "int" and any(isinstance(item, float) for item in items):
            kind = ""
        return f"<v{_type(kind)} name={name}>{escape(' '.join(_text(item) for item in items))}</v>"
    return f"<i{_type(_kind(value))} name={name}>{escape(_text(value))}</i>"


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "logical"
    if isinstance(value, int):
        return "int"
    return "" if isinstance(value, float) else "string"


def _type(kind: str) -> str:
    return f' type="{kind}"' if kind else ""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    return f"{value:.10G}" if isinstance(value, float) else str(value)


def _kpoints(inputs: Inputs) -> list[str]:
    mesh = inputs.mesh
    divisions = " ".join(str(count) for count in mesh.divisions)
    shift = " ".join(f"{value:.8f}" for value in mesh.shift)
    return [
        "<kpoints>",
        f'<generation param="{mesh.style}">',
        f'<v type="int" name="divisions">{divisions}</v>',
        f'<v name="usershift">{shift}</v>',
        "</generation>",
        "</kpoints>",
    ]


def _atominfo(inputs: Inputs) -> list[str]:
    lines = [
        "<atominfo>",
        f"<atoms>{len(inputs.structure)}</atoms>",
        f"<types>{len(inputs.species)}</types>",
        '<array name="atoms">',
        '<dimension dim="1">ion</dimension>',
        '<field type="string">element</field>',
        '<field type="int">atomtype</field>',
        "<set>",
    ]
    for number, (symbol, count) in enumerate(inputs.species, start=1):
        lines += [f"<rc><c>{symbol:2}</c><c>{number:4}</c></rc>"] * count
    lines += [
        "</set>",
        "</array>",
        '<array name="atomtypes">',
        '<dimension dim="1">type</dimension>',
        '<field type="int">atomspertype</field>',
        '<field type="string">element</field>',
        "<field>mass</field>",
        "<field>valence</field>",
        '<field type="string">pseudopotential</field>',
        "<set>",
    ]
    for (symbol, count), potential in zip(inputs.species, inputs.potentials, strict=True):
        lines.append(
            f"<rc><c>{count:4}</c><c>{symbol:2}</c><c>{potential.mass:16.8f}</c>"
            f"<c>{potential.valence:16.8f}</c><c>{escape(potential.header)}</c></rc>"
        )
    return [*lines, "</set>", "</array>", "</atominfo>"]


def _structure(
    lattice: NDArray[np.float64], positions: NDArray[np.float64], name: str | None
) -> list[str]:
    return [
        "<structure>" if name is None else f'<structure name="{name}">',
        "<crystal>",
        *_array("basis", lattice),
        f'<i name="volume">{abs(np.linalg.det(lattice)):16.8f}</i>',
        *_array("rec_basis", np.linalg.inv(lattice).T),
        "</crystal>",
        *_array("positions", positions),
        "</structure>",
    ]


def _array(name: str, rows: NDArray[np.floating]) -> list[str]:
    lines = ["<v>" + " ".join(f"{value:18.10f}" for value in row) + "</v>" for row in rows]
    return [f'<varray name="{name}">', *lines, "</varray>"]


def _energies(energy: float) -> list[str]:
    """The three energies are one: there are no occupations and so no entropy."""
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    return [
        "<energy>",
        *(f'<i name="{name}">{energy:18.8f}</i>' for name in names),
        "</energy>",
    ]
