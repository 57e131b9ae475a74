"""All formats: the same rounded numbers everywhere, JSON that reads back, text that stays text."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import SAMPLES, five_seeds, hostile, losses, per_row_baselines, sweep, with_failures

from mmablate.analysis.table import Cell, Row, Sweep, Table
from mmablate.errors import UsageError
from mmablate.report import FORMATS, markdown, numbers, render

VALUES = st.floats(-1e4, 1e4, allow_nan=False)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A random table of one row with up to three metric columns."""
    columns = tuple(f"c{i}" for i in range(draw(st.integers(1, 3))))
    cells = {
        c: Cell(
            mean=draw(VALUES),
            std=draw(st.none() | st.floats(0, 100)),
            delta=draw(st.none() | VALUES),
            best=draw(st.booleans()),
            heat=draw(st.sampled_from([None, "#FF4500"])),
        )
        for c in columns
    }
    row = Row(name="r", label="r", n_seeds=3, cells=cells)
    return Table(study="s", columns=columns, rows=(row,), n_decimals=draw(st.integers(0, 4)))


def html_cells(page: str) -> list[tuple[str, str]]:
    """(mean, delta) of every table cell of a page."""
    found = re.findall(r"<td.*?</td>", page, flags=re.DOTALL)
    pick = [(re.search(r"<b>([^<]*)</b>", c), re.search(r'class="delta">([^<]*)<', c)) for c in found]
    return [(mean[1], delta[1] if delta else "") for mean, delta in pick if mean]


def markdown_cells(text: str) -> list[tuple[str, str]]:
    """(mean, delta) of every metric cell of the last table row."""
    row = [line for line in text.splitlines() if line.startswith("| r")][-1]
    cells = [cell.strip() for cell in row.strip("| ").split("|")[1:]]
    pick = [(re.match(r"\**([−\d.]+)", c), re.search(r"\(([^ )]*)", c)) for c in cells]
    return [(mean[1], delta[1] if delta else "") for mean, delta in pick if mean]


def csv_cells(text: str, columns: tuple[str, ...]) -> list[tuple[str, str]]:
    """(mean, delta) of the only line."""
    (line,) = csv.DictReader(io.StringIO(text))
    return [(line[c], line[f"{c}_delta"]) for c in columns]


def terminal_cells(text: str, table: Table) -> list[tuple[str, str]]:
    """(mean, delta) of the row, read from the lines between the rules of each group of columns."""
    found = []
    for block in re.findall(r"─\n(.*?)\n━", text, flags=re.DOTALL):
        lines = [line.split() for line in block.splitlines()]
        means = [word.rstrip("*†") for word in lines[0][1:]]
        found.append((means, [w for line in lines[1:] for w in line if not w.startswith("±") and w != "n.t."]))
    means = [mean for block_means, _ in found for mean in block_means]
    deltas = iter([delta for _, block_deltas in found for delta in block_deltas])
    cells = [table.rows[0].cells[column] for column in table.columns]
    # Columns with and without a std have their Δ in different lines: match them as a multiset.
    count = sum(c.delta is not None for c in cells)
    printed = sorted(deltas)
    assert len(printed) == count
    expected = sorted(numbers.signed(c.delta, table.n_decimals) for c in cells if c.delta is not None)
    assert printed == expected
    return [
        (m, numbers.signed(c.delta, table.n_decimals) if c.delta is not None else "")
        for m, c in zip(means, cells, strict=True)
    ]


@given(tables())
@settings(max_examples=60, deadline=None)
def test_every_format_prints_the_same_rounded_numbers(table: Table) -> None:
    cells = [table.rows[0].cells[column] for column in table.columns]
    n = table.n_decimals
    human = [(numbers.fixed(c.mean, n), "" if c.delta is None else numbers.signed(c.delta, n)) for c in cells]
    machine = [(a.replace("−", "-"), b.replace("−", "-")) for a, b in human]
    assert terminal_cells(render([table], "terminal", single=True), table) == human
    assert html_cells(render([table], "html", single=True)) == human
    assert markdown_cells(render([table], "markdown", single=True)) == human
    assert csv_cells(render([table], "csv", single=True), table.columns) == machine
    for (mean, delta), cell in zip(machine, cells, strict=True):
        assert cell.mean is not None
        assert abs(float(mean) - cell.mean) <= 0.5 * 10**-n + 1e-9
        if cell.delta is not None:
            assert abs(float(delta) - cell.delta) <= 0.5 * 10**-n + 1e-9
            assert delta[0] in "+-" or float(delta) == 0


def test_published_numbers_appear_as_published() -> None:
    table = losses()
    assert html_cells(render([table], "html", single=True))[8:10] == [("43.71", "+0.02"), ("23.00", "+0.65")]
    lines = list(csv.DictReader(io.StringIO(render([table], "csv", single=True))))
    assert lines[3]["Mean"] == "40.23"
    assert lines[3]["Mean_delta"] == "+0.94"
    assert lines[2]["E_delta"] == "-3.09"
    assert lines[0]["E_delta"] == ""
    assert "43.71 ± 0.37 (+0.02 n.s.)" in render([table], "markdown", single=True)
    assert "**46.01** ± 0.37 (+2.32)" in render([table], "markdown", single=True)


def test_unknown_format_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match=r"'pdf'.*terminal, html, markdown, latex, csv, json"):
        render([losses()], "pdf", single=True)


@pytest.mark.parametrize("fmt", FORMATS)
def test_synthetic_data_are_said_in_words_and_only_then(fmt: str) -> None:
    assert "synthetic" in render([losses()], fmt, single=True).lower()
    if fmt not in ("csv", "json"):  # those have a field
        assert "synthetic" not in render([sweep()], fmt, single=True).lower()


@pytest.mark.parametrize("fmt", ["terminal", "html", "markdown"])
def test_failures_limits_and_notes_are_said(fmt: str) -> None:
    text = render([with_failures()], fmt, single=True)
    assert "became nan at step 17" in text.replace("&#39;", "'")
    assert "interrupted" in text
    assert "4 seeds only" in text
    assert "One teacher a seed." in text
    unpaired = render([per_row_baselines()], fmt, single=True)
    assert "Δ to" in unpaired
    assert "reference" in unpaired
    assert "ʷ" in unpaired
    assert "fewer than 3 seeds" in unpaired


@pytest.mark.parametrize("name", SAMPLES)
def test_json_reads_back_as_the_same_table(name: str) -> None:
    table = SAMPLES[name]
    assert Table.model_validate(json.loads(render([table], "json", single=True))) == table
    several = json.loads(render([table, table], "json", single=False))
    assert several["schema"] == 1
    assert [Table.model_validate(t) for t in several["tables"]] == [table, table]


def test_nan_never_leaks() -> None:
    empty = Cell(mean=math.nan, std=math.inf, values={"0": math.nan, "1": 2.0}, delta=math.nan, ci=(math.nan, 1.0))
    row = Row(name="r", label="r", status="partial", n_seeds=1, cells={"c": empty})
    table = Table(study="s", columns=("c",), rows=(row,))
    for fmt in FORMATS:
        text = render([table], fmt, single=True).lower()
        assert not re.search(r"\b(nan|inf|infinity)\b", text), fmt
    back = Table.model_validate(json.loads(render([table], "json", single=True)))
    assert back.rows[0].cells["c"] == Cell(values={"1": 2.0})


def test_csv_of_several_tables_has_one_header_and_names_the_study() -> None:
    lines = list(csv.DictReader(io.StringIO(render([losses(), per_row_baselines()], "csv", single=False))))
    assert [line["study"] for line in lines] == ["muses_losses"] * 4 + ["factors"] * 5
    assert lines[0]["HD95"] == ""
    assert lines[4]["HD95"] == "4.00"
    single = render([losses()], "csv", single=True).splitlines()[0].split(",")
    assert single[:5] == ["row", "label", "F", "F_std", "F_delta"]
    tail = ["n_seeds", "n_parameters", "seconds", "status", "dataset", "synthetic"]
    assert single[2 + 3 * 8 :][: len(tail) + 2] == [*tail, "baseline", "flops"]
    evidence = ["_ci_low", "_ci_high", "_test", "_p", "_p_adjusted", "_significant", "_best", "_tied"]
    assert single[-len(evidence) :] == [f"Mean{suffix}" for suffix in evidence]


def test_csv_says_what_stands_behind_a_delta() -> None:
    base, row = list(csv.DictReader(io.StringIO(render([losses()], "csv", single=True))))[:2]
    assert (row["baseline"], row["Mean_ci_low"], row["Mean_ci_high"]) == ("sup", "+0.32", "+1.32")
    assert (row["Mean_test"], row["Mean_significant"], row["F_significant"]) == ("paired", "true", "false")
    assert float(row["Mean_p_adjusted"]) == pytest.approx(0.0257, abs=1e-4)
    assert (row["Mean_best"], row["Mean_tied"]) == ("false", "true")
    assert (base["Mean_p"], base["Mean_significant"], base["Mean_ci_low"]) == ("", "", "")


def test_csv_text_is_no_formula_and_numbers_stay_numbers() -> None:
    lines = list(csv.reader(io.StringIO(render([hostile()], "csv", single=True))))
    flat = [field for line in lines for field in line]
    assert "'=2+3" in flat
    assert "'+cmd" in flat
    assert "'@x" in flat
    assert "'=cmd()" in flat
    for field in flat:
        if field[:1] in ("=", "+", "-", "@"):
            float(field)
    assert len({len(line) for line in lines}) == 1


def test_markdown_keeps_its_grid_and_no_html_but_subscripts() -> None:
    text = render([hostile()], "markdown", single=True)
    grid = [line for line in text.splitlines() if line.startswith("|")]
    assert len(grid) == 2 + 3
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in grid} == {3}
    assert set(re.findall(r"<[^>]*>", text)) <= {"<sub>", "</sub>"}
    assert "L<sub>sup</sub> + λL<sub>mad</sub>" in render([losses()], "markdown", single=True)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("0.5 of the scores", "0.5 of the scores"), ("3. of May", r"3\. of May"), ("12) x", r"12\) x"),
        ("3.", r"3\."), ("3.x", "3.x"), ("3 . x", "3 . x"), ("- x", r"\- x"), ("-1", r"\-1"), ("# x", r"\# x"),
        ("+ x", r"\+ x"), ("in 3. of May", "in 3. of May"),
    ],
)  # fmt: skip
def test_markdown_begins_no_list_and_prints_no_stray_backslash(text: str, escaped: str) -> None:
    assert markdown.escape(text) == escaped
    printed = render([losses(caption=text, notes=(text,))], "markdown", single=True).splitlines()
    assert escaped in printed
    assert f"- {escaped}" in printed


HUGE = 10**400


def enormous(number: int) -> Table:
    """Every whole number of a table that a JSON file may hold."""
    table = sweep((0, 1, 10))
    cells = {
        c: x.model_copy(update={"n_pairs": number, "seeds_needed": number, "seeds_needed_upper": number + 1})
        for c, x in table.rows[1].cells.items()
    }
    fields = {"n_parameters": number, "n_seeds": number, "level": {"beta": number}, "cells": cells}
    rows = (table.rows[0], table.rows[1].model_copy(update=fields), table.rows[2])
    counts = {"n_train": number, "n_val": number, "n_test": number}
    data = table.dataset.model_copy(update=counts)
    made = table.model_copy(update={"rows": rows, "dataset": data, "smallest_effect": 0.5})
    return Table.model_validate(json.loads(render([made], "json", single=True)))


@pytest.mark.parametrize("number", [HUGE, -HUGE, 10**20, 10**4000], ids=["1e400", "-1e400", "1e20", "1e4000"])
@pytest.mark.parametrize("fmt", FORMATS)
def test_whole_numbers_of_any_size_render_in_every_format(fmt: str, number: int) -> None:
    table = enormous(number)
    text = render([table], fmt, single=True)
    if fmt in ("terminal", "html", "markdown", "latex"):
        assert "0" * 60 not in text
    two = table.model_copy(
        update={
            "sweep": Sweep(parameters=("beta", "z"), symbols=("β", "z"), used=(number, 1)),
            "rows": tuple(row.model_copy(update={"level": {**row.level, "z": number}}) for row in table.rows),
        }
    )
    assert render([two], fmt, single=True)


@pytest.mark.parametrize("fmt", FORMATS)
def test_lone_surrogates_in_any_text_can_be_written(fmt: str) -> None:
    odd = "a\ud800b\udc00"
    rows = tuple(
        row.model_copy(update={"label": odd, "name": odd + row.name, "errors": (odd,), "status": "partial"})
        for row in losses().rows
    )
    texts = {"study": odd, "title": odd, "caption": odd, "row_header": odd, "notes": (odd,)}
    data = losses().dataset.model_copy(update={"name": odd, "attribution": odd})
    table = losses(rows=rows, baseline=odd + "sup", dataset=data, **texts)
    text = render([table], fmt, single=True)
    text.encode()
    if fmt == "json":
        assert json.loads(text)["title"] == odd


@pytest.mark.parametrize("fmt", ["terminal", "html", "markdown", "latex"])
def test_a_welch_delta_is_marked_with_and_without_a_p_but_not_among_single_runs(fmt: str) -> None:
    table = per_row_baselines()
    base, further = table.rows[1], table.rows[2]
    bare = further.model_copy(
        update={"cells": {c: Cell(mean=87.0, delta=2.0, test="welch") for c in table.columns}, "n_seeds": 1}
    )
    mark = r"\textsuperscript{w}" if fmt == "latex" else "ʷ"
    few = table.model_copy(update={"rows": (base, bare)})
    assert mark in render([few], fmt, single=True)
    said = " ".join(render([few], fmt, single=True).replace("&#39;", "'").split())
    assert "seeds not paired: Welch's test, where there are seeds enough" in said
    teacher = table.rows[0].model_copy(update={"n_seeds": 3})
    single = table.model_copy(update={"rows": (teacher, base.model_copy(update={"n_seeds": 1}), bare)})
    assert mark not in render([single], fmt, single=True)
    assert "Welch" not in render([single], fmt, single=True)


class _Parser(HTMLParser):
    """Collects tags and attributes; fails on an end tag that closes nothing."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> _Parser:
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("name", SAMPLES)
def test_html_is_well_formed_and_asks_nobody(name: str) -> None:
    page = render([SAMPLES[name], losses()], "html", single=False)
    parser = parsed(page)
    assert parser.tags.isdisjoint({"link", "iframe", "img", "object", "h*"})
    assert page.count("<script") == 1  # the page's own, which its policy knows by a hash
    assert page.count("<title>") == 1
    ids = [value for _, attribute, value in parser.attributes if attribute == "id"]
    assert len(ids) == len(set(ids))
    for tag, attribute, value in parser.attributes:
        assert not attribute.startswith("on"), (tag, attribute)
        if attribute in ("src", "href", "xlink:href"):
            assert value.startswith("#")
            assert value[1:] in ids
    assert not re.search(r"https?://|@import|url\((?!#)", page)


def test_html_sets_labels_heat_and_hover() -> None:
    page = render([losses()], "html", single=True)
    assert '<html lang="en">' in page
    assert "L<sub>sup</sub>" in page
    assert "fusion<sub>" not in render([SAMPLES["wide"]], "html", single=True)
    assert re.search(r'<td class="hff4500 best"[^>]*title="seed 0: 45.510\n', page)
    assert re.search(r'<td class="hffd580 pale"[^>]*>.*43\.71', page)
    assert '<span class="chip warning">SYNTHETIC DATA</span>' in page
    assert "≥2.2" in page
    assert "prefers-color-scheme: dark" in page


def test_html_shows_failures_in_the_place_of_the_cells() -> None:
    page = render([with_failures()], "html", single=True)
    assert re.search(r'<td class="failure" colspan="8"><strong>failed</strong><span>seed 0: loss term', page)


def test_a_missing_cell_of_an_incomplete_row_says_failed_and_of_a_complete_row_does_not() -> None:
    for status, word in (("partial", "failed"), ("ok", "–")):
        row = Row(name="r", label="r", status=status, n_seeds=1, cells={"a": Cell(mean=1.0)})
        table = Table(study="s", columns=("a", "b"), rows=(row,))
        assert f">{word}<" in render([table], "html", single=True).replace("<b>", "").replace("</b>", "<")
        assert f"| {word} |" in render([table], "markdown", single=True)
        assert re.search(rf"1\.00 +{word}\n", render([table], "terminal", single=True))


def test_style_injection_by_heat_fails() -> None:
    page = render([hostile()], "html", single=True)
    assert "red;}" not in page
    assert not re.search(r'class="[^"]*;', page)


def test_colour_scale_stands_only_where_colours_do() -> None:
    def pale(mean: float, base: float | None, **further: object) -> Cell:
        return five_seeds(mean, base, **{**further, "heat": None})

    assert 'class="scale"' in render([losses()], "html", single=True)
    assert 'class="scale"' not in render([losses(make=pale)], "html", single=True)


def test_a_table_without_a_scale_leaves_the_colours_of_the_others_alone() -> None:
    def rules(*tables: Table) -> set[str]:
        return set(re.findall(r"^ *\.h[0-9a-f]{6} .*$", render(tables, "html", single=False), flags=re.MULTILINE))

    assert rules(losses()) == rules(losses(), per_row_baselines()) == rules(per_row_baselines(), losses())
