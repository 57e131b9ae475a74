"""Scores of a classifier from its logits: accuracy, macro-F1, log-loss and calibration.

All are computed in float64. A logit that is NaN makes log-loss and calibration error NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmablate.metrics.segmentation import confusion_matrix

ECE_BINS = 15


def macro_f1(predicted: Tensor, labels: Tensor, n_classes: int) -> float:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN).

    Args:
        predicted: (N,) integer classes.
        labels: (N,) integer classes.
        n_classes: K >= 1.

    Returns:
        Percent, 0..100. A class that neither occurs nor is predicted is left out of the mean; one that is only
        predicted counts 0. As torchmetrics does; the set of classes can then differ between models. NaN without
        samples.

    Raises:
        ValueError: shapes differ, not integers, or a class outside 0..K-1.
    """
    counts = confusion_matrix(predicted, labels, n_classes, None)
    seen = counts.sum(0) + counts.sum(1)  # 2 TP + FP + FN
    f1 = 2 * counts.diagonal().double() / seen.double()
    return 100 * float(f1[seen > 0].mean())


def log_loss(logits: Tensor, labels: Tensor) -> float:
    """Mean negative log-probability of the true class.

    Args:
        logits: (N, K).
        labels: (N,) integer classes.

    Returns:
        Nats per sample; infinite where a true class has a logit of minus infinity.

    Raises:
        ValueError: shapes, no sample, or a class outside 0..K-1.
    """
    logits, labels = checked_logits(logits, labels)
    return float(-true_log_probability(logits, labels).mean())


def expected_calibration_error(logits: Tensor, labels: Tensor, bins: int = ECE_BINS) -> float:
    """How far confidence and accuracy of the predicted class lie apart, over bins of equal width.

    Sum over bins of (samples of the bin / N) |accuracy - mean confidence|; bin i holds the confidences in
    (i / bins, (i + 1) / bins], confidence being the largest probability.

    Args:
        logits: (N, K).
        labels: (N,) integer classes.
        bins: number of bins >= 1.

    Returns:
        Percent, 0..100. Biased upwards where samples are few: a perfectly calibrated model scores above 0, too.

    Raises:
        ValueError: as `log_loss`, or bins < 1.

    Source: Guo et al. 2017, arXiv:1706.04599, equation 3. torchmetrics puts a confidence on an edge into the bin
    above it, and confidences of exactly 1 into a bin of their own.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    logits, labels = checked_logits(logits, labels)
    confidence, predicted = torch.softmax(logits, 1).max(1)
    if bool(confidence.isnan().any()):
        return float("nan")
    place = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    surplus = (predicted == labels).double() - confidence
    # Index arithmetic instead of a scatter: on CUDA that one adds in no fixed order.
    held = place.unsqueeze(0) == torch.arange(bins, device=place.device).unsqueeze(1)
    return 100 * float((held * surplus).sum(1).abs().sum() / len(labels))


def multiclass_scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """The scores of a classifier, by the short names under which tables show them.

    Args:
        logits: (N, K); of equal logits the first class is predicted.
        labels: (N,) integer classes.

    Returns:
        ``Acc`` accuracy in percent, ``F1`` `macro_f1` in percent, ``NLL`` `log_loss` in nats, ``ECE``
        `expected_calibration_error` in percent.

    Raises:
        ValueError: shapes, no sample, or a class outside 0..K-1.
    """
    logits, labels = checked_logits(logits, labels)
    predicted = logits.argmax(1)
    return {
        "Acc": 100 * int((predicted == labels).sum()) / len(labels),
        "F1": macro_f1(predicted, labels, logits.shape[1]),
        "NLL": log_loss(logits, labels),
        "ECE": expected_calibration_error(logits, labels),
    }


def checked_logits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits in float64 and labels in int64, detached, after checking that they belong together.

    Raises:
        ValueError: not (N, K) and (N,), no sample or class, labels not integers or outside 0..K-1; names the value.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or logits.numel() == 0:
        raise ValueError(
            "logits (N, K) and labels (N,) of at least one sample expected, "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels must hold integers, got {labels.dtype}")
    labels = labels.long()
    outside = labels[(labels < 0) | (labels >= logits.shape[1])]
    if outside.numel():
        raise ValueError(f"label {int(outside[0])} is outside 0..{logits.shape[1] - 1}")
    return logits.detach().double(), labels


def true_log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """log p(true class) of each sample, (N,), from checked logits (N, K)."""
    return torch.log_softmax(logits, 1).gather(1, labels.unsqueeze(1)).squeeze(1)
