"""Prototype self-distillation and its distance, against loops over classes and voxels in double precision."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.func import grad, vmap
from volume_loss_samples import SIZE, C, K, N, labels_of, normal

from mmablate.losses import prototype_distance, prototype_distillation

DEFINITIONS = ["principled", "released"]


def sample(seed=0):
    return normal(seed, N, C, *SIZE), normal(seed + 1, N, C, *SIZE), labels_of(seed)


def of(student, teacher, labels, definition="principled", classes=None):
    return prototype_distillation(student, teacher, labels, n_classes=K, definition=definition, classes=classes)


def prototype(features, labels, c):
    return features[:, labels == c].mean(1)


def cosine(a, b):
    return float(a @ b) / np.sqrt(float(a @ a) * float(b @ b))


def gaps(student, teacher, labels, classes):
    """All |S_s - S_t| of a row: classes times voxels."""
    found = []
    for c in classes:
        mine, theirs = prototype(student, labels, c), prototype(teacher, labels, c)
        for i, j, k in np.ndindex(labels.shape):
            found.append(cosine(student[:, i, j, k], mine) - cosine(teacher[:, i, j, k], theirs))
    return np.array(found)


def counted(labels, wanted=range(K)):
    return [c for c in wanted if (labels == c).any()]


WANTED = [[0, 1, 2, 3], [0, 2], [1]]


@pytest.mark.parametrize("wanted", WANTED)
def test_principled_equals_the_squared_distances_of_the_means(wanted):
    student, teacher, labels = sample()
    chosen = torch.zeros(N, K, dtype=torch.bool)
    chosen[:, wanted] = True
    found = of(student, teacher, labels, classes=chosen)
    for row in range(N):
        s, t, y = student[row].numpy(), teacher[row].numpy(), labels[row].numpy()
        expected = sum(((prototype(s, y, c) - prototype(t, y, c)) ** 2).sum() for c in counted(y, wanted))
        assert found[row].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("wanted", WANTED)
def test_released_and_the_distance_equal_the_gaps_of_the_cosine_maps(wanted):
    student, teacher, labels = sample()
    chosen = torch.zeros(N, K, dtype=torch.bool)
    chosen[:, wanted] = True
    found = of(student, teacher, labels, "released", chosen)
    distance = prototype_distance(student, teacher, labels, n_classes=K, classes=chosen)
    for row in range(N):
        s, t, y = student[row].numpy(), teacher[row].numpy(), labels[row].numpy()
        known = counted(y, wanted)
        gap = gaps(s, t, y, known) if known else np.zeros(1)
        assert found[row].item() == pytest.approx((gap**2).mean(), rel=1e-6)  # the eps of the norms
        assert distance[row].item() == pytest.approx(abs(gap).mean(), rel=1e-6)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_all_classes_of_the_row_count_where_none_are_named(definition):
    student, teacher, labels = sample()
    every = torch.ones(N, K, dtype=torch.bool)
    assert torch.equal(of(student, teacher, labels, definition), of(student, teacher, labels, definition, every))
    torch.testing.assert_close(
        prototype_distance(student, teacher, labels, n_classes=K),
        prototype_distance(student, teacher, labels, n_classes=K, classes=every),
    )
    # More classes than the labels have change nothing.
    more = prototype_distillation(student, teacher, labels, n_classes=K + 3, definition=definition)
    torch.testing.assert_close(more, of(student, teacher, labels, definition))


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_row_of_which_no_class_counts_is_0_without_gradient(definition):
    student, teacher, labels = sample()
    student.requires_grad_()
    none = torch.zeros(N, K, dtype=torch.bool)
    none[2, 1:] = True  # row 2 is background alone
    value = of(student, teacher, labels, definition, none)
    value.sum().backward()
    assert value.tolist() == [0] * N
    assert student.grad.abs().max() == 0
    assert prototype_distance(student, teacher, labels, n_classes=K, classes=none).tolist() == [0] * N


def test_a_class_of_one_voxel_has_its_feature_as_prototype():
    student, teacher, _ = sample()
    labels = torch.zeros((N, *SIZE), dtype=torch.int64)
    labels[:, 1, 2, 3] = 1
    only = torch.tensor([[False, True, False, False]] * N)
    expected = (student[..., 1, 2, 3] - teacher[..., 1, 2, 3]).square().sum(1)
    torch.testing.assert_close(of(student, teacher, labels, classes=only), expected)


def test_released_is_blind_to_length_and_to_a_rotation_and_principled_is_not():
    student, teacher, labels = sample()
    turn = torch.linalg.qr(normal(9, C, C)).Q
    turned = 3 * torch.einsum("dc,ncxyz->ndxyz", turn, student)
    torch.testing.assert_close(
        of(turned, teacher, labels, "released"), of(student, teacher, labels, "released"), rtol=1e-6, atol=0
    )
    assert (of(turned, teacher, labels) - of(student, teacher, labels)).abs().min() > 1e-2
    torch.testing.assert_close(of(3 * student, 3 * teacher, labels), 9 * of(student, teacher, labels))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_equal_features_have_nothing_to_learn(definition, dtype):
    student = sample()[0].to(dtype).requires_grad_()
    value = of(student, student, labels_of(), definition)
    value.sum().backward()
    assert value.tolist() == [0] * N
    assert student.grad.abs().max() == 0
    assert prototype_distance(student, student.detach().clone(), labels_of(), n_classes=K).tolist() == [0] * N


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_only_the_student_is_trained_and_the_distance_trains_nobody(definition):
    student, teacher, labels = sample()
    student.requires_grad_()
    teacher.requires_grad_()
    of(student, teacher, labels, definition).sum().backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-6
    assert not prototype_distance(student, teacher, labels, n_classes=K).requires_grad


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_gradients_agree_with_finite_differences(definition):
    student, teacher = normal(1, 2, 3, 3, 2, 2).requires_grad_(), normal(2, 2, 3, 3, 2, 2)
    labels = torch.tensor(np.random.default_rng(0).integers(0, 3, size=(2, 3, 2, 2)))
    assert torch.autograd.gradcheck(
        lambda x: prototype_distillation(x, teacher, labels, n_classes=4, definition=definition), (student,)
    )


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("case", ["all", "one voxel", "a prototype"])
def test_features_of_zero_have_finite_gradients(definition, case):
    student, teacher, labels = (x.float() if x.is_floating_point() else x for x in sample())
    if case == "all":
        student = torch.zeros_like(student)
    elif case == "one voxel":
        student[:, :, 0, 0, 0] = 0
    else:
        labels = torch.zeros_like(labels)
        student = torch.cat([student[..., :2], -student[..., :2]], 4)  # the features of the class cancel
    student.requires_grad_()
    value = of(student, teacher, labels, definition)
    value.sum().backward()
    assert value.isfinite().all()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1e4
    assert prototype_distance(student, teacher, labels, n_classes=K).isfinite().all()


@settings(max_examples=10, deadline=None)
@given(
    definition=st.sampled_from([*DEFINITIONS, "distance"]),
    order=st.lists(st.integers(0, N - 1), min_size=1, max_size=5),
    seed=st.integers(0, 100),
)
def test_a_row_does_not_know_its_neighbours(definition, order, seed):
    sides = sample(seed)

    def at(rows):
        chosen = [x[rows] for x in sides]
        return prototype_distance(*chosen, n_classes=K) if definition == "distance" else of(*chosen, definition)

    torch.testing.assert_close(at(order), torch.cat([at([i]) for i in order]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6))
def test_bounds(seed, scale):
    student, teacher, labels = sample(seed)
    distance = prototype_distance(scale * student, teacher, labels, n_classes=K)
    released = of(scale * student, teacher, labels, "released")
    assert ((distance >= 0) & (distance <= 2)).all()
    assert (released <= 2 * distance + 1e-12).all()  # a gap is at most 2
    assert (released >= distance**2 - 1e-12).all()  # mean of squares
    assert (of(scale * student, teacher, labels) >= 0).all()


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_half_precision_is_computed_in_float32_also_under_autocast(definition):
    student, teacher, labels = sample()
    student, teacher = student.bfloat16(), teacher.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = of(student, teacher, labels, definition)
        distance = prototype_distance(student, teacher, labels, n_classes=K)
    assert found.dtype == distance.dtype == torch.float32
    assert torch.equal(found, of(student.float(), teacher.float(), labels, definition))
    assert torch.equal(distance, prototype_distance(student.float(), teacher.float(), labels, n_classes=K))


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_many_students_at_once(definition):
    _, teacher, labels = sample()
    several = torch.stack([normal(i, N, C, *SIZE) for i in range(2)])
    slopes = vmap(grad(lambda x: of(x, teacher, labels, definition).sum()))(several)
    for i, student in enumerate(several):
        torch.testing.assert_close(slopes[i], grad(lambda x: of(x, teacher, labels, definition).sum())(student))


MAPS, LABELS = torch.zeros(2, 5, 4, 4, 4), torch.zeros(2, 4, 4, 4, dtype=torch.int64)
FAULTS = {
    "shapes": ((MAPS, MAPS[:, :3], LABELS), {}, r"student \(2, 5, 4, 4, 4\), teacher \(2, 3, 4, 4, 4\)"),
    "labels": ((MAPS, MAPS, LABELS[:1]), {}, r"features \(N, C, \*S\) and labels \(N, \*S\) expected, got"),
    "no channel": ((MAPS[:, :0], MAPS[:, :0], LABELS), {}, "of at least one voxel expected"),
    "type": ((MAPS, MAPS, LABELS.float()), {}, "labels must be int64, got torch.float32"),
    "classes": ((MAPS, MAPS, LABELS), {"classes": torch.ones(2, 3, dtype=torch.bool)}, r"must be bool \(2, 4\), got"),
    "indices": ((MAPS, MAPS, LABELS), {"classes": torch.ones(2, 4)}, r"got torch.float32 \(2, 4\)"),
    "number": ((MAPS, MAPS, LABELS), {"n_classes": 0}, "n_classes must be at least 1, got 0"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_computed_is_told(case):
    given, options, told = FAULTS[case]
    for term in (prototype_distillation, prototype_distance):
        with pytest.raises(ValueError, match=told):
            term(*given, **{"n_classes": 4, **options})


def test_a_definition_that_there_is_not():
    with pytest.raises(ValueError, match="prototype distillation has no definition 'paper'"):
        of(MAPS, MAPS, LABELS, "paper")
