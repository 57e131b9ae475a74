"""Overlap and surface distance of the regions of a 3D scan, each a union of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmablate.errors import MissingExtra
from mmablate.metrics.segmentation import confusion_matrix

Regions = Mapping[str, tuple[int, ...]]
Voxels = np.ndarray | Tensor
NO_SMALLEST: Mapping[str, int] = MappingProxyType({})

RELEASED_ONE_EMPTY = 1.0
"""HD95 in mm that the code of PASSION gives a region that is in one of the two maps alone."""

_EPSILON = 1e-8


def region_dice(
    prediction: Voxels, labels: Voxels, regions: Regions, *, smallest: Mapping[str, int] = NO_SMALLEST
) -> dict[str, float]:
    """Dice of each region, (2 |A and B| + 1e-8) / (|A| + |B| + 1e-8), so 1 where it is in neither map.

    Args:
        prediction, labels: integers (H, W, Z), 0 or more, equal in shape; arrays, or tensors of one device.
        regions: name -> labels that make it up.
        smallest: region -> voxels that a prediction of it must have; one of fewer counts as empty, in this region
            and no other.

    Returns:
        Region -> fraction, 0..1.

    Raises:
        ValueError: shapes differ, values are no integers or negative, or `smallest` names an unknown region.

    Source: `softmax_output_dice_class4` of the code of PASSION, which has RFNet's.
    """
    guess, truth = torch.as_tensor(prediction), torch.as_tensor(labels)
    _check(guess, truth, regions, smallest)
    # A label above those of all regions is in none, whichever it is.
    other = max(max(of) for of in regions.values()) + 1
    counts = confusion_matrix(guess.clamp(max=other), truth.clamp(max=other), other + 1, None).cpu().numpy()
    scores = {}
    for name, of in regions.items():
        inside = list(of)
        predicted, real = int(counts[:, inside].sum()), int(counts[inside].sum())
        shared = int(counts[np.ix_(inside, inside)].sum())
        if predicted < smallest.get(name, 0):
            predicted = shared = 0
        scores[name] = (2 * shared + _EPSILON) / (predicted + real + _EPSILON)
    return scores


def region_hd95(
    prediction: Voxels,
    labels: Voxels,
    regions: Regions,
    spacing: Sequence[float],
    *,
    one_empty: str = "diagonal",
    smallest: Mapping[str, int] = NO_SMALLEST,
    symmetric: str = "pooled",
) -> dict[str, float]:
    """95th percentile of the Hausdorff distance between the surfaces of each region, in mm.

    A region's surface are its voxels with a neighbour across a face that is outside it, or outside the scan.
    Distances are between centres of voxels, from every surface voxel of either map to the nearest one of the other.

    Args:
        prediction, labels, regions, smallest: as for `region_dice`.
        spacing: edges of a voxel, in mm.
        one_empty: what a region that is in one map alone gets: ``diagonal``, that of the scan in mm, edges n_i times
            spacing_i (373.13 for 240 x 240 x 155 at 1 mm, the penalty of the BraTS challenge); ``released``, 1 mm.
        symmetric: ``pooled``, the percentile of the distances of both directions together (medpy, and so the
            published numbers); ``directed``, the larger of the two directions' percentiles (MONAI).

    Returns:
        Region -> mm; 0 where it is in neither map.

    Raises:
        ValueError: as `region_dice`, an unknown `one_empty` or `symmetric`, or a spacing that is not three positive
            numbers.
        MissingExtra: MONAI is not installed.

    Surfaces and distances are computed by MONAI on the box around both regions. That is exact: a voxel outside the
    box is in neither region, so it is no surface voxel, and the box's border is taken for the border of the region.
    """
    if one_empty not in ("diagonal", "released"):
        raise ValueError(f"one_empty must be diagonal or released, got {one_empty!r}")
    if symmetric not in ("pooled", "directed"):
        raise ValueError(f"symmetric must be pooled or directed, got {symmetric!r}")
    if len(spacing) != 3 or not all(0 < edge < math.inf for edge in spacing):
        raise ValueError(f"spacing must be three positive numbers of mm, got {tuple(spacing)}")
    guess, truth = torch.as_tensor(prediction).cpu(), torch.as_tensor(labels).cpu()
    _check(guess, truth, regions, smallest)
    penalty = RELEASED_ONE_EMPTY
    if one_empty == "diagonal":
        penalty = math.hypot(*(n * edge for n, edge in zip(guess.shape, spacing, strict=True)))
    scores = {}
    for name, of in regions.items():
        first, second = (np.isin(x.numpy(), of) for x in (guess, truth))
        found, real = int(first.sum()), bool(second.any())
        predicted = found > 0 and found >= smallest.get(name, 0)
        if predicted and real:
            scores[name] = _percentile(*_box(first, second), spacing, symmetric)
        else:
            scores[name] = penalty if predicted or real else 0.0
    return scores


def _percentile(first: np.ndarray, second: np.ndarray, spacing: Sequence[float], symmetric: str) -> float:
    """Of two regions (h, w, z), neither of them empty."""
    monai = _monai_metrics()
    one, other = monai.get_mask_edges(first, second)
    there = _distances(monai, one, other, spacing)
    back = _distances(monai, other, one, spacing)
    if symmetric == "pooled":
        return float(np.percentile(np.concatenate([there, back]), 95))
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def _distances(monai: ModuleType, one: Any, other: Any, spacing: Sequence[float]) -> np.ndarray:
    found = monai.get_surface_distance(one, other, distance_metric="euclidean", spacing=tuple(spacing))
    return np.asarray(found, dtype=np.float64)


def _box(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both cut to the box around everything that is in either."""
    either = first | second
    cut = []
    for axis in range(either.ndim):
        there = np.flatnonzero(either.any(axis=tuple(a for a in range(either.ndim) if a != axis)))
        cut.append(slice(int(there[0]), int(there[-1]) + 1))
    return first[tuple(cut)], second[tuple(cut)]


def _check(guess: Tensor, truth: Tensor, regions: Regions, smallest: Mapping[str, int]) -> None:
    for name, values in (("prediction", guess), ("labels", truth)):
        if values.ndim != 3 or values.is_floating_point() or values.is_complex():
            raise ValueError(f"{name} must be integers (H, W, Z), got {tuple(values.shape)} {values.dtype}")
    if guess.shape != truth.shape:
        raise ValueError(f"prediction is {tuple(guess.shape)}, labels are {tuple(truth.shape)}")
    if not regions or any(not of or min(of) < 0 for of in regions.values()):
        raise ValueError(f"every region must name one label or more, none negative, got {dict(regions)}")
    unknown = sorted(set(smallest) - set(regions))
    if unknown:
        raise ValueError(f"smallest: no region {', '.join(unknown)}; there are {', '.join(regions)}")


def _monai_metrics() -> ModuleType:
    try:
        import monai.metrics
    except ImportError as error:
        raise MissingExtra(f'HD95 needs MONAI: pip install "mmablate[medical]" ({error})') from error
    metrics: ModuleType = monai.metrics
    return metrics
