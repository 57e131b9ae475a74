"""Accuracy by plain counting, by condition, and with a model that raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from mmablate.data.base import LabelledSplit, SampleInfo
from mmablate.data.batches import Batch
from mmablate.training.accuracy import score_accuracy

CPU = torch.device("cpu")
N, K = 37, 4
RANDOM = np.random.default_rng(3)
LABELS = RANDOM.integers(0, K, N)
GUESSES = {name: RANDOM.integers(0, K, N) for name in ("a", "b")}
WEATHER = [("rain", "sun")[i % 2] for i in range(N)]
TIME = [("day", "night", "dusk")[i % 3] for i in range(N)]


def split(described: bool = True) -> LabelledSplit:
    infos = [SampleInfo(str(i), {"weather": WEATHER[i], "time": TIME[i]}) for i in range(N)] if described else None
    return LabelledSplit({"x": np.arange(N, dtype=np.float32)[:, None]}, LABELS, infos)


def predict(batch: Batch) -> dict[str, Tensor]:
    """Two columns, each with logits whose largest is the guess."""
    where = batch.inputs["x"][:, 0].long()
    return {name: 3 * torch.eye(K)[torch.from_numpy(own)[where]] - 1 for name, own in GUESSES.items()}


def raising(batch: Batch) -> dict[str, Tensor]:
    if batch.indices[0] > 0:
        raise RuntimeError("in the second batch")
    return predict(batch)


def counted(column: str, members: list[int]) -> float:
    right = sum(int(GUESSES[column][i]) == int(LABELS[i]) for i in members)
    return 100 * right / len(members)


@pytest.mark.parametrize("size", [1, 5, 37, 1000])
def test_it_is_the_share_of_right_ones(size: int) -> None:
    (found,) = score_accuracy([predict], split(), size, device=CPU, precision=nullcontext, by_condition=True)
    assert found is not None
    assert found.scores == pytest.approx({name: counted(name, list(range(N))) for name in GUESSES})
    expected = {
        value: {name: counted(name, [i for i in range(N) if values[i] == value]) for name in GUESSES}
        for values in (WEATHER, TIME)
        for value in set(values)
    }
    assert found.conditions.keys() == expected.keys()
    for value, scores in expected.items():
        assert found.conditions[value] == pytest.approx(scores)
    assert len({scores["a"] for scores in expected.values()}) > 2


def test_conditions_are_told_only_where_asked_for_and_known() -> None:
    for own, asked in ((split(), False), (split(described=False), True)):
        (found,) = score_accuracy([predict], own, 8, device=CPU, precision=nullcontext, by_condition=asked)
        assert found is not None
        assert found.conditions == {}
        assert found.scores["a"] == pytest.approx(counted("a", list(range(N))))


def test_a_model_that_raises_drops_out_and_the_others_go_on() -> None:
    fallen: list[int] = []

    @contextmanager
    def guard(index: int) -> Iterator[None]:
        try:
            yield
        except RuntimeError:
            fallen.append(index)

    first, second, third = score_accuracy(
        [predict, raising, predict], split(), 8, device=CPU, precision=nullcontext, guard=guard
    )
    assert second is None
    assert fallen == [1], "it is not asked again"
    assert first is not None
    assert first == third
    assert first.scores == pytest.approx({name: counted(name, list(range(N))) for name in GUESSES})
