"""Which of a run's scores a table shows: those of all samples, of one condition, or of one subset by condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mmablate.analysis.table import ColumnInfo
from mmablate.errors import UsageError
from mmablate.results import RunRecord


@dataclass(frozen=True)
class View:
    """One way to look at the scores of a study.

    Attributes:
        columns, info: of the table.
        scores: a run's value by column; "Mean" is computed from it where `averages` is set.
        title: added to the study's title.
        caption: in place of the study's caption, or None.
        notes: what must be said before the study's own notes.
        condition, subset: which was asked for.
        given: of a condition of the modalities, what the models are given.
        averages: the column Mean averages the subset columns; it is never one of `scores`.
    """

    columns: tuple[str, ...]
    info: dict[str, ColumnInfo]
    scores: Callable[[RunRecord], Mapping[str, float]]
    title: str = ""
    caption: str | None = None
    notes: tuple[str, ...] = ()
    condition: str | None = None
    subset: str | None = None
    given: str | None = None
    averages: bool = True


def conditions_of(study: Mapping[str, Any]) -> dict[str, str]:
    """Condition -> its axis, e.g. "night" -> "time_of_day", of a study's test samples, in the order of print."""
    axes = study["table"].get("conditions")
    if not isinstance(axes, dict):
        return {}
    return {str(value): str(axis) for axis, values in axes.items() if isinstance(values, list) for value in values}


def choose_view(study: Mapping[str, Any], *, condition: str | None = None, subset: str | None = None) -> View:
    """The view that is asked for; without either name that of all samples.

    Raises:
        UsageError: both names, one that the study does not have, or a study without conditions.
    """
    layout = study["table"]
    info = {name: ColumnInfo(**layout["column_info"][name]) for name in layout["columns"]}
    if condition is not None and subset is not None:
        raise UsageError("--condition or --subset, not both")
    if condition is None and subset is None:
        return View(tuple(info), info, lambda record: record.metrics)
    known = conditions_of(study)
    option = "--condition" if condition is not None else "--subset"
    if not known:
        raise UsageError(f"{option}: {study['name']} has no scores by condition (its data name none, or it is older)")
    if condition is not None:
        if condition not in known:
            raise UsageError(f"--condition {condition}: no such condition (there are: {', '.join(known)})")
        return _of_condition(study, info, condition, known[condition])
    if subset not in info:
        raise UsageError(f"--subset {subset}: no column has that name (there are: {', '.join(info)})")
    return _of_subset(study, info, str(subset), known)


SUBSETS = "modalities"
"""Axis of the subsets of modalities, where a table averages over them."""

CLASSES_DIFFER = (
    "IoU is averaged over the classes that occur in the truth or the prediction; which they are can differ between "
    "conditions."
)


def _of_condition(study: Mapping[str, Any], info: dict[str, ColumnInfo], condition: str, axis: str) -> View:
    if axis == SUBSETS:
        return _of_modalities(study, info, condition)
    return View(
        columns=tuple(info),
        info=info,
        scores=lambda record: record.conditions.get(condition, {}),
        title=f"{condition} only",
        notes=(
            f"Only the samples of {condition} ({axis}) are scored here; the models are those of the table of all "
            "samples. What these notes say of a split is about all of its samples.",
            *_classes_note(study, info),
        ),
        condition=condition,
    )


def _of_modalities(study: Mapping[str, Any], info: dict[str, ColumnInfo], condition: str) -> View:
    """The scores of all samples from one subset of the modalities, or their means over a group of subsets."""
    layout = _given(study)
    group = layout["groups"].get(condition)
    given = f"from {condition} alone" if group is None else str(group)
    how = f"mean over the subjects{' and then' if given.startswith('over ') else ','} {given}"
    kept = {name: about for name, about in info.items() if name not in layout["apart"]}
    return View(
        columns=tuple(kept),
        info=kept,
        scores=lambda record: record.conditions.get(condition, {}),
        title=f"{condition} subsets" if given.startswith("over ") else given,
        caption=layout["caption"].replace("{given}", how) if layout["caption"] else None,
        notes=(f"Scores {given}; those of the study's table are means over all subsets that are evaluated.",),
        condition=condition,
        given=given,
    )


def _given(study: Mapping[str, Any]) -> dict[str, Any]:
    """How tables of one subset are laid out; empty where the file does not say so."""
    found = study["table"].get("given")
    found = found if isinstance(found, dict) else {}
    kinds = {"groups": dict, "apart": list, "caption": str}
    return {key: found[key] if isinstance(found.get(key), kind) else kind() for key, kind in kinds.items()}


def _classes_note(study: Mapping[str, Any], info: Mapping[str, ColumnInfo]) -> list[str]:
    """Of scores that are averaged over classes; accuracy is not."""
    classes = study.get("recipe", {}).get("evaluate", {}).get("classes")
    return [CLASSES_DIFFER] if classes == "present" and any(about.metric == "mIoU" for about in info.values()) else []


def _of_subset(study: Mapping[str, Any], info: dict[str, ColumnInfo], subset: str, known: Mapping[str, str]) -> View:
    about = info[subset].model_copy(update={"subset": False})
    by_modalities = SUBSETS in known.values()
    if subset in _given(study)["apart"]:
        raise UsageError(f"--subset {subset}: a mean over some subsets already (--condition shows one of them)")
    everything = "all subsets" if by_modalities else "all" if "all" not in known else "all samples"
    averaged = tuple(name for name, column in info.items() if column.subset)

    def pick(metrics: Mapping[str, float]) -> float | None:
        if subset != "Mean":
            return metrics.get(subset)
        values = [metrics[name] for name in averaged if name in metrics]
        return math.fsum(values) / len(values) if values and len(values) == len(averaged) else None

    def scores(record: RunRecord) -> dict[str, float]:
        found = {everything: pick(record.metrics)}
        found.update({value: pick(record.conditions.get(value, {})) for value in known})
        return {name: score for name, score in found.items() if score is not None}

    unit = {"%": " in percent", "": ""}.get(about.unit, f" in {about.unit}")
    what = f"average of the {len(averaged)} subsets" if subset == "Mean" else f"predicted from {subset}"
    what = f", {what}" if subset == "Mean" or info[subset].subset else ""
    caption = f"{about.metric}{unit}{what}: on all samples of the scored split and on those of each condition."
    if by_modalities:
        name = "" if subset == about.metric else f", {subset}"
        caption = f"{about.metric}{unit}{name}: mean over all subsets of the modalities that are evaluated, from each "
        caption += "of them alone, and means over groups of them; on all samples of the scored split."
    return View(
        columns=(everything, *known),
        info=dict.fromkeys((everything, *known), about),
        scores=scores,
        title=f"{subset} by {'modalities' if by_modalities else 'condition'}",
        caption=caption,
        notes=("A sample counts once for each kind of condition, so the columns overlap.", *_classes_note(study, info))
        if len(set(known.values())) > 1
        else (),
        subset=subset,
        averages=False,
    )
