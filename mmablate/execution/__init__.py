"""Executing a planned study: grouping, worker processes, progress."""

from mmablate.execution.local import run_study
from mmablate.execution.options import Options, Outcome
from mmablate.execution.pending import wanted_runs

__all__ = ["Options", "Outcome", "run_study", "wanted_runs"]
