"""The columns of tables of classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmablate.catalog import find
from mmablate.recipe import Recipe
from mmablate.recipe.schema import RowSpec

ACCURACY, TEACHER, TAG = "Acc", "Teacher", "Tag"
OWN = "own"
_PERCENT = {"metric": "accuracy", "unit": "%", "direction": "max", "subset": False}


def accuracy_columns(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Column -> what it measures: the accuracy, and what describes a teacher or each modality beside it."""
    info: dict[str, dict[str, Any]] = {ACCURACY: _PERCENT}
    if find("method", recipe.method.name).fuses:
        return info | _fused_columns(recipe)
    if recipe.teacher is not None:
        info[TEACHER] = {**_PERCENT, "reference": True}
    if recipe.teacher is not None and tags_known(recipe):
        info[TAG] = {**_PERCENT, "metric": "tag accuracy", "reference": True}
    return info


def _fused_columns(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """As `evaluate.also` asks; a row of one modality has no cell for the others.

    Gain and information describe a row: more of them is not better. Encoders that tell more by themselves lower the
    gain of fusing them, and what is unique to one modality is as good when it is redundant.
    """
    also, names = recipe.evaluate.extras, list(recipe.data.modalities or ())
    info: dict[str, dict[str, Any]] = {}
    if "probes" in also:
        info |= {name: {**_PERCENT, "metric": "probe accuracy"} for name in names}
    if "own" in also:
        info |= {f"{name} {OWN}": {**_PERCENT, "metric": "unimodal accuracy"} for name in names}
    if "gain" in also:
        info[gain_column()] = {**_PERCENT, "metric": "accuracy less the best probe's", "reference": True}
    if "scores" in also:
        info["F1"] = {**_PERCENT, "metric": "macro-F1"}
        info["NLL"] = {"metric": "log-loss", "unit": "nats", "direction": "min", "subset": False}
        info["ECE"] = {**_PERCENT, "metric": "calibration error", "direction": "min"}
    if "information" in also and len(names) == 2:
        told = {"metric": "information", "unit": "bits", "direction": "max", "subset": False, "reference": True}
        info |= dict.fromkeys(information_columns(names), told)
    if any(find("loss", str(loss.term)).experts for loss in recipe.losses.values()):
        told = {"metric": "weight of unique information", "unit": "", "direction": "max", "subset": False}
        info |= {weight_column(name): {**told, "reference": True} for name in names}
    if "gradients" in also:
        larger, skew = heard_columns()
        info[larger] = {**_PERCENT, "metric": "share of gradients that the joint loss shrinks", "reference": True}
        info[skew] = {**_PERCENT, "metric": "gradient left to the easier modality, less the others", "reference": True}
    return info


def fused_caption(columns: Sequence[str], recipe: Recipe, split: str) -> str:
    """What the columns of a model that fuses modalities are."""
    names = [name for name in recipe.data.modalities or () if name in columns]
    own = [name for name in columns if name.endswith(f" {OWN}")]
    larger, skew = heard_columns()
    facts = {
        "probes": (names, f"{', '.join(names)}: accuracy of a linear probe on the frozen encoder of each"),
        "own": (own, f"{', '.join(own)}: that of the model's own output for one modality"),
        "gain": ([gain_column()], f"{gain_column()}: Acc less the best probe's"),
        "scores": (["F1"], "F1: macro-F1; NLL: log-loss; ECE: calibration error"),
        "information": (["R"], "U, R, S: unique, redundant and synergistic information of the probes' predictions"),
        "gradients": (
            [larger],
            f"{larger}: share of training samples whose gradient at the features the joint loss shrinks; {skew}: how "
            "much more of it is left to the modality with the better probe, of 100",
        ),
    }
    told = [
        text for kind, (some, text) in facts.items() if kind in recipe.evaluate.extras and some and some[0] in columns
    ]
    weights = [weight_column(name) for name in recipe.data.modalities or () if weight_column(name) in columns]
    told += [f"{', '.join(weights)}: mean weight of unique information in training"] if weights else []
    return "; ".join([f"Acc: accuracy of the fused output in percent on the {split} split", *told])


def gain_column() -> str:
    """Accuracy of the fused output less that of the best modality alone."""
    return "Gain"


def information_columns(names: Sequence[str]) -> tuple[str, str, str, str]:
    """Unique information of two modalities, redundant and synergistic information."""
    return f"U {names[0]}", f"U {names[1]}", "R", "S"


def weight_column(name: str) -> str:
    """Mean weight of a modality's unique information over the looks of a training."""
    return f"β {name}"


def heard_columns() -> tuple[str, str]:
    """Share of the samples with |g_uni| > |g_multi|, and how much more the easier modality suppresses the others."""
    return "Shrunk", "Skew"


def tags_known(recipe: Recipe) -> bool:
    """Whether the channels that a focus finds can be held against the truth."""
    rows = recipe.rows if isinstance(recipe.rows, list) else []
    levels = [level for some in recipe.factors.values() for level in some.values()]
    overrides = [*levels, *(row.overrides for row in rows if isinstance(row, RowSpec))]
    focused = recipe.focus is not None or any(key.partition(".")[0] == "focus" for some in overrides for key in some)
    return focused and find("dataset", recipe.data.name).known_general
