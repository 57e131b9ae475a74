"""Cross-entropy, soft Dice and deep supervision of volumes, against loops over voxels in double precision."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.func import grad, vmap
from torch.nn.functional import interpolate
from volume_loss_samples import (
    LEVELS,
    SIZE,
    K,
    N,
    cross_entropy_of,
    dice_of,
    labels_of,
    normal,
    probabilities,
    pyramid,
    stretched,
    supervision_of,
)

from mmablate.losses import region_supervision, segmentation_loss, soft_dice, volume_cross_entropy
from mmablate.losses.volumes import resample

DEFINITIONS = ["principled", "released"]
TERMS = {
    "cross-entropy": volume_cross_entropy,
    "dice": soft_dice,
    "sum": segmentation_loss,
    "regions": lambda logits, labels, definition: region_supervision(
        [logits, logits[..., :3, :2, :2]], labels, definition=definition
    ),
}


def sample(scale=3.0):
    return normal(0, N, K, *SIZE, scale=scale), labels_of()


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_cross_entropy_equals_the_sum_over_voxels(definition):
    logits, labels = sample()
    found = volume_cross_entropy(logits, labels, definition=definition)
    rows = zip(logits.numpy(), labels.numpy(), strict=True)
    expected = [cross_entropy_of(probabilities(z), y, definition == "released") for z, y in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_dice_equals_the_ratio_of_counts(definition):
    logits, labels = sample()
    found = soft_dice(logits, labels, definition=definition)
    rows = zip(logits.numpy(), labels.numpy(), strict=True)
    expected = [dice_of(probabilities(z), y, definition == "released") for z, y in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_the_segmentation_loss_is_their_sum(definition):
    logits, labels = sample()
    found = segmentation_loss(logits, labels, definition=definition)
    rows = zip(logits.numpy(), labels.numpy(), strict=True)
    np.testing.assert_allclose(found, [supervision_of(probabilities(z), y, definition) for z, y in rows], rtol=1e-12)


@pytest.mark.parametrize("decay", [0.5, 0.3])
@pytest.mark.parametrize("definition", DEFINITIONS)
def test_deep_supervision_is_the_weighted_sum_over_levels(definition, decay):
    regions, labels = pyramid(1), labels_of()
    found = region_supervision(regions, labels, decay=decay, definition=definition)
    for row in range(N):
        expected = 0.0
        for s, level in enumerate(regions, start=1):
            z = level[row].numpy()
            if definition == "released":
                p = stretched(probabilities(z), SIZE)
            else:
                p = probabilities(stretched(z, SIZE))
            expected += decay**s * supervision_of(p, labels[row].numpy(), definition)
        assert found[row].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("own", "size"),
    [((3, 3, 2), (6, 5, 4)), ((1, 2, 3), (4, 4, 4)), ((4, 4, 4), (4, 1, 7)), ((5, 2), (9, 9)), ((3,), (8,))],
)
def test_resampling_is_that_of_torch(own, size):
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(own)]
    values = normal(0, 2, 3, *own).requires_grad_()
    pull = normal(1, 2, 3, *size)
    found, expected = resample(values, size), interpolate(values, size=size, mode=mode, align_corners=True)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad((x * pull).sum(), values)[0] for x in (found, expected)]
    torch.testing.assert_close(*slopes)
    assert resample(values, own) is values


def test_the_finest_level_weighs_a_half_and_is_taken_as_it_is():
    regions, labels = pyramid(1), labels_of()
    first = region_supervision(regions[:1], labels)
    torch.testing.assert_close(first, segmentation_loss(regions[0], labels) / 2, rtol=0, atol=0)
    two = region_supervision(regions[:2], labels)
    alone = region_supervision(regions[1:2], labels)
    torch.testing.assert_close(two, first + alone / 2)


def test_released_weights_by_the_counts_of_the_row():
    logits = torch.zeros(2, 2, 4, dtype=torch.float64)  # p = 1/2 throughout
    labels = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 0]])
    found = volume_cross_entropy(logits, labels, definition="released")
    assert found.tolist() == pytest.approx([math.log(2) * (3 * 0.25 + 0.75) / 4, 0.0])


def test_released_clamps_what_is_nearly_impossible_and_principled_does_not():
    logits = torch.zeros(1, 2, 1, 1, 2, dtype=torch.float64)
    logits[:, 0, ..., 0] = 30.0
    logits.requires_grad_()
    labels = torch.tensor([[[[1, 0]]]])
    released = volume_cross_entropy(logits, labels, definition="released")
    assert released.item() == pytest.approx((-math.log(0.005) + math.log(2)) / 4)
    slope = torch.autograd.grad(released.sum(), logits)[0]
    assert slope[..., 0].abs().max() == 0
    assert slope[..., 1].abs().max() > 0.1
    assert volume_cross_entropy(logits, labels).item() == pytest.approx((30 + math.log(2)) / 2)


def test_an_absent_class_costs_a_constant_in_the_released_dice_alone():
    labels = labels_of()[1:2]  # without class 2
    perfect = 50.0 * torch.nn.functional.one_hot(labels, K).movedim(-1, 1).double()
    assert soft_dice(perfect, labels).item() == pytest.approx(0, abs=1e-9)
    assert soft_dice(perfect, labels, definition="released").item() == pytest.approx(1 / K)
    # What goes to the absent class is missing from those that are there.
    given_away = perfect.clone()
    given_away[:, 2] += 49.0
    assert soft_dice(given_away, labels) > 0.1


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_class_without_voxels_and_without_probability_divides_nothing_by_zero(definition):
    logits = torch.zeros(1, 3, 2, 2, 2)
    logits[:, 2] = -1e4  # exp underflows
    logits.requires_grad_()
    labels = torch.zeros(1, 2, 2, 2, dtype=torch.int64)
    value = segmentation_loss(logits, labels, definition=definition)
    value.sum().backward()
    assert value.isfinite().all()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("term", TERMS)
def test_gradients_agree_with_finite_differences(term, definition):
    logits = normal(3, 2, 3, 3, 2, 2).requires_grad_()  # far from the clamps
    labels = torch.tensor(np.random.default_rng(0).integers(0, 3, size=(2, 3, 2, 2)))
    assert torch.autograd.gradcheck(lambda z: TERMS[term](z, labels, definition=definition), (logits,))


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("term", TERMS)
@settings(max_examples=10, deadline=None)
@given(order=st.lists(st.integers(0, N - 1), min_size=1, max_size=5), seed=st.integers(0, 100))
def test_a_row_does_not_know_its_neighbours(term, definition, order, seed):
    logits, labels = normal(seed, N, K, *SIZE, scale=3), labels_of(seed)
    alone = torch.cat([TERMS[term](logits[i : i + 1], labels[i : i + 1], definition=definition) for i in order])
    torch.testing.assert_close(TERMS[term](logits[order], labels[order], definition=definition), alone)
    logits.requires_grad_()
    TERMS[term](logits, labels, definition=definition)[0].backward()
    assert logits.grad[1:].abs().max() == 0


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("term", TERMS)
def test_half_precision_is_computed_in_float32_also_under_autocast(term, definition):
    logits, labels = sample()
    logits = logits.bfloat16()
    expected = TERMS[term](logits.float(), labels, definition=definition)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = TERMS[term](logits, labels, definition=definition)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    exact = TERMS[term](logits.double(), labels, definition=definition)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("term", TERMS)
def test_many_networks_at_once(term, definition):
    labels = labels_of()
    several = torch.stack([normal(i, N, K, *SIZE) for i in range(2)])
    values = vmap(lambda z: TERMS[term](z, labels, definition=definition))(several)
    slopes = vmap(grad(lambda z: TERMS[term](z, labels, definition=definition).sum()))(several)
    for i, logits in enumerate(several):
        torch.testing.assert_close(values[i], TERMS[term](logits, labels, definition=definition))
        expected = grad(lambda z: TERMS[term](z, labels, definition=definition).sum())(logits)
        torch.testing.assert_close(slopes[i], expected)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_no_row_gives_no_value(definition):
    labels = torch.zeros((0, *SIZE), dtype=torch.int64)
    regions = [torch.zeros(0, K, *size) for size in LEVELS]
    assert segmentation_loss(regions[0], labels, definition=definition).shape == (0,)
    assert region_supervision(regions, labels, definition=definition).shape == (0,)


def test_principled_is_the_default():
    logits, labels = sample()
    for term in (volume_cross_entropy, soft_dice, segmentation_loss):
        assert torch.equal(term(logits, labels), term(logits, labels, definition="principled"))
    assert torch.equal(region_supervision([logits], labels), region_supervision([logits], labels, decay=0.5))


VOLUME, LABELS = torch.zeros(2, 3, 4, 4, 4), torch.zeros(2, 4, 4, 4, dtype=torch.int64)
FAULTS = {
    "rows": ((VOLUME[:1], LABELS), {}, r"labels \(N, \*S\) expected, got \(1, 3, 4, 4, 4\) and \(2, 4, 4, 4\)"),
    "size": ((VOLUME[..., :3], LABELS), {}, r"expected, got \(2, 3, 4, 4, 3\)"),
    "no voxel axis": ((VOLUME[:, :, 0, 0, 0], LABELS[:, 0, 0, 0]), {}, r"expected, got \(2, 3\) and \(2,\)"),
    "no voxel": ((VOLUME[..., :0], LABELS[..., :0]), {}, r"at least one voxel expected, got \(2, 3, 4, 4, 0\)"),
    "no class": ((VOLUME[:, :0], LABELS), {}, r"at least one voxel expected, got \(2, 0, 4, 4, 4\)"),
    "type": ((VOLUME, LABELS.int()), {}, r"labels must be int64, got torch.int32"),
    "definition": ((VOLUME, LABELS), {"definition": "paper"}, r"has no definition 'paper'; choose one of \['princip"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_computed_is_told(case):
    given, options, told = FAULTS[case]
    for term in (volume_cross_entropy, soft_dice, segmentation_loss):
        with pytest.raises(ValueError, match=told):
            term(*given, **options)


REGION_FAULTS = {
    "no level": ([], "regions: no level"),
    "order": (
        [VOLUME[..., :2], VOLUME],
        r"finest first expected, level 1 is \(2, 3, 4, 4, 4\) after \(2, 3, 4, 4, 2\)",
    ),
    "classes": ([VOLUME, VOLUME[:, :2]], r"level 1 is \(2, 2, 4, 4, 4\), the one before \(2, 3, 4, 4, 4\)"),
    "axes": ([VOLUME, VOLUME[..., 0]], r"level 1 is \(2, 3, 4, 4\), the one before"),
    "no voxel": ([VOLUME, VOLUME[..., :0]], r"a voxel at least expected, level 1 is \(2, 3, 4, 4, 0\)"),
    "rows": ([VOLUME[:1]], r"got \(1, 3, 4, 4, 4\) and \(2, 4, 4, 4\)"),
    "flat": ([VOLUME[..., 0]], r"\(2, 3, 4, 4\) cannot be resampled to \(4, 4, 4\)"),
}


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("case", REGION_FAULTS)
def test_levels_that_do_not_belong_together_are_told(case, definition):
    regions, told = REGION_FAULTS[case]
    with pytest.raises(ValueError, match=told):
        region_supervision(regions, LABELS, definition=definition)


def test_a_definition_of_deep_supervision_that_there_is_not():
    with pytest.raises(ValueError, match="region supervision has no definition 'paper'"):
        region_supervision([VOLUME], LABELS, definition="paper")


def test_a_label_that_is_no_class_is_an_error():
    for wrong in (3, -1, -100):
        with pytest.raises((RuntimeError, IndexError)):
            volume_cross_entropy(VOLUME, LABELS + wrong)
