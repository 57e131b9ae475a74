"""Terms of models that fuse modalities, against their formulas written anew in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmablate.losses import redundancy
from mmablate.methods.terms import FusedStep, PairedStep, nce, projected, uni, unique
from mmablate.models.fusion import Fused

K, B = 3, 40
LABELS = torch.arange(B) % K


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def step_of(names: str = "ab", emphasis: dict[str, float] | None = None, *, additive: bool = True) -> FusedStep:
    """Outputs of a model, all of them leaves."""
    alone = {name: drawn(B, K, seed=i).requires_grad_() for i, name in enumerate(names)}
    features = {name: drawn(B, 5, seed=10 + i).requires_grad_() for i, name in enumerate(names)}
    experts = {
        name: (drawn(B, 2, seed=20 + i).requires_grad_(), drawn(B, K, seed=30 + i).requires_grad_())
        for i, name in enumerate(names)
    }
    fused = Fused(drawn(B, K, seed=40).requires_grad_(), alone, features, experts, additive)
    return FusedStep(fused.logits, {}, LABELS, -1, tuple(names), None, fused, emphasis or {})


def entropy(logits: Tensor, labels: Tensor = LABELS) -> Tensor:
    """Of every sample."""
    return -(logits - logits.logsumexp(1, keepdim=True))[torch.arange(len(labels)), labels]


def test_the_unimodal_loss_is_a_sum_over_modalities() -> None:
    step = step_of("abc")
    expected = sum(entropy(x).mean() for x in step.output.unimodal.values())
    torch.testing.assert_close(uni(step, definition="principled"), expected)


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_experts_learn_what_the_others_do_not_know(names: str) -> None:
    """Of several others: the geometric mean of what they say, renormalised. Only experts learn from it."""
    emphasis = {"a": 0.5, "b": 0.25, "c": 1.0}
    step = step_of(names, emphasis)
    found = unique(step, definition="principled", redundancy=0.0, width=2, every=1)
    expected = torch.zeros(())
    for name in names:
        others = [x.softmax(1) for m, x in step.output.unimodal.items() if m != name]
        said = torch.stack(others).log().mean(0).exp()
        said = said / said.sum(1, keepdim=True)
        weight = 1 - said[torch.arange(B), LABELS]
        expected = expected + emphasis[name] * (weight * entropy(step.output.experts[name][1])).sum() / weight.sum()
    assert float(found.detach()) == pytest.approx(float(expected.detach()))
    found.backward()
    assert all(x.grad is None for x in step.output.unimodal.values())
    assert all(x.grad is None for x in step.output.features.values())
    assert all(logits.grad is not None for _, logits in step.output.experts.values())


def test_what_an_expert_shares_costs() -> None:
    """λ times its redundancy with the other's features, which are projected to as few variables, and stand still."""
    step = step_of("ab", {"a": 1.0, "b": 0.0})
    plain = unique(step, definition="principled", redundancy=0.0, width=2)
    whole = unique(step, definition="principled", redundancy=0.5, width=2)
    embedding, others = step.output.experts["a"][0].detach(), projected(step.output.features["b"].detach(), 2, "a")
    assert others.shape == (B, 2)
    expected = 0.5 * float(redundancy(embedding, others, LABELS))
    assert float((whole - plain).detach()) == pytest.approx(expected)
    assert expected != 0
    whole.backward()
    assert step.output.experts["a"][0].grad is not None
    assert all(x.grad is None for x in step.output.features.values())


def test_features_are_projected_alike_at_every_step() -> None:
    wide = drawn(B, 30, seed=1)
    assert torch.equal(projected(wide, 4, "a"), projected(wide, 4, "a"))
    assert not torch.equal(projected(wide, 4, "a"), projected(wide, 4, "b"))
    assert projected(wide, 30, "a") is wide


@pytest.mark.parametrize("additive", [True, False])
def test_the_residual_expert_learns_through_the_shared_head(additive: bool) -> None:
    """With the others' logits held fixed: what is left of a sum, or the sum of the others' own."""
    step = step_of("abc", {"a": 0.5, "b": 0.0, "c": 0.0}, additive=additive)
    own = step.output.unimodal
    other = step.logits - own["a"] if additive else own["b"] + own["c"]
    expected = 0.5 * entropy(own["a"] + other).mean()
    found = unique(step, definition="residual", redundancy=0.0, width=2)
    assert float(found.detach()) == pytest.approx(float(expected.detach()))
    found.backward()
    told = own["a"].grad
    assert told is not None
    p = (own["a"] + other).detach().softmax(1) - torch.eye(K, dtype=torch.float64)[LABELS]
    torch.testing.assert_close(told, 0.5 * p / B)
    assert step.logits.grad is None
    assert not own["b"].grad.any()


def test_no_emphasis_is_nothing() -> None:
    step = step_of("ab")
    assert float(unique(step, definition="principled", redundancy=0.1, width=2).detach()) == 0


def test_contrast_is_the_mean_over_pairs() -> None:
    z = {name: drawn(6, 4, seed=i) for i, name in enumerate("abc")}
    scale = torch.tensor(math.log(5.0), dtype=torch.float64)
    step = PairedStep(z["a"], {}, LABELS[:6], -1, tuple(z), None, z, scale)
    unit = {name: x / x.norm(dim=1, keepdim=True) for name, x in z.items()}
    losses = []
    for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
        logits = 5.0 * unit[one] @ unit[other].T
        losses.append((entropy(logits, torch.arange(6)).mean() + entropy(logits.T, torch.arange(6)).mean()) / 2)
    torch.testing.assert_close(nce(step, definition="infonce"), torch.stack(losses).mean())
    with pytest.raises(ValueError, match="two modalities"):
        nce(PairedStep(z["a"], {}, LABELS[:6], -1, ("a",), None, {"a": z["a"]}, scale), definition="infonce")
