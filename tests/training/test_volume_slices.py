"""Slices that are kept of predictions of 3D scans, against the model's own maps."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from volume_samples import CPU, EDGE, NAMES, MemoryVolumes, volume_data

from mmablate.data.base import ClassificationData
from mmablate.execution.samples import choose_samples
from mmablate.models.volumes import incomplete_segmentor
from mmablate.training.flops import volume_flops
from mmablate.training.volume_scores import Windows, subject_maps
from mmablate.training.volume_slices import NONE, shown_subsets, slice_predictions

SUBSETS = {"t1": ("t1",), "flair+t1": ("flair", "t1")}


def net() -> Any:
    torch.manual_seed(0)
    return incomplete_segmentor(n_classes=4, modalities=NAMES, widths=[2, 4], stem_stride=1).eval()


def test_kept_slices_are_those_of_the_whole_maps() -> None:
    data, model = volume_data(), net()
    split: Any = MemoryVolumes(3, 2, [[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 0, 1]])
    split.labels[0, :, :, 3] = 1  # no other slice is as full
    common: dict[str, Any] = {"device": CPU, "precision": nullcontext}
    windows = Windows((8, 8, 8), 4)
    found = slice_predictions(model, split, data, [0, 1, 2], SUBSETS, windows, **common)
    assert {name: maps.shape for name, maps in found.items()} == dict.fromkeys(SUBSETS, (3, EDGE, EDGE))
    scan = dict(zip(NAMES, split.read(0)[0], strict=True))
    for name, whole in subject_maps(model, scan, SUBSETS, windows, **common):
        np.testing.assert_array_equal(found[name][0], whole[:, :, 3].numpy().T)
    assert (found["flair+t1"][1:] == NONE).all()
    assert (found["t1"][1] >= 0).all()
    assert (found["t1"][2] == NONE).all()


def test_slices_fit_the_labels_of_the_samples() -> None:
    data = volume_data()
    samples = choose_samples(data, 2)
    assert samples is not None
    assert samples.scans
    assert samples.labels.shape == (2, EDGE, EDGE)
    assert samples.ids == tuple(f"subject {index}" for index in samples.indices)
    split: Any = data.splits["test"]
    for row, index in enumerate(samples.indices):
        labels = split.labels[index]
        place = int((labels > 0).sum(axis=(0, 1)).argmax())
        np.testing.assert_array_equal(samples.labels[row], labels[:, :, place].T)
        assert samples.conditions[row] == {"slice": f"slice {place + 1} of {EDGE}"}
    assert choose_samples(data, 0) is None
    whole = ClassificationData("made", {"a": (1,)}, ("x",), {}, synthetic=True, attribution=None, content=())
    assert choose_samples(whole, 4) is None


def test_subjects_of_unlike_size_are_shown_at_one_size_and_without_a_sequence_black() -> None:
    data = volume_data()
    small: Any = MemoryVolumes(2, 5, [[1, 1, 1, 1], [0, 1, 1, 1]])
    read = small.read
    small.size = lambda index: (EDGE, EDGE - 2 * index, EDGE)
    small.read = lambda index: tuple(part[..., : EDGE - 2 * index, :] for part in read(index))
    data.splits["test"] = small
    samples = choose_samples(data, 2)
    assert samples is not None
    assert samples.labels.shape == (2, EDGE, EDGE)
    assert not samples.labels[1, [0, -1]].any()
    assert not samples.pictures["flair"][1].any()
    assert samples.pictures["t2"][1].any()


def test_the_subsets_shown_are_all_modalities_and_each_alone() -> None:
    every = {"a": ("a",), "b": ("b",), "ab": ("a", "b")}
    assert list(shown_subsets(every, 2)) == ["ab", "a", "b"]
    pairs = {f"p{i}": ("a", "b") for i in range(7)}
    assert list(shown_subsets(pairs, 3)) == ["p0", "p1", "p2", "p3", "p4"]


class Products(TorchFunctionMode):
    """Counts matrix products: two operations a multiply-add."""

    total = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is torch.matmul:
            self.total += 2 * found.numel() * args[0].shape[-1]
        return found


def test_flops_are_those_of_the_convolutions_and_products_of_one_window() -> None:
    model, total = net(), 0

    def count(layer: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * output.numel() * layer.in_channels // layer.groups * int(np.prod(layer.kernel_size))

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Conv3d)]
    zeros = {name: torch.zeros(1, 1, 8, 8, 6) for name in NAMES}
    every = torch.ones(1, 4, dtype=torch.bool)
    with torch.no_grad(), Products() as products:
        model.segment(model.encode(zeros, every), every, (8, 8, 6))
    for hook in hooks:
        hook.remove()
    assert volume_flops(model, (8, 8, 6), CPU) == total + products.total
    assert total > 10 * products.total > 0
    assert volume_flops(SimpleNamespace(modalities=NAMES), (8, 8, 6), CPU) is None  # type: ignore[arg-type]
