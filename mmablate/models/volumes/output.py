"""What a model of incomplete 3D scans gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Decoded:
    """What the fused decoder makes of the modalities that it is given.

    Attributes:
        logits: (N, K, H, W, Z), at the size of the inputs.
        regions: logits of the deep supervision (PRM), one a level, (N, K, h_s, w_s, z_s), finest first.
        features: (N, C, H, W, Z) before the layer that makes `logits`, at the size of the inputs: what prototypes are
            means of.
    """

    logits: Tensor
    regions: tuple[Tensor, ...]
    features: Tensor

    @property
    def levels(self) -> tuple[Tensor, ...]:
        """All logits, the final ones first."""
        return (self.logits, *self.regions)

    def at(self, rows: Tensor) -> Decoded:
        """The rows chosen, (n,) int64."""
        return Decoded(self.logits[rows], tuple(x[rows] for x in self.regions), self.features[rows])


@dataclass(frozen=True)
class Segmented:
    """A forward pass in training.

    Attributes:
        fused: of all modalities present, B rows.
        pairs: (P, 2) int64, every (sample, modality) that is present, by sample and then by modality.
        separate: logits (P, K, H, W, Z) of the decoder that sees the encoder of one modality alone; None where not
            asked for.
        alone: the fused decoder's for each modality alone, P rows; None where not asked for.
    """

    fused: Decoded
    pairs: Tensor
    separate: Tensor | None = None
    alone: Decoded | None = None
