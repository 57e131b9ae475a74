"""Two networks that are trained as one."""

from __future__ import annotations

from torch import Tensor, nn


class Pair(nn.Module):
    """Teacher and student, each on a modality of its own: what Algorithm 1 trains jointly.

    Args:
        teacher, student: inputs (B, ...) -> logits (B, K).

    Source: arXiv:2206.06487, Algorithm 1, step 1; trained on `mmablate.losses.joint_loss`.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        super().__init__()
        self.teacher, self.student = teacher, student

    def forward(self, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs of teacher and student -> logits of teacher and student, each (B, K)."""
        teacher_input, student_input = inputs
        return self.teacher(teacher_input), self.student(student_input)
