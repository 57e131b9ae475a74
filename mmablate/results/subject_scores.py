"""Scores of every subject of the scored split, from every subset of the modalities: subject_scores.npz, no pickle.

    values   float64 (columns, n, subsets), NaN where the subject lacks a modality of the subset
    meta     JSON in an array of one string: columns, subsets, ids
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmablate.results.npz import BROKEN, read_arrays, write_arrays

SUBJECT_SCORES = "subject_scores.npz"


@dataclass(frozen=True, eq=False)
class SubjectScores:
    """What one run scores on single subjects.

    Attributes:
        ids: of the subjects, in the order of the split.
        columns: e.g. "WT", "TC", "ET", "Dice" in percent, "HD95" and "HD95 WT" in mm.
        subsets: names of the subsets of the modalities.
        values: float64 (columns, subjects, subsets), NaN where the subject lacks a modality of the subset.
    """

    ids: tuple[str, ...]
    columns: tuple[str, ...]
    subsets: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        shape = len(self.columns), len(self.ids), len(self.subsets)
        if np.shape(self.values) != shape or not np.issubdtype(np.asarray(self.values).dtype, np.floating):
            raise ValueError(f"values must be numbers {shape} (columns, subjects, subsets), not {self.values.shape}")

    def of(self, place: int, subset: str) -> dict[str, float]:
        """Column -> score of the subject at `place`; {} where there is none."""
        if not 0 <= place < len(self.ids) or subset not in self.subsets:
            return {}
        own = self.values[:, place, self.subsets.index(subset)]
        return {name: float(value) for name, value in zip(self.columns, own, strict=True) if np.isfinite(value)}


def write_subject_scores(
    run_folder: Path, ids: Sequence[str], subsets: Sequence[str], values: Mapping[str, np.ndarray]
) -> None:
    """Writes subject_scores.npz into a run's folder, atomically; equal arguments give equal bytes.

    Args:
        values: column -> (subjects, subsets).

    Raises:
        StoreError: it cannot be written.
        ValueError: shapes that do not fit.
    """
    stacked = np.stack([np.asarray(own, dtype=np.float64) for own in values.values()])
    scores = SubjectScores(tuple(ids), tuple(values), tuple(subsets), stacked)
    meta = {"columns": scores.columns, "subsets": scores.subsets, "ids": scores.ids}
    arrays = {"values": scores.values, "meta": np.array(json.dumps(meta, ensure_ascii=False))}
    write_arrays(run_folder / SUBJECT_SCORES, arrays, durable=False)


def read_subject_scores(run_folder: Path) -> SubjectScores | None:
    """subject_scores.npz of a run's folder; None where it is missing or damaged."""
    try:
        arrays = read_arrays(run_folder / SUBJECT_SCORES)
        meta = json.loads(str(arrays["meta"][()]))
        ids, columns, subsets = (_texts(meta[key]) for key in ("ids", "columns", "subsets"))
        return SubjectScores(ids, columns, subsets, arrays["values"])
    except BROKEN:
        return None


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("not a list of texts")
    return tuple(value)
