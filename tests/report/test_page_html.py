"""The page's table: what sorting and the numbers behind a cell rest on, escaping, contrast, and size."""

from __future__ import annotations

import base64
import hashlib
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import COLUMNS, GAIN, INFO, LOSS, SAMPLES, SCALE, five_seeds, losses, sweep, with_failures
from test_study_page import Page, assert_self_contained

from mmablate.analysis.heat import GAIN as TRUE_GAIN
from mmablate.analysis.heat import LOSS as TRUE_LOSS
from mmablate.analysis.table import Cell, ColumnInfo, DatasetInfo, Row, Table
from mmablate.report import colours, evidence, html, script
from mmablate.report.study_page import render_study


def with_statistics(table: Table) -> Table:
    """The same table with every number that statistics may give."""
    rows = []
    for row in table.rows:
        further = {"n_pairs": 5, "correlation": 0.42, "effect_size": 1.5, "p_sign_flip": 0.0625, "seeds_needed": 9}
        cells = {
            c: cell if cell.delta is None else cell.model_copy(update={**further, "seeds_needed_upper": 21})
            for c, cell in row.cells.items()
        }
        rows.append(row.model_copy(update={"cells": cells}))
    return table.model_copy(update={"rows": tuple(rows), "smallest_effect": 0.5, "confidence": 0.9})


def effects() -> Table:
    def contrast(delta: float, p: float) -> Cell:
        colour = GAIN[1] if delta > 0 else LOSS[1]
        return Cell(delta=delta, p=p, p_adjusted=p, significant=p < 0.05, ci=(delta - 1, delta + 1), heat=colour)

    rows = (
        Row(name="umd", label="L_umd", n_seeds=5, cells={"F": contrast(1.25, 0.01), "Mean": contrast(-0.5, 0.4)}),
        Row(name="umd:cmd", label="L_umd × L_cmd", n_seeds=5, cells={"F": contrast(0.25, 0.9)}),
    )
    info = {"F": INFO["F"], "Mean": INFO["Mean"]}
    return Table(study="s", kind="effects", title="Main effects", columns=("F", "Mean"), column_info=info, rows=rows,
                 heat_scales=(SCALE,))  # fmt: skip


# --- the script -------------------------------------------------------------------------------------------


def test_the_policy_lets_in_this_script_and_no_other() -> None:
    page = Page(html.render_page([losses()]))
    (code,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode()
    (policy,) = (m["content"] for m in page.all("meta") if "http-equiv" in m)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert {rules[name] for name in ("default-src", "base-uri", "form-action")} == {"'none'"}
    assert "</" not in code
    assert script.policy(code + " ") != policy


# --- sorting ----------------------------------------------------------------------------------------------


def test_cells_carry_the_numbers_that_they_are_sorted_by() -> None:
    page = Page(html.render_page([with_failures()]))
    keys = [float(cell["data-v"]) for cell in page.all("td") if "data-v" in cell and "title" in cell]
    table = with_failures()
    means = [row.cells[c].mean for row in table.rows if row.status != "failed" for c in table.columns]
    assert keys[: len(means)] == pytest.approx(means, rel=1e-8)
    failed = next(cell for cell in page.all("td") if cell.get("class") == "failure")
    assert "data-v" not in failed
    assert failed["colspan"] == str(len(COLUMNS))


def test_the_better_end_comes_first() -> None:
    table = SAMPLES["factors"]
    order = {head.get("data-sort") for head in Page(html.render_page([table])).all("th") if "data-sort" in head}
    assert order == {"words", "descending", "ascending"}
    heads = re.findall(r'data-sort="(\w+)">(Accuracy|HD95)<', html.render_page([table]))
    assert heads == [("descending", "Accuracy"), ("ascending", "HD95")]


# --- what stands behind a cell ----------------------------------------------------------------------------


def test_hover_and_table_hold_every_number() -> None:
    table = with_statistics(losses())
    text = evidence.hover(table, table.rows[1].cells["L"])
    for line in ("seed 0: 34.200", "Δ 90 % interval: +2.060 to +3.060", "paired test over 5 seeds: p < 0.001",
                 "sign-flip test: p = 0.06", "correlation of the pairs: 0.42", "effect size d: 1.50",
                 "seeds to detect 0.5: 9 (up to 21)"):  # fmt: skip
        assert line in text, line
    view = evidence.evidence_view(table)
    assert view is not None
    names = [name for name, _ in view.headings]
    assert names == ["mean", "std", "Δ", "90 % interval", "n", "p", "p adj.", "p flip", "ρ", "d",
                     "seeds to detect 0.5", "by seed"]  # fmt: skip
    line = next(line for line in view.lines if line.column == "L" and "mad" in line.row)
    texts = [text for text, _ in line.cells]
    assert texts[2:5] == ["+2.56", "[+2.06, +3.06]", "5"]
    assert len(view.lines) == 4 * 8
    page = Page(html.render_page([table]))
    assert "All numbers" in page.text
    assert_self_contained(page)


def test_columns_that_nothing_fills_are_left_out_and_one_seed_has_no_tests() -> None:
    view = evidence.evidence_view(losses())
    assert view is not None
    assert not {"ρ", "d", "p flip", "n"} & {name for name, _ in view.headings}
    assert evidence.evidence_view(SAMPLES["one seed"]) is None
    assert "All numbers" not in html.render_page([SAMPLES["one seed"]])


def test_many_seeds_are_listed_in_part() -> None:
    cell = Cell(mean=1.0, values={str(i): 1.0 for i in range(500)})
    table = Table(study="s", columns=("a",), rows=(Row(name="r", label="r", cells={"a": cell}),))
    text = evidence.hover(table, cell)
    assert text.count("\n") == evidence.MOST_SEEDS
    assert text.endswith("and 488 more")


def test_a_decimal_comma_stands_everywhere_people_read() -> None:
    table = with_statistics(sweep()).model_copy(update={"decimal": ","})
    page = Page(html.render_page([table]))
    shown = page.text + "".join(a.get("title", "") for _, a in page.found)
    assert not re.findall(r"\d\.\d", shown)
    assert "[+0,04; +1,04]" in page.text
    assert re.search(r"seed 0: 42,790", shown)
    assert all("," not in a["data-v"] for _, a in page.found if "data-v" in a)


# --- effects ----------------------------------------------------------------------------------------------


def test_cells_of_effects_print_their_delta_as_the_value() -> None:
    text = render_study(losses(), effects=[effects()])
    section = text.partition('<section id="t2"')[2].partition("</section>")[0]
    assert re.findall(r"<b>([^<]*)</b>", section) == ["+1.25", "−0.50", "+0.25", "–"]
    assert section.count("n.s.</i>") == 2
    assert re.search(r'class="sep h\w+ pale"', section)
    assert "baseline" not in re.sub(r"<figcaption>.*", "", section, flags=re.DOTALL)
    assert '<a href="#t2">Main effects</a>' in text


# --- text from recipes ------------------------------------------------------------------------------------

TRICKS = st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</style><script>", "]]>", "{{ 7*7 }}", "{% raw %}",
     "<!--", "&lt;b&gt;", "javascript:alert(1)", "' onmouseover='x", "\u202egnp.exe", "\x00\x1b[31m", "Größe", "漢字",
     "مرحبا", "🧪", "L_{sup}", "$x_1$", "a\nb"]
)  # fmt: skip
TEXTS = st.lists(TRICKS | st.text(max_size=8), max_size=4).map("".join)


@given(st.lists(TEXTS, min_size=9, max_size=9))
@settings(max_examples=60, deadline=None)
def test_no_text_becomes_markup(some: list[str]) -> None:
    title, label, caption, note, column, metric, error, attribution, header = some
    table = Table(
        study="s", title=title, caption=caption, row_header=header, notes=(note,), columns=("c",), baseline="r",
        column_info={"c": ColumnInfo(label=column, metric=metric)}, dataset=DatasetInfo(attribution=attribution),
        rows=(Row(name="r", label=label, baseline="r", status="partial", n_seeds=5, errors=(error,),
                  cells={"c": five_seeds(1.0, None)}),),
    )  # fmt: skip
    page = Page(html.render_page([table]))
    assert_self_contained(page)
    known = (
        "html head meta title style body main section h1 h3 h4 p span figure div table thead tr th tbody td b i small "
        "sub sup figcaption ul li details summary script strong"
    )
    assert {tag for tag, _ in page.found} <= set(known.split())
    assert page.scripts == [script.page_script()]


def test_languages_reach_the_page_as_they_are() -> None:
    words = ("Größenübersicht", "漢字の表題", "مرحبا", "🧪")
    table = losses(title=" ".join(words))
    text = html.render_page([table])
    assert all(word in text for word in words)
    assert '<html lang="en">' in text
    assert "unicode-bidi: plaintext" in text


# --- colours ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [TRUE_GAIN, TRUE_LOSS, GAIN, LOSS])
def test_every_heat_style_is_legible_and_its_steps_go_one_way(side: tuple[str, ...]) -> None:
    styles = [colours.heat_style(colour, step) for step, colour in enumerate(side)]
    for style in styles:
        assert colours.contrast(style.ink, style.background) >= colours.AA
        assert colours.contrast(colours.INK, style.pale) >= colours.AA
        assert colours.contrast("#66666d", style.pale) >= colours.AA  # --muted, of "n.s."
        assert colours.contrast(colours.DARK_INK, style.dark_background) >= colours.AA
        assert colours.contrast(colours.DARK_INK, style.dark_pale) >= colours.AA
        assert colours.contrast("#a0a0a8", style.dark_pale) >= colours.AA
    light = [colours.luminance(style.background) for style in styles]
    dark = [colours.luminance(style.dark_background) for style in styles]
    assert light == sorted(light, reverse=True)
    assert dark == sorted(dark)


@given(st.integers(0, 0xFFFFFF), st.integers(-5, 9))
def test_any_colour_of_a_file_is_legible_in_both_themes(colour: int, step: int) -> None:
    style = colours.heat_style(f"#{colour:06X}", step)
    assert colours.contrast(style.ink, style.background) >= colours.AA
    assert colours.contrast(colours.DARK_INK, style.dark_background) >= colours.AA
    assert colours.contrast(colours.INK, style.pale) >= colours.AA


# --- size -------------------------------------------------------------------------------------------------


def large(n_rows: int, n_columns: int) -> Table:
    columns = tuple(f"c{i}" for i in range(n_columns))
    cells = {c: five_seeds(40.0 + i % 7, 40.0) for i, c in enumerate(columns)}
    base = Row(name="r0", label="L_sup", baseline="r0", n_seeds=5, cells=dict.fromkeys(columns, five_seeds(40.0, None)))
    rows = (
        Row(name=f"r{i}", label=f"L_sup + {i}L_mad", baseline="r0", n_seeds=5, cells=cells) for i in range(1, n_rows)
    )
    return Table(
        study="s", baseline="r0", columns=columns, rows=(base, *rows), column_info=dict.fromkeys(columns, INFO["F"])
    )


@pytest.mark.parametrize(("n_rows", "n_columns"), [(1000, 8), (4, 1000), (1, 1), (0, 3), (3, 0)])
def test_tables_of_any_size_render_soon_and_stay_small(n_rows: int, n_columns: int) -> None:
    table = large(max(n_rows, 1), n_columns)
    if n_rows == 0:
        table = table.model_copy(update={"rows": ()})
    start = time.perf_counter()
    text = html.render_page([table])
    assert time.perf_counter() - start < 5  # a tenth of that on a laptop
    assert len(text) < 8_000_000
    page = Page(text)
    assert len(page.all("td")) >= n_rows * n_columns
    if n_rows * n_columns > evidence.MOST_LINES:
        assert "Listed are the column c0 only; JSON and CSV hold all." in page.text
        view = evidence.evidence_view(table)
        assert view is not None
        assert len(view.lines) == n_rows
