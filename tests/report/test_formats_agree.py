"""Whatever a table holds, all formats print the same numbers."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_readers import (
    csv_cells,
    expected,
    html_cells,
    json_cells,
    latex_cells,
    markdown_cells,
    terminal_cells,
)
from report_samples import SAMPLES, losses

from mmablate.analysis.table import Cell, ColumnInfo, DatasetInfo, Row, Table
from mmablate.report import render, terminal

HOSTILE = (
    "L_sup + λL_mad", "a & b", "50 %", r"\input{/etc/passwd}", "{x}", "$y$", "#1 ~ ^", "<b>1.00</b>", "|", "漢字",
    "**2.00**", "[3pt]", "* 4", "Größe „5“", "±6.00", "\\\\", "\\", "=1+1", "-7", "&amp;", "`8`", "", "n.s.", "é̂",
    "\u202e9\x1b[31m", "🎉 10", "1 & 2 \\\\ 3", "–", "x" * 50,
)  # fmt: skip
NUMBERS = (
    st.floats(-1e4, 1e4)
    | st.floats(-1e100, 1e100)
    | st.sampled_from([0.0, -0.0, -0.004, 0.005, 0.125, 1e15, -1e15, 999.995, 1e60, 5e-324])
)
MISSING = st.sampled_from([None, math.nan, math.inf, -math.inf])
WORDS = st.sampled_from(HOSTILE)


@st.composite
def cells(draw: st.DrawFn, kind: str) -> Cell:
    """A cell with or without a value, spread, Δ and marks."""
    value = draw(NUMBERS | MISSING)
    if value is None or not math.isfinite(value):
        return Cell(mean=value) if kind == "scores" else Cell(delta=value)
    fields: dict[str, Any] = {"std": draw(st.none() | st.just(math.nan) | st.floats(0, 1e3))}
    if kind == "scores":
        best = draw(st.booleans())
        fields |= {"mean": value, "delta": draw(NUMBERS | MISSING), "best": best, "tied": draw(st.booleans())}
    else:
        fields["delta"] = value
    p = draw(st.none() | st.floats(0, 1))
    fields |= {"p": p, "p_adjusted": p, "significant": p is not None and p < 0.05}
    fields |= {"test": draw(st.sampled_from([None, "paired", "welch"])), "ci": draw(st.none() | st.just((-1.5, 2.5)))}
    return Cell(**fields, heat=draw(st.sampled_from([None, "#FF4500", "#101060"])))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Up to twelve columns (which fold) and four rows, some of them failed; labels that attack the formats."""
    kind = draw(st.sampled_from(["scores", "effects"]))
    columns = tuple(f"c{i}" for i in range(draw(st.integers(1, 12))))
    rows = []
    for index in range(draw(st.integers(1, 4))):
        status = draw(st.sampled_from(["ok", "ok", "partial", "failed"]))
        found = {} if status == "failed" else {c: draw(cells(kind)) for c in columns}
        errors = (draw(WORDS),) if status == "failed" else ()
        further = {"n_parameters": draw(st.none() | st.integers(1, 10**9)), "n_seeds": draw(st.integers(0, 5))}
        rows.append(Row(name=f"r{index}", label=draw(WORDS), status=status, cells=found, errors=errors, **further))
    return Table(
        study="s",
        kind=kind,
        title=draw(WORDS),
        row_header=draw(WORDS),
        columns=columns,
        column_info={c: ColumnInfo(label=draw(WORDS)) for c in columns},
        dataset=DatasetInfo(synthetic=draw(st.booleans())),
        rows=tuple(rows),
        n_decimals=draw(st.integers(0, 4)),
        decimal=draw(st.sampled_from([".", ","])),
        notes=(draw(WORDS),),
    )


def assert_agreement(table: Table) -> None:
    wanted = expected(table)
    for width in (80, 200):
        assert terminal_cells(terminal.render([table], single=True, width=width), table, width) == wanted
    assert html_cells(render([table], "html", single=True), table) == wanted
    assert markdown_cells(render([table], "markdown", single=True), table) == wanted
    for standalone in (False, True):
        assert latex_cells(render([table], "latex", single=True, standalone=standalone), table) == wanted
    assert csv_cells(render([table], "csv", single=True), table) == wanted
    assert json_cells(render([table], "json", single=True)) == wanted


@given(tables())
@settings(max_examples=80, deadline=None)
def test_all_formats_print_the_same_numbers(table: Table) -> None:
    assert_agreement(table)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("decimal", [".", ","])
def test_the_samples_read_the_same_in_all_formats(name: str, decimal: str) -> None:
    assert_agreement(SAMPLES[name].model_copy(update={"decimal": decimal}))


@given(NUMBERS, st.integers(0, 6))
def test_what_is_printed_is_the_nearest_number_with_so_many_decimals(value: float, n_decimals: int) -> None:
    table = losses().model_copy(
        update={
            "n_decimals": n_decimals,
            "columns": ("c",),
            "rows": (Row(name="r", label="r", cells={"c": Cell(mean=value, delta=value)}),),
        }
    )
    ((mean, _, delta),) = expected(table)[0]
    unit = (
        Decimal(10) ** (-n_decimals) if abs(value) < 1e15 else Decimal(10) ** (Decimal(value).adjusted() - n_decimals)
    )
    assert abs(Decimal(mean) - Decimal(value)) <= unit / 2
    assert Decimal(mean) == Decimal(delta)
    assert delta.startswith(("+", "-")) == (Decimal(mean) != 0)
    assert not mean.startswith("-0") or Decimal(mean) != 0
