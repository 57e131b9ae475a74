"""SegFormer: Mix Transformer encoders (MiT-B0 to B5) and their all-linear decoder.

The blocks are those of the transformers package, built from a configuration: nothing is downloaded. Ours are the
order of the parts, names that are the same in every version of that package, the initialisation, and the
decoder, which is computed where the maps are small.

Source: SegFormer, arXiv:2105.15203; as used by AnySeg, arXiv:2411.17141.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmablate.errors import MissingExtra
from mmablate.models.segformer_names import block_name


@dataclass(frozen=True)
class MixTransformerSize:
    """Widths C_i and depths of the four stages; all else is the same for every MiT."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]


Linears = Iterable[nn.Linear]

_WIDE = (64, 128, 320, 512)
SIZES = {
    "mit_b0": MixTransformerSize((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": MixTransformerSize(_WIDE, (2, 2, 2, 2)),
    "mit_b2": MixTransformerSize(_WIDE, (3, 4, 6, 3)),
    "mit_b3": MixTransformerSize(_WIDE, (3, 4, 18, 3)),
    "mit_b4": MixTransformerSize(_WIDE, (3, 8, 27, 3)),
    "mit_b5": MixTransformerSize(_WIDE, (3, 6, 40, 3)),
}
HEADS, REDUCTIONS, STRIDES = (1, 2, 5, 8), (8, 4, 2, 1), (4, 2, 2, 2)
# Below it, a stage's map is smaller than the patch that its keys are reduced by.
MIN_SIZE = 29

# The authors' blocks and stages normalise with this, their patch embeddings and reductions with torch's 1e-5;
# transformers has 1e-5 everywhere.
BLOCK_EPS = 1e-6
_BLOCK_NORM = re.compile(r"stages\.\d+\.(layer_norm|blocks\.\d+\.layernorm_(before|after))")


class MixTransformer(nn.Module):
    """The encoder, image to one normed feature map a stage.

    Keys and values of stage i are reduced by 8, 4, 2, 1; rows and columns that this does not divide give no
    keys, as in the authors' code.

    Args:
        name: mit_b0 to mit_b5.
        drop_path: rate of the last block; it rises from 0 linearly.

    Raises:
        MissingExtra: transformers is not installed.
        KeyError: another name.
    """

    def __init__(self, name: str, drop_path: float = 0.1) -> None:
        super().__init__()
        self.widths = SIZES[name].widths
        self.stages = nn.ModuleList(_Stage(*parts) for parts in _parts(_build(SIZES[name], drop_path)))
        for local, module in self.named_modules():
            if isinstance(module, nn.LayerNorm) and _BLOCK_NORM.fullmatch(_own(local)):
                module.eps = BLOCK_EPS
        self.register_state_dict_post_hook(_save_own_names)
        self.register_load_state_dict_pre_hook(_load_own_names)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> (B, C_i, H_i, W_i), finest first: H/4, H/8, H/16, H/32, rounded up.

        Raises:
            ValueError: an image of fewer than 29 rows or columns.
        """
        if min(x.shape[-2:]) < MIN_SIZE:
            raise ValueError(f"MiT takes images of at least {MIN_SIZE} x {MIN_SIZE} pixels, got {tuple(x.shape[-2:])}")
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def initialisers(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Name and initialiser of every layer: the authors' `_init_weights`, a truncated normal for linear layers."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm):
                yield _own(name), partial(_initialise, module)


class _Stage(nn.Module):
    """Overlapping patch embedding, transformer blocks, norm."""

    def __init__(self, patch_embeddings: nn.Module, blocks: Sequence[nn.Module], layer_norm: nn.Module) -> None:
        super().__init__()
        self.patch_embeddings, self.blocks, self.layer_norm = patch_embeddings, nn.ModuleList(blocks), layer_norm

    def forward(self, x: Tensor) -> Tensor:
        x, height, width = self.patch_embeddings(x)
        for block in self.blocks:
            out = block(x, height, width)
            x = out[0] if isinstance(out, tuple) else out  # a tuple before transformers 5
        x = self.layer_norm(x)
        return x.transpose(1, 2).unflatten(2, (height, width)).contiguous()


def _build(size: MixTransformerSize, drop_path: float) -> nn.Module:
    """transformers' model of that size, with its own random weights."""
    try:
        from transformers.models.segformer.configuration_segformer import SegformerConfig
        from transformers.models.segformer.modeling_segformer import SegformerModel
    except ImportError as error:
        raise MissingExtra(f'MiT backbones need transformers: pip install "mmablate[backbones]" ({error})') from error
    config = SegformerConfig(
        num_channels=3,
        num_encoder_blocks=4,
        depths=list(size.depths),
        sr_ratios=list(REDUCTIONS),
        hidden_sizes=list(size.widths),
        patch_sizes=[7, 3, 3, 3],
        strides=list(STRIDES),
        num_attention_heads=list(HEADS),
        mlp_ratios=[4, 4, 4, 4],
        hidden_act="gelu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        drop_path_rate=drop_path,
    )
    model: nn.Module = SegformerModel(config)
    return model


def _parts(model: Any) -> Iterator[tuple[nn.Module, Sequence[nn.Module], nn.Module]]:
    """Patch embedding, blocks and norm of every stage, in whichever version of transformers."""
    if hasattr(model, "stages"):
        for stage in model.stages:
            yield stage.patch_embeddings, list(stage.blocks), stage.layer_norm
    else:
        encoder = model.encoder
        for embeddings, blocks, norm in zip(encoder.patch_embeddings, encoder.block, encoder.layer_norm, strict=True):
            yield embeddings, list(blocks), norm


def _own(name: str) -> str:
    """Our name of something inside the encoder: only inside the blocks do versions of transformers differ."""
    match = re.fullmatch(r"(stages\.\d+\.blocks\.\d+\.)(.+)", name)
    return match[1] + block_name(match[2]) if match else name


def _save_own_names(module: nn.Module, weights: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [name for name in weights if name.startswith(prefix)]:
        weights[prefix + _own(name.removeprefix(prefix))] = weights.pop(name)


def _load_own_names(module: nn.Module, weights: dict[str, Any], prefix: str, *rest: Any) -> None:
    for local, _ in module.named_parameters():
        if prefix + _own(local) in weights:
            weights[prefix + local] = weights.pop(prefix + _own(local))


@torch.no_grad()
def _initialise(layer: nn.Linear | nn.Conv2d | nn.LayerNorm) -> None:
    if isinstance(layer, nn.LayerNorm):
        layer.reset_parameters()
        return
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
    else:
        _normal_by_outputs(layer)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _normal_by_outputs(layer: nn.Conv2d) -> None:
    """Normal weights of variance 2 / (outputs that a weight takes part in)."""
    outputs = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
    nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / outputs))


class FusingConv(nn.Conv2d):
    """1x1 convolution without bias that begins like the `ConvModule` of the released decoder."""

    def reset_parameters(self) -> None:
        """Normal weights of variance 2 / outputs."""
        _normal_by_outputs(self)


class SegFormerHead(nn.Module):
    """All-linear decoder: every stage to one width, to the finest size, concatenated, fused, classified.

    Projection, resizing and fusion are linear and act on different axes, so that fusing the concatenated maps
    is the sum of each stage's map times one merged matrix, computed at the stage's own size. Same function and
    same weights as transformers' `SegformerDecodeHead` (and as the released decoder, whose dropout, of whole
    channels, it has).

    Args:
        widths: channels C_i of the stages, finest first.
        decoder_width: D, 768 in the released code for every MiT.
        n_classes: K.
        dropout: of the fused map's channels.
    """

    def __init__(self, widths: Sequence[int], decoder_width: int, n_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(width, decoder_width) for width in widths)
        self.fuse = FusingConv(decoder_width * len(widths), decoder_width, 1, bias=False)
        self.norm = nn.BatchNorm2d(decoder_width)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(decoder_width, n_classes, 1)

    def forward(self, stages: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Stages (B, C_i, H_i, W_i), finest first, to logits (B, K, *size)."""
        fine = stages[0].shape[-2:]
        fused = None
        for (weight, bias), stage in zip(self._merged(), stages, strict=True):
            part = F.conv2d(stage, weight[..., None, None], bias)
            if part.shape[-2:] != fine:
                part = F.interpolate(part, size=fine, mode="bilinear", align_corners=False)
            fused = part if fused is None else fused + part
        logits = self.classifier(self.dropout(F.relu(self.norm(fused))))
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return logits

    def _merged(self) -> list[tuple[Tensor, Tensor]]:
        """Weight (D, C_i) and bias (D) from each stage to the fused map; multiplied in float32, whatever the autocast.

        The fusion reads the stages in the order of the published weights: coarsest first.
        """
        slices = self.fuse.weight.flatten(1).chunk(len(self.projections), dim=1)
        with torch.autocast(self.fuse.weight.device.type, enabled=False):
            return [
                (fusing @ projection.weight, fusing @ projection.bias)
                for fusing, projection in zip(reversed(slices), cast(Linears, self.projections), strict=True)
            ]
