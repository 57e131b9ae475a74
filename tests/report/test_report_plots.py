"""Figures: the same bytes every time, theme colours only, text as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from report_samples import SAMPLES, hostile, losses, per_row_baselines, sweep, wide

from mmablate.analysis.table import Row, Table
from mmablate.report import canvas, plots


def svg_of(drawing: canvas.Drawing) -> str:
    return canvas.inline_svg(drawing.figure, "t")


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("text")]


@pytest.mark.parametrize("name", SAMPLES)
def test_figures_are_deterministic_and_well_formed(name: str) -> None:
    first, second = plots.plots(SAMPLES[name], "t"), plots.plots(SAMPLES[name], "t")
    assert first == second
    for setting in ("svg.hashsalt", "svg.fonttype", "font.family"):
        assert mpl.rcParams[setting] == mpl.rcParamsDefault[setting]  # nothing global is left changed
    for panel in (panel for plot in first for panel in plot.panels):
        root = ET.fromstring(panel.svg)
        assert root.get("viewBox")
        assert root.get("width") is None


def test_colours_are_variables_of_the_page() -> None:
    for plot in (*plots.plots(sweep(), "t"), *plots.plots(losses(), "t")):
        found = {c for panel in plot.panels for c in re.findall(r"(?:fill|stroke): ?([^;\"]+)", panel.svg)}
        assert found <= {"none"} | {f"var({v})" for v in canvas.VARIABLES.values()}
        assert any(f"var({entry.variable})" in found for entry in plot.legend)


def test_bars_stand_for_rows_and_subsets() -> None:
    plot = plots.subset_bars(losses())
    assert plot is not None
    assert texts(svg_of(plot))[:7] == ["F", "E", "L", "FE", "FL", "EL", "FEL"]
    assert [entry.label for entry in plot.legend] == [row.label for row in losses().rows]
    bars = len(re.findall(r"fill: var\(--bar\d\)", svg_of(plot)))
    assert bars == 4 * 7


def test_many_rows_show_first_best_and_last() -> None:
    plot = plots.subset_bars(sweep(range(12)))
    assert plot is not None
    assert [entry.label for entry in plot.legend] == ["β = 0", "β = 3", "β = 11"]
    assert "first, best and last of 12 rows" in plot.note


def test_sensitivity_has_its_values_as_ticks_and_says_its_band() -> None:
    plot = plots.sensitivity(sweep((0, 0.01, 1, 100)))
    assert plot is not None
    assert [text for text in texts(svg_of(plot)) if text in ("0", "0.01", "1", "100")] == [
        "0",
        "0.01",
        "1",
        "100",
    ]
    assert plot.legend[0].label == "mean over seeds ± std"
    assert "baseline (39.29)" in plot.note


def test_ring_only_where_the_used_value_was_run() -> None:
    with_ring, without = plots.sensitivity(sweep(used=10)), plots.sensitivity(sweep(used=7))
    assert with_ring is not None
    assert without is not None
    assert "ring" in with_ring.note
    assert "ring" not in without.note
    assert "var(--card)" in svg_of(with_ring)
    assert "var(--card)" not in svg_of(without)


def test_crowded_ticks_leave_out_labels_but_never_the_used_value() -> None:
    plot = plots.sensitivity(sweep((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100), used=3))
    assert plot is not None
    shown = [text for text in texts(svg_of(plot)) if re.fullmatch(r"\d+", text)]
    assert "3" in shown
    assert "100" in shown
    assert len(shown) < 12


def test_no_figure_without_reason() -> None:
    assert plots.plots(per_row_baselines(), "t") == []
    assert plots.plots(Table(study="s"), "t") == []
    empty = Table(study="s", columns=("a", "b"), rows=(Row(name="r", label="r", status="failed"),))
    assert plots.plots(empty, "t") == []
    assert plots.sensitivity(wide()) is None


def test_text_is_no_mathematics_and_no_markup() -> None:
    table = hostile()
    columns = ("$x_1$", "$\\frac{", "<b>&")
    cells = dict.fromkeys(columns, table.rows[0].cells[table.columns[0]])
    info = {column: losses().column_info["F"] for column in columns}
    row = table.rows[0].model_copy(update={"cells": cells})
    plot = plots.subset_bars(
        table.model_copy(update={"columns": columns, "column_info": info, "rows": (row,), "sweep": None})
    )
    assert plot is not None
    assert texts(svg_of(plot))[:3] == list(columns)


def test_letters_that_the_font_lacks_do_not_warn() -> None:
    table = losses()
    columns = ("漢字", "E")
    rows = tuple(r.model_copy(update={"cells": {"漢字": r.cells["F"], "E": r.cells["E"]}}) for r in table.rows)
    info = dict.fromkeys(columns, table.column_info["F"])
    plot = plots.subset_bars(table.model_copy(update={"columns": columns, "rows": rows, "column_info": info}))
    assert plot is not None
    assert "漢字" in texts(svg_of(plot))
