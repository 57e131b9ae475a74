"""Tables for the tests of the renderers: published means, a sweep, failures, synthetic data, hostile text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmablate.analysis.table import Cell, ColumnInfo, DatasetInfo, Family, HeatScale, Row, Sweep, Table

SUBSETS = ("F", "E", "L", "FE", "FL", "EL", "FEL")
COLUMNS = (*SUBSETS, "Mean")
GAIN = ("#FFD580", "#FFA07A", "#FF6347", "#FF4500")
LOSS = ("#E1F3FF", "#BFE3FF", "#87CEFA", "#5FB3EA")
STEPS = (0.0, 0.7, 1.4, 2.2)
SCALE = HeatScale(metric="mIoU", unit="%", steps=STEPS, gain=GAIN, loss=LOSS)
INFO = {column: ColumnInfo(subset=column != "Mean") for column in COLUMNS}

# Published means, as printed.
PUBLISHED = (
    ("sup", "L_sup", (43.69, 22.35, 32.14, 44.58, 48.53, 35.40, 48.35, 39.29)),
    ("sup+mad", "L_sup + λL_mad", (43.71, 23.00, 34.70, 44.18, 49.13, 37.23, 48.79, 40.11)),
    (
        "sup+mad+umd",
        "L_sup + λL_mad + αL_umd",
        (45.82, 19.26, 31.79, 45.88, 51.11, 33.56, 50.60, 39.72),
    ),
    (
        "sup+mad+umd+cmd",
        "L_sup + λL_mad + αL_umd + βL_cmd",
        (46.01, 19.57, 32.13, 46.29, 51.25, 35.21, 51.14, 40.23),
    ),
)
HOSTILE = "<script>alert('x')</script> [red]|a|[/red] & \"q\" $x_1$ \x1b[31m\n# *h* =1+1"


def heat(delta: float | None) -> str | None:
    """The colour of a Δ on `SCALE`."""
    if not delta:
        return None
    step = sum(abs(delta) >= bound for bound in STEPS) - 1
    return (GAIN if delta > 0 else LOSS)[step]


def cell(mean: float, base: float | None, **further: Any) -> Cell:
    """A cell as the statistics would give it with one seed: a mean and a Δ, no spread, no test."""
    delta = None if base is None else mean - base
    fields: dict[str, Any] = {"mean": mean, "delta": delta, "heat": heat(delta), **further}
    return Cell(**fields)


def five_seeds(mean: float, base: float | None, **further: Any) -> Cell:
    """A cell over five seeds: std, values, and (placeholder) p-values that grow as Δ shrinks."""
    offsets = (-0.5, -0.2, 0.0, 0.3, 0.4)
    fields: dict[str, Any] = {
        "values": {str(i): mean + o for i, o in enumerate(offsets)},
        "std": 0.3742,
        **further,
    }
    if base is not None:
        delta = mean - base
        p = min(1.0, 0.2 * math.exp(-2.5 * abs(delta)))
        ci = (delta - 0.5, delta + 0.5)
        fields |= {"test": "paired", "p": p / 4, "p_adjusted": p, "significant": p < 0.05, "ci": ci}
    return cell(mean, base, **(fields | further))


def losses(make: Any = five_seeds, **changes: Any) -> Table:
    """The loss combinations on MUSES: published means, placeholder spread."""
    base = dict(zip(COLUMNS, PUBLISHED[0][2], strict=True))
    best = {column: max(values[i] for _, _, values in PUBLISHED) for i, column in enumerate(COLUMNS)}
    rows = []
    for index, (name, label, values) in enumerate(PUBLISHED):
        cells = {
            column: make(
                value,
                base[column] if index else None,
                best=value == best[column],
                tied=0 < best[column] - value < 0.15,
            )
            for column, value in zip(COLUMNS, values, strict=True)
        }
        extras = {
            "n_parameters": 81_234 + 3000 * index,
            "seconds": 12.34 + index,
            "n_seeds": 1 if make is cell else 5,
        }
        rows.append(Row(name=name, label=label, baseline="sup", cells=cells, **extras))
    fields: dict[str, Any] = {
        "study": "muses_losses",
        "title": "Loss combinations on MUSES",
        "caption": "Every subset of the modalities frame (F), event (E) and LiDAR (L), one model for all.",
        "row_header": "Losses",
        "baseline": "sup",
        "columns": COLUMNS,
        "column_info": INFO,
        "dataset": DatasetInfo(name="muses", synthetic=True, n_train=800, n_val=100, n_test=200),
        "rows": tuple(rows),
        "heat_scales": (SCALE,),
        "notes": ("Mean: Holm over 3 rows; other columns: Holm over 21 cells.", "One teacher a seed."),
    }
    return Table(**(fields | changes))


def sweep(values: Sequence[float] = (0, 1, 10, 20, 50, 100), used: float | None = 10) -> Table:
    """A sensitivity study of β with two subset columns and the Mean."""
    columns = ("F", "E", "Mean")
    rows = []
    for index, value in enumerate(values):
        mean = 39.29 + 0.9 * math.sin(index / 1.6)
        cells = {
            "F": five_seeds(mean + 4, 43.29 if index else None),
            "E": five_seeds(mean - 4, 35.29 if index else None),
            "Mean": five_seeds(mean, 39.29 if index else None, best=index == 3),
        }
        name = f"beta={value:g}"
        rows.append(
            Row(
                name=name,
                label=f"β = {value:g}",
                baseline="beta=0",
                n_seeds=5,
                cells=cells,
                level={"beta": value},
            )
        )
    return Table(
        study="muses_losses_beta",
        title="Weight of the cross-modal term",
        row_header="β",
        baseline="beta=0",
        columns=columns,
        column_info={column: INFO[column] for column in columns},
        dataset=DatasetInfo(name="muses"),
        rows=tuple(rows),
        heat_scales=(SCALE,),
        sweep=Sweep(parameters=("beta",), symbols=("β",), used=(used,)),
    )


def with_failures() -> Table:
    """One row without a seed left, one with a seed missing."""
    table = losses()
    failed = table.rows[2].model_copy(
        update={
            "status": "failed",
            "n_seeds": 0,
            "cells": {},
            "seconds": None,
            "errors": ("seed 0: loss term 'umd' became nan at step 17", "seed 1: out of memory"),
        }
    )
    partial = table.rows[1].model_copy(update={"status": "partial", "n_seeds": 4, "errors": ("seed 3: interrupted",)})
    return table.model_copy(update={"rows": (table.rows[0], partial, failed, table.rows[3])})


def hostile() -> Table:
    """Every text of the table is an attack on some format."""
    column, row = HOSTILE + "c", HOSTILE + "r"
    cells = {column: five_seeds(40.0, None)}
    return Table(
        study=HOSTILE,
        title=HOSTILE,
        caption=HOSTILE,
        row_header=HOSTILE,
        baseline=row,
        columns=(column,),
        column_info={column: ColumnInfo(metric=HOSTILE, unit=HOSTILE)},
        dataset=DatasetInfo(name="=cmd()", attribution=HOSTILE),
        rows=(
            Row(name=row, label=HOSTILE, baseline=row, n_seeds=5, cells=cells, level={"a": 0}),
            Row(name="=2+3", label="+cmd", baseline=row, status="failed", errors=(HOSTILE,)),
            Row(
                name="@x",
                label="-1",
                baseline=row,
                n_seeds=5,
                level={"a": 1},
                cells={column: five_seeds(41.0, 40.0).model_copy(update={"heat": "red;}</style>"})},
            ),
        ),
        sweep=Sweep(parameters=("a",), symbols=(HOSTILE,), used=(1,)),
        notes=(HOSTILE,),
    )


def wide(n_columns: int = 20) -> Table:
    """More columns than 80 characters hold."""
    columns = tuple(f"metric{i}" for i in range(n_columns))
    rows = tuple(
        Row(
            name=f"row{r}",
            label=f"fusion_first_all variant {r}",
            baseline="row0",
            n_seeds=5,
            cells={c: five_seeds(50.0 + i + r, 50.0 + i if r else None) for i, c in enumerate(columns)},
        )
        for r in range(2)
    )
    return Table(study="wide", baseline="row0", columns=columns, rows=rows)


def per_row_baselines() -> Table:
    """Δ of each row within its own level, a reference row, metrics of different units, an unpaired test."""
    info = {
        "Accuracy": ColumnInfo(metric="Accuracy", subset=False),
        "HD95": ColumnInfo(metric="HD95", unit="mm", direction="min", subset=False),
    }

    def row(name: str, baseline: str | None, accuracy: Cell, distance: Cell, **further: Any) -> Row:
        return Row(
            name=name,
            label=name,
            baseline=baseline,
            n_seeds=2,
            cells={"Accuracy": accuracy, "HD95": distance},
            **further,
        )

    return Table(
        study="factors",
        title="Masking by update",
        columns=("Accuracy", "HD95"),
        column_info=info,
        rows=(
            row("teacher", None, cell(91.0, None), cell(4.0, None), reference=True),
            row("utd+no_kd", "utd+no_kd", five_seeds(85.0, None), five_seeds(6.1, None)),
            row("utd+kd", "utd+no_kd", five_seeds(87.0, 85.0, test="welch"), five_seeds(5.2, 6.1, best=True)),
            row("drop+no_kd", "drop+no_kd", five_seeds(86.0, None), five_seeds(6.0, None)),
            row("drop+kd", "drop+no_kd", five_seeds(88.5, 86.0, best=True), five_seeds(5.9, 6.0)),
        ),
    )


def effects() -> Table:
    """Main effects of two factors and their interaction: Δ only, all that is known of it, decimal comma."""
    known: dict[str, Any] = {"mean": None, "std": None, "p_sign_flip": 0.0625, "n_pairs": 5, "correlation": 0.44}
    known |= {"effect_size": 1.234, "seeds_needed": 8, "seeds_needed_upper": 19}
    names = ("masking", "update", "masking × update")
    return Table(
        study="fx",
        title="Main effects and interaction",
        kind="effects",
        row_header="Factor",
        columns=("acc", "HD95", "Mean"),
        column_info={"acc": ColumnInfo(label="L_mad Größe"), "Mean": ColumnInfo(subset=False)},
        rows=tuple(
            Row(
                name=name,
                label=name,
                n_seeds=5,
                cells={
                    column: five_seeds(0.0, -delta).model_copy(update=known)
                    for column, delta in (("acc", 2.5), ("HD95", 0.1), ("Mean", -0.3))
                },
            )
            for name in names
        ),
        heat_scales=(SCALE,),
        decimal=",",
        smallest_effect=0.5,
        families=(Family(columns=("Mean",), size=3), Family(columns=("acc", "HD95"), size=6)),
    )


def grown(n_rows: int, n_columns: int) -> Table:
    """A table of any size."""
    columns = tuple(f"m{i}" for i in range(n_columns))
    base, further = five_seeds(50.0, None), five_seeds(51.0, 50.0)
    rows = tuple(
        Row(name=f"r{r}", label=f"variant {r}", baseline="r0", n_seeds=5, cells=dict.fromkeys(columns, cell_))
        for r, cell_ in enumerate([base, *[further] * (n_rows - 1)])
    )
    return Table(study="grown", baseline="r0", columns=columns, rows=rows, heat_scales=(SCALE,))


def focused() -> Table:
    """A classification over two factors, one numeric: reference columns with empty cells, one row partial."""
    percent = {"unit": "%", "subset": False}
    info = {
        "Acc": ColumnInfo(metric="accuracy", **percent),
        "Teacher": ColumnInfo(metric="accuracy", reference=True, **percent),
        "Tag": ColumnInfo(metric="tag accuracy", reference=True, **percent),
    }
    rows = []
    for gamma in (0.0, 0.25, 0.5, 0.75, 1.0):
        for method, gain in (("no_kd", None), ("kd", 4 * gamma - 1.3), ("mg_kd", 2.5), ("random", 0.2), ("found", 2.1)):
            cells = {
                "Acc": five_seeds(
                    60.0 + (gain or 0.0), None if gain is None else 60.0, best=(gamma, method) == (1.0, "kd")
                )
            }
            cells["Teacher"] = Cell() if gain is None else five_seeds(70.0 + 10 * gamma, None)
            cells["Tag"] = five_seeds(95.0, None) if method == "found" else Cell()
            partial = (gamma, method) == (0.5, "kd")
            rows.append(
                Row(
                    name=f"{gamma:g}+{method}",
                    label=f"{gamma:g} + {method}",
                    baseline=f"{gamma:g}+no_kd",
                    levels={"gamma": f"{gamma:g}", "method": method},
                    status="partial" if partial else "ok",
                    errors=("seed 5: interrupted",) if partial else (),
                    n_seeds=5,
                    n_parameters=102,
                    seconds=0.2,
                    cells=cells,
                )
            )
    return Table(
        study="gauss_focus",
        title="Focus",
        row_header="gamma, method",
        columns=tuple(info),
        column_info=info,
        dataset=DatasetInfo(name="gauss", synthetic=True, n_train=200, n_test=1000),
        rows=tuple(rows),
        primary="Acc",
        heat_scales=(SCALE.model_copy(update={"metric": "accuracy"}),),
        families=(Family(columns=("Acc",), size=20),),
    )


SAMPLES = {
    "focused": focused(),
    "losses": losses(),
    "one seed": losses(make=cell),
    "sweep": sweep(),
    "failures": with_failures(),
    "hostile": hostile(),
    "wide": wide(),
    "factors": per_row_baselines(),
    "effects": effects(),
}
