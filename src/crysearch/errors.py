"""The errors crysearch raises on purpose.

Every message names the field, the value and the way out, so that the command line can print it
as it is. Anything else that is raised is a defect.
"""

from __future__ import annotations


class CrysearchError(Exception):
    """Base of every error that crysearch raises on purpose."""


class SpecError(CrysearchError):
    """A search specification is invalid."""


class SettingsError(CrysearchError):
    """A setting (database, keys, folders) is missing or unusable."""


class ReferencesError(CrysearchError):
    """Known structures could not be read, downloaded or used."""


class FingerprintError(CrysearchError):
    """A structure or setting cannot be turned into a radial distribution function."""


class SamplingError(CrysearchError):
    """A request for random crystals is invalid or cannot be met."""


class GuidingError(CrysearchError):
    """Random crystals cannot be moved towards a target as asked."""


class TrainingError(CrysearchError):
    """A generative model or a potential could not be made, trained, stored, loaded or used."""


class DatasetError(CrysearchError):
    """Reference calculations cannot be read, written or used as a data set."""


class RelaxationError(CrysearchError):
    """A relaxation engine is unknown, missing or misused."""


class DynamicsError(CrysearchError):
    """A molecular dynamics run was asked for something that cannot be run, stored or read."""


class ActiveLearningError(CrysearchError):
    """A search by active learning was given something that it cannot work with."""


class VaspStandinError(CrysearchError):
    """The stand-in for VASP was given input that it cannot take."""


class AnalysisError(CrysearchError):
    """An analysis was asked for something that it cannot answer."""


class VaspError(CrysearchError):
    """VASP, its potentials or the packages that run it are missing, or misused."""


class RecordsError(CrysearchError):
    """The record store cannot be opened, read or written."""


class DatabaseAbsent(RecordsError):
    """The database server has not answered for longer than one was to wait."""
