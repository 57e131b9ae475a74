"""Which samples train, validate and test: as the files say, or by a draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.dealing import deal, deal_groups
from mmablate.errors import DataError

SPLITS = ("train", "val", "test")
Rows = NDArray[np.int64]
Text = NDArray[np.str_]


@dataclass(frozen=True)
class Rule:
    """How samples are drawn where the files do not say.

    Attributes:
        fractions: of train, val and test.
        val_fraction: of train, where the files name no val.
        seed: of the draw.
    """

    fractions: tuple[float, ...]
    val_fraction: float
    seed: int


def split_rows(
    root: Path,
    names: Sequence[str],
    labels: Rows,
    classes: Sequence[str],
    words: Text | None,
    groups: Text | None,
    rule: Rule,
    dataset: str,
) -> tuple[dict[str, Rows], list[str]]:
    """Split -> its samples, and notes of what was drawn or leaks.

    Args:
        root: for messages.
        names: of the samples; the draw hangs on them.
        labels: class numbers.
        classes: their names.
        words: train, val or test of each sample; None: drawn.
        groups: of each sample, or None.
        rule: of the draw.
        dataset: part of the hash that draws.

    Raises:
        DataError: another word, too few groups, a split of fewer than two classes, a class that train lacks.
    """
    notes: list[str] = []
    if words is None:
        dealt = dict(zip(SPLITS, _draw(root, names, labels, groups, rule.fractions, rule.seed, dataset), strict=True))
    else:
        dealt, notes = _given(root, names, labels, words, groups, rule, dataset)
    wanted = [name for name, share in zip(SPLITS, rule.fractions, strict=True) if share > 0 or words is not None]
    dealt = {name: rows for name, rows in dealt.items() if len(rows) or (words is None and name in wanted)}
    _check(root, dealt, labels, classes)
    if "test" not in dealt:
        notes.append("There is no test split: scores are those of the validation split.")
    return dealt, notes + _group_notes(dealt, groups)


def _draw(
    root: Path,
    names: Sequence[str],
    labels: Rows,
    groups: Text | None,
    fractions: Sequence[float],
    seed: int,
    dataset: str,
) -> list[Rows]:
    if groups is None:
        return deal(labels, names, fractions, seed, dataset)
    there, needed = len(np.unique(groups)), sum(fraction > 0 for fraction in fractions)
    if there < needed:
        raise DataError(f"{root}: group: expected at least {needed} groups for {needed} splits, found {there}")
    return deal_groups(groups.tolist(), names, fractions, seed, dataset)


def _given(
    root: Path, names: Sequence[str], labels: Rows, words: Text, groups: Text | None, rule: Rule, dataset: str
) -> tuple[dict[str, Rows], list[str]]:
    """As the files say; validation carved out of train where they name none."""
    unknown = sorted(set(words.tolist()) - set(SPLITS))
    if unknown:
        raise DataError(f"{root}: split: expected train, val or test, found {', '.join(map(repr, unknown[:5]))}")
    dealt = {split: np.flatnonzero(words == split) for split in SPLITS}
    if not len(dealt["train"]) or not (len(dealt["val"]) or len(dealt["test"])):
        raise DataError(f"{root}: split: expected samples of train and of test or val, found {sorted(set(words))}")
    if len(dealt["val"]) or not rule.val_fraction:
        return dealt, []
    pool = dealt["train"]
    own = None if groups is None else groups[pool]
    shares = (1 - rule.val_fraction, rule.val_fraction)
    left, val = _draw(root, [names[row] for row in pool.tolist()], labels[pool], own, shares, rule.seed, dataset)
    note = f"Validation: {len(val)} of the {len(pool)} training samples."
    return {**dealt, "train": pool[left], "val": pool[val]}, [note]


def _check(root: Path, dealt: dict[str, Rows], labels: Rows, classes: Sequence[str]) -> None:
    problems = []
    trained = set(labels[dealt["train"]].tolist()) if "train" in dealt else set()
    for split, rows in dealt.items():
        own = set(labels[rows].tolist())
        if len(own) < 2:
            found = f"{len(rows)} of {classes[min(own)]!r}" if own else "none"
            problems.append(f"{root}: {split}: expected samples of at least two classes, found {found}")
        lacking = sorted(own - trained)
        if lacking:
            some = ", ".join(repr(classes[label]) for label in lacking[:5])
            problems.append(f"{root}: {split}: expected the classes of train, found {some} there alone")
    if problems:
        raise DataError(problems)


def _group_notes(dealt: dict[str, Rows], groups: Text | None) -> list[str]:
    if groups is None:
        return []
    sets = {split: set(groups[rows].tolist()) for split, rows in dealt.items()}
    shared = [(a, b, len(sets[a] & sets[b])) for a, b in combinations(sets, 2) if sets[a] & sets[b]]
    if shared:
        told = ", ".join(f"{a} and {b} {number}" for a, b, number in shared)
        return [f"Groups have samples in more than one split ({told})."]
    counts = ", ".join(f"{split} {len(own)}" for split, own in sets.items())
    return [f"No group has samples in two splits (groups: {counts})."]
