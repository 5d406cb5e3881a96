"""The three silicon structures of Lee and Chang, from the published cells to verdicts.

There is nothing to search for: the structures of the paper's table, and diamond, are the known
structures. They are relaxed with the pretrained potential, which also gives the elastic constants,
phonons and equations of state, and then with LDA of Quantum ESPRESSO:

    crysearch run flows/paper_structures.py
    crysearch verify C2m-Si C2mstar-Si Cmmm-Si --engine espresso --option functional=lda \\
        --option plane_wave_cutoff=330 --option k_spacing=0.25

or all at once, as a Python program:

    python flows/paper_structures.py
"""

from __future__ import annotations

import os
from pathlib import Path

from crysearch.records import open_records
from crysearch.settings import load_settings
from crysearch.spec import SearchSpec
from crysearch.verification import VerificationSpec
from crysearch.workflows import run_search
from crysearch.workflows.verification import find_subjects, run_verification

FOLDER = Path(__file__).parent / "paper_structures"
NAMES = ("C2m-Si", "C2mstar-Si", "Cmmm-Si")


def build_spec(engine: str = "sevennet-0") -> SearchSpec:
    """Known structures only: no random crystals, no replicas.

    Parameters
    ----------
    engine
        The engine that relaxes them first.
    """
    return SearchSpec.build(
        {
            "name": "structures of Lee and Chang",
            "composition": "Si",
            "formula_units": [8],
            "references": {"source": "files", "files": [f"{os.path.relpath(FOLDER)}/*.cif"]},
            "replicas": {"grid_points": 0},
            "screening": {"quotas": {"I": 0, "II": 0, "III": 0}},
            "relaxation": {"engine": engine},
        }
    )


def build_verification(cutoff: float = 330.0, k_spacing: float = 0.25) -> VerificationSpec:
    """LDA of Quantum ESPRESSO; elasticity, phonons and equation of state by the potential.

    Parameters
    ----------
    cutoff
        Of the plane waves, eV. The published protocol has 500 eV; relative energies of silicon
        phases differ by about 1 meV/atom (docs/engines.md).
    k_spacing
        Å⁻¹, 2π included. The published protocol has 0.126.
    """
    options = {"functional": "lda", "plane_wave_cutoff": cutoff, "k_spacing": k_spacing}
    return VerificationSpec.build({"level": {"engine": "espresso", "options": options}})


if __name__ == "__main__":
    spec = build_spec()
    run_search(spec)
    with open_records(load_settings().database.get_secret_value()) as records:
        subjects = find_subjects(records, spec.search_id, NAMES)
    print(run_verification(spec.search_id, subjects, build_verification()))
