"""Fusions of feature maps: joined and embedded together, or embedded apart and averaged.

Source: the RGB and LiDAR study (methods note on fusion) and section 7 of the definitions. The embedder here is one
convolutional block without down-sampling, the mean over the map, a hidden linear layer and a classifier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mmablate.models.fusion.encoders import conv_block
from mmablate.models.fusion.layers import Fusion, Head, XavierLinear, module_key

Shapes = Mapping[str, Sequence[int]]  # modality -> (C, H, W) of its map, in the order in which they are fused


class Embedder(nn.Module):
    """Maps (B, C, H, W) to logits: a convolutional block, the mean over the map, a hidden layer, a classifier.

    Args:
        channels: C.
        n_classes: K.
        hidden: channels of the block and width of the hidden layer.
        norm: "batch" or "none".
    """

    def __init__(self, channels: int, n_classes: int, hidden: int, norm: str) -> None:
        super().__init__()
        self.block = conv_block(channels, hidden, norm=norm, downsampling=None)
        self.head = Head(hidden, n_classes, hidden)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, K)."""
        logits: Tensor = self.head(self.block(maps).mean((2, 3)))
        return logits


def _product(maps: Sequence[Tensor], scaled: bool) -> Tensor:
    left, right = maps
    return left @ right / math.sqrt(left.shape[-1]) if scaled else left @ right


_JOINS: Mapping[str, Callable[[Sequence[Tensor]], Tensor]] = {
    "concat": lambda maps: torch.cat(list(maps), 1),
    "add": lambda maps: torch.stack(list(maps)).sum(0),
    "matmul": lambda maps: _product(maps, scaled=True),
    "matmul_unscaled": lambda maps: _product(maps, scaled=False),
    "hadamard": lambda maps: torch.stack(list(maps)).prod(0),
}
MAP_FUSIONS = ("late", *_JOINS)


class JoinedMaps(Fusion):
    """The maps of all modalities are joined to one, which one embedder sees; own linear heads see pooled maps.

    Args:
        join: "concat" (channels), "add", "matmul" (per channel the matrix product z_1 z_2 / sqrt(W), which keeps the
            variance of independent maps; "matmul_unscaled" without the root) or "hadamard" (elementwise product).
        shapes: of the maps; exactly two, and square, for matmul; all alike, but for the channels of concat.
        n_classes, hidden, norm: of the embedder.

    Raises:
        ValueError: no such join, or one that does not exist for these maps.
    """

    def __init__(self, join: str, shapes: Shapes, n_classes: int, hidden: int, norm: str) -> None:
        super().__init__(tuple(shapes), {name: _PooledHead(shape[0], n_classes) for name, shape in shapes.items()})
        if join not in _JOINS:
            raise ValueError(f"no fusion of maps is called {join!r} (there are: {', '.join(MAP_FUSIONS)})")
        _check(join, shapes)
        self.join = join
        channels = [shape[0] for shape in shapes.values()]
        self.embedder = Embedder(sum(channels) if join == "concat" else channels[0], n_classes, hidden, norm)

    def forward(self, features: Mapping[str, Tensor], detached: bool = False) -> Tensor:
        """As `Fusion`; the embedder takes part in no unimodal path, so that nothing need be detached."""
        return self.embedder(_JOINS[self.join]([features[name] for name in self.modalities]))

    def unimodal(self, features: Mapping[str, Tensor], modality: str, *, detach_head: bool = False) -> Tensor:
        """Logits of the modality's own linear head."""
        return self.own_heads[module_key(modality)](features[modality])


def _check(join: str, shapes: Shapes) -> None:
    told = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    if not shapes:
        raise ValueError("a classifier needs at least one modality")
    if join.startswith("matmul"):
        if len(shapes) != 2:
            raise ValueError(f"fusion {join} joins exactly two modalities, got {', '.join(shapes)}")
        if any(shape[1] != shape[2] for shape in shapes.values()):
            raise ValueError(f"fusion {join} needs square feature maps, got {told}")
    skipped = 1 if join == "concat" else 0
    if len({tuple(shape)[skipped:] for shape in shapes.values()}) > 1:
        raise ValueError(f"fusion {join} needs feature maps of one shape, got {told}")


class _PooledHead(nn.Module):
    """Maps to logits: the mean over the map, then one linear layer."""

    def __init__(self, channels: int, n_classes: int) -> None:
        super().__init__()
        self.out = XavierLinear(channels, n_classes)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K)."""
        return self.out(maps.mean((2, 3)))


class LateMaps(Fusion):
    """Mean of the logits of one embedder a modality; the embedders are the modalities' own heads.

    Args: as `JoinedMaps`; maps need not be of one shape.
    """

    def __init__(self, shapes: Shapes, n_classes: int, hidden: int, norm: str) -> None:
        own = {name: Embedder(shape[0], n_classes, hidden, norm) for name, shape in shapes.items()}
        super().__init__(tuple(shapes), own)
        self.trained_jointly = True

    def forward(self, features: Mapping[str, Tensor], detached: bool = False) -> Tensor:
        """As `Fusion`; own heads are never detached."""
        return torch.stack([self.own_heads[module_key(name)](features[name]) for name in self.modalities]).mean(0)

    def unimodal(self, features: Mapping[str, Tensor], modality: str, *, detach_head: bool = False) -> Tensor:
        """Logits of the modality's own embedder."""
        return self.own_heads[module_key(modality)](features[modality])


def map_fusion(fusion: str, shapes: Shapes, n_classes: int, *, hidden: int, norm: str = "batch") -> Fusion:
    """The fusion of that name, one of `MAP_FUSIONS`; arguments and errors as `JoinedMaps`."""
    if fusion != "late":
        return JoinedMaps(fusion, shapes, n_classes, hidden, norm)
    if not shapes:
        raise ValueError("a classifier needs at least one modality")
    return LateMaps(shapes, n_classes, hidden, norm)
