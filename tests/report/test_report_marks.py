"""What a table says in words, in every format: labels, chosen columns, evidence, key, decimal sign, effects."""

from __future__ import annotations

import re
import time

import pytest
from report_samples import cell, effects, five_seeds, focused, grown, losses, per_row_baselines, sweep

from mmablate.analysis.table import Cell, ColumnInfo, HeatScale, Row, Table
from mmablate.report import evidence, marks, numbers, render

PEOPLE = ("terminal", "html", "markdown", "latex")


def one(c: Cell, **changes: object) -> Table:
    """A table of one baseline and one further row with this cell."""
    rows = (
        Row(name="a", label="L_sup", baseline="a", n_seeds=5, cells={"Mean": Cell(mean=1.0)}),
        Row(name="b", label="λL_mad", baseline="a", n_seeds=5, cells={"Mean": c}),
    )
    fields: dict[str, object] = {"study": "s", "baseline": "a", "columns": ("Mean",), "rows": rows}
    return Table.model_validate(fields | changes)


def seen(text: str) -> str:
    """What is read of a page: no styles, scripts, figures or attributes."""
    return re.sub(r"<(style|script|svg).*?</\1>|<[^>]+>", "", text, flags=re.DOTALL)


FULL = Cell(
    mean=1.31,
    delta=0.31,
    test="paired",
    ci=(-0.12, 0.74),
    p=0.11,
    p_adjusted=0.22,
    p_sign_flip=0.125,
    n_pairs=5,
    correlation=0.31,
    effect_size=0.9,
    seeds_needed=8,
    seeds_needed_upper=19,
)


def test_evidence_is_one_line_a_row_with_an_interval() -> None:
    assert evidence.lines(one(FULL)) == [
        "Mean, λL_mad: Δ +0.31 [−0.12, +0.74], p = 0.110 (adjusted 0.220), sign-flip p = 0.125, "
        "n = 5, ρ = 0.31, d = 0.90"
    ]
    wanted = evidence.lines(one(FULL, smallest_effect=0.5, decimal=","))
    assert wanted == [
        "Mean, λL_mad: Δ +0,31 [−0,12; +0,74]; p = 0,110 (adjusted 0,220); sign-flip p = 0,125; "
        "n = 5; ρ = 0,31; d = 0,90"
        "; seeds to detect 0,5: 8 (up to 19)"
    ]
    welch = FULL.model_copy(update={"test": "welch", "p": 1e-5, "p_adjusted": 1e-5, "p_sign_flip": None})
    assert "Welch's p < 0.001 (adjusted < 0.001), n" in evidence.lines(one(welch))[0]


def test_no_interval_no_evidence() -> None:
    for c in (FULL.model_copy(update={"ci": None}), FULL.model_copy(update={"ci": (float("nan"), 1.0)})):
        assert evidence.lines(one(c)) == []
        assert evidence.key(one(c)) == ""
    assert evidence.lines(losses(make=cell)) == []
    reference = losses().rows[1].model_copy(update={"reference": True})
    assert len(evidence.lines(losses(rows=(losses().rows[0], reference, losses().rows[2])))) == 1


def test_the_key_of_the_evidence_explains_what_stands_there_and_no_more() -> None:
    full = evidence.key(one(FULL, smallest_effect=0.5))
    for words in ("interval of Δ", "t test", "sign-flip", "pairs of seeds", "ρ: ", "d: ", "power of 80 %"):
        assert words in full
    short = evidence.key(losses())
    assert "sign-flip" not in short
    assert "power" not in short
    assert "power" not in evidence.key(one(FULL))


def test_d_and_n_are_explained_by_the_tests_that_occur() -> None:
    welch = FULL.model_copy(update={"test": "welch", "p_sign_flip": None, "n_pairs": None, "correlation": None})
    paired, unpaired = one(FULL), one(welch)
    both = unpaired.model_copy(update={"rows": (*unpaired.rows, paired.rows[1])})
    for table, words in (
        (paired, "Δ in standard deviations of the differences"),
        (unpaired, "Δ in standard deviations of the two rows, pooled"),
        (both, "Δ in standard deviations of the differences (not paired: of the two rows, pooled)"),
        (effects(), "Δ in standard deviations of the effect over seeds"),
    ):
        assert f"d: {words}" in evidence.key(table).split("; ")
        view = evidence.evidence_view(table)
        assert view is not None
        assert ("d", words) in view.headings
    assert "n: pairs of seeds" in evidence.key(paired)
    assert "n: seeds" in evidence.key(effects())
    assert "n: " not in evidence.key(unpaired)


def test_the_primary_column_is_the_one_that_the_table_names() -> None:
    assert marks.primary_column(losses()) == "Mean"
    assert marks.primary_column(losses(primary="F")) == "F"
    assert marks.primary_column(losses(primary=None)) == "Mean"
    named = per_row_baselines().model_copy(update={"primary": "HD95"})
    assert marks.primary_column(named) == "HD95"
    assert marks.primary_column(per_row_baselines()) == "Accuracy"
    assert marks.evident_columns(named) == ("HD95",)
    assert marks.evident_columns(per_row_baselines()) == ("Accuracy", "HD95")
    assert marks.primary_column(Table(study="s")) is None


@pytest.mark.parametrize("fmt", ["terminal", "markdown", "latex"])
def test_evidence_stands_in_the_formats_for_people(fmt: str) -> None:
    text = " ".join(render([one(FULL, smallest_effect=0.5)], fmt, single=True).split())
    assert "+0.74" in text
    assert "sign-flip p = 0.125" in text
    assert "8 (up to 19)" in text


def test_the_key_names_the_correction_and_the_confidence() -> None:
    key = marks.key(losses(confidence=0.995, decimal=","), best="bold", delta="below")
    assert "after Holm's correction within its family" in key
    assert "intervals of Δ: 99,5 %" in key
    assert "below: Δ, the difference to the baseline" in key
    assert "below: Δ, the effect of a factor" in marks.key(effects(), best="bold", delta="below")
    assert "interval" not in marks.key(losses(make=cell), best="bold", delta="below")


def test_extras_are_those_that_the_table_asks_for_and_has() -> None:
    assert [extra.title for extra in marks.extras(losses())] == ["Parameters", "Time"]
    assert [extra.title for extra in marks.extras(losses(extras=("seconds", "flops", "n_parameters")))] == [
        "Time",
        "Parameters",
    ]
    assert marks.extras(losses(extras=())) == []
    assert marks.extras(losses(extras=("flops",))) == []
    row = losses().rows[0].model_copy(update={"flops": 2.5e9})
    assert marks.extras(losses(rows=(row,), extras=("flops",), decimal=",")) == [("flops", "FLOPs", ["2,5G"])]


@pytest.mark.parametrize("fmt", PEOPLE)
def test_a_columns_label_is_printed_in_place_of_its_name(fmt: str) -> None:
    info = {"Mean": ColumnInfo(label="Durchschnitt")}
    text = render([one(FULL, column_info=info)], fmt, single=True)
    assert "Durchschnitt" in text
    assert "Mean" not in text
    assert "Mean_delta" in render([one(FULL, column_info=info)], "csv", single=True)


@pytest.mark.parametrize("fmt", PEOPLE)
def test_people_read_the_decimal_sign_of_the_table(fmt: str) -> None:
    text = seen(render([losses(decimal=",")], fmt, single=True))
    assert "43,71" in text
    assert "43.71" not in text
    assert "0.37" not in text
    assert "p = 0." not in text
    assert "12.3 s" not in text


def test_machines_read_the_point() -> None:
    for fmt in ("csv", "json"):
        assert render([losses(decimal=",")], fmt, single=True).replace('"decimal": ","', '"decimal": "."') == render(
            [losses()], fmt, single=True
        )


@pytest.mark.parametrize("fmt", PEOPLE)
def test_effects_are_values_without_a_mean_a_best_or_a_baseline(fmt: str) -> None:
    text = render([effects()], fmt, single=True)
    plain = text.replace("$+$", "+").replace(r"\ensuremath{-}", "−")
    assert "+2,50" in plain
    assert "−0,30" in plain
    assert "n.s." in plain
    for word in ("best of the column", "failed", "baseline"):
        assert word not in seen(plain), word
    assert "3 effects × 5 seeds" in plain.replace(r"\ensuremath{\times}", "×")


def test_numbers_with_either_decimal_sign() -> None:
    assert numbers.fixed(-1.5, 2, ",") == "−1,50"
    assert numbers.interval((-0.1, 0.2), 1) == "[−0.1, +0.2]"
    assert numbers.interval((-0.1, 0.2), 1, ",") == "[−0,1; +0,2]"
    assert numbers.p_value(0.0134, ",") == "p = 0,013"
    assert numbers.p_value(0.0001, ",") == "p < 0,001"
    assert numbers.seconds(12.34, ",") == "12,3 s"
    assert numbers.count(81_234, ",") == "81,2k"
    assert numbers.level(-0.5, ",") == "−0,5"
    assert numbers.percent(0.95) == "95 %"


def test_numbers_beyond_what_a_double_holds_are_powers_of_ten() -> None:
    assert numbers.fixed(1e14, 1) == "100000000000000.0"
    assert numbers.fixed(-1.234e300, 2) == "−1.23e+300"
    assert numbers.signed_ascii(1e15, 0) == "+1e+15"
    assert [numbers.whole(n) for n in (0, -3, 19, 10**15, 10**400, None)] == ["0", "−3", "19", "1e+15", "–", "–"]


def test_bounds_and_unit_of_a_scale() -> None:
    scale = HeatScale(metric="HD95", unit="mm", steps=(0, 0.5), gain=("#FFD580",), loss=("#D9F0FF",))
    assert marks.scale_bounds(scale, ",") == [">0", "≥0,5"]
    assert marks.scale_unit(scale) == "HD95 in mm"
    assert marks.scale_unit(scale.model_copy(update={"metric": "mIoU", "unit": "%"})) == "points of mIoU"


def test_every_missing_run_has_a_reason() -> None:
    row = Row(name="r", label="r", status="failed")
    assert marks.failures(Table(study="s", rows=(row,))) == [("r", "no run finished")]
    assert marks.failures(sweep()) == []


@pytest.mark.parametrize(("rows", "columns"), [(1000, 8), (4, 1000)])
@pytest.mark.parametrize("fmt", ["terminal", "markdown", "latex", "csv", "json"])
def test_tables_of_thousands_render_in_a_moment(rows: int, columns: int, fmt: str) -> None:
    table = grown(rows, columns)
    start = time.perf_counter()
    text = render([table], fmt, single=True)
    assert time.perf_counter() - start < 10  # a fraction of a second on an idle machine
    assert f"m{columns - 1}" in text
    assert f"variant {rows - 1}" in text


def test_a_lone_value_of_five_seeds_has_no_evidence() -> None:
    assert evidence.lines(one(five_seeds(1.0, None))) == []


def test_a_row_without_a_teacher_is_not_a_failed_one_in_any_format() -> None:
    table = focused()
    row = next(row for row in table.rows if row.status == "partial")
    assert not marks.has_failed(table, row, "Tag")
    assert marks.has_failed(table, row.model_copy(update={"cells": {}}), "Acc")
    assert marks.has_failed(table, row.model_copy(update={"status": "failed"}), "Tag")
    for format in ("terminal", "html", "markdown", "latex"):
        with_it, without = (
            seen(render([table.model_copy(update={"columns": columns})], format, single=True)).count("failed")
            for columns in (table.columns, ("Acc",))
        )
        assert with_it == without > 0, format


def test_what_is_about_teachers_is_said_and_stands_for_no_row() -> None:
    table = focused()
    assert marks.summary_column(table) == "Acc"
    assert marks.summary_column(table.model_copy(update={"columns": ("Tag", "Teacher", "Acc")})) == "Acc"
    assert marks.evident_columns(table.model_copy(update={"primary": None})) == ("Acc",)
    assert marks.measured(table).startswith("accuracy in %, gauss")
    assert set(marks.column_notes(table).values()) == {""}
    key = marks.key(table, best="bold", delta="with a sign")
    assert "Teacher, Tag: describing a row (its teacher, its training), not compared" in key
    empty = tuple(row.model_copy(update={"cells": {"Acc": row.cells["Acc"]}}) for row in table.rows)
    assert "Teacher" not in marks.key(table.model_copy(update={"rows": empty}), best="bold", delta="with a sign")
    lower = table.column_info | {"Tag": ColumnInfo(metric="Brier", unit="", direction="min", reference=True)}
    assert marks.column_notes(table.model_copy(update={"column_info": lower}))["Tag"] == "↓"


def test_a_row_is_summed_up_by_the_mean_then_by_the_primary_column_then_by_the_first() -> None:
    table = focused()
    for columns, primary, expected in (
        (("WT", "Dice"), "Dice", "Dice"),
        (("WT", "Dice"), "Mean", "WT"),
        (("WT", "Dice"), None, "WT"),
        (("WT", "Mean"), "WT", "Mean"),
    ):
        some = dict.fromkeys(columns, table.column_info["Acc"])
        given = table.model_copy(update={"columns": columns, "column_info": some, "primary": primary})
        assert marks.summary_column(given) == expected


def test_a_table_of_reference_columns_alone_still_prints() -> None:
    table = focused()
    alone = table.model_copy(update={"columns": ("Teacher", "Tag")})
    assert marks.summary_column(alone) == "Teacher"
    for format in ("terminal", "html", "markdown", "latex", "csv", "json"):
        assert render([alone], format, single=True)


def test_the_baseline_says_so_in_its_own_columns_alone() -> None:
    table = focused()
    base = table.rows[0].model_copy(update={"cells": table.rows[0].cells | {"Teacher": table.rows[1].cells["Teacher"]}})
    text = render([table.model_copy(update={"rows": (base,)})], "html", single=True)
    assert text.count("<i>baseline</i>") == 1
