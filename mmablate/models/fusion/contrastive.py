"""Encoders of several modalities that are trained to agree, before a classifier is built on them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmablate.models.fusion.layers import XavierLinear, by_modality, module_key

INITIAL_LOG_SCALE = math.log(1 / 0.07)


class ContrastiveEncoders(nn.Module):
    """One encoder and one linear projection a modality, and a learnt scale of the logits.

    Args:
        encoders: modality -> encoder to vectors (B, D), with `dim`, D.
        dim: d of the common space.

    The encoders are called `encoders.<modality>`, as in a `MultimodalClassifier`, whose encoders their weights fit.
    The projection has no bias.

    Source: CLIP, arXiv:2103.00020, section 2: linear projections, log scale ln(1 / 0.07) at first. Normalising the
    embeddings and limiting the scale to 100 is for the loss.
    """

    def __init__(self, encoders: Mapping[str, nn.Module], dim: int) -> None:
        super().__init__()
        self.modalities = tuple(encoders)
        if len(self.modalities) < 2:
            raise ValueError(f"contrastive encoders need at least two modalities, got {', '.join(encoders) or 'none'}")
        self.encoders = by_modality(encoders)
        self.projections = by_modality(
            {name: XavierLinear(int(net.dim), dim, bias=False) for name, net in encoders.items()}  # type: ignore[arg-type]
        )
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_LOG_SCALE))

    def reset_parameters(self) -> None:
        """The initial scale; encoders and projections reset themselves."""
        nn.init.constant_(self.log_scale, INITIAL_LOG_SCALE)

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Modality -> inputs (B, *shape); returns modality -> projection (B, d), not normalised, and the log scale."""
        projected = {
            name: self.projections[module_key(name)](self.encoders[module_key(name)](inputs[name]))
            for name in self.modalities
        }
        # A parameter that is an output itself is marked ready twice by DistributedDataParallel.
        return projected, self.log_scale.clone()
