"""What the words of headers and labels mean: Δ, Mean, spread, direction, rows that stand apart."""

from __future__ import annotations

import re

from mmablate.analysis.directions import lower_is_better

_DELTA_WORD = (
    r"Δ|δ|∆|\bdelta\b|\bdiff(?:erence|\.)?(?![a-z])|\bgains?\b|\bimprov\w*|\bchange\b|\bdrop\b|\bdegradation\b"
    r"|\bdifferenz\b|\babweichung\b|\bverbesserung\b|\bzuwachs\b|\bdecrease\b|\bincrease\b"
)
DELTA = re.compile(
    rf"^\W*(?:abs(?:olute|\.)?\s*|rel(?:ative|\.)?\s*)?(?:{_DELTA_WORD})|(?:{_DELTA_WORD}|_delta)\W*$", re.IGNORECASE
)
RELATIVE = re.compile(r"\brel(?:ative|\.)?(?![a-z])|Δ\s*%|\(%\s*change\)", re.IGNORECASE)
LOSS_IS_PRINTED = re.compile(r"\bdrop\b|\bdegradation\b|\bdecrease\b|\breduction\b", re.IGNORECASE)
_MEAN_WORDS = (
    r"(?:(?:arith\w*\.?|macro|overall|total)[\s\-]*)?(?:mean|avg|average|averaged|mittel(?:wert)?|durchschnitt|ø|∅|⌀|x̄)"
)
MEAN = re.compile(rf"^\W*{_MEAN_WORDS}(?![a-z_])", re.IGNORECASE)
# Nothing but the word: "Mean", "Average (all)", "Ø over seeds", but neither "Mean Teacher" nor "average fusion".
NOTHING_BUT_MEAN = re.compile(
    rf"\W*{_MEAN_WORDS}[\s.:]*(?:\([^()]*\)|(?:over|of|across|über|aller?|von)\b.{{0,30}})?\W*", re.IGNORECASE
)
STD = re.compile(
    r"^\W*(?:±|std\.?(?:\s?dev\w*\.?)?|stdev|s\.d\.|sd|σ|sem|ci|standard deviation|stddev)\W*$|[ _](?:std|sd|sem)$",
    re.IGNORECASE,
)
EXTRA = re.compile(
    r"^\W*(?:#?\s*param\w*\.?|n_parameters|m?acs|[gt]?flops\.?|macs|seconds|sec|time|runtime|laufzeit|latency"
    r"|fps|memory|mem|gpu\w*|size|n_seeds|#?\s*seeds?|#|runs?|epochs?|steps?|iter\w*|year|jahr|rank|p-?values?"
    r"|samples|n_\w+|status|dataset|synthetic|lr|learning rate|batch( ?size)?|layers|venue"
    r"|speed-?up|throughput|cost|[α-ωk]|lambda|alpha|beta|gamma|temperature|#\w+|(?-i:n|p|k|id))"
    r"\s*(?:\([^)]*\)|\[[^\]]*\])?\W*$",
    re.IGNORECASE,
)
NOT_A_COUNT = re.compile(
    r"iou|dice|f[1-9β]|\bf-?(?:score|measure)|map\b|\bap\b|auc|roc|hd|rmse|mae|mse|fid|psnr|ssim|kappa|mcc|bleu|rouge"
    r"|corr|precision|\bpq\b|balanced|macro|mean|\bm?acc/class",
    re.IGNORECASE,
)
ACCURACY = re.compile(
    r"\bacc(?:uracy|\.)?(?![a-z])|top-?\s?[1-9]|\boa\b|genauigkeit|\berror rate|correct", re.IGNORECASE
)
REFERENCE = re.compile(
    r"\b(?:(?<!mean[ -])teacher|oracle|upper[\s-]bound|lehrer|obergrenze|human|reference|referenz)\b", re.IGNORECASE
)
BASELINE = re.compile(r"\b(?:baseline|basis|base line)\b", re.IGNORECASE)
PARTIAL = re.compile(r"\b\d+ seeds? only\b", re.IGNORECASE)
UNIT = re.compile(r"^\W*(?:mm|cm|ms|px|dB|min|sec)?\W*$")
FACT = re.compile(r"^\W*(?:baseline|reference|value used|Δ to\b.*|\d+ seeds? only)\W*$", re.IGNORECASE)
AGAINST = re.compile(
    r"(?:\bvs\.?|\bversus|\bto|\bover|\bgegen(?:über)?|\bw\.?r\.?t\.?|\bfrom|\brel\.? to)\s+(.+)$", re.IGNORECASE
)
_ARROWS = re.compile(r"[↑↓▲▼⬆⬇]")


def arrow(text: str) -> int:
    """+1 or -1 where the text has arrows of one way alone, 0 otherwise."""
    ways = {sign in "↑▲⬆" for sign in _ARROWS.findall(text)}
    return 0 if len(ways) != 1 else 1 if ways.pop() else -1


def direction(header: str, group: str = "") -> int:
    """-1 where lower is better, +1 otherwise: an arrow decides, then the words, first of the column itself."""
    way = arrow(header) or arrow(group)
    if way:
        return way
    return -1 if lower_is_better(header) or lower_is_better(group) else 1


def bare(header: str) -> str:
    """A header without arrows, units in brackets and stray signs, for comparing names."""
    text = re.sub(r"\((?:%|↑|↓|[^()]{0,12}[↑↓%][^()]{0,3})\)|\[[^\]]{0,12}\]", "", _ARROWS.sub("", header))
    return " ".join(text.replace("%", "").split()).strip(" :*†‡")


def without_delta(header: str) -> str:
    """What is left of "Δ F", "F_delta", "ΔF ↑" without the Δ: the name of the metric, or nothing."""
    text = re.sub(rf"{_DELTA_WORD}|_delta$", "", bare(header), flags=re.IGNORECASE)
    return AGAINST.sub("", text).strip(" _-()[]:.,/")
