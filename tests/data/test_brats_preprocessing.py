"""The published preprocessing, against the procedure written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from brats_samples import SEQUENCES, scans
from hypothesis import given
from hypothesis import strategies as st

from mmablate.data.brats.preprocessing import crop_of, preprocess


def published_bounds(low: int, high: int, extent: int) -> tuple[int, int]:
    """Facts: an extent below the least one is widened by half of what it lacks, and one above."""
    if high - low >= extent:
        return low, high
    half = int((extent - (high - low)) / 2)
    low, high = low - half, high + half + 1
    return (0, high - low) if low < 0 else (low, high)


def published(values: dict[str, np.ndarray], extent: int) -> tuple[np.ndarray, np.ndarray]:
    """The procedure in plain loops, on arrays stacked first; in single precision as published."""
    stacked = np.stack([values[name] for name in SEQUENCES]).astype(np.float32)
    places = np.argwhere(stacked.max(axis=0) != 0)
    bounds = [published_bounds(int(places[:, k].min()), int(places[:, k].max()), extent) for k in range(3)]
    (a, b), (c, d), (e, f) = bounds
    part = stacked[:, a:b, c:d, e:f].copy()
    mask = (part[0] + part[1] + part[2] + part[3]) > 0
    for k in range(4):
        part[k] = (part[k] - part[k][mask].mean()) / part[k][mask].std()
    labels = values["seg"].astype(np.uint8)[a:b, c:d, e:f].copy()
    labels[labels == 4] = 3
    return np.moveaxis(part, 0, -1), labels


@pytest.mark.parametrize("extent", [1, 6, 7, 9, 128])
def test_it_equals_the_published_procedure_to_the_bit(extent: int) -> None:
    values = scans(1)
    volume, labels = preprocess(values, values["seg"], min_extent=extent)
    wanted, wanted_labels = published(values, extent)
    assert volume.dtype == np.float32
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(volume, wanted)
    np.testing.assert_array_equal(labels, wanted_labels)
    assert set(np.unique(labels)) <= {0, 1, 2, 3}
    assert 3 in labels


def test_the_last_slice_of_the_brain_is_lost_as_published() -> None:
    values = scans(2, (20, 20, 20))  # not 0 from 2 to 17, 1 to 17, 1 to 18
    assert preprocess(values, None, min_extent=4)[0].shape == (15, 16, 17, 4)


def test_values_are_standardised_over_the_brain_in_double_precision() -> None:
    values = scans(3, (20, 20, 20))
    volume, _ = preprocess(values, None, min_extent=4)
    inside = np.stack([values[name] for name in SEQUENCES]).astype(float).sum(0)[2:17, 1:17, 1:18] > 0
    for k in range(4):
        one = values[SEQUENCES[k]].astype(float)[2:17, 1:17, 1:18]
        wanted = (one - one[inside].mean()) / np.sqrt(((one[inside] - one[inside].mean()) ** 2).mean())
        np.testing.assert_allclose(volume[..., k], wanted, atol=2e-6)
    assert (volume[~inside] != 0).all()  # the whole crop is shifted


@given(low=st.integers(0, 199), extent=st.integers(1, 160), length=st.integers(1, 200), least=st.integers(1, 160))
def test_a_box_is_never_empty_and_lies_in_the_volume(low: int, extent: int, length: int, least: int) -> None:
    low = min(low, length - 1)
    high = min(low + extent, length) - 1
    line = np.zeros((length, 1, 1))
    line[low], line[high] = 1, 1
    box = crop_of([line], least)[0]
    wanted_low, wanted_high = published_bounds(low, high, least)
    assert (box.start, box.stop) == (wanted_low, min(wanted_high, length))
    assert 0 <= box.start < box.stop <= length


@pytest.mark.parametrize(("extent", "wanted"), [(126, 129), (127, 128), (100, 129), (101, 128), (128, 128), (130, 130)])
def test_short_extents_are_widened_to_128_or_129(extent: int, wanted: int) -> None:
    line = np.zeros((400, 1, 1))
    line[150], line[150 + extent] = 1, 1
    box = crop_of([line])[0]
    assert box.stop - box.start == wanted


def test_small_volumes_stay_whole() -> None:
    values = scans(4, (24, 30, 48))
    assert preprocess(values, values["seg"])[1].shape == (24, 30, 48)


def test_a_missing_sequence_is_zero_and_changes_no_other_where_the_rest_tells_the_brain() -> None:
    values = scans(5)
    whole, _ = preprocess(values, None)
    del values["t1"]
    part, _ = preprocess(values, None)
    assert (part[..., 2] == 0).all()
    np.testing.assert_array_equal(part[..., [0, 1, 3]], whole[..., [0, 1, 3]])


def test_a_constant_sequence_is_zero_not_nan() -> None:
    values = scans(6)
    values["t2"] = np.zeros_like(values["t2"])
    volume, _ = preprocess(values, None)
    assert np.isfinite(volume).all()
    assert (volume[..., 3] == 0).all()


def test_inputs_are_left_alone() -> None:
    values = scans(7)
    before = {name: array.copy() for name, array in values.items()}
    preprocess(values, values["seg"])
    for name, array in values.items():
        np.testing.assert_array_equal(array, before[name])


def test_what_cannot_be_preprocessed_is_refused() -> None:
    values = scans(8)
    empty = {name: np.zeros((4, 4, 4)) for name in SEQUENCES}
    with pytest.raises(ValueError, match="found none"):
        preprocess({}, None)
    with pytest.raises(ValueError, match="not 0, found none"):
        preprocess(empty, None)
    with pytest.raises(ValueError, match="above 0, found none"):
        preprocess({"t1": -values["t1"].astype(float)}, None)
    with pytest.raises(ValueError, match="one shape"):
        preprocess({**values, "t1": values["t1"][1:]}, None)
    with pytest.raises(ValueError, match="at least 1"):
        crop_of([values["t1"]], 0)
