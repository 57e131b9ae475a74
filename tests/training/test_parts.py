"""A batch cut into parts gives the step of the whole batch: shares of pixels and images, not means of means."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from training_samples import Workshop, students, teachers

from mmablate.data.base import SegmentationData
from mmablate.data.batches import Batch, Share
from mmablate.results import StudyStore
from mmablate.study import Study
from mmablate.training.building import build_model
from mmablate.training.checkpoint import load_into
from mmablate.training.group import GroupTask, InTurn, _Group
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
    group: Any = _Group(GroupTask((spec,), "tiny", out, None, "cpu"), [spec], StudyStore(out, "tiny"), print, InTurn())
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
    group.train_settings = {**group.train_settings, "accumulate": 4}
    pieces = list(group._pieces(batch, present, teacher))
    assert [len(piece.batch) for piece in pieces] == [4, 4, 3, 4]
    for unit in ("pixels", "images"):
        assert sum(piece.shares[unit] for piece in pieces) == pytest.approx(1)
    cut = gradient(group, trainee, batch, teacher, present)
    assert float((cut - whole).norm() / whole.norm()) < 1e-5
    # The mean of the parts' means is another number: the test could fail.
    naive = torch.zeros_like(whole)
    for part in batch.parts(4):
        group.train_settings = {**group.train_settings, "accumulate": 1}
        naive += gradient(group, trainee, part, teacher, present) / 4
    assert float((naive - whole).norm() / whole.norm()) > 1e-2


def test_losses_told_are_those_of_the_whole_batch(
    workshop: Workshop, study: Study, trained: Any, data: SegmentationData
) -> None:
    group, trainee, teacher = prepared(workshop, study, trained, data)
    batch = next(group._batches(data).epoch(0))
    told = []
    for accumulate in (1, 3):
        group.train_settings = {**group.train_settings, "accumulate": accumulate}
        trainee._count = 1
        gradient(group, trainee, batch, teacher, ("V", "S"))
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


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, 8])
def test_shares_of_a_batch_cover_it_once(world: int, count: int) -> None:
    places = list(range(count))
    assert [i for rank in range(world) for i in places[Share(rank, world).of(places)]] == places
