"""The colour of a Δ: warm for better, blue for worse, stronger for larger, none for none."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from mmablate.analysis.heat import GAIN, LOSS, heat, heat_scale

deltas = st.floats(-1e6, 1e6)


@given(some=st.lists(deltas, min_size=1, max_size=8), direction=st.sampled_from(["max", "min"]))
def test_warm_is_better_and_stronger_is_larger(some, direction):
    scale = heat_scale(some, metric="mIoU", unit="%")
    assume(scale is not None)
    sign = 1 if direction == "max" else -1
    steps = []
    for delta in sorted(some, key=abs):
        colour = heat(delta, direction=direction, scale=scale)
        if delta == 0:
            assert colour is None
            continue
        ramp = GAIN if sign * delta > 0 else LOSS
        steps.append(ramp.index(colour))
    assert steps == sorted(steps)
    assert scale.steps[0] == 0
    assert list(scale.steps) == sorted(set(scale.steps))


def test_steps_are_even_and_their_printed_bounds_the_true_ones():
    scale = heat_scale([0.1, -3.17], metric="mIoU", unit="%")
    assert scale.steps == (0, 0.8, 1.6, 2.4)
    assert heat(2.4, direction="max", scale=scale) == GAIN[3]
    assert heat(2.3999, direction="max", scale=scale) == GAIN[2]
    assert heat(-0.79, direction="max", scale=scale) == LOSS[0]
    assert heat(-0.79, direction="min", scale=scale) == GAIN[0]


def test_no_delta_no_colour():
    assert heat_scale([], metric="m", unit="") is None
    assert heat_scale([0.0, 0.0], metric="m", unit="") is None
    assert heat_scale([5e-324], metric="m", unit="") is None
    assert heat(None, direction="max", scale=heat_scale([1.0], metric="m", unit="")) is None
    assert heat(1.0, direction="max", scale=None) is None
    assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in (*GAIN, *LOSS))
