"""What every term on feature maps promises, whatever it computes."""

from functools import partial
from itertools import permutations

import pytest
import torch

from mmablate.losses import cross_modal_distillation, fusion_first_distillation, unimodal_distillation

NAMES = ("image", "event", "lidar")
SHAPES = ((2, 4, 6, 5), (2, 7, 3, 2))

TERMS = {
    "umd": unimodal_distillation,
    "umd released": partial(unimodal_distillation, definition="released"),
    "umd spatial": partial(unimodal_distillation, definition="spatial"),
    "umd mse": partial(unimodal_distillation, definition="mse"),
    "umd normalised": partial(unimodal_distillation, normalise=True),
    "cmd": cross_modal_distillation,
    "cmd centered": partial(cross_modal_distillation, centered=True),
    "cmd paper": partial(cross_modal_distillation, definition="paper"),
    "cmd released": partial(cross_modal_distillation, definition="released"),
    "fusion-first": fusion_first_distillation,
    "fusion-first all": partial(fusion_first_distillation, teacher_modalities="full"),
}
ZERO_AT_EQUALITY = [name for name in TERMS if name not in ("cmd paper", "cmd released")]

every_term = pytest.mark.parametrize("term", TERMS.values(), ids=TERMS.keys())


def features(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {n: [torch.randn(s, generator=generator).to(dtype) for s in SHAPES] for n in NAMES}


def leaves(maps):
    return [f.requires_grad_() for stages in maps.values() for f in stages]


@pytest.mark.parametrize("name", ZERO_AT_EQUALITY)
def test_zero_and_zero_gradient_at_equality(name):
    student, teacher = features(1), features(1)
    inputs = leaves(student)
    value = TERMS[name](student, teacher, present=NAMES)
    value.backward()
    assert value.item() == 0
    assert max(x.grad.abs().max() for x in inputs) < 1e-8


@every_term
def test_teacher_gets_no_gradient(term):
    student, teacher = features(1), features(2)
    ours, theirs = leaves(student), leaves(teacher)
    term(student, teacher, present=NAMES).backward()
    assert all(x.grad is None for x in theirs)
    assert all(x.grad.abs().sum() > 0 for x in ours)


@every_term
def test_order_of_modalities_is_irrelevant_to_the_last_bit(term):
    student, teacher = features(1), features(2)
    expected = term(student, teacher, present=NAMES)
    for order in permutations(NAMES):
        reordered = {name: teacher[name] for name in order}
        assert torch.equal(term(student, reordered, present=order), expected)


@every_term
def test_missing_modalities_are_left_out(term):
    student, teacher = features(1), features(2)
    inputs = leaves(student)
    present = ["lidar", "event"]
    value = term(student, teacher, present=present)
    value.backward()
    image = student["image"]
    assert all(f.grad is None for f in image)
    assert sum(x.grad is not None for x in inputs) == 4
    without = {m: student[m] for m in present}
    assert torch.equal(term(without, teacher, present=present), value)


@every_term
def test_low_precision_features_are_computed_in_float32(term):
    student, teacher = features(1, torch.bfloat16), features(2, torch.bfloat16)
    value = term(student, teacher, present=NAMES)
    assert value.dtype == torch.float32
    wide = [{m: [f.float() for f in v] for m, v in side.items()} for side in (student, teacher)]
    assert torch.equal(value, term(*wide, present=NAMES))


@every_term
def test_arguments_are_not_modified(term):
    student, teacher = features(1), features(2)
    term(student, teacher, present=NAMES)
    for maps, seed in ((student, 1), (teacher, 2)):
        for name, stages in features(seed).items():
            assert all(torch.equal(a, b) for a, b in zip(maps[name], stages, strict=True))


@every_term
def test_missing_names_are_named(term):
    student, teacher = features(1), features(2)
    with pytest.raises(ValueError, match=r"student.*\['radar'\]"):
        term(student, teacher, present=["image", "radar"])
    del teacher["event"]
    with pytest.raises(ValueError, match=r"teacher.*\['event'\].*image.*lidar"):
        term(student, teacher, present=["image", "event"])
    with pytest.raises(ValueError, match="at least one"):
        term(student, teacher, present=[])
    with pytest.raises(ValueError, match="repeat"):
        term(student, teacher, present=["image", "image"])


@every_term
def test_differing_shapes_are_named(term):
    student, teacher = features(1), features(2)
    teacher["event"] = [teacher["event"][0], teacher["event"][1][:, :6]]
    with pytest.raises(ValueError, match=r"stage 1.*teacher 'event'.*\(2, 6, 3, 2\).*\(2, 7, 3, 2\)"):
        term(student, teacher, present=NAMES)
    student, teacher = features(1), features(2)
    student["lidar"] = student["lidar"][:1]
    with pytest.raises(ValueError, match="student 'lidar' has 1 stages"):
        term(student, teacher, present=NAMES)
    flat = {m: [f.flatten(2) for f in stages] for m, stages in features(1).items()}
    with pytest.raises(ValueError, match=r"\(2, 4, 30\)"):
        term(flat, flat, present=NAMES)
    with pytest.raises(ValueError, match="no stage"):
        term(dict.fromkeys(NAMES, ()), dict.fromkeys(NAMES, ()), present=NAMES)
