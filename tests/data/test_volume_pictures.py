"""Slices of scans, and what `data info` counts of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.data.base import SampleInfo, VolumeData
from mmablate.data.pictures import spread
from mmablate.data.volume_pictures import (
    axial,
    count_volumes,
    fullest_slice,
    padded,
    scan_slice,
    shown_shape,
    subsets_of,
)

SIZES = ((6, 5, 4), (5, 7, 6), (4, 4, 5))


class Scans:
    """Three subjects of unlike size; the last one lacks modality b."""

    def __init__(self) -> None:
        stream = np.random.default_rng(0)
        self.scans = [stream.normal(size=(2, *size)).astype(np.float32) for size in SIZES]
        self.labels = [stream.integers(0, 3, size) for size in SIZES]
        self.scans[2][1] = 0
        self.reads: list[int] = []

    def __len__(self) -> int:
        return len(SIZES)

    @property
    def presence(self) -> np.ndarray:
        return np.array([[True, True], [True, True], [True, False]])

    def size(self, index: int) -> tuple[int, int, int]:
        return SIZES[index]

    def read(
        self, index: int, corner: tuple[int, int, int] = (0, 0, 0), size: tuple[int, int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        self.reads.append(index)
        return self.scans[index].copy(), self.labels[index].copy()

    def describe(self, index: int) -> SampleInfo:
        return SampleInfo(f"s{index}", {"grade": "LGG" if index == 1 else "HGG"})


def data() -> VolumeData:
    return VolumeData(
        name="made", modalities={"a": 1, "b": 1}, class_names=("none", "one", "two"),
        regions={"WT": (1, 2), "ET": (2,)}, spacing=(1.0, 1.0, 2.0),
        splits={"train": Scans(), "test": Scans()}, synthetic=True, attribution=None, content=(),
    )  # fmt: skip


def test_the_fullest_slice_has_most_foreground_and_is_the_middle_one_without_any() -> None:
    labels = np.zeros((3, 4, 7), dtype=np.int64)
    assert fullest_slice(labels) == 3
    labels[0, :2, 1] = 1
    labels[1, :3, 5] = 2
    assert fullest_slice(labels) == 5


def test_columns_of_a_slice_run_along_the_first_axis() -> None:
    volume = np.arange(24).reshape(2, 3, 4)
    shown = axial(volume, 1)
    assert shown.shape == (3, 2)
    assert all(shown[y, x] == volume[x, y, 1] for y in range(3) for x in range(2))


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 5)] * 2), st.tuples(*[st.integers(0, 4)] * 2), st.booleans())
def test_a_padded_slice_is_in_the_middle_of_nothing(own: tuple[int, int], more: tuple[int, int], rgb: bool) -> None:
    picture = np.ones((*own, 3) if rgb else own, dtype=np.uint8)
    shape = own[0] + more[0], own[1] + more[1]
    found = padded(picture, shape)
    assert found.shape[:2] == shape
    assert found.sum() == picture.sum()
    rows, columns = (np.flatnonzero(found.reshape(*shape, -1).any(axis=(1 - axis, 2))) for axis in (0, 1))
    for axis, places in enumerate((rows, columns)):
        assert abs(places[0] - (shape[axis] - 1 - places[-1])) <= 1


def test_a_slice_that_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        padded(np.zeros((4, 4)), (4, 3))


def test_a_slice_shows_the_modalities_that_are_there() -> None:
    made = data()
    split = made.splits["test"]
    found = [scan_slice(made, split, index) for index in range(3)]
    assert [list(own.pictures) for own in found] == [["a", "b"], ["a", "b"], ["a"]]
    assert found[1].pictures["a"].shape == (7, 5, 3)
    assert found[1].labels.shape == (7, 5)
    assert found[1].told == f"slice {found[1].place + 1} of 6"
    assert shown_shape(split, [0, 1]) == (7, 6)
    assert spread(split, 2) == [1, 2]  # one of each grade


def test_voxels_are_those_of_the_labels() -> None:
    made = data()
    heard: list[tuple[int, int]] = []
    found = count_volumes(made, progress=lambda done, total: heard.append((done, total)))
    own = np.concatenate([labels.ravel() for labels in made.splits["train"].labels])  # type: ignore[attr-defined]
    assert found.voxels["train"] == tuple((own == k).sum() for k in range(3))
    assert found.counted == {"train": 3, "test": 3}
    assert (found.smallest, found.largest) == ((4, 4, 4), (6, 7, 6))
    assert found.regions == {"WT": ("one", "two"), "ET": ("two",)}
    assert found.subsets["train"] == {"a": 1, "b": 0, "a+b": 2}
    assert (found.seen, found.unseen) == (("a", "a+b"), ("b",))
    assert heard == [(done, 6) for done in range(1, 7)]


def test_of_many_subjects_some_are_read() -> None:
    made = data()
    found = count_volumes(made, most=1)
    assert found.counted == {"train": 1, "test": 1}
    assert made.splits["train"].reads == [1]  # type: ignore[attr-defined]


def test_a_label_that_is_no_class_is_told() -> None:
    with pytest.raises(ValueError, match=r"labels reach from 0 to 2, expected 0\.\.1"):
        count_volumes(dataclasses.replace(data(), class_names=("none", "one")))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3).filter(any), max_size=9))
def test_every_subject_has_one_subset(rows: list[list[bool]]) -> None:
    found = subsets_of(np.array(rows, dtype=bool).reshape(-1, 3), ["x", "y", "z"])
    assert len(found) == 7
    assert sum(found.values()) == len(rows)
    for row in rows:
        assert found["+".join(name for name, there in zip("xyz", row, strict=True) if there)] == rows.count(row)
