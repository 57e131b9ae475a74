"""Training batches of 3D scans: patches with the modalities that each subject has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmablate.data.batches import Batch


@dataclass(frozen=True)
class VolumeBatch(Batch):
    """Patches on a device.

    Attributes:
        inputs: modality -> float32 (B, 1, h, w, z).
        labels: int64 (B, h, w, z).
        indices: subjects of the split that they are of.
        available: bool (B, M), the modalities of each subject: by its files and the mask list.
        draws: float64 (B, 2) on [0, 1), from the stream of the masks: whoever hides modalities anew at every step
            decides by them, so that all rows of a seed hide alike.
    """

    available: Tensor | None = None
    draws: Tensor | None = None

    @property
    def names(self) -> Mapping[str, Tensor]:
        """The inputs, by modality."""
        return self.inputs
