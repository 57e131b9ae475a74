"""Batches read ahead by processes are those read when asked."""

from __future__ import annotations

import numpy as np
import torch

from mmablate.data.base import ArraySplit, Batch
from mmablate.data.batches import TrainingBatches, evaluation_batches
from mmablate.data.loading import BatchReader

CPU = torch.device("cpu")


class Computed:
    """A split whose samples are made when asked for, as a file's would be read."""

    shape = (2, 3)

    def __len__(self) -> int:
        return 11

    def batch(self, indices: list[int]) -> Batch:
        values = np.stack([np.full((1, 2, 3), index, dtype=np.float32) for index in indices])
        return {"A": values}, np.stack([np.full((2, 3), index) for index in indices])


def test_workers_change_nothing() -> None:
    here, there = BatchReader(Computed()), BatchReader(Computed(), workers=2)
    state = torch.random.get_rng_state()
    for epoch in range(2):  # the same processes serve every epoch
        plain, ahead = (
            list(TrainingBatches(reader, batch_size=4, seed=0, role="student", device=CPU).epoch(epoch))
            for reader in (here, there)
        )
        assert [batch.indices for batch in ahead] == [batch.indices for batch in plain]
        for ours, theirs in zip(ahead, plain, strict=True):
            assert torch.equal(ours.inputs["A"], theirs.inputs["A"])
            assert torch.equal(ours.labels, theirs.labels)
    assert torch.equal(state, torch.random.get_rng_state()), "reading must not draw from the global generator"
    whole = [index for batch in evaluation_batches(there, 4, CPU) for index in batch.indices]
    assert whole == list(range(11))


def test_a_split_in_memory_needs_no_processes() -> None:
    split = ArraySplit({"A": np.zeros((3, 1, 2, 2), dtype=np.float32)}, np.zeros((3, 2, 2), dtype=np.int64))
    assert BatchReader(split, workers=4).workers == 0
