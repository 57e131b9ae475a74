"""An independent SegFormer for the tests: the authors' weights by name and shape, and their arithmetic in float64.

Also the module tree that transformers had before version 5, to hold names and numbers of both together.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDE = (64, 128, 320, 512)
SIZES = {
    "mit_b0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": (WIDE, (2, 2, 2, 2)),
    "mit_b2": (WIDE, (3, 4, 6, 3)),
    "mit_b3": (WIDE, (3, 4, 18, 3)),
    "mit_b4": (WIDE, (3, 8, 27, 3)),
    "mit_b5": (WIDE, (3, 6, 40, 3)),
}
HEADS, REDUCTIONS = (1, 2, 5, 8), (8, 4, 2, 1)


def encoder_shapes(size: str) -> dict[str, tuple[int, ...]]:
    """The authors' names and shapes of an encoder."""
    widths, depths = SIZES[size]
    shapes: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    for i, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        patch = 7 if i == 1 else 3
        layer(f"patch_embed{i}.proj", width, (3, *widths)[i - 1], patch, patch)
        layer(f"patch_embed{i}.norm", width)
        for block in (f"block{i}.{j}" for j in range(depth)):
            layer(f"{block}.norm1", width)
            layer(f"{block}.attn.q", width, width)
            layer(f"{block}.attn.kv", 2 * width, width)
            layer(f"{block}.attn.proj", width, width)
            if i < 4:
                layer(f"{block}.attn.sr", width, width, REDUCTIONS[i - 1], REDUCTIONS[i - 1])
                layer(f"{block}.attn.norm", width)
            layer(f"{block}.norm2", width)
            layer(f"{block}.mlp.fc1", 4 * width, width)
            layer(f"{block}.mlp.dwconv.dwconv", 4 * width, 1, 3, 3)
            layer(f"{block}.mlp.fc2", width, 4 * width)
        layer(f"norm{i}", width)
    return shapes


def decoder_shapes(size: str, width: int, n_classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the released decoder."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, channels in enumerate(SIZES[size][0], start=1):
        shapes.update({f"linear_c{i}.proj.weight": (width, channels), f"linear_c{i}.proj.bias": (width,)})
    shapes["linear_fuse.conv.weight"] = (width, 4 * width, 1, 1)
    shapes |= {f"linear_fuse.bn.{name}": (width,) for name in ("weight", "bias", "running_mean", "running_var")}
    shapes["linear_fuse.bn.num_batches_tracked"] = ()
    shapes |= {"linear_pred.weight": (n_classes, width, 1, 1), "linear_pred.bias": (n_classes,)}
    return shapes


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Random values at which no layer is trivial."""
    stream = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=stream)
        if name.endswith("num_batches_tracked"):
            values = torch.tensor(7)
        elif name.endswith(("running_var", "bn.weight")) or re.search(
            r"norm[\d_]*(\.\d)?(_before|_after)?\.weight$", name
        ):
            values = 1 + 0.3 * values.abs()
        elif len(shape) > 1:
            values = values / (values[0].numel() ** 0.5)
        else:
            values = 0.3 * values
        weights[name] = values
    return weights


def encode(weights: dict[str, Tensor], size: str, image: Tensor) -> list[Tensor]:
    """The authors' encoder in evaluation, in float64."""
    w = {name: value.double() for name, value in weights.items()}
    x, stages = image.double(), []
    for i, depth in enumerate(SIZES[size][1], start=1):
        x = F.conv2d(x, *_layer(w, f"patch_embed{i}.proj"), stride=4 if i == 1 else 2, padding=3 if i == 1 else 1)
        height, width = x.shape[-2:]
        x = _norm(x.flatten(2).transpose(1, 2), w, f"patch_embed{i}.norm", 1e-5)
        for block in (f"block{i}.{j}" for j in range(depth)):
            x = x + _attention(_norm(x, w, f"{block}.norm1", 1e-6), w, f"{block}.attn", i - 1, height, width)
            hidden = F.linear(_norm(x, w, f"{block}.norm2", 1e-6), *_layer(w, f"{block}.mlp.fc1"))
            image_like = hidden.transpose(1, 2).unflatten(2, (height, width))
            depthwise = F.conv2d(
                image_like, *_layer(w, f"{block}.mlp.dwconv.dwconv"), padding=1, groups=image_like.shape[1]
            )
            x = x + F.linear(F.gelu(depthwise.flatten(2).transpose(1, 2)), *_layer(w, f"{block}.mlp.fc2"))
        x = _norm(x, w, f"norm{i}", 1e-6).transpose(1, 2).unflatten(2, (height, width))
        stages.append(x)
    return stages


def decode(weights: dict[str, Tensor], stages: list[Tensor]) -> Tensor:
    """The released decoder in evaluation, before the last resizing, in float64: concatenated, coarsest first."""
    w = {name: value.double() for name, value in weights.items()}
    maps = []
    for i in (4, 3, 2, 1):
        projected = F.linear(stages[i - 1].double().movedim(1, -1), *_layer(w, f"linear_c{i}.proj")).movedim(-1, 1)
        maps.append(F.interpolate(projected, size=stages[0].shape[-2:], mode="bilinear", align_corners=False))
    fused = torch.einsum("ok,bkhw->bohw", w["linear_fuse.conv.weight"][..., 0, 0], torch.cat(maps, 1))
    mean, variance, scale, shift = (
        w[f"linear_fuse.bn.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    fused = ((fused - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp(min=0)
    return F.conv2d(fused, *_layer(w, "linear_pred"))


def _layer(w: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return w[f"{name}.weight"], w[f"{name}.bias"]


def _norm(x: Tensor, w: dict[str, Tensor], name: str, eps: float) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def _attention(x: Tensor, w: dict[str, Tensor], name: str, stage: int, height: int, width: int) -> Tensor:
    batch, n, channels = x.shape
    heads = HEADS[stage]
    queries = F.linear(x, *_layer(w, f"{name}.q")).view(batch, n, heads, -1)
    source = x
    if f"{name}.sr.weight" in w:
        image_like = x.transpose(1, 2).unflatten(2, (height, width))
        source = F.conv2d(image_like, *_layer(w, f"{name}.sr"), stride=REDUCTIONS[stage]).flatten(2).transpose(1, 2)
        source = _norm(source, w, f"{name}.norm", 1e-5)
    keys, values = F.linear(source, *_layer(w, f"{name}.kv")).view(batch, -1, 2, heads, channels // heads).unbind(2)
    scores = torch.einsum("bqhc,bkhc->bhqk", queries, keys) / (channels // heads) ** 0.5
    mixed = torch.einsum("bhqk,bkhc->bqhc", scores.softmax(-1), values).flatten(2)
    return F.linear(mixed, *_layer(w, f"{name}.proj"))


# --- the tree of transformers before 5 --------------------------------------------------------------------


class EarlierAttention(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        inner = nn.Module()
        for name in ("query", "key", "value"):
            inner.add_module(name, nn.Linear(width, width))
        if reduction > 1:
            inner.sr = nn.Conv2d(width, width, reduction, stride=reduction)
            inner.layer_norm = nn.LayerNorm(width)
        self.add_module("self", inner)
        self.output = nn.Module()
        self.output.dense = nn.Linear(width, width)
        self.heads, self.reduction = heads, reduction

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        inner: Any = self.get_submodule("self")
        queries = inner.query(x)
        if self.reduction > 1:
            reduced = inner.sr(x.transpose(1, 2).unflatten(2, (height, width)))
            x = inner.layer_norm(reduced.flatten(2).transpose(1, 2))
        split = [y.unflatten(2, (self.heads, -1)).transpose(1, 2) for y in (queries, inner.key(x), inner.value(x))]
        scores = split[0] @ split[1].transpose(2, 3) / split[0].shape[-1] ** 0.5
        return self.output.dense((scores.softmax(-1) @ split[2]).transpose(1, 2).flatten(2))  # type: ignore[operator]


class EarlierFeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense1, self.dense2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dwconv = nn.Module()
        self.dwconv.dwconv = nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        x = self.dense1(x).transpose(1, 2).unflatten(2, (height, width))
        return self.dense2(F.gelu(self.dwconv.dwconv(x).flatten(2).transpose(1, 2)))  # type: ignore[operator]


class EarlierLayer(nn.Module):
    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.layer_norm_1, self.layer_norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = EarlierAttention(width, heads, reduction), EarlierFeedForward(width)

    def forward(self, x: Tensor, height: int, width: int) -> tuple[Tensor]:
        x = x + self.attention(self.layer_norm_1(x), height, width)
        return (x + self.mlp(self.layer_norm_2(x), height, width),)


class EarlierPatches(nn.Module):
    def __init__(self, channels: int, width: int, patch: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=stride, padding=patch // 2)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        x = self.proj(x)
        return self.layer_norm(x.flatten(2).transpose(1, 2)), x.shape[2], x.shape[3]


class EarlierModel(nn.Module):
    """Parts and their names as in transformers 4, without dropout."""

    def __init__(self, size: str) -> None:
        super().__init__()
        widths, depths = SIZES[size]
        self.encoder = nn.Module()
        self.encoder.patch_embeddings = nn.ModuleList(
            EarlierPatches((3, *widths)[i], widths[i], 3 if i else 7, 2 if i else 4) for i in range(4)
        )
        self.encoder.block = nn.ModuleList(
            nn.ModuleList(EarlierLayer(widths[i], HEADS[i], REDUCTIONS[i]) for _ in range(depths[i])) for i in range(4)
        )
        self.encoder.layer_norm = nn.ModuleList(nn.LayerNorm(width) for width in widths)
