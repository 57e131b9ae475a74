"""Intersection over union from integer pixel counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CLASS_SETS = ("present", "in_target", "all_zero")


def confusion_matrix(prediction: Tensor, labels: Tensor, n_classes: int, ignore_label: int | None) -> Tensor:
    """Count pixels by true and predicted class.

    Args:
        prediction: integer class map, any shape; its value does not matter where the label is void.
        labels: integer class map of the same shape.
        n_classes: K >= 1.
        ignore_label: label of void pixels, which are not counted; None where every pixel counts.

    Returns:
        (K, K) int64 on the device of `labels`; rows are the truth, columns the prediction. Matrices of
        several batches add up to the matrix of all their pixels, exactly.

    Raises:
        ValueError: shapes differ, a map is not of integers, n_classes < 1, or a counted pixel has a label
            or prediction outside 0..K-1; names the value.
    """
    if prediction.shape != labels.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and labels {tuple(labels.shape)} differ in shape")
    if n_classes < 1:
        raise ValueError(f"n_classes must be at least 1, got {n_classes}")
    for name, values in (("prediction", prediction), ("labels", labels)):
        if values.is_floating_point() or values.is_complex():
            raise ValueError(f"{name} must hold integers, got {values.dtype}")
    truth, guess = labels.flatten().long(), prediction.flatten().long()
    void = torch.zeros_like(truth, dtype=torch.bool) if ignore_label is None else truth == ignore_label
    within = (truth >= 0) & (truth < n_classes) & (guess >= 0) & (guess < n_classes)

    # Two bins more than cells, for void pixels and for impossible ones: the check is one look at the counts.
    cells = n_classes * n_classes
    place = torch.where(within, truth * n_classes + guess, cells + 1)
    counts = torch.bincount(torch.where(void, cells, place), minlength=cells + 2)
    if counts[cells + 1] > 0:
        _raise_out_of_range(truth[~void], guess[~void], n_classes)
    return counts[:cells].reshape(n_classes, n_classes)


def iou_per_class(confusion: Tensor) -> Tensor:
    """TP / (TP + FP + FN) of each class.

    Args:
        confusion: (K, K) integer counts, rows are the truth.

    Returns:
        (K,) float64, 0..1; NaN for a class that neither occurs nor is predicted.

    Raises:
        ValueError: not a square matrix of integers.
    """
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or confusion.is_floating_point():
        raise ValueError(f"(K, K) integers expected, got {confusion.dtype} {tuple(confusion.shape)}")
    hits = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - hits
    return hits.double() / union.double()


def mean_iou(confusion: Tensor, *, classes: str = "present") -> float:
    """Mean intersection over union.

    Args:
        confusion: (K, K) integer counts, rows are the truth.
        classes: which classes enter the mean:

            - ``present``: those that occur in the truth or in the prediction; one that is only predicted
              counts 0. As torchmetrics does; the set may differ between models.
            - ``in_target``: those that occur in the truth; the same set for every model.
            - ``all_zero``: all K; one that is in neither counts 0. As the released AnySeg evaluation does.

    Returns:
        Percent, 0..100; NaN where no class is left.

    Raises:
        ValueError: not a square matrix of integers, or unknown `classes`.
    """
    if classes not in CLASS_SETS:
        raise ValueError(f"classes must be one of {CLASS_SETS}, got {classes!r}")
    iou = iou_per_class(confusion)
    if classes == "all_zero":
        return 100 * float(iou.nan_to_num(nan=0.0).mean())
    counted = confusion.sum(1) > 0 if classes == "in_target" else ~iou.isnan()
    return 100 * float(iou[counted].mean())


def majority_mean_iou(label_counts: Tensor | Sequence[int], *, classes: str = "present") -> float:
    """Mean IoU of always predicting the most frequent class: the floor a model has to beat.

    Args:
        label_counts: (K,) pixels of each true class, void left out. Of equally frequent classes the first
            is predicted.
        classes: as in `mean_iou`.

    Returns:
        Percent, 0..100; NaN where there is no pixel and `classes` is not ``all_zero``.

    Raises:
        ValueError: not a vector of non-negative integers, or unknown `classes`.
    """
    counts = torch.as_tensor(label_counts)
    if counts.ndim != 1 or counts.numel() == 0 or counts.is_floating_point() or bool((counts < 0).any()):
        raise ValueError(f"label_counts must be K non-negative integers, got {label_counts}")
    confusion = torch.zeros(len(counts), len(counts), dtype=torch.int64, device=counts.device)
    confusion[:, int(counts.argmax())] = counts.long()
    return mean_iou(confusion, classes=classes)


class SegmentationMeter:
    """Sums the confusion matrices of batches.

    Args:
        n_classes: K.
        ignore_label: label of void pixels; None where every pixel counts.

    Attributes:
        confusion: (K, K) int64 counts so far, on the device of the first batch.
    """

    def __init__(self, n_classes: int, *, ignore_label: int | None) -> None:
        self.n_classes, self.ignore_label = n_classes, ignore_label
        self.confusion = torch.zeros(n_classes, n_classes, dtype=torch.int64)

    def update(self, prediction: Tensor, labels: Tensor) -> None:
        """Add a batch of class maps of equal shape; raises as `confusion_matrix` does."""
        counts = confusion_matrix(prediction, labels, self.n_classes, self.ignore_label)
        self.confusion = self.confusion.to(counts.device) + counts

    def compute(self, *, classes: str = "present") -> float:
        """`mean_iou` of everything added, in percent."""
        return mean_iou(self.confusion, classes=classes)


def _raise_out_of_range(truth: Tensor, guess: Tensor, n_classes: int) -> None:
    for name, values in (("label", truth), ("prediction", guess)):
        outside = values[(values < 0) | (values >= n_classes)]
        if outside.numel():
            found = sorted(set(outside.unique().tolist()))
            raise ValueError(f"{name} {found[0]} is outside 0..{n_classes - 1} (all such: {found[:10]})")
