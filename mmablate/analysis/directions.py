"""Which metrics are better when lower, told by their names: one list for all readers of other people's tables."""

from __future__ import annotations

import itertools
import re

_WORD = re.compile(r"[^\W\d_]+")
_CASE = re.compile(r"(?<=[a-zäöü])(?=[A-ZÄÖÜ])|(?<=[A-Z])(?=[A-Z][a-z])")  # valLoss, RMSELog

# Left out, for columns are called so for other reasons: ade (ADE20K), far (near, far), per, mr, ce, cd, ed, sam, mad.
_NAMES = frozenset(
    (
        # errors and losses
        "loss", "losses", "nll", "nlls", "nelbo", "logloss", "err", "errs", "error", "errors", "mistakes", "regret",
        "mse", "rmse", "nmse", "nrmse", "rmsle", "msle", "mae", "nmae", "mape", "smape", "wmape", "rmsd", "nme", "epe",
        "mpjpe", "mpvpe", "pve", "fde", "minade", "minfde", "absrel", "sqrel", "crps", "verlust",
        # rates of errors
        "wer", "cer", "eer", "der", "fpr", "fnr", "frr", "hter", "acer", "apcer", "bpcer", "dcf", "mindcf",
        "missrate", "misses", "collision", "collisions",
        # calibration and likelihood
        "ece", "mce", "uce", "brier", "perplexity", "ppl", "bpd", "bpc", "aurc", "eaurc", "divergence", "kl",
        # distances of surfaces, sets, images and distributions
        "hd", "hausdorff", "asd", "assd", "chamfer", "levenshtein", "fid", "kid", "fvd", "fad", "lpips", "dists",
        "niqe", "brisque", "piqe", "ergas", "gmsd", "jitter", "distortion",
        # continual learning
        "forgetting",
        # cost
        "time", "runtime", "walltime", "laufzeit", "latency", "latenz", "seconds", "sec", "secs", "duration", "energy",
        "memory", "param", "params", "parameters", "flops", "gflops", "mflops", "tflops", "cost", "costs",
    )
)  # fmt: skip
_PHRASES = frozenset(
    (
        ("abs", "rel"), ("sq", "rel"), ("lower", "is", "better"), ("miss", "rate"), ("cross", "entropy"),
        ("surface", "distance"), ("edit", "distance"), ("inception", "distance"), ("frechet", "distance"),
        ("fréchet", "distance"), ("false", "positive"), ("false", "positives"), ("false", "negative"),
        ("false", "negatives"), ("false", "alarm"), ("false", "alarms"),
    )
)  # fmt: skip
_HIGHER = frozenset(
    (
        "acc", "accuracy", "macc", "oa", "genauigkeit", "correct", "precision", "recall", "sensitivity", "specificity",
        "iou", "miou", "fwiou", "jaccard", "dice", "dsc", "nsd", "auc", "auroc", "auprc", "ap", "map", "kappa", "mcc",
        "pq", "psnr", "ssim", "bleu", "rouge", "meteor", "cider", "fps", "throughput", "speedup",
    )
)  # fmt: skip
_F1 = re.compile(r"(?<![A-Za-z])F[-_ ]?(?:1|score|measure)(?![0-9a-z])", re.IGNORECASE)
_NEGATIVE = frozenset(("neg", "negative"))


def _words(name: str) -> tuple[list[str], set[str]]:
    """Words in their order, divided between small and capital letters, and all of them with the undivided ones.

    "mIoU", "mCE" and "minADE" are names as they stand.
    """
    whole = _WORD.findall(name)
    words = [part.lower() for word in whole for part in _CASE.split(word)]
    return words, {*words, *(word.lower() for word in whole)}


def higher_is_better(name: str) -> bool:
    """Whether a name is known to be of something that is better when higher: "mIoU", "top-1 acc.", "F1"."""
    _, known = _words(name)
    return not known.isdisjoint(_HIGHER) or _F1.search(name) is not None


def lower_is_better(name: str) -> bool:
    """Whether a column of that name holds something that is better when lower: "val_nll", "HD95", "miss rate".

    Only whole words count, divided at everything that is no letter and between small and capital letters. A negated
    error ("neg_mean_squared_error") is better when higher, a negated likelihood when lower.
    """
    words, known = _words(name)
    phrases = {tuple(words[i : i + n]) for n in (2, 3) for i in range(len(words))} & _PHRASES
    said = bool(phrases) or not known.isdisjoint(_NAMES) or any(word.startswith("fehler") for word in known)
    negative = not known.isdisjoint(_NEGATIVE) and ("false", "negative") not in phrases
    if not said and ("log", "likelihood") in itertools.pairwise(words):
        return negative
    return said and not negative
