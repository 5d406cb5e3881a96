"""A Slurm cluster for the tests of this folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest

from .cluster import Cluster, SlurmUnavailable, cluster, install


@pytest.fixture(scope="session")
def _running_cluster() -> Iterator[Cluster]:
    try:
        install()
    except SlurmUnavailable as error:
        # A warning, too: it is counted in the last line, and nobody overlooks it there.
        warnings.warn(f"NOTHING WAS TESTED ON A CLUSTER: {error}", stacklevel=1)
        pytest.skip(str(error))
    with cluster() as made:
        yield made


@pytest.fixture
def slurm(_running_cluster: Cluster) -> Iterator[Cluster]:
    """A running cluster without any jobs, and none left afterwards."""
    yield _running_cluster
    _running_cluster.cancel_all()
