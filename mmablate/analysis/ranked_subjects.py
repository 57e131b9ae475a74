"""The subjects of a study of 3D scans, row by row, from the worst to the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmablate.analysis.scenes import DICE, SURFACE
from mmablate.results.subject_scores import SubjectScores


@dataclass(frozen=True)
class RankedSubject:
    """One subject.

    Attributes:
        id: of the subject.
        scores: column -> mean over the subsets that the subject has and over seeds; percent, or mm of "HD95".
        by_seed: seed -> Dice, mean over those subsets.
        lowest: name of the subset that it is worst from, by Dice over seeds, and that Dice.
    """

    id: str
    scores: Mapping[str, float]
    by_seed: Mapping[int, float]
    lowest: tuple[str, float]


@dataclass(frozen=True)
class RankedSubjects:
    """The subjects of a row.

    Attributes:
        seeds: of the runs that have kept scores of the same subjects, ascending.
        subjects: the worst first; where some are left out, those in the middle.
        n: how many were scored.
        columns: of their scores, in the order of the table.
    """

    seeds: tuple[int, ...]
    subjects: tuple[RankedSubject, ...]
    n: int
    columns: tuple[str, ...]


def rank_subjects(found: Mapping[int, SubjectScores], n: int) -> RankedSubjects | None:
    """Orders the subjects of a row by Dice.

    Args:
        found: seed -> scores. Seeds whose subjects, columns or subsets are not those of the first are left out.
        n: subjects at the worse end, and as many at the better end.

    Returns:
        None where there is no score.
    """
    if not found:
        return None
    first = found[min(found)]
    same = {
        seed: own
        for seed, own in sorted(found.items())
        if (own.ids, own.columns, own.subsets) == (first.ids, first.columns, first.subsets)
    }
    if DICE not in first.columns:
        return None
    values = np.stack([own.values for own in same.values()])  # seeds, columns, subjects, subsets
    dice = values[:, first.columns.index(DICE)]
    scored = [i for i in range(len(first.ids)) if np.isfinite(dice[:, i]).any(axis=1).all()]
    if not scored:
        return None
    columns = tuple(name for name in first.columns if not name.startswith(f"{SURFACE} "))
    subjects = [_subject(first, values, tuple(same), columns, i) for i in scored]
    subjects.sort(key=lambda subject: (subject.scores[DICE], subject.id))
    kept = subjects if len(subjects) <= 2 * n else [*subjects[:n], *subjects[len(subjects) - n :]]
    return RankedSubjects(tuple(same), tuple(kept), len(subjects), columns)


def _subject(
    about: SubjectScores, values: np.ndarray, seeds: Sequence[int], columns: Sequence[str], place: int
) -> RankedSubject:
    own = values[:, :, place]  # seeds, columns, subsets
    dice = own[:, about.columns.index(DICE)]
    there = np.isfinite(dice).all(axis=0)
    by_subset = np.where(there, np.where(there, dice, 0.0).mean(axis=0), np.inf)
    scores = {}
    for name in columns:
        some = own[:, about.columns.index(name)]
        if np.isfinite(some).any():
            scores[name] = float(some[np.isfinite(some)].mean())
    lowest = int(by_subset.argmin())
    return RankedSubject(
        id=about.ids[place],
        scores=scores,
        by_seed={seed: float(row[np.isfinite(row)].mean()) for seed, row in zip(seeds, dice, strict=True)},
        lowest=(about.subsets[lowest], float(by_subset[lowest])),
    )
