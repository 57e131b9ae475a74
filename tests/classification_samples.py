"""A classification study on disk: factors gamma and method, columns Acc, Teacher and Tag, several teachers a seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.results import RunRecord, StudyStore

GAMMAS = ("0", "0.25", "0.5", "1")
METHODS = ("no_kd", "kd", "focus")
INFO: dict[str, dict[str, Any]] = {
    "Acc": {"metric": "accuracy", "unit": "%", "direction": "max", "subset": False},
    "Teacher": {"metric": "accuracy", "unit": "%", "direction": "max", "subset": False, "reference": True},
    "Tag": {"metric": "tag accuracy", "unit": "%", "direction": "max", "subset": False, "reference": True},
}


def scores(gamma: str, method: str, seed: int) -> dict[str, float]:
    """Made-up metrics: KD helps as gamma grows; only KD rows have a teacher, only focus rows a tag accuracy."""
    stream = np.random.default_rng([seed, GAMMAS.index(gamma), METHODS.index(method)])
    base = 60 + np.random.default_rng(seed).normal()
    gain = {"no_kd": 0.0, "kd": -1 + 3 * float(gamma), "focus": 2.0 + float(gamma)}[method]
    found = {"Acc": base + gain + 0.3 * stream.normal() * (method != "no_kd")}
    if method != "no_kd":
        found["Teacher"] = 70 + 10 * float(gamma) + 0.1 * seed
    if method == "focus":
        found["Tag"] = 92 + 0.1 * seed
    return found


def record(run_id: str, seed: int, **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "run_id": run_id, "study": "made_focus", "row": None, "seed": seed, "status": "ok", "error": None,
        "metrics": {}, "n_parameters": 50, "seconds": 1.0, "steps": 5, "depends_on": [],
        "digests": {"init": None, "order": None, "final": None}, "environment": {"device": "cpu"},
        "synthetic": True,
    }  # fmt: skip
    return RunRecord(**{**fields, **changes})


def levels_of(row: str) -> dict[str, str]:
    gamma, method = row.split("+")
    return {"gamma": gamma, "method": method}


def study(seeds: Sequence[int], gammas: Sequence[str] = GAMMAS, methods: Sequence[str] = METHODS) -> dict[str, Any]:
    """study.json: each row's baseline is no_kd at its gamma; a teacher and a pair a seed and gamma."""
    rows = [f"{gamma}+{method}" for gamma in gammas for method in methods]
    plan = [
        {"run_id": f"{kind}-{gamma}-{seed}", "role": role, "seed": seed, "rows": [], "cells": {}, "depends_on": []}
        for gamma in gammas
        for kind, role in (("teacher", "teacher"), ("pair", "pair"))
        for seed in seeds
    ]
    for row in rows:
        gamma, method = row.split("+")
        needs = {"no_kd": (), "kd": ("teacher",)}.get(method, ("teacher", "pair"))
        plan += [
            {"run_id": f"{row}-{seed}", "role": "student", "seed": seed, "rows": [row], "cells": {row: row},
             "depends_on": [f"{kind}-{gamma}-{seed}" for kind in needs]}
            for seed in seeds
        ]  # fmt: skip
    return {
        "name": "made_focus",
        "title": "Focused distillation",
        "plan": plan,
        "table": {
            "row_header": "gamma, method",
            "caption": "Accuracy in percent on the test split.",
            "columns": list(INFO),
            "column_info": INFO,
            "baseline": None,
            "rows": [
                {"name": row, "label": row.replace("+", " + "), "baseline": f"{row.split('+')[0]}+no_kd",
                 "levels": levels_of(row)}
                for row in rows
            ],
            "teacher_row": False,
            "significance": {"primary": "Acc", "family": "table"},
        },
        "dataset": {"name": "gauss", "synthetic": True, "n_train": 200, "n_test": 1000},
        "recipe": {"evaluate": {"classes": "present"}},
    }  # fmt: skip


def records(described: Mapping[str, Any], metrics: Callable[[str, str, int], dict[str, float]]) -> list[RunRecord]:
    """A finished record of every planned run."""
    found = []
    for entry in described["plan"]:
        row = entry["rows"][0] if entry["rows"] else None
        some = metrics(*row.split("+"), entry["seed"]) if row else {"Acc": 50.0}
        needs = entry["depends_on"]
        changes = {"row": row, "role": entry["role"], "metrics": some, "depends_on": needs}
        found.append(record(entry["run_id"], entry["seed"], **changes))
    return found


def write(
    out: Path,
    seeds: Sequence[int] = (0, 1, 2, 3),
    *,
    gammas: Sequence[str] = GAMMAS,
    methods: Sequence[str] = METHODS,
    table: Mapping[str, Any] | None = None,
    metrics: Callable[[str, str, int], dict[str, float]] = scores,
    replaced: Sequence[RunRecord] = (),
) -> StudyStore:
    """The study on disk.

    Args:
        table: changes of the layout.
        metrics: gamma, method, seed -> metrics of a row's run.
        replaced: records in place of those of the same run.
    """
    described = study(seeds, gammas, methods)
    described["table"] = {**described["table"], **(table or {})}
    store = StudyStore(out, "made_focus")
    store.runs.mkdir(parents=True, exist_ok=True)
    (store.folder / "study.json").write_text(json.dumps(described), encoding="utf-8")
    given = {r.run_id: r for r in replaced}
    for one in records(described, metrics):
        folder = store.run_folder(one.run_id)
        folder.mkdir(exist_ok=True)
        (folder / "record.json").write_text(given.get(one.run_id, one).model_dump_json(), encoding="utf-8")
    return store
