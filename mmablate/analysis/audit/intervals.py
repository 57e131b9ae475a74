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

    low: Fraction | int
    high: Fraction | int
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


def weighted(numbers: Sequence[PrintedNumber], weights: Sequence[Fraction]) -> Fraction:
    """The weighted sum of the printed values."""
    return sum((exact(n) * w for n, w in zip(numbers, weights, strict=True)), _ZERO)


def _cut(value: int, unit: int, factor: int = 1) -> Interval:
    """What is cut off to a value, times a whole number."""
    low, high = value - unit * (value <= 0), value + unit * (value >= 0)
    bounds = Interval(low * factor, high * factor, value <= 0, value >= 0)
    return bounds if factor > 0 else Interval(bounds.high, bounds.low, bounds.high_open, bounds.low_open)


def judge(printed: PrintedNumber, inputs: Sequence[PrintedNumber], weights: Sequence[Fraction]) -> Verdict:
    """Whether a printed number can be the weighted sum of printed inputs.

    Args:
        printed: the number in question.
        inputs: printed numbers, one at least.
        weights: of one size: 1/k for a mean of k, 1 and -1 for a difference.

    Returns:
        "consistent": the printed inputs give it, rounded to its own digits. "by rounding": some unrounded inputs
        do. "wrong": none do, whether inputs and result were rounded or cut off.
    """
    # Whole numbers of half the last printed digit of all, times k: exact, and fast for tables of any size.
    digits = max(printed.digits, *(n.digits for n in inputs))
    count = weights[0].denominator
    signs = [1 if weight > 0 else -1 for weight in weights]
    values = [2 * int(n.value.scaleb(digits)) for n in inputs]
    units = [2 * 10 ** (digits - n.digits) for n in inputs]
    value, unit = 2 * int(printed.value.scaleb(digits)), 2 * 10 ** (digits - printed.digits)
    total = sum(s * v for s, v in zip(signs, values, strict=True))
    off = abs(total - count * value)
    if off <= count * unit // 2:
        return "consistent"
    if off > sum(units) + count * unit:
        return "wrong"
    half = sum(units) // 2
    cuts = [_cut(v, u, s) for v, u, s in zip(values, units, signs, strict=True)]
    opened = any(c.low_open for c in cuts), any(c.high_open for c in cuts)
    possible = (
        Interval(total - half, total + half),
        Interval(sum(c.low for c in cuts), sum(c.high for c in cuts), *opened),
    )
    shown = (Interval(count * (value - unit // 2), count * (value + unit // 2)), _cut(value, unit, count))
    return "by rounding" if any(a.meets(b) for a in possible for b in shown) else "wrong"


def mean_weights(count: int) -> list[Fraction]:
    """Equal weights that sum to one."""
    return [Fraction(1, count)] * count


DIFFERENCE = (Fraction(1), Fraction(-1))
