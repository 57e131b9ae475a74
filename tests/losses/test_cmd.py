import math
from itertools import combinations

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from mmablate.losses import cross_modal_distillation as cmd

NAMES = ("image", "event", "lidar")
SHAPES = ((2, 4, 6, 5), (2, 7, 3, 2))


def features(seed, offset=0.0, shapes=SHAPES, names=NAMES):
    rng = np.random.default_rng(seed)
    return {name: [torch.tensor(rng.normal(size=shape) + offset) for shape in shapes] for name in names}


def cosine(a, b):
    a, b = a.reshape(-1), b.reshape(-1)
    return sum(a * b) / math.sqrt(sum(a * a) * sum(b * b))


def principled_by_hand(student, teacher, present, centered=False):
    def prepare(channel_map):
        return channel_map - channel_map.mean() if centered else channel_map

    stages = []
    for i in range(len(SHAPES)):
        n_images, channels = SHAPES[i][:2]
        squares = []
        for b in range(n_images):
            for j in range(channels):
                for m, n in combinations(present, 2):
                    g = cosine(*(prepare(student[k][i][b, j].numpy()) for k in (m, n)))
                    f = cosine(*(prepare(teacher[k][i][b, j].numpy()) for k in (m, n)))
                    squares.append((g - f) ** 2)
        stages.append(sum(squares) / len(squares))
    return sum(stages) / len(stages)


def paper_by_hand(student, teacher, present):
    total = 0.0
    pairs = list(combinations(present, 2))
    for i in range(len(SHAPES)):
        n_images, channels = SHAPES[i][:2]
        for b in range(n_images):
            for j in range(channels):
                for m, n in pairs:
                    g = max(1e-6, cosine(student[m][i][b, j].numpy(), student[n][i][b, j].numpy()))
                    f = max(1e-6, cosine(teacher[m][i][b, j].numpy(), teacher[n][i][b, j].numpy()))
                    total += g * math.log(g / f) / n_images / len(pairs)
    return total


def released_by_hand(student, teacher, present):
    """One list of maps a stage, never emptied between images; the last image's matrices count."""
    n_images = SHAPES[0][0]
    ours = {i: [] for i in range(len(SHAPES))}
    theirs = {i: [] for i in range(len(SHAPES))}
    last = None
    for b in range(n_images):
        for i in range(len(SHAPES)):
            for m in present:
                s, t = student[m][i][b].numpy(), teacher[m][i][b].numpy()
                ours[i].append(s - np.log(np.exp(s).sum(1, keepdims=True)))  # axis 1 of (C, H, W): height
                theirs[i].append(np.exp(t) / np.exp(t).sum(1, keepdims=True))
        last = 0.0
        for i in range(len(SHAPES)):
            size = len(ours[i])
            squares = 0.0
            for p in range(size):
                for q in range(size):
                    if p == q:
                        continue  # 1 on both sides
                    a = np.mean([cosine(x, y) for x, y in zip(ours[i][p], ours[i][q], strict=True)])
                    c = np.mean([cosine(x, y) for x, y in zip(theirs[i][p], theirs[i][q], strict=True)])
                    squares += (a - c) ** 2
            last += squares / size**2
    return last / n_images


@pytest.mark.parametrize("present", [NAMES, ("lidar", "image")])
@pytest.mark.parametrize("centered", [False, True])
def test_principled_equals_the_mean_written_out(present, centered):
    student, teacher = features(1, offset=0.5), features(2, offset=0.5)
    expected = principled_by_hand(student, teacher, present, centered)
    found = cmd(student, teacher, present=present, centered=centered, eps=1e-14)
    assert found.item() == pytest.approx(expected, rel=1e-10)
    assert cmd(student, teacher, present=present, centered=centered).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("present", [NAMES, ("lidar", "image")])
def test_paper_equals_the_formula_written_out(present):
    student, teacher = features(1), features(2, offset=0.3)
    found = cmd(student, teacher, present=present, definition="paper", eps=1e-14)
    assert found.item() == pytest.approx(paper_by_hand(student, teacher, present), rel=1e-9)


@pytest.mark.parametrize("present", [NAMES, ("lidar", "image"), ("event",)])
def test_released_equals_the_loops_of_the_code(present):
    student, teacher = features(1), features(2)
    found = cmd(student, teacher, present=present, definition="released", eps=1e-14)
    assert found.item() == pytest.approx(released_by_hand(student, teacher, present), rel=1e-10)


def test_zero_and_exactly_zero_gradient_at_equality():
    maps = features(1)
    student = {m: [f.clone().requires_grad_() for f in stages] for m, stages in maps.items()}
    value = cmd(student, maps, present=NAMES)
    value.backward()
    assert value.item() == 0
    assert all((f.grad == 0).all() for stages in student.values() for f in stages)


def test_paper_is_no_divergence():
    # Its gradient at equality is not zero, and it goes below zero.
    maps = features(1, offset=2.0)
    student = {m: [f.clone().requires_grad_() for f in stages] for m, stages in maps.items()}
    value = cmd(student, maps, present=NAMES, definition="paper")
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert max(f.grad.abs().max() for stages in student.values() for f in stages) > 1e-3
    alike, unlike = features(1, offset=2.0), features(1, offset=1.0)
    assert cmd(unlike, alike, present=NAMES, definition="paper") < 0


def test_released_is_not_zero_at_equality_even_for_one_modality():
    # Feature standard deviation 0.6: cosines near .98 (log-softmax) against .70 (softmax), so that of the
    # 16 entries of four images' matrix 12 differ by .28: 4 stages x .28^2 x 12 / 16, over B = 4.
    shapes = ((4, 8, 64, 64), (4, 8, 32, 32), (4, 8, 16, 16), (4, 8, 8, 8))
    maps = {m: [0.6 * f for f in stages] for m, stages in features(1, shapes=shapes).items()}
    assert cmd(maps, maps, present=["image"], definition="released").item() == pytest.approx(0.06, abs=0.02)
    assert cmd(maps, maps, present=NAMES, definition="released") > 0.05
    one_image = {m: [f[:1] for f in stages] for m, stages in maps.items()}
    assert cmd(one_image, one_image, present=["image"], definition="released") == 0


@pytest.mark.parametrize("definition", ["principled", "paper"])
def test_one_modality_has_no_pair(definition):
    student, teacher = features(1), features(2)
    student["event"][0].requires_grad_()
    value = cmd(student, teacher, present=["event"], definition=definition)
    assert value.item() == 0
    assert not value.requires_grad
    total = student["event"][0].sum() + 10 * value
    total.backward()
    assert torch.equal(student["event"][0].grad, torch.ones(SHAPES[0], dtype=torch.float64))


def test_invariant_to_positive_rescaling_of_any_map_and_gradient_at_right_angles_to_it():
    student, teacher = features(1), features(2)
    generator = torch.Generator().manual_seed(0)
    rescaled = {
        m: [f * (0.2 + 3 * torch.rand(*f.shape[:2], 1, 1, generator=generator)) for f in stages]
        for m, stages in student.items()
    }
    before = cmd(student, teacher, present=NAMES, eps=1e-14).item()
    assert cmd(rescaled, teacher, present=NAMES, eps=1e-14).item() == pytest.approx(before, rel=1e-10)
    assert cmd(student, rescaled, present=NAMES, eps=1e-14).item() == pytest.approx(
        cmd(student, student, present=NAMES).item(), abs=1e-12
    )
    x = student["image"][0].requires_grad_()
    cmd(student, teacher, present=NAMES, eps=1e-14).backward()
    along = (x * x.grad).sum((2, 3)).abs().max()
    assert along < 1e-12 < x.grad.abs().max()


def test_no_gradient_between_images_except_in_released():
    def gradient_of_image_1(other_image, definition):
        student, teacher = features(1), features(2)
        student["image"][0][0] = other_image
        student["image"][0].requires_grad_()
        cmd(student, teacher, present=NAMES, definition=definition).backward()
        return student["image"][0].grad[1]

    zeros, ones = torch.zeros(SHAPES[0][1:]), torch.randn(SHAPES[0][1:])
    assert torch.equal(gradient_of_image_1(zeros, "principled"), gradient_of_image_1(ones, "principled"))
    assert not torch.allclose(gradient_of_image_1(zeros, "released"), gradient_of_image_1(ones, "released"))


def test_doubling_the_batch_changes_only_released():
    student, teacher = features(1), features(2)
    twice = [{m: [torch.cat([f, f]) for f in v] for m, v in side.items()} for side in (student, teacher)]
    for definition in ("principled", "paper"):
        assert cmd(*twice, present=NAMES, definition=definition).item() == pytest.approx(
            cmd(student, teacher, present=NAMES, definition=definition).item(), rel=1e-12
        )
    once = cmd(student, teacher, present=NAMES, definition="released").item()
    assert cmd(*twice, present=NAMES, definition="released").item() != pytest.approx(once, rel=0.05)


@pytest.mark.parametrize("definition", ["principled", "paper", "released"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_maps_of_zeros_give_finite_bounded_gradients(definition, dtype):
    student, teacher = features(1), features(2, offset=1.0)
    student = {m: [f.to(dtype) for f in stages] for m, stages in student.items()}
    teacher = {m: [f.to(dtype) for f in stages] for m, stages in teacher.items()}
    for i in range(len(SHAPES)):
        student["image"][i] = torch.zeros_like(student["image"][i])
        student["event"][i][0] = 0.0
        teacher["lidar"][i][:, 0] = 0.0
    leaves = [f.requires_grad_() for stages in student.values() for f in stages]
    cmd(student, teacher, present=NAMES, definition=definition).backward()
    for leaf in leaves:
        assert leaf.grad.isfinite().all()
        if definition == "principled":
            assert leaf.grad.flatten(2).norm(dim=-1).max() <= 1e3


def test_a_shared_offset_blinds_the_term_unless_centered():
    student, teacher = features(1, offset=100.0), features(2, offset=100.0)
    assert cmd(student, teacher, present=NAMES) < 1e-6
    plain = cmd(features(1), features(2), present=NAMES, centered=True).item()
    assert cmd(student, teacher, present=NAMES, centered=True).item() == pytest.approx(plain, rel=1e-6)
    assert plain > 0.01


def test_stages_weigh_equally_whatever_their_width():
    student, teacher = features(1), features(2)
    wide = [
        {m: [stages[0], torch.cat([stages[1]] * 5, dim=1)] for m, stages in side.items()} for side in (student, teacher)
    ]
    once = cmd(student, teacher, present=NAMES).item()
    assert cmd(*wide, present=NAMES).item() == pytest.approx(once, rel=1e-12)


@pytest.mark.parametrize("definition", ["principled", "paper", "released"])
def test_autocast_does_not_round_the_cosines(definition):
    student, teacher = features(1), features(2)
    student = {m: [f.float() for f in stages] for m, stages in student.items()}
    teacher = {m: [f.float() for f in stages] for m, stages in teacher.items()}
    expected = cmd(student, teacher, present=NAMES, definition=definition)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cmd(student, teacher, present=NAMES, definition=definition) == expected


@pytest.mark.parametrize("definition", ["principled", "paper", "released"])
@pytest.mark.parametrize("present", [("event", "image"), NAMES, ("lidar",)])
def test_a_stack_of_models_gets_the_values_and_gradients_of_each(definition, present):
    singles = [features(seed) for seed in range(3)]
    stack = {m: [torch.stack([s[m][i] for s in singles]) for i in range(len(SHAPES))] for m in NAMES}
    teacher = features(9)

    def one(student):
        return cmd(student, teacher, present=present, definition=definition)

    values, gradients = vmap(one)(stack), vmap(grad(one))(stack)
    for n, single in enumerate(singles):
        assert torch.allclose(values[n], one(single), rtol=1e-12)
        expected = grad(one)(single)
        for m in NAMES:
            for i in range(len(SHAPES)):
                assert torch.allclose(gradients[m][i][n], expected[m][i], rtol=1e-9, atol=1e-13)


def test_faults_are_named():
    maps = features(1)
    with pytest.raises(ValueError, match="eps"):
        cmd(maps, maps, present=NAMES, eps=0.0)
    with pytest.raises(ValueError, match=r"'seed'.*principled"):
        cmd(maps, maps, present=NAMES, definition="seed")
    with pytest.raises(ValueError, match="centered"):
        cmd(maps, maps, present=NAMES, definition="released", centered=True)
