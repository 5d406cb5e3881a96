"""Whether replicas asked for at an energy or a density resemble known structures that have it.

    python benchmarks/conditional_replicas.py --seeds 10

Conditional models are trained with the defaults of `SearchSpec` on the sound silicon structures of
the bundled snapshot, and the replica grid is decoded with several conditions. The nearest known
structure of each replica is looked up, and its own energy or density averaged over the grid. Means
and standard deviations are over the seeds.
"""

from __future__ import annotations

import argparse

import numpy as np

from crysearch.fingerprints import NearestFingerprint, RadialDistributionFunction
from crysearch.generative import latent_grid
from crysearch.generative.registry import model_class
from crysearch.references import Reference, check_references, load_snapshot
from crysearch.spec import SearchSpec

CONDITIONS = {"energy": (0.0, 0.1, 0.4), "density": (2.0, 2.3, 2.9)}


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    sound, _ = check_references(load_snapshot("Si"), {("Si", "Si"): 2.1}, formula="Si")
    print("| model | asked for | nearest known structures have | Pearson's distance to them |")
    print("|---|---|---|---|")
    for condition, wanted in CONDITIONS.items():
        known = [item for item in sound if _value(item, condition) is not None]
        values = np.array([_value(item, condition) for item in known], dtype=np.float64)
        fingerprints = RadialDistributionFunction().from_structures([k.structure for k in known])
        nearest = NearestFingerprint(fingerprints)
        for name in ("vae", "hvae"):
            spec = SearchSpec.build(
                {
                    "generative": {"model": name, "condition": condition},
                    "replicas": {"conditions": wanted},
                }
            )
            part, grid = spec.generative, spec.replicas
            members = model_class(name).fit_ensemble(
                part.architecture(fingerprints.shape[1]),
                fingerprints,
                conditions=values[:, None],
                seeds=range(arguments.seeds),
                **part.training,
            )
            models = [member.model for member in members if member.model is not None]
            points = latent_grid(part.latent_dimension, grid.grid_points, grid.interval)
            for value in wanted:
                found = [nearest.query(m.decode(points, conditions=[value])) for m in models]
                have = np.array([values[rows].mean() for rows, _ in found])
                far = np.array([distances.mean() for _, distances in found])
                print(
                    f"| {name}, {len(known)} structures | {condition} {value:g} "
                    f"{part.condition_unit} | {have.mean():.3f} ± {have.std():.3f} | "
                    f"{far.mean():.3f} ± {far.std():.3f} |"
                )


def _value(reference: Reference, condition: str) -> float | None:
    if condition == "density":
        return float(reference.structure.density)
    return reference.energy_above_ground_state


if __name__ == "__main__":
    main()
