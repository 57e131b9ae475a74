"""Which names say that lower is better."""

from __future__ import annotations

import pytest

from mmablate.analysis.audit.words import direction
from mmablate.analysis.directions import lower_is_better

LOWER = [
    "loss", "val_nll", "F1_errors", "miss_rate", "HD95", "hd95_mm", "fpr95", "FPR@95", "test_errors", "brier",
    "lpips", "eer", "assd", "asd", "latency", "forgetting", "niqe", "energy", "valLoss", "RMSELog", "mCE", "minADE",
    "absRel", "AbsRel", "abs_rel", "rFID", "Fehlerrate", "metrics.val/loss", "train_time", "top1err",
    "neg_log_likelihood", "PA-MPJPE", "false_negatives", "KL", "mAE", "Laufzeit",
]  # fmt: skip
NOT_LOWER = [
    "lossless", "lossy", "lifetime", "terror", "F", "E", "L", "EL", "FEL", "ADE20K", "neg_mean_squared_error",
    "log_likelihood", "FPS", "mAP", "accuracy", "mIoU", "per-class", "far", "paramount", "PSNR", "Dice", "timely",
    "emerging",
]  # fmt: skip


@pytest.mark.parametrize("name", LOWER)
def test_names_of_what_is_better_when_lower(name):
    assert lower_is_better(name)
    assert direction(name) == -1


@pytest.mark.parametrize("name", NOT_LOWER)
def test_other_names_say_nothing_of_it(name):
    assert not lower_is_better(name)
    assert direction(name) == 1
