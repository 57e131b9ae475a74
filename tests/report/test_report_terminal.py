"""The terminal table: fits its width, cuts no number, says with marks what colour says."""

from __future__ import annotations

import io
import re

import pytest
from report_samples import (
    SAMPLES,
    effects,
    five_seeds,
    hostile,
    losses,
    per_row_baselines,
    sweep,
    wide,
    with_failures,
)
from rich.cells import cell_len
from rich.console import Console

from mmablate.analysis.table import Table
from mmablate.report import terminal
from mmablate.report.wrapping import wrap


def printed(table: Table, width: int = 80) -> str:
    return terminal.render([table], single=True, width=width)


def coloured(table: Table) -> str:
    out = io.StringIO()
    terminal.print_tables([table], Console(file=out, width=80, color_system="truecolor", force_terminal=True))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 100, 200])
@pytest.mark.parametrize("name", SAMPLES)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    text = printed(SAMPLES[name], width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text


def test_eight_columns_fit_80_without_folding() -> None:
    header = next(line for line in printed(losses()).splitlines() if line.startswith("Losses"))
    assert header.split() == ["Losses", *losses().columns]


@pytest.mark.parametrize("value", [100.0, -12.34])
def test_eight_columns_of_long_numbers_fit_80_without_folding(value: float) -> None:
    table = losses(make=lambda mean, base, **k: five_seeds(value, None if base is None else value + 30, **k))
    assert "columns 1" not in printed(table)


def test_decimals_stand_under_each_other_with_and_without_a_mark() -> None:
    lines = printed(losses()).splitlines()
    texts = ("39.29", "40.11†", "39.72", "40.23*", "+0.82", "Mean")
    ends = [{line.rindex(text) + len(text.rstrip("*†")) for line in lines[:20] if text in line} for text in texts]
    assert ends[0] == {79}
    assert all(end == ends[0] for end in ends)


def test_twenty_columns_fold_and_keep_every_number() -> None:
    text = printed(wide())
    assert (
        text.count("fusion_first_all") == 1 + 2 * 4 + 3
    )  # chip, both rows in each of four groups, evidence of three columns
    assert "columns 1 to 5 of 20" in text
    assert "columns 16 to 20 of 20" in text
    for index in range(20):
        assert f"metric{index}" in text
        assert f"{51 + index:.2f}" in text


def test_a_wide_label_and_a_wide_column_name_leave_room_for_each_other() -> None:
    table = wide(1).model_copy(update={"row_header": "x" * 60})
    assert "columns" not in printed(table, 40)
    assert "51.00" in printed(table, 40)


def test_marks_say_what_bold_and_colour_say() -> None:
    text = printed(losses())
    assert "\x1b" not in text
    assert "46.01*" in text
    assert "40.11†" in text
    assert "n.s." in text
    assert "−3.09" in text
    assert "SYNTHETIC" in text
    assert "baseline L_sup" in text


def test_colour_is_legible_background_and_spares_what_is_not_significant() -> None:
    text = coloured(losses())
    assert re.search(r"48;2;255;69;0m\+2\.32", text)  # #FF4500 behind +2.32
    assert not re.search(r"48;2;[\d;]*m[+−]0\.02", text)  # +0.02 is n.s.


def test_nothing_about_significance_without_a_test() -> None:
    text = printed(SAMPLES["one seed"])
    assert "n.s." not in text
    assert "±" not in text
    assert "Holm's" not in text.split("•")[0]
    assert "one seed: no spread, no test" in text


def test_failed_rows_say_so_and_why() -> None:
    text = printed(with_failures())
    assert "failed" in text
    assert "loss term 'umd' became nan at step 17" in text
    assert "4 seeds only" in text
    assert "1 row failed" in text


def test_labels_break_before_a_plus() -> None:
    assert wrap("L_sup + λL_mad + αL_umd", 16, before_plus=True) == ["L_sup + λL_mad", "+ αL_umd"]
    assert wrap("a" * 10, 4) == ["aaaa", "aaaa", "aa"]
    assert wrap("漢字漢字", 5) == ["漢字", "漢字"]


def test_sweep_has_bars_with_ring_and_baseline() -> None:
    bars = printed(sweep()).split("Sensitivity to β (Mean)")[1].splitlines()[1:]
    assert [line.split()[0] for line in bars] == ["0", "1", "10", "20", "50", "100"]
    assert [line for line in bars if "◯" in line] == [line for line in bars if line.split()[0] == "10"]
    assert "baseline" in bars[0]
    lengths = [line.count("█") for line in bars]
    assert lengths[3] == max(lengths)
    assert lengths[0] == min(lengths)


def test_no_bars_for_two_parameters_or_for_words() -> None:
    table = sweep()
    assert table.sweep is not None
    two = table.sweep.model_copy(update={"parameters": ("beta", "x"), "symbols": ("β", "x"), "used": (1, 1)})
    assert "Sensitivity" not in printed(table.model_copy(update={"sweep": two}))
    rows = tuple(row.model_copy(update={"level": {"beta": row.name}}) for row in table.rows)
    assert "Sensitivity" not in printed(table.model_copy(update={"rows": rows}))


def test_hostile_text_is_printed_not_obeyed() -> None:
    text = printed(hostile(), 200)
    assert "\x1b" not in text
    assert "[red]|a|[/red]" in text


def test_parameters_and_time_stand_beside_or_below() -> None:
    assert "Parameters: L_sup: 81.2k" in printed(losses())
    beside = printed(losses(), 140)
    assert "Parameters: " not in beside
    assert re.search(r"Losses .* Parameters +Time", beside)


def test_empty_tables_print() -> None:
    assert "nothing" in printed(Table(study="nothing"))


def on_console(table: Table, **options: object) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, **options)  # type: ignore[arg-type]
    terminal.print_tables([table], console)
    return out.getvalue()


def test_the_scale_is_shown_where_colours_are() -> None:
    text = re.sub(r"\x1b\[[\d;]*m", "", coloured(losses()))
    assert "worse ≥2.2≥1.4≥0.7>0 >0≥0.7≥1.4≥2.2 better, |Δ| in points of mIoU" in text
    assert "within its family (no colour)" in " ".join(text.split())
    assert "worse" not in printed(losses())
    assert "(no colour)" not in printed(losses())
    assert "worse" not in coloured(per_row_baselines())  # it has no scale


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_coloured_line_is_wider_than_the_terminal(width: int) -> None:
    for line in terminal.lines(losses(), width, coloured=True):
        assert width < 40 or line.cell_len <= width, line.plain
    scale = [line.plain for line in terminal.lines(losses(), width, coloured=True) if "≥" in line.plain]
    assert all(cell_len(line) <= width for line in scale)


def test_no_colour_means_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"color_system": "truecolor", "force_terminal": True}
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)[;m]")
    for table in SAMPLES.values():
        assert not colour.search(on_console(table, no_color=True, **settings))
    assert colour.search(on_console(losses(), **settings))
    assert "worse" not in on_console(losses(), no_color=True, **settings)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour.search(on_console(losses(), **settings))
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b" not in on_console(losses())  # no terminal


def test_effects_stand_where_means_do() -> None:
    lines = printed(effects()).splitlines()
    row = next(index for index, line in enumerate(lines) if line.startswith("masking "))
    assert lines[row].split() == ["masking", "+2,50", "+0,10", "n.s.", "−0,30", "n.s."]
