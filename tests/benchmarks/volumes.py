"""What a step on incomplete 3D scans costs by its kind, and what is saved where modalities are missing.

    python tests/benchmarks/volumes.py

The mini of brats_components, one thread on a CPU (a GPU where there is one). Ratios are of one process: steps with a
second batch and bi-level ones against a single-level step; encoders run on the modalities that a subject has against
encoders run on all of them, zeros in place of what is missing; the 15 subsets of a scan from features that are encoded
once against a whole forward pass a subset. Writes results/benchmarks/volumes.json.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from _report import write
from torch import Tensor

from mmablate.data.base import VolumeData
from mmablate.data.volume_augment import VolumeAugmentation
from mmablate.data.volume_batches import MetaBatches, VolumeBatch, VolumeBatches
from mmablate.recipe import subset_names
from mmablate.study import open_study
from mmablate.study.plan import RunSpec
from mmablate.training.bilevel import VolumeTrainee
from mmablate.training.building import open_data
from mmablate.training.trainee import Piece
from mmablate.training.volume_scores import Windows, subject_maps

STEPS, ROUNDS = 10, 4
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
KINDS = {
    "single": {"name": "incomplete"},
    "matched": {"name": "incomplete", "second": "step"},
    "union": {"name": "incomplete", "second": "union"},
    "meta": {"name": "metadrop"},
    "meta, second order": {"name": "metadrop", "order": "second"},
    "meta, beta by its gradient": {"name": "metadrop", "balance": "meta"},
}


def opened(method: dict[str, Any]) -> tuple[RunSpec, VolumeData]:
    """A run with that update rule, and its data."""
    options = [f"method.{key}={value}" for key, value in method.items() if key != "name"]
    overrides = [f"method={{name: {method['name']}}}", *options]
    if "second" in method.values():
        overrides += ["train.optimizer=sgd", "train.momentum=0"]
    study: Any = open_study("brats_components", seeds=[0], overrides=overrides, tell=print)
    spec = next(run for run in study.runs if "fuse+uni+prm+pixel+proto" in run.rows)
    data: Any = open_data(spec.settings["data"], study.recipe.data.root)
    return spec, data


def batches(spec: RunSpec, data: VolumeData) -> list[tuple[VolumeBatch, VolumeBatch]]:
    """Training and meta batches of the first steps."""
    patches = spec.settings["train"]["patches"]
    augmentation = VolumeAugmentation(patch=tuple(patches["size"]), rotate=patches["rotate"], flip=patches["flip"])
    split: Any = data.splits["train"]
    common: dict[str, Any] = {
        "seed": 0, "role": "student", "device": DEVICE, "augmentation": augmentation,
        "modalities": tuple(data.modalities), "batch_size": spec.settings["train"]["batch_size"],
    }  # fmt: skip
    train, meta = VolumeBatches(split, **common), MetaBatches(split, **common)
    found = []
    for step in range(STEPS):
        second = meta.batch(step, train.subjects(step))
        assert second is not None
        found.append((train.step_batch(step), second))
    return found


def seconds(work: Callable[[], object]) -> float:
    """The best of a few rounds: noise only ever slows down."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best


def step_times() -> dict[str, float]:
    """Milliseconds a step of each kind, on the same batches."""
    found = {}
    for name, method in KINDS.items():
        spec, data = opened(method)
        both = batches(spec, data)
        trainee = VolumeTrainee(spec, data, DEVICE, 10_000)

        def work(trainee: VolumeTrainee = trainee, both: Any = both) -> None:
            for batch, second in both:
                trainee.take([Piece(batch, (), None)], lambda _, own=second: (own,))

        work()
        found[name] = 1000 * seconds(work) / STEPS
        assert trainee.error is None
    return found


def encoding() -> dict[str, float]:
    """Milliseconds of the encoders, forward and backward, on what is there and on everything."""
    spec, data = opened(KINDS["single"])
    trainee = VolumeTrainee(spec, data, DEVICE, 10_000)
    both = batches(spec, data)

    def run(everything: bool) -> None:
        for batch, _ in both:
            assert batch.available is not None
            present: Tensor = torch.ones_like(batch.available) if everything else batch.available
            torch.autograd.backward([x.sum() for x in trainee.model.encode(batch.inputs, present)])

    run(True)
    return {
        "all": 1000 * seconds(lambda: run(True)) / STEPS,
        "present": 1000 * seconds(lambda: run(False)) / STEPS,
        "share present": float(torch.cat([b.available for b, _ in both if b.available is not None]).float().mean()),
    }


def evaluation() -> dict[str, float]:
    """Milliseconds of the 15 class maps of a scan: from cached features, and one forward pass a subset."""
    spec, data = opened(KINDS["single"])
    trainee = VolumeTrainee(spec, data, DEVICE, 10_000)
    subsets = subset_names(list(data.modalities))
    scan: Any = data.splits["test"]
    voxels, _ = scan.read(0)
    inputs = dict(zip(data.modalities, voxels, strict=True))
    windows = Windows((32, 32, 32), 16, 4)

    def maps(some: dict[str, tuple[str, ...]]) -> None:
        for _ in subject_maps(trainee.model, inputs, some, windows, device=DEVICE, precision=nullcontext):
            pass

    cached = seconds(lambda: maps(subsets))
    alone = seconds(lambda: [maps({name: some}) for name, some in subsets.items()])
    return {"cached": 1000 * cached, "a pass a subset": 1000 * alone}


def main() -> None:
    torch.set_num_threads(1)
    steps, encoded, scored = step_times(), encoding(), evaluation()
    write("volumes", {
        "what": "milliseconds on the mini of brats_components, the best of rounds, one thread",
        "step": steps,
        "step, times a single-level one": {name: own / steps["single"] for name, own in steps.items()},
        "encoders": {**encoded, "ratio": encoded["all"] / encoded["present"]},
        "15 subsets of a scan": {**scored, "ratio": scored["a pass a subset"] / scored["cached"]},
    })  # fmt: skip


if __name__ == "__main__":
    main()
