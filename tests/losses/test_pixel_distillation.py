"""Pixel-wise self-distillation against loops over voxels in double precision."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.func import grad, vmap
from volume_loss_samples import LEVELS, SIZE, K, N, normal, probabilities, pyramid, stretched

from mmablate.losses import pixel_distillation

DEFINITIONS = ["principled", "released"]
SIZES = (SIZE, *LEVELS)  # the final logits, then the deep supervision


def by_hand(student, teacher, row, definition, temperature, decay=0.5):
    total = 0.0
    for s, (mine, theirs) in enumerate(zip(student, teacher, strict=True)):
        p, q = (probabilities(x[row].numpy(), temperature) for x in (mine, theirs))
        if definition == "principled":
            total += np.mean([kl(p[:, i, j, k], q[:, i, j, k]) for i, j, k in np.ndindex(p.shape[1:])])
        else:
            p, q = (np.clip(stretched(x, SIZE), 0.005, 1) for x in (p, q))
            total += decay**s * np.mean([kl(q[:, i, j, k], p[:, i, j, k]) for i, j, k in np.ndindex(SIZE)]) / K
    return temperature**2 * total


def kl(p, q):
    return sum(a * (np.log(a) - np.log(b)) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize(
    ("definition", "temperature", "own"),
    [("principled", None, 1), ("principled", 3.0, 3), ("released", None, 4), ("released", 1.0, 1)],
)
def test_equals_the_sum_over_levels_and_voxels(definition, temperature, own):
    student, teacher = pyramid(1, SIZES), pyramid(2, SIZES)
    found = pixel_distillation(student, teacher, size=SIZE, temperature=temperature, definition=definition)
    expected = [by_hand(student, teacher, row, definition, own) for row in range(N)]
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def test_decay_is_of_the_released_levels_alone():
    student, teacher = pyramid(1, SIZES), pyramid(2, SIZES)
    found = pixel_distillation(student, teacher, size=SIZE, decay=0.2, definition="released")
    np.testing.assert_allclose(found, [by_hand(student, teacher, i, "released", 4, 0.2) for i in range(N)], rtol=1e-11)
    plain = pixel_distillation(student, teacher, size=SIZE)
    assert torch.equal(pixel_distillation(student, teacher, size=SIZE, decay=0.2), plain)


def test_the_directions_differ():
    sure, open_ = torch.tensor([[4.0, 0.0]]).double()[..., None, None, None], torch.zeros(1, 2, 1, 1, 1).double()
    p = probabilities(sure[0].numpy())[:, 0, 0, 0]
    expected = float(kl(p, [0.5, 0.5]))
    assert pixel_distillation([sure], [open_], size=(1, 1, 1)).item() == pytest.approx(expected)
    released = pixel_distillation([open_], [sure], size=(1, 1, 1), temperature=1.0, definition="released")
    assert released.item() == pytest.approx(expected / 2)  # and divided by the classes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_equal_networks_have_nothing_to_learn(definition, dtype):
    student = [x.to(dtype).requires_grad_() for x in pyramid(1, SIZES)]
    value = pixel_distillation(student, [x.detach().clone() for x in student], size=SIZE, definition=definition)
    value.sum().backward()
    assert value.abs().max() == 0
    assert max(x.grad.abs().max().item() for x in student) < 1e-7


def test_released_leaves_a_gradient_at_equality_where_it_clamps():
    student = torch.tensor([8.0, 0.0, -1.0]).double().reshape(1, 3, 1, 1, 1).requires_grad_()
    value = pixel_distillation([student], [student], size=(1, 1, 1), temperature=1.0, definition="released")
    value.backward()
    assert value.item() == 0
    assert 1e-6 < student.grad.abs().max() < 0.005


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_the_teacher_gets_no_gradient(definition):
    student = [x.requires_grad_() for x in pyramid(1, SIZES)]
    teacher = [x.requires_grad_() for x in pyramid(2, SIZES)]
    pixel_distillation(student, teacher, size=SIZE, definition=definition).sum().backward()
    assert all(x.grad is None for x in teacher)
    assert all(x.grad.abs().max() > 1e-5 for x in student)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_gradients_agree_with_finite_differences(definition):
    student = [normal(1, 2, 3, 3, 2, 2).requires_grad_(), normal(2, 2, 3, 2, 1, 2).requires_grad_()]
    teacher = [normal(3, 2, 3, 3, 2, 2), normal(4, 2, 3, 2, 1, 2)]
    assert torch.autograd.gradcheck(
        lambda *levels: pixel_distillation(levels, teacher, size=(3, 2, 2), definition=definition), student
    )


@settings(max_examples=10, deadline=None)
@given(
    definition=st.sampled_from(DEFINITIONS),
    order=st.lists(st.integers(0, N - 1), min_size=1, max_size=5),
    seed=st.integers(0, 100),
)
def test_a_row_does_not_know_its_neighbours(definition, order, seed):
    student, teacher = pyramid(seed, SIZES), pyramid(seed + 1000, SIZES)

    def of(rows):
        return pixel_distillation(
            [x[rows] for x in student], [x[rows] for x in teacher], size=SIZE, definition=definition
        )

    torch.testing.assert_close(of(order), torch.cat([of([i]) for i in order]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 30), temperature=st.floats(0.5, 8))
def test_principled_is_never_negative_and_blind_to_a_constant(seed, scale, temperature):
    student, teacher = pyramid(seed, SIZES[:2], scale), pyramid(seed + 1000, SIZES[:2], scale)
    value = pixel_distillation(student, teacher, size=SIZE, temperature=temperature)
    assert (value > 0).all()
    moved = [x + normal(5, N, 1, *x.shape[2:]) for x in student]
    torch.testing.assert_close(pixel_distillation(moved, teacher, size=SIZE, temperature=temperature), value)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_half_precision_is_computed_in_float32_also_under_autocast(definition):
    student, teacher = ([x.bfloat16() for x in pyramid(i, SIZES)] for i in (1, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pixel_distillation(student, teacher, size=SIZE, definition=definition)
    wide = [[x.float() for x in side] for side in (student, teacher)]
    assert found.dtype == torch.float32
    assert torch.equal(found, pixel_distillation(*wide, size=SIZE, definition=definition))


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_many_students_at_once(definition):
    teacher = pyramid(9, SIZES[:3])
    several = [torch.stack([normal(i, N, K, *size) for i in range(2)]) for size in SIZES[:3]]

    def of(levels):
        return pixel_distillation(levels, teacher, size=SIZE, definition=definition).sum()

    slopes = vmap(grad(of))(several)
    for i in range(2):
        expected = grad(of)([x[i] for x in several])
        for found, wanted in zip(slopes, expected, strict=True):
            torch.testing.assert_close(found[i], wanted)


FINE, COARSE = torch.zeros(2, 3, 4, 4, 4), torch.zeros(2, 3, 2, 2, 2)
FAULTS = {
    "number of levels": (([FINE, COARSE], [FINE]), {}, "student has 2 levels, teacher 1"),
    "no level": (([], []), {}, "student: no level"),
    "shape": (([FINE, COARSE], [FINE, FINE]), {}, r"of level 1 differ in shape: student \(2, 3, 2, 2, 2\), teacher"),
    "classes": (([FINE, COARSE[:, :2]],) * 2, {}, r"level 1 is \(2, 2, 2, 2, 2\)"),
    "order": (([COARSE, FINE],) * 2, {}, "finest first expected"),
    "no volume": (([FINE[:, :, 0, 0, 0]],) * 2, {}, r"a voxel at least expected, level 0 is \(2, 3\)"),
    "temperature": (([FINE],) * 2, {"temperature": 0.0}, "temperature must be positive, got 0.0"),
    "size": (([FINE],) * 2, {"size": (4, 4), "definition": "released"}, r"cannot be resampled to \(4, 4\)"),
    "definition": (([FINE],) * 2, {"definition": "paper"}, "pixel distillation has no definition 'paper'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_computed_is_told(case):
    given, options, told = FAULTS[case]
    with pytest.raises(ValueError, match=told):
        pixel_distillation(*given, **{"size": (4, 4, 4), **options})
