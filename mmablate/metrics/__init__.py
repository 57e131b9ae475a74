"""Metrics: pure functions on integer counts, with a thin accumulator."""

from mmablate.metrics.segmentation import (
    SegmentationMeter,
    confusion_matrix,
    iou_per_class,
    majority_mean_iou,
    mean_iou,
)

__all__ = ["SegmentationMeter", "confusion_matrix", "iou_per_class", "majority_mean_iou", "mean_iou"]
