"""Names of the subjects, and which sequences the training lists of the mini leave them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmablate.data.brats.masks import RATES_ORDER
from mmablate.data.brats.mini.fields import stream
from mmablate.data.brats.mini.tumour import Kind
from mmablate.data.brats.preprocessing import SEQUENCES
from mmablate.errors import DataError

HIGH = (*range(1, 260), *range(336, 370))
LOW = tuple(range(260, 336))
"""Numbers of BraTS 2020 by grade."""

COMPLETE = 3
"""Training subjects with all four sequences that a meta batch of such subjects needs."""
UNSEEN = 4
"""Of the 15 subsets, those that the list mr2468 leaves unseen at least."""
DRAWS = 20_000


@dataclass(frozen=True)
class Person:
    """A subject before it is drawn.

    Attributes:
        number: as in BraTS 2020; decides the grade, and the phantom.
        kind: of its tumour.
    """

    number: int
    kind: Kind

    @property
    def raw(self) -> str:
        """Name in the folders as downloaded."""
        return f"BraTS20_Training_{self.number:03d}"

    @property
    def name(self) -> str:
        """Name in the pre-processed layout."""
        return f"{'LG' if self.kind.low_grade else 'HG'}_{self.raw}"


def draw_people(counts: dict[str, int], seed: int) -> dict[str, list[Person]]:
    """The subjects of each split: every fifth of low grade, every second of those without enhancement.

    Raises:
        DataError: a negative number, none to train on, or more than BraTS 2020 has of a grade.
    """
    rng = stream(seed, 2)
    high, low = list(rng.permutation(HIGH)), list(rng.permutation(LOW))
    if min(counts.values()) < 0 or counts["train"] < 1:
        raise DataError(f"numbers of subjects must be at least 0, and 1 in train, got {counts}")
    wanted = sum(len(range(3, count, 5)) for count in counts.values())
    if wanted > len(low) or sum(counts.values()) - wanted > len(high):
        raise DataError(f"expected at most {len(low) * 5 - 15} subjects, as many as can have names, got {counts}")
    found: dict[str, list[Person]] = {}
    for split, count in counts.items():
        kinds = [Kind(low_grade=i % 5 == 3, enhances=i % 10 != 3) for i in range(count)]
        people = [Person(int((low if kind.low_grade else high).pop()), kind) for kind in kinds]
        found[split] = [people[i] for i in rng.permutation(count)]
    return found


def draw_masks(n: int, rates: tuple[float, float, float, float], seed: int, *, chosen: bool) -> NDArray[np.bool_]:
    """Which sequences each of n training subjects has: each drawn by its own rate, all-false rows anew.

    The published rule gives every pattern to at least one subject, so that with it no subset is unseen in training.

    Args:
        n: number of subjects.
        rates: probability of T1, T1ce, FLAIR and T2 to be missing.
        seed: same seed, same masks.
        chosen: draw until some subjects have all four sequences (`COMPLETE`; fewer for less than 24 subjects), every
            sequence has as many subjects, and, up to 40 subjects, `UNSEEN` subsets have none.

    Returns:
        (n, 4), columns flair, t1ce, t1, t2.

    Raises:
        DataError: none of many draws is so.
    """
    missing = np.array([rates[RATES_ORDER.index(name)] for name in SEQUENCES])
    for attempt in range(DRAWS):
        masks = _drawn(stream(seed, 3, attempt, *(round(10 * rate) for rate in rates)), n, missing)
        if not chosen or _fits(masks):
            return masks
    raise DataError(f"{n} training subjects: found no mask list with complete subjects at missing rates {rates}")


def _drawn(rng: np.random.Generator, n: int, missing: NDArray[np.float64]) -> NDArray[np.bool_]:
    masks = rng.random((n, 4)) >= missing
    while (empty := ~masks.any(axis=1)).any():
        masks[empty] = rng.random((int(empty.sum()), 4)) >= missing
    return masks


def _fits(masks: NDArray[np.bool_]) -> bool:
    n = len(masks)
    enough = min(COMPLETE, max(1, n // 8))
    unseen = 15 - len(np.unique(masks, axis=0))
    complete = int(masks.all(axis=1).sum())
    return complete >= enough and int(masks.sum(axis=0).min()) >= enough and (n > 40 or unseen >= UNSEEN)
