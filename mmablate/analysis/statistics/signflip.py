"""The exact sign-flip test, which assumes nothing but that a difference is as likely as its negative."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

MOST_SEEDS = 24
"""Up to here all 2^n signs are counted; the smallest p-value is then far below any threshold in use."""

_FEW = 10
# Sums that differ by rounding alone are the same sum.
_ROUNDING = 1e-12


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Two-sided p-value: the share of the 2^n sign patterns whose |sum| is at least the one seen.

    Args:
        differences: one a seed, (n,).

    Returns:
        A multiple of 2^(1-n), at least 2^(1-n); 1 where all differences are zero. None below two seeds and
        above `MOST_SEEDS`.

    Source: Fisher 1935, The Design of Experiments, section 21. Above ten seeds the patterns are counted from two
        halves of the seeds, each with 2^(n/2) sums, not one by one.
    """
    n = len(differences)
    if not 2 <= n <= MOST_SEEDS:
        return None
    sizes = np.array([abs(value) for value in differences])
    seen = abs(math.fsum(differences)) - _ROUNDING * math.fsum(sizes)
    if n <= _FEW:
        return float((np.abs(_signs(n) @ sizes) >= seen).sum()) / 2.0 ** (n - 1)
    left, right = _sums(sizes[: n // 2]), np.sort(_sums(sizes[n // 2 :]))
    above = right.size - np.searchsorted(right, seen - left, side="left")
    below = np.searchsorted(right, -seen - left, side="right")
    return min(float(above.sum() + below.sum()) / 2.0**n, 1.0)


@functools.cache
def _signs(n: int) -> np.ndarray:
    """The sign patterns whose first sign is +, (2^(n-1), n); the others give the same sums, negated."""
    return np.array([(1.0, *rest) for rest in itertools.product((1.0, -1.0), repeat=n - 1)])


def _sums(sizes: np.ndarray) -> np.ndarray:
    """The sums of all sign patterns, (2^n,)."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate((sums + size, sums - size))
    return sums
