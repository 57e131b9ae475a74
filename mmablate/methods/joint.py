"""Joint training: all modalities at every step. This makes the multimodal (PML) teacher."""

from __future__ import annotations

from mmablate.methods.anymodal import AnymodalDistillation


class JointTraining(AnymodalDistillation):
    """As `AnymodalDistillation` with nothing hidden.

    Source: parallel multimodal learning of AnySeg, arXiv:2411.17141.
    """

    def present(self, seed: int, step: int) -> tuple[str, ...]:
        """All modalities, whatever the seed and step."""
        return self.modalities
