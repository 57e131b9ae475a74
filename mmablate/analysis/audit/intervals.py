"""Interval arithmetic over printed digits: what the unrounded numbers can have been.

A printed 43.71 stands for [43.705, 43.715] if it was rounded and for [43.71, 43.72) if it was cut off. A number
that was computed from others is wrong when its own interval meets that of the computation under neither. With
two decimals throughout, a Δ is wrong from an error of 0.02 on (more than the 0.015 of three roundings), a Mean
from 0.015 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from mmablate.analysis.audit.model import PrintedNumber

Verdict = Literal["consistent", "by rounding", "wrong"]
HALF = Fraction(1, 2)
_ZERO = Fraction(0)


class Interval(NamedTuple):
    """Between two bounds, each of which belongs to it unless it is open."""

    low: Fraction
    high: Fraction
    low_open: bool = False
    high_open: bool = False

    def meets(self, other: Interval) -> bool:
        """Whether a number lies in both."""
        return not (
            self.high < other.low
            or other.high < self.low
            or (self.high == other.low and (self.high_open or other.low_open))
            or (other.high == self.low and (other.high_open or self.low_open))
        )

    def times(self, factor: Fraction) -> Interval:
        """Scaled; a negative factor exchanges the bounds."""
        if factor < 0:
            return Interval(self.high * factor, self.low * factor, self.high_open, self.low_open)
        return Interval(self.low * factor, self.high * factor, self.low_open, self.high_open)

    def plus(self, other: Interval) -> Interval:
        """Sum of a number of each."""
        return Interval(
            self.low + other.low,
            self.high + other.high,
            self.low_open or other.low_open,
            self.high_open or other.high_open,
        )


def exact(number: PrintedNumber) -> Fraction:
    """The printed value."""
    return Fraction(number.value)


def rounded(number: PrintedNumber) -> Interval:
    """What rounds to the printed digits; both ends, for rules differ on halves."""
    value, half = exact(number), Fraction(number.unit) * HALF
    return Interval(value - half, value + half)


def truncated(number: PrintedNumber) -> Interval:
    """What is cut off to the printed digits, towards zero."""
    value, unit = exact(number), Fraction(number.unit)
    if value > 0:
        return Interval(value, value + unit, high_open=True)
    if value < 0:
        return Interval(value - unit, value, low_open=True)
    return Interval(-unit, unit, low_open=True, high_open=True)


def combined(numbers: Sequence[PrintedNumber], weights: Sequence[Fraction], *, cut: bool) -> Interval:
    """A weighted sum of what the numbers can have been, all rounded or all cut off."""
    total = Interval(_ZERO, _ZERO)
    for number, weight in zip(numbers, weights, strict=True):
        total = total.plus((truncated(number) if cut else rounded(number)).times(weight))
    return total


def weighted(numbers: Sequence[PrintedNumber], weights: Sequence[Fraction]) -> Fraction:
    """The weighted sum of the printed values."""
    return sum((exact(n) * w for n, w in zip(numbers, weights, strict=True)), _ZERO)


def judge(printed: PrintedNumber, inputs: Sequence[PrintedNumber], weights: Sequence[Fraction]) -> Verdict:
    """Whether a printed number can be the weighted sum of printed inputs.

    Returns:
        "consistent": the printed inputs give it, rounded to its own digits. "by rounding": some unrounded inputs
        do. "wrong": none do, whether inputs and result were rounded or cut off.
    """
    if abs(weighted(inputs, weights) - exact(printed)) <= Fraction(printed.unit) * HALF:
        return "consistent"
    for cut in (False, True):
        possible = combined(inputs, weights, cut=cut)
        if rounded(printed).meets(possible) or truncated(printed).meets(possible):
            return "by rounding"
    return "wrong"


def mean_weights(count: int) -> list[Fraction]:
    """Equal weights that sum to one."""
    return [Fraction(1, count)] * count


DIFFERENCE = (Fraction(1), Fraction(-1))
