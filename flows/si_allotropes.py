"""The search of Lee and Chang for silicon allotropes, as a flow ready to submit.

Run it on this machine, with small quotas first:

    crysearch run flows/si_allotropes.py --set quota=8 --set formula_units=8

or as a Python program with the published quotas (hundreds of relaxations: hours on two cores):

    python flows/si_allotropes.py
"""

from __future__ import annotations

from collections.abc import Sequence

from jobflow import Flow

from crysearch.spec import SearchSpec
from crysearch.workflows import CrystalSearchMaker, run_search


def build_spec(
    quota: int = 350,
    formula_units: int | Sequence[int] = (8, 16),
    maximum_reference_atoms: int | None = None,
    seed: int = 0,
) -> SearchSpec:
    """The published protocol.

    Parameters
    ----------
    quota
        Crystals per group (near a known structure, near a replica, not screened) and cell size.
    formula_units
        Silicon atoms in the conventional cell; the paper has 8 and 16.
    maximum_reference_atoms
        Known structures with larger primitive cells are not relaxed, to save time.
    seed
        Every random draw derives from it.
    """
    sizes = [formula_units] if isinstance(formula_units, int) else list(formula_units)
    return SearchSpec.build(
        {
            "name": "silicon allotropes",
            # Random crystals: 8 and 16 atoms, 23 Å³ per atom ± 10 %, no two closer than 2.1 Å.
            "composition": "Si",
            "formula_units": sizes,
            "volume_per_formula_unit": 23.0,
            "volume_tolerance": 0.10,
            "minimum_distances": {"Si-Si": 2.1},
            # Known structures: the bundled entries of the Materials Project. With an API key,
            # `materials_project` asks the live database instead.
            "references": {"source": "snapshot"},
            # g(r) up to 8 Å on 200 points, each distance smeared by 0.060 Å.
            "fingerprint": {"quantity": "g", "cutoff": 8.0, "grid_points": 200, "smearing": 0.060},
            # Encoder 200 → 50 → 25 → 12 → 2 and its mirror image; 15 × 15 replicas.
            "generative": {"model": "vae", "hidden_layers": [50, 25, 12], "latent_dimension": 2},
            "replicas": {"grid_points": 15, "interval": 0.90},
            # Kept: within 0.13 of a known structure (I), of a replica (II), or anyhow (III).
            "screening": {"threshold": 0.13, "quotas": {"I": quota, "II": quota, "III": quota}},
            # The paper relaxes with VASP (LDA); here a pretrained potential does.
            "relaxation": {
                "engine": "sevennet-0",
                "force_tolerance": 0.01,
                "maximum_reference_atoms": maximum_reference_atoms,
            },
            "seed": seed,
        }
    )


def build_flow(**parameters: int) -> Flow:
    """The flow of :func:`build_spec`, for a launch pad or any other runner of jobflow."""
    return CrystalSearchMaker().make(build_spec(**parameters))


if __name__ == "__main__":
    run_search(build_spec())
