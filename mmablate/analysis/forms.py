"""What tables read of a study.json, with its types: a damaged part is told by its key before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

MOST_DECIMALS = 15
"""More than a double holds."""


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Row(_Form):
    name: str
    label: str | None = None
    baseline: str | None = None
    values: dict[str, float | int | str | bool | None] | None = None
    levels: dict[str, str] | None = None
    losses: list[str] | None = None


class _Sweep(_Form):
    parameters: list[str]
    symbols: list[str]
    used: list[float | int | str | bool | None]


class _Significance(_Form):
    primary: str | None = None
    family: Literal["table", "column"] = "table"
    confidence: float = Field(0.95, gt=0.5, lt=1)


class _Layout(_Form):
    rows: list[_Row]
    columns: list[str]
    baseline: str | None = None
    caption: str = ""
    row_header: str = ""
    sweep: _Sweep | None = None
    significance: _Significance | None = None
    smallest_effect: FiniteFloat | None = Field(None, gt=0)
    n_decimals: int = Field(2, ge=0, le=MOST_DECIMALS)


class _Planned(_Form):
    run_id: str
    role: str
    seed: int
    rows: list[str]


class _Dataset(_Form):
    name: str = ""
    synthetic: bool = False
    n_train: int = 0
    n_val: int = 0
    n_test: int = 0
    classes: list[str] = Field(default_factory=list)
    attribution: str | None = None


class _Recipe(_Form):
    evaluate: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, Any] | None = None


class _Study(_Form):
    name: str
    title: str | None = None
    table: _Layout
    plan: list[_Planned]
    superseded: list[_Planned] = Field(default_factory=list)
    dataset: _Dataset = Field(default_factory=_Dataset)
    notes: list[str] = Field(default_factory=list)
    recipe: _Recipe = Field(default_factory=_Recipe)


def fault_of(error: ValidationError) -> str:
    """The first fault of a value: its place and what is wrong."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def fault(study: Mapping[str, Any]) -> str | None:
    """What is wrong with a study.json that is read as JSON, or None."""
    try:
        _Study.model_validate(study)
    except ValidationError as error:
        return fault_of(error)
    return None
