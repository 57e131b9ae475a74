"""Splits by speaker: no actor of one split is heard or seen in another."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from itertools import chain, zip_longest

Choice = int | Sequence[int] | None
"""How many actors, or which; None: a share of them, at least one."""
SHARES = {"val": 1 / 6, "test": 1 / 5}  # 4 and 5 of 24


def deal_actors(actors: Collection[int], val: Choice, test: Choice, seed: int) -> dict[int, str]:
    """Actor -> "train", "val" or "test".

    Numbers are drawn: actors in an order by a hash of seed and actor, women and men in turn as far as there are
    both; test takes the first, val the next, train the rest. An actor's place in the order does not depend on
    which others there are.

    Args:
        actors: that have clips; even numbers are women.
        val, test: how many, or which ones; None for a sixth and a fifth.
        seed: of the draw.

    Raises:
        ValueError: a split would be empty, an actor is named twice, or one is named who has no clips.
    """
    val, test = (
        max(1, round(SHARES[split] * len(actors))) if choice is None else choice
        for split, choice in (("val", val), ("test", test))
    )
    chosen: dict[int, str] = {}
    for split, choice in (("test", test), ("val", val)):
        for actor in () if isinstance(choice, int) else choice:
            if actor not in actors:
                raise ValueError(f"{split}_actors: expected actors with clips, found {actor}, who has none")
            if actor in chosen:
                raise ValueError(f"{split}_actors: expected each actor once, found {actor} twice")
            chosen[actor] = split
    free = [actor for actor in _order(actors, seed) if actor not in chosen]
    for split, choice in (("test", test), ("val", val)):
        if isinstance(choice, int):
            chosen.update(dict.fromkeys(free[:choice], split))
            free = free[choice:]
    chosen.update(dict.fromkeys(free, "train"))
    if not free or any(split not in chosen.values() for split in ("val", "test")) or _short(chosen, val, test):
        wanted = " and ".join(f"{_count(choice)} for {split}" for split, choice in (("val", val), ("test", test)))
        raise ValueError(f"expected speakers for each split ({wanted}, others to train), found {len(actors)} in all")
    return chosen


def _count(choice: int | Sequence[int]) -> int:
    return choice if isinstance(choice, int) else len(choice)


def _short(chosen: dict[int, str], val: int | Sequence[int], test: int | Sequence[int]) -> bool:
    found = list(chosen.values())
    return found.count("val") < _count(val) or found.count("test") < _count(test)


def _order(actors: Collection[int], seed: int) -> list[int]:
    def place(actor: int) -> bytes:
        return hashlib.sha256(f"{seed}:{actor}".encode()).digest()

    women, men = (sorted((a for a in actors if a % 2 == odd), key=place) for odd in (0, 1))
    return [actor for actor in chain.from_iterable(zip_longest(women, men)) if actor is not None]
