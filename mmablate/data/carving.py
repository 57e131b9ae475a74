"""Splits made here where a set ships none: whole sources (videos, speakers) go one way."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from mmablate.data.clips import Clip


def carve(clips: Sequence[Clip], fraction: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Training and validation clips of "train"; all clips of one source video go the same way.

    A hash of seed and video decides, so that other clips coming or going change nothing; the fraction is met
    on average, in videos. Where that leaves either side without a video, it gets the one that is nearest to it.

    Args:
        clips: of "train".
        fraction: of the source videos, 0..1; 0 for no validation.
        seed: of the draw.
    """
    places = {}
    for clip in clips:
        digest = hashlib.sha256(f"{seed}:{clip.group}".encode("utf-8", "surrogateescape")).digest()
        places[clip.group] = int.from_bytes(digest[:6], "big") / 2**48
    chosen = {group for group, place in places.items() if place < fraction}
    if fraction > 0 and len(places) > 1:
        order = sorted(places, key=lambda group: places[group])
        chosen = (chosen | {order[0]}) - ({order[-1]} if len(chosen) == len(places) else set())
    return [c for c in clips if c.group not in chosen], [c for c in clips if c.group in chosen]


def deal_speakers(speakers: Collection[str], val: float, test: float, seed: int) -> dict[str, str]:
    """Speaker -> "train", "val" or "test"; nobody of one split is in another.

    Speakers are ordered by a hash of seed and name, so that one's place does not depend on which others there are;
    test takes the first, validation the next, training the rest. With few speakers their number is met exactly,
    where `carve` would meet it on average.

    Args:
        speakers: names.
        val: share of those who do not test, 0..1, at least one of them; 0 for no validation.
        test: share of all, 0..1, at least one.
        seed: of the draw.

    Raises:
        ValueError: nobody would be left to train.
    """
    order = sorted(speakers, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    n_test = max(1, round(test * len(order)))
    n_val = max(1, round(val * (len(order) - n_test))) if val > 0 else 0
    if len(order) < n_test + n_val + 1:
        wanted = f"{n_test} to test, {n_val} to validate and at least one to train"
        raise ValueError(f"expected speakers for each split ({wanted}), found {len(order)} in all")
    splits = ["test"] * n_test + ["val"] * n_val
    return {name: splits[i] if i < len(splits) else "train" for i, name in enumerate(order)}
