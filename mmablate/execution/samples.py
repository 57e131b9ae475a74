"""Which scenes the page of a study shows, and what they look like."""

from __future__ import annotations

import numpy as np

from mmablate.data.base import AnyData, ClassificationData, VolumeData, shown_stride
from mmablate.data.pictures import class_colours, sample_info, sample_pictures, spread
from mmablate.data.summary import labels_of
from mmablate.data.volume_pictures import padded, scan_slice, shown_shape
from mmablate.results.shown import Samples


def choose_samples(data: AnyData, number: int) -> Samples | None:
    """`number` scenes of the scored split, spread over its conditions; None for no scenes, or whole samples.

    Of 3D scans, one slice each.
    """
    if isinstance(data, ClassificationData):
        return None
    if isinstance(data, VolumeData):
        return _slices(data, number)
    split = data.splits[data.scored_split]
    indices = spread(split, number) if number else []
    if not indices:
        return None
    stride = shown_stride(split.shape)
    pictures = [sample_pictures(split, index) for index in indices]
    infos = [sample_info(split, index) for index in indices]
    return Samples(
        split=data.scored_split,
        indices=np.asarray(indices, dtype=np.int64),
        labels=labels_of(split, indices)[:, ::stride, ::stride],
        pictures={name: np.stack([shown[name][::stride, ::stride] for shown in pictures]) for name in data.modalities},
        ids=tuple(info.id for info in infos),
        conditions=tuple(dict(info.conditions) for info in infos),
        class_names=data.class_names,
        colours=tuple(class_colours(data)),
        ignore_label=data.ignore_label,
        synthetic=data.synthetic,
    )


def _slices(data: VolumeData, number: int) -> Samples | None:
    """The slice with most tumour of some subjects; black where a subject lacks a sequence."""
    split = data.splits[data.scored_split]
    indices = spread(split, number)
    if not indices:
        return None
    shape = shown_shape(split, indices)
    stride = shown_stride(shape)
    infos = [sample_info(split, index) for index in indices]
    slices = [scan_slice(data, split, index) for index in indices]
    blank = np.zeros((*shape, 3), dtype=np.uint8)
    pictures = {
        name: np.stack([padded(own.pictures[name], shape) if name in own.pictures else blank for own in slices])
        for name in data.modalities
    }
    return Samples(
        split=data.scored_split,
        indices=np.asarray(indices, dtype=np.int64),
        labels=np.stack([padded(own.labels, shape) for own in slices])[:, ::stride, ::stride],
        pictures={name: shown[:, ::stride, ::stride] for name, shown in pictures.items()},
        ids=tuple(info.id for info in infos),
        conditions=tuple({**i.conditions, "slice": own.told} for i, own in zip(infos, slices, strict=True)),
        class_names=data.class_names,
        colours=tuple(class_colours(data)),
        ignore_label=data.ignore_label,
        synthetic=data.synthetic,
        scans=True,
    )
