"""The record of a run, however it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mmablate.results import RunError, RunRecord
from mmablate.results.record import Role
from mmablate.study import RunSpec


def run_record(
    spec: RunSpec,
    study: str,
    *,
    environment: Mapping[str, Any],
    error: RunError | None = None,
    metrics: Mapping[str, float] | None = None,
    digests: Mapping[str, str | None] | None = None,
    n_parameters: int | None = None,
    seconds: float | None = None,
    steps: int = 0,
    **extra: Any,
) -> RunRecord:
    """The record of a run that is well, or of one that failed with `error`."""
    return RunRecord(
        run_id=spec.run_id,
        study=study,
        row=spec.rows[0] if spec.rows else None,
        seed=spec.seed,
        status="ok" if error is None else "failed",
        error=error,
        metrics=dict(metrics or {}),
        n_parameters=n_parameters,
        seconds=seconds,
        steps=steps,
        depends_on=list(spec.depends_on),
        digests={"init": None, "order": None, "final": None, **(digests or {})},
        environment=dict(environment),
        role=cast(Role, spec.role),
        **extra,
    )


def failure(error: Exception, step: int | None = None) -> RunError:
    """What a record says of an exception."""
    text = " ".join(str(error).split())
    return RunError(type=type(error).__name__, message=text[:500] or type(error).__name__, step=step)
