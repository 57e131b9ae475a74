import math

import numpy as np
import pytest
import torch
from torch.func import grad, vmap

from mmablate.losses import cross_entropy, ohem_cross_entropy

VOID = 255


def pixel_losses(logits, labels, void):
    """Losses of the valid pixels, one by one."""
    found = []
    n_images, n_classes, height, width = logits.shape
    for b in range(n_images):
        for y in range(height):
            for x in range(width):
                if labels[b, y, x] == void:
                    continue
                total = sum(math.exp(logits[b, k, y, x]) for k in range(n_classes))
                found.append(-math.log(math.exp(logits[b, labels[b, y, x], y, x]) / total))
    return found


def ohem_by_hand(losses, threshold=0.7, fraction=1 / 16):
    hard = [loss for loss in losses if loss > -math.log(threshold)]
    least = max(1, int(len(losses) * fraction))
    if len(hard) < least:
        hard = sorted(losses, reverse=True)[:least]
    return sum(hard) / max(1, len(hard))


def batch(seed=0, scale=1.0, sure=0.0, shape=(2, 5, 6, 7)):
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=shape)
    labels = rng.integers(0, shape[1], size=(shape[0], *shape[2:]))
    for index in np.ndindex(labels.shape):
        logits[index[0], labels[index], index[1], index[2]] += sure
    labels[rng.random(labels.shape) < 0.25] = VOID
    return torch.tensor(logits), torch.tensor(labels)


def test_cross_entropy_is_the_mean_over_valid_pixels():
    logits, labels = batch()
    expected = np.mean(pixel_losses(logits.numpy(), labels.numpy(), VOID))
    assert cross_entropy(logits, labels, ignore_label=VOID).item() == pytest.approx(expected, rel=1e-12)
    torch_says = torch.nn.functional.cross_entropy(logits, labels, ignore_index=VOID)
    assert cross_entropy(logits, labels, ignore_label=VOID).item() == pytest.approx(torch_says.item())


def test_without_an_ignore_label_every_pixel_counts():
    logits, labels = batch()
    labels = labels.where(labels != VOID, 0)
    expected = np.mean(pixel_losses(logits.numpy(), labels.numpy(), None))
    assert cross_entropy(logits, labels, ignore_label=None).item() == pytest.approx(expected)


@pytest.mark.parametrize("sure", [0.0, 3.0, 6.0, 12.0])
@pytest.mark.parametrize("fraction", [1 / 16, 0.5, 0.0])
def test_ohem_is_the_mean_over_hard_pixels(sure, fraction):
    logits, labels = batch(seed=1, sure=sure)
    expected = ohem_by_hand(pixel_losses(logits.numpy(), labels.numpy(), VOID), fraction=fraction)
    found = ohem_cross_entropy(logits, labels, ignore_label=VOID, min_fraction=fraction)
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_ohem_uses_both_of_its_branches():
    counts = []
    for sure in (0.0, 12.0):
        logits, labels = batch(seed=1, sure=sure)
        losses = pixel_losses(logits.numpy(), labels.numpy(), VOID)
        counts.append(sum(loss > -math.log(0.7) for loss in losses) / len(losses))
    assert counts[0] > 1 / 16 > counts[1]


@pytest.mark.parametrize("sure", [0.0, 2.0, 5.0, 9.0])
@pytest.mark.parametrize("threshold", [0.05, 0.7, 1.0])
def test_ohem_is_never_below_cross_entropy(sure, threshold):
    for seed in range(5):
        logits, labels = batch(seed=seed, sure=sure)
        plain = cross_entropy(logits, labels, ignore_label=VOID)
        hard = ohem_cross_entropy(logits, labels, ignore_label=VOID, threshold=threshold)
        assert hard >= plain * (1 - 1e-12)


@pytest.mark.parametrize("loss", [cross_entropy, ohem_cross_entropy])
def test_no_valid_pixel_gives_zero_and_zero_gradient(loss):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 4, 4), VOID), ignore_label=VOID)
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("loss", [cross_entropy, ohem_cross_entropy])
def test_void_pixels_get_no_gradient_and_have_no_influence(loss):
    logits, labels = batch()
    logits.requires_grad_()
    loss(logits, labels, ignore_label=VOID).backward()
    void = (labels == VOID).unsqueeze(1).expand_as(logits)
    assert (logits.grad[void] == 0).all()
    moved = torch.where(void, 50.0, logits.detach())
    assert loss(moved, labels, ignore_label=VOID) == loss(logits, labels, ignore_label=VOID)


def test_gradient_of_cross_entropy_by_hand():
    logits = torch.tensor([[0.0, math.log(3)]]).reshape(1, 2, 1, 1).requires_grad_()
    cross_entropy(logits, torch.tensor([[[0]]]), ignore_label=VOID).backward()
    assert torch.allclose(logits.grad.flatten(), torch.tensor([0.25 - 1, 0.75]))


def test_doubling_the_batch_leaves_cross_entropy_but_not_ohem():
    logits, labels = batch(seed=3, sure=12.0, shape=(1, 5, 4, 6))
    labels = logits.argmax(1)
    easy = cross_entropy(logits, labels, ignore_label=VOID)
    twice = torch.cat([logits, logits]), torch.cat([labels, labels])
    assert cross_entropy(*twice, ignore_label=VOID).item() == pytest.approx(easy.item(), rel=1e-12)
    # Of 24 pixels floor(24 / 16) = 1 counts, of 48 the top 3: that is the worst twice and the next one.
    losses = sorted(pixel_losses(logits.numpy(), labels.numpy(), VOID), reverse=True)
    few = [n for n in range(2) if losses[n] > -math.log(0.7)]
    assert few == [], "every pixel must be easy for this test"
    assert ohem_cross_entropy(logits, labels, ignore_label=VOID).item() == pytest.approx(losses[0])
    expected = (2 * losses[0] + losses[1]) / 3
    assert ohem_cross_entropy(*twice, ignore_label=VOID).item() == pytest.approx(expected)
    assert expected < 0.999 * losses[0]


@pytest.mark.parametrize("loss", [cross_entropy, ohem_cross_entropy])
def test_low_precision_logits_are_computed_in_float32(loss):
    logits, labels = batch(scale=4.0)
    low = logits.to(torch.bfloat16)
    value = loss(low, labels, ignore_label=VOID)
    assert value.dtype == torch.float32
    assert value == loss(low.float(), labels, ignore_label=VOID)


@pytest.mark.parametrize("loss", [cross_entropy, ohem_cross_entropy])
def test_a_stack_of_models_gets_the_values_and_gradients_of_each(loss):
    sure, unsure = batch(seed=4, sure=12.0), batch(seed=4, sure=0.0)
    labels = sure[1]
    stack = torch.stack([sure[0], unsure[0]])

    def one(logits):
        return loss(logits, labels, ignore_label=VOID)

    values, gradients = vmap(one)(stack), vmap(grad(one))(stack)
    for i in range(2):
        assert torch.allclose(values[i], one(stack[i]), rtol=1e-12)
        assert torch.allclose(gradients[i], grad(one)(stack[i]), rtol=1e-10, atol=1e-14)


def test_vectors_and_volumes_work_too():
    logits, labels = torch.randn(6, 3), torch.randint(0, 3, (6,))
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert cross_entropy(logits, labels, ignore_label=None).item() == pytest.approx(expected.item(), rel=1e-6)
    logits, labels = torch.randn(2, 3, 2, 2, 2), torch.randint(0, 3, (2, 2, 2, 2))
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert cross_entropy(logits, labels, ignore_label=VOID).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("loss", [cross_entropy, ohem_cross_entropy])
def test_faults_are_named(loss):
    logits, labels = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\).*\(2, 4, 5\)"):
        loss(logits, torch.zeros(2, 4, 5, dtype=torch.int64), ignore_label=VOID)
    with pytest.raises(ValueError, match="int64"):
        loss(logits, labels.int(), ignore_label=VOID)
    with pytest.raises((IndexError, RuntimeError)):
        loss(logits, labels + 3, ignore_label=VOID)


@pytest.mark.parametrize("option", [{"threshold": 0.0}, {"threshold": 1.1}, {"min_fraction": -0.1}])
def test_ohem_options_out_of_range(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        ohem_cross_entropy(
            torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64), ignore_label=None, **option
        )


@pytest.mark.parametrize("loss", [cross_entropy, ohem_cross_entropy])
def test_without_an_ignore_label_torchs_default_is_no_excuse(loss):
    with pytest.raises((IndexError, RuntimeError)):
        loss(torch.zeros(1, 3, 1, 1), torch.tensor([[[-100]]]), ignore_label=None)


@pytest.mark.parametrize("loss", [cross_entropy, ohem_cross_entropy])
@pytest.mark.parametrize("void", [-1, -100, 0, None])
def test_a_stack_with_a_negative_an_inner_or_no_void_label(loss, void):
    # torch's batching rule of the negative log-likelihood once mistook a negative ignore_index.
    stack = torch.stack([batch(seed)[0] for seed in range(2)])
    labels = batch()[1]
    labels = labels.where(labels != VOID, 0 if void is None else void)

    def one(logits):
        return loss(logits, labels, ignore_label=void)

    values, gradients = vmap(one)(stack), vmap(grad(one))(stack)
    for i in range(2):
        found = pixel_losses(stack[i].numpy(), labels.numpy(), void)
        by_hand = np.mean(found) if loss is cross_entropy else ohem_by_hand(found)
        assert values[i].item() == pytest.approx(by_hand, rel=1e-10)
        assert torch.allclose(gradients[i], grad(one)(stack[i]), rtol=1e-10, atol=1e-14)
