"""Heat: the colour of a Δ. Warm is better, blue is worse, by size of Δ alone; paleness is the renderer's."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mmablate.analysis.table import HeatScale

GAIN = ("#FFD580", "#FFA07A", "#FF6347", "#FF4500")
LOSS = ("#D9F0FF", "#B5E0FC", "#87CEFA", "#5BB0EA")


def heat_scale(deltas: Iterable[float], *, metric: str, unit: str) -> HeatScale | None:
    """Four equal steps up to the largest |Δ| of the columns of one metric.

    The step is rounded up to two significant digits, so that the printed bounds are the true ones.

    Returns:
        None where every Δ is zero (or too small to be divided into steps).
    """
    largest = max((abs(d) for d in deltas), default=0.0)
    if largest < 1e-290:
        return None
    exponent = math.floor(math.log10(largest / 4)) - 1
    step = math.ceil(largest / 4 / 10**exponent) * 10**exponent
    steps = tuple(float(f"{i * step:.10g}") for i in range(4))
    return HeatScale(metric=metric, unit=unit, steps=steps, gain=GAIN, loss=LOSS)


def heat(delta: float | None, *, direction: str, scale: HeatScale | None) -> str | None:
    """The colour of one Δ, "#RRGGBB"; None for no Δ and for exactly zero."""
    if delta is None or delta == 0 or scale is None:
        return None
    index = max(i for i, bound in enumerate(scale.steps) if abs(delta) >= bound)
    better = (delta > 0) == (direction == "max")
    return (scale.gain if better else scale.loss)[index]
