"""What can be measured of one trained model, to compare models and settings. Needs no torch.

All Pearson's distances and correlations are between radial distribution functions as they are,
unscaled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

from crysearch.errors import TrainingError
from crysearch.fingerprints.distances import is_comparable, standardised
from crysearch.generative.base import GenerativeModel, TrainingHistory
from crysearch.generative.checks import check_fingerprints
from crysearch.generative.replicas import replica_diagnostics

#: Losses of one epoch carry the noise of one draw per structure: final losses are means over this
#: many last epochs.
FINAL_EPOCHS = 25
#: Window of the running median that steadiness is measured against, in epochs.
MEDIAN_EPOCHS = 25
#: An epoch counts as a rise if its loss is more than this fraction above that of the one before.
RISE = 0.01
#: A latent coordinate counts as unused if the standard deviation of the located points is below.
UNUSED_SPREAD = 0.2


@dataclass(frozen=True)
class Steadiness:
    """How steadily a loss falls.

    Attributes
    ----------
    rises : float
        Share of the epochs, the first left out, whose loss is more than 1 % (of its absolute
        value) above that of the epoch before.
    roughness : float
        Root-mean-square deviation of the loss from its running median of 25 epochs, over the
        second half of the training, divided by the mean absolute loss there.
    """

    rises: float
    roughness: float


def steadiness(loss: ArrayLike) -> Steadiness:
    """Measure how steadily a loss falls, from one value per epoch, shape (epochs,).

    Raises
    ------
    TrainingError
        If there are fewer than two epochs, or a value is not finite.
    """
    curve = np.asarray(loss, dtype=np.float64)
    if curve.ndim != 1 or len(curve) < 2 or not np.isfinite(curve).all():
        raise TrainingError(
            f"loss has shape {curve.shape} or values that are not finite; give one finite value "
            "for each of at least 2 epochs."
        )
    rises = np.diff(curve) > RISE * np.abs(curve[:-1])
    smooth = median_filter(curve, size=MEDIAN_EPOCHS, mode="nearest")
    half = slice(len(curve) // 2, None)
    deviation = float(np.sqrt(np.mean((curve - smooth)[half] ** 2)))
    return Steadiness(float(rises.mean()), deviation / float(np.abs(curve[half]).mean()))


def reconstruction_distances(
    model: GenerativeModel, fingerprints: ArrayLike
) -> NDArray[np.float64]:
    """Return Pearson's distance of each structure to what the model makes of its latent point.

    Parameters
    ----------
    model : GenerativeModel
        Trained, without conditions.
    fingerprints : array_like, shape (n, input_size)
        Values above the largest of the training are cut off before they are located.

    Returns
    -------
    ndarray, shape (n,)
        Not-a-number where the decoded function is constant, so that no distance exists.
    """
    given = check_fingerprints(fingerprints, model.input_size)
    decoded = model.decode(model.locate(given, above_maximum="clip"))
    distances = np.full(len(given), np.nan)
    known = is_comparable(decoded)
    if known.any():
        products = standardised(given[known]) * standardised(decoded[known])
        distances[known] = np.clip(1.0 - products.sum(axis=1), 0.0, 2.0)
    return distances


def replica_correlations(replicas: ArrayLike, database: ArrayLike) -> tuple[float, float]:
    """Return the mean Pearson correlations of replicas with the known structures.

    Parameters
    ----------
    replicas : array_like, shape (n, m)
    database : array_like, shape (k, m)

    Returns
    -------
    tuple of float
        The mean over all n × k pairs, and the mean over the replicas of the correlation with the
        nearest known structure.

    Raises
    ------
    FingerprintError
        If a row is constant or not finite.
    """
    correlations = standardised(np.asarray(replicas)) @ standardised(np.asarray(database)).T
    return float(correlations.mean()), float(correlations.max(axis=1).mean())


def unused_coordinates(latent: ArrayLike) -> int:
    """Count the latent coordinates in which located points (n, d) spread by less than 0.2.

    The spread is the population standard deviation over the points.
    """
    return int(np.count_nonzero(np.asarray(latent).std(axis=0) < UNUSED_SPREAD))


def measure_training(history: TrainingHistory) -> dict[str, float]:
    """Return the final losses (nats per structure) and the steadiness of a training.

    Losses are means over the last 25 epochs (all, if there are fewer). ``elbo`` is the evidence
    lower bound of the held-out structures as the model's own loss estimates it: the negative sum of
    both validation terms. Bounds of different models are not equally tight.
    """

    def final(curve: NDArray[np.float64]) -> float:
        return float(curve[-FINAL_EPOCHS:].mean())

    steady = steadiness(history.train_total) if history.epochs > 1 else None
    return {
        "train_loss": final(history.train_total),
        "train_reconstruction": final(history.train_reconstruction),
        "train_divergence": final(history.train_divergence),
        "validation_reconstruction": final(history.validation_reconstruction),
        "validation_divergence": final(history.validation_divergence),
        "elbo": -final(history.validation_total),
        "rises": np.nan if steady is None else steady.rises,
        "roughness": np.nan if steady is None else steady.roughness,
    }


def measure_model(
    model: GenerativeModel,
    history: TrainingHistory,
    fingerprints: ArrayLike,
    evidence_samples: int,
    seed: int,
) -> dict[str, float]:
    """Return how a trained model describes the structures it was given and those held out.

    Parameters
    ----------
    model, history
        As `GenerativeModel.fit` left them.
    fingerprints : array_like, shape (n, input_size)
        The fingerprints that were given to `fit`.
    evidence_samples, seed
        Of `GenerativeModel.log_evidence`.

    Returns
    -------
    dict
        ``evidence``, mean log evidence of the held-out structures (nats);
        ``reconstruction_train`` and ``reconstruction_held_out``, mean Pearson's distances of
        reconstructions; ``unused_coordinates``, over all structures.
    """
    given = check_fingerprints(fingerprints, model.input_size)
    held_out = given[history.validation_indices]
    evidence = model.log_evidence(
        held_out, samples=evidence_samples, seed=seed, above_maximum="clip"
    )
    distances = reconstruction_distances(model, given)
    return {
        "evidence": float(np.mean(evidence)),
        "reconstruction_train": float(distances[history.train_indices].mean()),
        "reconstruction_held_out": float(distances[history.validation_indices].mean()),
        "unused_coordinates": float(unused_coordinates(model.locate(given, above_maximum="clip"))),
    }


def measure_replicas(
    replicas: ArrayLike, database: ArrayLike
) -> tuple[dict[str, float], dict[str, float | int]]:
    """Return how replicas relate to the known structures.

    Constant replicas have no Pearson's distance: they are counted and left out.

    Parameters
    ----------
    replicas : array_like, shape (n, m)
    database : array_like, shape (k, m)

    Returns
    -------
    dict, dict
        The measures ``replica_correlation``, ``nearest_correlation`` and ``replica_distance``
        (mean over the pairs of replicas); and the whole of `replica_diagnostics` with the number of
        ``constant_replicas``.

    Raises
    ------
    TrainingError
        If fewer than two replicas are left, or a known structure is constant.
    """
    array = check_fingerprints(replicas, field="replicas")
    usable = array[is_comparable(array)]
    if len(usable) < 2:
        raise TrainingError(
            f"{len(array) - len(usable)} of {len(array)} replicas are constant; the model has "
            "learned nothing: train longer, or lower the learning rate."
        )
    diagnostics = replica_diagnostics(usable, database)
    every, nearest = replica_correlations(usable, database)
    measures = {
        "replica_correlation": every,
        "nearest_correlation": nearest,
        "replica_distance": diagnostics.replicas_mean,
    }
    return measures, diagnostics.to_dict() | {"constant_replicas": len(array) - len(usable)}
