import math

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from mmablate.losses import unimodal_distillation as umd
from mmablate.losses.divergence import kl_summands

DEFINITIONS = ["principled", "released", "spatial", "mse"]
NAMES = ("image", "event", "lidar")
SHAPES = ((2, 4, 6, 5), (2, 7, 3, 2))


def features(seed, scale=1.0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return {name: [torch.tensor(scale * rng.normal(size=shape)).to(dtype) for shape in SHAPES] for name in NAMES}


def divergence(teacher, student):
    """KL between the softmaxes of two vectors, teacher first."""
    sum_t, sum_s = sum(math.exp(v) for v in teacher), sum(math.exp(v) for v in student)
    return sum(
        math.exp(t) / sum_t * ((t - math.log(sum_t)) - (s - math.log(sum_s)))
        for t, s in zip(teacher, student, strict=True)
    )


def stage_by_hand(student, teacher, definition):
    n_images, channels, height, width = student.shape
    total = 0.0
    for b in range(n_images):
        s, t = student[b], teacher[b]
        if definition == "principled":
            lines = [(t[:, y, x], s[:, y, x]) for y in range(height) for x in range(width)]
        elif definition == "released":
            lines = [(t[c, :, x], s[c, :, x]) for c in range(channels) for x in range(width)]
        elif definition == "spatial":
            lines = [(t[c].reshape(-1), s[c].reshape(-1)) for c in range(channels)]
        else:
            total += sum((s[i] - t[i]) ** 2 for i in np.ndindex(s.shape))
            continue
        total += sum(divergence(*line) for line in lines)
    return total / (n_images * channels * height * width)


def by_hand(student, teacher, present, definition):
    return sum(
        stage_by_hand(student[m][i].numpy(), teacher[m][i].numpy(), definition)
        for m in present
        for i in range(len(SHAPES))
    )


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("present", [NAMES, ("lidar", "image"), ("event",)])
def test_equals_the_sum_written_out(definition, present):
    student, teacher = features(1), features(2)
    expected = by_hand(student, teacher, present, definition)
    found = umd(student, teacher, present=present, definition=definition)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    mean = umd(student, teacher, present=present, definition=definition, reduce="mean")
    assert mean.item() == pytest.approx(expected / len(present), rel=1e-12)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_float32_agrees_with_the_sum_written_out(definition):
    student, teacher = features(1, dtype=torch.float32), features(2, dtype=torch.float32)
    expected = by_hand(
        {m: [f.double() for f in s] for m, s in student.items()},
        {m: [f.double() for f in s] for m, s in teacher.items()},
        NAMES,
        definition,
    )
    assert umd(student, teacher, present=NAMES, definition=definition).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_normalise_standardises_each_pixel_over_channels(definition):
    student, teacher = features(1), features(2, scale=20.0)

    def standardised(maps):
        result = {}
        for name, stages in maps.items():
            result[name] = []
            for stage in stages:
                done = stage.clone()
                for b, y, x in np.ndindex(stage.shape[0], *stage.shape[2:]):
                    v = stage[b, :, y, x].numpy()
                    done[b, :, y, x] = torch.tensor((v - v.mean()) / math.sqrt(v.var() + 1e-5))
                result[name].append(done)
        return result

    expected = by_hand(standardised(student), standardised(teacher), NAMES, definition)
    found = umd(student, teacher, present=NAMES, definition=definition, normalise=True)
    assert found.item() == pytest.approx(expected, rel=1e-10)
    assert found.item() != pytest.approx(by_hand(student, teacher, NAMES, definition), rel=1e-2)


def test_gradient_is_the_difference_of_probabilities_over_elements():
    student, teacher = features(1), features(2)
    x = student["event"][0].requires_grad_()
    umd(student, teacher, present=NAMES).backward()
    expected = (x.detach().softmax(1) - teacher["event"][0].softmax(1)) / x.numel()
    assert torch.allclose(x.grad, expected, rtol=1e-10, atol=1e-15)


def test_blind_to_a_constant_over_the_channels_of_a_pixel():
    student = features(1)
    moved = {m: [f + torch.randn_like(f[:, :1]) for f in stages] for m, stages in student.items()}
    assert umd(moved, student, present=NAMES).item() == pytest.approx(0, abs=1e-14)
    for definition in ("released", "spatial", "mse"):
        assert umd(moved, student, present=NAMES, definition=definition) > 1e-3


def test_small_features_give_half_the_centred_squared_error_and_large_ones_saturate():
    student, teacher = features(1, scale=0.1), features(2, scale=0.1)
    expected = 0.0
    for name in NAMES:
        for s, t in zip(student[name], teacher[name], strict=True):
            difference = (s - t).numpy()
            centred = difference - difference.mean(1, keepdims=True)
            # Probabilities are near 1/C, so that KL is near sum over c of (1/C) centred^2 / 2.
            expected += 0.5 * (centred**2).mean() / s.shape[1]
    assert umd(student, teacher, present=NAMES).item() == pytest.approx(expected, rel=0.05)
    squared = 100**2 * expected
    student, teacher = features(1, scale=10.0), features(2, scale=10.0)
    assert umd(student, teacher, present=NAMES).item() < 0.3 * squared


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_each_image_of_a_batch_counts_alike(definition):
    student, teacher = features(1), features(2)

    def one(b):
        return [{m: [f[b : b + 1] for f in stages] for m, stages in side.items()} for side in (student, teacher)]

    both = umd(student, teacher, present=NAMES, definition=definition)
    singles = [umd(*one(b), present=NAMES, definition=definition).item() for b in range(2)]
    assert both.item() == pytest.approx(np.mean(singles), rel=1e-12)


def test_released_is_clamped_for_each_image():
    # In float32 the divergence of nearly equal maps may come out below zero; the clamp hides that, image
    # by image, and with it the gradient.
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(64, 8, 16, 16, generator=generator)
    student = (teacher * (1 + 1e-7)).requires_grad_()
    raw = kl_summands(student.detach(), teacher, dim=2).mean((1, 2, 3))
    assert (raw < 0).any()
    assert (raw > 0).any()
    value = umd({"image": [student]}, {"image": [teacher]}, present=["image"], definition="released")
    value.backward()
    assert value.item() == pytest.approx(sum(max(0.0, r) for r in raw.tolist()) / 64, rel=1e-6)
    assert (student.grad[raw < 0] == 0).all()
    assert (student.grad[raw > 0] != 0).any()


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("normalise", [False, True])
def test_a_stack_of_models_gets_the_values_and_gradients_of_each(definition, normalise):
    singles = [features(seed) for seed in range(3)]
    stack = {m: [torch.stack([s[m][i] for s in singles]) for i in range(len(SHAPES))] for m in NAMES}
    teacher = features(9)

    def one(student):
        return umd(student, teacher, present=("event", "image"), definition=definition, normalise=normalise)

    values, gradients = vmap(one)(stack), vmap(grad(one))(stack)
    for n, single in enumerate(singles):
        assert torch.allclose(values[n], one(single), rtol=1e-12)
        expected = grad(one)(single)
        for m in NAMES:
            for i in range(len(SHAPES)):
                assert torch.allclose(gradients[m][i][n], expected[m][i], rtol=1e-9, atol=1e-14)


def test_unknown_options():
    student = features(1)
    with pytest.raises(ValueError, match=r"'seed'.*principled"):
        umd(student, student, present=NAMES, definition="seed")
    with pytest.raises(ValueError, match="'max'"):
        umd(student, student, present=NAMES, reduce="max")
