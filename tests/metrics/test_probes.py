"""Linear probes and temperatures, against scipy on the objective written out in numpy."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.optimize import minimize, minimize_scalar

from mmablate.metrics import LinearProbe, cross_fitted_temperature, fit_temperature, log_loss


def samples(n=120, d=5, k=4, seed=0, signal=1.0):
    """Correlated features of unequal size, (n, d), and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    features = signal * rng.normal(size=(k, d))[labels] + rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    return torch.tensor(features * 10.0 ** np.arange(-2, d - 2) + 7), torch.tensor(labels)


def objective(flat, x, y, k, l2):
    """Value and gradient; the last row of the coefficients is the bias, whose ridge is 1e-6."""
    x = np.hstack([x, np.ones((len(x), 1))])
    ridge = np.array([l2] * (x.shape[1] - 1) + [1e-6])[:, None]
    coefficients = flat.reshape(-1, k)
    odds = np.exp(x @ coefficients - (x @ coefficients).max(1, keepdims=True))
    probability = odds / odds.sum(1, keepdims=True)
    value = -np.log(probability[np.arange(len(y)), y]).mean() + (ridge * coefficients**2).sum() / 2
    gradient = x.T @ (probability - np.eye(k)[y]) / len(y) + ridge * coefficients
    return value, gradient.ravel()


@pytest.mark.parametrize(("l2", "k"), [(1e-2, 4), (1e-3, 2), (1.0, 3)])
def test_fits_as_scipy_does(l2, k):
    features, labels = samples(k=k)
    probe = LinearProbe.fit(features, labels, k, l2=l2, tolerance=1e-9)
    x = (features - features.mean(0)) / features.std(0, correction=0)
    theirs = minimize(objective, np.zeros(6 * k), (x.numpy(), labels.numpy(), k, l2), jac=True, options={"gtol": 1e-8})
    weight = theirs.x.reshape(6, k)
    scores = x.numpy() @ weight[:-1] + weight[-1]
    found = probe.logits(features).log_softmax(1)
    torch.testing.assert_close(found, torch.tensor(scores).log_softmax(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("l2", [1e-1, 1e-2, 1e-4])
def test_the_gradient_vanishes_where_the_fit_ends(l2):
    features, labels = samples(n=300, d=20, k=6)
    probe = LinearProbe.fit(features, labels, 6, l2=l2)
    x = (features - probe.mean) / probe.scale
    flat = torch.cat([probe.weight, probe.bias[None]]).numpy().ravel()
    largest = np.abs(objective(flat, x.numpy(), labels.numpy(), 6, l2)[1]).max()
    assert probe.converged
    assert largest <= 1e-6
    assert probe.gradient_norm == pytest.approx(largest, abs=1e-12)


def test_units_offset_and_order_of_the_features_do_not_matter():
    features, labels = samples()
    probe = LinearProbe.fit(features, labels, 4)
    other = features.flip(1) * torch.tensor([1.0, 1e3, 1e-3, 5.0, 2.0]) - 3
    found = LinearProbe.fit(other, labels, 4).logits(other)
    torch.testing.assert_close(found, probe.logits(features), rtol=0, atol=1e-4)


def test_order_and_repetition_of_the_samples_do_not_matter():
    features, labels = samples()
    probe = LinearProbe.fit(features, labels, 4, tolerance=1e-9)
    order = torch.tensor(np.random.default_rng(0).permutation(len(labels))).repeat(2)
    again = LinearProbe.fit(features[order], labels[order], 4, tolerance=1e-9)
    torch.testing.assert_close(again.logits(features), probe.logits(features), rtol=0, atol=1e-6)
    same = LinearProbe.fit(features, labels, 4, tolerance=1e-9)
    assert torch.equal(same.weight, probe.weight)


def test_constant_columns_and_absent_classes_are_harmless():
    features, labels = samples(n=60, k=3)
    padded = torch.cat([features, torch.full((60, 1), 0.1), torch.zeros(60, 1)], 1)
    probe = LinearProbe.fit(padded.float(), labels, 5)
    assert probe.converged
    assert bool((probe.logits(padded).softmax(1)[:, 3:] < 1e-3).all())
    assert bool((probe.weight[5:] == 0).all())
    plain = LinearProbe.fit(features.float(), labels, 5).logits(features)
    torch.testing.assert_close(probe.logits(padded), plain, rtol=0, atol=1e-3)


def test_features_without_a_signal_give_the_frequencies():
    labels = torch.tensor([0] * 30 + [1] * 10)
    probe = LinearProbe.fit(torch.zeros(40, 3), labels, 2)
    torch.testing.assert_close(
        probe.logits(torch.zeros(1, 3)).softmax(1)[0], torch.tensor([0.75, 0.25]).double(), rtol=0, atol=1e-5
    )


def test_chunks_and_single_precision_change_digits_only():
    features, labels = samples(n=200)
    whole = LinearProbe.fit(features, labels, 4)
    chunked = LinearProbe.fit(features, labels, 4, chunk=17)
    single = LinearProbe.fit(features, labels, 4, chunk=17, dtype=torch.float32, tolerance=1e-5)
    assert single.converged
    torch.testing.assert_close(chunked.logits(features), whole.logits(features), rtol=0, atol=1e-4)
    torch.testing.assert_close(single.logits(features), whole.logits(features), rtol=0, atol=1e-2)


def test_a_cap_gives_the_best_point_so_far_and_says_so():
    features, labels = samples(n=200, d=10, k=6)
    losses = []
    for cap in (1, 3, 8, 500):
        probe = LinearProbe.fit(features, labels, 6, l2=1e-3, max_iterations=cap)
        assert probe.converged == (cap == 500)
        assert probe.iterations <= cap
        losses.append(log_loss(probe.logits(features), labels))
    assert losses == sorted(losses, reverse=True)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.5, 1.0, 3.0, 30.0]))
@settings(max_examples=30, deadline=None)
def test_temperature_is_the_minimum_that_scipy_finds(seed, size):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 60)
    logits = rng.normal(size=(60, 4)) + 2 * np.eye(4)[labels]
    found = fit_temperature(torch.tensor(size * logits), torch.tensor(labels))

    def loss(log_inverse):
        return log_loss(torch.tensor(size * logits * np.exp(log_inverse)), torch.tensor(labels))

    theirs = minimize_scalar(loss, bounds=(-9, 9), method="bounded", options={"xatol": 1e-9})
    assert loss(-np.log(found)) <= theirs.fun + 1e-12
    assert found == pytest.approx(np.exp(-theirs.x), rel=1e-3)


def test_a_temperature_undoes_a_scale():
    rng = np.random.default_rng(3)
    logits = torch.tensor(rng.normal(size=(4000, 3)) * 2)
    labels = torch.tensor([rng.choice(3, p=row) for row in logits.softmax(1).numpy()])
    assert fit_temperature(logits, labels) == pytest.approx(1, rel=0.1)
    once = fit_temperature(logits, labels)
    assert fit_temperature(7 * logits, labels) == pytest.approx(7 * once, rel=1e-9)


def test_temperature_of_logits_that_know_everything_or_less_than_nothing():
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    right = torch.eye(3)[labels]
    assert fit_temperature(right, labels) == 1e-3
    assert fit_temperature(-right, labels) == 1e3
    assert fit_temperature(torch.zeros(6, 3), labels) == 1e3


def test_each_half_is_divided_by_the_temperature_of_the_other():
    rng = np.random.default_rng(5)
    labels = torch.tensor(rng.integers(0, 3, 41))
    logits = torch.tensor(rng.normal(size=(41, 3))) + torch.eye(3)[labels]
    halves = ([], [])
    turn = 0
    for k in range(3):
        for index in range(41):
            if labels[index] == k:
                halves[turn % 2].append(index)
                turn += 1
    found = cross_fitted_temperature(logits, labels)
    for mine, other in (halves, halves[::-1]):
        expected = logits[mine] / fit_temperature(logits[other], labels[other], smoothing=1 / (len(other) + 2))
        torch.testing.assert_close(found[mine], expected, rtol=1e-12, atol=0)


def test_smoothed_labels_are_those_of_a_cross_entropy_with_them():
    rng = np.random.default_rng(9)
    labels = torch.tensor(rng.integers(0, 4, 50))
    logits = torch.tensor(rng.normal(size=(50, 4)) + 6 * np.eye(4)[labels])
    soft = torch.full((50, 4), 0.1 / 3, dtype=torch.float64).scatter(1, labels[:, None], 0.9)

    def loss(log_inverse):
        return float(torch.nn.functional.cross_entropy(logits * np.exp(log_inverse), soft))

    theirs = minimize_scalar(loss, bounds=(-9, 9), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, labels, smoothing=0.1) == pytest.approx(np.exp(-theirs.x), rel=1e-4)


def test_one_error_among_few_samples_costs_a_few_nats():
    """Where the other half has none, its smallest log-loss is that of the smallest temperature."""
    labels = torch.arange(6).repeat(10)
    logits = 4.0 * torch.eye(6)[labels]
    logits[0] = 4.0 * torch.eye(6)[1]  # in one of the halves
    calibrated = cross_fitted_temperature(logits, labels)
    assert log_loss(calibrated, labels) < 0.2
    assert bool((calibrated.argmax(1) == logits.argmax(1)).all())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LinearProbe.fit(torch.zeros(3, 2), torch.tensor([0, 1, 2]), 2), r"label 2 is outside 0\.\.1"),
        (lambda: LinearProbe.fit(torch.zeros(3, 2), torch.tensor([0, 0, 0]), 1), "n_classes"),
        (lambda: LinearProbe.fit(torch.zeros(3, 2), torch.tensor([0, 1, 1]), 2, l2=0), "l2 must be positive"),
        (lambda: LinearProbe.fit(torch.full((1, 2), np.nan), torch.tensor([0]), 2), "finite"),
        (lambda: LinearProbe.fit(torch.zeros(3), torch.tensor([0, 1, 1]), 2), r"\(3,\)"),
        (lambda: LinearProbe.fit(torch.eye(2), torch.tensor([0, 1]), 2).logits(torch.eye(3)), r"\(N, 2\)"),
        (lambda: fit_temperature(torch.tensor([[0.0, np.inf]]), torch.tensor([0])), "finite"),
        (lambda: cross_fitted_temperature(torch.zeros(1, 2), torch.tensor([0])), "two samples"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
