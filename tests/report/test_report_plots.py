"""Figures: the same bytes every time, theme colours only, text as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from report_samples import SAMPLES, cell, five_seeds, hostile, losses, per_row_baselines, sweep, wide

from mmablate.analysis.courses import Course, Panel, Point, Training
from mmablate.analysis.table import Row, Sweep, Table
from mmablate.report import canvas, plots, sensitivity
from mmablate.report.interval_plot import delta_intervals
from mmablate.report.training_plots import training_drawings


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
    plot = sensitivity.sensitivity(sweep((0, 0.01, 1, 100)))
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
    with_ring, without = sensitivity.sensitivity(sweep(used=10)), sensitivity.sensitivity(sweep(used=7))
    assert with_ring is not None
    assert without is not None
    assert "ring" in with_ring.note
    assert "ring" not in without.note
    assert "var(--card)" in svg_of(with_ring)
    assert "var(--card)" not in svg_of(without)


def test_crowded_ticks_leave_out_labels_but_never_the_used_value() -> None:
    plot = sensitivity.sensitivity(sweep((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100), used=3))
    assert plot is not None
    shown = [text for text in texts(svg_of(plot)) if re.fullmatch(r"\d+", text)]
    assert "3" in shown
    assert "100" in shown
    assert len(shown) < 12


def test_no_figure_without_reason() -> None:
    assert [drawing.name for drawing in plots.drawings(per_row_baselines())] == ["delta"]
    assert plots.plots(Table(study="s"), "t") == []
    empty = Table(study="s", columns=("a", "b"), rows=(Row(name="r", label="r", status="failed"),))
    assert plots.plots(empty, "t") == []
    assert sensitivity.sensitivity(wide()) is None


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


# --- intervals of Δ ---------------------------------------------------------------------------------------


def test_intervals_of_the_primary_column_are_numbered_as_in_the_legend() -> None:
    drawing = delta_intervals(losses())
    assert drawing is not None
    table = losses()
    assert [entry.label for entry in drawing.legend] == [f"{i}: {table.rows[i].label}" for i in (1, 2, 3)]
    assert [entry.colour for entry in drawing.legend] == list(canvas.PAGE.bars[1:4])  # as in the bars
    assert texts(svg_of(drawing))[:3] == ["1", "2", "3"]
    axes = drawing.figure.axes[0]
    whiskers = [tuple(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 2][1:]
    assert whiskers == [row.cells["Mean"].ci for row in table.rows[1:]]
    assert "95 % interval in points" in drawing.note


def test_open_points_are_those_that_are_not_significant() -> None:
    drawing = delta_intervals(losses())
    assert drawing is not None
    points = [line for line in drawing.figure.axes[0].lines if line.get_marker() == "o"]
    opened = [line.get_markerfacecolor() == canvas.PAGE.card for line in points]
    assert opened == [not row.cells["Mean"].significant for row in losses().rows[1:]]
    assert ("open: not significant" in drawing.note) == any(opened)


def test_no_intervals_without_seeds_and_none_beside_a_curve() -> None:
    assert delta_intervals(losses(make=cell)) is None
    assert delta_intervals(sweep()) is None
    many = losses()
    row = many.rows[1]
    rows = (many.rows[0], *(row.model_copy(update={"name": f"r{i}"}) for i in range(17)))
    assert delta_intervals(many.model_copy(update={"rows": rows})) is None


# --- two swept parameters ---------------------------------------------------------------------------------


def two_swept(second: tuple[float, ...] = (0, 1, 2), *, random: bool = False) -> Table:
    rows = []
    for x in (0.0, 10.0, 50.0):
        for z in second:
            level = {"lambda": x, "beta": z + (x / 100 if random else 0)}
            cells = {"F": five_seeds(40 + x / 10 + z, None)}
            rows.append(Row(name=f"lambda={x},beta={z}", label="x", n_seeds=5, level=level, cells=cells))
    swept = Sweep(parameters=("lambda", "beta"), symbols=("λ", "β"), used=(10, 1))
    return Table(study="s", columns=("F",), rows=tuple(rows), sweep=swept)


def test_two_parameters_give_a_line_for_each_value_of_the_second() -> None:
    drawing = sensitivity.sensitivity_grid(two_swept())
    assert drawing is not None
    assert [entry.label for entry in drawing.legend] == ["β = 0", "β = 1", "β = 2"]
    assert "ring" in drawing.note
    assert drawing.heading == "Sensitivity to λ and β (F)"
    lines = [tuple(line.get_ydata()) for line in drawing.figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert lines == [(40 + z, 41 + z, 45 + z) for z in (0, 1, 2)]
    assert sensitivity.sensitivity(two_swept()) is None


def test_lines_of_single_runs_have_no_bands_and_speak_of_none() -> None:
    whole = two_swept()
    rows = tuple(row.model_copy(update={"cells": {"F": cell(row.cells["F"].mean or 0.0, None)}}) for row in whole.rows)
    tables = (whole, whole.model_copy(update={"rows": rows}))
    notes = [drawing.note for table in tables if (drawing := sensitivity.sensitivity_grid(table)) is not None]
    assert notes == ["bands: ± std over seeds; ring: values used", "ring: values used"]


def test_points_that_form_no_lines_are_not_joined() -> None:
    assert sensitivity.sensitivity_grid(two_swept(random=True)) is None
    assert sensitivity.sensitivity_grid(two_swept(tuple(range(9)))) is None
    assert sensitivity.sensitivity_grid(sweep()) is None


@pytest.mark.parametrize("n", range(1, 9))
def test_lines_in_order_have_colours_in_order_and_no_faint_ones_without_need(n: int) -> None:
    colours = canvas.line_levels(canvas.PAPER, n)[:n]
    assert len(set(colours)) == len(colours) == n
    places = [canvas.PAPER.levels.index(colour) for colour in colours]
    assert places == sorted(places)
    assert n > 6 or not {1, 2} & set(places)


# --- panels by column -------------------------------------------------------------------------------------


def test_panels_share_their_scale_and_one_card() -> None:
    table = sweep()
    wild = [{**r.cells, "E": r.cells["F"].model_copy(update={"delta": 7.0, "ci": (5, 9)})} for r in table.rows[1:]]
    rows = (table.rows[0], *(r.model_copy(update={"cells": c}) for r, c in zip(table.rows[1:], wild, strict=True)))
    drawn = sensitivity.sensitivity_panels(table.model_copy(update={"rows": rows}))
    assert [drawing.heading for drawing in drawn] == ["F", "E", "Mean"]
    assert len({drawing.figure.axes[0].get_ylim() for drawing in drawn}) == 1
    card = plots.plots(sweep(), "t")[-1]
    assert card.heading == "Sensitivity to β by column"
    assert [panel.heading for panel in card.panels] == ["F", "E", "Mean"]
    assert card.legend[0].label == "Δ to the baseline in points; band: 95 % interval"
    for panel in card.panels:
        assert re.search(r'id="t-\d-\d-', panel.svg)


def test_a_decimal_comma_stands_on_the_axes() -> None:
    table = sweep((0, 0.1, 0.5, 1)).model_copy(update={"decimal": ","})
    for drawing in plots.drawings(table):
        shown = texts(svg_of(drawing))
        assert not [text for text in shown if "." in text]
    drawing = sensitivity.sensitivity(table)
    assert drawing is not None
    assert "0,1" in texts(svg_of(drawing))
    assert "39,29" in drawing.note


# --- training ---------------------------------------------------------------------------------------------


def training(n_rows: int = 2, scale: float = 1.0) -> Training:
    names = tuple(f"L_{i}" for i in range(n_rows))

    def courses(selected: bool) -> tuple[Course, ...]:
        points = [Point(e, scale**e, scale**e * 0.9, scale**e * 1.1) for e in range(1, 6)]
        chosen = ((4, scale**4),) if selected else ()
        return tuple(Course(name, place, tuple(points), chosen) for place, name in enumerate(names))

    terms = (Panel("sup", "L_{sup}", courses(False)), Panel("mad", "L_{mad}", courses(False)[1:]))
    return Training(terms, Panel("Mean", "Mean", courses(True)), names, n_rows, False, 3)


def test_one_panel_a_term_and_one_of_validation_with_what_was_chosen() -> None:
    drawn = training_drawings(training())
    assert [drawing.heading for drawing in drawn] == ["L_{sup}", "L_{mad}", "validation Mean"]
    assert len({drawing.group for drawing in drawn}) == 1
    lines = [[line for line in d.figure.axes[0].lines if len(line.get_xdata()) == 5] for d in drawn]
    assert [len(some) for some in lines] == [2, 1, 2]
    assert lines[1][0].get_color() == canvas.PAGE.bars[1]  # a row has one colour in all panels
    dots = [tuple(line.get_xdata()) for line in drawn[2].figure.axes[0].lines if line.get_linestyle() == "None"]
    assert dots == [(4,), (4,)]
    assert "without their weights" in drawn[0].note
    assert "smallest to largest" in drawn[0].note


def test_losses_over_decades_have_a_logarithmic_axis_and_say_so() -> None:
    drawn = training_drawings(training(scale=0.1))
    assert [drawing.figure.axes[0].get_yscale() for drawing in drawn] == ["log", "log", "linear"]
    assert drawn[0].heading == "L_{sup} (logarithmic)"
    assert len(drawn[0].figure.axes[0].get_yticks()) >= 2


@pytest.mark.parametrize("n", [1, 2, 3, 7, 400])
def test_epochs_are_whole_numbers_each_once(n: int) -> None:
    points = tuple(Point(e, 1.0 / e, 1.0 / e, 1.0 / e) for e in range(1, n + 1))
    panel = Panel("sup", "L_{sup}", (Course("a", 0, points),))
    (drawing,) = training_drawings(Training((panel,), None, ("a",), 1, False, 1))
    axes = drawing.figure.axes[0]
    drawing.figure.draw_without_rendering()
    low, high = axes.get_xlim()
    shown = [label.get_text() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert shown
    assert len(set(shown)) == len(shown)
    assert all(text.isdigit() for text in shown)
