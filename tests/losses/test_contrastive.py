"""InfoNCE against a loop in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from mmablate.losses import info_nce


def features(n=5, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d))), torch.tensor(rng.normal(size=(n, d)))


def written_out(a, b, scale):
    def cosine(x, y):
        return sum(p * q for p, q in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)

    a, b = a.tolist(), b.tolist()
    n = len(a)
    total = 0.0
    for i in range(n):
        own = scale * cosine(a[i], b[i])
        total += math.log(sum(math.exp(scale * cosine(a[i], y)) for y in b)) - own
        total += math.log(sum(math.exp(scale * cosine(x, b[i])) for x in a)) - own
    return total / (2 * n)


@pytest.mark.parametrize("scale", [0.5, 1.0, 14.3, 99.0])
def test_equals_the_sum_written_out(scale):
    a, b = features()
    assert info_nce(a, b, math.log(scale)).item() == pytest.approx(written_out(a, b, scale), rel=1e-6)


def test_order_of_the_pairs_sides_and_lengths_do_not_matter():
    a, b = features(8)
    value = info_nce(a, b, 1.0)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    torch.testing.assert_close(info_nce(a[order], b[order], 1.0), value)
    torch.testing.assert_close(info_nce(b, a, 1.0), value)
    lengths = torch.linspace(0.5, 40, 8, dtype=torch.float64)[:, None]
    torch.testing.assert_close(info_nce(a * lengths, b, 1.0), value, rtol=1e-6, atol=0)
    assert info_nce(a[order], b, 1.0) != value


def test_identical_pairs_equal_ones_and_a_batch_of_one():
    a = torch.eye(4, dtype=torch.float64)
    assert info_nce(a, a, 0.0).item() == pytest.approx(math.log(math.e + 3) - 1, rel=1e-6)
    assert info_nce(a, a, math.log(100)).item() == pytest.approx(0, abs=1e-12)
    assert info_nce(torch.ones(4, 3), torch.ones(4, 3), 2.0).item() == pytest.approx(math.log(4))
    assert info_nce(*features(1), 2.0).item() == pytest.approx(0, abs=1e-12)


def test_a_scale_past_the_bound_counts_as_100_and_can_return():
    a, b = features()
    at_bound = torch.tensor(math.log(100), dtype=torch.float64, requires_grad=True)
    beyond = torch.tensor(9.0, dtype=torch.float64, requires_grad=True)
    values = info_nce(a, b, at_bound), info_nce(a, b, beyond)
    torch.testing.assert_close(values[1], values[0])
    for value in values:
        value.backward()
    assert beyond.grad > 0  # these pairs are no nearer than others: a smaller scale is better
    torch.testing.assert_close(beyond.grad, at_bound.grad)


def test_gradients_are_those_of_finite_differences():
    a, b = features()
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(info_nce, (a.requires_grad_(), b.requires_grad_(), scale))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_types_and_zeros_stay_finite(dtype):
    a, b = features(6)
    a[0] = 0
    a, b = a.to(dtype).requires_grad_(), b.to(dtype)
    value = info_nce(a, b, math.log(100))
    value.backward()
    assert value.dtype == torch.float32
    assert bool(a.grad.isfinite().all())


def test_runs_under_vmap_and_grad():
    a, b = (torch.stack(side) for side in zip(*(features(seed=s) for s in range(3)), strict=True))
    scale = torch.tensor([0.0, 1.0, 6.0], dtype=torch.float64)
    many = vmap(grad(info_nce, argnums=(0, 2)))(a, b, scale)
    for found, wanted in zip(many, (0, 2), strict=True):
        alone = torch.stack([grad(info_nce, argnums=wanted)(*one) for one in zip(a, b, scale, strict=True)])
        torch.testing.assert_close(found, alone)


@pytest.mark.parametrize("shapes", [((3, 2), (2, 2)), ((3,), (3,)), ((0, 2), (0, 2))])
def test_shapes_that_do_not_belong_together(shapes):
    with pytest.raises(ValueError, match="features"):
        info_nce(*(torch.ones(shape) for shape in shapes), 0.0)
