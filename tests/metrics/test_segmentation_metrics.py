import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_jaccard_index

from mmablate.metrics import (
    SegmentationMeter,
    confusion_matrix,
    iou_per_class,
    majority_mean_iou,
    mean_iou,
)

VOID = 255


@st.composite
def label_maps(draw):
    """(prediction, labels, K) with void pixels and, often, absent classes."""
    n_classes = draw(st.integers(2, 6))
    known = draw(st.lists(st.integers(0, n_classes - 1), min_size=1, max_size=n_classes, unique=True))
    guessed = draw(st.lists(st.integers(0, n_classes - 1), min_size=1, max_size=n_classes, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)))
    labels = rng.choice(known, size=shape)
    prediction = np.where(rng.random(shape) < 0.5, rng.choice(guessed, size=shape), labels)
    labels[rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = VOID
    return torch.tensor(prediction), torch.tensor(labels), n_classes


def counts_by_hand(prediction, labels, n_classes):
    counts = [[0] * n_classes for _ in range(n_classes)]
    for truth, guess in zip(labels.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        if truth != VOID:
            counts[truth][guess] += 1
    return counts


def mean_iou_by_hand(counts, classes):
    found = []
    for k in range(len(counts)):
        hits, truth = counts[k][k], sum(counts[k])
        guessed = sum(row[k] for row in counts)
        union = truth + guessed - hits
        if (classes == "present" and union == 0) or (classes == "in_target" and truth == 0):
            continue
        found.append(hits / union if union else 0.0)
    return 100 * math.fsum(found) / len(found) if found else math.nan


@given(label_maps())
@settings(max_examples=60, deadline=None)
def test_counts_and_means_against_hand_counts_and_torchmetrics(case):
    prediction, labels, n_classes = case
    counts = counts_by_hand(prediction, labels, n_classes)
    confusion = confusion_matrix(prediction, labels, n_classes, VOID)
    assert confusion.tolist() == counts
    assert confusion.dtype == torch.int64
    if (labels == VOID).any():  # torchmetrics 1.9 wants its ignore_index to occur
        theirs = multiclass_confusion_matrix(prediction, labels, n_classes, ignore_index=VOID)
        assert confusion.tolist() == theirs.tolist()
    for classes in ("present", "in_target", "all_zero"):
        expected = mean_iou_by_hand(counts, classes)
        assert mean_iou(confusion, classes=classes) == pytest.approx(expected, rel=1e-14, nan_ok=True)
    if confusion.sum() > 0:
        theirs = multiclass_jaccard_index(prediction, labels, n_classes, average="macro", ignore_index=VOID).item()
        assert mean_iou(confusion) == pytest.approx(100 * theirs, rel=1e-5)
        per_class = multiclass_jaccard_index(prediction, labels, n_classes, average="none", ignore_index=VOID).double()
        ours = iou_per_class(confusion)
        assert torch.allclose(ours.nan_to_num(nan=0.0), per_class, rtol=1e-6)


@given(label_maps())
@settings(max_examples=30, deadline=None)
def test_a_meter_sums_counts_and_does_not_average_batches(case):
    prediction, labels, n_classes = case
    meter = SegmentationMeter(n_classes, ignore_label=VOID)
    for b in range(len(labels)):
        meter.update(prediction[b], labels[b])
    whole = confusion_matrix(prediction, labels, n_classes, VOID)
    assert torch.equal(meter.confusion, whole)
    for classes in ("present", "in_target", "all_zero"):
        a, b = meter.compute(classes=classes), mean_iou(whole, classes=classes)
        assert a == b or (math.isnan(a) and math.isnan(b))


def test_by_hand():
    # Class 2 is only predicted, class 3 neither occurs nor is predicted.
    labels = torch.tensor([[0, 0, 1, 1, VOID]])
    prediction = torch.tensor([[0, 1, 1, 2, 3]])
    confusion = confusion_matrix(prediction, labels, 4, VOID)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert iou_per_class(confusion)[:3].tolist() == [1 / 2, 1 / 3, 0.0]
    assert iou_per_class(confusion)[3].isnan()
    assert iou_per_class(confusion).dtype == torch.float64
    assert mean_iou(confusion) == pytest.approx(100 * (1 / 2 + 1 / 3) / 3)
    assert mean_iou(confusion, classes="in_target") == pytest.approx(100 * (1 / 2 + 1 / 3) / 2)
    assert mean_iou(confusion, classes="all_zero") == pytest.approx(100 * (1 / 2 + 1 / 3) / 4)
    assert isinstance(mean_iou(confusion), float)


def test_rows_are_the_truth():
    confusion = confusion_matrix(torch.tensor([1]), torch.tensor([0]), 2, None)
    assert confusion.tolist() == [[0, 1], [0, 0]]


def test_counts_beyond_float32_are_exact():
    # One pixel in 2^24 + 1: float32 counts, as in the released evaluation, lose it.
    n = 2**24
    confusion = torch.tensor([[n, 1], [0, n]])
    assert iou_per_class(confusion).tolist() == [n / (n + 1), n / (n + 1)]
    assert mean_iou(confusion) < 100


def test_an_all_void_map_has_no_mean_but_zero_where_absent_counts_as_zero():
    void = torch.full((2, 3), VOID)
    confusion = confusion_matrix(torch.zeros(2, 3, dtype=torch.int64), void, 3, VOID)
    assert math.isnan(mean_iou(confusion))
    assert math.isnan(mean_iou(confusion, classes="in_target"))
    assert mean_iou(confusion, classes="all_zero") == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_narrow_integers_do_not_overflow(dtype):
    labels = torch.tensor([18, 17, VOID]).to(dtype)
    confusion = confusion_matrix(labels, labels, 19, 255 if dtype != torch.int8 else -1)
    assert confusion.sum() == 2
    assert confusion[18, 18] == confusion[17, 17] == 1


def test_an_ignore_label_inside_the_classes_is_left_out():
    labels = torch.tensor([0, 1, 2])
    confusion = confusion_matrix(labels, labels, 3, 0)
    assert confusion.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("value", [3, -1, 254])
def test_impossible_values_are_named(value):
    fine, wrong = torch.tensor([0, 1, 2]), torch.tensor([0, value, VOID])
    with pytest.raises(ValueError, match=rf"label {value} is outside 0\.\.2"):
        confusion_matrix(fine, wrong, 3, VOID)
    with pytest.raises(ValueError, match=rf"prediction {value} is outside 0\.\.2"):
        confusion_matrix(wrong[:2], fine[:2], 3, VOID)
    with pytest.raises(ValueError, match="label 255 is outside"):
        confusion_matrix(fine, torch.tensor([0, 1, VOID]), 3, None)
    # Where the label is void the prediction is nobody's business.
    assert confusion_matrix(torch.tensor([value]), torch.tensor([VOID]), 3, VOID).sum() == 0


def test_other_faults_are_named():
    labels = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(2, 3\)"):
        confusion_matrix(labels[:, :2], labels, 2, None)
    with pytest.raises(ValueError, match=r"prediction.*float32"):
        confusion_matrix(labels.float(), labels, 2, None)
    with pytest.raises(ValueError, match="n_classes"):
        confusion_matrix(labels, labels, 0, None)
    with pytest.raises(ValueError, match="classes"):
        mean_iou(torch.eye(2, dtype=torch.int64), classes="some")
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        mean_iou(labels)
    with pytest.raises(ValueError, match="float32"):
        iou_per_class(torch.eye(2))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_majority_is_what_a_constant_prediction_scores(counts):
    labels = torch.tensor([k for k, n in enumerate(counts) for _ in range(n)], dtype=torch.int64)
    constant = torch.full_like(labels, max(range(len(counts)), key=counts.__getitem__))
    confusion = confusion_matrix(constant, labels, len(counts), VOID)
    for classes in ("present", "in_target", "all_zero"):
        expected = mean_iou(confusion, classes=classes)
        assert majority_mean_iou(counts, classes=classes) == pytest.approx(expected, nan_ok=True)


def test_majority_by_hand_and_its_faults():
    assert majority_mean_iou([60, 30, 10]) == pytest.approx(100 * 0.6 / 3)
    assert majority_mean_iou(torch.tensor([60, 40, 0])) == pytest.approx(100 * 0.6 / 2)
    assert majority_mean_iou([60, 40, 0], classes="all_zero") == pytest.approx(100 * 0.6 / 3)
    for wrong in ([], [1.5, 2.0], [-1, 2], [[1, 2]]):
        with pytest.raises(ValueError, match="label_counts"):
            majority_mean_iou(wrong)
