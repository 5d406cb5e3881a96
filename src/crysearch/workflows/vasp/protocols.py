"""What is computed with VASP, by name: functional, settings and steps.

Energies may be compared only within one *scheme*: the same functional, potentials, cut-off,
k-points and corrections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from crysearch.errors import VaspError

if TYPE_CHECKING:
    from atomate2.vasp.jobs.base import BaseVaspMaker

Step = Literal["relax 1", "relax 2", "static"]
STEPS: tuple[Step, ...] = ("relax 1", "relax 2", "static")

INSTALL = "pip install 'crysearch[vasp]'"

#: Tags that say how a calculation is run or how it gets to its end, not what comes out.
_TECHNICAL = {
    "ALGO", "AMIX", "AMIX_MAG", "BMIX", "BMIX_MAG", "ISEARCH", "KPAR", "LCHARG", "LELF", "LORBIT",
    "LPLANE", "LSCALAPACK", "LVHAR", "LWAVE", "NCORE", "NELM", "NELMDL", "NELMIN", "NPAR", "NSIM",
    "NSW", "NWRITE", "POTIM", "TIME",
}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """A way to compute a structure.

    Attributes
    ----------
    name
        What a person asks for.
    scheme
        Label of the energies: those of different labels must not be compared.
    functional
        The exchange-correlation functional, in words.
    potentials
        pymatgen's name of the release of the potentials.
    correction_scheme
        The class of pymatgen that corrects the energies of compounds; None: there is none.
    continues
        Whether a step reads the files of the one before (band gap, charge density, orbitals), so
        that both need the same file system.
    """

    name: str
    scheme: str
    functional: str
    potentials: str
    correction_scheme: str | None = None
    continues: bool = False

    def scheme_with(self, incar: Mapping[str, Any] | None) -> str:
        """The label of energies computed with some INCAR tags changed."""
        changed = sorted((key, value) for key, value in (incar or {}).items())
        words = ", ".join(f"{key}={value}" for key, value in changed if key not in _TECHNICAL)
        return f"{self.scheme} with {words}" if words else self.scheme


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("lda", "vasp:lda", "LDA (Ceperley–Alder)", "LDA_54"),
        Protocol("lda-64", "vasp:lda-64", "LDA (Ceperley–Alder)", "LDA_64"),
        Protocol(
            "mp-pbe",
            "vasp:pbe-mp2020",
            "PBE, with Hubbard U where the Materials Project has it",
            "PBE",
            correction_scheme="MaterialsProject2020Compatibility",
            continues=True,
        ),
        Protocol("mp-r2scan", "vasp:r2scan", "r2SCAN", "PBE_54", continues=True),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises
    ------
    VaspError
        There is none.
    """
    if name not in PROTOCOLS:
        raise VaspError(f"protocol: {name!r} — choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def check_atomate2() -> None:
    """Check that the packages that run VASP are installed.

    Raises
    ------
    VaspError
        They are not.
    """
    missing = [name for name in ("atomate2", "custodian") if find_spec(name) is None]
    if missing:
        raise VaspError(f"VASP needs the packages {' and '.join(missing)}: run {INSTALL}")


def maker_of(
    protocol: Protocol, step: Step, incar: Mapping[str, Any] | None = None
) -> BaseVaspMaker:
    """atomate2's maker of a step.

    Parameters
    ----------
    protocol
        What to compute.
    step
        Which of its calculations.
    incar
        INCAR tags that replace those of the protocol; None as a value removes a tag.

    Raises
    ------
    VaspError
        atomate2 is not installed.
    """
    check_atomate2()
    maker = _makers(protocol)[STEPS.index(step)]
    user = maker.input_set_generator.user_incar_settings
    if step == "static":
        # VASP's default without ionic steps; emmet's parser asks for it by name.
        user.setdefault("IBRION", -1)
    user.update(incar or {})
    maker.name = f"{protocol.name} {step}"
    # atomate2 would raise for what did not converge: the job tells that from the output instead.
    maker.stop_children_kwargs["handle_unsuccessful"] = False
    return maker


def _makers(protocol: Protocol) -> list[BaseVaspMaker]:
    if protocol.name.startswith("lda"):
        from atomate2.vasp.jobs.base import BaseVaspMaker

        from crysearch.workflows.vasp.sets import LDARelaxSetGenerator, LDASetGenerator

        generators = (LDARelaxSetGenerator, LDARelaxSetGenerator, LDASetGenerator)
        makers = [BaseVaspMaker(input_set_generator=generator()) for generator in generators]
        potentials: Any = protocol.potentials  # pymatgen's list of names lacks the newest
        for maker in makers:
            maker.input_set_generator.user_potcar_functional = potentials
        return makers
    from atomate2.vasp.flows import mp

    flow = {
        "mp-pbe": mp.MPGGADoubleRelaxStaticMaker,
        "mp-r2scan": mp.MPMetaGGADoubleRelaxStaticMaker,
    }[protocol.name]()
    return [flow.relax_maker.relax_maker1, flow.relax_maker.relax_maker2, flow.static_maker]
