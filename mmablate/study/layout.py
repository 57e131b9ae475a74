"""How the table of a study is laid out: columns, rows, header and caption, kept in study.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmablate.recipe import subset_names
from mmablate.study.plan import Study

# Columns of facts as recipes name them -> fields of a table's row.
EXTRAS = {"parameters": "n_parameters", "flops": "flops", "time": "seconds"}


def table_layout(study: Study, *, scored_on: str) -> dict[str, Any]:
    """The `table` block of study.json.

    Args:
        scored_on: "test" or "val".
    """
    recipe = study.recipe
    wanted = recipe.evaluate.subsets
    names = list(subset_names(list(recipe.data.modalities or ()))) if wanted == "all" else list(wanted)
    column = {"metric": "mIoU", "unit": "%", "direction": "max"}
    info: dict[str, dict[str, Any]] = {name: {**column, "subset": True} for name in names}
    if len(names) > 1:
        info["Mean"] = {**column, "subset": False}
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
        "caption": recipe.caption or _caption(study, names, scored_on),
        "columns": list(info),
        "column_info": info,
        "baseline": baselines.pop() if len(baselines) == 1 else None,
        "rows": rows,
        "sweep": {key: sweep[key] for key in ("parameters", "symbols", "used")} if sweep else None,
        "search": sweep.get("search") if sweep else None,
        "teacher_row": bool(recipe.teacher and recipe.teacher.row),
        "significance": recipe.significance.model_dump(mode="json"),
        "smallest_effect": recipe.smallest_effect,
        "n_decimals": recipe.n_decimals,
        "decimal": recipe.report.decimal,
        "extras": None if recipe.report.columns is None else [EXTRAS[name] for name in recipe.report.columns],
    }


def _header(study: Study) -> str:
    if study.sweep:
        return ", ".join(study.sweep["symbols"])
    return "Factors" if any(row.levels for row in study.rows) else "Losses"


def _caption(study: Study, columns: list[str], scored_on: str) -> str:
    split = {"test": "test", "val": "validation"}[scored_on]
    named = study.recipe.report.labels
    labels: Mapping[str, str] = {row.name: named.get(row.name, row.label) for row in study.rows}
    modalities = ", ".join(named.get(name, name) for name in study.recipe.data.modalities or ())
    baselines = set(study.baseline.values())
    against = labels[baselines.pop()] if len(baselines) == 1 else "the baseline of its group"
    text = f"mIoU in percent on the {split} split, one model a row, "
    text += f"evaluated with every subset of the modalities {modalities}" if len(columns) > 1 else "one column"
    text += f". Δ: difference to {against} over the same seeds"
    return text + (f"; Mean: average of the {len(columns)} subsets." if len(columns) > 1 else ".")
