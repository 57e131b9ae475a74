"""Folders of range images: LiDAR sweeps, or any other picture whose channels fall into modalities.

A folder holds `train/*.npy`, `val/*.npy` and, where there is one, `test/*.npy`. Every file is one sample,
a real-valued array (H, W, C) with the labels in one of its channels. Which channels make up which
modality, where the labels stand and what marks a pixel without a return is the caller's to say, by the
fields of a `RangeLayout`.

Files are never unpickled, and nothing is written: faults are found from the headers, and from the values
of the files that are read anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import ArraySplit, Batch, Moments, SegmentationData, Split
from mmablate.data.range_layout import (
    Folder,
    RangeLayout,
    layout_problems,
    load_values,
    read_folder,
    value_problems,
)
from mmablate.errors import DataError

GIB = 1 << 30


class FileSplit:
    """A split whose samples are read from their files each time they are asked for.

    Args:
        files: the samples' files, checked, all of one shape.
        layout: what their channels mean.
        mean, std: by which the input channels are standardised, (C,) in the order of `layout.inputs`.
    """

    def __init__(
        self, files: Sequence[Path], layout: RangeLayout, mean: NDArray[np.float64], std: NDArray[np.float64]
    ) -> None:
        self.files = tuple(files)
        self._layout, self._mean, self._std = layout, mean, std
        self._whole = load_values(self.files[0]).shape
        height, columns, _ = self._whole
        kept = len(range(0, columns, layout.column_stride))
        self._shape = height, layout.width(columns)
        self._windows = kept // self._shape[1]

    def __len__(self) -> int:
        return len(self.files) * self._windows

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every sample, in pixels."""
        return self._shape

    def _values(self, index: int) -> np.ndarray:
        """The values of one sample, (H, W, C), after a check of them."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of a split of {len(self)}")
        which, window = divmod(index % len(self), self._windows)
        start = window * self._shape[1]
        values = load_values(self.files[which])
        if values.shape != self._whole:
            raise DataError(f"{self.files[which]}: expected shape {self._whole}, found {values.shape}")
        values = values[:, :: self._layout.column_stride][:, start : start + self._shape[1]]
        problems = value_problems(self.files[which], values, self._layout)
        if problems:
            raise DataError(problems)
        return values

    def labels_of(self, indices: Sequence[int]) -> np.ndarray:
        """Labels int64 (B, H, W). Raises DataError where a file's values are at fault."""
        labels = np.empty((len(indices), *self._shape), dtype=np.int64)
        for i, index in enumerate(indices):
            labels[i] = self._labels(self._values(int(index)))
        return labels

    def _labels(self, values: np.ndarray) -> NDArray[np.int64]:
        labels = values[..., self._layout.label_channel]
        if self._layout.ignore_no_return:
            labels = np.where(self._layout.missing(values), self._layout.ignore_label, labels)
        return labels.astype(np.int64)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`; see `Split.batch`. Raises DataError where values are at fault."""
        stacked = np.empty((len(indices), len(self._mean), *self._shape), dtype=np.float32)
        labels = np.empty((len(indices), *self._shape), dtype=np.int64)
        for i, index in enumerate(indices):
            values = self._values(int(index))
            inputs = (np.asarray(values[..., self._layout.inputs], dtype=np.float64) - self._mean) / self._std
            inputs[self._layout.missing(values)] = 0.0
            stacked[i] = np.moveaxis(inputs, -1, 0)
            labels[i] = self._labels(values)
        ends = np.cumsum([len(channels) for channels in self._layout.modalities.values()])
        parts = np.split(stacked, ends[:-1], axis=1)
        return {
            name: np.ascontiguousarray(part) for name, part in zip(self._layout.modalities, parts, strict=True)
        }, labels


def _sampled(files: Sequence[Path], number: int) -> list[Path]:
    """At most `number` of the files, evenly spaced."""
    if len(files) <= number:
        return list(files)
    return [files[i] for i in np.linspace(0, len(files) - 1, number).round().astype(int)]


def _scan(checked: Iterable[Path], counted: Sequence[Path], layout: RangeLayout) -> tuple[Moments, list[str]]:
    """Reads files once: their value problems, and the moments of the inputs of those counted."""
    moments = Moments(len(layout.inputs))
    problems: list[str] = []
    statistics = set(counted)
    for path in checked:
        values = load_values(path)[:, :: layout.column_stride]
        found = value_problems(path, values, layout)
        problems.extend(found)
        if path in statistics and not found:
            moments.add(values[~layout.missing(values)][:, layout.inputs])
    if counted and not moments.count and not problems:
        problems.append(f"{counted[0].parent}: expected pixels with a return to standardise by, found none")
    return moments, problems


def check_range_image(
    root: Path,
    *,
    modalities: Mapping[str, Sequence[int]],
    label_channel: int,
    ignore_label: int = 255,
    class_names: Sequence[str] | None = None,
    n_classes: int | None = None,
    no_return: Mapping[str, float] | None = None,
    ignore_no_return: bool = False,
    columns: int | None = None,
    column_stride: int = 1,
    thorough: bool = False,
) -> list[str]:
    """All faults of a folder of range images at once, one line each; [] where all is well.

    Args:
        root: folder with train/, val/ and perhaps test/; the others are fields of `RangeLayout`.
        thorough: also read the values of every file whose header is sound; otherwise headers only.

    Returns:
        Lines that name the path, what was expected and what was found.
    """
    layout = RangeLayout(
        modalities,
        label_channel,
        ignore_label,
        class_names,
        n_classes,
        no_return,
        ignore_no_return,
        columns,
        column_stride,
    )
    folder = read_folder(Path(root), layout)
    if not thorough or layout_problems(layout):
        return folder.problems
    readable = {split: folder.readable(split, layout) for split in folder.files}
    checked = [path for paths in readable.values() for path in paths]
    return folder.problems + _scan(checked, readable.get("train", []), layout)[1]


def open_range_image(
    root: Path,
    *,
    modalities: Mapping[str, Sequence[int]],
    label_channel: int,
    ignore_label: int = 255,
    class_names: Sequence[str] | None = None,
    n_classes: int | None = None,
    no_return: Mapping[str, float] | None = None,
    ignore_no_return: bool = False,
    columns: int | None = None,
    column_stride: int = 1,
    cache_bytes: int = GIB,
    stats_samples: int = 1000,
    name: str = "range_image",
    synthetic: bool = False,
    attribution: str | None = None,
) -> SegmentationData:
    """A folder of range images as a dataset.

    Inputs are standardised per channel by the training pixels with a return. Headers of all files are
    checked at once; values are checked here for every split that is kept in memory and for the files
    read for the statistics, and otherwise when a sample is read.

    Args:
        root: folder with train/, val/ and perhaps test/; the others are fields of `RangeLayout`, and:
        cache_bytes: a split that takes at most so many bytes when decoded (float32 inputs, int64 labels)
            is kept in memory; a larger one is read from its files, sample by sample.
        stats_samples: at most so many training files, evenly spaced, give mean and deviation.
        name, synthetic, attribution: as in `SegmentationData`.

    Raises:
        DataError: all faults found, one line each, as `check_range_image` words them.
    """
    layout = RangeLayout(
        modalities,
        label_channel,
        ignore_label,
        class_names,
        n_classes,
        no_return,
        ignore_no_return,
        columns,
        column_stride,
    )
    folder = read_folder(Path(root), layout)
    if layout_problems(layout):
        raise DataError(folder.problems)
    splits = _open_splits(folder, layout, cache_bytes, stats_samples)
    return SegmentationData(
        name=name,
        modalities={modality: len(channels) for modality, channels in modalities.items()},
        class_names=layout.names,
        ignore_label=ignore_label,
        splits=splits,
        synthetic=synthetic,
        attribution=attribution,
        content=tuple(path for paths in folder.files.values() for path in paths),
    )


def _open_splits(folder: Folder, layout: RangeLayout, cache_bytes: int, stats_samples: int) -> dict[str, Split]:
    """Reads what must be read at the start; a DataError with all that is wrong with it."""
    readable = {split: folder.readable(split, layout) for split in folder.files}
    kept = {split for split in folder.files if folder.nbytes(split, layout) <= cache_bytes}
    counted = _sampled(readable.get("train", []), stats_samples)
    sampled = set(counted)
    checked = [path for split, paths in readable.items() for path in paths if split in kept or path in sampled]
    moments, problems = _scan(checked, counted, layout)
    if folder.problems or problems:
        raise DataError(folder.problems + problems)
    mean, std = moments.mean_std()
    splits: dict[str, Split] = {}
    for split, paths in folder.files.items():
        source = FileSplit(paths, layout, mean, std)
        splits[split] = ArraySplit(*source.batch(range(len(source)))) if split in kept else source
    return splits
