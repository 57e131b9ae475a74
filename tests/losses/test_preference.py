"""Relative preference, its gates and the weights that follow from it, against loops."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from mmablate.losses import preference_gate, rebalanced, relative_preference

B, M = 3, 4
DISTANCES = hnp.arrays(np.float64, (B, M), elements=st.floats(1e-6, 2))
MASKS = hnp.arrays(np.bool_, (B, M))
NAN = float("nan")


def by_hand(distances, present):
    found = np.zeros_like(distances)
    for b, row in enumerate(distances):
        there = [m for m in range(len(row)) if present[b, m]]
        if len(there) < 2:
            continue
        mean = sum(row[m] for m in there) / len(there)
        for m in there:
            found[b, m] = row[m] / mean - 1
    return found


@given(DISTANCES, MASKS)
@settings(max_examples=60, deadline=None)
def test_preference_equals_the_loop_and_sums_to_0(distances, present):
    found = relative_preference(torch.tensor(distances), torch.tensor(present)).numpy()
    np.testing.assert_allclose(found, by_hand(distances, present), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 0, atol=1e-9)


@given(DISTANCES, MASKS, st.permutations(range(M)), st.permutations(range(B)))
@settings(max_examples=40, deadline=None)
def test_the_order_of_modalities_and_samples_does_not_matter(distances, present, order, rows):
    d, there = torch.tensor(distances), torch.tensor(present)
    r = relative_preference(d, there)
    moved = relative_preference(d[rows][:, order], there[rows][:, order])
    torch.testing.assert_close(moved, r[rows][:, order])
    for definition in ("principled", "released"):
        gate = preference_gate(r, there, definition=definition)
        again = preference_gate(r[rows][:, order], there[rows][:, order], definition=definition)
        # Sums in another order may round across 0; away from it nothing moves.
        clear = (torch.where(there, r, 0).sum(0).abs() > 1e-9)[order].expand(B, M)
        assert torch.equal(again[clear], gate[rows][:, order][clear])


def test_absent_lone_and_equal_modalities_have_none():
    present = torch.tensor([[True, True, False], [False, True, False], [False, False, False], [True, True, True]])
    distances = torch.tensor([[1.0, 3.0, NAN], [NAN, 1e-7, NAN], [NAN, NAN, NAN], [0.0, 0.0, 0.0]])
    found = relative_preference(distances, present)
    assert found.tolist() == [[-0.5, 0.5, 0.0], [0.0] * 3, [0.0] * 3, [0.0] * 3]
    assert not math.isnan(preference_gate(found, present, definition="released").sum())


def test_principled_opens_for_those_that_lag_and_for_a_lone_modality():
    present = torch.tensor([[True, True, True], [False, True, False], [True, True, False], [False, False, False]])
    preference = torch.tensor([[0.4, -0.1, -0.3], [0.0, 0.0, 0.0], [-0.2, 0.2, 9.0], [0.0, 0.0, 0.0]])
    expected = [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert preference_gate(preference, present).tolist() == expected
    assert preference_gate(preference, present, definition="principled").tolist() == expected


def test_released_opens_for_the_batch():
    present = torch.tensor([[True, True, True], [False, True, False], [True, True, False]])
    preference = torch.tensor([[0.4, -0.1, -0.3], [0.0, 0.0, 0.0], [-0.5, 0.2, 9.0]])
    # Sums over those present: -0.1, 0.1, -0.3.
    gate = preference_gate(preference, present, definition="released")
    assert gate.tolist() == [[0, 1, 0], [0, 1, 0], [0, 1, 0]]
    lone = torch.tensor([[True, False], [False, True]])
    assert preference_gate(torch.zeros(2, 2), lone, definition="released").tolist() == [[0, 0], [0, 0]]
    assert preference_gate(torch.zeros(2, 2), lone).tolist() == [[1, 0], [0, 1]]


@given(DISTANCES, MASKS)
@settings(max_examples=40, deadline=None)
def test_a_sample_gates_as_it_does_alone(distances, present):
    d, there = torch.tensor(distances), torch.tensor(present)
    gate = preference_gate(relative_preference(d, there), there)
    for b in range(B):
        own = slice(b, b + 1)
        assert torch.equal(gate[own], preference_gate(relative_preference(d[own], there[own]), there[own]))
        if there[b].any() and (d[b][there[b]].max() - d[b][there[b]].min() > 1e-9 or there[b].sum() == 1):
            assert gate[b].sum() > 0  # somebody is trained
        assert gate[b][~there[b]].sum() == 0


def test_nothing_is_differentiated():
    distances = torch.rand(2, 3, requires_grad=True)
    present = torch.ones(2, 3, dtype=torch.bool)
    r = relative_preference(distances, present)
    assert not r.requires_grad
    gate = preference_gate(distances, present)
    assert not gate.requires_grad
    assert gate.dtype == r.dtype == torch.float32
    assert relative_preference(distances.bfloat16(), present).dtype == torch.float32


# --- weights ------------------------------------------------------------------------------------------------


def weights_by_hand(beta, distances, rate, low=0.1, high=4.0):
    mean = sum(distances) / len(distances)
    moved = [min(max(b - rate * (mean - d) / mean, low), high) for b, d in zip(beta, distances, strict=True)]
    norm = math.sqrt(sum(b * b for b in moved))
    return [2 * b / norm for b in moved]


@given(
    st.lists(st.tuples(st.floats(0.1, 4), st.floats(1e-3, 2)), min_size=1, max_size=5),
    st.floats(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_weights_equal_the_loop(pairs, rate):
    beta, distances = (list(x) for x in zip(*pairs, strict=True))
    found = rebalanced(*(torch.tensor(x, dtype=torch.float64) for x in (beta, distances)), rate=rate)
    np.testing.assert_allclose(found, weights_by_hand(beta, distances, rate), rtol=1e-12)
    assert torch.linalg.vector_norm(found).item() == pytest.approx(2)


def test_those_that_lag_gain_and_equals_stay():
    beta = torch.ones(4, dtype=torch.float64)
    distances = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    found = rebalanced(beta, distances, rate=0.015)
    assert found.tolist() == sorted(found.tolist())
    assert found[0] < 1 < found[3]
    np.testing.assert_allclose(found, weights_by_hand([1] * 4, distances.tolist(), 0.015), rtol=1e-12)
    assert beta.tolist() == [1] * 4  # the argument is left alone
    assert torch.equal(rebalanced(beta, torch.full((4,), 0.3).double(), rate=0.5), beta)


def test_the_bounds_hold_before_the_scaling():
    beta, distances = torch.tensor([1.0, 1.0]).double(), torch.tensor([0.01, 1.99]).double()
    found = rebalanced(beta, distances, rate=100.0)
    assert (found[1] / found[0]).item() == pytest.approx(40)
    narrow = rebalanced(beta, distances, rate=100.0, low=0.5, high=1.0)
    assert (narrow[1] / narrow[0]).item() == pytest.approx(2)


def test_a_modality_never_seen_keeps_its_weight_and_moves_nobody():
    beta = torch.ones(4, dtype=torch.float64)
    found = rebalanced(beta, torch.tensor([0.1, NAN, 0.2, 0.3], dtype=torch.float64), rate=0.1)
    assert found[1] == 1
    three = np.array(weights_by_hand([1] * 3, [0.1, 0.2, 0.3], 0.1)) * math.sqrt(3 / 4)
    np.testing.assert_allclose(found[[0, 2, 3]], three, rtol=1e-12)
    assert torch.linalg.vector_norm(found).item() == pytest.approx(2)


@pytest.mark.parametrize("distances", [[0.0, 0.0, NAN], [NAN, NAN, NAN], [0.0, 0.0, 0.0]])
def test_without_a_distance_nothing_changes(distances):
    beta = torch.tensor([0.5, 1.5, 3.0])
    found = rebalanced(beta, torch.tensor(distances), rate=0.1)
    assert torch.equal(found, beta)
    assert found is not beta
    assert found.dtype == torch.float32


FAULTS = {
    "shapes": (relative_preference, (torch.ones(2, 3), torch.ones(2, 4) > 0), {}, r"got \(2, 3\) and \(2, 4\)"),
    "axes": (relative_preference, (torch.ones(3), torch.ones(3) > 0), {}, r"two \(B, M\) of one shape expected"),
    "type": (relative_preference, (torch.ones(2, 3), torch.ones(2, 3)), {}, "must be bool, got torch.float32"),
    "gate": (preference_gate, (torch.ones(2, 3), torch.ones(3) > 0), {}, r"got \(2, 3\) and \(3,\)"),
    "definition": (
        preference_gate,
        (torch.ones(2, 3), torch.ones(2, 3) > 0),
        {"definition": "paper"},
        "the preference gate has no definition 'paper'",
    ),
    "weights": (rebalanced, (torch.ones(2), torch.ones(3)), {"rate": 1}, r"got \(2,\) and \(3,\)"),
    "bounds": (rebalanced, (torch.ones(2), torch.ones(2)), {"rate": 1, "low": 5}, "low 5 and high 4.0"),
    "zero": (rebalanced, (torch.ones(2), torch.ones(2)), {"rate": 1, "low": 0}, "0 < low <= high expected"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_computed_is_told(case):
    function, given, options, told = FAULTS[case]
    with pytest.raises(ValueError, match=told):
        function(*given, **options)
