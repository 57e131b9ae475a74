"""Changes of training batches of pictures and videos with one label each.

Each sample's change hangs on its own row of draws and on nothing else. All frames of a video are changed alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

TRIES = 10
CROP_DRAWS = 2 * TRIES + 2
"""Numbers that a random resized crop takes: area and shape of each try, then the place."""
FLIP_DRAWS = 1


def random_resized_crop(
    x: Tensor,
    draws: Tensor,
    scale: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> Tensor:
    """A part of each sample, resized to the sample's own size.

    The part's share of the area is uniform in `scale`, the logarithm of its width by its height uniform in `ratio`'s;
    sides are rounded to pixels, and the first of ten tries that fits is taken, else the largest part of an allowed
    shape in the middle. Resizing is bilinear, without smoothing where it shrinks, and never looks outside of the part.

    Args:
        x: (B, C, H, W), or (B, C, T, H, W) with the same part in all T frames.
        draws: uniform on [0, 1), (B, CROP_DRAWS), on the CPU: places are read from them, which must not wait for a
            device.
        scale: smallest and largest share of the area, within (0, 1].
        ratio: smallest and largest width by height, above 0.

    Returns:
        Of the shape, type and device of `x`.

    Raises:
        ValueError: shapes or ranges other than these.

    Source: Szegedy et al. 2015, arXiv:1409.4842, section 6; tries and fallback as of torchvision's RandomResizedCrop.
    """
    _check(x, draws, CROP_DRAWS)
    if not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
        raise ValueError(f"scale must rise within (0, 1] and ratio above 0, not {tuple(scale)} and {tuple(ratio)}")
    boxes = crop_boxes(draws, (x.shape[-2], x.shape[-1]), scale, ratio)
    planes = x.reshape(len(x), -1, *x.shape[-2:])  # all channels of all frames at once
    if planes.dtype not in (torch.float32, torch.float64):
        planes = planes.float()  # half-precision places would be wrong by whole pixels
    made = F.grid_sample(planes, _grid(boxes, planes), mode="bilinear", align_corners=False)
    return made.to(x.dtype).reshape(x.shape)


def flip(x: Tensor, draws: Tensor) -> Tensor:
    """Each sample mirrored left-right where its draw is below one half.

    Args:
        x: (B, C, H, W) or (B, C, T, H, W).
        draws: uniform on [0, 1), (B, FLIP_DRAWS) or (B,).

    Raises:
        ValueError: shapes other than these.
    """
    draws = draws[:, None] if draws.ndim == 1 else draws
    _check(x, draws, FLIP_DRAWS)
    chosen = (draws[:, 0] < 0.5).to(x.device, non_blocking=True)
    return torch.where(chosen.reshape(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)


def crop_boxes(draws: Tensor, size: tuple[int, int], scale: Sequence[float], ratio: Sequence[float]) -> Tensor:
    """Top, left, height and width of each sample's part, in pixels: int64 (B, 4); see `random_resized_crop`."""
    height, width = size
    drawn = draws.to(torch.float64)
    area = (scale[0] + (scale[1] - scale[0]) * drawn[:, : 2 * TRIES : 2]) * height * width
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = torch.exp(low + (high - low) * drawn[:, 1 : 2 * TRIES : 2])
    tall, wide = torch.round(torch.sqrt(area / shape)), torch.round(torch.sqrt(area * shape))
    fits = (tall >= 1) & (tall <= height) & (wide >= 1) & (wide <= width)
    first = fits.int().argmax(dim=1, keepdim=True)  # of equals the first
    middle = _middle(size, ratio)
    any_fits = fits.any(dim=1)
    tall = torch.where(any_fits, tall.gather(1, first)[:, 0], middle[0]).long()
    wide = torch.where(any_fits, wide.gather(1, first)[:, 0], middle[1]).long()
    places = []
    for column, part, whole in ((-2, tall, height), (-1, wide, width)):
        room = whole - part + 1
        place = torch.minimum((drawn[:, column] * room).long(), room - 1)
        places.append(torch.where(any_fits, place, (whole - part) // 2))
    return torch.stack([*places, tall, wide], dim=1)


def _middle(size: tuple[int, int], ratio: Sequence[float]) -> tuple[float, float]:
    """Height and width of the largest part of an allowed shape."""
    height, width = size
    if width / height < ratio[0]:
        return float(max(1, min(height, round(width / ratio[0])))), float(width)
    if width / height > ratio[1]:
        return float(height), float(max(1, min(width, round(height * ratio[1]))))
    return float(height), float(width)


def _grid(boxes: Tensor, x: Tensor) -> Tensor:
    """Where each pixel of the result is taken from, (B, H, W, 2) as `grid_sample` counts."""
    axes = []
    for start, side, whole in ((0, 2, x.shape[-2]), (1, 3, x.shape[-1])):
        first, part = boxes[:, start, None].double(), boxes[:, side, None].double()
        within = (torch.arange(whole, dtype=torch.float64) + 0.5) * part / whole - 0.5
        within = torch.minimum(within.clamp(min=0), part - 1)  # the part's own border is repeated
        axes.append((2 * (first + within) + 1) / whole - 1)
    rows, columns = (axis.to(device=x.device, dtype=x.dtype, non_blocking=True) for axis in axes)
    grid = (columns[:, None, :].expand(-1, x.shape[-2], -1), rows[:, :, None].expand(-1, -1, x.shape[-1]))
    return torch.stack(grid, dim=-1)


def _check(x: Tensor, draws: Tensor, columns: int) -> None:
    if x.ndim not in (4, 5) or draws.shape != (len(x), columns):
        raise ValueError(
            f"expected (B, C, H, W) or (B, C, T, H, W) and draws (B, {columns}), not {tuple(x.shape)} and "
            f"{tuple(draws.shape)}"
        )
