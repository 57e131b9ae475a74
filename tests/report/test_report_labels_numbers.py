"""Labels split into runs, numbers as text, heat colours that stay legible."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmablate.report import colours, labels, numbers
from mmablate.report.labels import Run


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("L_sup", [("L", False), ("sup", True)]),
        ("L_sup + λL_mad", [("L", False), ("sup", True), (" + λL", False), ("mad", True)]),
        ("0.5L_{a b}", [("0.5L", False), ("a b", True)]),
        ("λ_1 = 3", [("λ", False), ("1", True), (" = 3", False)]),
        ("L_fusion_first", [("L", False), ("fusion_first", True)]),
        ("fusion_first_all", [("fusion_first_all", False)]),
        ("ALL_x", [("ALL_x", False)]),
        ("x_L_y", [("x_L_y", False)]),
        ("L_", [("L_", False)]),
        ("", []),
    ],
)
def test_subscripts_follow_a_lone_l_or_a_greek_letter(label: str, expected: list[tuple[str, bool]]) -> None:
    assert labels.runs(label) == [Run(*run) for run in expected]


def test_plain_label_reads_as_typed() -> None:
    assert labels.plain("L_{sup} + λL_mad") == "L_sup + λL_mad"


@given(st.text())
def test_clean_leaves_one_printable_line(text: str) -> None:
    cleaned = labels.clean(text)
    assert cleaned == labels.clean(cleaned)
    assert len(cleaned.splitlines()) <= 1
    assert not set(cleaned) & {"\x1b", "\x00", "\n", "\r", "\x9b", "\u202e"}
    cleaned.encode()


@pytest.mark.parametrize(
    ("value", "human", "ascii_text"),
    [
        (0.02, "+0.02", "+0.02"),
        (-0.4, "−0.40", "-0.40"),
        (0.004, "0.00", "0.00"),
        (-0.004, "0.00", "0.00"),
        (0.0, "0.00", "0.00"),
        (-0.0, "0.00", "0.00"),
        (None, "–", ""),
        (math.nan, "–", ""),
        (math.inf, "–", ""),
    ],
)
def test_differences_carry_a_sign_unless_they_print_as_zero(value: float | None, human: str, ascii_text: str) -> None:
    assert numbers.signed(value, 2) == human
    assert numbers.signed_ascii(value, 2) == ascii_text


def test_values_and_extras_as_text() -> None:
    assert numbers.fixed(-1.005, 1) == "−1.0"
    assert numbers.fixed_ascii(-0.001, 2) == "0.00"
    assert numbers.fixed(43.7149, 3) == "43.715"
    assert [numbers.count(n) for n in (0, 950, 81_234, 999_960, 1_250_000, None)] == [
        "0",
        "950",
        "81.2k",
        "1.0M",
        "1.2M",
        "–",
    ]
    assert [numbers.seconds(s) for s in (0.04, 12.34, 840.0, 9000.0)] == [
        "0.04 s",
        "12.3 s",
        "14.0 min",
        "2.5 h",
    ]
    assert [numbers.level(v) for v in (0, 0.1, 50, -2)] == ["0", "0.1", "50", "−2"]


@given(st.integers(0, 0xFFFFFF), st.integers(0, 3))
def test_text_on_every_heat_colour_reaches_aa(rgb: int, step: int) -> None:
    style = colours.heat_style(f"#{rgb:06X}", step)
    assert colours.contrast(style.ink, style.background) >= 4.5
    assert colours.contrast(colours.DARK_INK, style.dark_background) >= 4.5
    for muted, pale in (("#66666d", style.pale), ("#a0a0a8", style.dark_pale)):  # --muted of the page
        assert colours.contrast(muted, pale) >= 4.5


def test_only_plain_hex_colours_reach_a_style_sheet() -> None:
    assert colours.is_colour("#FFD580")
    assert not any(colours.is_colour(text) for text in (None, "red", "#fff", "#FFD580;}", "#FFD580\n"))
