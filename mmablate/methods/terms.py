"""Loss terms as the methods call them: each takes what one step saw and hands on the part it needs.

The arithmetic is in `mmablate.losses`; a plugin's term has the same signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from mmablate import losses
from mmablate.data.streams import generator
from mmablate.models.fusion import Fused

Features = Mapping[str, Sequence[Tensor]]


@dataclass(frozen=True)
class Reference:
    """What the frozen teacher says of a batch: logits (B, K, H, W) and features of all M modalities."""

    logits: Tensor
    features: Features


@dataclass(frozen=True)
class Step:
    """What a term may look at.

    Attributes:
        logits: student's, (B, K, H, W), or (B, K) of samples with one label.
        features: student's, modality -> stages (B, C_i, H_i, W_i), for the modalities present; {} where none are
            compared.
        labels: int64 (B, H, W), or (B,).
        ignore_label: label of void pixels.
        present: names of the modalities in this step.
        reference: the teacher's view; None for terms that need none.
    """

    logits: Tensor
    features: Features
    labels: Tensor
    ignore_label: int
    present: tuple[str, ...]
    reference: Reference | None

    @property
    def teacher(self) -> Reference:
        """The teacher's view.

        Raises:
            ValueError: the run has no teacher.
        """
        if self.reference is None:
            raise ValueError("the term compares with a teacher, and the run has none")
        return self.reference


@dataclass(frozen=True)
class FusedStep(Step):
    """What a term may look at of a model that fuses modalities.

    Attributes:
        fused: all that the model gave.
        emphasis: modality -> share in [0, 1] of the weight of unique information.
    """

    fused: Fused | None = None
    emphasis: Mapping[str, float] = field(default_factory=dict)

    @property
    def output(self) -> Fused:
        """All that the model gave.

        Raises:
            ValueError: it is no model that fuses modalities.
        """
        if self.fused is None:
            raise ValueError("the term looks at each modality of a model that fuses them")
        return self.fused


@dataclass(frozen=True)
class PairedStep(Step):
    """What contrastive pre-training looks at: embeddings (B, D) by modality, and the logarithm of their scale."""

    embeddings: Mapping[str, Tensor] = field(default_factory=dict)
    log_scale: Tensor | None = None


TermFunction = Callable[..., Tensor]


@dataclass(frozen=True)
class Term:
    """A term of one run.

    Attributes:
        key: name in the recipe, and in the history.
        weight: factor in the total.
        function: (step, definition=..., **options) -> scalar.
        definition, options: of the recipe.
        unit: what the term is a mean over, "images" or valid "pixels": where a batch is cut into parts, the
            whole batch's value is the mean of the parts' weighed by their number of these.
        joins: it compares two networks that are trained jointly.
        experts: it trains experts beside the encoders.
        key_term: entry of the catalogue.
    """

    key: str
    weight: float
    function: TermFunction
    definition: str
    options: Mapping[str, object]
    unit: str = "images"
    joins: bool = False
    experts: bool = False
    key_term: str = ""

    def __call__(self, step: Step) -> Tensor:
        """The unweighted value, a scalar in float32."""
        return self.function(step, definition=self.definition, **self.options)


def sup(step: Step, *, definition: str, threshold: float, min_fraction: float) -> Tensor:
    """Cross-entropy with the labels; see `mmablate.losses.supervised`."""
    if definition == "ohem":
        return losses.ohem_cross_entropy(
            step.logits,
            step.labels,
            ignore_label=step.ignore_label,
            threshold=threshold,
            min_fraction=min_fraction,
        )
    return losses.cross_entropy(step.logits, step.labels, ignore_label=step.ignore_label)


def mad(step: Step, *, definition: str, temperature: float) -> Tensor:
    """Modality-agnostic distillation; see `mmablate.losses.distillation`."""
    valid = step.labels != step.ignore_label
    return losses.modality_agnostic_distillation(
        step.logits, step.teacher.logits, valid=valid, temperature=temperature, definition=definition
    )


def kd(step: Step, *, definition: str, temperature: float) -> Tensor:
    """Knowledge distillation between classifiers, logits (B, K); see `mmablate.losses.knowledge`."""
    return losses.knowledge_distillation(
        step.logits, step.teacher.logits, temperature=temperature, definition=definition
    )


def umd(step: Step, *, definition: str, normalise: bool, reduce: str) -> Tensor:
    """Unimodal distillation; see `mmablate.losses.unimodal`."""
    return losses.unimodal_distillation(
        step.features,
        step.teacher.features,
        present=step.present,
        definition=definition,
        normalise=normalise,
        reduce=reduce,
    )


def cmd(step: Step, *, definition: str, centered: bool) -> Tensor:
    """Cross-modal distillation; see `mmablate.losses.crossmodal`."""
    return losses.cross_modal_distillation(
        step.features, step.teacher.features, present=step.present, definition=definition, centered=centered
    )


def fusion_first(step: Step, *, definition: str, teacher_modalities: str, normalise: bool, reduce: str) -> Tensor:
    """Fusion-first distillation (one definition); see `mmablate.losses.fusion_first`."""
    return losses.fusion_first_distillation(
        step.features,
        step.teacher.features,
        present=step.present,
        teacher_modalities=teacher_modalities,
        normalise=normalise,
        reduce=reduce,
    )


def dist(step: Step, *, definition: str) -> Tensor:
    """Distance of two jointly trained networks; see `mmablate.losses.knowledge`."""
    return losses.logit_distance(step.logits, step.teacher.logits, definition)


def uni(step: FusedStep, *, definition: str) -> Tensor:
    """Σ_m CE(output for m alone, labels): the unimodal losses of DGL, (definitions, section 5)."""
    own = step.output.unimodal.values()
    return torch.stack([losses.cross_entropy(x, step.labels, ignore_label=step.ignore_label) for x in own]).sum()


def unique(step: FusedStep, *, definition: str, redundancy: float, width: int, **schedule: object) -> Tensor:
    """Σ_m emphasis_m L_unique,m: what a modality tells that the others do not; see `mmablate.losses.unique`.

    Args:
        redundancy: factor of what the expert of m shares with the features of the others.
        width: of the fixed projection of these features.
        schedule: options that decide the emphasis, elsewhere.
    """
    parts = []
    for name in step.output.unimodal:
        own = _residual(step, name) if definition == "residual" else _expert(step, name, redundancy, width)
        parts.append(step.emphasis.get(name, 0.0) * own)
    return torch.stack(parts).sum()


def _residual(step: FusedStep, name: str) -> Tensor:
    """Through the shared head: the others' logits are what the fused ones are without those of m."""
    fused = step.output
    own = fused.unimodal[name]
    if fused.additive:
        other = (fused.logits - own).detach()
    else:
        other = torch.stack([x for m, x in fused.unimodal.items() if m != name]).sum(0).detach()
    return losses.residual_cross_entropy(own, other, step.labels)


def _expert(step: FusedStep, name: str, redundancy: float, width: int) -> Tensor:
    fused = step.output
    embedding, logits = fused.experts[name]
    others = [x.detach().float() for m, x in fused.unimodal.items() if m != name]
    # Several others: the geometric mean of what they say, renormalised.
    said = torch.stack([x.log_softmax(1) for x in others]).mean(0).softmax(1)
    value = losses.unique_cross_entropy(logits, said.gather(1, step.labels[:, None])[:, 0], step.labels)
    if redundancy:
        rest = torch.cat([x.detach() for m, x in fused.features.items() if m != name], dim=1)
        value = value + redundancy * losses.redundancy(embedding, projected(rest, width, name), step.labels)
    return value


def projected(features: Tensor, width: int, name: str) -> Tensor:
    """Features (B, D) through a fixed random matrix to (B, width), so that their covariance can be estimated."""
    count = features.shape[1]
    if count <= width:
        return features
    matrix = torch.randn(count, width, generator=generator(0, "projection", name, count, width)) / count**0.5
    return features @ matrix.to(features)


def nce(step: PairedStep, *, definition: str) -> Tensor:
    """Symmetric InfoNCE, mean over pairs of modalities; see `mmablate.losses.contrastive`.

    Raises:
        ValueError: fewer than two modalities.
    """
    pairs = list(combinations(step.embeddings.values(), 2))
    if not pairs or step.log_scale is None:
        raise ValueError(f"contrastive learning takes two modalities, got {list(step.embeddings)}")
    return torch.stack([losses.info_nce(a, b, step.log_scale) for a, b in pairs]).mean()


def total(terms: Sequence[Term], values: Mapping[str, Tensor], shares: Mapping[str, float] | None = None) -> Tensor:
    """Weighted sum, in the order of the terms.

    Args:
        shares: unit -> the share of the whole batch's images or pixels that these values are of.
    """
    weights = [term.weight * (1.0 if shares is None else shares[term.unit]) for term in terms]
    return torch.stack([weight * values[term.key] for weight, term in zip(weights, terms, strict=True)]).sum()
