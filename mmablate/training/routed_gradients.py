"""What the joint loss leaves of the gradient that each encoder would get from its own modality alone.

The seed of DGL claims |g_uni| > |g_multi| > 0, and that the modality that is easier to learn suppresses the gradient of
the other more. Both are measured here, at the features z_m of every encoder, and the condition under which the first
is derived (all margins of the other modalities positive) beside them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmablate.data.batches import Batch

SAMPLES = 256  # of the training split, evenly spread
LARGE = 10**7  # parameters of a fusion that is not copied to float64: the outer product of wide vectors


@dataclass(frozen=True)
class Suppression:
    """Of one modality, over samples; shares in [0, 1], None where there is nothing to take a share of.

    Attributes:
        larger: share of the samples with |g_uni| > |g_multi|.
        positive: share of those for which the others' contribution to the logits favours the true class over every
            other one: the condition of the derivation.
        larger_given, larger_otherwise: `larger` among the samples that meet the condition, and among the others.
        surer_given: share, among those that meet it, with p_y(multi) > p_y(uni); 1 in theory where the fused logits
            are a sum.
        left: mean |g_multi| / mean |g_uni|; what is left of the gradient.
        samples: how many.
    """

    larger: float
    positive: float | None
    larger_given: float | None
    larger_otherwise: float | None
    surer_given: float | None
    left: float
    samples: int


def suppression(model: nn.Module, method: Any, batch: Batch) -> dict[str, Suppression]:
    """Modality -> what the joint loss does to the gradient of its encoder; float64 from the features on.

    Gradients are those of L_multi and of L_m with respect to the features that go into the fusion, sample by sample
    (in eval mode no sample touches another's). The condition is looked at where the fused logits are the sum of
    contributions of the modalities; elsewhere it is None. A fusion of more than `LARGE` parameters is left in float32.

    Args:
        model: in eval mode; a copy in float64 is made of its fusion alone.
        batch: of samples on the model's device.

    Returns:
        {} for a model of one modality, and where nothing trains the heads that the unimodal logits come through: the
        gradient through them would be one of chance.
    """
    if len(method.modalities) < 2 or not method.heard_alone(model):
        return {}
    with torch.no_grad():
        features = {m: z.double() for m, z in model.encode(method.inputs(batch, ())).items()}  # type: ignore[operator]
    head = model.get_submodule("fusion")
    if sum(p.numel() for p in head.parameters()) > LARGE:
        kind = next(iter(head.parameters())).dtype
        return _measure(head, {m: z.to(kind) for m, z in features.items()}, batch.labels)
    # A copy: casting in place would put new tensors in place of the buffers that `RunningStatistics` holds on to.
    return _measure(copy.deepcopy(head).double(), features, batch.labels)


def _measure(head: Any, features: Mapping[str, Tensor], labels: Tensor) -> dict[str, Suppression]:
    leaves = {m: z.detach().requires_grad_() for m, z in features.items()}
    fused = head(leaves)
    names = list(leaves)
    joint = torch.autograd.grad(fused, [leaves[m] for m in names], _error(fused.detach(), labels))
    found = {}
    for name, whole in zip(names, joint, strict=True):
        own = head.unimodal(leaves, name)
        (alone,) = torch.autograd.grad(own, [leaves[name]], _error(own.detach(), labels))
        found[name] = _compare(
            _norms(alone), _norms(whole), own.detach(), fused.detach(), labels, additive=head.additive
        )
    return found


def _compare(
    alone: Tensor, whole: Tensor, own: Tensor, fused: Tensor, labels: Tensor, *, additive: bool
) -> Suppression:
    larger = alone > whole
    given: Tensor | None = None
    if additive:
        others = fused - own  # what the other modalities add to the logits
        true = others.gather(1, labels[:, None])
        rest = others.scatter(1, labels[:, None], -torch.inf)
        given = (true[:, 0] - rest.amax(1)) > 0
    surer = _doubt(fused, labels) < _doubt(own, labels)
    return Suppression(
        larger=float(larger.double().mean()),
        positive=None if given is None else float(given.double().mean()),
        larger_given=_share(larger, given),
        larger_otherwise=_share(larger, None if given is None else ~given),
        surer_given=_share(surer, given),
        left=float(whole.mean() / alone.mean()) if float(alone.mean()) > 0 else 1.0,
        samples=len(labels),
    )


def _share(what: Tensor, among: Tensor | None) -> float | None:
    if among is None or not bool(among.any()):
        return None
    return float(what[among].double().mean())


def _error(logits: Tensor, labels: Tensor) -> Tensor:
    """Gradient (N, K) of every sample's cross-entropy by its logits, p - 1[k = y].

    At y it is minus the sum of the others: of a sample that is learned nothing is left of 1 - p_y but rounding.
    """
    p = logits.softmax(1).scatter(1, labels[:, None], 0.0)
    return p.scatter(1, labels[:, None], -p.sum(1, keepdim=True))


def _doubt(logits: Tensor, labels: Tensor) -> Tensor:
    """ln((1 - p_y) / p_y), (N,): falls as p_y rises, where p_y itself has been 1 up to rounding for long."""
    true = logits.gather(1, labels[:, None])
    return (logits - true).scatter(1, labels[:, None], -torch.inf).logsumexp(1)


def _norms(gradient: Tensor) -> Tensor:
    """(N, ...) -> (N,), also of such small entries that their squares would be 0."""
    flat = gradient.flatten(1)
    largest = flat.abs().amax(1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
    return largest[:, 0] * (flat / largest).norm(dim=1)


def as_history(found: Mapping[str, Suppression]) -> dict[str, dict[str, Any]]:
    """For a line of history.jsonl, rounded to six digits."""
    return {
        name: {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(own).items()}
        for name, own in found.items()
    }
