"""Terms of the unique-information expert: written out, in closed form, and by finite differences."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.func import grad, vmap

from mmablate.losses import (
    cross_entropy,
    gaussian_conditional_information,
    gaussian_information,
    redundancy,
    residual_cross_entropy,
    unique_cross_entropy,
)


def normal(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape))


LABELS = torch.tensor([0, 2, 1, 1, 0, 2])


def test_unique_cross_entropy_is_the_weighted_mean():
    logits, other = normal(6, 3), torch.tensor([0.9, 0.1, 0.5, 0.99, 0.0, 1.0], dtype=torch.float64)
    losses = -logits.log_softmax(1)[range(6), LABELS]
    expected = sum((1 - p) * loss for p, loss in zip(other, losses, strict=True)) / (6 - other.sum())
    torch.testing.assert_close(unique_cross_entropy(logits, other, LABELS), expected)


def test_equal_weights_are_cross_entropy_and_no_weight_is_nothing():
    logits = normal(6, 3).requires_grad_()
    half = torch.full((6,), 0.5, dtype=torch.float64)
    plain = cross_entropy(logits, LABELS, ignore_label=None)
    torch.testing.assert_close(unique_cross_entropy(logits, half, LABELS), plain)
    unique_cross_entropy(logits, torch.ones(6), LABELS).backward()
    assert bool((logits.grad == 0).all())


def test_few_weights_left_are_not_amplified():
    logits = normal(6, 3)
    nearly = torch.full((6,), 1 - 1e-3, dtype=torch.float64)
    found, plain = unique_cross_entropy(logits, nearly, LABELS), cross_entropy(logits, LABELS, ignore_label=None)
    torch.testing.assert_close(found, plain * 1e-3 / 0.05)


def test_only_the_expert_learns():
    logits, other = normal(6, 3).requires_grad_(), normal(6, 3, seed=1).requires_grad_()
    probability = other.softmax(1).gather(1, LABELS[:, None]).squeeze(1)
    unique_cross_entropy(logits, probability, LABELS).backward()
    residual_cross_entropy(logits, other, LABELS).backward()
    assert other.grad is None
    assert bool((logits.grad != 0).any())


def test_the_residual_expert_has_the_encoder_gradient_of_the_multimodal_loss():
    """The trap: with a shared linear head on concatenated features nothing is truncated any more."""
    head, bias = normal(3, 8), normal(3, seed=1)
    mine, other = normal(6, 4, seed=2).requires_grad_(), normal(6, 4, seed=3)
    multimodal = torch.cat([mine, other], 1) @ head.T + bias
    (wanted,) = torch.autograd.grad(cross_entropy(multimodal, LABELS, ignore_label=None), mine)
    residual = residual_cross_entropy(mine @ head[:, :4].T, other @ head[:, 4:].T + bias, LABELS)
    (found,) = torch.autograd.grad(residual, mine)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


def correlated(n, d, e, seed=0):
    """Samples (n, d + e) of a known Gaussian, and their mutual information in closed form."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d + e, d + e)) / np.sqrt(d + e) + 0.5 * np.eye(d + e)
    covariance = root @ root.T
    separate = np.linalg.slogdet(covariance[:d, :d])[1] + np.linalg.slogdet(covariance[d:, d:])[1]
    return torch.tensor(rng.normal(size=(n, d + e)) @ root.T), (separate - np.linalg.slogdet(covariance)[1]) / 2


@pytest.mark.parametrize(("d", "e"), [(1, 1), (3, 2), (4, 4)])
def test_large_samples_of_a_gaussian_give_its_information(d, e):
    samples, expected = correlated(100_000, d, e, seed=d)
    found = gaussian_information(samples[:, :d], samples[:, d:], shrinkage=1e-9)
    assert found.item() == pytest.approx(expected, rel=0.02)
    shrunk = gaussian_information(samples[:, :d], samples[:, d:])
    assert 0.97 * expected - 0.02 < shrunk.item() < 1.02 * expected


def test_one_pair_is_the_formula_of_the_correlation():
    samples = correlated(50, 1, 1)[0]
    r = np.corrcoef(samples.numpy().T)[0, 1]
    for share in (1e-12, 0.3, 1.0):
        found = gaussian_information(samples[:, :1], samples[:, 1:], shrinkage=share)
        assert found.item() == pytest.approx(-np.log(1 - ((1 - share) * r) ** 2) / 2, rel=1e-6, abs=1e-12)


def share_by_hand(samples):
    """The estimate of Schaefer and Strimmer, in loops."""
    n, size = samples.shape
    x = (samples - samples.mean(0)) / samples.std(0, ddof=1)
    total = uncertain = 0.0
    for i in range(size):
        for j in range(size):
            if i != j:
                products = x[:, i] * x[:, j]
                total += (products.sum() / (n - 1)) ** 2
                uncertain += n / (n - 1) ** 3 * ((products - products.mean()) ** 2).sum()
    return min(1, max(1e-3, uncertain / total))


def by_hand(samples, d):
    share = share_by_hand(samples)
    shrunk = (1 - share) * np.corrcoef(samples.T) + share * np.eye(samples.shape[1])
    parts = [np.linalg.slogdet(m)[1] for m in (shrunk[:d, :d], shrunk[d:, d:], shrunk)]
    return (parts[0] + parts[1] - parts[2]) / 2


@pytest.mark.parametrize("n", [6, 30, 500])
def test_analytic_shrinkage_is_that_of_schaefer_and_strimmer(n):
    samples = correlated(n, 3, 4, seed=n)[0]
    found = gaussian_information(samples[:, :3], samples[:, 3:])
    assert found.item() == pytest.approx(by_hand(samples.numpy(), 3), rel=1e-9)


def test_within_classes_only_what_the_label_does_not_explain_is_shared():
    """u and z are the label's mean plus independent noise: all they share is redundant."""
    labels = torch.arange(1500) % 3
    means = 2 * torch.tensor([[0.0, 1], [1, 0], [-1, -1]], dtype=torch.float64)
    u, z = means[labels] + normal(1500, 2, seed=1), means[labels] + normal(1500, 2, seed=2)
    assert gaussian_conditional_information(u, z, labels).item() < 0.01
    assert redundancy(u, z, labels).item() == pytest.approx(gaussian_information(u, z).item(), abs=0.01)


def test_redundancy_is_negative_where_only_both_together_tell():
    """The label is the sign of a sum: within a class its terms depend on each other, overall they do not."""
    u, noise = normal(1500, 1, seed=1), normal(1500, 1, seed=2)
    labels = ((u + noise)[:, 0] > 0).long()
    assert gaussian_information(u, noise).item() < 0.01
    assert redundancy(u, noise, labels).item() < -0.05


def test_conditional_is_that_of_the_residuals():
    u, z, labels = normal(40, 3), normal(40, 2, seed=1) + normal(40, 3)[:, :2], torch.arange(40) % 4
    for k in range(4):
        held = labels == k
        u[held] += 3 * k
        z[held] -= k
    left_u, left_z = u.clone(), z.clone()
    for k in range(4):
        held = labels == k
        left_u[held] -= u[held].mean(0)
        left_z[held] -= z[held].mean(0)
    found = gaussian_conditional_information(u, z, labels)
    torch.testing.assert_close(found, gaussian_information(left_u, left_z))


@given(
    st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1), st.sampled_from([0.05, None])
)
@settings(max_examples=40, deadline=None)
def test_finite_symmetric_and_free_of_units(n, d, e, seed, share):
    rng = np.random.default_rng(seed)
    u, z = torch.tensor(rng.normal(size=(n, d))), torch.tensor(rng.normal(size=(n, e)))
    if seed % 3 == 0:
        u[:, 0] = 0.1  # a constant, which rounding would not show as such
    if seed % 5 == 0:
        z[:, 0] = u[:, -1]
    labels = torch.tensor(rng.integers(0, 3, n))
    options = {"shrinkage": share or "analytic"}
    u.requires_grad_()
    value = redundancy(u, z, labels, **options)
    value.backward()
    assert bool(u.grad.isfinite().all())
    for found in (
        gaussian_information(u, z, **options),
        gaussian_conditional_information(u, z, labels, **options),
    ):
        assert found.item() >= -1e-9
    scale = torch.tensor(10.0 ** rng.integers(-3, 4, d))
    moved = redundancy(u.detach() * scale * torch.tensor(rng.choice([-1, 1], d)) + 5, z, labels, **options)
    torch.testing.assert_close(moved, value.detach(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(redundancy(z, u, labels, **options), value, rtol=1e-9, atol=1e-12)
    order = torch.tensor(rng.permutation(n))
    torch.testing.assert_close(redundancy(u[order], z[order], labels[order], **options), value, rtol=1e-7, atol=1e-10)


def test_identical_vectors_stay_finite_in_single_precision():
    u = normal(64, 16).float().requires_grad_()
    value = gaussian_information(u, u.detach())
    value.backward()
    assert value.isfinite()
    assert value.dtype == torch.float32
    assert bool(u.grad.isfinite().all())
    assert value.item() == pytest.approx(gaussian_information(u.double(), u.detach().double()).item(), rel=1e-3)


def test_undefined_features_give_an_undefined_value_and_no_exception():
    u = normal(8, 2)
    u[0, 0] = float("nan")
    assert gaussian_information(u, normal(8, 2, seed=1)).isnan()


def test_gradients_are_those_of_finite_differences():
    labels = torch.arange(9) % 2
    u, z = normal(9, 2).requires_grad_(), normal(9, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: gaussian_information(a, b, shrinkage=0.2), (u, z))
    assert torch.autograd.gradcheck(lambda a, b: redundancy(a, b, labels, shrinkage=0.2), (u, z))
    logits, other = normal(6, 3).requires_grad_(), torch.linspace(0, 1, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a: unique_cross_entropy(a, other, LABELS), (logits,))


def test_the_analytic_coefficient_is_not_differentiated():
    u, z = normal(9, 2).requires_grad_(), normal(9, 3, seed=1)
    (found,) = torch.autograd.grad(gaussian_information(u, z), u)
    share = share_by_hand(torch.cat([u.detach(), z], 1).numpy())
    (wanted,) = torch.autograd.grad(gaussian_information(u, z, shrinkage=share), u)
    torch.testing.assert_close(found, wanted)


def test_runs_under_vmap_and_grad():
    u, z, labels = normal(4, 12, 3), normal(4, 12, 2, seed=1), torch.arange(12) % 3
    many = vmap(grad(lambda a, b: redundancy(a, b, labels)))(u, z)
    alone = torch.stack([grad(lambda a, b: redundancy(a, b, labels))(a, b) for a, b in zip(u, z, strict=True)])
    torch.testing.assert_close(many, alone)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_information(torch.ones(3, 2), torch.ones(2, 2)), "same samples"),
        (lambda: gaussian_information(torch.ones(0, 2), torch.ones(0, 2)), "same samples"),
        (lambda: gaussian_information(torch.ones(3, 2), torch.ones(3, 2), shrinkage=0), r"\(0, 1\], got 0"),
        (lambda: gaussian_information(torch.ones(3, 2), torch.ones(3, 2), shrinkage="oas"), "'oas'"),
        (lambda: redundancy(torch.ones(3, 2), torch.ones(3, 2), LABELS), r"labels \(3,\) expected"),
        (lambda: unique_cross_entropy(torch.ones(6, 3), torch.ones(5), LABELS), "one probability a label"),
        (lambda: unique_cross_entropy(torch.ones(6, 3), torch.ones(6), LABELS.float()), "int64"),
        (lambda: residual_cross_entropy(torch.ones(6, 3), torch.ones(6, 2), LABELS), "differ in shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
