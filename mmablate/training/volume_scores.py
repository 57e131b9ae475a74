"""Scores of models of incomplete 3D scans: sliding windows, each encoded once, every subset of modalities decoded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmablate.data.base import VolumeData, VolumeSplit
from mmablate.metrics import region_dice, region_hd95
from mmablate.models.volumes import IncompleteSegmentor
from mmablate.training import distributed

Box = tuple[int, int, int]
Subsets = Mapping[str, Sequence[str]]
Precision = Callable[[], AbstractContextManager[object]]

ENHANCING = "ET"
"""The region that `min_et` is of."""


@dataclass(frozen=True)
class Windows:
    """How a scan is cut into windows.

    Attributes:
        patch: edges of a window in voxels; None for the whole scan. Along an axis on which a scan is shorter it is
            as long as the scan.
        stride: voxels from one window to the next, published 40 of 80; None for half the patch. The last window is
            flush with the end of the scan.
        at_once: windows that go through the model together; where there are fewer, several subsets of each do.

    Raises:
        ValueError: a patch or stride that is not of positive whole numbers, or a stride longer than the patch, which
            would leave voxels out.
    """

    patch: Box | None = None
    stride: Box | int | None = None
    at_once: int = 1

    def __post_init__(self) -> None:
        if self.patch is None and self.stride is not None:
            raise ValueError(f"a stride of {self.stride} needs a patch")
        if self.patch is not None and min(self.patch) < 1:
            raise ValueError(f"patch must be three positive numbers of voxels, got {self.patch}")
        if self.patch is not None and any(not 1 <= s <= p for s, p in zip(self.strides, self.patch, strict=True)):
            raise ValueError(f"stride must be from 1 to the edge of the patch {self.patch}, got {self.stride}")
        if self.at_once < 1:
            raise ValueError(f"at least one window goes through the model at once, got {self.at_once}")

    @property
    def strides(self) -> Box:
        """Along the three axes, where there is a patch."""
        if self.patch is None:
            raise ValueError("the whole scan is one window")
        if self.stride is None:
            return tuple(max(1, edge // 2) for edge in self.patch)  # type: ignore[return-value]
        return (self.stride,) * 3 if isinstance(self.stride, int) else self.stride

    def of(self, size: Sequence[int]) -> list[tuple[slice, slice, slice]]:
        """The windows of a scan of this size (H, W, Z), which cover it."""
        if self.patch is None:
            return [tuple(slice(0, n) for n in size)]  # type: ignore[list-item]
        axes = []
        for n, edge, step in zip(size, self.patch, self.strides, strict=True):
            edge = min(edge, n)
            starts = [*range(0, n - edge, step), n - edge]
            axes.append([slice(start, start + edge) for start in starts])
        return list(itertools.product(axes[0], axes[1], axes[2]))


@dataclass(frozen=True)
class SubsetScores:
    """What a model scores on a split from every subset of the modalities.

    Attributes:
        columns: subset -> column -> mean over its subjects: the regions and "Dice", their mean, in percent; "HD95",
            the mean over regions in mm, where surfaces were asked for. A subset that no subject has all modalities
            of is not there.
        values: column -> (subjects, subsets) float64 of each subject in the order of the split, NaN where it lacks a
            modality; beside the columns above "HD95 <region>" of each region.
        subsets: names, in the order of the second axis of `values`.
    """

    columns: dict[str, dict[str, float]]
    values: dict[str, NDArray[np.float64]]
    subsets: tuple[str, ...]


@dataclass(frozen=True)
class _Scoring:
    """What is computed of each subject and subset."""

    data: VolumeData
    surface: bool
    smallest: Mapping[str, int]
    one_empty: str
    columns: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        regions = tuple(self.data.regions)
        distances = ("HD95", *(f"HD95 {name}" for name in regions)) if self.surface else ()
        object.__setattr__(self, "columns", (*regions, "Dice", *distances))

    @property
    def means(self) -> tuple[str, ...]:
        """The columns of a table."""
        return tuple(name for name in self.columns if not name.startswith("HD95 "))

    def of(self, prediction: Tensor, labels: Tensor) -> list[float]:
        """One a column."""
        regions = self.data.regions
        dice = region_dice(prediction, labels, regions, smallest=self.smallest)
        percent = [100 * dice[name] for name in regions]
        found = [*percent, math.fsum(percent) / len(percent)]
        if self.surface:
            distances = region_hd95(
                prediction, labels, regions, self.data.spacing, one_empty=self.one_empty, smallest=self.smallest
            )
            mm = [distances[name] for name in regions]
            found += [math.fsum(mm) / len(mm), *mm]
        return found


def score_volumes(
    models: Sequence[IncompleteSegmentor],
    split: VolumeSplit,
    data: VolumeData,
    *,
    subsets: Subsets,
    device: torch.device,
    precision: Precision,
    patch: Box | None = None,
    stride: Box | int | None = None,
    windows_at_once: int = 1,
    surface: bool = False,
    min_et: int = 0,
    one_empty: str = "diagonal",
    guard: Callable[[int], AbstractContextManager[object]] | None = None,
) -> list[SubsetScores | None]:
    """Dice, and HD95 where asked for, of every model on every subset of modalities.

    A scan is read once for all models, and its windows are encoded once a model. A subject that lacks a modality of a
    subset, by its files, is left out of that subset. Under torchrun the processes share the subjects.

    Args:
        models: on the device, of modalities of the data.
        subsets: name -> modalities.
        precision: makes the autocast context of a forward pass.
        patch, stride, windows_at_once: see `Windows`; published 80 and 40.
        surface: whether HD95 is computed, which needs MONAI.
        min_et: a predicted region "ET" of fewer voxels counts as empty, in that region alone (500 in the code of
            PASSION, there as a column of its own).
        one_empty: see `region_hd95`.
        guard: makes the context in which one model's share is computed; where it swallows an error, that model drops
            out and the others go on.

    Returns:
        One a model; None for a model that dropped out.

    Raises:
        ValueError: windows or definitions that make no sense, subsets of unknown modalities, or `min_et` without a
            region ET; all before the first scan.
        MissingExtra: HD95 without MONAI.
    """
    windows = Windows(patch, stride, windows_at_once)
    _check(models, data, subsets, min_et)
    guard = guard or (lambda index: nullcontext())
    scoring = _Scoring(data, surface, {ENHANCING: min_et} if min_et else {}, one_empty)
    if surface:  # what is wrong with the definition, or not installed, is no failure of a model
        voxel = torch.full((1, 1, 1), next(iter(data.regions.values()))[0])
        scoring.of(voxel, voxel)
    names = list(subsets)
    scored = _scored(np.asarray(split.presence, dtype=bool), data, subsets)
    blank = np.zeros((len(scoring.columns), len(split), len(names)))
    found = {index: blank.copy() for index in range(len(models))}
    share = distributed.share()
    for subject in range(share.rank, len(split), share.world):
        some = {name: subsets[name] for i, name in enumerate(names) if scored[subject, i]}
        if not some:
            continue
        voxels, labels = split.read(subject)
        scan = dict(zip(data.modalities, voxels, strict=True))
        truth = torch.from_numpy(np.asarray(labels)).to(device)
        for index in list(found):
            own = found.pop(index)
            with guard(index):
                maps = subject_maps(models[index], scan, some, windows, device=device, precision=precision)
                for name, guess in maps:
                    own[:, subject, names.index(name)] = scoring.of(guess, truth)
                found[index] = own
    return [_summarised(found[i], scored, names, scoring, device) if i in found else None for i in range(len(models))]


@torch.no_grad()
def subject_maps(
    model: IncompleteSegmentor,
    scan: Mapping[str, np.ndarray],
    subsets: Subsets,
    windows: Windows,
    *,
    device: torch.device,
    precision: Precision,
) -> Iterator[tuple[str, Tensor]]:
    """The class map of one subject from each subset of its modalities.

    The class of a voxel is that of the largest mean softmax over the windows that hold it; of the largest sum, which
    is the same.

    Args:
        scan: modality -> float32 (H, W, Z); those in no subset are not looked at, and may be left out.
        subsets: name -> modalities, all among those.
        windows: how the scan is cut.

    Yields:
        Subset name and int64 (H, W, Z) on the device, in the order of `subsets`.
    """
    size = next(iter(scan.values())).shape
    boxes = windows.of(size)
    sums: dict[str, Tensor] = {}
    tensors = {name: torch.from_numpy(values) for name, values in scan.items()}
    for start in range(0, len(boxes), windows.at_once):
        some = boxes[start : start + windows.at_once]
        together = max(1, windows.at_once // len(some))
        for name, scores in _window_scores(model, tensors, some, subsets, together, device, precision):
            if name not in sums:
                sums[name] = torch.zeros((scores.shape[1], *size), device=device)
            for box, own in zip(some, scores, strict=True):
                sums[name][(slice(None), *box)] += own
    for name in subsets:
        yield name, sums.pop(name).max(0).indices  # argmax takes several times as long on a CPU


def _window_scores(
    model: IncompleteSegmentor,
    scan: Mapping[str, Tensor],
    boxes: Sequence[tuple[slice, slice, slice]],
    subsets: Subsets,
    together: int,
    device: torch.device,
    precision: Precision,
) -> Iterator[tuple[str, Tensor]]:
    """Softmax float32 (n, K, h, w, z) of some windows from each subset; encoders run once."""
    # What the model has no scan of is never looked at, but must be of the right size.
    empty = torch.zeros(len(boxes), 1, *(s.stop - s.start for s in boxes[0]), device=device)
    inputs = {
        name: torch.stack([scan[name][box] for box in boxes])[:, None].to(device) if name in scan else empty
        for name in model.modalities
    }
    needed = {name for some in subsets.values() for name in some}

    def mask(chosen: Sequence[Collection[str]]) -> Tensor:
        rows = [[name in names for name in model.modalities] for names in chosen]
        return torch.tensor(rows).repeat_interleave(len(boxes), 0)

    with precision():
        features = model.encode(inputs, mask([needed]))
        names = list(subsets)
        for start in range(0, len(names), together):
            some = names[start : start + together]
            # Subsets in the order of the recipe, the windows of each beside one another.
            repeated = [maps.repeat(len(some), *[1] * (maps.ndim - 1)) for maps in features]
            logits = model.segment(repeated, mask([subsets[name] for name in some]), empty.shape[-3:])
            yield from zip(some, logits.float().softmax(1).chunk(len(some)), strict=True)


def _scored(present: NDArray[np.bool_], data: VolumeData, subsets: Subsets) -> NDArray[np.bool_]:
    """(subjects, subsets): whether the subject has all modalities of the subset."""
    place = {name: i for i, name in enumerate(data.modalities)}
    return np.stack([present[:, [place[name] for name in some]].all(1) for some in subsets.values()], 1)


def _summarised(
    found: NDArray[np.float64], scored: NDArray[np.bool_], names: Sequence[str], scoring: _Scoring, device: torch.device
) -> SubsetScores:
    """From what each process has found of its own subjects, 0 elsewhere."""
    whole = distributed.summed(torch.from_numpy(found).to(device)).cpu().numpy()
    values = {name: np.where(scored, own, np.nan) for name, own in zip(scoring.columns, whole, strict=True)}
    columns = {
        name: {column: math.fsum(values[column][scored[:, i], i]) / int(scored[:, i].sum()) for column in scoring.means}
        for i, name in enumerate(names)
        if scored[:, i].any()
    }
    return SubsetScores(columns, values, tuple(names))


def _check(models: Sequence[IncompleteSegmentor], data: VolumeData, subsets: Subsets, min_et: int) -> None:
    if not subsets or any(not some for some in subsets.values()):
        raise ValueError("there must be a subset, and a modality in each")
    known = set(data.modalities)
    for model in models:
        known &= set(model.modalities)
    unknown = sorted({name for some in subsets.values() for name in some} - known)
    if unknown:
        raise ValueError(f"subsets name {', '.join(unknown)}; models and data have {', '.join(sorted(known))}")
    if min_et < 0 or (min_et and ENHANCING not in data.regions):
        raise ValueError(f"min_et {min_et}: of region {ENHANCING}, and the data have {', '.join(data.regions)}")
