"""How many seeds a paired comparison needs, and what a number of seeds can detect."""

from __future__ import annotations

import functools
import math

from scipy.special import chdtri, nctdtrinc, stdtrit

POWER = 0.8
MOST_SEEDS = 10_000
# Beyond this critical t the normal part of the noncentral t is lost in its χ part, and scipy's search may not end.
_LARGE_T = 1000.0


@functools.cache
def detectable_effect(n: int, alpha: float, power: float = POWER) -> float:
    """Smallest |Δ| / sd(Δ) that n paired seeds detect with this power in a two-sided t test at level alpha.

    Args:
        n: pairs, at least 2.
        alpha: level of the single test; α/m for the first step of Holm over m tests.

    Source: noncentral t distribution, df = n - 1, noncentrality Δ/sd·√n.
    """
    critical = float(stdtrit(n - 1, 1 - alpha / 2))
    if critical > _LARGE_T:
        return critical * math.sqrt(float(chdtri(n - 1, 1 - power)) / (n - 1) / n)
    # The other tail adds less than alpha/2 at no effect, and nothing at the effects of interest.
    return float(nctdtrinc(n - 1, 1 - power, critical)) / math.sqrt(n)


def seeds_needed(smallest_effect: float, spread: float, alpha: float, power: float = POWER) -> int | None:
    """Fewest paired seeds that detect the smallest effect of interest.

    The spread is the one seen; the difference seen is not used, since planning on it would be circular
    ("observed power").

    Args:
        smallest_effect: |Δ| > 0, in the unit of the column.
        spread: standard deviation of the per-seed differences, same unit.
        alpha: level of the single test.

    Returns:
        At least 2; None above `MOST_SEEDS`.
    """
    if spread == 0:
        return 2
    effect = smallest_effect / spread
    if detectable_effect(MOST_SEEDS, alpha, power) > effect:
        return None
    low, high = 1, 2
    while detectable_effect(high, alpha, power) > effect:
        low, high = high, min(high * 2, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable_effect(middle, alpha, power) <= effect else (middle, high)
    return high


def spread_upper_bound(spread: float, df: float, confidence: float = 0.8) -> float:
    """Upper bound of a true standard deviation, given that of a pilot (2.1 times it from 3 seeds, 1.6 from 5).

    Source: (n - 1) s² / σ² is χ² with n - 1 degrees of freedom, for normal scores.
    """
    return spread * math.sqrt(df / float(chdtri(df, confidence)))
