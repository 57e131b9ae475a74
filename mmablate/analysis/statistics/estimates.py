"""A mean or a difference of means with its standard error: t tests, intervals, one-sided tests.

All tests take the seeds as the sample. They say how sure a difference is over training seeds (initialisation,
batch order, masks); they say nothing about other test samples.

Coverage of the 95 % interval in percent at 3, 5 and 10 seeds, measured by `tests/benchmarks/intervals.py`
(results/benchmarks/intervals.json, 100,000 trials each):

    per-seed Δ normal                                      94.9  95.0  95.0
    per-seed Δ skewed (exponential)                        88.5  88.3  90.1
    difference of two equally skewed arms                  96.8  96.6  95.8
    per-seed Δ with heavy tails (t, 3 df)                  96.2  96.3  96.0
    per-seed Δ tied (rounded to one standard deviation)    99.4  96.4  95.5
    two arms not paired, spreads 1 and 3 (Welch)           94.8  94.6  94.8

A Δ is skewed where the row changes the shape of the spread, e.g. where some of its seeds collapse; its interval then
covers less than it says. Of tables of three rows and eight columns without any difference 4.2 to 4.8 % carry a star
in the Mean or, apart, in the other columns; without Holm 48 to 58 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

from mmablate.analysis.statistics.summaries import average, deviation

# Differences of scores of size s are rounding noise below this share of s.
_ROUNDING = 1e-12


def no_spread(differences: Sequence[float], scale: float) -> bool:
    """Whether values differ by nothing but rounding.

    Args:
        differences: per seed.
        scale: size of the numbers that they were computed from, e.g. the largest |score|.
    """
    return max(differences) - min(differences) <= _ROUNDING * scale


@dataclass(frozen=True)
class Estimate:
    """A value with a standard error, that is compared with Student's t.

    Attributes:
        value: mean, or difference of means, in the unit of the column.
        error: its standard error; 0 where the seeds show no spread, and then no test can be made.
        df: degrees of freedom of t.
        n: seeds (or pairs of them) behind it; of the smaller side where they are not paired.
        spread: standard deviation that an effect size divides by: of the single differences, or pooled.
    """

    value: float
    error: float
    df: float
    n: int
    spread: float

    def t(self, at: float = 0.0) -> float:
        """Student's t of the hypothesis that the true value is `at`; needs an error above 0."""
        return (self.value - at) / self.error

    def p(self, at: float = 0.0) -> float | None:
        """Two-sided p-value of "the true value is `at`".

        Without spread: 1 where the value is `at`, else None (t would be infinite, which no two seeds justify).
        """
        if self.error == 0:
            return 1.0 if self.value == at else None
        return min(2.0 * float(stdtr(self.df, -abs(self.t(at)))), 1.0)

    def p_above(self, at: float) -> float | None:
        """One-sided p-value against "the true value is at most `at`"; None without spread."""
        return None if self.error == 0 else float(stdtr(self.df, -self.t(at)))

    def p_below(self, at: float) -> float | None:
        """One-sided p-value against "the true value is at least `at`"; None without spread."""
        return None if self.error == 0 else float(stdtr(self.df, self.t(at)))

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Two-sided interval, e.g. of confidence 0.95; None without spread."""
        if self.error == 0:
            return None
        half = float(stdtrit(self.df, 0.5 + confidence / 2)) * self.error
        return self.value - half, self.value + half

    @property
    def effect_size(self) -> float | None:
        """The value in standard deviations; 0 for no difference, None where a difference has no spread."""
        if self.spread == 0:
            return 0.0 if self.value == 0 else None
        return self.value / self.spread


def mean_estimate(values: Sequence[float], scale: float | None = None) -> Estimate | None:
    """The mean of per-seed values, e.g. of paired differences; None below two.

    Args:
        values: one a seed.
        scale: size of the numbers behind the values; spread and mean below 1e-12 of it count as none.
    """
    n = len(values)
    if n < 2:
        return None
    size = max(abs(v) for v in values) if scale is None else scale
    centre = average(values)
    if no_spread(values, size):
        return Estimate(0.0 if abs(centre) <= _ROUNDING * size else centre, 0.0, n - 1.0, n, 0.0)
    spread = deviation(values)
    return Estimate(centre, spread / math.sqrt(n), n - 1.0, n, spread)


def welch_estimate(first: Sequence[float], second: Sequence[float]) -> Estimate | None:
    """The difference of the means of two samples that are not paired; None where a side has fewer than two.

    Degrees of freedom by Welch and Satterthwaite. `spread` is √((s₁² + s₂²)/2).
    """
    if len(first) < 2 or len(second) < 2:
        return None
    scale = max(abs(v) for v in (*first, *second))
    value = average(first) - average(second)
    n = min(len(first), len(second))
    constant = no_spread(first, scale) and no_spread(second, scale)
    if constant:
        return Estimate(0.0 if abs(value) <= _ROUNDING * scale else value, 0.0, 1.0, n, 0.0)
    one, two = deviation(first) ** 2, deviation(second) ** 2
    a, b = one / len(first), two / len(second)
    if a + b == 0:  # below what a double can square
        return Estimate(value, 0.0, 1.0, n, 0.0)
    share = a / (a + b)
    df = 1 / (share**2 / (len(first) - 1) + (1 - share) ** 2 / (len(second) - 1))
    return Estimate(value, math.sqrt(a + b), df, n, math.sqrt((one + two) / 2))
