"""Which configurations should a potential learn from? Sodium chloride, from crystal to melt.

Molecular dynamics with the potential of Born, Mayer, Huggins, Tosi and Fumi at several temperatures
and pressures makes a pool; six methods choose from it; potentials are fitted to what they chose,
tested on other runs, and then run the melt at 1400 K themselves. See docs/selection.md.

    python flows/nacl_selection.py --figures docs/figures

and at the size of the published study, for a cluster or a night:

    python flows/nacl_selection.py --full --figures docs/figures
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jobflow import Flow

from crysearch.plotting import plot_selection_errors, plot_selection_liquids
from crysearch.records import open_records
from crysearch.records.selection import fits_of
from crysearch.selection_spec import SelectionStudySpec
from crysearch.settings import load_settings
from crysearch.workflows.selection import (
    SelectionStudyMaker,
    run_selection_study,
    selection_tables,
)

#: Lattice constant of rock salt with the density of the melt at 1400 K, 1.38 g/cm³ (measured: G. J.
#: Janz, J. Phys. Chem. Ref. Data 17, Suppl. 2 (1988)), Å.
MELT = 6.55


def build_study(full: bool = False, seeds: int | None = None) -> SelectionStudySpec:
    """The study at a size for two cores, or at the published one.

    Parameters
    ----------
    full
        512 configurations for the network and 128 for the Gaussian process, five seeds, and 1,000
        atoms for 100 ps; otherwise 128 and 64, three seeds, and 216 atoms for 6 ps.
    seeds
        Another number of choices and fits.
    """
    rock_salt = {"formula": "NaCl", "prototype": "rocksalt"}
    engine: dict[str, Any] = {"engine": "born-mayer-nacl", "timestep": 2.0}
    network = {
        "model": "behler-parrinello",
        "architecture": {"radial": 10, "angular": 1, "hidden_layers": [20, 20]},
        "epochs": 300,
    }
    # Every configuration counts alike: the hot ones are what the study is about.
    loss = {"energy": 1.0, "force": 1.0, "stress": 0.0, "energy_scale": 1e6}
    return SelectionStudySpec.build(
        {
            "name": "NaCl",
            "pool": {
                "name": "NaCl, pool",
                "structure": {**rock_salt, "lattice_constant": 5.7, "repetitions": [2, 2, 2]},
                **engine,
                "ensemble": "npt",
                "temperatures": [300, 800, 1200, 1600, 2000],
                "pressures": [0.0, 5.0],
                "equilibration_steps": 5000,
                "steps": 20_000 if full else 5000,
                "sample_every": 20,
                "frames": 20,
            },
            "test_frames": 500 if full else 200,
            "models": [
                {
                    "name": "network",
                    "potential": {**network, "loss": loss},
                    "sizes": [32, 128, 512] if full else [16, 128],
                },
                {
                    "name": "gaussian-process",
                    "potential": {
                        "model": "gaussian-process",
                        "architecture": {"radial": 6, "angular": 4},
                        "loss": loss,
                    },
                    "sizes": [32, 128] if full else [16, 64],
                },
            ],
            "seeds": seeds or (5 if full else 3),
            "melt": {
                "name": "NaCl, melt",
                "structure": {
                    **rock_salt,
                    "lattice_constant": MELT,
                    "repetitions": [5, 5, 5] if full else [3, 3, 3],
                },
                **engine,
                "temperatures": [1400],
                "equilibration_steps": 10_000 if full else 2000,
                "steps": 50_000 if full else 3000,
                "sample_every": 20,
                "frames": 20,
            },
            "melt_seeds": 3 if full else 1,
        }
    )


def build_flow(full: bool = False, seeds: int | None = None) -> Flow:
    """The flow of :func:`build_study`, for a launch pad or any other runner of jobflow."""
    return SelectionStudyMaker().make(build_study(full, seeds))


def main() -> None:
    """Run the study, print its tables, and draw its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the size of the published study")
    parser.add_argument("--seeds", type=int, help="choices and fits of each kind")
    parser.add_argument("--figures", type=Path, help="folder for the two figures")
    given = parser.parse_args()
    # What an interrupted run has finished is in the records and is not repeated.
    summary = run_selection_study(spec := build_study(given.full, given.seeds))
    with open_records(load_settings().database.get_secret_value(), read_only=True) as records:
        study = records.get("selection_studies", summary["study"])
        fits = fits_of(records, spec.identifier)
    assert study is not None
    print(selection_tables(study, fits))
    if given.figures is not None:
        plot_selection_errors(study, given.figures / "selection-errors.png")
        plot_selection_liquids(study, fits, given.figures / "selection-liquids.png")


if __name__ == "__main__":
    main()
