"""The difference of two rows in one column, with everything that is known about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmablate.analysis.statistics import Estimate, mean, mean_estimate, sign_flip_p, welch_estimate
from mmablate.analysis.statistics.summaries import average


@dataclass(frozen=True)
class Difference:
    """Δ of a row to another one.

    Attributes:
        delta: in the unit of the column.
        test: "paired" over common seeds; "welch" where fewer than two are common.
        estimate: behind the t test; None where a side has fewer than two seeds.
        ci, p, p_sign_flip, n_pairs, correlation, effect_size: as in `Cell`.
    """

    delta: float
    test: Literal["paired", "welch"]
    estimate: Estimate | None = None
    ci: tuple[float, float] | None = None
    p: float | None = None
    p_sign_flip: float | None = None
    n_pairs: int | None = None
    correlation: float | None = None

    @property
    def constant(self) -> bool:
        """Every seed shows the same Δ ≠ 0, which no t test can judge."""
        return self.estimate is not None and self.estimate.error == 0 and self.estimate.value != 0

    @property
    def spread(self) -> float:
        """Standard deviation of the per-seed differences; 0 where there is none or it is not known."""
        return self.estimate.spread if self.estimate is not None else 0.0

    @property
    def df(self) -> float:
        """Degrees of freedom of `spread`; 0 without an estimate."""
        return self.estimate.df if self.estimate is not None else 0.0

    def fields(self) -> dict[str, Any]:
        """The fields of a `Cell`."""
        return {
            "delta": self.delta,
            "test": self.test,
            "ci": self.ci,
            "p": self.p,
            "p_sign_flip": self.p_sign_flip,
            "n_pairs": self.n_pairs,
            "correlation": self.correlation,
            "effect_size": self.estimate.effect_size if self.estimate is not None else None,
        }


def common_seeds(values: Mapping[str, float], baseline: Mapping[str, float]) -> list[str]:
    """Seeds that both have, in the order of the first."""
    return [seed for seed in values if seed in baseline]


def difference(values: Mapping[str, float], baseline: Mapping[str, float], confidence: float) -> Difference | None:
    """Compares the scores of two rows in one column.

    With at least two common seeds the mean of the per-seed differences, by the paired t test; otherwise the
    difference of the means, by Welch's test where both sides have two seeds or more.

    Args:
        values, baseline: seed -> score.
        confidence: of the interval, e.g. 0.95.

    Returns:
        None where a side has no values.
    """
    if not values or not baseline:
        return None
    test, estimate = estimated(values, baseline)
    if test == "welch":
        delta = (mean(values) or 0.0) - (mean(baseline) or 0.0) if estimate is None else estimate.value
        return _judged(delta, test, estimate, confidence)
    assert estimate is not None  # there are two pairs
    common = common_seeds(values, baseline)
    first, second = [values[s] for s in common], [baseline[s] for s in common]
    nothing = estimate.error == 0 and estimate.value == 0
    flips = [0.0] * len(common) if nothing else [a - b for a, b in zip(first, second, strict=True)]
    return _judged(
        estimate.value, test, estimate, confidence,
        p_sign_flip=sign_flip_p(flips), n_pairs=len(common), correlation=pearson(first, second),
    )  # fmt: skip


def difference_p(values: Mapping[str, float], baseline: Mapping[str, float]) -> float | None:
    """The two-sided p-value of `difference` alone."""
    _, estimate = estimated(values, baseline)
    return None if estimate is None else estimate.p()


def estimated(
    values: Mapping[str, float], baseline: Mapping[str, float], scale: float | None = None
) -> tuple[Literal["paired", "welch"], Estimate | None]:
    """Which comparison the seeds of two rows allow, and its estimate.

    Args:
        values, baseline: seed -> score.
        scale: size of the scores behind the values, where these are differences themselves.

    Returns:
        "paired" from two common seeds on; "welch" otherwise, with None where a side has fewer than two.
    """
    common = common_seeds(values, baseline)
    if len(common) < 2:
        return "welch", welch_estimate(list(values.values()), list(baseline.values()))
    first, second = [values[s] for s in common], [baseline[s] for s in common]
    size = max(max(first), max(second), -min(first), -min(second)) if scale is None else scale
    return "paired", mean_estimate([a - b for a, b in zip(first, second, strict=True)], size)


def contrast(values: Mapping[str, float], scale: float | None, confidence: float) -> Difference | None:
    """A contrast of several rows, computed per seed, against zero.

    Args:
        values: seed -> contrast.
        scale: size of the scores that it was computed from.
        confidence: of the interval.

    Returns:
        None without values; one value is a Δ without a test.
    """
    if not values:
        return None
    some = list(values.values())
    estimate = mean_estimate(some, scale)
    if estimate is None:
        return Difference(some[0], "paired", n_pairs=1)
    flips = [0.0] * len(some) if estimate.error == 0 and estimate.value == 0 else some
    return _judged(
        estimate.value, "paired", estimate, confidence, p_sign_flip=sign_flip_p(flips), n_pairs=len(some)
    )  # fmt: skip


def _judged(
    delta: float, test: Literal["paired", "welch"], estimate: Estimate | None, confidence: float, **further: Any
) -> Difference:
    if estimate is None:
        return Difference(delta, test, **further)
    return Difference(delta, test, estimate, estimate.interval(confidence), estimate.p(), **further)


def pearson(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Correlation of pairs; None below three of them, or where a side has no spread."""
    if len(first) < 3:
        return None
    a, b = ([v - average(some) for v in some] for some in (first, second))
    sizes = [math.sqrt(math.fsum(v * v for v in some)) for some in (a, b)]
    # Spread below the rounding of the scores is none.
    if min(sizes) <= 1e-12 * max(max(first), max(second), -min(first), -min(second), 1e-300):
        return None
    rho = math.fsum(x * y for x, y in zip(a, b, strict=True)) / (sizes[0] * sizes[1])
    return min(max(rho, -1.0), 1.0)
