"""Scores by condition are those of the condition's samples alone; kept predictions are the model's."""

from __future__ import annotations

import numpy as np
import torch

from mmablate.data.base import ArraySplit, SampleInfo, SegmentationData
from mmablate.training.building import initial_model
from mmablate.training.device import autocast
from mmablate.training.evaluation import Evaluated, predictions, score

CPU = torch.device("cpu")
SETTINGS = {"subsets": "all", "classes": "present", "batch_size": 4}
MODEL = {"name": "anymodal_segmentor", "widths": [4, 8], "strides": [2, 2], "decoder_width": 4}
TIMES, WEATHERS = ("day", "night"), ("clear", "fog", "snow")


def made(chosen: list[int] | None = None) -> SegmentationData:
    """Ten samples of random pixels; sample i is of TIMES[i % 2] and WEATHERS[i % 3]."""
    stream = np.random.default_rng(0)
    inputs = {name: stream.normal(size=(10, 2, 8, 12)).astype(np.float32) for name in ("A", "B")}
    labels = stream.integers(0, 4, size=(10, 8, 12))
    labels[labels == 3] = 255
    infos = [SampleInfo(str(i), {"time": TIMES[i % 2], "weather": WEATHERS[i % 3]}) for i in range(10)]
    at = list(range(10)) if chosen is None else chosen
    split = ArraySplit({n: x[at] for n, x in inputs.items()}, labels[at], [infos[i] for i in at])
    return SegmentationData(
        name="made", modalities={"A": 2, "B": 2}, class_names=("a", "b", "c"), ignore_label=255,
        splits={"train": split, "val": split, "test": split}, synthetic=True, attribution=None, content=(),
    )  # fmt: skip


def scored(data: SegmentationData, **options: object) -> Evaluated:
    net = initial_model(MODEL, data, seed=0, role="student").eval()
    (found,) = score([net], data.splits["test"], data, SETTINGS, device=CPU,
                     precision=lambda: autocast(CPU, "float32"), **options)  # fmt: skip
    assert found is not None
    return found


def test_a_condition_is_scored_as_if_its_samples_were_all() -> None:
    found = scored(made(), by_condition=True)
    assert found.scores == scored(made()).scores
    assert set(found.conditions) == {*TIMES, *WEATHERS}
    for position, names in ((2, TIMES), (3, WEATHERS)):
        for k, name in enumerate(names):
            alone = scored(made([i for i in range(10) if i % position == k]))
            assert found.conditions[name] == alone.scores
    assert found.conditions["day"] != found.conditions["night"]


def test_kept_predictions_are_those_of_the_model() -> None:
    data = made()
    net = initial_model(MODEL, data, seed=0, role="student").eval()
    maps = predictions(net, data.splits["test"], [7, 2], data, device=CPU, precision=lambda: autocast(CPU, "float32"))
    assert list(maps) == ["A", "B", "AB"]
    arrays, _ = data.splits["test"].batch([7, 2])
    for name, some in maps.items():
        with torch.no_grad():
            logits, _ = net({m: torch.from_numpy(arrays[m]) for m in name})
        np.testing.assert_array_equal(some, logits.argmax(1).numpy())
        assert some.dtype == np.uint8
