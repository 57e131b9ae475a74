"""How the features of several modalities become those of one: region by region, by weights that follow the sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmablate.models.volumes.layers import Conv, NormedConv, RegionGates

GATE_WIDTH = 128
REGION_WIDTH = 16


def bottleneck(in_channels: int, middle: int, channels: int, negative_slope: float) -> nn.Sequential:
    """Convolutions of kernel 1, 3 and 1, each normed."""
    return nn.Sequential(
        NormedConv(in_channels, middle, 1, negative_slope=negative_slope),
        NormedConv(middle, middle, negative_slope=negative_slope),
        NormedConv(middle, channels, 1, negative_slope=negative_slope),
    )


class RegionPrediction(nn.Module):
    """A first segmentation of a level (PRM of RFNet), from the features of all modalities and what comes from below.

    Args:
        modalities: M.
        channels: C of each modality's features.
        n_classes: K.
        below: channels of what comes from the coarser level; 0 at the coarsest.
        negative_slope: of the leaky ReLUs.
    """

    def __init__(self, modalities: int, channels: int, n_classes: int, below: int, *, negative_slope: float) -> None:
        super().__init__()
        self.embed = bottleneck(modalities * channels, max(1, channels // 4), channels, negative_slope)
        self.reduce = NormedConv(channels + below, REGION_WIDTH, 1, negative_slope=negative_slope)
        self.classify = Conv(REGION_WIDTH, n_classes, 1)

    def forward(self, x: Tensor, below: Tensor | None) -> Tensor:
        """(N, M, C, h, w, z) and (N, below, h, w, z) -> logits (N, K, h, w, z)."""
        embedded = self.embed(x.flatten(1, 2))
        seen = embedded if below is None else torch.cat([below, embedded], 1)
        logits: Tensor = self.classify(self.reduce(seen))
        return logits


class RegionFusion(nn.Module):
    """One map from the maps of all modalities: those of each region weighed by gates of its own, beside a plain path.

    With p_r the probability of region r at a voxel, x_m the features of modality m, and means over voxels:
    g_rm = gate_r(mean(p_r x_1) / mean(p_r), ..., mean(p_r x_M) / mean(p_r), mean(p_r)), and the region's map is
    p_r sum_m g_rm x_m. The maps of all regions go through three convolutions to C/2 channels; the features of all
    modalities, unweighed, through three others to the other half.

    No gradient goes through p. A missing modality is one of features 0.

    Args:
        modalities: M.
        channels: C, even.
        regions: R, as many as classes.
        negative_slope: of the leaky ReLUs.

    Source: RFNet (Ding et al., ICCV 2021), region-aware modal fusion, structure as in the released code; there the
    products x_m p_r are M R maps of C channels, here only R, as both sums are linear in them.
    """

    def __init__(self, modalities: int, channels: int, regions: int, *, negative_slope: float) -> None:
        super().__init__()
        half = channels // 2
        self.gates = RegionGates(
            regions, modalities * channels + 1, modalities, GATE_WIDTH, negative_slope=negative_slope
        )
        self.fuse = bottleneck(regions * channels, channels, half, negative_slope)
        self.shortcut = bottleneck(modalities * channels, channels, half, negative_slope)

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        """(N, M, C, h, w, z) and logits of the regions (N, R, h, w, z) -> (N, C, h, w, z)."""
        n, _, c = x.shape[:3]
        size = x.shape[3:]
        probability = logits.detach().softmax(1).flatten(2)  # (N, R, S)
        flat = x.flatten(3)  # (N, M, C, S)
        share = probability.mean(2) + 1e-7
        pooled = torch.matmul(probability, flat.flatten(1, 2).transpose(1, 2)) / probability.shape[2]  # (N, R, M C)
        gates = self.gates(torch.cat([pooled / share[..., None], share[..., None].to(pooled.dtype)], 2))
        mixed = torch.matmul(gates, flat.flatten(2)).view(n, -1, c, flat.shape[3])  # (N, R, C, S)
        regions = (mixed * probability[:, :, None]).reshape(n, -1, *size)
        return torch.cat([self.fuse(regions), self.shortcut(x.flatten(1, 2))], 1)
