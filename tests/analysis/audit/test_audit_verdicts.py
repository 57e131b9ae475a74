"""Verdicts: interval arithmetic against brute force, and the innocent readings that accuse nobody."""

from __future__ import annotations

from decimal import Decimal

import pytest
from audit_samples import audited, short
from hypothesis import given
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


@given(st.integers(-99999, 99999), st.integers(-99999, 99999), st.booleans())
def test_what_follows_from_unrounded_numbers_is_never_wrong(a, b, cut):
    def shown(thousandths: int) -> PrintedNumber:
        hundredths = int(thousandths / 10) if cut else (thousandths + 5) // 10
        return number(f"{Decimal(hundredths) / 100:.2f}")

    assert judge(shown(a - b), [shown(a), shown(b)], DIFFERENCE) != "wrong"
    if (a + b) % 2 == 0:
        assert judge(shown((a + b) // 2), [shown(a), shown(b)], mean_weights(2)) != "wrong"


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
