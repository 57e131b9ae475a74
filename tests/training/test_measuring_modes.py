"""Timing a few steps both ways, and data that stay on the device."""

from typing import Any

import torch
from stacking_samples import CPU, Rig

from mmablate.data.base import ArraySplit
from mmablate.data.loading import BatchReader, ResidentSplit
from mmablate.training.measuring import ModeTimes, measure_modes


def test_both_ways_are_timed_and_the_faster_is_named(landsat: Any) -> None:
    rig: Rig = landsat()
    times = measure_modes(list(rig.specs.values()), rig.data, CPU, steps=2, warm_up=1)
    assert times.in_turn > 0
    assert times.stacked is not None
    assert times.stacked > 0
    assert times.ratio == times.in_turn / times.stacked
    assert times.mode == ("stacked" if times.stacked < times.in_turn else "in_turn")
    assert (ModeTimes(2.0, 1.0).mode, ModeTimes(1.0, 2.0).mode, ModeTimes(1.0, None).mode) == (
        "stacked", "in_turn", "in_turn")  # fmt: skip


def test_runs_that_cannot_be_stacked_go_in_turn_with_the_reason(landsat: Any) -> None:
    rig: Rig = landsat("rows=[[sup], {name: wide, losses: [sup], overrides: {model.decoder_width: 8}}]",
                       "train.accumulate=2")  # fmt: skip
    times = measure_modes(list(rig.specs.values()), rig.data, CPU, steps=1, warm_up=1)
    assert (times.mode, times.stacked, times.ratio) == ("in_turn", None, None)
    assert times.reason == "no two runs of these can be stacked"


def test_a_split_kept_on_a_device_gives_the_same_batches(landsat: Any) -> None:
    rig: Rig = landsat()
    split = rig.data.splits["train"]
    assert isinstance(split, ArraySplit)
    resident = ResidentSplit(split, CPU)
    wanted = [[3, 1, 4], [1], [5, 9, 2, 6]]
    for indices, (inputs, labels) in zip(wanted, BatchReader(split).read(wanted), strict=True):
        found, own = resident.batch(indices)
        assert found.keys() == inputs.keys()
        assert all(torch.equal(found[name], values) and found[name].dtype == values.dtype
                   for name, values in inputs.items())  # fmt: skip
        assert torch.equal(own, labels)
        own += 1
        assert not torch.equal(resident.batch(indices)[1], own), "the batch is the caller's"
    whole = sum(x.nbytes for x in split.batch(range(len(split)))[0].values()) + 8 * resident.labels.numel()
    assert split.nbytes == whole
