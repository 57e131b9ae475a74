"""A study with kept scenes and predictions, made by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from analysis_samples import Made

from mmablate.results import StudyStore
from mmablate.results.shown import Samples, write_predictions, write_samples

GRID = {"r0": {0: (1, 2, 3), 1: (3, 4, 8)}, "r1": {0: (2, 2, 2), 1: (5, 6, 7)}}
SUBSETS = ("VN", "N", "V")


def samples(n: int = 3, shape: tuple[int, int] = (6, 8), **changes: Any) -> Samples:
    """n scenes of three classes with a void corner."""
    stream = np.random.default_rng(0)
    labels = stream.integers(0, 3, size=(n, *shape))
    labels[:, 0, :3] = 255
    made = Samples(
        split="test",
        indices=np.arange(10, 10 + n),
        labels=labels,
        pictures={m: stream.integers(0, 256, size=(n, *shape, 3)).astype(np.uint8) for m in ("V", "N")},
        ids=tuple(f"scene{i}" for i in range(n)),
        conditions=tuple({"weather": "fog" if i % 2 else "clear"} for i in range(n)),
        class_names=("water", "forest", "road"),
        colours=((10, 20, 200), (20, 160, 40), (128, 64, 128)),
        ignore_label=255,
        synthetic=True,
    )
    return dataclasses.replace(made, **changes)


def predicted(made: Samples, stream: np.random.Generator) -> dict[str, np.ndarray]:
    return {subset: stream.integers(0, 3, size=made.labels.shape) for subset in SUBSETS}


def written(out: Path, made: Samples | None = None, **study: Any) -> StudyStore:
    """A finished study of two rows and two seeds; every run has predictions."""
    made = made or samples()
    store = Made(GRID, dataset={"name": "made", "synthetic": made.synthetic}, **study).write(out)
    write_samples(store.folder, made)
    stream = np.random.default_rng(1)
    for folder in sorted(store.runs.iterdir()):
        write_predictions(folder, [int(i) for i in made.indices], predicted(made, stream))
    return store
