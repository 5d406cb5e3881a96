"""How well the autoencoder reconstructs and spreads, over seeds.

    python benchmarks/autoencoder.py --seeds 20
    python benchmarks/autoencoder.py --seeds 20 --model hvae

Trained with the defaults of `SearchSpec` on the sound silicon structures of the bundled snapshot.
Means and standard deviations are over the seeds.
"""

from __future__ import annotations

import argparse

import numpy as np

from crysearch.fingerprints import RadialDistributionFunction, pearson_distance
from crysearch.generative import latent_grid, replica_diagnostics
from crysearch.generative.registry import model_class
from crysearch.references import check_references, load_snapshot
from crysearch.spec_generative import GenerativeSpec

UNUSED = 0.2  # standard deviation of a latent coordinate over the structures


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--model", default="vae")
    arguments = parser.parse_args()
    part = GenerativeSpec(model=arguments.model)
    sound, _ = check_references(load_snapshot("Si"), {("Si", "Si"): 2.1}, formula="Si")
    known = RadialDistributionFunction().from_structures([item.structure for item in sound])
    figures: dict[str, list[float]] = {}
    ensemble = model_class(part.model).fit_ensemble(
        part.architecture(known.shape[1]), known, seeds=range(arguments.seeds), **part.training
    )
    for member in ensemble:
        model, history = member.model, member.history
        if model is None or history is None:
            raise SystemExit(f"seed {member.seed}: {member.failure}")
        latent = model.locate(known)
        decoded = model.decode(latent)
        errors = np.array([pearson_distance(a, b) for a, b in zip(known, decoded, strict=True)])
        spread = replica_diagnostics(model.decode(latent_grid(part.latent_dimension)), known)
        row = {
            "distance of reconstructions, training": errors[history.train_indices].mean(),
            "distance of reconstructions, held out": errors[history.validation_indices].mean(),
            "pairwise distance of replicas, mean": spread.replicas_mean,
            "pairwise distance of replicas, deviation": spread.replicas_std,
            "pairwise distance of the database, mean": spread.database_mean,
            "pairwise distance of the database, deviation": spread.database_std,
            "pairwise distance of both, mean": spread.both_mean,
            "seeds with an unused latent coordinate": float(latent.std(axis=0).min() < UNUSED),
        }
        for name, value in row.items():
            figures.setdefault(name, []).append(float(value))
    for name, values in figures.items():
        if name.startswith("seeds"):
            print(f"{name:<46} {sum(values):.0f} of {len(values)}")
        else:
            print(f"{name:<46} {np.mean(values):.3f} ± {np.std(values):.3f}")


if __name__ == "__main__":
    main()
