import math

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from mmablate.losses import modality_agnostic_distillation as mad

DEFINITIONS = ["principled", "released", "paper"]


def softmax(values):
    total = sum(math.exp(v) for v in values)
    return [math.exp(v) / total for v in values]


def divergence(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def by_hand(student, teacher, valid, temperature, definition):
    n_images, n_classes, height, width = student.shape
    total, count = 0.0, 0
    for b in range(n_images):
        for y in range(height):
            for x in range(width):
                if definition != "released" and not valid[b, y, x]:
                    continue
                p_student = softmax(student[b, :, y, x] / temperature)
                p_teacher = softmax(teacher[b, :, y, x] / temperature)
                total += divergence(p_student, p_teacher) if definition == "paper" else divergence(p_teacher, p_student)
                count += 1
    return temperature**2 * total / count / (1 if definition == "paper" else n_classes)


def batch(seed=0, shape=(2, 5, 3, 4)):
    rng = np.random.default_rng(seed)
    valid = rng.random((shape[0], *shape[2:])) < 0.7
    return torch.tensor(rng.normal(size=shape)), torch.tensor(rng.normal(size=shape)), torch.tensor(valid)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("temperature", [1.0, 3.5])
def test_equals_the_sum_written_out(definition, temperature):
    student, teacher, valid = batch()
    expected = by_hand(student.numpy(), teacher.numpy(), valid.numpy(), temperature, definition)
    found = mad(student, teacher, valid=valid, temperature=temperature, definition=definition)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_without_a_mask_every_pixel_is_valid(definition):
    student, teacher, valid = batch()
    everywhere = torch.ones_like(valid)
    expected = mad(student, teacher, valid=everywhere, definition=definition)
    assert mad(student, teacher, definition=definition) == expected


def test_released_ignores_the_mask_and_the_others_do_not():
    student, teacher, valid = batch()
    assert mad(student, teacher, valid=valid, definition="released") == mad(student, teacher, definition="released")
    for definition in ("principled", "paper"):
        assert mad(student, teacher, valid=valid, definition=definition) != mad(student, teacher, definition=definition)


def test_gradient_is_the_difference_of_probabilities_over_pixels_and_classes():
    student, teacher, valid = batch()
    student.requires_grad_()
    mad(student, teacher, valid=valid).backward()
    expected = (student.detach().softmax(1) - teacher.softmax(1)) / (valid.sum() * student.shape[1])
    expected = expected * valid.unsqueeze(1)
    assert torch.allclose(student.grad, expected, rtol=1e-10, atol=1e-15)


def test_direction_by_hand_and_where_the_reverse_vanishes():
    # One pixel, two classes: the teacher is sure of class 0, the student as sure of class 1.
    teacher = torch.tensor([3.5, -3.5], dtype=torch.float64).reshape(1, 2, 1, 1)
    student = (-teacher).requires_grad_()
    p = 1 / (1 + math.exp(-7))
    (forward,) = torch.autograd.grad(mad(student, teacher) * 2, student)
    assert forward.flatten()[1].item() == pytest.approx(2 * p - 1)  # p_S - p_T, nearly 1
    half = torch.tensor([0.0, 0.0], dtype=torch.float64).reshape(1, 2, 1, 1)
    expected = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    assert mad(half, teacher).item() == pytest.approx(expected / 2)
    expected = 0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p))
    assert mad(half, teacher, definition="paper").item() == pytest.approx(expected)
    (reverse,) = torch.autograd.grad(mad(student, teacher, definition="paper"), student)
    assert reverse.abs().max() < 0.02 < 0.9 < forward.abs().max()


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_zero_and_zero_gradient_at_equality(definition):
    logits = torch.randn(2, 5, 4, 4)
    student = logits.clone().requires_grad_()
    value = mad(student, logits, definition=definition)
    value.backward()
    assert value.item() == 0
    assert student.grad.abs().max() < 1e-8


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_teacher_gets_no_gradient(definition):
    student, teacher, valid = batch()
    student.requires_grad_()
    teacher.requires_grad_()
    mad(student, teacher, valid=valid, definition=definition).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_doubling_the_batch_changes_nothing(definition):
    student, teacher, valid = batch()
    once = mad(student, teacher, valid=valid, definition=definition)
    twice = mad(
        torch.cat([student] * 2),
        torch.cat([teacher] * 2),
        valid=torch.cat([valid] * 2),
        definition=definition,
    )
    assert twice.item() == pytest.approx(once.item(), rel=1e-12)


def test_released_is_clamped_at_zero_and_loses_its_gradient_there():
    teacher = torch.randn(200, 5, 2, 2, generator=torch.Generator().manual_seed(0))
    student = teacher * (1 + 1e-7)
    below = [n for n in range(200) if mad(student[n : n + 1], teacher[n : n + 1]) < 0]
    assert below, "float32 must round some divergence below zero for this test to say something"
    for n in below:
        logits = student[n : n + 1].clone().requires_grad_()
        value = mad(logits, teacher[n : n + 1], definition="released")
        value.backward()
        assert value.item() == 0
        assert (logits.grad == 0).all()


@pytest.mark.parametrize("definition", ["principled", "paper"])
def test_no_valid_pixel_gives_zero_and_zero_gradient(definition):
    student, teacher, valid = batch()
    student.requires_grad_()
    value = mad(student, teacher, valid=torch.zeros_like(valid), definition=definition)
    value.backward()
    assert value.item() == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_published_weight_is_2_63_divergences_per_pixel():
    student, teacher, _ = batch(shape=(1, 19, 3, 3))
    per_pixel = by_hand(student.numpy(), teacher.numpy(), np.ones((1, 3, 3)), 1.0, "principled") * 19
    assert 50 * mad(student, teacher).item() == pytest.approx(2.63 * per_pixel, rel=1e-3)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_low_precision_logits_are_computed_in_float32(definition, temperature):
    student, teacher, _ = batch()
    low_student, low_teacher = student.bfloat16(), teacher.bfloat16()
    value = mad(low_student, low_teacher, definition=definition, temperature=temperature)
    assert value.dtype == torch.float32
    assert value == mad(low_student.float(), low_teacher.float(), definition=definition, temperature=temperature)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_stack_of_models_gets_the_values_and_gradients_of_each(definition):
    stack = torch.stack([batch(seed)[0] for seed in range(3)])
    _, teacher, valid = batch()

    def one(student):
        return mad(student, teacher, valid=valid, definition=definition)

    values, gradients = vmap(one)(stack), vmap(grad(one))(stack)
    for i in range(3):
        assert torch.allclose(values[i], one(stack[i]), rtol=1e-12)
        assert torch.allclose(gradients[i], grad(one)(stack[i]), rtol=1e-10, atol=1e-14)


def test_faults_are_named():
    student, teacher, valid = batch()
    with pytest.raises(ValueError, match=r"\(2, 5, 3, 4\).*\(2, 4, 3, 4\)"):
        mad(student, teacher[:, :4])
    with pytest.raises(ValueError, match=r"\(2, 3, 4\).*\(2, 3\)"):
        mad(student, teacher, valid=valid[..., 0])
    with pytest.raises(ValueError, match="bool"):
        mad(student, teacher, valid=valid.long())
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature"):
            mad(student, teacher, temperature=temperature)
    with pytest.raises(ValueError, match=r"'seed'.*principled"):
        mad(student, teacher, definition="seed")
