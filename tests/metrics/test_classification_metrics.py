"""Scores of classifiers, against torchmetrics and against sums written out."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

from mmablate.metrics import expected_calibration_error, log_loss, macro_f1, multiclass_scores


@st.composite
def outputs(draw):
    """Logits (N, K) and labels (N,), often with classes that nobody has or predicts."""
    n, k = draw(st.integers(1, 40)), draw(st.integers(2, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(size=(n, k)) * draw(st.sampled_from([0.1, 1.0, 5.0]))
    logits[:, rng.random(k) < 0.3] -= 20
    return torch.tensor(logits), torch.tensor(rng.integers(0, draw(st.integers(1, k)), size=n))


def scores_by_hand(logits, labels, bins):
    rows = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        top = max(row)
        total = math.fsum(math.exp(v - top) for v in row)
        rows.append((row.index(top), label, 1 / total, top + math.log(total) - row[label]))
    f1 = []
    for k in range(logits.shape[1]):
        hits = sum(p == k == y for p, y, *_ in rows)
        seen = sum(p == k for p, *_ in rows) + sum(y == k for _, y, *_ in rows)
        if seen:
            f1.append(2 * hits / seen)
    gaps = []
    for low in range(bins):
        held = [(p == y) - c for p, y, c, _ in rows if low / bins < c <= (low + 1) / bins]
        gaps.append(abs(math.fsum(held)))
    n = len(rows)
    return {
        "Acc": 100 * sum(p == y for p, y, *_ in rows) / n,
        "F1": 100 * math.fsum(f1) / len(f1),
        "NLL": math.fsum(loss for *_, loss in rows) / n,
        "ECE": 100 * math.fsum(gaps) / n,
    }


@given(outputs())
@settings(max_examples=60, deadline=None)
def test_equal_sums_written_out(case):
    logits, labels = case
    found = multiclass_scores(logits, labels)
    assert list(found) == ["Acc", "F1", "NLL", "ECE"]
    assert found == pytest.approx(scores_by_hand(logits, labels, 15), rel=1e-9, abs=1e-9)
    assert all(0 <= found[name] <= 100 for name in ("Acc", "F1", "ECE"))


@given(outputs())
@settings(max_examples=40, deadline=None)
def test_equal_torchmetrics_and_torch(case):
    logits, labels = case
    k = logits.shape[1]
    theirs = multiclass_f1_score(logits.argmax(1), labels, num_classes=k, average="macro")
    assert macro_f1(logits.argmax(1), labels, k) == pytest.approx(100 * float(theirs), rel=1e-5)
    assert log_loss(logits, labels) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)))
    if logits.softmax(1).max() < 0.999:  # they give a rounded 1 a bin of its own
        theirs = multiclass_calibration_error(logits.softmax(1), labels, num_classes=k, n_bins=15)
        assert expected_calibration_error(logits, labels) == pytest.approx(100 * float(theirs), rel=1e-4, abs=1e-4)


def test_a_saturated_confidence_is_in_the_last_bin():
    logits = torch.tensor([[1000.0, 0.0], [1000.0, 0.0]])
    labels = torch.tensor([0, 1])
    assert expected_calibration_error(logits, labels) == 50
    assert expected_calibration_error(logits, labels, bins=1) == 50
    assert log_loss(logits, labels) == 500


def test_a_confidence_on_an_edge_is_in_the_bin_below():
    logits = torch.tensor([[0.0, 0.0], [1.0, -1.0]])
    sure = float(logits[1].softmax(0).max())
    found = expected_calibration_error(logits, torch.tensor([0, 1]), bins=2)  # one below, one above
    assert found == pytest.approx(100 * (0.5 + sure) / 2, rel=1e-6)
    assert found != pytest.approx(expected_calibration_error(logits, torch.tensor([0, 1]), bins=1))


def test_order_of_samples_and_repetition_do_not_matter():
    rng = np.random.default_rng(0)
    logits, labels = torch.tensor(rng.normal(size=(50, 4))), torch.tensor(rng.integers(0, 4, 50))
    shuffled = torch.tensor(rng.permutation(50))
    once = multiclass_scores(logits, labels)
    assert multiclass_scores(logits[shuffled], labels[shuffled]) == pytest.approx(once, rel=1e-12)
    assert multiclass_scores(logits.repeat(3, 1), labels.repeat(3)) == pytest.approx(once, rel=1e-12)
    assert multiclass_scores(logits.float(), labels.int()) == pytest.approx(once, rel=1e-6)


def test_an_undefined_logit_is_not_hidden():
    logits = torch.tensor([[0.0, float("nan")], [1.0, 0.0]])
    found = multiclass_scores(logits, torch.tensor([0, 0]))
    assert math.isnan(found["NLL"])
    assert math.isnan(found["ECE"])


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), r"label 2 is outside 0\.\.1"),
        (torch.zeros(3, 2), torch.tensor([0, -1, 0]), r"label -1 is outside 0\.\.1"),
        (torch.zeros(3, 2), torch.zeros(3), "integers"),
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), r"\(3, 2\) and \(2,\)"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), "at least one sample"),
    ],
)
def test_what_does_not_belong_together_is_named(logits, labels, message):
    for score in (multiclass_scores, log_loss, expected_calibration_error):
        with pytest.raises(ValueError, match=message):
            score(logits, labels)


def test_there_is_at_least_one_bin():
    with pytest.raises(ValueError, match="got 0"):
        expected_calibration_error(torch.zeros(1, 2), torch.tensor([0]), bins=0)
