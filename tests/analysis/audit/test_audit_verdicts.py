"""Verdicts: interval arithmetic against brute force, and the innocent readings that accuse nobody."""

from __future__ import annotations

from decimal import Decimal

import pytest
from audit_samples import audited, short
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.analysis.audit.grim import is_possible
from mmablate.analysis.audit.intervals import DIFFERENCE, judge, mean_weights
from mmablate.analysis.audit.model import PrintedNumber


def number(text: str) -> PrintedNumber:
    value = Decimal(text)
    return PrintedNumber(value, max(0, -int(value.as_tuple().exponent)), text)


@pytest.mark.parametrize(
    ("printed", "verdict"),
    [
        ("-0.19", "consistent"),
        ("-0.20", "by rounding"),
        ("-0.18", "by rounding"),
        ("-0.21", "wrong"),
        ("-0.17", "wrong"),
    ],
)
def test_a_difference_is_wrong_from_two_units_on(printed, verdict):
    assert judge(number(printed), [number("35.21"), number("35.40")], DIFFERENCE) == verdict


@settings(deadline=None)
@given(st.integers(-99999, 99999), st.integers(-99999, 99999), st.booleans())
def test_what_follows_from_unrounded_numbers_is_never_wrong(a, b, cut):
    def shown(thousandths: int) -> PrintedNumber:
        hundredths = int(thousandths / 10) if cut else (thousandths + 5) // 10
        return number(f"{Decimal(hundredths) / 100:.2f}")

    assert judge(shown(a - b), [shown(a), shown(b)], DIFFERENCE) != "wrong"
    if (a + b) % 2 == 0:
        assert judge(shown((a + b) // 2), [shown(a), shown(b)], mean_weights(2)) != "wrong"


@settings(deadline=None)
@given(st.integers(1, 400), st.data(), st.booleans())
def test_every_accuracy_that_a_count_gives_is_possible(samples, data, cut):
    count = data.draw(st.integers(0, samples))
    hundredths = 10000 * count // samples if cut else round(10000 * count / samples)
    assert is_possible(number(f"{Decimal(hundredths) / 100:.2f}"), samples, 100)


def test_an_accuracy_that_no_count_gives_is_impossible(tmp_path):
    assert not is_possible(number("43.71"), 100, 100)
    text = "| m | Accuracy | mIoU |\n|-|-|-|\n| a | 43.00 | 12.34 |\n| b | 43.71 | 12.34 |\n"
    audit = audited(tmp_path, text, samples=100)
    assert short(audit, "impossible") == [("b", "Accuracy", "43.71", "44.0000")]
    assert any("accuracy alone" in note for note in audit.notes)


ROWS = "| sup | 40.0 | {} |\n| kd | 41.0 | {} |\n| full | 43.0 | {} |\n| all | 43.5 | {} |\n"
HEAD = "| m | F | Δ |\n|-|-|-|\n"


def test_a_delta_to_the_row_above_accuses_nobody(tmp_path):
    audit = audited(tmp_path, HEAD + ROWS.format("-", "+1.0", "+2.0", "+0.5"))
    assert audit.faults == 0
    assert any("follow the row above" in note for note in audit.notes)


def test_the_row_that_the_user_names_decides(tmp_path):
    audit = audited(tmp_path, HEAD + ROWS.format("-", "+1.0", "+2.0", "+0.5"), baseline="sup")
    assert [row for row, *_ in short(audit, "wrong_delta")] == ["full", "all"]


def test_a_delta_in_percent_accuses_nobody(tmp_path):
    assert audited(tmp_path, HEAD + ROWS.format("-", "+2.5%", "+7.5%", "+8.8%")).faults == 0


def test_one_wrong_delta_among_right_ones_is_named(tmp_path):
    audit = audited(tmp_path, HEAD + ROWS.format("-", "+1.0", "+3.3", "+3.5"))
    assert short(audit, "wrong_delta") == [("full", "F", "3.3", "3.0")]


def test_groups_have_baselines_of_their_own(tmp_path):
    text = HEAD + ROWS.format("-", "+1.0", "-", "+0.5")
    assert audited(tmp_path, text).faults == 0


def test_a_mean_of_something_else_accuses_nobody(tmp_path):
    text = "| m | F | E | Mean |\n|-|-|-|-|\n| a | 10.0 | 20.0 | 18.0 |\n| b | 12.0 | 22.0 | 20.1 |\n"
    audit = audited(tmp_path, text)
    assert audit.faults == 0
    assert any("could not be found out" in note for note in audit.notes)


def test_one_wrong_mean_among_right_ones_is_named(tmp_path):
    text = "| m | F | E | Mean |\n|-|-|-|-|\n| a | 10.0 | 20.0 | 15.0 |\n| b | 12.0 | 22.0 | 17.2 |\n"
    assert short(audited(tmp_path, text), "wrong_mean") == [("b", "Mean", "17.2", "17.0")]


def test_bold_knows_directions_ties_and_teachers(tmp_path):
    text = (
        "| m | F | HD95 | Acc |\n|-|-|-|-|\n| teacher | 60.0 | 1.0 | 9 |\n"
        "| a | **43.0** | **3.0** | 1 |\n| b | **43.0** | 5.0 | **2** |\n| c | 41.0 | **4.0** | **1** |\n"
    )
    assert short(audited(tmp_path, text), "bold_not_best") == [("c", "HD95", "4.0", "3.0"), ("c", "Acc", "1", "2")]


def test_green_and_red_are_understood(tmp_path):
    cells = ["+1.0", "+3.0", "+3.5"]
    red = '<span style="color:red">{}</span>'
    green = '<span style="color:green">{}</span>'
    good = [green.format(c) for c in cells]
    assert audited(tmp_path, HEAD + ROWS.format("-", *good)).faults == 0
    text = HEAD + ROWS.format("-", *good[:2], red.format(cells[2])) + f"| low | 39.0 | {red.format('-1.0')} |\n"
    assert [f.row for f in audited(tmp_path, text).colour_contradicts] == ["all"]


def test_an_arm_called_after_the_mean_is_a_row_of_data(tmp_path):
    rows = (
        "| Supervised | 40.0 | – |\n| Mean Teacher | 41.0 | +1.0 |\n| Ours | 43.0 | +2.0 |\n| Ours+ | 44.5 | +1.5 |\n"
    )
    audit = audited(tmp_path, HEAD + rows)
    assert audit.faults == 0
    assert [row.role for row in audit.tables[0].rows] == ["data"] * 4
    assert not any(row.reference for row in audit.tables[0].rows)


@pytest.mark.parametrize("label", ["average", "Average fusion", "Mean Teacher", "mean-pooling"])
def test_a_mean_that_is_right_by_chance_in_one_column_accuses_nobody(label, tmp_path):
    text = f"| m | F | E | L |\n|-|-|-|-|\n| concat | 41.0 | 20.0 | 30.0 |\n| sum | 11.4 | 22.0 | 34.0 |\n| {label} |"
    audit = audited(tmp_path, text + " 26.9 | 21.0 | 36.0 |\n")
    assert audit.faults == 0
    assert audit.tables[0].rows[2].role == "data"


def test_bold_beside_a_better_arm_called_average_is_found(tmp_path):
    text = "| m | F | E |\n|-|-|-|\n| concat | **41.0** | 20.0 |\n| sum | 30.0 | 22.0 |\n| average | 45.0 | 23.0 |\n"
    assert short(audited(tmp_path, text), "bold_not_best") == [("concat", "F", "41.0", "45.0")]


MEANS = "| m | F | E | L | D |\n|-|-|-|-|-|\n| a | 10.0 | 20.0 | 30.0 | 1.0 |\n| b | 12.0 | 22.0 | 34.0 | 3.0 |\n"


@pytest.mark.parametrize("label", ["Mean", "Avg.", "average", "Ø", "Average (all)", "Mean over methods", "Mittelwert"])
def test_one_wrong_mean_of_rows_is_named(label, tmp_path):
    audit = audited(tmp_path, MEANS + f"| {label} | 11.0 | 21.5 | 32.0 | 2.0 |\n")
    assert short(audit, "wrong_mean") == [(label, "E", "21.5", "21.0")]


def test_a_row_of_means_that_is_half_wrong_is_none(tmp_path):
    audit = audited(tmp_path, MEANS + "| Mean | 11.0 | 21.5 | 32.0 | 5.0 |\n")
    assert audit.faults == 0
    assert any("read as a row of data" in note for note in audit.notes)


def test_means_of_rows_close_their_section(tmp_path):
    rows = [r"a & 10.0 & 20.0 \\ b & 12.0 & 22.0 \\", r"\midrule Mean & 11.0 & 21.0 \\ \midrule"]
    text = r"\begin{tabular}{lrr} m & F & E \\ \midrule " + " ".join(rows) + r" c & 1 & 3 \\ d & 2 & 5 \\ e & 3 & 4 \\"
    roles = [row.role for row in audited(tmp_path, text + r"\end{tabular}", "t.tex").tables[0].rows]
    assert roles == ["data", "data", "mean", "data", "data", "data"]
    between = MEANS + "| Mean | 11.0 | 21.0 | 32.0 | 2.0 |\n| c | 9.0 | 9.0 | 9.0 | 9.0 |\n"
    assert [row.role for row in audited(tmp_path, between).tables[0].rows] == ["data"] * 4


def test_a_column_named_after_the_mean_is_wrong_only_against_most_of_it(tmp_path):
    rows = "| a | 10.0 | 20.0 | 15.0 |\n| b | 12.0 | 22.0 | 19.0 |\n| c | 14.0 | 24.0 | 21.0 |\n"
    audit = audited(tmp_path, "| m | F | E | Average Precision |\n|-|-|-|-|\n" + rows)
    assert audit.faults == 0


WORST = "| a | **{}** | {} |\n| b | {} | {} |\n| c | {} | {} |\n".format("1.0", "1", "2.0", "2", "3.0", "3")


@pytest.mark.parametrize(
    ("header", "accused"),
    [("Q", False), ("Score XYZ", False), ("Q ↑", True), ("Accuracy", True), ("mIoU", True), ("Q ↓", False)],
)
def test_bold_on_the_lowest_of_an_unknown_metric_accuses_nobody(header, accused, tmp_path):
    audit = audited(tmp_path, f"| m | {header} | n |\n|-|-|-|\n" + WORST)
    assert bool(audit.bold_not_best) == accused
    assert any("read as a direction" in note for note in audit.notes) == (not accused and "↓" not in header)


def test_an_arrow_of_the_deltas_and_a_mean_tell_the_direction(tmp_path):
    text = "| m | Q | Δ ↑ |\n|-|-|-|\n| a | 3.0 | - |\n| b | 2.0 | -1.0 |\n| c | **1.0** | -2.0 |\n"
    assert short(audited(tmp_path, text), "bold_not_best") == [("c", "Q", "1.0", "3.0")]
    rows = "| a | **1.0** | 2.0 | 1.5 |\n| b | 2.0 | 3.0 | 2.5 |\n| c | 4.0 | **6.0** | **5.0** |\n"
    audit = audited(tmp_path, "| m | F | E | Mean |\n|-|-|-|-|\n" + rows)
    assert short(audit, "bold_not_best") == [("a", "F", "1.0", "4.0")]
