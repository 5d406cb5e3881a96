"""A study of generative models: trained over seeds, measured, screened with, relaxed, compared."""

from crysearch.workflows.study.maker import (
    GenerativeStudyMaker,
    run_study,
    submit_study,
)
from crysearch.workflows.study.screening import trials_of
from crysearch.workflows.study.tables import markdown_tables

__all__ = ["GenerativeStudyMaker", "markdown_tables", "run_study", "submit_study", "trials_of"]
