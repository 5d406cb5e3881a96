"""How well the autoencoder reconstructs and spreads, over seeds.

    python benchmarks/autoencoder.py --seeds 20

Trained with the defaults of `SearchSpec` on the sound silicon structures of the bundled snapshot.
Means and standard deviations are over the seeds.
"""

from __future__ import annotations

import argparse

import numpy as np

from crysearch.fingerprints import RadialDistributionFunction, pearson_distance
from crysearch.generative import create_model, latent_grid, replica_diagnostics
from crysearch.references import check_references, load_snapshot
from crysearch.spec import SearchSpec

UNUSED = 0.2  # standard deviation of a latent coordinate over the structures


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    part = SearchSpec().generative
    sound, _ = check_references(load_snapshot("Si"), {("Si", "Si"): 2.1}, formula="Si")
    known = RadialDistributionFunction().from_structures([item.structure for item in sound])
    figures: dict[str, list[float]] = {}
    for seed in range(arguments.seeds):
        model = create_model(part.model, **part.architecture(known.shape[1]))
        history = model.fit(known, seed=seed, **part.training)
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
