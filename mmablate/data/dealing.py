"""Dealing samples to splits by hashes: the same on every machine and with every numpy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mmablate.data.keys import stream_key

Rows = NDArray[np.int64]


def shuffled(names: Sequence[str | int], seed: int, *purpose: str | int) -> Rows:
    """The samples in the order of a hash of seed, purpose and name; names must differ."""
    keys = [stream_key(seed, *purpose, name) for name in names]
    return np.array(sorted(range(len(names)), key=keys.__getitem__), dtype=np.int64)


def deal(labels: Rows, names: Sequence[str | int], fractions: Sequence[float], seed: int, dataset: str) -> list[Rows]:
    """The samples of each split, shuffled; every split gets its fraction of each class, to the nearest sample.

    Args:
        labels: int64 (N,).
        names: of the samples, each once.
        fractions: of the splits, in sum 1.
        seed: another seed, another deal.
        dataset: whose samples they are; part of the hash.

    Returns:
        Row numbers of each split.
    """
    order, mixed = (shuffled(names, seed, dataset, purpose) for purpose in ("order", "deal"))
    bounds = np.cumsum([0.0, *fractions])
    split_of = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        own = mixed[labels[mixed] == label]
        for split, (start, stop) in enumerate(pairwise(np.rint(bounds * len(own)).astype(int))):
            split_of[own[start:stop]] = split
    return [order[split_of[order] == split] for split in range(len(fractions))]


def deal_groups(
    groups: Sequence[str], names: Sequence[str | int], fractions: Sequence[float], seed: int, dataset: str
) -> list[Rows]:
    """The samples of each split, shuffled; all samples of a group are in one split.

    Groups come in the order of a hash, and each goes to the split that lags most behind its share of the samples.
    A split of a fraction above 0 gets at least one group where there are as many groups as such splits.

    Args:
        groups: of each sample, (N,).
        names, fractions, seed, dataset: as of `deal`.
    """
    members = np.asarray(groups)
    known, counts = np.unique(members, return_counts=True)
    sizes = dict(zip(known.tolist(), counts.tolist(), strict=True))
    target = np.asarray(fractions, dtype=np.float64) * len(members)
    have = np.zeros(len(fractions))
    home: dict[str, int] = {}
    order = shuffled(known.tolist(), seed, dataset, "groups")
    for place, group in enumerate(known[order].tolist()):
        empty = np.flatnonzero((have == 0) & (target > 0))
        lacking = target - have
        if 0 < len(empty) >= len(known) - place:  # as many groups left as splits without one
            lacking[np.setdiff1d(np.arange(len(lacking)), empty)] = -np.inf
        home[group] = int(np.argmax(lacking))
        have[home[group]] += sizes[group]
    split_of = np.array([home[group] for group in members.tolist()], dtype=np.int64)
    mixed = shuffled(names, seed, dataset, "order")
    return [mixed[split_of[mixed] == split] for split in range(len(fractions))]
