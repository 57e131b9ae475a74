"""Anymodal distillation: the student sees a random subset of modalities, the frozen teacher sees all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from mmablate.data.batches import Batch
from mmablate.data.masks import draw_subset
from mmablate.methods.rules import UpdateRule
from mmablate.methods.terms import Features, Reference, Step, Term

Forward = Callable[[Mapping[str, Tensor]], tuple[Tensor, Features]]


class AnymodalDistillation(UpdateRule):
    """The update rule of AnySeg's student, written once, for one run.

    Args:
        modalities: all names, in the order of the columns.
        ignore_label: label of void pixels.
        masks: mode and distribution of `draw_subset`.

    Source: AnySeg, arXiv:2411.17141; departures are named in the losses.
    """

    def __init__(self, *, modalities: Sequence[str], ignore_label: int, masks: Mapping[str, str]) -> None:
        self.modalities, self.ignore_label, self.masks = tuple(modalities), ignore_label, dict(masks)

    def present(self, seed: int, step: int) -> tuple[str, ...]:
        """Modalities of a step; the same for every row of the seed."""
        mode, distribution = self.masks["mode"], self.masks["distribution"]
        return draw_subset(self.modalities, seed=seed, step=step, mode=mode, distribution=distribution)

    def reference(self, teacher: Forward, batch: Batch) -> Reference:
        """The teacher's view of a batch, all modalities; computed once for all students of a group."""
        logits, features = teacher(batch.inputs)
        return Reference(logits, features)

    def inputs(self, batch: Batch, present: tuple[str, ...]) -> dict[str, Tensor]:
        """What goes into the model: the modalities present."""
        return {name: batch.inputs[name] for name in present}

    def values(
        self,
        outputs: tuple[Tensor, Features],
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term, from what the model made of `inputs`; a pure function of its arguments."""
        logits, features = outputs
        step = Step(logits, features, batch.labels, self.ignore_label, present, reference)
        return {term.key: term(step) for term in terms}

    def losses(
        self,
        forward: Forward,
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term: `values` of the outputs for `inputs`.

        The two halves are apart so that the models of many runs can be run as one on the same inputs
        (`mmablate.training.stacking`).
        """
        return self.values(forward(self.inputs(batch, present)), batch, present, reference, terms)
