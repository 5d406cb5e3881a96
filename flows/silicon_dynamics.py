r"""Thermal expansion of silicon by molecular dynamics at constant pressure.

    crysearch dynamics run flows/silicon_dynamics.py

runs 64 atoms with the classical potential of Stillinger and Weber at 300, 600 and 900 K, a job
each, and shows temperatures, pressures, energies and volumes with their errors. Another engine:

    crysearch dynamics run flows/silicon_dynamics.py --set engine=sevennet-0 --submit
"""

from __future__ import annotations

from crysearch.dynamics_spec import DynamicsSpec


def build_spec(
    engine: str = "stillinger-weber",
    repetitions: int = 2,
    temperatures: tuple[float, ...] = (300.0, 600.0, 900.0),
    picoseconds: float = 20.0,
    seed: int = 0,
) -> DynamicsSpec:
    """Silicon at zero pressure.

    Parameters
    ----------
    engine
    repetitions
        Of the conventional cell of 8 atoms, along each axis.
    temperatures
        K.
    picoseconds
        Of each run, after a fifth as many of equilibration.
    seed
    """
    timestep = 2.0
    steps = 10 * round(100 * picoseconds / timestep)
    return DynamicsSpec.build(
        {
            "name": "silicon, thermal expansion",
            "structure": {"reference": "mp-149", "repetitions": [repetitions] * 3},
            "engine": engine,
            "ensemble": "npt",
            "temperatures": list(temperatures),
            "steps": steps,
            "equilibration_steps": steps // 5,
            "timestep": timestep,
            "seed": seed,
        }
    )
