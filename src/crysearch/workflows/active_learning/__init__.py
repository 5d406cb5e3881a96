"""Search by active learning: cycles of training, relaxation of a pool, choice and calculation."""

from crysearch.workflows.active_learning.finishing import cycles_of
from crysearch.workflows.active_learning.maker import (
    ActiveLearningSearchMaker,
    run_active_learning,
    submit_active_learning,
)

__all__ = [
    "ActiveLearningSearchMaker",
    "cycles_of",
    "run_active_learning",
    "submit_active_learning",
]
