"""Changes of training batches: each sample's from draws that hang on its place in the step's batch only.

Geometry (mirror, resize, cut) changes all modalities and the labels alike; light (jitter, blur) only those
modalities that are pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Inputs = Mapping[str, Tensor]

STRENGTH = 0.2  # largest change of brightness (in deviations), contrast and saturation (as factors)


@dataclass(frozen=True)
class Augmentation:
    """What is done to a batch.

    Attributes:
        flip: mirror left-right and, with `vertical`, up-down, each sample with probability one half.
        scale: smallest and largest factor of a random resize before the cut, or None.
        crop: (h, w) of a random crop; None for the images' own size.
        jitter, blur: probability of changed light, of a 3x3 Gaussian blur.
        photometric: modalities that those two apply to.
        ignore_label: of what lies outside a shrunken image; its inputs are 0 there.
    """

    flip: bool = False
    vertical: bool = False
    scale: Sequence[float] | None = None
    crop: Sequence[int] | None = None
    jitter: float = 0.0
    blur: float = 0.0
    photometric: Sequence[str] = ()
    ignore_label: int = 255

    def __call__(self, inputs: Inputs, labels: Tensor, draws: Tensor, more: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The batch, changed.

        Args:
            inputs: modality -> (B, C_m, H, W).
            labels: (B, H, W).
            draws: uniform on [0, 1), (B, 4): mirror, upside down, place of the cut (row, column).
            more: the same, (B, 7): scale, jitter?, brightness, contrast, saturation, blur?, sigma.

        Draws are CPU tensors, wherever the batch is: places of a cut are read from them, which must not wait for it.
        """
        inputs = dict(inputs)
        here, light = draws.to(labels.device, non_blocking=True), more.to(labels.device, non_blocking=True)
        if self.scale is not None:
            size = (self.crop[0], self.crop[1]) if self.crop is not None else (labels.shape[-2], labels.shape[-1])
            inputs, labels = self._resized(inputs, labels, size, draws[:, 2:], more[:, 0])
        elif self.crop is not None:
            inputs, labels = _crop(inputs, labels, self.crop, draws[:, 2:])
        for wanted, column, axis in ((self.flip, 0, -1), (self.flip and self.vertical, 1, -2)):
            if wanted:
                inputs, labels = _mirror(inputs, labels, here[:, column] < 0.5, axis)
        for name in self.photometric:
            if self.jitter > 0:
                inputs[name] = _jitter(inputs[name], light[:, 1] < self.jitter, light[:, 2:5])
            if self.blur > 0:
                inputs[name] = _blur(inputs[name], light[:, 5] < self.blur, light[:, 6])
        return inputs, labels

    def _resized(
        self, inputs: Inputs, labels: Tensor, size: tuple[int, int], place: Tensor, draw: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Each sample by a factor of its own, then cut (or filled up) to one size.

        Pictures are interpolated; measurements (LiDAR, events) and labels take their nearest pixel, since a mean
        of a return and no return is neither.
        """
        assert self.scale is not None
        low, high = self.scale
        cut: dict[str, list[Tensor]] = {name: [] for name in inputs}
        cut_labels = []
        for i, (t, r) in enumerate(zip(draw.tolist(), place.tolist(), strict=True)):
            factor = low + (high - low) * t
            whole = [max(1, round(side * factor)) for side in labels.shape[-2:]]
            top, left = (
                int(part * (side - wanted + 1)) if side > wanted else 0
                for part, side, wanted in zip(r, whole, size, strict=True)
            )
            for name, values in inputs.items():
                mode = "bilinear" if name in self.photometric else "nearest"
                resized = F.interpolate(
                    values[i : i + 1], size=whole, mode=mode, align_corners=False if mode == "bilinear" else None
                )[0]
                cut[name].append(_window(resized, top, left, size, 0.0))
            own = F.interpolate(labels[i][None, None].double(), size=whole, mode="nearest")[0, 0].long()
            cut_labels.append(_window(own, top, left, size, self.ignore_label))
        return {name: torch.stack(parts) for name, parts in cut.items()}, torch.stack(cut_labels)


def _window(image: Tensor, top: int, left: int, size: tuple[int, int], fill: float) -> Tensor:
    """(..., H, W) from (top, left) on, filled up below and on the right to (..., *size)."""
    part = image[..., top : top + size[0], left : left + size[1]]
    lacking = size[0] - part.shape[-2], size[1] - part.shape[-1]
    return F.pad(part, (0, lacking[1], 0, lacking[0]), value=fill) if any(lacking) else part


def _mirror(inputs: Inputs, labels: Tensor, chosen: Tensor, axis: int) -> tuple[dict[str, Tensor], Tensor]:
    pick = chosen[:, None, None]
    mirrored = {n: torch.where(pick[:, None], x.flip(axis), x) for n, x in inputs.items()}
    return mirrored, torch.where(pick, labels.flip(axis), labels)


def _crop(inputs: Inputs, labels: Tensor, size: Sequence[int], draws: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    height, width = labels.shape[-2:]
    tops = (draws[:, 0] * (height - size[0] + 1)).long().clamp(max=height - size[0]).tolist()
    lefts = (draws[:, 1] * (width - size[1] + 1)).long().clamp(max=width - size[1]).tolist()

    corners = list(zip(tops, lefts, strict=True))

    def cut(x: Tensor) -> Tensor:
        return torch.stack([x[i, ..., t : t + size[0], c : c + size[1]] for i, (t, c) in enumerate(corners)])

    return {name: cut(x) for name, x in inputs.items()}, cut(labels)


def _jitter(x: Tensor, chosen: Tensor, draws: Tensor) -> Tensor:
    """Brightness (shift, in the image's deviations), contrast (about its mean), saturation (about its grey).

    Relative to the image itself, so that standardised and raw inputs are treated alike.
    """
    signed = (2 * draws - 1) * STRENGTH
    bright, contrast, saturation = (signed[:, i, None, None, None] for i in range(3))
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    deviation = x.std(dim=(1, 2, 3), keepdim=True, unbiased=False)
    changed = mean + (1 + contrast) * (x - mean) + bright * deviation
    grey = changed.mean(dim=1, keepdim=True)
    changed = grey + (1 + saturation) * (changed - grey)
    return torch.where(chosen[:, None, None, None], changed, x)


def _blur(x: Tensor, chosen: Tensor, draw: Tensor) -> Tensor:
    """3x3 Gaussian of sigma 0.1-2 px; the border is repeated."""
    sigma = 0.1 + 1.9 * draw
    side = torch.exp(-0.5 / sigma**2)
    middle = 1 / (1 + 2 * side)
    side, middle = (side * middle)[:, None, None, None], middle[:, None, None, None]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    rows = side * (padded[..., :-2, :] + padded[..., 2:, :]) + middle * padded[..., 1:-1, :]
    blurred = side * (rows[..., :-2] + rows[..., 2:]) + middle * rows[..., 1:-1]
    return torch.where(chosen[:, None, None, None], blurred, x)
