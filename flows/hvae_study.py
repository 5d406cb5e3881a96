"""Does the Hamiltonian autoencoder help? A comparison with the plain one, over seeds.

Both are trained on the known structures of silicon, with Adam and with stochastic gradient descent,
at equal epochs and at equal time; their replicas screen the same random crystals, and the first
that they let through are relaxed. See docs/hvae-study.md.

    python flows/hvae_study.py --figures docs/figures

or, to see in a minute how it works:

    python flows/hvae_study.py --seeds 2 --crystals 5000 --relaxations 1
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jobflow import Flow

from crysearch.plotting import plot_study_losses, plot_study_measures
from crysearch.records import open_records
from crysearch.settings import load_settings
from crysearch.study import StudySpec
from crysearch.workflows.study import (
    GenerativeStudyMaker,
    markdown_tables,
    run_study,
    trials_of,
)


def build_study(
    seeds: int = 10,
    crystals: int = 100_000,
    relaxations: int = 3,
    equal_time_factor: float = 3.0,
    engine: str = "sevennet-0",
) -> StudySpec:
    """The Hamiltonian autoencoder (HVAE) against the plain one (VAE).

    Parameters
    ----------
    seeds
        Trainings of each variant.
    crystals
        Random crystals that the replicas of every training screen.
    relaxations
        Crystals relaxed of each training.
    equal_time_factor
        Times the epochs that the plain autoencoder is trained for, to take as long as the
        Hamiltonian one.
    engine
        The engine that relaxes.
    """
    # The same encoder and decoder, 200 → 50 → 25 → 12 → 2 and its mirror image, everywhere.
    model = {"hidden_layers": [50, 25, 12], "latent_dimension": 2}
    trainings = {
        "adam": {"optimizer": "adam", "epochs": 2000},
        # With the usual step size, or with larger initial weights, it learns nothing or diverges.
        "sgd": {
            "optimizer": "sgd",
            "learning_rate": 0.01,
            "initial_weight_scale": 1.0,
            "epochs": 4000,
        },
    }
    variants = []
    for optimizer, training in trainings.items():
        plain = {"model": "vae", **model, **training}
        hamiltonian = {"model": "hvae", **model, **training}
        # Equal in how the loss is estimated: all of it from one drawn point, with its momenta. The
        # plain model is then the Hamiltonian one without leapfrog steps.
        sampled = {**hamiltonian, "hamiltonian": {"leapfrog_steps": 0}}
        drawn = {**hamiltonian, "hamiltonian": {"initial_kinetic_term": "drawn"}}
        names = [f"vae-{optimizer}", f"vae-{optimizer}-equal-time", f"vae-{optimizer}-sampled"]
        variants += [
            {"name": names[0], "generative": plain},
            {"name": names[1], "generative": plain, "equal_time": True},
            {"name": f"hvae-{optimizer}", "generative": hamiltonian, "baselines": names[:2]},
            {"name": names[2], "generative": sampled},
            {"name": f"hvae-{optimizer}-drawn", "generative": drawn, "baselines": names[2:]},
        ]
    return StudySpec.build(
        {
            "name": "Hamiltonian against plain variational autoencoder",
            # What is searched: the known structures, their fingerprints, 15 × 15 replicas, and
            # random crystals of 8 atoms, within 0.13 of a replica.
            "search": {
                "composition": "Si",
                "formula_units": [8],
                "references": {"source": "snapshot"},
                "fingerprint": {"quantity": "g", "cutoff": 8.0, "grid_points": 200},
                "replicas": {"grid_points": 15, "interval": 0.90},
                "screening": {"threshold": 0.13},
                "relaxation": {"engine": engine},
            },
            "variants": variants,
            "seeds": seeds,
            "equal_time_factor": equal_time_factor,
            "crystals": crystals,
            "relaxations": relaxations,
            "evidence_samples": 1000,
        }
    )


def build_flow(seeds: int = 10, crystals: int = 100_000, relaxations: int = 3) -> Flow:
    """The flow of :func:`build_study`, for a launch pad or any other runner of jobflow."""
    return GenerativeStudyMaker().make(build_study(seeds, crystals, relaxations))


def main() -> None:
    """Run the study, print its tables, and draw its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="trainings of each variant")
    parser.add_argument("--crystals", type=int, default=100_000, help="random crystals to screen")
    parser.add_argument("--relaxations", type=int, default=3, help="relaxed of each training")
    parser.add_argument("--equal-time-factor", type=float, default=3.0, help="times the epochs")
    parser.add_argument("--engine", default="sevennet-0", help="the engine that relaxes")
    parser.add_argument("--figures", type=Path, help="folder for the two figures")
    given = parser.parse_args()
    spec = build_study(
        given.seeds, given.crystals, given.relaxations, given.equal_time_factor, given.engine
    )
    # What an interrupted run has finished is in the records and is not repeated.
    summary = run_study(spec)
    with open_records(load_settings().database.get_secret_value(), read_only=True) as records:
        study = records.get("studies", summary["study"])
        trials = trials_of(records, spec)
    assert study is not None
    print(markdown_tables(study))
    if given.figures is not None:
        plot_study_losses(trials, given.figures / "hvae-study-losses.png")
        plot_study_measures(study, trials, given.figures / "hvae-study-measures.png")


if __name__ == "__main__":
    main()
