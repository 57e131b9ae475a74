"""How the table of a study is laid out: columns, rows, header and caption, kept in study.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmablate.catalog import find
from mmablate.recipe import Recipe, subset_names
from mmablate.study.columns import TAG, TEACHER, accuracy_columns, fused_caption
from mmablate.study.plan import Study
from mmablate.study.programs import ProgramStudy
from mmablate.study.volume_columns import dice_columns, given_layout, volume_caption

# Columns of facts as recipes name them -> fields of a table's row.
EXTRAS = {"parameters": "n_parameters", "flops": "flops", "time": "seconds"}
SPLITS = {"test": "test", "val": "validation"}


def table_layout(study: Study | ProgramStudy, *, scored_on: str | None) -> dict[str, Any]:
    """The `table` block of study.json.

    Args:
        scored_on: "test" or "val"; None for a program, which scores by itself.
    """
    recipe = study.recipe
    info = _metrics(study) if isinstance(study, ProgramStudy) else _columns(study.recipe)
    labels = recipe.report.labels
    for name in info.keys() & labels:
        info[name]["label"] = labels[name]
    baselines = set(study.baseline.values())
    rows = [
        {
            "name": row.name,
            "label": labels.get(row.name, row.label),
            "losses": list(row.losses),
            "levels": dict(row.levels),
            "values": dict(row.values),
            "baseline": study.baseline[row.name],
        }
        for row in study.rows
    ]
    sweep = study.sweep
    return {
        "row_header": _header(study),
        "caption": recipe.caption or _caption(study, list(info), scored_on),
        "columns": list(info),
        "column_info": info,
        "baseline": baselines.pop() if len(baselines) == 1 else None,
        "rows": rows,
        "sweep": {key: sweep[key] for key in ("parameters", "symbols", "used")} if sweep else None,
        "search": sweep.get("search") if sweep else None,
        "teacher_row": isinstance(recipe, Recipe) and bool(recipe.teacher and recipe.teacher.row),
        "significance": recipe.significance.model_dump(mode="json") | _primary(study, info),
        "smallest_effect": recipe.smallest_effect,
        "n_decimals": recipe.n_decimals,
        "decimal": recipe.report.decimal,
        "extras": None if recipe.report.columns is None else [EXTRAS[name] for name in recipe.report.columns],
        **_given(study, scored_on),
    }


def _given(study: Study | ProgramStudy, scored_on: str | None) -> dict[str, Any]:
    """How tables of one subset of the modalities are laid out, where the study's own averages over the subsets."""
    if not isinstance(study, Study) or study.recipe.evaluate.metric != "dice":
        return {}
    return {"given": given_layout(study.recipe, SPLITS[str(scored_on)], _differences(study))}


def _columns(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """One column a modality subset, and their mean; of classification the accuracy; of 3D scans one a region."""
    if recipe.evaluate.metric == "accuracy":
        return accuracy_columns(recipe)
    if recipe.evaluate.metric == "dice":
        return dice_columns(recipe)
    wanted = recipe.evaluate.subsets
    names = list(subset_names(list(recipe.data.modalities or ()))) if wanted == "all" else list(wanted)
    column = {"metric": "mIoU", "unit": "%", "direction": "max"}
    info: dict[str, dict[str, Any]] = {name: {**column, "subset": True} for name in names}
    if len(names) > 1:
        info["Mean"] = {**column, "subset": False}
    return info


def _metrics(study: ProgramStudy) -> dict[str, dict[str, Any]]:
    """One column a metric that the program reports."""
    return {
        name: {"metric": metric.label or name, "unit": metric.unit, "direction": metric.direction, "subset": False}
        for name, metric in study.recipe.metrics.items()
    }


def _primary(study: Study | ProgramStudy, info: Mapping[str, Any]) -> dict[str, Any]:
    """The only metric of a program is its primary column; of several, the one that the recipe names, or none."""
    if isinstance(study, Study):
        return {}
    named = study.recipe.significance.primary
    return {"primary": named if named in info else next(iter(info)) if len(info) == 1 else None}


def _header(study: Study | ProgramStudy) -> str:
    if study.sweep:
        return ", ".join(study.sweep["symbols"])
    if any(row.levels for row in study.rows):
        return "Factors"
    return "Losses" if isinstance(study, Study) else "Settings"


def _caption(study: Study | ProgramStudy, columns: list[str], scored_on: str | None) -> str:
    named = study.recipe.report.labels
    against = _differences(study)
    if isinstance(study, ProgramStudy):
        names = [named.get(name, name) for name in columns]
        return f"{', '.join(names)} as the program reports {'it' if len(names) == 1 else 'them'}. {against}"
    split = SPLITS[str(scored_on)]
    if study.recipe.evaluate.metric == "accuracy":
        if isinstance(study, Study) and find("method", study.recipe.method.name).fuses:
            return f"{fused_caption(columns, study.recipe, split)}. {against}"
        text = f"Acc: accuracy of the student in percent on the {split} split"
        text += "; Teacher: of its teacher, as the student sees it" if TEACHER in columns else ""
        text += "; Tag: share of the channels kept that are general in truth" if TAG in columns else ""
        return f"{text}. {against}"
    if study.recipe.evaluate.metric == "dice":
        return f"{volume_caption(study.recipe, split)}. {against}"
    subsets = [name for name in columns if name != "Mean"]
    modalities = ", ".join(named.get(name, name) for name in study.recipe.data.modalities or ())
    text = f"mIoU in percent on the {split} split, one model a row, "
    text += f"evaluated with every subset of the modalities {modalities}" if len(subsets) > 1 else "one column"
    mean = f"; Mean: average of the {len(subsets)} subsets." if len(subsets) > 1 else "."
    return f"{text}. {against.removesuffix('.')}{mean}"


def _differences(study: Study | ProgramStudy) -> str:
    """What Δ is."""
    named = study.recipe.report.labels
    labels: Mapping[str, str] = {row.name: named.get(row.name, row.label) for row in study.rows}
    baselines = set(study.baseline.values())
    against = labels[baselines.pop()] if len(baselines) == 1 else "the baseline of its group"
    return f"Δ: difference to {against} over the same seeds."
