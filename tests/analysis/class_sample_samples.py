"""Studies of classification with predictions of every sample, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from analysis_samples import Made

from mmablate.results import StudyStore
from mmablate.results.class_predictions import write_class_predictions

CLASSES = ("cat", "dog", "owl")
GRID: dict[str, dict[int, tuple[float, ...]]] = {"r0": {0: (50,), 1: (51,)}, "r1": {0: (52,), 1: (53,)}}


def logits(n: int, k: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, k)) * 2


def put(store: StudyStore, run_id: str, seed: int, n: int = 12, k: int = 3, **changes: Any) -> None:
    """Predictions of one run; labels and ids are the same for all runs."""
    fields: dict[str, Any] = {
        "indices": range(n), "labels": np.arange(n) % k, "ids": [f"clip{i}" for i in range(n)],
        "logits": {"Acc": logits(n, k, seed), "unimodal/audio": logits(n, k, seed + 100)}, "synthetic": True, **changes,
    }  # fmt: skip
    write_class_predictions(store.run_folder(run_id), **fields)


def written(out: Path, n: int = 12, classes: tuple[str, ...] = CLASSES, **study: Any) -> StudyStore:
    """A finished study of two rows and two seeds."""
    dataset = {"name": "made", "synthetic": True, "classes": list(classes)}
    made = Made(GRID, columns=("Acc",), dataset=dataset, **study)
    store = made.write(out)
    for number, folder in enumerate(sorted(store.runs.iterdir())):
        put(store, folder.name, number, n, len(classes))
    return store
