"""Layers of the models of 3D scans: convolutions with reflected borders, each followed by instance norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv(nn.Conv3d):
    """A 3D convolution whose border is its reflection, with Kaiming's normal initial weights and biases of 0.

    (N, C_in, H, W, Z) -> (N, C_out, ceil(H / stride), ...). Every edge of an input must be longer than the kernel's
    half, as a reflection repeats no voxel of the border itself.

    Args:
        in_channels, channels: C_in, C_out.
        kernel: edge of the kernel, odd.
        stride: along all axes.
        bias: whether there is one; in front of a norm it would change nothing.

    Source of the weights: He et al. 2015, arXiv:1502.01852, equation 10.
    """

    def __init__(self, in_channels: int, channels: int, kernel: int = 3, stride: int = 1, *, bias: bool = True) -> None:
        super().__init__(in_channels, channels, kernel, stride, bias=bias)
        self.border = kernel // 2

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        nn.init.kaiming_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W, Z) -> (N, C_out, h, w, z)."""
        if self.border:
            x = F.pad(x, (self.border,) * 6, mode="reflect")
        # On a CPU torch gives a single sample to a kernel that is three to five times as slow as that of batches.
        halves = _halves(x, self.kernel_size[0], self.stride[0]) if len(x) == 1 and x.device.type == "cpu" else None
        if halves is None or self.in_channels == 1 or not self.border:
            return F.conv3d(x, self.weight, self.bias, self.stride)
        return torch.cat(F.conv3d(halves, self.weight, self.bias, self.stride).chunk(2), 2)


def _halves(x: Tensor, kernel: int, stride: int) -> Tensor | None:
    """What the two halves of a convolution's output along its first axis are made of, as a batch.

    (1, C, H, W, Z), padded -> (2, C, h, W, Z); None where the output cannot be halved.
    """
    rows = (x.shape[2] - kernel) // stride + 1
    if rows < 2 or rows % 2:
        return None
    needed = (rows // 2 - 1) * stride + kernel
    return torch.cat([x[:, :, :needed], x[:, :, rows // 2 * stride :][:, :, :needed]])


class NormedConv(nn.Module):
    """Convolution, instance norm without weights and without running statistics, leaky ReLU.

    Each map of each sample is normed by its own mean and population variance (plus 1e-5), so that no sample sees
    another one, training is as evaluation, and there are no buffers.

    Args:
        in_channels, channels, kernel, stride: as of `Conv`.
        negative_slope: of the leaky ReLU.
    """

    def __init__(
        self, in_channels: int, channels: int, kernel: int = 3, stride: int = 1, *, negative_slope: float = 0.2
    ) -> None:
        super().__init__()
        self.conv = Conv(in_channels, channels, kernel, stride, bias=False)
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W, Z) -> (N, C_out, h, w, z)."""
        return F.leaky_relu(F.instance_norm(self.conv(x)), self.negative_slope)


class RegionGates(nn.Module):
    """For each region, a small network that says how much of each modality goes into it.

    The networks of the regions lie in one tensor and are computed together.

    Args:
        regions: R.
        channels: of what each region's network sees.
        modalities: M.
        hidden: width of the hidden layer.
        negative_slope: of the leaky ReLU behind it.
    """

    def __init__(self, regions: int, channels: int, modalities: int, hidden: int, *, negative_slope: float) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.hidden_weight = nn.Parameter(torch.empty(regions, channels, hidden))
        self.hidden_bias = nn.Parameter(torch.empty(regions, 1, hidden))
        self.weight = nn.Parameter(torch.empty(regions, hidden, modalities))
        self.bias = nn.Parameter(torch.empty(regions, 1, modalities))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights anew, as `Conv` does."""
        for weight in (self.hidden_weight, self.weight):
            nn.init.normal_(weight, std=(2.0 / weight.shape[1]) ** 0.5)
        nn.init.zeros_(self.hidden_bias)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, R, channels) -> weights (N, R, M), each in 0..1."""
        hidden = torch.matmul(x.transpose(0, 1), self.hidden_weight) + self.hidden_bias
        gates = torch.matmul(F.leaky_relu(hidden, self.negative_slope), self.weight) + self.bias
        return torch.sigmoid(gates).transpose(0, 1)


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Trilinear interpolation with corners on corners; the tensor itself where it has that size.

    Computed axis by axis as products with the matrices of interpolation: several times as fast on a CPU as
    `F.interpolate`, and the same whenever it is repeated, which the gradient of that is not on a GPU.

    Args:
        x: (N, C, h, w, z).
        size: edges (H, W, Z).

    Returns:
        (N, C, H, W, Z), computed in float32 at least, of the type of `x`.
    """
    if tuple(x.shape[-3:]) == tuple(size):
        return x
    with torch.autocast(x.device.type, enabled=False):
        wide = x if x.dtype == torch.float64 else x.float()
        first, second, third = (_interpolation(n, wanted, wide) for n, wanted in zip(x.shape[-3:], size, strict=True))
        # The last axis first, while there is least to compute.
        rows = torch.matmul(second, torch.matmul(wide, third.T))
        return torch.matmul(first, rows.flatten(-2)).unflatten(-1, (size[1], size[2])).to(x.dtype)


def _interpolation(n: int, wanted: int, like: Tensor) -> Tensor:
    """(wanted, n): what each of `wanted` places takes from each of n; a single one stands on the first."""
    step = (n - 1) / (wanted - 1) if wanted > 1 else 0.0
    places = torch.arange(wanted, dtype=torch.float64, device=like.device)[:, None] * step
    weights = 1 - (places - torch.arange(n, device=like.device)).abs()
    return weights.clamp(min=0).to(like.dtype)
