"""Search by active learning: cycles of training, relaxation of a pool, choice and calculation."""

from crysearch.workflows.active_learning.finishing import conclusion_of, cycles_of
from crysearch.workflows.active_learning.maker import (
    ActiveLearningSearchMaker,
    run_active_learning,
    submit_active_learning,
)
from crysearch.workflows.active_learning.review import best_of, map_of, pools_of, predictions_of
from crysearch.workflows.active_learning.tables import (
    calibration_table,
    conclusion_lines,
    cycle_table,
)

__all__ = [
    "ActiveLearningSearchMaker",
    "best_of",
    "calibration_table",
    "conclusion_lines",
    "conclusion_of",
    "cycle_table",
    "cycles_of",
    "map_of",
    "pools_of",
    "predictions_of",
    "run_active_learning",
    "submit_active_learning",
]
