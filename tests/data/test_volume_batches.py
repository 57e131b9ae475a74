"""Training and meta batches of 3D patches, and masks a sample: keyed by the step, shared by the rows of a seed."""

from collections import Counter
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_samples import MODALITIES, Scans, encoded, scans

from mmablate.data.base import VolumeSplit
from mmablate.data.batches import Share
from mmablate.data.masks import hide
from mmablate.data.streams import generator
from mmablate.data.volume_augment import VolumeAugmentation
from mmablate.data.volume_batches import MetaBatches, VolumeBatch, VolumeBatches
from mmablate.errors import DataError

CPU = torch.device("cpu")
CHANGED = VolumeAugmentation(patch=(5, 4, 5), rotate=10, intensity=0.1, intensity_per="slice", flip=True)
UNCHANGED = VolumeAugmentation(intensity=0.0)


def some(count: int) -> Scans:
    """So many subjects: all have the first modality, every third has all."""
    there = np.random.default_rng(0).random((count, 4)) < 0.6
    return scans(count, presence=there | (np.arange(4) == 0) | (np.arange(count)[:, None] % 3 == 0))


def training(split: VolumeSplit, **options: Any) -> VolumeBatches:
    arguments = {"batch_size": 3, "seed": 0, "role": "student", "device": CPU, "augmentation": CHANGED}
    return VolumeBatches(split, **{**arguments, "modalities": MODALITIES, **options})


def meta(split: VolumeSplit, **options: Any) -> MetaBatches:
    arguments = {"batch_size": 3, "seed": 0, "role": "student", "device": CPU, "augmentation": CHANGED}
    return MetaBatches(split, **{**arguments, "modalities": MODALITIES, **options})


def same(a: VolumeBatch, b: VolumeBatch) -> bool:
    assert a.available is not None
    assert b.available is not None
    assert a.draws is not None
    assert b.draws is not None
    return (
        a.indices == b.indices
        and a.cuts == b.cuts
        and list(a.inputs) == list(b.inputs)
        and all(torch.equal(a.inputs[name], b.inputs[name]) for name in a.inputs)
        and torch.equal(a.labels, b.labels)
        and torch.equal(a.available, b.available)
        and torch.equal(a.draws, b.draws)
    )


# --- training batches -----------------------------------------------------------------------------------------


def test_a_batch_is_what_it_says() -> None:
    split = some(4)
    assert isinstance(split, VolumeSplit)
    batch = training(split).step_batch(0)
    assert len(batch) == 3
    assert list(batch.inputs) == list(MODALITIES)
    assert all(x.shape == (3, 1, 5, 4, 5) and x.dtype == torch.float32 for x in batch.inputs.values())
    assert all(x.is_contiguous() for x in batch.inputs.values())
    assert (batch.labels.shape, batch.labels.dtype) == ((3, 5, 4, 5), torch.int64)
    assert batch.available is not None
    assert batch.available.tolist() == split.presence[list(batch.indices)].tolist()
    assert batch.draws is not None
    assert torch.equal(batch.draws, torch.rand(3, 2, generator=generator(0, "masks", 0), dtype=torch.float64))


def test_without_changes_batches_are_the_subjects() -> None:
    split = some(5)
    for batch in training(split, augmentation=UNCHANGED).epoch(0):
        for place, index in enumerate(batch.indices):
            assert np.array_equal(batch.labels[place], split.labels[index])
            for m, name in enumerate(MODALITIES):
                assert np.array_equal(batch.inputs[name][place, 0], split.scans[index][m])


@given(count=st.integers(1, 9), batch_size=st.integers(1, 11), epoch=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_every_subject_comes_once_a_pass_but_for_the_incomplete_batch(count: int, batch_size: int, epoch: int) -> None:
    batches = training(some(count), batch_size=batch_size)
    seen = [index for batch in batches.epoch(epoch) for index in batch.indices]
    size = min(batch_size, count)
    assert batches.steps_per_epoch() == count // size
    assert len(set(seen)) == len(seen) == count // size * size


def test_the_order_is_that_of_other_batches() -> None:
    batches = training(some(7), batch_size=2)
    order = torch.randperm(7, generator=generator(0, "student", "order", 1)).tolist()
    assert [list(batch.indices) for batch in batches.epoch(1)] == [order[0:2], order[2:4], order[4:6]]


def test_an_epoch_of_so_many_steps_takes_as_many_passes_as_it_needs() -> None:
    batches = training(some(7), batch_size=3, steps=5)
    assert [len(list(batches.epoch(e))) for e in (0, 1)] == [5, 5]
    orders = [torch.randperm(7, generator=generator(0, "student", "order", n)).tolist() for n in range(6)]
    wanted = [order[s : s + 3] for order in orders[3:] for s in (0, 3)]
    assert [batches.subjects(step) for step in range(5, 10)] == wanted[:5]


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_step_has_the_same_bits_whatever_came_before(data: st.DataObject) -> None:
    split = some(7)
    batches = training(split, batch_size=2)
    in_turn = [batch for epoch in (0, 1) for batch in batches.epoch(epoch)]
    order = data.draw(st.permutations(range(6)))
    other = training(split, batch_size=2)
    assert all(same(other.step_batch(step), in_turn[step]) for step in order)
    start = data.draw(st.integers(0, 3))
    passed: list[int] = []
    resumed = training(split, batch_size=2)
    list(resumed.epoch(0, start=3))
    rest = list(resumed.epoch(1, start=start, passed=passed.append))
    assert passed == list(range(3, 3 + start))
    assert all(same(a, b) for a, b in zip(rest, in_turn[3 + start :], strict=True))
    assert resumed.digest.hexdigest() == batches.digest.hexdigest()


def test_seed_role_and_step_each_change_the_draws_but_masks_know_no_role() -> None:
    split = scans(3)
    first = training(split).step_batch(0)
    for options, step in (({"seed": 1}, 0), ({"role": "teacher"}, 0), ({}, 1)):
        other = training(split, **options).step_batch(step)
        assert not torch.equal(first.labels, other.labels)
        assert torch.equal(first.draws, other.draws) == ("role" in options)  # type: ignore[arg-type]


def test_the_global_generator_is_left_alone() -> None:
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002
    list(training(some(4)).epoch(0))
    meta(some(4)).batch(0, [0])
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert np.array_equal(numpy_state[1], np.random.get_state()[1])  # noqa: NPY002


def test_processes_share_a_batch_and_parts_make_it_up() -> None:
    split = some(8)
    whole = training(split, batch_size=8, parts=4).step_batch(0)
    assert whole.cuts == (2, 4, 6, 8)
    shares = [training(split, batch_size=8, parts=4, share=Share(rank, 2)) for rank in (0, 1)]
    halves = [batches.step_batch(0) for batches in shares]
    assert halves[0].cuts == (2, 4)
    pieces = [part for half in halves for part in half.parts()]
    assert [len(piece) for piece in pieces] == [2, 2, 2, 2]
    assert all(same(a, b) for a, b in zip(pieces, whole.parts(), strict=True))
    assert sum((piece.indices for piece in pieces), ()) == whole.indices
    assert torch.equal(torch.cat([piece.labels for piece in pieces]), whole.labels)
    assert torch.equal(torch.cat([piece.draws for piece in pieces]), whole.draws)  # type: ignore[misc, arg-type]
    assert shares[1].subjects(0) == list(whole.indices)
    assert len({index for index, _, size in split.boxes if size != (1, 1, 1)}) == 8


def test_batches_that_cannot_be_made_are_refused_at_once() -> None:
    with pytest.raises(DataError, match=r"3 of 3 subjects are smaller than the patch of 8 x 6 x 5 .*subject_002"):
        training(scans(3), augmentation=VolumeAugmentation(patch=(8, 6, 5)))
    with pytest.raises(DataError, match="smaller than the patch"):
        meta(scans(3), augmentation=VolumeAugmentation(patch=(8, 6, 5)))
    mixed = [encoded((7, 6, 5 + i), 0) for i in range(2)]
    split = Scans([scan for scan, _ in mixed], [labels for _, labels in mixed])
    with pytest.raises(DataError, match="subjects of one size"):
        training(split, augmentation=UNCHANGED)
    assert len(list(training(split, augmentation=UNCHANGED, batch_size=1).epoch(0))) == 2
    with pytest.raises(ValueError, match=r"one a channel, got \['flair', 't1'\] for 4 channels"):
        training(scans(3), modalities=("flair", "t1"))
    with pytest.raises(ValueError, match="batches of 0 of 3 subjects"):
        training(scans(3), batch_size=0)


class Broken(Scans):
    """A split one of whose files is found damaged when it is read."""

    damaged = -1

    def read(
        self, index: int, corner: tuple[int, int, int] = (0, 0, 0), size: tuple[int, int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        if index == self.damaged:
            raise DataError(f"subject_{index:03}_vol.npy: truncated")
        return super().read(index, corner, size)


def test_workers_change_nothing_and_tell_faults() -> None:
    split = Broken(some(7).scans, some(7).labels, some(7).presence)
    split.damaged = training(split, batch_size=2).subjects(2)[0]
    found: list[list[VolumeBatch]] = []
    for workers in (0, 1):
        batches = training(split, batch_size=2, workers=workers).epoch(0)
        found.append([next(batches), next(batches)])
        with pytest.raises(DataError, match=rf"^subject_00{split.damaged}_vol\.npy: truncated$"):
            next(batches)
    assert all(same(a, b) for a, b in zip(*found, strict=True))


# --- meta batches ---------------------------------------------------------------------------------------------


@given(
    count=st.integers(1, 8),
    step=st.integers(0, 10**6),
    exclude=st.sets(st.integers(0, 7)),
    eligible=st.sampled_from(["all", "complete"]),
)
@settings(max_examples=60, deadline=None)
def test_a_meta_batch_is_of_other_subjects(count: int, step: int, exclude: set[int], eligible: Any) -> None:
    split = some(count)
    batch = meta(split).batch(step, sorted(exclude), eligible)
    allowed = {i for i in range(count) if i not in exclude and (eligible == "all" or split.presence[i].all())}
    if not allowed:
        assert batch is None
        return
    assert batch is not None
    assert len(set(batch.indices)) == len(batch) == min(3, count, len(allowed))
    assert set(batch.indices) <= allowed
    assert batch.available is not None
    assert batch.available.tolist() == split.presence[list(batch.indices)].tolist()
    assert batch.labels.shape == (len(batch), 5, 4, 5)
    assert batch.draws is not None
    assert batch.draws.shape == (len(batch), 2)
    if eligible == "complete":
        assert batch.available.all()
    again = meta(split).batch(step, sorted(exclude), eligible)
    assert again is not None
    assert same(batch, again)


def test_meta_batches_shift_no_bit_of_the_training_batches() -> None:
    split = some(8)
    alone = [batch for epoch in (0, 1) for batch in training(split).epoch(epoch)]
    batches, metas = training(split), meta(split)
    step, beside = 0, []
    for epoch in (0, 1):
        for batch in batches.epoch(epoch):
            other = metas.batch(step, batch.indices, "all")
            assert other is not None
            assert not set(other.indices) & set(batch.indices)
            assert not torch.equal(other.draws, batch.draws)  # type: ignore[arg-type]
            beside.append(batch)
            step += 1
    assert all(same(a, b) for a, b in zip(alone, beside, strict=True))


def test_meta_subjects_are_uniform_over_the_eligible() -> None:
    split = scans(6)
    metas = meta(split, batch_size=2, augmentation=UNCHANGED)
    n = 600
    drawn = [metas.batch(step, [1, 4]) for step in range(n)]
    pairs = Counter(frozenset(batch.indices) for batch in drawn if batch is not None)
    assert set(pairs) == {frozenset(pair) for pair in combinations([0, 2, 3, 5], 2)}
    assert all(abs(times / n - 1 / 6) < 4 * (5 / 36 / n) ** 0.5 for times in pairs.values())


def test_eligible_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="eligible must be 'all' or 'complete', not 'full'"):
        meta(scans(3)).batch(0, [], "full")  # type: ignore[arg-type]


# --- masks a sample -------------------------------------------------------------------------------------------

rows = st.lists(st.lists(st.booleans(), min_size=4, max_size=4).filter(any), min_size=1, max_size=4)
numbers = st.floats(0, 1, exclude_max=True)


@given(
    available=rows,
    mode=st.sampled_from(["none", "permanent", "dynamic", "free"]),
    distribution=st.sampled_from(["subset", "cardinality"]),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_what_is_present_is_available_and_never_nothing(
    available: list[list[bool]], mode: str, distribution: str, data: st.DataObject
) -> None:
    there = torch.tensor(available)
    draws = torch.tensor([[data.draw(numbers), data.draw(numbers)] for _ in available], dtype=torch.float64)
    present = hide(there, draws, mode=mode, distribution=distribution)
    assert present.dtype == torch.bool
    assert present.shape == there.shape
    assert present.any(1).all()
    assert not (present & ~there).any()
    if mode in ("none", "permanent"):
        assert torch.equal(present, there)
    assert torch.equal(there, torch.tensor(available)), "the caller's own is left alone"
    alone = [hide(there[i : i + 1], draws[i : i + 1], mode=mode, distribution=distribution) for i in range(len(there))]
    assert torch.equal(torch.cat(alone), present), "each sample's own draws decide"


@pytest.mark.parametrize("row", [row for row in product([False, True], repeat=4) if any(row)])
@pytest.mark.parametrize(
    ("mode", "distribution"), [("dynamic", "subset"), ("dynamic", "cardinality"), ("free", "cardinality")]
)
def test_subsets_are_drawn_exactly_as_said(row: tuple[bool, ...], mode: str, distribution: str) -> None:
    own = [m for m, there in enumerate(row) if there]
    k = len(own)
    # Middles of as many equal cells as every share is a whole number of.
    firsts, seconds = (2**k - 1) * k, 12
    grid = torch.tensor(list(product(range(firsts), range(seconds))), dtype=torch.float64)
    draws = (grid + 0.5) / torch.tensor([firsts, seconds])
    present = hide(torch.tensor([row] * len(draws)), draws, mode=mode, distribution=distribution)
    found = Counter(tuple(m for m in range(4) if sample[m]) for sample in present.tolist())
    subsets = [subset for size in range(1, k + 1) for subset in combinations(own, size)]
    assert set(found) == set(subsets)
    for subset in subsets:
        same_size = sum(len(other) == len(subset) for other in subsets)
        share = 1 / len(subsets) if distribution == "subset" or mode == "free" else 1 / k / same_size
        assert found[subset] == round(len(draws) * share), subset


def test_the_largest_draw_is_still_a_subset() -> None:
    last = float(np.nextafter(1.0, 0.0))
    for width in range(1, 8):
        for distribution in ("subset", "cardinality"):
            there = torch.ones(1, width, dtype=torch.bool)
            draws = torch.tensor([[last, last]], dtype=torch.float64)
            assert hide(there, draws, mode="dynamic", distribution=distribution).all()


def test_masks_of_samples_are_refused_by_name() -> None:
    there, draws = torch.ones(2, 4, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"mode must be .* got 'utd'"):
        hide(there, draws, mode="utd", distribution="subset")
    with pytest.raises(ValueError, match=r"distribution must be .* got 'uniform'"):
        hide(there, draws, mode="dynamic", distribution="uniform")
    with pytest.raises(ValueError, match=r"draws must be \(B, 2\)"):
        hide(there, draws[:1], mode="dynamic", distribution="subset")
    there[1] = False
    with pytest.raises(ValueError, match="sample 1 of the batch has no modality"):
        hide(there, draws, mode="permanent", distribution="subset")
