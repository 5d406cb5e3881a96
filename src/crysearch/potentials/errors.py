"""How far predictions are from what the reference method gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crysearch.potentials.base import Prediction
from crysearch.potentials.configuration import Configuration, Failure


def prediction_errors(
    predictions: Sequence[Prediction | Failure], configurations: Sequence[Configuration]
) -> dict[str, float | int | None]:
    """Mean absolute errors and roots of mean squares of a committee's means.

    Parameters
    ----------
    predictions
        What the potential gave for the configurations, in their order.
    configurations
        With energies; forces where they are known.

    Returns
    -------
    dict
        Number of ``configurations``, and of those the potential could not take (``failed``);
        ``energy_mae`` and ``energy_rmse`` in eV/atom, ``force_mae`` and ``force_rmse`` of the
        components in eV/Å, None where there is nothing to compare.
    """
    energies, forces, failed = [], [], 0
    for prediction, known in zip(predictions, configurations, strict=True):
        if isinstance(prediction, Failure):
            failed += 1
            continue
        if known.energy is not None:
            energies.append((prediction.energy - known.energy) / len(known))
        if known.forces is not None:
            forces.append((prediction.forces - known.forces).ravel())
    return {
        "configurations": len(configurations),
        "failed": failed,
        **_means("energy", np.array(energies)),
        **_means("force", np.concatenate(forces) if forces else np.empty(0)),
    }


def _means(name: str, errors: np.ndarray) -> dict[str, float | int | None]:
    found = len(errors) > 0
    return {
        f"{name}_mae": float(np.abs(errors).mean()) if found else None,
        f"{name}_rmse": float(np.sqrt(np.square(errors).mean())) if found else None,
    }


def force_error_summary(
    predictions: Sequence[Prediction | Failure], configurations: Sequence[Configuration]
) -> dict[str, float | int | None]:
    """How large the errors of the force vectors are: at most, root mean square, and on average.

    Parameters
    ----------
    predictions
        What the potential gave for the configurations, in their order.
    configurations
        With forces.

    Returns
    -------
    dict
        ``force_error_max``, ``force_error_rms`` and ``force_error_mean`` of the norms
        ‖F_i − F_i,ref‖₂ over all atoms, eV/Å, None without any; ``failed``, the configurations
        that the potential could not take.
    """
    norms = []
    for prediction, known in zip(predictions, configurations, strict=True):
        if isinstance(prediction, Prediction) and known.forces is not None:
            norms.append(np.linalg.norm(prediction.forces - known.forces, axis=1))
    every = np.concatenate(norms) if norms else np.empty(0)
    return {
        "force_error_max": float(every.max()) if len(every) else None,
        "force_error_rms": float(np.sqrt(np.square(every).mean())) if len(every) else None,
        "force_error_mean": float(every.mean()) if len(every) else None,
        "failed": sum(isinstance(prediction, Failure) for prediction in predictions),
    }
