"""A batch cut into parts gives the step of the whole batch: shares of pixels and images, not means of means."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_samples import Workshop, students, teachers

from mmablate.data.base import SegmentationData
from mmablate.data.batches import Batch, Share
from mmablate.results import StudyStore
from mmablate.study import Study
from mmablate.training.building import build_model
from mmablate.training.checkpoint import load_into
from mmablate.training.lockstep import Group, GroupTask, InTurn
from mmablate.training.trainee import Trainee

LOSSES = "sup+mad+umd+cmd"


def gradient(group: Any, trainee: Trainee, batch: Batch, teacher: Any, present: tuple[str, ...]) -> torch.Tensor:
    """Of one step, as the optimiser would see it."""
    trainee.optimizer.zero_grad()
    for piece in group._pieces(batch, present, teacher):
        trainee.backward(piece)
    return torch.cat([p.grad.flatten() for p in trainee.model.parameters()]).double()


def prepared(workshop: Workshop, study: Study, trained: Any, data: SegmentationData) -> Any:
    (spec,) = students(study, rows=[LOSSES])
    out = workshop.out()
    group: Any = Group(
        GroupTask((spec,), "tiny", out, None, "cpu"), [spec], StudyStore(out, "tiny"), print, InTurn(), bool
    )
    group.data = data
    trainee = Trainee(spec, data, torch.device("cpu"), 10)
    group.trainees = [trainee]
    (teacher_spec,) = teachers(study)
    teacher = build_model(teacher_spec.settings["model"], data)
    load_into(teacher, trained.store.run_folder(teacher_spec.run_id) / "checkpoint.safetensors")
    return group, trainee, teacher.eval().requires_grad_(False)


def test_parts_of_unequal_size_and_void_add_up_to_the_whole_batch(
    workshop: Workshop, study: Study, trained: Any, data: SegmentationData
) -> None:
    group, trainee, teacher = prepared(workshop, study, trained, data)
    batch = next(group._batches(data).epoch(0))
    labels = batch.labels.clone()
    labels[:3] = data.ignore_label  # nearly no labelled pixel in the first part
    labels[3, 4:] = data.ignore_label
    batch = Batch(batch.inputs, labels, batch.indices)
    present = tuple(data.modalities)
    whole = gradient(group, trainee, batch, teacher, present)
    batch = replace(batch, cuts=Share().of(len(batch), 4)[1])
    pieces = list(group._pieces(batch, present, teacher))
    assert [len(piece.batch) for piece in pieces] == [3, 4, 4, 4]
    for unit in ("pixels", "images"):
        assert sum(piece.shares[unit] for piece in pieces) == pytest.approx(1)
    cut = gradient(group, trainee, batch, teacher, present)
    assert float((cut - whole).norm() / whole.norm()) < 1e-5
    # The mean of the parts' means is another number: the test could fail.
    naive = torch.zeros_like(whole)
    for part in batch.parts():
        naive += gradient(group, trainee, part, teacher, present) / 4
    assert float((naive - whole).norm() / whole.norm()) > 1e-2


def test_losses_told_are_those_of_the_whole_batch(
    workshop: Workshop, study: Study, trained: Any, data: SegmentationData
) -> None:
    group, trainee, teacher = prepared(workshop, study, trained, data)
    batch = next(group._batches(data).epoch(0))
    told = []
    for accumulate in (1, 3):
        cut = replace(batch, cuts=Share().of(len(batch), accumulate)[1])
        gradient(group, trainee, cut, teacher, ("V", "S"))
        trainee._sums, trainee._count = trainee._pending, 1  # as if the optimiser had moved
        trainee.discard()
        told.append(trainee.epoch_losses())
    assert told[1] == pytest.approx(told[0], rel=1e-5)
    assert set(told[0]) == {"sup", "mad", "umd", "cmd"}


def test_a_run_trained_in_parts_ends_near_the_same_weights(workshop: Workshop) -> None:
    scores = []
    for accumulate in (1, 3):
        study = workshop.alone(f"train.accumulate={accumulate}", "train.lr=1e-3")
        record = workshop.train(students(study), workshop.out())["sup"]
        assert record.status == "ok", record.error
        scores.append(record.metrics["Mean"])
    assert scores[1] == pytest.approx(scores[0], abs=1.0)


@given(world=st.integers(1, 4), each=st.integers(1, 4), more=st.integers(0, 9))
def test_parts_are_the_same_whatever_the_number_of_processes(world: int, each: int, more: int) -> None:
    parts = world * each
    places = list(range(parts + more))
    alone, cuts = Share().of(len(places), parts)
    expected = [places[alone][a:b] for a, b in pairwise((0, *cuts))]
    found = []
    for rank in range(world):
        own, cuts = Share(rank, world).of(len(places), parts)
        mine = [places[own][a:b] for a, b in pairwise((0, *cuts))]
        assert len(mine) == each, "processes that take unequal numbers of parts would wait for each other"
        found += mine
    assert found == expected
    assert [place for part in found for place in part] == places


@pytest.mark.parametrize(("count", "parts", "world"), [(8, 3, 2), (3, 4, 1), (3, 4, 2)])
def test_parts_that_cannot_be_dealt_are_refused(count: int, parts: int, world: int) -> None:
    with pytest.raises(ValueError, match="cannot be dealt"):
        Share(0, world).of(count, parts)
