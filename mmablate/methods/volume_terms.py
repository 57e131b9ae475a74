"""Loss terms of 3D scans whose modalities are incomplete; the arithmetic is in `mmablate.losses`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmablate import losses
from mmablate.methods.terms import Step
from mmablate.models.volumes import Segmented


@dataclass(frozen=True)
class VolumeStep(Step):
    """What a term may look at of a model of 3D scans.

    Attributes:
        segmented: all that the model gave; its P pairs are the modalities that are present, sample by sample.
        modalities: names, in the order of the pairs' numbers.
        beta, gate, rate: (P,) factors of every pair: its weight against the other modalities, whether it lags behind
            (0 or 1), and how rarely subjects have it; without gradient.
    """

    segmented: Segmented | None = None
    modalities: tuple[str, ...] = ()
    beta: Tensor = field(default_factory=lambda: torch.ones(()))
    gate: Tensor = field(default_factory=lambda: torch.ones(()))
    rate: Tensor = field(default_factory=lambda: torch.ones(()))

    @property
    def output(self) -> Segmented:
        """All that the model gave.

        Raises:
            ValueError: it is no model of 3D scans.
        """
        if self.segmented is None:
            raise ValueError("the term looks at a model of 3D scans")
        return self.segmented

    @property
    def pair_labels(self) -> Tensor:
        """Labels (P, H, W, Z) of every pair's sample."""
        return self.labels[self.output.pairs[:, 0]]


def fuse(step: VolumeStep, *, definition: str) -> Tensor:
    """CE + Dice of the fused prediction, mean over samples; see `mmablate.losses.volumes`."""
    return losses.segmentation_loss(step.output.fused.logits, step.labels, definition=definition).mean()


def sep(step: VolumeStep, *, definition: str) -> Tensor:
    """Σ_m CE + Dice of the separate decoder's prediction from m, mean over samples.

    Counted where the gate is open. `released` weighs by β, too.
    """
    factors = step.gate * step.rate * (step.beta if definition == "released" else 1.0)
    logits = step.output.separate
    if logits is None:
        raise ValueError("the term sep looks at the separate decoder, which was not run")
    return _summed(step, losses.segmentation_loss(logits, step.pair_labels, definition=definition) * factors)


def prm(step: VolumeStep, *, definition: str, decay: float) -> Tensor:
    """Σ_s γ^s (CE + Dice) of the regional predictions, mean over samples; see `mmablate.losses.volumes`."""
    regions = step.output.fused.regions
    return losses.region_supervision(regions, step.labels, decay=decay, definition=definition).mean()


def pixel(
    step: VolumeStep,
    *,
    definition: str,
    decay: float,
    temperature: float | None,
    weights: Mapping[str, float] | None,
) -> Tensor:
    """Σ_m β_m times the divergence of the prediction from m alone and the fused one, mean over samples."""
    values = pixel_values(step, definition=definition, decay=decay, temperature=temperature, weights=weights)
    return _summed(step, values * step.beta * step.rate)


def pixel_values(
    step: VolumeStep,
    *,
    definition: str,
    decay: float,
    temperature: float | None,
    weights: Mapping[str, float] | None,
) -> Tensor:
    """(P,): the divergence of every pair times the recipe's own weight of its modality, β left out."""
    output = step.output
    if output.alone is None:
        raise ValueError("the term pixel looks at every modality alone, which was not run")
    teacher = output.fused.at(output.pairs[:, 0])
    values = losses.pixel_distillation(
        output.alone.levels, teacher.levels, size=tuple(step.labels.shape[1:]), decay=decay, temperature=temperature,
        definition=definition,
    )  # fmt: skip
    return values * _by_modality(step, weights, values)


def proto(step: VolumeStep, *, definition: str, weights: Mapping[str, float] | None) -> Tensor:
    """Σ_m δ_m times the distance of the prototypes of m alone and the fused ones, mean over samples.

    Counted where the gate is open. `released` compares the classes that every sample of the batch has.
    """
    output = step.output
    if output.alone is None:
        raise ValueError("the term proto looks at every modality alone, which was not run")
    teacher = output.fused.at(output.pairs[:, 0])
    n_classes = output.fused.logits.shape[1]
    values = losses.prototype_distillation(
        output.alone.features, teacher.features, step.pair_labels, n_classes=n_classes, definition=definition,
        classes=common_classes(step, n_classes) if definition == "released" else None,
    )  # fmt: skip
    return _summed(step, values * _by_modality(step, weights, values) * step.gate * step.rate)


def common_classes(step: VolumeStep, n_classes: int) -> Tensor:
    """(P, K) bool: the classes that every sample of the batch has."""
    there = torch.stack([(step.labels == k).flatten(1).any(1) for k in range(n_classes)], dim=1).all(0)
    return there.expand(len(step.output.pairs), -1)


def _by_modality(step: VolumeStep, weights: Mapping[str, float] | None, like: Tensor) -> Tensor:
    """(P,): the recipe's weight of every pair's modality."""
    own = [float((weights or {}).get(name, 1.0)) for name in step.modalities]
    return torch.tensor(own, dtype=like.dtype, device=like.device)[step.output.pairs[:, 1]]


def _summed(step: VolumeStep, values: Tensor) -> Tensor:
    """Summed over the modalities of a sample, mean over the batch's samples."""
    return values.sum() / len(step.labels)
