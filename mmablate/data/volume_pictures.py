"""3D scans made visible: of each subject the axial slice with most tumour, and how its classes and masks are spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import VolumeData, VolumeSplit
from mmablate.data.pictures import to_rgb

MOST_COUNTED = 32
"""Subjects of a split whose voxels are counted: of a whole set all voxels would have to be read."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class ScanSlice:
    """One axial slice of a subject, as shown to people.

    Rows run along the second axis of the scan and columns along the first: of scans in the orientation of BraTS the
    front of the head is above and the subject's right on the left, as radiologists look at it.

    Attributes:
        place, depth: number of the slice from 0, and of how many.
        pictures: modality -> uint8 RGB (W, H, 3), of those that are there.
        labels: int64 (W, H).
    """

    place: int
    depth: int
    pictures: dict[str, np.ndarray]
    labels: np.ndarray

    @property
    def told(self) -> str:
        """ "slice 23 of 48"."""
        return f"slice {self.place + 1} of {self.depth}"


def fullest_slice(labels: np.ndarray) -> int:
    """The slice along the last axis with most voxels other than background; the middle one where there are none.

    Args:
        labels: integers (H, W, Z), background 0.
    """
    counts = (labels > 0).sum(axis=(0, 1))
    return int(counts.argmax()) if counts.any() else labels.shape[2] // 2


def axial(volume: np.ndarray, place: int) -> np.ndarray:
    """A slice (W, H) of a volume (H, W, Z), turned as `ScanSlice` says."""
    return np.ascontiguousarray(volume[:, :, place].T)


def padded(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A slice (h, w, ...) in the middle of one of that shape, 0 around it: outside the crop is background, too.

    Raises:
        ValueError: the slice is larger.
    """
    room = [most - own for most, own in zip(shape, picture.shape[:2], strict=True)]
    if min(room) < 0:
        raise ValueError(f"a slice of {picture.shape[:2]} does not fit into {shape}")
    around = [(free // 2, free - free // 2) for free in room]
    return np.pad(picture, around + [(0, 0)] * (picture.ndim - 2))


def shown_shape(split: VolumeSplit, indices: Sequence[int]) -> tuple[int, int]:
    """Height and width that the slices of all these subjects fit into."""
    sizes = np.array([split.size(index) for index in indices])
    return int(sizes[:, 1].max()), int(sizes[:, 0].max())


def scan_slice(data: VolumeData, split: VolumeSplit, index: int) -> ScanSlice:
    """The fullest slice of the subject at `index`; each sequence in grey between percentiles of that slice."""
    volume, labels = split.read(index)
    place = fullest_slice(labels)
    present = split.presence[index]
    pictures = {
        name: to_rgb(axial(volume[m], place)[None]) for m, name in enumerate(data.modalities) if bool(present[m])
    }
    return ScanSlice(place, labels.shape[2], pictures, axial(labels, place))


@dataclass(frozen=True)
class VolumeCounts:
    """What a set of scans holds, beyond its summary.

    Attributes:
        smallest, largest: voxels along each axis, over the subjects of all splits.
        spacing: edges of a voxel, mm.
        regions: name -> names of the classes that make it up.
        voxels: split -> voxels of each class, over the subjects counted.
        counted: split -> subjects counted, evenly spaced in it.
        subsets: split -> subset of the modalities -> subjects that have these and no others, by the files and, in
            training, by the mask list; subsets in the order of their size, all of them.
    """

    smallest: tuple[int, ...]
    largest: tuple[int, ...]
    spacing: tuple[float, float, float]
    regions: dict[str, tuple[str, ...]]
    voxels: dict[str, tuple[int, ...]]
    counted: dict[str, int]
    subsets: dict[str, dict[str, int]]

    @property
    def seen(self) -> tuple[str, ...]:
        """The subsets that occur in training."""
        return tuple(name for name, n in self.subsets["train"].items() if n)

    @property
    def unseen(self) -> tuple[str, ...]:
        """The subsets that do not."""
        return tuple(name for name, n in self.subsets["train"].items() if not n)


def count_volumes(
    data: VolumeData, *, most: int = MOST_COUNTED, progress: Progress = lambda done, total: None
) -> VolumeCounts:
    """Counts voxels and masks; reads at most `most` subjects a split, and looks up the size of all.

    Args:
        progress: hears after each subject how many are done, and of how many.

    Raises:
        ValueError: a label that is no class.
    """
    total = sum(len(split) for split in data.splits.values())
    sizes, voxels, counted = [], {}, {}
    done = 0
    for name, split in data.splits.items():
        chosen = _evenly(len(split), most)
        found = np.zeros(data.n_classes, dtype=np.int64)
        for index in range(len(split)):
            if index in chosen:
                found += _classes(split.read(index)[1], data.n_classes)
            sizes.append(split.size(index))
            done += 1
            progress(done, total)
        voxels[name], counted[name] = tuple(found.tolist()), len(chosen)
    edges = np.array(sizes)
    return VolumeCounts(
        smallest=tuple(edges.min(axis=0).tolist()),
        largest=tuple(edges.max(axis=0).tolist()),
        spacing=data.spacing,
        regions={name: tuple(data.class_names[k] for k in own) for name, own in data.regions.items()},
        voxels=voxels,
        counted=counted,
        subsets={name: subsets_of(split.presence, list(data.modalities)) for name, split in data.splits.items()},
    )


def subsets_of(presence: NDArray[np.bool_], modalities: Sequence[str]) -> dict[str, int]:
    """Subset -> subjects that have exactly its modalities, every subset but the empty one, small ones first.

    Args:
        presence: (N, M).
    """
    names = ["+".join(some) for size in range(1, len(modalities) + 1) for some in combinations(modalities, size)]
    own = Counter("+".join(np.array(modalities)[row].tolist()) for row in presence)
    return {name: own[name] for name in names}


def _evenly(n: int, most: int) -> set[int]:
    k = min(n, most)
    return {(2 * turn + 1) * n // (2 * k) for turn in range(k)}


def _classes(labels: np.ndarray, n_classes: int) -> NDArray[np.int64]:
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"labels reach from {labels.min()} to {labels.max()}, expected 0..{n_classes - 1}")
    return np.bincount(labels.ravel(), minlength=n_classes).astype(np.int64)
