"""A run that was interrupted anywhere ends with the bits of one that was not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_samples import Workshop, numbers, students, teachers

from mmablate.results import StudyStore
from mmablate.results.store import STATE
from mmablate.study import RunSpec, Study
from mmablate.training.group import GroupTask, InTurn, train_group
from mmablate.training.memory import GroupTooLarge
from mmablate.training.saving import Interval
from mmablate.training.state import State, read_state, write_state
from mmablate.training.trainee import Trainee

SETTINGS = ("train.epochs=3", "train.select=best", "train.clip=1.0", "train.schedule=cosine")
EVERY_STEP = Interval(steps=1)


class Killed(SystemExit):
    """Stands for the end of the process: nothing after it runs."""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("resuming"))


@pytest.fixture(scope="module")
def study(workshop: Workshop) -> Study:
    return workshop.study(*SETTINGS)


@pytest.fixture(scope="module")
def whole(workshop: Workshop, study: Study) -> tuple[Path, dict[str, Any]]:
    """The teacher and all rows of one seed, undisturbed; where, and their numbers and histories by run."""
    out = workshop.out()
    workshop.train(teachers(study), out)
    workshop.train(students(study), out)
    return out, everything(out)


def everything(out: Path) -> dict[str, Any]:
    """All that must come out the same to the bit, by run."""
    store = StudyStore(out, "tiny")
    records, bad = store.records()
    assert not bad
    found = {}
    for record in records:
        lines = (store.run_folder(record.run_id) / "history.jsonl").read_text().splitlines()
        history = [line.split(', "seconds"')[0] for line in lines]
        found[record.run_id] = (numbers(record), history)
    return found


def with_teacher_of(workshop: Workshop, study: Study, out: Path) -> Path:
    """A new results folder that has the teacher."""
    (spec,) = teachers(study)
    new = workshop.out()
    store = StudyStore(out, "tiny")
    folder = StudyStore(new, "tiny").run_folder(spec.run_id)
    folder.mkdir()
    for file in store.run_folder(spec.run_id).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return new


def task(specs: list[RunSpec], out: Path, every: Interval = EVERY_STEP) -> GroupTask:
    return GroupTask(tuple(specs), "tiny", out, None, "cpu", save_every=every)


class Dying(InTurn):
    """Ends the process at a step, before, in the middle of, or after its work."""

    def __init__(self, step: int, when: str) -> None:
        self.left, self.when = step, when

    def step(self, trainees: Any, pieces: Any) -> None:
        self.left -= 1
        if self.left == 0 and self.when == "before":
            raise Killed
        if self.left == 0 and self.when == "between updates":
            for piece in pieces:
                for trainee in trainees:
                    trainee.backward(piece)
            trainees[0].update()
            raise Killed
        super().step(trainees, pieces)
        if self.left == 0:
            raise Killed


@pytest.mark.parametrize("when", ["before", "between updates", "after"])
@pytest.mark.parametrize("step", range(1, 10))
def test_killed_at_any_step(workshop: Workshop, study: Study, whole: Any, step: int, when: str) -> None:
    out, undisturbed = whole
    new = with_teacher_of(workshop, study, out)
    with pytest.raises(Killed):
        train_group(task(students(study), new), lambda p: None, Dying(step, when))
    skipped = []
    records = train_group(task(students(study), new), lambda p: skipped.append(p.skipped))
    assert sum(skipped) == (step - 1) * 5, "nothing but the step at hand is done again"
    assert everything(new) == undisturbed
    if step > 1:
        assert {tuple(record.environment["resumed_at_step"]) for record in records} == {(step - 1,)}
    assert not list(new.glob(f"*/runs/*/{STATE}"))


def test_killed_again_and_again(workshop: Workshop, study: Study, whole: Any) -> None:
    out, undisturbed = whole
    new = with_teacher_of(workshop, study, out)
    for _ in range(8):
        with pytest.raises(Killed):
            train_group(task(students(study), new), lambda p: None, Dying(2, "after" if _ % 2 else "before"))
    train_group(task(students(study), new), lambda p: None)
    assert everything(new) == undisturbed


def test_runs_that_stand_at_different_steps_go_on_together(workshop: Workshop, study: Study, whole: Any) -> None:
    """Killed between the saving of two states, and regrouped."""
    out, undisturbed = whole
    new = with_teacher_of(workshop, study, out)
    for step, spec in enumerate(students(study), start=2):
        with pytest.raises(Killed):
            train_group(task([spec], new), lambda p: None, Dying(step, "before"))
    train_group(task(students(study)[:1], new, Interval()), lambda p: None)
    train_group(task(students(study), new), lambda p: None)
    assert everything(new) == undisturbed


@pytest.mark.parametrize("damage", ["truncated", "empty", "another run", "other weights", "no header"])
def test_a_state_that_is_damaged_is_not_trusted(workshop: Workshop, study: Study, whole: Any, damage: str) -> None:
    out, undisturbed = whole
    new = with_teacher_of(workshop, study, out)
    first, second = students(study)[:2]
    with pytest.raises(Killed):
        train_group(task([first, second], new), lambda p: None, Dying(5, "before"))
    store = StudyStore(new, "tiny")
    path = store.run_folder(first.run_id) / STATE
    state = read_state(path)
    assert state is not None
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no header":
        path.write_bytes(b"\xff" * 64)
    elif damage == "another run":
        path.write_bytes((store.run_folder(second.run_id) / STATE).read_bytes())
    else:
        write_state(path, State({**state.tensors, "model/head.norm.weight": torch.zeros(3)}, state.about))
    train_group(task(students(study), new), lambda p: None)
    assert everything(new) == undisturbed


def test_ctrl_c_finishes_the_epoch_and_saves(workshop: Workshop, study: Study, whole: Any) -> None:
    out, undisturbed = whole
    new = with_teacher_of(workshop, study, out)
    asked = iter([False, False, True])
    records = train_group(task(students(study), new, Interval()), lambda p: None, stopping=lambda: next(asked))
    assert records == []
    store = StudyStore(new, "tiny")
    for spec in students(study):
        state = read_state(store.run_folder(spec.run_id) / STATE)
        assert state is not None
        assert state.about["steps"] == 6
        assert len(state.about["history"]) == 2
    train_group(task(students(study), new), lambda p: None)
    assert everything(new) == undisturbed


def exhausting(original: Callable[..., Any], limit: int, at: int) -> Callable[..., Any]:
    """Runs out of memory where more than `limit` runs are at step `at` together."""
    seen: list[str] = []

    def backward(trainee: Trainee, piece: Any) -> None:
        if trainee.steps == at:
            seen.append(trainee.spec.run_id)
            if len(set(seen)) > limit:
                seen.clear()
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        original(trainee, piece)

    return backward


def test_a_group_that_does_not_fit_goes_on_in_parts(
    workshop: Workshop, study: Study, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, undisturbed = whole
    new = with_teacher_of(workshop, study, out)
    original = Trainee.backward
    monkeypatch.setattr(Trainee, "backward", exhausting(original, 3, 4))
    with pytest.raises(GroupTooLarge, match="out of memory"):
        train_group(task(students(study), new, Interval()), lambda p: None)
    skipped: list[int] = []
    for part in (students(study)[:3], students(study)[3:]):
        monkeypatch.setattr(Trainee, "backward", exhausting(original, 3, 4))
        train_group(task(part, new, Interval()), lambda p: skipped.append(p.skipped))
    assert sum(skipped) == 4 * 5, "no step is lost"
    assert everything(new) == undisturbed


def test_one_run_that_does_not_fit_fails(workshop: Workshop, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainee, "backward", exhausting(Trainee.backward, 0, 1))
    (record,) = train_group(task(students(study)[:1], workshop.out()), lambda p: None)
    assert record.error is not None
    assert record.error.type == "OutOfMemory"
    assert record.error.step == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_optimiser_goes_on(workshop: Workshop, optimizer: str) -> None:
    study = workshop.alone(f"train.optimizer={optimizer}", "train.epochs=4", "train.select=best")
    (spec,) = students(study)
    out, new = workshop.out(), workshop.out()
    train_group(task([spec], out), lambda p: None)
    with pytest.raises(Killed):
        train_group(task([spec], new), lambda p: None, Dying(3, "before"))
    train_group(task([spec], new), lambda p: None)
    assert everything(new) == everything(out)


@pytest.mark.parametrize("force", [False, True])
def test_a_run_that_others_failed_at_since_the_call_began_is_not_tried_again(
    workshop: Workshop, study: Study, whole: Any, force: bool
) -> None:
    out = with_teacher_of(workshop, study, whole[0])
    spec, store = students(study, rows=["sup"])[0], StudyStore(out, "tiny")
    good = StudyStore(whole[0], "tiny").read_record(spec.run_id)
    assert good is not None
    failed = good.model_copy(update={"status": "failed", "metrics": {}})
    store.finish_run(failed)
    assert workshop.train([spec], out, force=force, earlier={spec.run_id: None}) == {}
    assert store.read_record(spec.run_id) == failed
    (again,) = workshop.train([spec], out, force=force, earlier={spec.run_id: failed}).values()
    assert numbers(again) == numbers(good), "it is what --retry-failed and --force ask for"
