"""Loss terms as the methods call them: each takes what one step saw and hands on the part it needs.

The arithmetic is in `mmablate.losses`; a plugin's term has the same signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmablate import losses

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
    """

    key: str
    weight: float
    function: TermFunction
    definition: str
    options: Mapping[str, object]
    unit: str = "images"
    joins: bool = False

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


def total(terms: Sequence[Term], values: Mapping[str, Tensor], shares: Mapping[str, float] | None = None) -> Tensor:
    """Weighted sum, in the order of the terms.

    Args:
        shares: unit -> the share of the whole batch's images or pixels that these values are of.
    """
    weights = [term.weight * (1.0 if shares is None else shares[term.unit]) for term in terms]
    return torch.stack([weight * values[term.key] for weight, term in zip(weights, terms, strict=True)]).sum()
