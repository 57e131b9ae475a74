"""Training of models that fuse several modalities: jointly, by disentangled gradients, by modulated gradients.

What each parameter learns from (definitions, section 5); z_m are the features of modality m, L_m its unimodal loss:

    rule            encoder of m             fusion and shared head     own unimodal heads, experts
    joint_fusion    L_multi                  L_multi                    -
    dgl             α L_m + β L_unique       L_multi on detached z      L_m, L_unique
    ogm_ge          k_m L_multi + noise      L_multi                    -

Heads of late fusion are the modalities' own and what the fused output comes through: under dgl they learn from both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmablate.data.batches import Batch
from mmablate.data.streams import generator
from mmablate.methods.crossmodal import ACCURACY
from mmablate.methods.modulation import coefficients, discrepancy_of, modulate_, true_class_sums
from mmablate.methods.rules import Moment, UpdateRule
from mmablate.methods.terms import FusedStep, PairedStep, Reference, Term
from mmablate.models.fusion import Fused

OWN = "own"  # "audio own" is the column of the model's own output for the modality audio


class FusingRule(UpdateRule):
    """What the three rules have in common, written for one run.

    Args:
        modalities: that the model sees.
        ignore_label: that no sample has.
        trains_unimodal: a term of the run trains the unimodal outputs; without one, only those that come through what
            the joint loss trains are worth a score.
        clip: "separate" bounds the gradient of every encoder and of the rest apart, "joint" all together. Experts
            are bounded by themselves in any case, so that a weight of 0 leaves the others as they are to the bit.

    Attributes:
        emphasis: modality -> share in [0, 1] of the weight β of unique information; 0 at first, set by whoever
            knows how weak each modality is.
        scores_own: `predict` gives each modality's own output, too, where something has trained it.
    """

    truncate = False  # the joint loss ends at the fusion
    detach_head = False  # the unimodal losses do not train a head that is shared
    compares = False  # unimodal outputs are looked at whatever the terms

    def __init__(self, *, modalities: Sequence[str], ignore_label: int, trains_unimodal: bool, clip: str) -> None:
        self.modalities, self.ignore_label, self.clip = tuple(modalities), ignore_label, clip
        self.trains_unimodal = trains_unimodal
        self.emphasis: dict[str, float] = dict.fromkeys(self.modalities, 0.0)
        self.memory: dict[str, Any] = {}
        self.scores_own = True

    def present(self, seed: int, step: int) -> tuple[str, ...]:
        """All modalities, whatever the seed and step."""
        return self.modalities

    def reference(self, teacher: nn.Module, batch: Batch) -> Reference:
        """None of the terms compares with a teacher.

        Raises:
            ValueError: always.
        """
        raise ValueError("models that fuse modalities are trained without a teacher")

    def inputs(self, batch: Batch, present: tuple[str, ...]) -> dict[str, Tensor]:
        """What goes into the model, modality -> (B, *shape)."""
        return {name: batch.inputs[name] for name in self.modalities}

    def losses(
        self,
        forward: Callable[..., Fused],
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term; which parameters each reaches is decided here, by what is detached."""
        experts = any(term.experts for term in terms)
        alone = self.compares or any(term.key_term in ("uni", "unique") for term in terms)
        outputs = forward(
            self.inputs(batch, present),
            unimodal=alone,
            truncate=self.truncate,
            detach_head=self.detach_head,
            experts=experts,
        )
        return self.values(outputs, batch, present, reference, terms)

    def values(
        self,
        outputs: Fused,
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term, from what the model made of `inputs`."""
        step = FusedStep(
            outputs.logits, {}, batch.labels, self.ignore_label, present, reference, outputs, self.emphasis
        )
        return {term.key: term(step) for term in terms}

    def predict(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """As of every rule; also each modality's own output, if wished and where something has trained it."""
        own = self.scores_own and len(self.modalities) > 1 and self.heard_alone(model)
        return self.scored(model(self.inputs(batch, ()), unimodal=own))

    def heard_alone(self, model: nn.Module) -> bool:
        """Whether something trains all that the unimodal logits come through."""
        return self.trains_unimodal or bool(model.get_submodule("fusion").trained_jointly)

    def scored(self, outputs: Fused) -> dict[str, Tensor]:
        """Column -> the logits (B, K) whose accuracy it is: the fused output, and what there is beside it."""
        own = {f"{name} {OWN}": logits for name, logits in outputs.unimodal.items()}
        return {ACCURACY: outputs.logits, **own}

    def clipped(self, model: nn.Module) -> list[list[nn.Parameter]]:
        """Encoders and the rest apart, or all together; experts always apart."""
        parts: dict[str, list[nn.Parameter]] = model.parts()  # type: ignore[operator]
        experts = parts.pop("experts", [])
        if self.clip == "joint":
            sets = [[p for own in parts.values() for p in own], experts]
        else:
            encoders = [own for name, own in parts.items() if name.startswith("encoder.")]
            rest = [p for name, own in parts.items() if not name.startswith("encoder.") for p in own]
            sets = [*encoders, rest, experts]
        return [some for some in sets if some]

    def state(self) -> dict[str, Any]:
        """How weak each modality was found, and the weights that came of it."""
        return {"emphasis": self.emphasis, "memory": self.memory} if self.memory else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        if state:
            self.emphasis = {str(k): float(v) for k, v in state["emphasis"].items()}
            self.memory = dict(state["memory"])


class JointFusion(FusingRule):
    """One loss on the fused output trains all."""


class DisentangledGradients(FusingRule):
    """DGL: g_encoder = α ∂ΣL_m, heads that are shared held fixed; g_fusion = ∂L_multi on detached features.

    One backward pass of α ΣL_m + L_multi, which is to the bit what the two passes of the released code give.

    Args:
        truncate, detach_head: False switches that part of the method off.
        modalities, ignore_label, trains_unimodal, clip: as of `FusingRule`; the released code bounds all gradients
            jointly, at 40.

    Source: definitions, section 5; the seed of DGL, whose α stands nowhere in its text (in the code it multiplies
    ΣL_m).
    """

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        ignore_label: int,
        trains_unimodal: bool,
        clip: str,
        truncate: bool,
        detach_head: bool,
    ) -> None:
        super().__init__(modalities=modalities, ignore_label=ignore_label, trains_unimodal=trains_unimodal, clip=clip)
        self.truncate, self.detach_head = truncate, detach_head


class GradientModulation(FusingRule):
    """OGM-GE: the encoder of a modality that is ahead of the others gets less of the joint loss's gradient.

    Args:
        alpha: of k = 1 - tanh(α ρ) for a modality whose discrepancy ρ is above 1.
        noise: add noise of the gradient's own deviation (GE).
        definition: "principled", of all weights of an encoder, or "released", of its 4-D convolutions.
        first_epoch, last_epoch: between which gradients are modulated, from 1 on; None is the last of all.
        modalities, ignore_label, trains_unimodal, clip: as of `FusingRule`.

    Source: Peng et al., CVPR 2022, arXiv:2203.15332, equations 8 to 10.
    """

    compares = True

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        ignore_label: int,
        trains_unimodal: bool,
        clip: str,
        alpha: float,
        noise: bool,
        definition: str,
        first_epoch: int,
        last_epoch: int | None,
    ) -> None:
        super().__init__(modalities=modalities, ignore_label=ignore_label, trains_unimodal=trains_unimodal, clip=clip)
        self.alpha, self.noise, self.definition = alpha, noise, definition
        self.first_epoch, self.last_epoch = first_epoch, last_epoch
        self._scores: Tensor | None = None  # of the step at hand, one a modality

    def values(
        self,
        outputs: Fused,
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """As of every rule; takes note of how sure each modality alone is of the true classes."""
        with torch.no_grad():
            sums = true_class_sums(halved_bias(outputs), batch.labels)
            sure = torch.stack([sums[name] for name in self.modalities])
        self._scores = sure if self._scores is None else self._scores + sure
        return super().values(outputs, batch, present, reference, terms)

    def adjust(self, model: nn.Module, moment: Moment) -> None:
        """Scales the encoders' gradients by k_m and adds the noise."""
        scores, self._scores = self._scores, None
        if scores is None or moment.epoch < self.first_epoch or moment.epoch > (self.last_epoch or moment.epoch):
            return
        sums = dict(zip(self.modalities, moment.summed(scores), strict=True))
        factors = coefficients(discrepancy_of(sums), self.alpha)
        for name in self.modalities:
            weights = model.parts()[f"encoder.{name}"]  # type: ignore[operator]
            stream = generator(moment.seed, "ogm", name, moment.step)
            modulate_(weights, factors[name], stream, noise=self.noise, definition=self.definition)


def halved_bias(outputs: Fused) -> dict[str, Tensor]:
    """Unimodal logits (B, K) among which a shared bias b is divided: W_m z_m + b / M.

    The unimodal path keeps the whole bias of a shared head, so that Σ_m (W_m z_m + b) - (Σ_m W_m z_m + b) =
    (M - 1) b is known. Heads of their own are left as they are.
    """
    own = outputs.unimodal
    if len(own) < 2 or not outputs.additive:
        return dict(own)
    excess = torch.stack(list(own.values())).sum(0) - outputs.logits
    return {name: logits - excess / len(own) for name, logits in own.items()}


class Contrastive(UpdateRule):
    """Encoders that learn which samples belong together, before a model starts from them.

    Args:
        modalities: that are compared, all pairs of them.
        ignore_label: that no sample has.
    """

    def __init__(self, *, modalities: Sequence[str], ignore_label: int) -> None:
        self.modalities, self.ignore_label = tuple(modalities), ignore_label

    def present(self, seed: int, step: int) -> tuple[str, ...]:
        """All modalities, whatever the seed and step."""
        return self.modalities

    def reference(self, teacher: nn.Module, batch: Batch) -> Reference:
        """There is no teacher. Raises ValueError always."""
        raise ValueError("pre-training has no teacher")

    def inputs(self, batch: Batch, present: tuple[str, ...]) -> dict[str, Tensor]:
        """What goes into the encoders."""
        return {name: batch.inputs[name] for name in self.modalities}

    def values(
        self,
        outputs: tuple[Mapping[str, Tensor], Tensor],
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term, from embeddings (B, D) and the logarithm of their scale."""
        embeddings, log_scale = outputs
        first = next(iter(embeddings.values()))
        step = PairedStep(first, {}, batch.labels, self.ignore_label, present, None, embeddings, log_scale)
        return {term.key: term(step) for term in terms}

    def losses(
        self,
        forward: Callable[..., tuple[Mapping[str, Tensor], Tensor]],
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term: `values` of the outputs for `inputs`."""
        return self.values(forward(self.inputs(batch, present)), batch, present, reference, terms)

    def scored(self, outputs: Any) -> dict[str, Tensor]:
        """Nothing is predicted."""
        return {}
