"""Slices of 3D scans for people."""

from __future__ import annotations

import numpy as np

from mmablate.data.base import SampleInfo
from mmablate.data.pictures import scan_pictures


class Scan:
    """One subject of two modalities, the second of which is not there."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.inputs = np.zeros((2, *labels.shape), dtype=np.float32)
        self.inputs[0] = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)

    def __len__(self) -> int:
        return 1

    @property
    def presence(self) -> np.ndarray:
        return np.array([[True, False]])

    def size(self, index: int) -> tuple[int, int, int]:
        first, second, third = self.labels.shape
        return first, second, third

    def read(
        self, index: int, corner: tuple[int, int, int] = (0, 0, 0), size: tuple[int, int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.inputs, self.labels

    def describe(self, index: int) -> SampleInfo:
        return SampleInfo("a")


def test_the_slice_with_most_foreground_is_shown_first_axis_across() -> None:
    labels = np.zeros((5, 4, 6), dtype=np.int64)
    labels[1:3, 2, 4], labels[0, 0, 1] = 3, 1
    pictures, shown = scan_pictures(Scan(labels), 0)
    np.testing.assert_array_equal(shown, labels[:, :, 4].T)
    assert [picture.shape for picture in pictures] == [(4, 5, 3)] * 2
    assert pictures[0].dtype == np.uint8
    assert pictures[0][0, 0, 0] < pictures[0][0, 1, 0] < pictures[0][0, 4, 0]  # grows along the first axis
    assert pictures[0][0, 0, 0] <= pictures[0][1, 0, 0] < pictures[0][0, 1, 0]  # and less along the second
    assert not pictures[1].any()


def test_without_foreground_it_is_the_middle_one() -> None:
    labels = np.zeros((3, 3, 7), dtype=np.int64)
    pictures, shown = scan_pictures(Scan(labels), 0)
    assert not shown.any()
    assert pictures[0].shape == (3, 3, 3)
