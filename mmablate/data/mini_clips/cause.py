"""What makes a clip: the numbers that decide its class, and which of them each modality tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SEEN = 8
"""Numbers that each modality tells."""
TRIES = 64
GROUP_SHIFT, GROUP_STYLE, CLIP_SPREAD = 0.4, 0.6, 0.8
"""Standard deviations, in the unit of the classes' +-1: of a group, of a group in one class, of a clip."""


def stream(*key: int) -> np.random.Generator:
    """A source of random numbers of its own for each key."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


@dataclass(frozen=True)
class Cause:
    """The classes as corners of a cube.

    Attributes:
        corners: (classes, numbers), each -1 or 1.
        shared: how many of the first numbers both modalities tell.
    """

    corners: Floats
    shared: int

    @classmethod
    def draw(cls, classes: int, shared: float, seed: int) -> Cause:
        """Corners drawn so that in neither modality two classes lie close together.

        Args:
            classes: how many, at least 2.
            shared: share of what one modality tells that the other tells too, 0..1; rounded to numbers.
        """
        common = round(shared * SEEN)
        drawn = stream(seed, 0)
        best: tuple[float, Floats] | None = None
        for _ in range(TRIES):
            corners = drawn.choice([-1.0, 1.0], size=(classes, 2 * SEEN - common))
            made = cls(corners, common)
            nearest = min(_nearest(corners[:, seen]) for seen in made.views())
            if best is None or nearest > best[0]:
                best = nearest, corners
        assert best is not None
        return cls(best[1], common)

    def views(self) -> tuple[slice | list[int], slice | list[int]]:
        """Which numbers sound and picture tell; the common ones come first in both."""
        common = list(range(self.shared))
        own = SEEN - self.shared
        sound = common + list(range(self.shared, self.shared + own))
        picture = common + list(range(self.shared + own, self.shared + 2 * own))
        return sound, picture

    def state(
        self, label: int, key: tuple[int, ...], group: int, difficulty: float, apart: float
    ) -> tuple[Floats, Floats]:
        """What sound and picture tell of one clip, (SEEN,) each.

        Args:
            label: class.
            key: seed of the set and what is the clip's own.
            group: speaker or source video.
            difficulty: factor of the clip's spread.
            apart: factor of how groups differ.
        """
        numbers = self.corners.shape[1]
        clip = CLIP_SPREAD * difficulty * stream(*key, 1).normal(size=numbers)
        shift = GROUP_SHIFT * apart * stream(key[0], 2, group).normal(size=numbers)
        style = GROUP_STYLE * apart * stream(key[0], 3, group, label).normal(size=numbers)
        whole = self.corners[label] + clip + shift + style
        sound, picture = self.views()
        return whole[sound], whole[picture]


def _nearest(points: Floats) -> float:
    distances = np.abs(points[:, None] - points[None]).sum(axis=-1)
    return float(distances[~np.eye(len(points), dtype=bool)].min())
