"""Strength of a modality and the weights that follow from it, with real probes on synthetic features."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from mmablate.methods.weakness import (
    adaptive_weights,
    inverted_weights,
    shuffled_weights,
    strength,
    uniform_weights,
)
from mmablate.metrics import (
    LinearProbe,
    cross_fitted_temperature,
    decompose_predictions,
    log_loss,
    unique_null,
)

OPEN = {"a": True, "v": True, "t": True}
N, K = 900, 4


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def labels_of(seed=0):
    return torch.randint(0, K, (N,), generator=seeded(seed))


def features_of(labels, noise, seed, dims=8):
    """A code of each class plus noise; `noise` None is noise alone."""
    drawn = torch.randn(len(labels), dims, generator=seeded(seed))
    codes = torch.randn(K, dims, generator=seeded(99))
    return drawn if noise is None else codes[labels] + noise * drawn


def held_out(features, labels):
    """Calibrated logits of a probe on the half of the samples that it was not fitted on."""
    half = N // 2
    probe = LinearProbe.fit(features[:half], labels[:half], K)
    return cross_fitted_temperature(probe.logits(features[half:]), labels[half:])


def test_strength_is_the_share_of_entropy_removed():
    labels = torch.tensor([0, 0, 0, 1])
    logits = torch.tensor([[2.0, 0], [1, 0], [0, 1], [-1, 0]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert strength(logits, labels) == pytest.approx(1 - log_loss(logits, labels) / entropy)
    frequencies = torch.tensor([[0.75, 0.25]]).log().expand(4, 2)
    assert strength(frequencies, labels) == pytest.approx(0, abs=1e-6)
    assert strength(1e4 * torch.eye(2)[labels], labels) == pytest.approx(1)
    assert strength(-10 * torch.eye(2)[labels], labels) < 0
    assert strength(logits, torch.zeros(4, dtype=torch.int64)) == 0


def test_weights_by_hand():
    found = adaptive_weights({"a": 0.8, "v": 0.2, "t": -0.4}, 2.0, 2.5, OPEN)
    assert found == pytest.approx({"a": 0, "v": 1.5, "t": 2.5})
    assert list(found) == ["a", "v", "t"]
    assert adaptive_weights({"a": 0.8, "v": 0.2}, 2.0, 9.0, {"a": True, "v": False}) == {"a": 0, "v": 0}
    assert set(adaptive_weights({"a": 0.8, "v": 0.2}, 0.0, 9.0, OPEN).values()) == {0}


def test_nothing_to_compare_with_gives_nothing():
    assert adaptive_weights({"a": -0.1, "v": 0.0}, 1.0, 1.0, OPEN) == {"a": 0, "v": 0}
    assert adaptive_weights({"a": 0.7}, 1.0, 1.0, OPEN) == {"a": 0}


weights = st.dictionaries(
    st.sampled_from("abcdef"), st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 5), min_size=1
)


@given(weights, st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_controls_keep_names_and_total(given_weights, seed):
    total = math.fsum(given_weights.values())
    uniform, inverted = uniform_weights(given_weights), inverted_weights(given_weights)
    shuffled = shuffled_weights(given_weights, seeded(seed))
    for found in (uniform, inverted, shuffled):
        assert list(found) == list(given_weights)
        assert math.fsum(found.values()) == pytest.approx(total, abs=1e-12)
    assert len(set(uniform.values())) == 1
    assert sorted(shuffled.values()) == sorted(given_weights.values())
    assert shuffled == shuffled_weights(given_weights, seeded(seed))
    for one in given_weights:
        for other in given_weights:
            if given_weights[one] > given_weights[other]:
                assert inverted[one] <= inverted[other]
            if given_weights[one] == given_weights[other]:
                assert inverted[one] == inverted[other]


def test_inversion_by_hand():
    assert inverted_weights({"a": 0.0, "v": 2.0}) == {"a": 2, "v": 0}
    assert inverted_weights({"a": 0.0, "v": 2.0, "t": 1.0}) == {"a": 2, "v": 0, "t": 1}
    assert inverted_weights({"a": 0.0, "v": 1.0, "t": 0.0}) == {"a": 0.5, "v": 0, "t": 0.5}
    assert inverted_weights({"a": 1.0, "v": 1.0}) == {"a": 1, "v": 1}
    assert uniform_weights({}) == inverted_weights({}) == shuffled_weights({}, seeded(0)) == {}


def test_every_deal_is_as_likely():
    generator = seeded(3)
    found = [tuple(shuffled_weights({"a": 1.0, "v": 2.0, "t": 3.0}, generator).values()) for _ in range(600)]
    counts = [found.count(order) for order in set(found)]
    assert len(counts) == 6
    assert min(counts) > 60


@given(
    st.dictionaries(st.sampled_from("avt"), st.floats(-2, 1), min_size=1),
    st.floats(0, 5),
    st.floats(0, 5),
    st.dictionaries(st.sampled_from("avt"), st.booleans(), min_size=3, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_weights_stay_in_bounds_and_follow_weakness(strengths, base, largest, gates):
    found = adaptive_weights(strengths, base, largest, gates)
    assert all(0 <= value <= largest for value in found.values())
    assert all(found[name] == 0 for name in found if not gates[name])
    for one in found:
        for other in found:
            if strengths[one] <= strengths[other] and gates[one] and gates[other]:
                assert found[one] >= found[other]


def test_identical_modalities_get_equal_weights():
    labels = labels_of()
    features = features_of(labels, 2.0, 1)
    found = {name: strength(held_out(features, labels), labels[N // 2 :]) for name in ("a", "v")}
    assert found["a"] == found["v"] > 0.1
    assert adaptive_weights(found, 1.0, 1.0, OPEN) == {"a": 0, "v": 0}
    third = {**found, "t": 1.5 * found["a"]}
    weighed = adaptive_weights(third, 1.0, 1.0, OPEN)
    assert weighed["a"] == weighed["v"] > 0


def test_added_noise_raises_the_weight_monotonically():
    labels = labels_of()
    strong = strength(held_out(features_of(labels, 0.7, 1), labels), labels[N // 2 :])
    found = []
    for noise in (1.0, 1.5, 2.5, 4.0, 8.0):
        weak = strength(held_out(features_of(labels, noise, 2), labels), labels[N // 2 :])
        found.append(adaptive_weights({"a": strong, "v": weak}, 1.0, 1.0, OPEN)["v"])
    assert found == sorted(found)
    assert found[-1] - found[0] > 0.5


def gate(first, second, labels, seed=0):
    """Whether each of two sets of predictions has unique information above the null."""
    found = decompose_predictions(first, second, labels, K)
    null = unique_null(first, second, labels, K, permutations=40, generator=seeded(seed))
    return found.unique1 > null.unique1, found.unique2 > null.unique2


def test_noise_stays_closed_and_knowledge_opens():
    labels = labels_of()
    half = labels[N // 2 :]
    strong = held_out(features_of(labels, 1.5, 1), labels).argmax(1)
    noise = held_out(features_of(labels, None, 2), labels).argmax(1)
    assert gate(strong, noise, half) == (True, False)


def test_synthetics_whose_parts_are_known():
    """Labels of two bits: each modality sees one (unique), both the same (redundant), or halves of a sum (synergy)."""
    bits = torch.randint(0, 2, (N, 2), generator=seeded(5))
    labels = 2 * bits[:, 0] + bits[:, 1]
    seen = {name: held_out(features_of(2 * bits[:, i], 0.5, i), labels).argmax(1) for i, name in enumerate("av")}
    half = labels[N // 2 :]
    assert gate(seen["a"], seen["v"], half) == (True, True)
    assert gate(seen["a"], seen["a"], half) == (False, False)
    found = decompose_predictions(seen["a"], seen["v"], half, K)
    assert min(found.unique1, found.unique2) > 0.7
    both = decompose_predictions(seen["a"], seen["a"], half, K)
    assert both.redundant > 0.7
    assert max(both.unique1, both.unique2) < 1e-6
    exclusive = (bits[:, 0] ^ bits[:, 1])[N // 2 :]
    together = decompose_predictions(bits[N // 2 :, 0], bits[N // 2 :, 1], exclusive, 2)
    assert together.synergistic > 0.9
    assert max(together.unique1, together.unique2) < 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, 1.0, 1.0, OPEN), "no modality"),
        (({"a": float("nan")}, 1.0, 1.0, OPEN), "'a' must be finite"),
        (({"a": 1.5}, 1.0, 1.0, OPEN), "at most 1, got 1.5"),
        (({"x": 0.5}, 1.0, 1.0, OPEN), "open lacks 'x'"),
        (({"a": 0.5}, -1.0, 1.0, OPEN), "base"),
        (({"a": 0.5}, 1.0, float("inf"), OPEN), "largest"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        adaptive_weights(*arguments)
