"""Every collection and what its documents hold."""

from __future__ import annotations

from crysearch.records import schema
from crysearch.records.schema_assessments import AssessmentDocument
from crysearch.records.schema_cycles import CycleDocument
from crysearch.records.schema_datasets import ConfigurationDocument, DatasetDocument
from crysearch.records.schema_dynamics import (
    DynamicsDocument,
    FrameDocument,
    ObservablesDocument,
    ProtocolDocument,
    TrajectoryDocument,
)
from crysearch.records.schema_potentials import PotentialDocument
from crysearch.records.schema_selection import SelectionFitDocument, SelectionStudyDocument
from crysearch.records.schema_studies import StudyDocument, TrialDocument

KINDS: dict[str, type] = {
    "searches": schema.SearchDocument,
    "references": schema.ReferenceDocument,
    "models": schema.ModelDocument,
    "replicas": schema.ReplicaDocument,
    "candidates": schema.CandidateDocument,
    "relaxations": schema.RelaxationDocument,
    "failures": schema.FailureDocument,
    "batches": schema.BatchDocument,
    "calculations": schema.CalculationDocument,
    "properties": schema.PropertyDocument,
    "verdicts": schema.VerdictDocument,
    "trials": TrialDocument,
    "studies": StudyDocument,
    "datasets": DatasetDocument,
    "configurations": ConfigurationDocument,
    "cycles": CycleDocument,
    "potentials": PotentialDocument,
    "selection_studies": SelectionStudyDocument,
    "selection_fits": SelectionFitDocument,
    "dynamics": DynamicsDocument,
    "trajectories": TrajectoryDocument,
    "frames": FrameDocument,
    "protocols": ProtocolDocument,
    "observables": ObservablesDocument,
    "assessments": AssessmentDocument,
}
