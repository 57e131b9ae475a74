"""Random streams, batches and modality masks: keyed, shared by the rows of a seed, nothing lost."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.data.augment import Augmentation
from mmablate.data.base import ArraySplit
from mmablate.data.batches import Batch, TrainingBatches, evaluation_batches
from mmablate.data.masks import draw_subset
from mmablate.data.streams import generator, stream_key

CPU = torch.device("cpu")


def numbered(n: int, height: int = 4, width: int = 5) -> ArraySplit:
    """A split in which every pixel says who and where it is, in two modalities and in the labels."""
    ids = np.arange(n * height * width).reshape(n, height, width)
    inputs = {"A": ids[:, None], "B": np.stack([ids, -ids], axis=1)}
    return ArraySplit({name: values.astype(np.float32) for name, values in inputs.items()}, ids)


def training(split: ArraySplit, **options: object) -> TrainingBatches:
    arguments: dict[str, object] = {"batch_size": 4, "seed": 0, "role": "student", "device": CPU}
    light = {key: options.pop(key) for key in ("flip", "vertical", "crop", "scale") if key in options}
    return TrainingBatches(split, **(arguments | options), augmentation=Augmentation(**light))  # type: ignore[arg-type]


def order(batches: TrainingBatches, epoch: int) -> list[int]:
    return [index for batch in batches.epoch(epoch) for index in batch.indices]


# --- streams ----------------------------------------------------------------------------------------------


def test_a_stream_hangs_on_its_key_alone() -> None:
    first = torch.rand(5, generator=generator(3, "student", "order", 7))
    generator(3, "student", "order", 6)
    torch.rand(1000)
    assert torch.equal(first, torch.rand(5, generator=generator(3, "student", "order", 7)))


def test_keys_are_the_same_on_every_machine() -> None:
    assert stream_key(0, "masks", 0) == 7468880839327251898


def test_every_part_of_the_key_matters_and_order_too() -> None:
    keys = [
        stream_key(seed, *purpose)
        for seed in range(20)
        for purpose in [("a", "b"), ("b", "a"), ("a", 1), ("a", 11), (1, "a"), ("ab",), ()]
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**63 for key in keys)


def test_streams_of_neighbouring_keys_are_not_alike() -> None:
    draws = torch.stack([torch.rand(2000, generator=generator(0, "x", step)) for step in range(6)])
    assert (torch.corrcoef(draws) - torch.eye(6)).abs().max() < 0.1


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    list(training(numbered(9), flip=True).epoch(0))
    draw_subset(["A", "B"], seed=0, step=0, mode="dynamic", distribution="subset")
    assert torch.equal(before, torch.random.get_rng_state())


# --- training batches ---------------------------------------------------------------------------------------


@given(n=st.integers(1, 23), batch_size=st.integers(1, 30), epoch=st.integers(0, 3), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_every_sample_comes_once_an_epoch_but_for_the_incomplete_batch(
    n: int, batch_size: int, epoch: int, seed: int
) -> None:
    batches = training(numbered(n, 1, 1), batch_size=batch_size, seed=seed)
    sizes = [len(batch.indices) for batch in batches.epoch(epoch)]
    seen = order(batches, epoch)
    assert sizes == [min(batch_size, n)] * batches.steps_per_epoch()
    assert len(set(seen)) == len(seen)
    assert 0 <= n - len(seen) < min(batch_size, n)
    assert set(seen) <= set(range(n))


def test_a_split_smaller_than_a_batch_is_one_batch() -> None:
    batches = training(numbered(3), batch_size=8)
    assert batches.steps_per_epoch() == 1
    assert sorted(order(batches, 0)) == [0, 1, 2]


def test_the_order_hangs_on_seed_role_and_epoch_only() -> None:
    split = numbered(24)
    plain = order(training(split), 2)
    other = training(split, flip=True, vertical=True, crop=(2, 2))
    list(other.epoch(0))
    assert order(other, 2) == plain
    for different in (order(training(split, seed=1), 2), order(training(split, role="teacher"), 2)):
        assert different != plain
    assert order(training(split), 3) != plain
    # Samples come in the same order whatever the batch size.
    assert order(training(split, batch_size=3), 2) == plain


def test_the_digest_is_that_of_the_order() -> None:
    split = numbered(12)
    digests = []
    for options in ({}, {"flip": True}, {"seed": 1}, {"batch_size": 3}):
        batches = training(split, **options)
        list(batches.epoch(0))
        digests.append(batches.digest.hexdigest())
    assert digests[0] == digests[1]
    assert len(set(digests[1:])) == 3


def windows(sample: np.ndarray) -> tuple[int, int, bool, bool]:
    """First row and column of a piece of a numbered sample, and how it is mirrored."""
    rows, columns = np.unique(sample // 5 % 4), np.unique(sample % 5)
    down, right = sample[-1, 0] - sample[0, 0], sample[0, -1] - sample[0, 0]
    return int(rows[0]), int(columns[0]), down < 0, right < 0


@given(
    seed=st.integers(0, 1000),
    flip=st.booleans(),
    vertical=st.booleans(),
    crop=st.one_of(st.none(), st.tuples(st.integers(1, 4), st.integers(1, 5))),
)
@settings(max_examples=60, deadline=None)
def test_inputs_and_labels_are_moved_alike(seed: int, flip: bool, vertical: bool, crop: tuple[int, int] | None) -> None:
    batches = training(numbered(8), seed=seed, flip=flip, vertical=vertical, crop=crop)
    for batch in batches.epoch(0):
        labels = batch.labels
        assert labels.shape == (4, *(crop or (4, 5)))
        assert torch.equal(batch.inputs["A"][:, 0].long(), labels)
        assert torch.equal(batch.inputs["B"][:, 0].long(), labels)
        assert torch.equal(batch.inputs["B"][:, 1].long(), -labels)
        assert labels.dtype == torch.int64
        assert batch.inputs["A"].dtype == torch.float32
        # Each piece is a rectangle of the sample that its index names, mirrored or not.
        assert (labels // 20 == torch.tensor(batch.indices)[:, None, None]).all()
        for sample in labels.numpy():
            row, column, down, right = windows(sample)
            height, width = sample.shape
            expected = np.arange(20).reshape(4, 5)[row : row + height, column : column + width]
            expected = expected[:: -1 if down else 1, :: -1 if right else 1]
            assert np.array_equal(sample % 20, expected)
            assert flip or not (down or right)
            assert vertical or not down


def test_flips_and_crops_take_every_value_about_equally_often() -> None:
    split = numbered(400)
    (batch,) = training(split, batch_size=400, flip=True, vertical=True, crop=(3, 2)).epoch(0)
    found = [windows(sample) for sample in batch.labels.numpy()]
    rows, columns = Counter(f[0] for f in found), Counter(f[1] for f in found)
    assert sorted(rows) == [0, 1]
    assert sorted(columns) == [0, 1, 2, 3]
    assert min(rows.values()) > 160
    assert min(columns.values()) > 60
    mirrored = Counter(f[2:] for f in found)
    assert len(mirrored) == 4
    assert min(mirrored.values()) > 60
    samples = batch.labels.numpy()
    assert len({tuple(sample.ravel() % 20) for sample in samples}) > 10, "each sample has a draw of its own"


def test_augmentation_differs_between_epochs_and_repeats_with_the_seed() -> None:
    def first_images(epoch: int) -> dict[int, torch.Tensor]:
        batches = training(numbered(8), flip=True, vertical=True)
        return {i: x for b in batches.epoch(epoch) for i, x in zip(b.indices, b.labels, strict=True)}

    once, again, later = first_images(0), first_images(0), first_images(1)
    assert all(torch.equal(once[i], again[i]) for i in once)
    assert any(not torch.equal(once[i], later[i]) for i in once)


@pytest.mark.parametrize("crop", [(5, 5), (4, 6)])
def test_a_crop_larger_than_the_images_is_refused(crop: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"larger than the images \(4, 5\)"):
        training(numbered(3), crop=crop)


# --- evaluation batches ---------------------------------------------------------------------------------------


@given(n=st.integers(1, 20), batch_size=st.integers(1, 25))
@settings(max_examples=40, deadline=None)
def test_evaluation_leaves_nothing_out_and_changes_nothing(n: int, batch_size: int) -> None:
    split = numbered(n)
    batches: list[Batch] = list(evaluation_batches(split, batch_size, CPU))
    assert [i for batch in batches for i in batch.indices] == list(range(n))
    assert all(len(a.indices) == batch_size for a, _ in pairwise(batches))
    inputs, labels = split.batch(range(n))
    assert torch.equal(torch.cat([b.labels for b in batches]), torch.from_numpy(labels))
    for name, values in inputs.items():
        assert torch.equal(torch.cat([b.inputs[name] for b in batches]), torch.from_numpy(values))


# --- modality masks ---------------------------------------------------------------------------------------


@given(
    count=st.integers(1, 8),
    seed=st.integers(0, 50),
    step=st.integers(0, 10**6),
    mode=st.sampled_from(["dynamic", "none"]),
    distribution=st.sampled_from(["cardinality", "subset"]),
)
@settings(max_examples=100, deadline=None)
def test_masks_are_never_empty_and_keep_the_order(
    count: int, seed: int, step: int, mode: str, distribution: str
) -> None:
    names = ["FELDXYZQ"[i] for i in range(count)]
    subset = draw_subset(names, seed=seed, step=step, mode=mode, distribution=distribution)
    assert subset
    assert list(subset) == [name for name in names if name in subset]
    assert len(set(subset)) == len(subset)
    if mode == "none":
        assert list(subset) == names
    assert subset == draw_subset(names, seed=seed, step=step, mode=mode, distribution=distribution)


@pytest.mark.parametrize(
    ("distribution", "by_size"),
    [("cardinality", {1: 1 / 3, 2: 1 / 3, 3: 1 / 3}), ("subset", {1: 3 / 7, 2: 3 / 7, 3: 1 / 7})],
)
def test_frequencies_of_masks(distribution: str, by_size: dict[int, float]) -> None:
    n = 3000
    drawn = Counter(
        draw_subset("ABC", seed=1, step=step, mode="dynamic", distribution=distribution) for step in range(n)
    )
    assert len(drawn) == 7
    of_size = {1: 3, 2: 3, 3: 1}
    for subset, times in drawn.items():
        expected = by_size[len(subset)] / of_size[len(subset)]
        assert times / n == pytest.approx(expected, abs=4 * (expected * (1 - expected) / n) ** 0.5)
    if distribution == "cardinality":
        share = sum(times for subset, times in drawn.items() if "B" in subset) / n
        assert share == pytest.approx((3 + 1) / (2 * 3), abs=0.04)


def test_masks_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'always'"):
        draw_subset("AB", seed=0, step=0, mode="always", distribution="subset")
    with pytest.raises(ValueError, match="'uniform'"):
        draw_subset("AB", seed=0, step=0, mode="dynamic", distribution="uniform")
