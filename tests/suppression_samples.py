"""Studies on disk whose histories tell of gradients and of unique information, with made-up numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.results import RunRecord, StudyStore

MODALITIES = ("audio", "video")
UNIQUE_ROWS = ("dgl+unique", "dgl+uniform")
ROWS = ("joint", "joint_lr", "dgl", *UNIQUE_ROWS, "dgl_film", "video_only")


def gradients(row: str, seed: int, epoch: int, modalities: Sequence[str] = MODALITIES) -> dict[str, Any]:
    """A look: the first modality is easier; under "film" the condition cannot be looked at."""
    stream = np.random.default_rng([seed, epoch, len(row)])
    found = {}
    for place, name in enumerate(modalities):
        shift = 0.1 * place + (0.15 if row.startswith("dgl") else 0.0)
        known = "film" not in row
        larger = float(np.clip(0.55 + shift + 0.03 * epoch + 0.05 * stream.normal(), 0, 1))
        found[name] = {
            "larger": round(larger, 6),
            "positive": round(0.3 + 0.04 * epoch, 6) if known else None,
            "larger_given": round(min(1.0, 0.93 + 0.01 * epoch), 6) if known else None,
            "larger_otherwise": round(larger - 0.2, 6) if known else None,
            "surer_given": 1.0 if known else None,
            "left": round(float(0.9 * 0.75**place + 0.02 * epoch + 0.02 * stream.normal()), 6),
            "samples": 256,
        }
    return found


def unique(row: str, seed: int, epoch: int, modalities: Sequence[str] = MODALITIES) -> dict[str, Any]:
    stream = np.random.default_rng([7, seed, epoch, len(row)])
    found = {}
    for place, name in enumerate(modalities):
        strength = float(0.6 - 0.35 * place + 0.02 * epoch + 0.02 * stream.normal())
        told = float(max(0.0, 0.06 + 0.05 * place + 0.01 * stream.normal()))
        found[name] = {"strength": strength, "unique": told, "null": 0.05 + 0.002 * epoch, "beta": 0.5 * place}
    return found


def scores(row: str, seed: int) -> dict[str, float]:
    """Columns of a run: a row of one modality has none for the other one, and none about gradients."""
    stream = np.random.default_rng([seed, len(row), sum(map(ord, row))])
    noise = stream.normal(size=6).tolist()
    better = 4.0 if row.startswith("dgl") else 0.0
    found = {"Acc": 70 + better + 0.5 * noise[0], "video": 50 + 2 * better + noise[2]}
    if row != "video_only":
        found |= {"audio": 60 + noise[1], "Gain": 6 + 0.5 * noise[3]}
        found |= {"Shrunk": 60 + 5 * better + noise[4], "Skew": 20 - better + noise[5]}
    return found


def record(run_id: str, row: str, seed: int, **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": run_id, "study": "made_dgl", "row": row, "seed": seed, "status": "ok", "error": None,
        "metrics": scores(row, seed), "n_parameters": 5, "seconds": 1.5, "steps": 9, "depends_on": [], "digests": {},
        "environment": {}, "synthetic": True,
    }  # fmt: skip
    return RunRecord(**(fields | changes))


def info() -> dict[str, dict[str, Any]]:
    percent = {"metric": "accuracy", "unit": "%", "direction": "max", "subset": False}
    probe = {**percent, "metric": "probe accuracy"}
    return {
        "Acc": percent, "audio": probe, "video": probe, "Gain": {**percent, "metric": "accuracy less the best probe's"},
        "Shrunk": {**percent, "metric": "share of gradients that the joint loss shrinks", "reference": True},
        "Skew": {**percent, "metric": "gradient left to the easier modality, less the others", "reference": True},
    }  # fmt: skip


def study(rows: Sequence[str], seeds: Sequence[int]) -> dict[str, Any]:
    plan = [
        {"run_id": f"{row}-{seed}", "role": "student", "seed": seed, "rows": [row], "cells": {}, "depends_on": []}
        for row in rows
        for seed in seeds
    ]
    columns = info()
    return {
        "name": "made_dgl", "title": "Gradients of several modalities", "plan": plan,
        "table": {"rows": [{"name": row, "label": row.replace("+", " + ")} for row in rows], "baseline": rows[0],
                  "columns": list(columns), "column_info": columns, "row_header": "method",
                  "significance": {"primary": "Acc", "family": "table"}},
        "dataset": {"name": "cremad", "synthetic": True, "n_train": 200, "n_test": 100},
        "recipe": {"losses": {"sup": {"label": "sup"}}},
    }  # fmt: skip


def write(
    out: Path,
    *,
    rows: Sequence[str] = ROWS,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    epochs: Sequence[int] = (2, 4, 6, 8),
    modalities: Sequence[str] = MODALITIES,
) -> StudyStore:
    """The study on disk, every run finished; the row of one modality has no such looks."""
    store = StudyStore(out, "made_dgl")
    store.runs.mkdir(parents=True, exist_ok=True)
    (store.folder / "study.json").write_text(json.dumps(study(rows, seeds)), encoding="utf-8")
    for row in rows:
        for seed in seeds:
            folder = store.run_folder(f"{row}-{seed}")
            folder.mkdir(exist_ok=True)
            (folder / "record.json").write_text(record(f"{row}-{seed}", row, seed).model_dump_json(), encoding="utf-8")
            lines = [line(row, seed, epoch, epochs, modalities) for epoch in range(1, max(epochs) + 1)]
            (folder / "history.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return store


def line(row: str, seed: int, epoch: int, epochs: Sequence[int], modalities: Sequence[str]) -> dict[str, Any]:
    """Of history.jsonl."""
    found: dict[str, Any] = {"epoch": epoch, "step": 10 * epoch, "losses": {"sup": 2.0 / epoch}, "val": None}
    if epoch in epochs:
        found["val"] = {"Acc": 60.0 + epoch}
        if row != "video_only":
            found["gradients"] = gradients(row, seed, epoch, modalities)
    if row in UNIQUE_ROWS and epoch % 2 == 1:
        found["unique"] = unique(row, seed, epoch, modalities)
    return found
