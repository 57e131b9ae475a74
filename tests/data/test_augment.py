"""Augmentation: geometry moves labels with their pixels, light touches pictures only, each sample by its own draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmablate.data.augment import Augmentation

HEIGHT, WIDTH, B = 6, 8, 3


def batch() -> tuple[dict[str, Tensor], Tensor]:
    """Labels that number the pixels; A is a picture, L a measurement with the same numbers."""
    numbers = torch.arange(HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH).repeat(B, 1, 1)
    values = numbers[:, None].float()
    return {"A": values.repeat(1, 3, 1, 1), "L": values.clone()}, numbers


def draws(seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    return torch.rand(B, 4, generator=stream), torch.rand(B, 7, generator=stream)


def test_nothing_wanted_changes_nothing() -> None:
    inputs, labels = batch()
    out, after = Augmentation()(inputs, labels, *draws())
    assert torch.equal(after, labels)
    assert all(torch.equal(out[name], inputs[name]) for name in inputs)


@given(
    seed=st.integers(0, 99),
    flip=st.booleans(),
    vertical=st.booleans(),
    crop=st.none() | st.tuples(st.integers(1, HEIGHT), st.integers(1, WIDTH)),
    scale=st.none() | st.sampled_from([(0.5, 0.5), (1.0, 1.0), (0.5, 2.0), (2.0, 2.0)]),
)
@settings(max_examples=80, deadline=None)
def test_labels_stay_with_the_pixels_of_a_measurement(
    seed: int, flip: bool, vertical: bool, crop: tuple[int, int] | None, scale: tuple[float, float] | None
) -> None:
    inputs, labels = batch()
    out, after = Augmentation(flip=flip, vertical=vertical, crop=crop, scale=scale, photometric=("A",))(
        inputs, labels, *draws(seed)
    )
    assert after.shape == (B, *(crop or (HEIGHT, WIDTH)))
    seen = after != 255
    assert torch.equal(out["L"][:, 0][seen].long(), after[seen])
    assert bool((out["L"][:, 0][~seen] == 0).all())
    assert bool(seen.any())
    if scale is None:
        assert bool(seen.all())


def test_a_shrunken_image_is_filled_up_with_void() -> None:
    inputs, labels = batch()
    _, after = Augmentation(scale=(0.5, 0.5))(inputs, labels, *draws())
    assert int((after != 255).sum()) == B * (HEIGHT // 2) * (WIDTH // 2)


def test_an_enlarged_image_shows_a_window_of_neighbouring_pixels() -> None:
    inputs, labels = batch()
    _, after = Augmentation(scale=(2.0, 2.0))(inputs, labels, *draws())
    for sample in after:
        rows, columns = np.unique(sample.numpy() // WIDTH), np.unique(sample.numpy() % WIDTH)
        assert len(rows) in (HEIGHT // 2, HEIGHT // 2 + 1)
        assert len(columns) in (WIDTH // 2, WIDTH // 2 + 1)
        assert (np.diff(rows) == 1).all()


@pytest.mark.parametrize("option", ["jitter", "blur"])
def test_light_changes_pictures_alone_and_with_its_probability(option: str) -> None:
    inputs, labels = batch()
    first, more = draws(3)
    more[:, 1] = more[:, 5] = torch.tensor([0.1, 0.5, 0.9])
    out, after = Augmentation(**{option: 0.6}, photometric=("A",))(inputs, labels, first, more)
    assert torch.equal(after, labels)
    assert torch.equal(out["L"], inputs["L"])
    changed = [not torch.equal(a, b) for a, b in zip(out["A"], inputs["A"], strict=True)]
    assert changed == [True, True, False]


def test_blur_is_the_gaussian_of_its_draw() -> None:
    stream = np.random.default_rng(0)
    image = stream.normal(size=(1, 1, 5, 7))
    more = torch.full((1, 7), 0.3)
    out, _ = Augmentation(blur=1.0, photometric=("A",))(
        {"A": torch.from_numpy(image)}, torch.zeros(1, 5, 7, dtype=torch.long), torch.rand(1, 4), more.double()
    )
    kernel = np.exp(-0.5 * np.array([-1.0, 0.0, 1.0]) ** 2 / (0.1 + 1.9 * float(more[0, 6])) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(image[0, 0], 1, mode="edge")
    expected = sum(kernel[i] * kernel[j] * padded[i : i + 5, j : j + 7] for i in range(3) for j in range(3))
    np.testing.assert_allclose(out["A"][0, 0].numpy(), expected, rtol=1e-6)


def test_a_sample_is_changed_by_its_own_draws_alone() -> None:
    inputs, labels = batch()
    change = Augmentation(flip=True, vertical=True, scale=(0.5, 2.0), jitter=0.5, blur=0.5, photometric=("A",))
    first, more = draws(5)
    together, _ = change(inputs, labels, first, more)
    alone, _ = change({n: x[1:2] for n, x in inputs.items()}, labels[1:2], first[1:2], more[1:2])
    for name in inputs:
        torch.testing.assert_close(alone[name][0], together[name][1])
