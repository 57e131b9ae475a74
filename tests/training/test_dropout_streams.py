"""Dropout and drop-path draw from streams of the run and the step; a teacher has neither, and keeps its statistics."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_samples import numbers, students, teachers

from mmablate.models import AnymodalSegmentor
from mmablate.results import RunRecord, StudyStore
from mmablate.study import RunSpec, Study, open_study
from mmablate.training import lockstep as group_module
from mmablate.training import trainee as trainee_module
from mmablate.training.group import GroupTask, train_group

pytest.importorskip("transformers", reason="MiT backbones need transformers")

RECIPE = """
name: tiny
data: {name: landsat, modalities: [V, N, S], tile: 32, block: 32, train_stride: 32}
model: {name: anymodal_segmentor, backbone: mit_b0, decoder_width: 8, drop_path: 0.5, dropout: 0.5}
teacher: {name: anymodal_segmentor}
train: {epochs: 2, batch_size: 15, lr: 1e-3, select: last}
losses:
  sup: {weight: 1}
  mad: {weight: 13}
  umd: {weight: 5, definition: released}
rows: [[sup], [sup, mad, umd]]
masks: {mode: none}   # with as many modalities every step, equal streams would draw the same
seeds: [1]
evaluate: {subsets: [VNS], batch_size: 64, every: 2}
"""
CHECKPOINT = "checkpoint.safetensors"


class Watched:
    """A session of training in which every draw of the dropout before a classifier is kept.

    Attributes:
        drawn: row -> what was not zero before and after it in each step, (2, B, C).
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        StudyStore(out, "tiny").prepare()
        self.drawn: dict[str, list[Tensor]] = {}

    def train(self, specs: list[RunSpec], monkeypatch: pytest.MonkeyPatch) -> dict[str, RunRecord]:
        """Records by row; the masks of each row's steps are in `drawn`."""
        original = trainee_module.initial_model

        def watching(settings: Any, data: Any, **options: Any) -> nn.Module:
            model = original(settings, data, **options)
            assert isinstance(model, AnymodalSegmentor)
            row = specs[len(self.drawn)].rows
            masks = self.drawn.setdefault(row[0] if row else "teacher", [])

            def keep(module: nn.Module, args: Any, out: Tensor) -> None:
                if module.training:
                    masks.append(torch.stack([(x != 0).flatten(2).any(2) for x in (args[0], out)]))

            model.head.dropout.register_forward_hook(keep)
            return model

        with monkeypatch.context() as patch:
            patch.setattr(trainee_module, "initial_model", watching)
            task = GroupTask(tuple(specs), "tiny", self.out, None, "cpu", keep="all")
            return {record.row or "teacher": record for record in train_group(task, lambda progress: None)}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return open_study(str(path))


@pytest.fixture(scope="module")
def patching() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, study: Study, patching: pytest.MonkeyPatch) -> Any:
    """The teacher, then all rows as one group: session, records."""
    session = Watched(tmp_path_factory.mktemp("together"))
    records = session.train(teachers(study), patching)
    taught, session.drawn = session.drawn, {}
    records |= session.train(students(study), patching)
    session.drawn |= taught
    assert {record.status for record in records.values()} == {"ok"}, [record.error for record in records.values()]
    return session, records


def beside(out: Path, session: Watched, study: Study) -> Watched:
    """A new results folder that holds the teacher."""
    new = Watched(out)
    run_id = teachers(study)[0].run_id
    source, target = (StudyStore(w.out, "tiny").run_folder(run_id) for w in (session, new))
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return new


@pytest.mark.parametrize("row", ["sup", "sup+mad+umd"])
def test_alone_or_in_company_to_the_bit(
    tmp_path: Path, study: Study, together: Any, monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    session, records = together
    alone = beside(tmp_path, session, study)
    torch.rand(5)
    record = alone.train(students(study, rows=[row]), monkeypatch)[row]
    assert numbers(record) == numbers(records[row])
    ours, theirs = (w.drawn[row] for w in (alone, session))
    assert len(ours) == record.steps
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_rows_of_a_seed_drop_alike_and_every_step_otherwise(together: Any) -> None:
    session, records = together
    steps = session.drawn["sup"]
    assert len(steps) == records["sup"].steps > 1
    alive, kept = torch.stack(steps).unbind(1)
    assert 0.3 < kept.sum() / alive.sum() < 0.7, "half is dropped"
    for one, other in pairwise(range(len(steps))):
        both = alive[one] & alive[other]
        assert both.sum() > 20
        assert not torch.equal(kept[one][both], kept[other][both])
    # What a row draws is of its seed and step: those that have not yet parted drop the same channels.
    assert torch.equal(session.drawn["sup+mad+umd"][0], steps[0])
    assert not torch.equal(session.drawn["teacher"][0], steps[0])


def test_without_dropout_it_is_another_run(study: Study, tmp_path: Path, together: Any) -> None:
    """The test above would also pass if nothing were drawn."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    plain = open_study(str(path), overrides=["model.dropout=0", "model.drop_path=0", "rows=[[sup]]"])
    store = Watched(tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        records = store.train(students(plain), patch)
    assert records["sup"].digests["init"] == together[1]["sup"].digests["init"]
    assert records["sup"].digests["final"] != together[1]["sup"].digests["final"]


def test_the_teacher_is_frozen_and_without_chance(
    tmp_path: Path, study: Study, together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _ = together
    new = beside(tmp_path, session, study)
    seen: list[tuple[nn.Module, dict[str, Tensor]]] = []
    original = group_module.Group._load_teacher

    def loading(group: Any) -> Any:
        teacher = original(group)
        assert teacher is not None
        seen.append((teacher, {k: v.clone() for k, v in teacher.state_dict().items()}))
        teacher.register_forward_pre_hook(lambda module, args: states.append(any(m.training for m in module.modules())))
        teacher.encoder.register_forward_pre_hook(
            lambda module, args: states.append(any(m.training for m in teacher.modules()))
        )
        return teacher

    states: list[bool] = []
    monkeypatch.setattr(group_module.Group, "_load_teacher", loading)
    record = new.train(students(study, rows=["sup+mad+umd"]), monkeypatch)["sup+mad+umd"]
    assert record.status == "ok", record.error
    ((teacher, before),) = seen
    assert len(states) >= record.steps
    assert not any(states)
    after = teacher.state_dict()
    assert int(before["head.norm.num_batches_tracked"]) > 0, "it was trained, with statistics of its own"
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert not any(p.requires_grad for p in teacher.parameters())
