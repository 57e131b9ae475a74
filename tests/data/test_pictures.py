"""Pictures of samples, the choice of samples and the colours of classes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.data.base import ArraySplit, LabelledSplit, SampleInfo, SegmentationData
from mmablate.data.landsat import open_landsat
from mmablate.data.pictures import (
    class_colours,
    frame_places,
    heat_strip,
    palette,
    sample_info,
    sample_pictures,
    spread,
    to_rgb,
)


def split_of(conditions: list[dict[str, str]]) -> ArraySplit:
    n = len(conditions)
    infos = [SampleInfo(f"s{i}", some) for i, some in enumerate(conditions)]
    return ArraySplit({"F": np.zeros((n, 1, 2, 3))}, np.zeros((n, 2, 3), dtype=int), infos)


class Nameless:
    """A split with nothing but what every split has."""

    shape = (4, 5)

    def __len__(self) -> int:
        return 10

    def batch(self, indices):
        values = np.stack([np.random.default_rng(i).normal(size=(2, 4, 5)) for i in indices]).astype(np.float32)
        return {"A": values, "B": values[:, :1]}, np.zeros((len(indices), 4, 5), dtype=np.int64)


class Drawn(Nameless):
    def pictures(self, index):
        return {"A": np.full((4, 5, 3), index, dtype=np.uint8)}


WEATHERS, TIMES = ("clear", "fog", "rain"), ("day", "night")
conditions = st.lists(
    st.fixed_dictionaries({"weather": st.sampled_from(WEATHERS), "time": st.sampled_from(TIMES)}),
    min_size=1,
    max_size=40,
)


@given(conditions, st.integers(0, 14))
@settings(max_examples=150, deadline=None)
def test_spread_takes_every_combination_before_one_twice(some, n):
    split = split_of(some)
    chosen = spread(split, n)
    assert chosen == spread(split, n)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(n, len(some))
    assert all(0 <= index < len(some) for index in chosen)
    sizes = Counter(tuple(sorted(c.items())) for c in some)
    turns = Counter(tuple(sorted(some[i].items())) for i in chosen)
    for key, size in sizes.items():
        for other in sizes:
            assert turns[other] - turns[key] <= 1 or turns[key] == size


def test_spread_over_fewer_places_than_combinations_still_covers_the_values():
    some = [{"weather": w, "time": t} for w in WEATHERS for t in TIMES for _ in range(5)]
    chosen = [some[i] for i in spread(split_of(some), 3)]
    assert {c["weather"] for c in chosen} == set(WEATHERS)
    assert {c["time"] for c in chosen} == set(TIMES)


def test_spread_without_conditions_is_evenly_apart():
    assert spread(Nameless(), 2) == [2, 7]
    assert spread(Nameless(), 10) == spread(Nameless(), 99) == list(range(10))
    assert spread(Nameless(), 0) == []
    with pytest.raises(ValueError, match="0 or more"):
        spread(Nameless(), -1)


def test_a_split_without_names_has_numbers_and_one_without_pictures_has_its_channels():
    assert sample_info(Nameless(), 7) == SampleInfo("7", {})
    assert sample_info(split_of([{"weather": "fog"}]), 0) == SampleInfo("s0", {"weather": "fog"})
    pictures = sample_pictures(Nameless(), 3)
    assert list(pictures) == ["A", "B"]
    assert all(p.shape == (4, 5, 3) and p.dtype == np.uint8 for p in pictures.values())
    assert np.array_equal(sample_pictures(Drawn(), 9)["A"], np.full((4, 5, 3), 9))


@given(st.integers(1, 6), st.floats(-1e6, 1e6), st.floats(0, 1e3))
@settings(max_examples=60, deadline=None)
def test_pictures_are_of_the_right_form_whatever_the_channels(channels, offset, scale):
    values = offset + scale * np.random.default_rng(channels).normal(size=(channels, 5, 7))
    values[:, 0, 0] = np.nan
    values[:, 1, 1] = np.inf
    picture = to_rgb(values)
    assert picture.shape == (5, 7, 3)
    assert picture.dtype == np.uint8
    assert not picture[0, 0].any()
    assert not picture[1, 1].any()


def test_each_channel_is_stretched_between_its_percentiles():
    ramp = np.linspace(-3, 5, 1000).reshape(1, 20, 50)
    grey = to_rgb(ramp)
    low, high = np.percentile(ramp, (2, 98))
    expected = np.clip((ramp[0] - low) / (high - low), 0, 1) * 255
    assert np.abs(grey - expected[..., None]).max() <= 0.5
    assert (grey == grey[..., :1]).all()
    two = to_rgb(np.concatenate([ramp, -ramp]))
    assert np.abs(two[..., 0] - expected).max() <= 0.5
    assert np.abs(two[..., 2] - (255 - expected)).max() <= 0.5
    assert np.abs(two[..., 1].astype(int) - 127.5).max() <= 1
    four = to_rgb(np.concatenate([ramp, ramp * 9, ramp[:, ::-1], 0 * ramp]))
    assert np.array_equal(four[..., 0], four[..., 1])
    assert np.array_equal(four[..., 2], four[::-1, :, 0])


def test_a_picture_without_contrast_stays_without():
    noise = 0.01 * np.random.default_rng(0).normal(size=(1, 30, 30))
    assert np.ptp(to_rgb(noise)) < 30
    assert np.ptp(to_rgb(np.full((3, 4, 4), 7.0))) == 0


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 13, 19, 32])
def test_generated_colours_are_distinct_and_neither_black_nor_white(n):
    colours = np.array(palette(n))
    assert colours.shape == (n, 3)
    assert colours.min() >= 0
    assert colours.max() <= 255
    distances = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(n, dtype=int)
    assert distances.min() >= 30
    assert (colours.max(axis=1) >= 100).all()
    assert (colours.min(axis=1) <= 180).all()


def test_landsat_can_be_looked_at_and_own_colours_win():
    data = open_landsat()
    split = data.splits["test"]
    for index in spread(split, 3):
        pictures = sample_pictures(split, index)
        assert list(pictures) == ["V", "N", "S"]
        assert all(p.shape == (*split.shape, 3) and np.ptp(p) > 50 for p in pictures.values())
    assert len(class_colours(data)) == data.n_classes
    own = ((1, 2, 3), (4, 5, 6))
    two = SegmentationData("x", {"F": 1}, ("a", "b"), 255, {}, False, None, (), colours=own)
    assert class_colours(two) == own


@given(st.lists(st.floats(-10, 10) | st.sampled_from([np.nan, np.inf]), min_size=1, max_size=300))
def test_a_heat_strip_keeps_the_order_of_numbers(values: list[float]) -> None:
    """Red over blue grows with the number up to the ends of the scale; equal strips are about as wide as high."""
    given_values = np.array(values, dtype=np.float32)
    strip = heat_strip(given_values)
    times = strip.shape[1] // len(values)
    assert strip.shape[1] == times * len(values) >= len(values)
    assert (strip == strip[:1]).all()
    assert 8 <= strip.shape[1] / strip.shape[0] <= 32
    row = strip[0, ::times].astype(int)
    finite = np.isfinite(given_values)
    assert (row[~finite] == 0).all()
    order = np.argsort(np.clip(given_values[finite], -3, 3), kind="stable")
    warmth = (row[finite][:, 0] - row[finite][:, 2])[order]
    assert (np.diff(warmth) >= -1).all()  # each channel is rounded by itself


@pytest.mark.parametrize(("n", "places"), [(1, [0]), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (8, [1, 3, 5, 7])])
def test_frames_evenly_apart(n: int, places: list[int]) -> None:
    assert frame_places(n) == places


def test_samples_without_pictures_of_their_own_are_drawn_by_their_shape() -> None:
    inputs = {
        "numbers": np.zeros((2, 50), dtype=np.float32),
        "sound": np.zeros((2, 1, 8, 12), dtype=np.float32),
        "video": np.zeros((2, 3, 6, 5, 7), dtype=np.float32),
    }
    shapes = {name: p.shape for name, p in sample_pictures(LabelledSplit(inputs, np.zeros(2)), 1).items()}
    assert shapes == {"numbers": (6, 100, 3), "sound": (8, 12, 3), "video": (5, 28, 3)}
