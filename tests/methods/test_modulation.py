"""OGM-GE: the ratio, the factor and what happens to the gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmablate.methods.modulation import coefficients, discrepancy, modulate_


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(names="av", n=6, k=3):
    labels = torch.randint(0, k, (n,), generator=seeded(1))
    return {name: torch.randn(n, k, generator=seeded(i)) for i, name in enumerate(names)}, labels


def true_sum(logits, labels):
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total += math.exp(row[label]) / sum(math.exp(value) for value in row)
    return total


def test_of_two_modalities_the_ratio_is_that_of_the_paper():
    logits, labels = batch()
    found = discrepancy(logits, labels)
    ratio = true_sum(logits["a"], labels) / true_sum(logits["v"], labels)
    assert found["a"].item() == pytest.approx(ratio, rel=1e-6)
    assert (found["a"] * found["v"]).item() == pytest.approx(1)


def test_of_three_it_is_that_to_the_mean_of_the_others():
    logits, labels = batch("avt")
    found = discrepancy(logits, labels)
    sums = {name: true_sum(own, labels) for name, own in logits.items()}
    assert found["v"].item() == pytest.approx(2 * sums["v"] / (sums["a"] + sums["t"]), rel=1e-6)
    alike = discrepancy(dict.fromkeys("avt", logits["a"]), labels)
    assert [value.item() for value in alike.values()] == pytest.approx([1, 1, 1])


def test_nothing_is_differentiated_and_hopeless_logits_stay_finite():
    logits, labels = batch()
    logits["a"].requires_grad_()
    assert not discrepancy(logits, labels)["a"].requires_grad
    lost = -1e5 * torch.eye(3)[labels]
    assert all(value.isfinite() for value in discrepancy({"a": lost, "v": lost}, labels).values())
    assert coefficients(discrepancy({"a": lost, "v": logits["v"]}, labels), 0.5)["a"] == 1


def test_only_who_is_ahead_is_scaled():
    rho = {"a": torch.tensor(1.6), "v": torch.tensor(1 / 1.6), "t": torch.tensor(1.0)}
    found = coefficients(rho, 0.3)
    assert found["a"].item() == pytest.approx(1 - math.tanh(0.48))
    assert found["v"] == 1
    assert found["t"] == 1
    assert all(value == 1 for value in coefficients(rho, 0.0).values())


def encoder():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4))
    net(torch.randn(5, 2, 4, 4, generator=seeded(2))).square().sum().backward()
    return net


def gradients(net):
    return [parameter.grad.clone() for parameter in net.parameters()]


def test_scaling_alone_draws_nothing():
    net, generator = encoder(), seeded()
    before, state = gradients(net), generator.get_state()
    modulate_(net.parameters(), torch.tensor(0.25, dtype=torch.float64), generator, noise=False)
    for now, was in zip(gradients(net), before, strict=True):
        assert torch.equal(now, was * 0.25)
    assert torch.equal(generator.get_state(), state)


def test_released_touches_convolutions_only():
    net = encoder()
    before = gradients(net)
    modulate_(net.parameters(), 0.25, seeded(), noise=False, definition="released")
    for now, was in zip(gradients(net), before, strict=True):
        assert torch.equal(now, was * 0.25 if was.ndim == 4 else was)


def test_noise_is_drawn_from_the_generator_with_the_spread_of_each_gradient():
    net = encoder()
    before = gradients(net)
    modulate_(net.parameters(), 0.5, seeded(7), noise=True)
    again = seeded(7)
    for now, was in zip(gradients(net), before, strict=True):
        expected = was * 0.5 + torch.randn(was.shape, generator=again) * was.std()
        torch.testing.assert_close(now, expected)


def test_noise_has_mean_zero_and_the_standard_deviation_of_the_gradient():
    parameter = nn.Parameter(torch.zeros(200, 200))
    parameter.grad = 3 + 0.5 * torch.randn(200, 200, generator=seeded(1))
    was = parameter.grad.clone()
    modulate_([parameter], 0.1, seeded(2), noise=True)
    added = parameter.grad - 0.1 * was
    assert abs(added.mean().item()) < 0.01
    assert added.std().item() == pytest.approx(0.5, rel=0.02)
    assert abs(torch.corrcoef(torch.stack([added.flatten(), was.flatten()]))[0, 1].item()) < 0.02


def test_parameters_without_gradient_or_with_one_entry():
    lone, none = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(2))
    lone.grad = torch.tensor([2.0])
    modulate_([none, lone], 0.5, seeded(), noise=True)
    assert none.grad is None
    assert lone.grad.item() == 1
    zero = nn.Parameter(torch.ones(3))
    zero.grad = torch.zeros(3)
    modulate_([zero], 0.5, seeded(), noise=True)
    assert bool((zero.grad == 0).all())


def test_a_step_moves_the_encoder_that_is_ahead_by_less():
    """Alpha 0 without noise is plain training, to the bit."""
    logits, labels = {"a": 5 * torch.eye(3)[[0, 1, 2]], "v": torch.zeros(3, 3)}, torch.tensor([0, 1, 2])
    for alpha, factor in ((0.0, 1.0), (0.4, None)):
        k = coefficients(discrepancy(logits, labels), alpha)
        nets = {name: encoder() for name in logits}
        before = {name: gradients(net) for name, net in nets.items()}
        for name, net in nets.items():
            modulate_(net.parameters(), k[name], seeded(), noise=False)
        assert all(torch.equal(x, y) for x, y in zip(gradients(nets["v"]), before["v"], strict=True))
        unchanged = all(torch.equal(x, y) for x, y in zip(gradients(nets["a"]), before["a"], strict=True))
        assert unchanged == (factor == 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: discrepancy({"a": torch.zeros(2, 3)}, torch.zeros(2, dtype=torch.int64)), "two modalities"),
        (
            lambda: discrepancy({"a": torch.zeros(2, 3), "v": torch.zeros(3, 3)}, torch.zeros(2, dtype=torch.int64)),
            r"v: logits",
        ),
        (lambda: coefficients({"a": torch.tensor(2.0)}, -0.1), "alpha"),
        (lambda: modulate_([], 0.5, seeded(), noise=True, definition="paper"), "'paper'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
