"""Executing a planned study: grouping, worker processes, progress."""

from mmablate.execution.local import Options, Outcome, run_study, wanted_runs

__all__ = ["Options", "Outcome", "run_study", "wanted_runs"]
