"""Random resized crops and mirrors against a sample-by-sample computation in numpy, and against torch's own resize."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmablate.data.clip_augment import CROP_DRAWS, TRIES, crop_boxes, flip, random_resized_crop


def box_of(draws, height, width, scale, ratio):
    """Try after try, as a loop."""
    for attempt in range(TRIES):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[2 * attempt])
        shape = math.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * draws[2 * attempt + 1])
        wide, tall = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 1 <= wide <= width and 1 <= tall <= height:
            return int(draws[-2] * (height - tall + 1)), int(draws[-1] * (width - wide + 1)), tall, wide
    own = width / height
    tall, wide = height, width
    if own < ratio[0]:
        tall = max(1, min(height, round(width / ratio[0])))
    elif own > ratio[1]:
        wide = max(1, min(width, round(height * ratio[1])))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def resized(plane, height, width):
    """Bilinear with half-pixel centres, pixel by pixel."""
    made = np.empty((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * plane.shape[0] / height - 0.5, 0), plane.shape[0] - 1)
            x = min(max((j + 0.5) * plane.shape[1] / width - 0.5, 0), plane.shape[1] - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, plane.shape[0] - 1), min(left + 1, plane.shape[1] - 1)
            dy, dx = y - top, x - left
            made[i, j] = (1 - dy) * ((1 - dx) * plane[top, left] + dx * plane[top, right]) + dy * (
                (1 - dx) * plane[below, left] + dx * plane[below, right]
            )
    return made


def uniform(seed, *shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    scale=st.sampled_from([(0.08, 1.0), (0.5, 0.6), (1.0, 1.0), (0.02, 0.02)]),
    ratio=st.sampled_from([(0.75, 4 / 3), (1.0, 1.0), (0.2, 5.0)]),
)
def test_crops_are_those_of_the_sample_by_sample_computation(seed, size, scale, ratio):
    x, draws = uniform(seed, 3, 2, *size), uniform(seed + 1, 3, CROP_DRAWS)
    made = random_resized_crop(x, draws, scale, ratio)
    for i in range(3):
        top, left, tall, wide = box_of(draws[i].tolist(), *size, scale, ratio)
        for c in range(2):
            part = x[i, c, top : top + tall, left : left + wide].numpy()
            np.testing.assert_allclose(made[i, c].numpy(), resized(part, *size), atol=1e-9)


def test_a_crop_is_torchs_resize_of_the_part():
    x, draws = uniform(0, 8, 3, 16, 20).float(), uniform(1, 8, CROP_DRAWS)
    made = random_resized_crop(x, draws)
    boxes = crop_boxes(draws, (16, 20), (0.08, 1.0), (3 / 4, 4 / 3)).tolist()
    for i, (top, left, tall, wide) in enumerate(boxes):
        part = x[i : i + 1, :, top : top + tall, left : left + wide]
        expected = F.interpolate(part, size=(16, 20), mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(made[i], expected, atol=2e-6, rtol=0)


def test_boxes_are_spread_as_asked():
    boxes = crop_boxes(uniform(0, 4000, CROP_DRAWS), (100, 100), (0.08, 1.0), (3 / 4, 4 / 3)).double()
    top, left, tall, wide = boxes.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert ((top + tall) <= 100).all()
    assert ((left + wide) <= 100).all()
    share = tall * wide / 1e4
    assert 0.07 < share.min() < 0.1
    assert 0.97 < share.max() <= 1
    assert ((wide / tall >= 0.72) & (wide / tall <= 1.4)).all()
    assert abs(torch.log(wide / tall).mean()) < 0.02
    for place, side in ((top, tall), (left, wide)):
        room = side < 60
        assert abs((place / (100 - side))[room].mean() - 0.5) < 0.03


def test_nothing_fits_takes_the_middle():
    """All of the area of a wide picture at a square shape."""
    boxes = crop_boxes(uniform(0, 2, CROP_DRAWS), (4, 20), (1.0, 1.0), (1.0, 1.0))
    assert boxes.tolist() == [[0, 8, 4, 4]] * 2


def test_all_frames_are_cut_alike_and_samples_by_themselves():
    video, draws = uniform(0, 4, 3, 5, 8, 9), uniform(1, 4, CROP_DRAWS)
    made = random_resized_crop(video, draws)
    assert made.shape == video.shape
    for t in range(5):
        torch.testing.assert_close(made[:, :, t], random_resized_crop(video[:, :, t], draws), atol=1e-12, rtol=0)
    alone = random_resized_crop(video[2:3], draws[2:3])
    torch.testing.assert_close(made[2:3], alone, atol=0, rtol=0)
    mirrored = flip(video, draws[:, :1])
    for i in range(4):
        expected = video[i].flip(-1) if draws[i, 0] < 0.5 else video[i]
        assert torch.equal(mirrored[i], expected)


def test_mirrors():
    x = torch.arange(12.0).reshape(2, 1, 2, 3)
    made = flip(x, torch.tensor([0.49, 0.5]))
    assert made[0].tolist() == [[[2, 1, 0], [5, 4, 3]]]
    assert torch.equal(made[1], x[1])


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 1, 1, 4, 4)])
def test_shapes_of_another_form(shape):
    with pytest.raises(ValueError, match="expected"):
        random_resized_crop(torch.zeros(shape), torch.zeros(2, CROP_DRAWS))
    with pytest.raises(ValueError, match="expected"):
        flip(torch.zeros(shape), torch.zeros(2))


def test_draws_and_ranges_of_another_form():
    x = torch.zeros(2, 1, 4, 4)
    with pytest.raises(ValueError, match="draws"):
        random_resized_crop(x, torch.zeros(2, 4))
    with pytest.raises(ValueError, match="draws"):
        flip(x, torch.zeros(3))
    for scale, ratio in (((0.0, 1.0), (1, 1)), ((0.5, 1.1), (1, 1)), ((0.6, 0.5), (1, 1)), ((0.5, 1), (0, 1))):
        with pytest.raises(ValueError, match="scale must rise"):
            random_resized_crop(x, torch.zeros(2, CROP_DRAWS), scale, ratio)
