"""A small recipe as data, and opening it with changes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from mmablate.study import Study, open_study

BASE: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny",
    "data": {"name": "landsat", "modalities": ["V", "N", "S"]},
    "model": {"name": "anymodal_segmentor", "widths": [4, 4, 8], "strides": [2, 2, 2], "decoder_width": 4},
    "teacher": {"name": "anymodal_segmentor", "seed": "paired"},
    "train": {"epochs": 2, "lr": 0.001},
    "losses": {
        "sup": {"weight": 1},
        "mad": {"weight": 13.2, "symbol": "λ"},
        "umd": {"weight": 2.6, "symbol": "α"},
        "cmd": {"weight": 10, "symbol": "β"},
    },
    "rows": [["sup"], ["sup", "mad"], ["sup", "mad", "umd"], ["sup", "mad", "umd", "cmd"]],
    "baseline": "sup",
    "seeds": [0, 1],
    "sweep": {"lambda": {"values": [0, 4, 13.2]}, "beta": {"values": [1, 10]}},
}

# Data of one label a sample: a student of x2, a teacher of x1.
CLASSES: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny",
    "data": {
        "name": "gaussian", "modalities": ["x1", "x2"], "xs": 20, "n_val": 50,
        "x1": {"channels": 25, "decisive": [5, 15]}, "x2": {"channels": 30, "decisive": [0, 10]},
    },
    "model": {"name": "mlp", "modality": "x2", "hidden": [8, 4]},
    "teacher": {"name": "mlp", "modality": "x1", "hidden": [8, 4]},
    "train": {"steps": 5, "batch_size": "all", "lr": 0.01, "optimizer": "sgd", "select": "last"},
    "losses": {"sup": {"weight": 1}, "kd": {"weight": 1, "symbol": "λ"}},
    "rows": [["sup"], ["sup", "kd"]],
    "baseline": "sup",
    "seeds": [0, 1],
    "sweep": {"lambda": {"values": [0, 1, 2]}},
}  # fmt: skip


class Opener:
    """Writes the recipe, with top-level keys replaced, and opens it."""

    def __init__(self, folder: Path, base: dict[str, Any] = BASE) -> None:
        self.path, self.base = folder / "tiny.yaml", base

    def write(self, *, without: tuple[str, ...] = (), **changes: Any) -> None:
        """The recipe alone."""
        data = {key: value for key, value in {**copy.deepcopy(self.base), **changes}.items() if key not in without}
        self.path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def __call__(self, *, without: tuple[str, ...] = (), options: Any = None, **changes: Any) -> Study:
        self.write(without=without, **changes)
        return open_study(str(self.path), **(options or {}))


def students(study: Study) -> dict[tuple[str, int], str]:
    """(row, seed) -> run id."""
    return {(row, run.seed): run.run_id for run in study.runs if run.role == "student" for row in run.rows}


def teachers(study: Study) -> dict[int, str]:
    """Seed -> run id of the teachers."""
    return {run.seed: run.run_id for run in study.runs if run.role == "teacher"}


def pairs(study: Study) -> dict[int, str]:
    """Seed -> run id of the pairs."""
    return {run.seed: run.run_id for run in study.runs if run.role == "pair"}


def names(study: Study) -> list[str]:
    """Names of the rows."""
    return [row.name for row in study.rows]
