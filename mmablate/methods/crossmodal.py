"""Cross-modal distillation: a student of one modality, a frozen teacher of another; and both trained jointly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from mmablate.data.batches import Batch
from mmablate.methods.rules import UpdateRule
from mmablate.methods.terms import Reference, Step, Term

ACCURACY, TEACHER = "Acc", "Teacher"


class CrossModalDistillation(UpdateRule):
    """The update rule of a student that sees one modality, written once, for one run; without a teacher it is
    ordinary supervised training, and that of a teacher is the same.

    Args:
        modality: that the network of the run sees.
        teacher_modality: that its teacher sees; None where there is none.
        ignore_label: that no sample has.

    Source: Xue et al. 2023, The Modality Focusing Hypothesis (ICLR), section 3.
    """

    def __init__(self, *, modality: str, teacher_modality: str | None, ignore_label: int) -> None:
        self.modality, self.teacher_modality, self.ignore_label = modality, teacher_modality, ignore_label

    def present(self, seed: int, step: int) -> tuple[str, ...]:
        """The one modality, whatever the seed and step."""
        return (self.modality,)

    def reference(self, teacher: nn.Module, batch: Batch) -> Reference:
        """The teacher's logits (B, K) of a batch; computed once for all students of a group."""
        return Reference(teacher(batch.inputs[self.teacher_modality or self.modality]), {})

    def inputs(self, batch: Batch, present: tuple[str, ...]) -> Tensor:
        """What goes into the network, (B, *shape)."""
        return batch.inputs[self.modality]

    def values(
        self,
        outputs: Tensor,
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term, from the logits (B, K); a pure function of its arguments."""
        step = Step(outputs, {}, batch.labels, self.ignore_label, present, reference)
        return {term.key: term(step) for term in terms}

    def losses(
        self,
        forward: Callable[[Tensor], Tensor],
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term: `values` of the outputs for `inputs`."""
        return self.values(forward(self.inputs(batch, present)), batch, present, reference, terms)

    def scored(self, outputs: Tensor) -> dict[str, Tensor]:
        """Column -> the logits (B, K) whose accuracy it is."""
        return {ACCURACY: outputs}


class JointPair(UpdateRule):
    """The joint training of Algorithm 1: a teacher and a student, each with the labels and near one another.

    Every supervised term is that of the teacher plus that of the student; the term `dist` pulls the logits of both
    together, and no gradient is held back.

    Args:
        modality, teacher_modality: that the student and the teacher see.
        ignore_label: that no sample has.

    Source: Xue et al. 2023, Algorithm 1, step 1, and its released code.
    """

    def __init__(self, *, modality: str, teacher_modality: str, ignore_label: int) -> None:
        self.modality, self.teacher_modality, self.ignore_label = modality, teacher_modality, ignore_label

    def present(self, seed: int, step: int) -> tuple[str, ...]:
        """Both modalities, whatever the seed and step."""
        return (self.teacher_modality, self.modality)

    def reference(self, teacher: nn.Module, batch: Batch) -> Reference:
        """A pair is its own teacher.

        Raises:
            ValueError: always.
        """
        raise ValueError("a pair has no teacher beside its own")

    def inputs(self, batch: Batch, present: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """What goes into teacher and student."""
        return batch.inputs[self.teacher_modality], batch.inputs[self.modality]

    def values(
        self,
        outputs: tuple[Tensor, Tensor],
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term, from the logits (B, K) of teacher and student."""
        teacher, student = outputs
        both = Step(student, {}, batch.labels, self.ignore_label, present, Reference(teacher, {}))
        alone = Step(teacher, {}, batch.labels, self.ignore_label, present, None)
        return {term.key: term(both) if term.joins else term(alone) + term(both) for term in terms}

    def losses(
        self,
        forward: Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]],
        batch: Batch,
        present: tuple[str, ...],
        reference: Reference | None,
        terms: Sequence[Term],
    ) -> dict[str, Tensor]:
        """Unweighted value of every term: `values` of the outputs for `inputs`."""
        return self.values(forward(self.inputs(batch, present)), batch, present, reference, terms)

    def scored(self, outputs: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        """Column -> the logits (B, K) whose accuracy it is."""
        teacher, student = outputs
        return {ACCURACY: student, TEACHER: teacher}
