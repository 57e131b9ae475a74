"""What a model of 3D scans predicts in the slices that people are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mmablate.data.base import VolumeData, VolumeSplit, shown_stride
from mmablate.data.volume_pictures import axial, fullest_slice, padded, shown_shape
from mmablate.models.volumes import IncompleteSegmentor
from mmablate.training.volume_scores import Precision, Subsets, Windows, subject_maps

MOST_SUBSETS = 5
NONE = -1
"""A map of it throughout stands for a subject that lacks a modality of the subset."""


def shown_subsets(subsets: Subsets, modalities: int) -> dict[str, tuple[str, ...]]:
    """Of the subsets that are evaluated, all modalities and each alone; where these are not among them, the first.

    Args:
        subsets: name -> modalities.
        modalities: number M of all of them.
    """
    whole = {name: tuple(some) for name, some in subsets.items() if len(some) == modalities}
    chosen = whole | {name: tuple(some) for name, some in subsets.items() if len(some) == 1}
    others = {name: tuple(some) for name, some in subsets.items()}
    return dict(list((chosen or others).items())[:MOST_SUBSETS])


def slice_predictions(
    model: IncompleteSegmentor,
    split: VolumeSplit,
    data: VolumeData,
    indices: Sequence[int],
    subsets: Subsets,
    windows: Windows,
    *,
    device: torch.device,
    precision: Precision,
) -> dict[str, np.ndarray]:
    """The class maps of the fullest slices of some subjects, as `mmablate.execution.samples` shows their labels.

    Each scan is segmented whole, as it is for its score.

    Args:
        model: on the device.
        indices: of the subjects in the split, n of them.
        subsets: name -> modalities.
        windows, device, precision: as of `subject_maps`.

    Returns:
        Subset -> int16 (n, h, w), `NONE` throughout for a subject without all of its modalities.
    """
    shape = shown_shape(split, indices)
    stride = shown_stride(shape)
    small = tuple(-(-edge // stride) for edge in shape)
    found = {name: np.full((len(indices), *small), NONE, dtype=np.int16) for name in subsets}
    for row, index in enumerate(indices):
        volume, labels = split.read(index)
        scan = {name: volume[m] for m, name in enumerate(data.modalities) if bool(split.presence[index, m])}
        there = {name: some for name, some in subsets.items() if set(some) <= set(scan)}
        if not there:
            continue
        place = fullest_slice(labels)
        for name, classes in subject_maps(model, scan, there, windows, device=device, precision=precision):
            own = axial(classes.cpu().numpy().astype(np.int16), place)
            found[name][row] = padded(own, shape)[::stride, ::stride]
    return found
