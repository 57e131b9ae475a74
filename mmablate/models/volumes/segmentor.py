"""The segmentor of incomplete 3D scans: an encoder a modality, region-aware fusion, a fused and a separate decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmablate.models.fusion.layers import by_modality, module_key
from mmablate.models.volumes.fusing import RegionFusion, RegionPrediction
from mmablate.models.volumes.layers import Conv, NormedConv, resized
from mmablate.models.volumes.output import Decoded, Segmented

Size = tuple[int, int, int]


class Stage(nn.Module):
    """A convolution, then residual pairs of convolutions; all normed.

    Args:
        in_channels, channels: C_in, C.
        stride: of the first convolution.
        depth: pairs.
        negative_slope: of the leaky ReLUs.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, depth: int, negative_slope: float) -> None:
        super().__init__()
        self.first = NormedConv(in_channels, channels, stride=stride, negative_slope=negative_slope)
        self.pairs = nn.ModuleList(
            nn.Sequential(*(NormedConv(channels, channels, negative_slope=negative_slope) for _ in range(2)))
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W, Z) -> (N, C, h, w, z)."""
        x = self.first(x)
        for pair in self.pairs:
            x = x + pair(x)
        return x


class VolumeEncoder(nn.Module):
    """Stages in a row, each but the first halving the edges; their outputs, finest first."""

    def __init__(self, widths: Sequence[int], stem_stride: int, depth: int, negative_slope: float) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            Stage(inputs, width, stem_stride if i == 0 else 2, depth, negative_slope)
            for i, (inputs, width) in enumerate(zip([1, *widths[:-1]], widths, strict=True))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 1, H, W, Z) -> one (N, C_i, h_i, w_i, z_i) a stage."""
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class Rise(nn.Module):
    """From a coarse level to the next finer one: up, a convolution; joined with that level's map, two more."""

    def __init__(self, below: int, channels: int, negative_slope: float) -> None:
        super().__init__()
        self.lift = NormedConv(below, channels, negative_slope=negative_slope)
        self.join = NormedConv(2 * channels, channels, negative_slope=negative_slope)
        self.out = NormedConv(channels, channels, 1, negative_slope=negative_slope)

    def up(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(N, below, ...) -> (N, C, *size)."""
        lifted: Tensor = self.lift(resized(x, size))
        return lifted

    def forward(self, lifted: Tensor, skip: Tensor) -> Tensor:
        """Two (N, C, h, w, z) -> one."""
        joined: Tensor = self.out(self.join(torch.cat([skip, lifted], 1)))
        return joined


class SeparateDecoder(nn.Module):
    """Logits from the features of one modality; one decoder for all of them.

    Args:
        widths: C_i of the stages.
        n_classes: K.
        negative_slope: of the leaky ReLUs.
    """

    def __init__(self, widths: Sequence[int], n_classes: int, negative_slope: float) -> None:
        super().__init__()
        self.rises = nn.ModuleList(Rise(b, c, negative_slope) for c, b in pairwise(widths))
        self.classify = Conv(widths[0], n_classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Stages (N, C_i, h_i, w_i, z_i), finest first -> logits of the finest one's size."""
        x = features[-1]
        for i in range(len(features) - 2, -1, -1):
            x = self.rises[i](self.rises[i].up(x, features[i].shape[-3:]), features[i])  # type: ignore[operator]
        logits: Tensor = self.classify(x)
        return logits


class FusedDecoder(nn.Module):
    """Logits from the features of all modalities present, level by level: predict regions, fuse by them, rise.

    Args:
        widths: C_i of the stages.
        modalities: M.
        n_classes: K.
        negative_slope: of the leaky ReLUs.
    """

    def __init__(self, widths: Sequence[int], modalities: int, n_classes: int, negative_slope: float) -> None:
        super().__init__()
        below = [*widths[:-1], 0]
        self.regions = nn.ModuleList(
            RegionPrediction(modalities, c, n_classes, b, negative_slope=negative_slope)
            for c, b in zip(widths, below, strict=True)
        )
        self.fusions = nn.ModuleList(
            RegionFusion(modalities, c, n_classes, negative_slope=negative_slope) for c in widths
        )
        self.rises = nn.ModuleList(Rise(b, c, negative_slope) for c, b in pairwise(widths))
        self.classify = Conv(widths[0], n_classes, 1)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Stages (N, M, C_i, h_i, w_i, z_i), 0 where a modality is missing.

        Returns:
            Features (N, C_0, h_0, w_0, z_0), which `classify` makes logits of, and the logits of the regions of each
            level, finest first.
        """
        found = [self.regions[-1](features[-1], None)]
        x = self.fusions[-1](features[-1], found[0])
        for i in range(len(features) - 2, -1, -1):
            lifted = self.rises[i].up(x, features[i].shape[-3:])  # type: ignore[operator]
            found.insert(0, self.regions[i](features[i], lifted))
            x = self.rises[i](lifted, self.fusions[i](features[i], found[0]))
        return x, found


class IncompleteSegmentor(nn.Module):
    """Segments scans of which any subset of the modalities is there.

    Samples do not see one another: norms are of each map, and a modality's encoder runs on the samples that have it.
    Nothing differs between training and evaluation, and there are no buffers.

    Args:
        n_classes: K.
        modalities: names, M of them, in the order of the masks.
        widths: channels C_i of the stages, even, two stages or more.
        stem_stride: of the first convolution; with 2 all is computed at half the resolution, and the final logits
            and features are brought to the inputs' size.
        depth: residual pairs of convolutions a stage.
        negative_slope: of the leaky ReLUs.

    Raises:
        ValueError: says which argument is out of range.

    Source: RFNet (Ding et al., ICCV 2021) at the size of PASSION's released code: widths 8, 16, 32, 64 there, 80
    voxels a patch. Departures: no bias in front of an instance norm, which takes it away again, and biases of 0 at
    the beginning elsewhere; maps are brought to the size of the finer level, not to twice their own, so that edges
    need not be multiples of the strides.
    """

    def __init__(
        self,
        *,
        n_classes: int,
        modalities: Sequence[str],
        widths: Sequence[int] = (8, 16, 32, 64),
        stem_stride: int = 1,
        depth: int = 1,
        negative_slope: float = 0.2,
    ) -> None:
        super().__init__()
        _check(n_classes, modalities, widths, stem_stride, depth)
        self.modalities, self.stem_stride, self.n_levels = tuple(modalities), stem_stride, len(widths)
        self.encoders = by_modality(
            {name: VolumeEncoder(widths, stem_stride, depth, negative_slope) for name in modalities}
        )
        self.fused = FusedDecoder(widths, len(modalities), n_classes, negative_slope)
        self.separated = SeparateDecoder(widths, n_classes, negative_slope)

    @property
    def smallest_edge(self) -> int:
        """Voxels that each edge of a patch must have at least: at the coarsest level there must be two to reflect."""
        return self.stem_stride * 2 ** (self.n_levels - 1) + 1

    def encode(self, inputs: Mapping[str, Tensor], present: Tensor) -> tuple[Tensor, ...]:
        """The features of all modalities, each encoder run on the samples that have its modality alone.

        Args:
            inputs: modality -> (B, 1, H, W, Z); what stands in place of a missing one is not looked at.
            present: (B, M) bool.

        Returns:
            One (B, M, C_i, h_i, w_i, z_i) a stage, finest first; 0 where a modality is missing.

        Raises:
            ValueError: a modality that is not among the inputs, masks of another shape, no sample with any modality,
                or edges too short.
        """
        places = self._places(inputs, present)
        runs = [
            self.encoders[module_key(name)](_rows(inputs[name], [b for b, m in places if m == i]))
            for i, name in enumerate(self.modalities)
            if any(m == i for _, m in places)
        ]
        order = {place: 1 + row for row, place in enumerate(sorted(places, key=lambda place: place[::-1]))}
        index = [order.get((b, m), 0) for b in range(len(present)) for m in range(len(self.modalities))]
        return tuple(_spread(list(maps), index, len(self.modalities)) for maps in zip(*runs, strict=True))

    def decode(self, features: Sequence[Tensor], present: Tensor, size: Sequence[int]) -> Decoded:
        """What the fused decoder makes of the modalities in `present`, whatever others the features hold.

        Args:
            features: of `encode`; those of missing modalities count as 0.
            present: (B, M) bool.
            size: edges (H, W, Z) of the inputs.
        """
        return self._decode(_masked(features, present), size)

    def segment(self, features: Sequence[Tensor], present: Tensor, size: Sequence[int]) -> Tensor:
        """The logits (B, K, H, W, Z) of `decode` alone, which is all that inference needs."""
        x, _ = self.fused(_masked(features, present))
        return resized(self.fused.classify(x), size)

    def separate(self, features_of_pairs: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Logits (P, K, H, W, Z) from the features (P, C_i, h_i, w_i, z_i) of one modality of one sample each."""
        return resized(self.separated(features_of_pairs), size)

    def forward(
        self, inputs: Mapping[str, Tensor], present: Tensor, *, separate: bool = False, alone: bool = False
    ) -> Segmented:
        """A forward pass in training.

        Args:
            inputs, present: as for `encode`.
            separate: also the separate decoder, on every modality of every sample.
            alone: also the fused decoder on the same, as if it were the only one; encoders are not run anew.
        """
        features = self.encode(inputs, present)
        size = next(iter(inputs.values())).shape[-3:]
        # A missing modality's features are 0 already.
        whole = self._decode(features, size)
        pairs = present.nonzero()
        if not (separate or alone):
            return Segmented(whole, pairs)
        rows, columns = pairs.to(features[0].device).unbind(1)
        single = [maps[rows, columns] for maps in features]
        own = self._alone(single, columns, size) if alone else None
        return Segmented(whole, pairs, self.separate(single, size) if separate else None, own)

    def _alone(self, single: Sequence[Tensor], columns: Tensor, size: Sequence[int]) -> Decoded:
        chosen = F.one_hot(columns, len(self.modalities)).to(single[0].dtype)[:, :, None, None, None, None]
        return self._decode([maps[:, None] * chosen for maps in single], size)

    def _decode(self, features: Sequence[Tensor], size: Sequence[int]) -> Decoded:
        x, regions = self.fused(features)
        return Decoded(resized(self.fused.classify(x), size), tuple(regions), resized(x, size))

    def _places(self, inputs: Mapping[str, Tensor], present: Tensor) -> list[tuple[int, int]]:
        """(sample, modality) of everything that is there, in the order of `Segmented.pairs`."""
        lacking = [name for name in self.modalities if name not in inputs]
        if lacking:
            raise ValueError(f"no input of modality {', '.join(lacking)}; there are {', '.join(inputs)}")
        shape = inputs[self.modalities[0]].shape
        if tuple(present.shape) != (shape[0], len(self.modalities)):
            raise ValueError(
                f"present must be ({shape[0]}, {len(self.modalities)}), one row a sample and one column a modality, "
                f"got {tuple(present.shape)}"
            )
        if min(shape[-3:]) < self.smallest_edge:
            raise ValueError(
                f"scans or patches of {'x'.join(map(str, shape[-3:]))} voxels: with {self.n_levels} stages and a stem "
                f"of stride {self.stem_stride} each edge must have at least {self.smallest_edge}"
            )
        places = [(int(b), int(m)) for b, m in present.nonzero().tolist()]
        if not places:
            raise ValueError("no sample has any modality")
        return places


def incomplete_segmentor(
    *,
    n_classes: int,
    modalities: Sequence[str],
    widths: Sequence[int] = (8, 16, 32, 64),
    stem_stride: int = 1,
    depth: int = 1,
    negative_slope: float = 0.2,
) -> IncompleteSegmentor:
    """The model of the catalogue; arguments and errors are those of `IncompleteSegmentor`."""
    return IncompleteSegmentor(
        n_classes=n_classes,
        modalities=modalities,
        widths=widths,
        stem_stride=stem_stride,
        depth=depth,
        negative_slope=negative_slope,
    )


def _check(n_classes: int, modalities: Sequence[str], widths: Sequence[int], stem_stride: int, depth: int) -> None:
    if not modalities or len(set(modalities)) < len(modalities):
        raise ValueError(f"modalities must be one or more, each named once, got {list(modalities)}")
    if len(widths) < 2 or any(width < 2 or width % 2 for width in widths):
        raise ValueError(f"widths must be even, one a stage, of two stages or more, got {list(widths)}")
    if min(n_classes, stem_stride, depth) < 1:
        raise ValueError(
            f"n_classes, stem_stride and depth must be at least 1, got {n_classes}, {stem_stride}, {depth}"
        )


def _rows(x: Tensor, rows: Sequence[int]) -> Tensor:
    return x if len(rows) == len(x) else x[torch.tensor(rows, device=x.device)]


def _spread(maps: Sequence[Tensor], index: Sequence[int], modalities: int) -> Tensor:
    """Maps of some (sample, modality), modality by modality, to (B, M, ...) with 0 elsewhere.

    Args:
        maps: one (n_m, C, h, w, z) a modality that was run.
        index: for every (sample, modality), 1 + its row among all maps; 0 where there is none.
    """
    rows = torch.cat([torch.zeros_like(maps[0][:1]), *maps])
    return rows[torch.tensor(index, device=rows.device)].unflatten(0, (-1, modalities))


def _masked(features: Sequence[Tensor], present: Tensor) -> list[Tensor]:
    hidden = ~present.to(features[0].device)[:, :, None, None, None, None]
    return [maps.masked_fill(hidden, 0) for maps in features]
