"""Stacked or in turn: as asked, as measured, and as before when a study goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
from execution_samples import numbers, run, small_study

from mmablate.execution.grouping import group_runs, next_group
from mmablate.execution.modes import choose_stacks
from mmablate.results import StudyStore
from mmablate.study import Study
from mmablate.study.stacks import stacks_of
from mmablate.training.group import GroupTask, train_group
from mmablate.training.saving import Interval


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return small_study(tmp_path)


def never(groups: Any) -> list[bool]:
    raise AssertionError("nothing is measured here")


def execution(out: Path, study: Study) -> dict[str, Any]:
    return json.loads((out / study.name / "study.json").read_text())["execution"]


def test_as_asked(study: Study) -> None:
    groups = group_runs(study.runs)
    in_turn = choose_stacks(groups, "in-turn", None, never)
    assert in_turn.stacks == ()
    assert len(in_turn.compared) == 1, "not to be asked again"
    stacks = choose_stacks(groups, "stacked", None, never).stacks
    students = [g for g in groups if g.specs[0].role == "student"]
    assert [set(some) for some in stacks] == [{spec.run_id for spec in group.specs} for group in students]
    before = {"mode": "in_turn", "compared": list(in_turn.compared)}
    assert choose_stacks(groups, "stacked", before, never).stacks == stacks
    assert choose_stacks(groups, "auto", before, never).stacks == ()


def test_as_measured_once_for_each_shape(study: Study) -> None:
    groups = group_runs(study.runs)
    asked: list[int] = []

    def faster(some: Any) -> list[bool]:
        asked.append(len(some))
        return [True] * len(some)

    choice = choose_stacks(groups, "auto", None, faster)
    assert asked == [1], "two seeds are one shape, and teachers are alone"
    assert len(choice.stacks) == 2
    slow = choose_stacks(groups, "auto", None, lambda some: [False] * len(some))
    assert slow.stacks == ()
    assert choose_stacks(groups, "auto", {"mode": "in_turn", "compared": list(slow.compared)}, never).stacks == ()


def test_a_first_call_with_nothing_to_stack_decides_nothing(study: Study) -> None:
    groups = group_runs(study.runs)
    one = choose_stacks(groups[:1], "auto", None, never)
    cpu = choose_stacks(groups, "auto", None, lambda some: None)
    assert (one.stacks, one.compared) == (cpu.stacks, cpu.compared) == ((), ())
    later = choose_stacks(groups, "auto", {"mode": "in_turn"}, lambda some: [True] * len(some))
    assert len(later.stacks) == 2


def test_as_before(study: Study) -> None:
    groups = group_runs(study.runs)
    stacks = choose_stacks(groups, "stacked", None, never).stacks
    before = {"mode": "stacked", "stacks": [list(some) for some in stacks]}
    assert choose_stacks(groups, "auto", before, never).stacks == stacks
    fewer = group_runs([spec for spec in study.runs if spec.run_id != stacks[0][0]])
    assert choose_stacks(fewer, "auto", before, never).stacks == (stacks[0][1:], stacks[1])
    later = choose_stacks(groups, "auto", {"mode": "stacked", "stacks": [list(stacks[0])]}, never).stacks
    assert later == stacks, "runs of more seeds are stacked like those before"


def test_a_stacked_group_is_never_split(study: Study) -> None:
    students = [group for group in group_runs(study.runs) if group.specs[0].role == "student"]
    group = next_group(list(students[:1]), set(students[0].waits_for), 4, 4, whole=lambda group: True)
    assert group == students[0]


def test_a_study_stacked_and_gone_on_with(study: Study, finished: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(study, out, seeds=[1], mode="stacked")
    assert not first.failed
    told = execution(out, study)
    assert told["mode"] == "stacked"
    assert [len(some) for some in told["stacks"]] == [3]
    run(study, out)
    again = execution(out, study)
    assert again["mode"] == "stacked"
    assert [len(some) for some in again["stacks"]] == [3, 3]
    stored = numbers(StudyStore(out, study.name).records()[0])
    assert stored.keys() == finished.numbers.keys()
    for run_id, own in stored.items():
        assert own["metrics"] == pytest.approx(finished.numbers[run_id]["metrics"], abs=0.5)
        assert own["digests"]["order"] == finished.numbers[run_id]["digests"]["order"]


class Killed(SystemExit):
    pass


def test_a_stack_that_was_killed_goes_on_from_its_states(tmp_path: Path) -> None:
    study = small_study(tmp_path, "train.epochs=4")
    outs = [tmp_path / "whole", tmp_path / "killed"]
    students = next(g for g in group_runs(study.runs) if g.specs[0].role == "student").specs
    (stack,) = [tuple(spec.run_id for spec in some) for some in stacks_of(students)]
    for out in outs:
        run(study, out, rows=["sup+mad"], seeds=[students[0].seed])  # the teacher too

    def task(out: Path) -> GroupTask:
        return GroupTask(
            students, study.name, out, None, "cpu", stacks=(stack,), save_every=Interval(steps=1), force=False
        )

    train_group(task(outs[0]), lambda progress: None)
    heard = 0

    def die(progress: Any) -> None:
        nonlocal heard
        heard += progress.steps
        if heard > 15:
            raise Killed

    with pytest.raises(Killed):
        train_group(task(outs[1]), die)
    skipped: list[int] = []
    train_group(task(outs[1]), lambda progress: skipped.append(progress.skipped))
    assert sum(skipped) > 0
    whole, resumed = (numbers(StudyStore(out, study.name).records()[0]) for out in outs)
    assert whole == resumed
