"""Finished studies of two rows and two seeds on disk, for what is looked at sample by sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.data.mfeat import open_mfeat
from mmablate.results import RunRecord, StudyStore
from mmablate.results.class_predictions import write_class_predictions
from mmablate.results.shown import Samples, write_predictions, write_samples

ROWS, SEEDS = ("r0", "r1"), (0, 1)
VIEWS = ["mor", "pix"]
N = 40


def study(out: Path, name: str = "made", **further: Any) -> StudyStore:
    """study.json and records; run ids are "<row>-<seed>"."""
    runs = [(row, seed) for row in ROWS for seed in SEEDS]
    plan = [
        {"run_id": f"{r}-{s}", "role": "student", "seed": s, "rows": [r], "cells": {r: r}, "depends_on": []}
        for r, s in runs
    ]
    about = {"metric": "accuracy", "unit": "%", "direction": "max", "subset": False}
    rows = [{"name": row, "label": f"L_{row}", "baseline": "r0"} for row in ROWS]
    table = {"columns": ["Acc"], "column_info": {"Acc": about}, "baseline": "r0", "rows": rows}
    store = StudyStore(out, name)
    for row, seed in runs:
        store.run_folder(f"{row}-{seed}").mkdir(parents=True)
        record = RunRecord(
            run_id=f"{row}-{seed}", study=name, row=row, seed=seed, status="ok", error=None, metrics={},
            n_parameters=1, seconds=1.0, steps=1, depends_on=[], digests={}, environment={},
        )  # fmt: skip
        (store.run_folder(record.run_id) / "record.json").write_text(record.model_dump_json())
    content = {"name": name, "title": "Made", "plan": plan, "table": table, **further}
    (store.folder / "study.json").write_text(json.dumps(content), encoding="utf-8")
    return store


def digits(out: Path, **changes: Any) -> StudyStore:
    """Of the digits in two views; the runs have scored the first 40 test samples."""
    data = open_mfeat(modalities=VIEWS)
    split = data.splits["test"]
    store = study(
        out, dataset={"name": "mfeat", "synthetic": False, "classes": list(data.class_names)},
        recipe={"data": {"name": "mfeat", "modalities": VIEWS}}, data={"scored_split": "test"},
    )  # fmt: skip
    for number, folder in enumerate(sorted(store.runs.iterdir())):
        fields: dict[str, Any] = {
            "indices": range(N), "labels": split.labels_of(range(N)), "ids": [split.describe(i).id for i in range(N)],
            "logits": {"Acc": np.random.default_rng(number).normal(size=(N, 10))}, "synthetic": False, **changes,
        }  # fmt: skip
        write_class_predictions(folder, **fields)
    return store


def scenes(out: Path, n: int = 3) -> StudyStore:
    """Of segmentation, with scenes and predictions from two subsets."""
    stream = np.random.default_rng(0)
    store = study(out)
    made = Samples(
        split="test", indices=np.arange(n), labels=stream.integers(0, 3, (n, 6, 8)),
        pictures={"V": stream.integers(0, 256, (n, 6, 8, 3)).astype(np.uint8)},
        ids=tuple(f"scene{i}" for i in range(n)), conditions=({"weather": "fog"},) * n,
        class_names=("water", "forest", "road"), colours=((10, 20, 200), (20, 160, 40), (128, 64, 128)),
        ignore_label=255, synthetic=True,
    )  # fmt: skip
    write_samples(store.folder, made)
    for folder in store.runs.iterdir():
        write_predictions(folder, range(n), {subset: stream.integers(0, 3, (n, 6, 8)) for subset in ("V", "VN")})
    return store
