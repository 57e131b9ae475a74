"""Studies written to disk with made-up scores, and their tables computed the plain way with numpy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.results import RunError, RunRecord, StudyStore

SUBSETS = ("V", "N", "VN")
COLUMNS = (*SUBSETS, "Mean")


@dataclass
class Made:
    """A study with made-up scores.

    Attributes:
        scores: row -> seed -> the scores of the subset columns, or None for a failed run.
        baseline: row name, or row -> baseline row.
    """

    scores: Mapping[str, Mapping[int, Any]]
    baseline: str | Mapping[str, str] = "r0"
    columns: tuple[str, ...] = COLUMNS
    info: dict[str, dict[str, Any]] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=lambda: {"name": "made", "synthetic": False, "n_train": 3})
    teacher: Mapping[int, Any] | None = None
    further: dict[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[str, ...]:
        return tuple(column for column in self.columns if column != "Mean")

    def about(self, column: str) -> dict[str, Any]:
        default = {"metric": "mIoU", "unit": "%", "direction": "max", "subset": column != "Mean"}
        return {**default, **self.info.get(column, {})}

    def run_id(self, row: str, seed: int) -> str:
        return f"{row}-{seed}"

    def study(self) -> dict[str, Any]:
        bases = self.baseline if not isinstance(self.baseline, str) else dict.fromkeys(self.scores, self.baseline)
        runs = [(row, seed) for row, some in self.scores.items() for seed in some]
        plan = [
            {"run_id": self.run_id(r, s), "role": "student", "seed": s, "rows": [r], "cells": {r: r}, "depends_on": []}
            for r, s in runs
        ]
        plan += [
            {"run_id": self.run_id("t", s), "role": "teacher", "seed": s, "rows": [], "cells": {}, "depends_on": []}
            for s in self.teacher or ()
        ]
        table = {
            "columns": list(self.columns),
            "column_info": {column: self.about(column) for column in self.columns},
            "baseline": self.baseline if isinstance(self.baseline, str) else None,
            "rows": [{"name": r, "label": f"L_{r}", "baseline": bases[r]} for r in self.scores],
            "teacher_row": self.teacher is not None,
        }
        return {"name": "made", "title": "Made", "plan": plan, "table": table, "dataset": self.dataset, **self.further}

    def records(self) -> list[RunRecord]:
        students = [self.record(r, s, v) for r, some in self.scores.items() for s, v in some.items()]
        return students + [self.record(None, s, v, "t") for s, v in (self.teacher or {}).items()]

    def record(self, row: str | None, seed: int, values: Any, name: str | None = None, **changes: Any) -> RunRecord:
        fields: dict[str, Any] = {
            "run_id": self.run_id(name or str(row), seed), "study": "made", "row": row, "seed": seed,
            "status": "ok" if values is not None else "failed",
            "error": None if values is not None else RunError(type="Boom", message="it broke", step=3),
            "metrics": dict(zip(self.measured, values, strict=True)) if values is not None else {},
            "n_parameters": 10, "seconds": 2.0 + seed, "steps": 1, "depends_on": [],
            "digests": {"init": None, "order": None, "final": None}, "environment": {"device": "cpu"},
            "role": "student" if row is not None else "teacher",
        }  # fmt: skip
        return RunRecord(**{**fields, **changes})

    def write(self, out: Path, name: str = "made", records: Iterable[RunRecord] | None = None) -> StudyStore:
        """Writes study.json and the records, in the order given (fsync is not needed here)."""
        store = StudyStore(out, name)
        store.runs.mkdir(parents=True, exist_ok=True)
        (store.folder / "study.json").write_text(json.dumps(self.study()), encoding="utf-8")
        for record in self.records() if records is None else records:
            add(store, record)
        return store


def add(store: StudyStore, record: RunRecord) -> Path:
    """Writes one more record."""
    folder = store.run_folder(record.run_id)
    folder.mkdir(exist_ok=True)
    (folder / "record.json").write_text(record.model_dump_json(), encoding="utf-8")
    return folder / "record.json"


def expected_cells(made: Made) -> dict[tuple[str, str], dict[str, Any]]:
    """(row, column) -> mean, std, values, delta, test: the same definitions, computed with numpy arrays."""
    frames = {
        row: {seed: np.array([*values, *([np.mean(values)] if "Mean" in made.columns else [])])
              for seed, values in some.items() if values is not None}
        for row, some in made.scores.items()
    }  # fmt: skip
    cells = {}
    for row, frame in frames.items():
        base = made.baseline if isinstance(made.baseline, str) else made.baseline[row]
        for index, column in enumerate([*made.measured, *(["Mean"] if "Mean" in made.columns else [])]):
            own = {seed: values[index] for seed, values in frame.items()}
            other = {seed: values[index] for seed, values in frames[base].items()}
            common = sorted(set(own) & set(other))
            delta, test = None, None
            if base != row and len(common) >= 2:
                delta, test = np.mean([own[s] for s in common]) - np.mean([other[s] for s in common]), "paired"
            elif base != row and own and other:
                delta, test = np.mean(list(own.values())) - np.mean(list(other.values())), "welch"
            cells[row, column] = {
                "mean": np.mean(list(own.values())) if own else None,
                "std": np.std(list(own.values()), ddof=1) if len(own) > 1 else None,
                "values": {str(s): own[s] for s in own},
                "delta": delta,
                "test": test,
            }
    return cells
