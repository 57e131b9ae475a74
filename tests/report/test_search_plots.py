"""Figures of a search and its closing lines: what is drawn, what is left out, what is said."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from report_samples import HOSTILE, five_seeds, sweep

from mmablate.analysis.search import Search, SearchParameter, SearchTrial
from mmablate.analysis.table import Table
from mmablate.report import canvas, plots, render
from mmablate.report.search_plots import importance_bars, search_drawings, slice_plot
from mmablate.report.search_view import closing_lines

BETA = SearchParameter(name="beta", symbol="β", kind="float", low=0.1, high=100, log=True)
WORD = SearchParameter(name="word", symbol="word", kind="choice", choices=("a", 2, 0.5, True))


def searched(**changes: object) -> Table:
    """The table of a sweep as that of a search of two parameters."""
    table = sweep()
    rows = [row.name for row in table.rows if row.baseline != row.name]
    trials = [
        SearchTrial(number=i, row=rows[i % len(rows)], state="complete", objective=10.0 + i,
                    values={"beta": 0.1 * 3**i, "word": WORD.choices[i % 4]}, n_seeds=3)
        for i in range(6)
    ]  # fmt: skip
    trials.append(SearchTrial(number=6, row="x", state="pruned", values={"beta": 50.0, "word": "a"}, n_seeds=2))
    fields = {
        "sampler": "tpe", "column": "Mean", "seeds": (0, 1, 2), "parameters": (BETA, WORD), "trials": tuple(trials),
        "importance": {"word": 0.75, "beta": 0.25}, "chosen": trials[5].row, "chosen_objective": 15.0,
        "baseline_objective": 9.0, **changes,
    }  # fmt: skip
    return table.model_copy(update={"search": Search.model_validate(fields)})


def texts(drawing: canvas.Drawing) -> list[str]:
    svg = canvas.inline_svg(drawing.figure, "t")
    return [element.text or "" for element in ET.fromstring(svg).iter("text")]


def test_each_parameter_has_its_slice_and_the_importance_follows():
    table = searched()
    assert [drawing.name for drawing in search_drawings(table)] == ["slice_beta", "slice_word", "importance"]
    assert [d.name for d in plots.drawings(table)][:3] == ["slice_beta", "slice_word", "importance"]
    assert search_drawings(sweep()) == []


def test_a_slice_shows_complete_trials_only_at_their_values():
    table = searched()
    drawing = slice_plot(table, table.search, BETA)
    trials = drawing.figure.axes[0].lines[1]
    assert list(trials.get_xdata()) == pytest.approx([0.1 * 3**i for i in range(6)])
    assert list(trials.get_ydata()) == [10, 11, 12, 13, 14, 15]
    assert set(drawing.figure.axes[0].lines[0].get_ydata()) == {9.0}
    assert "1 pruned left out" in drawing.note
    assert {"0.1", "1", "10", "100"} <= set(texts(drawing))
    assert drawing.figure.axes[0].get_xscale() == "log"


def test_choices_stand_side_by_side_under_their_names():
    table = searched()
    drawing = slice_plot(table, table.search, WORD)
    assert list(drawing.figure.axes[0].lines[1].get_xdata()) == [0, 1, 2, 3, 0, 1]
    assert {"a", "2", "0.5", "True"} <= set(texts(drawing))


def test_importance_is_drawn_in_percent_in_its_order():
    table = searched()
    drawing = importance_bars(table, table.search)
    assert [bar.get_height() for bar in drawing.figure.axes[0].patches] == [75, 25]
    assert importance_bars(table, table.search.model_copy(update={"importance": {}})) is None


def test_hostile_names_stay_text_in_every_format():
    hostile = BETA.model_copy(update={"symbol": HOSTILE, "name": "beta"})
    words = WORD.model_copy(update={"choices": (HOSTILE, 2, 0.5, True), "symbol": HOSTILE})
    table = searched(parameters=(hostile, words), chosen=HOSTILE)
    page = render([table], "html", single=True)
    assert "<script>alert" not in page
    for drawing in search_drawings(table):
        ET.fromstring(canvas.inline_svg(drawing.figure, "t"))


def test_json_gives_the_search_back():
    table = searched()
    assert Table.model_validate(table.to_json_dict()).search == table.search


def test_closing_lines_tell_the_choice_and_what_fresh_seeds_say():
    table = searched()
    row = next(row for row in table.rows if row.name == table.search.chosen)
    cell = five_seeds(50.0, 49.5, ci=(-0.4, 1.4), p=0.2, p_adjusted=0.2, test="paired", delta=0.5)
    check = table.model_copy(
        update={"rows": (table.rows[0], row.model_copy(update={"cells": {**row.cells, "Mean": cell}}))}
    )
    lines = closing_lines(table, check, 80)
    text = " ".join(lines)
    assert max(map(len, lines)) <= 80
    assert f"Chosen: {row.name}, by the mean of the validation Mean: 15.00, baseline 9.00" in text
    assert "On fresh seeds (0, 1, 2, 3, 4), test: Δ Mean +0.50 [−0.40, +1.40], p = 0.200: not significant" in text
    optimistic = " ".join(closing_lines(searched(optimistic=True), check, 80))
    assert "validation (the data have no test labels)" in optimistic
    assert "this Δ is optimistic" in optimistic
    assert "No trial is better than the baseline" in " ".join(
        closing_lines(searched(baseline_objective=16.0), None, 80)
    )
    assert "nothing is chosen" in " ".join(closing_lines(searched(chosen=None, chosen_objective=None), None, 80))
