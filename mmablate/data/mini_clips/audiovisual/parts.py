"""Which part of the class sound tells, which the picture, which both, and which only the two together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from mmablate.data.mini_clips.cause import SEEN, Floats, stream

Group = tuple[int, int, int]
DRAWS = 4_000


@dataclass(frozen=True)
class Parts:
    """Classes in groups; class = (group, i of a, j of v, k of s), numbered in this order.

    Sound shows (group, i, e) and the picture (group, j, f), with e uniform over the s numbers, whatever the class,
    and f = (k - e) mod s. So the group is told by both, i by sound alone, j by the picture alone, and k by neither
    alone: it is the exclusive or of the two where s is 2.

    Where classes are equally frequent and nothing is noisy, the partial information decomposition (Bertschinger et al.
    2014) is exact: independent parts add up within a group, and the group is a function of class, sound and picture
    alike, so that the decomposition is the mean over groups. In bits, with p the share of a group's classes:
    shared H(p), sound alone sum p log2 a, picture alone sum p log2 v, both together sum p log2 s.

    Attributes:
        groups: (a, v, s) each.
    """

    groups: tuple[Group, ...]

    @property
    def classes(self) -> list[tuple[int, int, int, int]]:
        """(group, i, j, k) of every class."""
        return [
            (g, i, j, k)
            for g, (a, v, s) in enumerate(self.groups)
            for i in range(a)
            for j in range(v)
            for k in range(s)
        ]

    def heard(self) -> list[tuple[int, int, int]]:
        """What sound can show: (group, i, e)."""
        return [(g, i, e) for g, (a, _, s) in enumerate(self.groups) for i in range(a) for e in range(s)]

    def seen(self) -> list[tuple[int, int, int]]:
        """What the picture can show: (group, j, f)."""
        return [(g, j, f) for g, (_, v, s) in enumerate(self.groups) for j in range(v) for f in range(s)]

    def draw(self, label: int, own: np.random.Generator) -> tuple[int, int]:
        """What sound and picture of one clip show, as numbers of `heard` and `seen`."""
        g, i, j, k = self.classes[label]
        s = self.groups[g][2]
        e = int(own.integers(s))
        return self.heard().index((g, i, e)), self.seen().index((g, j, (k - e) % s))

    def table(self) -> Floats:
        """p(class, heard, seen) of equally frequent classes."""
        heard, seen = self.heard(), self.seen()
        found = np.zeros((len(self.classes), len(heard), len(seen)))
        for label, (g, i, j, k) in enumerate(self.classes):
            s = self.groups[g][2]
            for e in range(s):
                found[label, heard.index((g, i, e)), seen.index((g, j, (k - e) % s))] = 1 / (s * len(self.classes))
        return found

    def bits(self) -> dict[str, float]:
        """The parts of the class's information, without noise."""
        shares = [a * v * s / len(self.classes) for a, v, s in self.groups]
        told = {
            "shared": sum(p * log2(1 / p) for p in shares),
            "audio_unique": sum(p * log2(a) for p, (a, _, _) in zip(shares, self.groups, strict=True)),
            "visual_unique": sum(p * log2(v) for p, (_, v, _) in zip(shares, self.groups, strict=True)),
            "synergy": sum(p * log2(s) for p, (_, _, s) in zip(shares, self.groups, strict=True)),
        }
        return {name: round(value, 6) + 0.0 for name, value in told.items()}


def codes(number: int, seed: int, modality: int) -> Floats:
    """Corners of a cube far from each other, one for each thing that can be shown, (number, SEEN) of -1 and 1.

    Each next corner is one of those farthest from all before it, so that up to 16 differ in half of their numbers or
    more; the seed turns the cube.

    Raises:
        ValueError: more than the cube has corners.
    """
    corners = np.arange(2**SEEN)[:, None] >> np.arange(SEEN) & 1
    if number > len(corners):
        raise ValueError(f"expected at most {len(corners)} things to show, found {number}")
    chosen = [0]
    nearest = corners.sum(axis=1)
    while len(chosen) < number:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, (corners != corners[chosen[-1]]).sum(axis=1))
    drawn = stream(seed, 0, modality)
    turned = corners[drawn.permutation(chosen)][:, drawn.permutation(SEEN)] ^ drawn.integers(0, 2, size=SEEN)
    return np.asarray(1.0 - 2.0 * turned)


def limits(parts: Parts, shown: tuple[Floats, Floats], spreads: tuple[float, float], seed: int) -> dict[str, object]:
    """What can be known of the class from the noisy numbers that sound and picture are drawn from.

    Accuracy in percent of the best guess, and information in bits, by `DRAWS` draws; sound and picture themselves tell
    a little less. Spreads of 0 are taken as very small ones.

    Args:
        parts: of the set.
        shown: codes times strength, of sound and picture.
        spreads: standard deviations around them.
    """
    table = parts.table()
    drawn = stream(seed, 8)
    labels = np.arange(DRAWS) % len(table)
    content = np.array([parts.draw(int(label), drawn) for label in labels])
    weights = []
    for which, (code, spread) in enumerate(zip(shown, spreads, strict=True)):
        spread = max(spread, 1e-3)
        told = code[content[:, which]] + spread * drawn.normal(size=(DRAWS, SEEN))
        off = -0.5 * np.square((told[:, None] - code[None]) / spread).sum(axis=-1)
        weights.append(np.exp(off - off.max(axis=1, keepdims=True)))
    heard, seen = weights
    scores = {
        "audio": np.einsum("nh,yhs->ny", heard, table),
        "visual": np.einsum("ns,yhs->ny", seen, table),
        "both": np.einsum("nh,ns,yhs->ny", heard, seen, table),
    }
    accuracy, bits = {}, {}
    for name, found in scores.items():
        chance = found[np.arange(DRAWS), labels] / found.sum(axis=1)
        tied = found == found.max(axis=1, keepdims=True)
        accuracy[name] = round(100 * float((tied[np.arange(DRAWS), labels] / tied.sum(axis=1)).mean()), 1)
        bits[name] = round(log2(len(table)) + float(np.log2(np.maximum(chance, 1e-300)).mean()), 3)
    return {"accuracy": accuracy, "bits": bits}


def as_parts(groups: Sequence[Sequence[int]]) -> Parts:
    """Of an option of a recipe."""
    return Parts(tuple((int(a), int(v), int(s)) for a, v, s in groups))
