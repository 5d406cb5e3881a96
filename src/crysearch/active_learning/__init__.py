"""Structure search by active learning: which structures are worth a reference calculation.

A pool of random crystals is relaxed with an ensemble of potentials, scored, and clustered; the best
of each cluster get a reference calculation, from which the ensemble learns, until the best clusters
do not change any more. After Hessmann, Schütt, Gebauer, Gastegger, Oguchi and Yamashita, npj
Comput. Mater. 11 (2025), doi 10.1038/s41524-025-01523-7.
"""

from crysearch.active_learning.calibration import (
    Calibration,
    Predictions,
    calibrate,
    expected_coverage,
    expected_ratio,
)
from crysearch.active_learning.clusters import Cluster, Clustering, find_clusters, rank_clusters
from crysearch.active_learning.ensembles import Ensemble, EnsembleEvaluation, MeanEvaluation
from crysearch.active_learning.features import FeatureScaler
from crysearch.active_learning.maps import PoolMap, principal_plane
from crysearch.active_learning.potential import PotentialEnsemble
from crysearch.active_learning.relaxing import EnsembleRelaxer
from crysearch.active_learning.scores import Scores, score
from crysearch.active_learning.selection import Selection, select
from crysearch.active_learning.stopping import Comparison, TopClusters, compare

__all__ = [
    "Calibration",
    "Cluster",
    "Clustering",
    "Comparison",
    "Ensemble",
    "EnsembleEvaluation",
    "EnsembleRelaxer",
    "FeatureScaler",
    "MeanEvaluation",
    "PoolMap",
    "PotentialEnsemble",
    "Predictions",
    "Scores",
    "Selection",
    "TopClusters",
    "calibrate",
    "compare",
    "expected_coverage",
    "expected_ratio",
    "find_clusters",
    "principal_plane",
    "rank_clusters",
    "score",
    "select",
]
