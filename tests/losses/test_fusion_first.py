import math

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from mmablate.losses import fusion_first_distillation, unimodal_distillation

NAMES = ("image", "event", "lidar")
SHAPES = ((2, 4, 6, 5), (2, 7, 3, 2))


def features(seed, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return {name: [torch.tensor(rng.normal(size=shape)).to(dtype) for shape in SHAPES] for name in NAMES}


def by_hand(student, teacher, present, averaged):
    total = 0.0
    for i, (n_images, channels, height, width) in enumerate(SHAPES):
        stage = 0.0
        for b in range(n_images):
            for y in range(height):
                for x in range(width):
                    g = [sum(student[m][i][b, c, y, x].item() for m in present) / len(present) for c in range(channels)]
                    f = [
                        sum(teacher[m][i][b, c, y, x].item() for m in averaged) / len(averaged) for c in range(channels)
                    ]
                    sum_g, sum_f = sum(map(math.exp, g)), sum(map(math.exp, f))
                    stage += sum(
                        math.exp(f[c]) / sum_f * math.log(math.exp(f[c]) / sum_f / (math.exp(g[c]) / sum_g))
                        for c in range(channels)
                    )
        total += stage / (n_images * channels * height * width)
    return len(present) * total


@pytest.mark.parametrize("present", [NAMES, ("lidar", "image"), ("event",)])
@pytest.mark.parametrize("teacher_modalities", ["matched", "full"])
def test_equals_the_sum_written_out(present, teacher_modalities):
    student, teacher = features(1), features(2)
    averaged = present if teacher_modalities == "matched" else NAMES
    expected = by_hand(student, teacher, present, averaged)
    found = fusion_first_distillation(student, teacher, present=present, teacher_modalities=teacher_modalities)
    assert found.item() == pytest.approx(expected, rel=1e-10)
    mean = fusion_first_distillation(
        student, teacher, present=present, teacher_modalities=teacher_modalities, reduce="mean"
    )
    assert mean.item() == pytest.approx(expected / len(present), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_modality_is_the_individual_term_to_the_bit(dtype, normalise, layout):
    values, gradients = [], []
    for term in (fusion_first_distillation, unimodal_distillation):
        student, teacher = features(1, dtype), features(2, dtype)
        for maps in (student, teacher):
            maps["event"] = [f.contiguous(memory_format=layout) for f in maps["event"]]
        leaves = [f.requires_grad_() for f in student["event"]]
        value = term(student, teacher, present=["event"], normalise=normalise)
        value.backward()
        values.append(value.detach())
        gradients.append([leaf.grad for leaf in leaves])
    assert torch.equal(*values)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_opposite_errors_cancel_here_but_not_in_the_individual_term():
    teacher = features(2)
    delta = [torch.randn(shape, dtype=torch.float64) for shape in SHAPES]
    student = {
        "image": [f + d for f, d in zip(teacher["image"], delta, strict=True)],
        "lidar": [f - d for f, d in zip(teacher["lidar"], delta, strict=True)],
    }
    present = ["image", "lidar"]
    assert fusion_first_distillation(student, teacher, present=present).item() == pytest.approx(0, abs=1e-15)
    assert unimodal_distillation(student, teacher, present=present) > 0.01


def test_all_modalities_get_the_same_gradient():
    student, teacher = features(1), features(2)
    for stages in student.values():
        for f in stages:
            f.requires_grad_()
    fusion_first_distillation(student, teacher, present=NAMES).backward()
    for i in range(len(SHAPES)):
        for name in NAMES[1:]:
            assert torch.equal(student[name][i].grad, student[NAMES[0]][i].grad)
    # |A| / |A|: each gets (softmax g - softmax f) / (B C H W) of the averages.
    g = torch.stack([student[m][0].detach() for m in NAMES]).mean(0).softmax(1)
    f = torch.stack([teacher[m][0] for m in NAMES]).mean(0).softmax(1)
    assert torch.allclose(student["image"][0].grad, (g - f) / g.numel(), rtol=1e-9, atol=1e-15)


def test_all_uses_the_absent_modalities_of_the_teacher():
    student, teacher = features(1), features(2)
    changed = {**teacher, "lidar": [f + torch.randn_like(f) for f in teacher["lidar"]]}
    present = ["image", "event"]
    for choice, moves in (("matched", False), ("full", True)):
        before = fusion_first_distillation(student, teacher, present=present, teacher_modalities=choice)
        after = fusion_first_distillation(student, changed, present=present, teacher_modalities=choice)
        assert (before != after) == moves
    same = [
        fusion_first_distillation(student, teacher, present=NAMES, teacher_modalities=choice)
        for choice in ("matched", "full")
    ]
    assert torch.equal(*same)


@pytest.mark.parametrize("teacher_modalities", ["matched", "full"])
def test_a_stack_of_models_gets_the_values_and_gradients_of_each(teacher_modalities):
    singles = [features(seed) for seed in range(3)]
    stack = {m: [torch.stack([s[m][i] for s in singles]) for i in range(len(SHAPES))] for m in NAMES}
    teacher = features(9)

    def one(student):
        return fusion_first_distillation(
            student, teacher, present=("event", "image"), teacher_modalities=teacher_modalities
        )

    values, gradients = vmap(one)(stack), vmap(grad(one))(stack)
    for n, single in enumerate(singles):
        assert torch.allclose(values[n], one(single), rtol=1e-12)
        expected = grad(one)(single)
        for m in NAMES:
            for i in range(len(SHAPES)):
                assert torch.allclose(gradients[m][i][n], expected[m][i], rtol=1e-9, atol=1e-14)


def test_unknown_options():
    maps = features(1)
    with pytest.raises(ValueError, match="'all'"):
        fusion_first_distillation(maps, maps, present=NAMES, teacher_modalities="all")
    with pytest.raises(ValueError, match="'max'"):
        fusion_first_distillation(maps, maps, present=NAMES, reduce="max")
