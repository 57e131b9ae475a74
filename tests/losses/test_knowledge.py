"""kd, the distance between logits and the joint loss, against sums written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from mmablate import losses
from mmablate.losses import cross_entropy, joint_loss, logit_distance
from mmablate.losses import knowledge_distillation as kd

DEFINITIONS = ["principled", "released"]


def logits(seed=0, shape=(6, 5)):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=shape) * 2), torch.tensor(rng.normal(size=shape) * 2)


def softmax(values):
    total = sum(math.exp(v) for v in values)
    return [math.exp(v) / total for v in values]


def written_out(student, teacher, temperature, definition):
    total = 0.0
    for mine, theirs in zip(student.tolist(), teacher.tolist(), strict=True):
        p, q = (softmax([v / temperature for v in row]) for row in (theirs, mine))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    n, k = student.shape
    return temperature**2 * total / (n if definition == "principled" else n * k)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
def test_equals_the_sum_written_out(definition, temperature):
    student, teacher = logits()
    found = kd(student, teacher, temperature=temperature, definition=definition)
    assert found.item() == pytest.approx(written_out(student, teacher, temperature, definition), rel=1e-12)


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")
@pytest.mark.parametrize(("definition", "reduction"), [("principled", "batchmean"), ("released", "mean")])
def test_equals_the_reductions_of_torch_that_the_released_code_calls(definition, reduction):
    student, teacher = logits(1)
    theirs = torch.nn.KLDivLoss(reduction=reduction)(student.log_softmax(1), teacher.softmax(1))
    torch.testing.assert_close(kd(student, teacher, definition=definition), theirs, rtol=1e-12, atol=0)


def test_the_default_is_principled_and_released_is_it_divided_by_the_classes():
    student, teacher = logits()
    assert kd(student, teacher) == kd(student, teacher, definition="principled")
    torch.testing.assert_close(kd(student, teacher), 5 * kd(student, teacher, definition="released"))


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_gradient_is_the_difference_of_probabilities(definition):
    student, teacher = logits()
    student.requires_grad_()
    teacher.requires_grad_()
    kd(student, teacher, definition=definition).backward()
    expected = (student.detach().softmax(1) - teacher.detach().softmax(1)) / (6 if definition == "principled" else 30)
    torch.testing.assert_close(student.grad, expected)
    assert teacher.grad is None


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equal_networks_have_nothing_to_learn(definition, dtype):
    student = logits()[0].to(dtype).requires_grad_()
    value = kd(student, student.detach().clone(), temperature=3.0, definition=definition)
    value.backward()
    assert value == 0
    assert student.grad.abs().max() < 1e-7


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_doubled_batch_and_other_orders_are_the_same(definition):
    student, teacher = logits()
    value = kd(student, teacher, definition=definition)
    twice = kd(torch.cat([student, student]), torch.cat([teacher, teacher]), definition=definition)
    torch.testing.assert_close(twice, value)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(kd(student[order], teacher[order], definition=definition), value)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_half_precision_is_computed_in_float32(definition):
    student, teacher = (x.bfloat16() for x in logits())
    found = kd(student, teacher, temperature=3.0, definition=definition)
    assert found.dtype == torch.float32
    assert found == kd(student.float(), teacher.float(), temperature=3.0, definition=definition)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_many_students_at_once(definition):
    students, teacher = torch.stack([logits(i)[0] for i in range(3)]), logits()[1]
    values = vmap(lambda s: kd(s, teacher, definition=definition))(students)
    slopes = vmap(grad(lambda s: kd(s, teacher, definition=definition)))(students)
    for i, student in enumerate(students):
        torch.testing.assert_close(values[i], kd(student, teacher, definition=definition))
        torch.testing.assert_close(slopes[i], grad(lambda s: kd(s, teacher, definition=definition))(student))


FAULTS = {
    "shapes": ((torch.ones(2, 3), torch.ones(2, 4)), {}, r"student \(2, 3\), teacher \(2, 4\)"),
    "maps": ((torch.ones(2, 3, 4, 4),) * 2, {}, r"logits \(N, K\) of at least one sample expected, got \(2, 3, 4, 4\)"),
    "no sample": ((torch.ones(0, 3),) * 2, {}, r"got \(0, 3\)"),
    "temperature": ((torch.ones(2, 3),) * 2, {"temperature": 0}, "temperature must be positive, got 0"),
    "definition": ((torch.ones(2, 3),) * 2, {"definition": "paper"}, "kd has no definition 'paper'; choose one of"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_computed_is_told(case):
    given, options, told = FAULTS[case]
    with pytest.raises(ValueError, match=told):
        kd(*given, **options)


# --- joint training -----------------------------------------------------------------------------------------


def test_distances_are_means_over_all_elements():
    first, second = logits()
    differences = (first - second).numpy()
    assert logit_distance(first, second).item() == pytest.approx((differences**2).mean(), rel=1e-12)
    assert logit_distance(first, second, "l1").item() == pytest.approx(abs(differences).mean(), rel=1e-12)
    torch.testing.assert_close(logit_distance(first, second), torch.nn.MSELoss()(first, second))
    with pytest.raises(ValueError, match="the distance has no definition 'l2'; choose one of"):
        logit_distance(first, second, "l2")
    with pytest.raises(ValueError, match="logits differ in shape"):
        logit_distance(first, second[:1])  # would be broadcast


@pytest.mark.parametrize("distance", ["squared", "l1"])
def test_the_joint_loss_is_its_three_terms_and_trains_both(distance):
    teacher, student = (x.requires_grad_() for x in logits())
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    value = joint_loss(teacher, student, labels, weight=0.3, distance=distance)
    difference = (teacher - student).detach().numpy()
    apart = (difference**2).mean() if distance == "squared" else abs(difference).mean()
    by_hand = [
        -math.log(softmax(row)[k]) for net in (teacher, student) for row, k in zip(net.tolist(), labels, strict=True)
    ]
    assert value.item() == pytest.approx(sum(by_hand) / 6 + 0.3 * apart, rel=1e-12)
    value.backward()
    distance_slope = {"squared": 2 * difference, "l1": np.sign(difference)}[distance] * 0.3 / difference.size
    for net, sign in ((teacher, 1), (student, -1)):
        supervised = (net.detach().softmax(1) - torch.eye(5)[labels]) / 6
        np.testing.assert_allclose(net.grad, supervised.numpy() + sign * distance_slope, atol=1e-12)


def test_a_distance_of_weight_zero_is_absent():
    teacher, student = logits()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    alone = cross_entropy(teacher, labels, ignore_label=None) + cross_entropy(student, labels, ignore_label=None)
    assert torch.equal(joint_loss(teacher, student, labels, weight=0), alone)
    far = torch.eye(5)[labels] * 1e30
    assert torch.isfinite(joint_loss(far, -far, labels, weight=0))  # its distance is infinite


# --- cross-entropy of one label a sample --------------------------------------------------------------------


def test_cross_entropy_of_samples():
    student, _ = logits()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    by_hand = [-math.log(softmax(row)[k]) for row, k in zip(student.tolist(), labels, strict=True)]
    for ignored in (None, -1):
        found = losses.cross_entropy(student, labels, ignore_label=ignored)
        assert found.item() == pytest.approx(sum(by_hand) / 6, rel=1e-12)
    left_out = losses.cross_entropy(student, torch.tensor([0, 1, 2, -1, 4, 0]), ignore_label=-1)
    assert left_out.item() == pytest.approx((sum(by_hand) - by_hand[3]) / 5, rel=1e-12)
    hard = losses.ohem_cross_entropy(student, labels, ignore_label=None, threshold=0.2)
    kept = [loss for loss in by_hand if loss > -math.log(0.2)]
    assert 0 < len(kept) < 6
    assert hard.item() == pytest.approx(sum(kept) / len(kept), rel=1e-12)
