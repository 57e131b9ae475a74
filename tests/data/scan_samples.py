"""Small scans in memory for the tests of batches of 3D patches."""

from collections.abc import Sequence

import numpy as np

from mmablate.data.base import SampleInfo

MODALITIES = ("flair", "t1ce", "t1", "t2")
BACKGROUND = (-1.5, -0.75, -0.5, -2.0)


class Scans:
    """A split of 3D scans that counts what is read.

    Args:
        scans: float32 (M, H, W, Z) of each subject.
        labels: int64 (H, W, Z) of each.
        presence: bool (N, M); all there where it is not given.
    """

    def __init__(
        self, scans: Sequence[np.ndarray], labels: Sequence[np.ndarray], presence: np.ndarray | None = None
    ) -> None:
        self.scans, self.labels = list(scans), list(labels)
        self.presence = np.ones((len(self.scans), len(self.scans[0])), dtype=bool) if presence is None else presence
        self.boxes: list[tuple[int, tuple[int, int, int], tuple[int, int, int]]] = []

    def __len__(self) -> int:
        return len(self.scans)

    def size(self, index: int) -> tuple[int, int, int]:
        h, w, z = self.labels[index].shape
        return h, w, z

    def read(
        self, index: int, corner: tuple[int, int, int] = (0, 0, 0), size: tuple[int, int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        size = size or self.size(index)
        self.boxes.append((index, corner, size))
        box = tuple(slice(a, a + n) for a, n in zip(corner, size, strict=True))
        return self.scans[index][(slice(None), *box)].copy(), self.labels[index][box].copy()

    def describe(self, index: int) -> SampleInfo:
        return SampleInfo(f"subject_{index:03}")


def encoded(size: Sequence[int], subject: int, modalities: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Labels 1..3 inside a shell of background, and scans that are the background plus 10 times the label."""
    stream = np.random.default_rng(subject)
    labels = np.zeros(size, dtype=np.int64)
    labels[1:-1, 1:-1, 1:-1] = stream.integers(1, 4, [side - 2 for side in size])
    back = np.array(BACKGROUND[:modalities], dtype=np.float32)[:, None, None, None]
    return (back + 10 * labels).astype(np.float32), labels


def scans(count: int, size: Sequence[int] = (7, 6, 5), presence: np.ndarray | None = None) -> Scans:
    """So many subjects of one size; see `encoded`."""
    pairs = [encoded(size, subject) for subject in range(count)]
    return Scans([scan for scan, _ in pairs], [labels for _, labels in pairs], presence)
