"""`RunRecord`: what is kept of a run, as record.json (INTERFACE.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat


def _whole(value: Any) -> Any:
    """Other tools write the integer 3 as 3.0; that is the same number, also for a strict reader."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Role = Literal["student", "teacher", "pair", "pretraining"]


class RunError(BaseModel):
    """Why a run failed: exception type, message, and the optimiser step (None before the first)."""

    model_config = ConfigDict(frozen=True)

    type: str
    message: str
    step: Whole | None = None


class RunRecord(BaseModel):
    """A finished or failed run.

    Attributes:
        run_id: name of its folder.
        study, row: of the study that trained it; row is None for a teacher or a pair.
        seed: of the run.
        status: "ok" or "failed".
        error: why it failed.
        metrics: column -> score on the scored split.
        n_parameters: trainable parameters.
        flops: floating point operations of one forward pass of one sample with all modalities; None where not counted.
        seconds: wall time of its own steps and evaluations, shared work divided among the group.
        steps: optimiser steps taken.
        depends_on: ids of the runs whose checkpoint it read.
        digests: SHA-256 of the initial weights, of batch order and modality masks, and of the final weights.
        environment: worker, device, torch and other versions.
        role: "student", "teacher", or "pair": a teacher and a student trained jointly, to tell the teacher's channels
            apart; no row is scored by it.
        selected_epoch: epoch whose weights were scored, counted from 1.
        validation: column -> score on the validation split at that epoch.
        synthetic: the data were generated, not measured.
        scored_on: "test", or "val" where the data have no test labels.
        conditions: value of a condition, e.g. "night" -> column -> score on the samples of it alone.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    run_id: str
    study: str
    row: str | None
    seed: Whole
    status: Literal["ok", "failed"]
    error: RunError | None
    metrics: dict[str, FiniteFloat]
    n_parameters: Whole | None
    seconds: FiniteFloat | None
    steps: Whole | None
    depends_on: list[str]
    digests: dict[str, str | None]
    environment: dict[str, Any]
    role: Role = "student"
    selected_epoch: Whole | None = None
    validation: dict[str, FiniteFloat] = Field(default_factory=dict)
    scored_on: str | None = None
    synthetic: bool = False
    flops: FiniteFloat | None = None
    conditions: dict[str, dict[str, FiniteFloat]] = Field(default_factory=dict)
