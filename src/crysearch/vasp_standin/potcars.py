"""POTCAR files with a plausible header and no potential: ``python -m ...potcars FOLDER Si Sn``.

They are laid out as pymatgen's ``PMG_VASP_PSP_DIR`` wants them, for tests and demonstrations of
the stand-in. VASP itself cannot run with them.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Sequence
from pathlib import Path

from pymatgen.core import Element
from pymatgen.io.vasp.inputs import POTCAR_FUNCTIONAL_MAP

from crysearch.errors import VaspStandinError
from crysearch.vasp_standin.mark import MARK

FUNCTIONALS = ("PBE", "PBE_52", "PBE_54", "PBE_64", "LDA", "LDA_52", "LDA_54", "LDA_64")
"""pymatgen's names of the sets of potentials that are written if none are named."""

_TEMPLATE = """\
  {titel}
  {valence:.12f}
 parameters from PSCTR are:
   VRHFIN ={element}: fake
   LEXCH  = {exchange}
   EATOM  =   {energy:.4f} eV,   {rydberg:.4f} Ry

   TITEL  = {titel}
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        0    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =     .000    partial core radius
   POMASS = {mass:8.3f}; ZVAL   = {valence:8.3f}    mass and valenz
   RCORE  =    1.900    outmost cutoff radius
   RWIGS  =    2.480; RWIGS  =    1.312    wigner-seitz radius (au A)
   ENMAX  =  {cutoff:.3f}; ENMIN  =  {least:.3f} eV
   ICORE  =        2    local potential
   LCOR   =        T    correct aug charges
   LPAW   =        T    paw PP
   EAUG   =  {augmentation:.3f}
   DEXC   =     .000
   RMAX   =    1.950    core radius for proj-oper
   RAUG   =    1.300    factor for augmentation sphere
   RDEP   =    1.993    core radius for aug-charge
   QCUT   =   -4.247; QGAM   =    8.493    optimization parameters

   Error from kinetic energy argument (eV)
   NDATA  =      100
   STEP   =   20.000   1.050
  .100E+02  .100E+01  .100E+00  .100E-01
END of PSCTR-controll parameters
 local part
  {number:.8f}  0.00000000  0.00000000  0.00000000
 fake potential of the crysearch stand-in: not for VASP
 End of Dataset
"""


def fake_potcar(symbol: str, functional: str = "PBE_54") -> str:
    """Text of a POTCAR without a potential.

    Parameters
    ----------
    symbol
        Element, with the suffix of the variant if any, such as ``"Sn_d"``.
    functional
        pymatgen's name of the set of potentials, such as ``"LDA_54"``.

    Returns
    -------
    str
        Header keys as in VASP's files; the valence follows from the group of the periodic
        table, every other number is made up.

    Raises
    ------
    VaspStandinError
        If the element or the functional is unknown.
    """
    _check_functional(functional)
    name = symbol.split("_")[0]
    if not Element.is_valid_symbol(name):
        raise VaspStandinError(f"symbol={symbol!r} does not begin with an element, such as 'Si'")
    element = Element(name)
    lda = functional.startswith("LDA")
    family = "PAW" if lda else "PAW_PBE"
    valence = float(_valence(element))
    cutoff = 200.0 + element.Z
    return _TEMPLATE.format(
        titel=f"{family} {symbol} fake",
        element=name,
        exchange="CA" if lda else "PE",
        valence=valence,
        mass=float(element.atomic_mass),
        energy=10.0 * element.Z,
        rydberg=10.0 * element.Z / 13.605693,
        cutoff=cutoff,
        least=0.75 * cutoff,
        augmentation=2.0 * cutoff,
        number=float(element.Z),
    )


def write_fake_potcars(
    folder: str | Path, symbols: Sequence[str], functionals: Sequence[str] = FUNCTIONALS
) -> Path:
    """Write fake POTCARs as pymatgen looks for them.

    Parameters
    ----------
    folder
        What ``PMG_VASP_PSP_DIR`` shall name; made if it is not there.
    symbols
        Elements, with the suffix of the variant if any, such as ``"Sn_d"``.
    functionals
        pymatgen's names of the sets of potentials.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    VaspStandinError
        If a symbol or a functional is unknown, or a POTCAR that is no fake stands in the way.
    """
    folder = Path(folder)
    texts = {
        folder / _folder_name(functional) / f"POTCAR.{symbol}.gz": fake_potcar(symbol, functional)
        for functional in functionals
        for symbol in symbols
    }
    for path in texts:
        if path.exists() and MARK.encode() not in gzip.decompress(path.read_bytes()):
            raise VaspStandinError(
                f"{path} is a POTCAR that is not a fake one; name another folder than {folder}"
            )
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return folder


def _check_functional(functional: str) -> None:
    if functional not in POTCAR_FUNCTIONAL_MAP or not functional.startswith(("PBE", "LDA")):
        known = [name for name in POTCAR_FUNCTIONAL_MAP if name.startswith(("PBE", "LDA"))]
        raise VaspStandinError(
            f"functional={functional!r} is not one of pymatgen's {', '.join(known)}"
        )


def _folder_name(functional: str) -> str:
    _check_functional(functional)
    return POTCAR_FUNCTIONAL_MAP[functional]


def _valence(element: Element) -> int:
    """Electrons outside the core by the group of the periodic table: Ti 4, Si 4, Se 6."""
    if element.symbol == "He":
        return 2
    return int(element.group if element.group <= 12 else element.group - 10)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: folder, then symbols."""
    parser = argparse.ArgumentParser(
        prog="python -m crysearch.vasp_standin.potcars",
        description="Write POTCARs without potentials, for tests of the stand-in for VASP.",
    )
    parser.add_argument("folder", help="what PMG_VASP_PSP_DIR shall name")
    parser.add_argument("symbols", nargs="+", help="elements or variants, such as Si Sn_d")
    parser.add_argument(
        "--functional", action="append", dest="functionals", help="pymatgen's name; repeatable"
    )
    given = parser.parse_args(arguments)
    try:
        folder = write_fake_potcars(given.folder, given.symbols, given.functionals or FUNCTIONALS)
    except VaspStandinError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"fake POTCARs of {', '.join(given.symbols)} in {folder}; use PMG_VASP_PSP_DIR={folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
