"""Which scenes the page of a study shows, and what they look like."""

from __future__ import annotations

import numpy as np

from mmablate.data.base import SegmentationData, shown_stride
from mmablate.data.pictures import class_colours, sample_info, sample_pictures, spread
from mmablate.data.summary import labels_of
from mmablate.results.shown import Samples


def choose_samples(data: SegmentationData, number: int) -> Samples | None:
    """`number` scenes of the scored split, spread over its conditions; None for no scenes."""
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
