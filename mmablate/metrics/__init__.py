"""Metrics: pure functions on counts, logits and features, with thin accumulators.

Segmentation (`segmentation`), classification (`classification`), linear probes and their calibration (`probes`), and
partial information decomposition of predictions (`information`); regions of 3D scans (`volumes`).
"""

from mmablate.metrics.classification import expected_calibration_error, log_loss, macro_f1, multiclass_scores
from mmablate.metrics.information import (
    Decomposition,
    UniqueNull,
    decompose,
    decompose_predictions,
    decompose_tables,
    unique_null,
)
from mmablate.metrics.probes import LinearProbe, cross_fitted_temperature, fit_temperature
from mmablate.metrics.segmentation import (
    SegmentationMeter,
    confusion_matrix,
    iou_per_class,
    majority_mean_iou,
    mean_iou,
)
from mmablate.metrics.volumes import region_dice, region_hd95

__all__ = [
    "Decomposition",
    "LinearProbe",
    "SegmentationMeter",
    "UniqueNull",
    "confusion_matrix",
    "cross_fitted_temperature",
    "decompose",
    "decompose_predictions",
    "decompose_tables",
    "expected_calibration_error",
    "fit_temperature",
    "iou_per_class",
    "log_loss",
    "macro_f1",
    "majority_mean_iou",
    "mean_iou",
    "multiclass_scores",
    "region_dice",
    "region_hd95",
    "unique_null",
]
