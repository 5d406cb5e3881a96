"""Pools in the plane of their principal components."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from crysearch.active_learning import FeatureScaler, principal_plane
from crysearch.errors import ActiveLearningError


def test_what_lies_in_a_plane_keeps_its_distances():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 7)) + 3
    scaler = FeatureScaler.fit(features)
    others = rng.normal(size=(5, 7))
    points, shown, shares = principal_plane(features, scaler, others)
    assert points.shape == (40, 2) and shown.shape == (5, 2)
    # What lies outside the plane is seen nearer than it is.
    assert (cdist(points, shown) <= scaler.distances(features, others) + 1e-12).all()
    assert cdist(points, points) == pytest.approx(scaler.distances(features, features))
    assert principal_plane(features, scaler, features[:5])[1] == pytest.approx(points[:5])
    assert shares.sum() == pytest.approx(1) and shares[0] >= shares[1] > 0


def test_components_are_those_of_the_covariance():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 6)) * [1, 2, 3, 4, 5, 6] + rng.normal(size=(200, 1))
    scaler = FeatureScaler.fit(features)
    points, _, shares = principal_plane(features, scaler, [])
    variances = np.linalg.eigvalsh(np.cov(scaler.transform(features).T))[::-1]
    assert points.var(axis=0, ddof=1) == pytest.approx(variances[:2])
    assert shares == pytest.approx(variances[:2] / variances.sum())
    assert (cdist(points, points) <= scaler.distances(features, features) + 1e-12).all()


@pytest.mark.parametrize("features", [np.ones((1, 4)), np.ones((5, 4)), np.eye(2), [[1.0], [2.0]]])
def test_small_pools_have_a_place_too(features):
    scaler = FeatureScaler.fit(features)
    points, shown, shares = principal_plane(features, scaler, features)
    assert points.shape == np.shape(shown) == (len(features), 2)
    assert shown == pytest.approx(points)
    assert np.isfinite(points).all() and np.isfinite(shares).all()


def test_features_of_another_potential_are_refused():
    scaler = FeatureScaler.fit(np.eye(3))
    with pytest.raises(ActiveLearningError, match="same potential"):
        principal_plane(np.eye(3), scaler, np.eye(2))
