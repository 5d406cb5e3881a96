"""Documents of studies of selection: each fit, and what they add up to."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from bson.binary import Binary

from crysearch.records.schema import SharedDocument

SelectionStatus = Literal["submitted", "running", "complete", "interrupted", "failed"]
FitStatus = Literal["fitted", "failed"]


class FitMeasures(TypedDict):
    """Errors on the test frames: of the norms of the forces (eV/Å), and of the energy (eV/atom)."""

    force_error_max: float | None
    force_error_rms: float | None
    force_error_mean: float | None
    energy_error_rms: float | None


class PairFunction(TypedDict):
    """g(r) of a ``pair`` such as ``Na-Cl`` at distances ``r`` (Å), with its standard ``error``.

    ``onset`` is where the reference's begins (Å), ``nearer`` the neighbours of an atom that are
    nearer than that, ``unphysical`` whether these are more than the reference has; null for the
    reference itself. First peak in Å, and its height; both null without a peak.
    """

    pair: str
    r: Binary
    g: Binary
    error: Binary
    peak: float | None
    peak_height: float | None
    onset: float | None
    nearer: float | None
    unphysical: bool | None


class Melt(TypedDict):
    """Molecular dynamics of the liquid: how it ended, and its radial distribution functions.

    ``duration`` in ps, temperature in K, ``distance`` the root mean square difference of g(r) from
    the reference's over all pairs and distances; null for the reference, and without frames.
    """

    status: str
    failure: str | None
    failure_detail: str | None
    frames: int
    duration: float
    temperature: float | None
    distance: float | None
    pairs: list[PairFunction]
    seconds: float


class SelectionFitDocument(SharedDocument):
    """A potential fitted to ``size`` frames that a ``method`` chose.

    ``frames`` are their places in the pool, in the order of choice. The weights are the blob
    ``blob_id``. ``failed_test`` frames of the test could not be calculated. ``melt`` is null where
    no dynamics was asked for; its frames are the blob ``selection-melt-`` and the ``_id``.
    """

    study: str
    model: str
    method: str
    size: int
    seed: int
    status: FitStatus
    reason: str | None
    frames: list[int]
    parameter_count: int | None
    epochs: int | None
    measures: FitMeasures | None
    failed_test: int | None
    blob_id: str | None
    seconds: float | None
    melt: Melt | None


class SelectionStudyDocument(SharedDocument):
    """A study of selection.

    ``pool`` and ``test`` say which molecular dynamics the frames are of, how many there are, and
    how many could not be calculated. ``groups`` have the means over the seeds of each model, method
    and size, ``differences`` those of the pairs with random selection, ``findings`` what was
    published and whether it is found here.
    """

    name: str
    spec: dict[str, Any]
    status: SelectionStatus
    reason: str | None
    pool: dict[str, Any] | None
    test: dict[str, Any] | None
    melt: Melt | None
    groups: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    findings: list[dict[str, Any]]
