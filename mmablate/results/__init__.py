"""The store of studies: atomic, append-only, readable by anything that reads JSON."""

from mmablate.results.record import RunError, RunRecord
from mmablate.results.store import StudyStore, find_studies

__all__ = ["RunError", "RunRecord", "StudyStore", "find_studies"]
