"""Curves over a numeric factor: what stands in the figure, its colours, its files, and its words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import classification_samples as samples
import numpy as np
import pytest
from report_samples import HOSTILE

from mmablate.analysis.building import build_table
from mmablate.analysis.table import Table
from mmablate.report import canvas, plots
from mmablate.report.factor_plots import curve_drawings
from mmablate.report.figures import write_figures


@pytest.fixture
def table(tmp_path) -> Table:
    return build_table(samples.write(tmp_path))


def many(tmp_path: Any, methods: int) -> Table:
    """More methods than the samples know: each a KD of its own."""
    names = ("no_kd", *(f"m{i}" for i in range(1, methods)))

    def metrics(gamma: str, method: str, seed: int) -> dict[str, float]:
        return samples.scores(gamma, "no_kd" if method == "no_kd" else "kd", seed)

    return build_table(samples.write(tmp_path, methods=names, metrics=metrics))


def lines(axes: Any) -> list[tuple[list[float], list[float]]]:
    return [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in axes.get_lines()]


def test_the_figure_holds_scores_above_and_differences_below(table) -> None:
    (drawing,) = curve_drawings(table)
    upper, lower = drawing.figure.axes
    above = lines(upper)
    xs = [0.0, 0.25, 0.5, 1.0]
    for row_start, method in enumerate(samples.METHODS):
        means = [table.rows[3 * i + row_start].cells["Acc"].mean for i in range(4)]
        assert (xs, pytest.approx(means)) in above, method
    assert (xs, pytest.approx([row.cells["Teacher"].mean for row in table.rows[1::3]])) in above
    below = lines(lower)
    for start in (1, 2):
        assert (xs, pytest.approx([row.cells["Acc"].delta for row in table.rows[start::3]])) in below
    assert ([0.0, 1.0], [0.0, 0.0]) in below  # no difference
    assert len(below) == 3
    assert upper.get_position().y0 > lower.get_position().y1
    assert upper.get_position().x0 == lower.get_position().x0
    assert upper.get_xlim() == lower.get_xlim()


def test_bands_are_the_intervals_of_the_cells(table) -> None:
    (drawing,) = curve_drawings(table)
    lower = drawing.figure.axes[1]
    bands = [np.asarray(c.get_paths()[0].vertices) for c in lower.collections]
    assert len(bands) == 2
    for start, band in zip((1, 2), bands, strict=True):
        ends = {round(v, 9) for row in table.rows[start::3] for v in row.cells["Acc"].ci}
        assert {round(float(y), 9) for _, y in band} == ends


def test_legend_and_words(table) -> None:
    (drawing,) = curve_drawings(table)
    assert [entry.label for entry in drawing.legend] == ["no_kd", "kd", "focus", "Teacher"]
    teacher = drawing.legend[-1]
    assert canvas.VARIABLES[teacher.colour] == "--muted"
    assert canvas.DASHES[teacher.dash] == canvas.DASHES[1]
    assert canvas.VARIABLES[drawing.legend[0].colour] == "--bar0"  # the baselines are grey
    assert len({(e.colour, e.dash) for e in drawing.legend}) == 4
    assert drawing.heading == "Acc over gamma"
    assert drawing.axis_names == ("gamma", "accuracy, Acc in %")
    assert drawing.lower_name == "Δ in points"
    assert "bands: 95 % intervals" in drawing.note


def test_colours_are_variables_and_ticks_the_levels(table) -> None:
    (drawing,) = curve_drawings(table)
    svg = canvas.inline_svg(drawing.figure, "t")
    found = set(re.findall(r"(?:fill|stroke): ?([^;\"]+)", svg))
    assert found <= {"none"} | {f"var({v})" for v in canvas.VARIABLES.values()}
    texts = [element.text or "" for element in ET.fromstring(svg).iter("text")]
    assert texts.count("0.25") == 1
    assert {"0", "0.5", "1"} <= set(texts)
    again = canvas.inline_svg(curve_drawings(table)[0].figure, "t")
    assert again == svg


def test_more_curves_have_whiskers_of_their_own_place(tmp_path) -> None:
    table = many(tmp_path, 5)
    (drawing,) = curve_drawings(table)
    assert "whiskers: 95 % intervals" in drawing.note
    assert not drawing.figure.axes[0].collections
    whiskers = [xy for xy in lines(drawing.figure.axes[1]) if len(xy[0]) == 2 and xy[0][0] == xy[0][1]]
    ends = {tuple(np.round(row.cells["Acc"].ci, 9)) for row in table.rows if row.cells["Acc"].ci}
    assert {tuple(np.round(ys, 9)) for _, ys in whiskers} == ends


def test_too_many_curves_of_one_factor_are_left_to_the_table(tmp_path) -> None:
    assert len(curve_drawings(many(tmp_path, 6))) == 1
    table = many(tmp_path / "more", 7)
    assert curve_drawings(table) == []


def test_small_multiples_share_their_range_and_their_legend(tmp_path) -> None:
    table = many(tmp_path, 8)

    def two(levels: dict[str, str]) -> dict[str, str]:
        place = 0 if levels["method"] == "no_kd" else int(levels["method"][1:])
        return {"gamma": levels["gamma"], "choice": "ab"[place % 2], "kind": f"k{place // 2}"}

    rows = tuple(row.model_copy(update={"levels": two(row.levels)}) for row in table.rows)
    found = curve_drawings(table.model_copy(update={"rows": rows}))
    assert [d.heading for d in found] == ["a", "b"]
    assert {d.group for d in found} == {"Acc over gamma"}
    assert {d.figure.axes[0].get_ylim() for d in found} == {found[0].figure.axes[0].get_ylim()}
    assert found[0].legend == found[1].legend
    assert {"k0", "k1", "k2", "k3"} <= {e.label for e in found[0].legend}
    cards = plots.plots(table.model_copy(update={"rows": rows}), "t")
    assert len(cards[0].panels) == 2


def test_curves_stand_in_place_of_the_interval_plot(table) -> None:
    assert [d.name for d in plots.drawings(table)] == ["curves_Acc"]


def test_files_name_their_axes_and_the_synthetic_data(table, tmp_path) -> None:
    written = write_figures(table, None, tmp_path / "figures")
    assert [path.name for path in written] == ["curves_acc.svg", "curves_acc.pdf"]
    before = [path.read_bytes() for path in written]
    assert write_figures(table, None, tmp_path / "other")[0].read_bytes() == before[0]
    (drawing,) = curve_drawings(table, canvas.PAPER)
    from mmablate.report import figures

    figures._complete(drawing)
    upper, lower = drawing.figure.axes
    assert (upper.get_xlabel(), upper.get_ylabel()) == ("", "accuracy, Acc in %")
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("gamma", "Δ in points")
    assert upper.get_legend() is None
    legend = [text.get_text() for text in lower.get_legend().get_texts()]
    assert legend == ["no_kd", "kd", "focus", "Teacher", "no difference"]
    assert b"<!--" in before[0]


def test_hostile_levels_are_text(table) -> None:
    rows = tuple(
        row.model_copy(update={"levels": {HOSTILE: row.levels["gamma"], "method": row.levels["method"] + HOSTILE}})
        for row in table.rows
    )
    hostile = table.model_copy(update={"rows": rows})
    (card,) = plots.plots(hostile, "t")
    assert ET.fromstring(card.panels[0].svg) is not None
    assert "<script" not in card.panels[0].svg


def test_zero_spread_and_single_seeds_draw(tmp_path) -> None:
    def flat(gamma: str, method: str, seed: int) -> dict[str, float]:
        return {"Acc": 50.0}

    for seeds in ((0, 1, 2), (4,)):
        table = build_table(samples.write(tmp_path / str(len(seeds)), seeds, metrics=flat))
        (drawing,) = curve_drawings(table)
        assert "interval" not in drawing.note
        assert canvas.inline_svg(drawing.figure, "t")


def test_teachers_that_differ_have_a_line_each_and_what_is_not_drawn_is_said(tmp_path) -> None:
    def metrics(gamma: str, method: str, seed: int) -> dict[str, float]:
        found = samples.scores(gamma, "no_kd" if method == "no_kd" else "kd", seed)
        return {**found, "Teacher": 70.0 + int(method[1:]) + seed} if method != "no_kd" else found

    names = ("no_kd", "m1", "m2", "m3", "m4", "m5")
    for n, lines_drawn, said in ((3, 2, False), (6, 3, True)):
        store = samples.write(tmp_path / str(n), (0, 1), methods=names[:n], metrics=metrics)
        (drawing,) = curve_drawings(build_table(store))
        teachers = [e.label for e in drawing.legend if e.label.startswith("Teacher")]
        assert teachers == [f"Teacher (m{i})" for i in range(1, lines_drawn + 1)]
        assert len({e.dash for e in drawing.legend if e.label.startswith("Teacher")}) == lines_drawn
        assert ("3 of 5 different teachers" in drawing.note) == said
