"""Metrics: pure functions on counts, logits and features, with thin accumulators.

Segmentation (`segmentation`), classification (`classification`), linear probes and their calibration (`probes`), and
partial information decomposition of predictions (`information`).
"""

from mmablate.metrics.classification import expected_calibration_error, log_loss, macro_f1, multiclass_scores
from mmablate.metrics.segmentation import (
    SegmentationMeter,
    confusion_matrix,
    iou_per_class,
    majority_mean_iou,
    mean_iou,
)

__all__ = [
    "SegmentationMeter",
    "confusion_matrix",
    "expected_calibration_error",
    "iou_per_class",
    "log_loss",
    "macro_f1",
    "majority_mean_iou",
    "mean_iou",
    "multiclass_scores",
]
