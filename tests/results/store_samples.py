"""Records and studies written through the store, without any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmablate.results import RunError, RunRecord, StudyStore


def record(run_id: str = "a" * 16, **changes: Any) -> RunRecord:
    """A finished run."""
    fields: dict[str, Any] = {
        "run_id": run_id, "study": "s", "row": "sup", "seed": 0, "status": "ok", "error": None,
        "metrics": {"V": 50.0}, "n_parameters": 10, "seconds": 1.5, "steps": 4, "depends_on": [],
        "digests": {"init": "x", "order": "y", "final": "z"}, "environment": {"worker": "w", "device": "cpu"},
    }  # fmt: skip
    return RunRecord(**{**fields, **changes})


def failed(run_id: str = "a" * 16, **changes: Any) -> RunRecord:
    """A failed run."""
    error = RunError(type="NonFiniteLoss", message="loss term 'mad' became nan at step 17", step=17)
    return record(run_id, **{"status": "failed", "error": error, "metrics": {}, **changes})


def prepared(out: Path, name: str = "s") -> StudyStore:
    """A store whose folders are there."""
    store = StudyStore(out, name)
    store.prepare()
    return store
