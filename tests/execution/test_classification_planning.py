"""Groups, order and modes of classification studies: pairs, teachers, students, stacked over seeds and settings."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.cli.planning import _as_json, make_plan, summary
from mmablate.data.summary import summarise
from mmablate.errors import RecipeError
from mmablate.execution import grouping, run_study
from mmablate.execution.grouping import group_runs
from mmablate.execution.manifest import _entry, manifest
from mmablate.execution.modes import across_groups, choose_stacks, wanted_mode
from mmablate.execution.options import Options, Outcome
from mmablate.execution.pending import pending_runs, wanted_runs
from mmablate.results import RunRecord, StudyStore
from mmablate.results.record import Role
from mmablate.results.store import CHECKPOINT
from mmablate.study import RunSpec, Study, open_study
from mmablate.study.datasets import dataset_settings, open_dataset
from mmablate.study.plan import STAGES as ALL_STAGES
from mmablate.study.stacks import linear_key

SEEDS = (0, 1, 2)
STAGES = tuple(role for role in ALL_STAGES if role != "pretraining")  # those of these studies


@cache
def focus() -> Study:
    study = open_study("gauss_focus", seeds=SEEDS)
    assert isinstance(study, Study)
    return study


@cache
def digits() -> Study:
    study = open_study("mfeat_focus", seeds=SEEDS)
    assert isinstance(study, Study)
    return study


def ids(specs: Any) -> set[str]:
    return {spec.run_id for spec in specs}


# --- groups -----------------------------------------------------------------------------------------------


def test_linear_classifiers_of_all_seeds_and_settings_are_one_group_a_stage() -> None:
    study = focus()
    groups = group_runs(study.runs, ids(study.runs))
    assert [group.specs[0].role for group in groups] == list(STAGES)
    for role, group in zip(STAGES, groups, strict=True):
        assert ids(group.specs) == ids(spec for spec in study.runs if spec.role == role)
        assert {spec.seed for spec in group.specs} == set(SEEDS)
        assert group.waits_for == {run_id for spec in group.specs for run_id in spec.depends_on}
    assert not groups[0].waits_for
    assert groups[1].waits_for == ids(groups[0].specs)


def test_a_stack_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "LARGEST", 10)
    study = focus()
    groups = group_runs(study.runs, ids(study.runs))
    assert max(len(group.specs) for group in groups) == 10
    assert sorted(spec.run_id for group in groups for spec in group.specs) == sorted(ids(study.runs))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_groups_hold_every_run_once_and_wait_for_what_theirs_read(data: st.DataObject) -> None:
    study = data.draw(st.sampled_from([focus(), digits()]))
    runs = data.draw(st.lists(st.sampled_from(study.runs), unique_by=lambda spec: spec.run_id, max_size=80))
    stacked = ids(data.draw(st.lists(st.sampled_from(study.runs), max_size=80)))
    groups = group_runs(runs, stacked)
    assert sorted(spec.run_id for group in groups for spec in group.specs) == sorted(ids(runs))
    stages = [STAGES.index(group.specs[0].role) for group in groups]
    assert stages == sorted(stages)
    for group in groups:
        assert group.waits_for == {run_id for spec in group.specs for run_id in spec.depends_on}
        assert not group.waits_for & ids(group.specs)
        assert len({spec.role for spec in group.specs}) == 1
        across = {linear_key(spec) if spec.run_id in stacked else None for spec in group.specs}
        assert len(across) == 1
        if across == {None}:  # in turn they share the batches of one seed
            assert len({(spec.seed, json.dumps(spec.settings["data"], sort_keys=True)) for spec in group.specs}) == 1
            assert len({json.dumps(s.settings["teacher"]) for s in group.specs if s.settings["teacher"]}) <= 1


def test_only_what_plain_gradient_descent_on_all_samples_trains_is_stacked_over_seeds() -> None:
    assert all(linear_key(spec) is not None for spec in focus().runs)
    assert all(linear_key(spec) is None for spec in digits().runs)
    for override in ("losses.sup.weight=2", "train.momentum=0.5", "losses.kd.weight=3"):
        study = open_study("gauss_focus", seeds=[0], overrides=[override])
        apart = {spec.role for spec in study.runs if linear_key(spec) is None}
        # A stacked pair has cross-entropies of weight one.
        assert apart == ({"pair"} if override == "losses.sup.weight=2" else set())
    for override in ("train.optimizer=adam", "train.batch_size=20", "train.schedule=poly", "train.weight_decay=0.1",
                     "train.clip=1", "train.warmup=0.1", "train.precision=bf16"):  # fmt: skip
        study = open_study("gauss_gamma", seeds=[0], overrides=[override])
        assert all(linear_key(spec) is None for spec in study.runs)
    hot = open_study("gauss_gamma", seeds=[0], overrides=["losses.kd.temperature=2"])
    assert {spec.role for spec in hot.runs if linear_key(spec) is None and spec.settings["teacher"]} == {"student"}


# --- what is wanted ---------------------------------------------------------------------------------------


def closure(study: Study, specs: list[RunSpec]) -> set[str]:
    by_id = {spec.run_id: spec for spec in study.runs}
    found = ids(specs)
    while more := {run_id for one in found for run_id in by_id[one].depends_on} - found:
        found |= more
    return found


@pytest.mark.parametrize("study", [focus, digits])
def test_a_row_wants_what_its_runs_stand_on(study: Any) -> None:
    for row in study().rows:
        some = wanted_runs(study(), [row.name], [1])
        students = [spec for spec in study().runs if row.name in spec.rows and spec.seed == 1]
        assert ids(some) == closure(study(), students)
        assert [STAGES.index(spec.role) for spec in some] == sorted(STAGES.index(spec.role) for spec in some)
    general = wanted_runs(focus(), ["0.25+kd_general"], [1])
    assert [spec.role for spec in general] == ["pair", "teacher", "student"]
    assert [spec.role for spec in wanted_runs(focus(), ["0.25+kd_random"], [1])] == ["teacher", "student"]
    assert [spec.role for spec in wanted_runs(focus(), ["0.25+no_kd"], [1])] == ["student"]


def record_of(spec: RunSpec, study: str) -> RunRecord:
    """A record of a run that is well."""
    return RunRecord(
        run_id=spec.run_id, study=study, row=spec.rows[0] if spec.rows else None, seed=spec.seed, status="ok",
        error=None,
        metrics={"Acc": 50.0}, n_parameters=1, seconds=1.0, steps=1, depends_on=list(spec.depends_on),
        digests={"init": None, "order": None, "final": None}, environment={}, role=cast(Role, spec.role),
    )  # fmt: skip


def finish(store: StudyStore, specs: Any, *, weights: bool = True) -> None:
    for spec in specs:
        folder = store.run_folder(spec.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").write_text(record_of(spec, store.name).model_dump_json(), encoding="utf-8")
        if weights and spec.role != "student":
            (folder / CHECKPOINT).write_bytes(b"weights")


@pytest.mark.parametrize("gone", [("teacher",), ("pair", "teacher"), ("pair",), ()])
def test_what_is_lost_is_trained_again_with_all_that_it_reads(tmp_path: Path, gone: tuple[str, ...]) -> None:
    store = StudyStore(tmp_path, "gauss_focus")
    store.prepare()
    pair, teacher, student = wanted = wanted_runs(focus(), ["0.25+kd_general"], [1])
    finish(store, [pair, teacher])
    for spec in (pair, teacher):
        if spec.role in gone:
            (store.run_folder(spec.run_id) / CHECKPOINT).unlink()
    outcome = Outcome()
    pending = pending_runs(store, wanted, Options(tmp_path), outcome)
    expected = {
        ("teacher",): [teacher, student],
        ("pair", "teacher"): [pair, teacher, student],
        ("pair",): [student],  # the teacher, whose channels it chose, is there
        (): [student],
    }[gone]
    assert pending == expected
    assert {record.run_id for record in outcome.reused} == ids(wanted) - ids(expected)


def test_a_plan_keeps_the_pairs_of_the_teachers_of_earlier_calls() -> None:
    study = focus()
    first = wanted_runs(study, ["0.25+kd_general"], [1])
    old = {"plan": [_entry(spec) for spec in first], "created": "then", "name": study.name}
    later = wanted_runs(study, ["0.25+kd_general"], [2])
    kept = manifest(study, later, *described(), {}, old)
    assert {entry["run_id"] for entry in kept["plan"]} == ids(first) | ids(later)
    assert kept["superseded"] == []


@cache
def described() -> tuple[Any, Any]:
    data = open_dataset(dataset_settings(focus().recipe), None, seed=0)
    return data, summarise(data)


# --- stacked or in turn -------------------------------------------------------------------------------------


def never(groups: Any) -> list[bool]:
    raise AssertionError("nothing is measured here")


def chosen(
    specs: Any, asked: str, before: dict[str, Any] | None, recipe: str = "stacked"
) -> tuple[Any, dict[str, Any]]:
    mode = wanted_mode(asked, recipe, before)
    groups = group_runs(specs, ids(specs) if across_groups(mode, before) else ())
    choice = choose_stacks(groups, mode, before, lambda some: None)
    told: dict[str, Any] = {"mode": "stacked" if choice.stacks else "in_turn"}
    told |= {"ordered": asked} if asked != "auto" else {}
    told |= {"stacks": [list(some) for some in choice.stacks]} if choice.stacks else {}
    return choice, told | ({"compared": list(choice.compared)} if choice.compared else {})


def test_a_recipe_says_that_its_runs_are_stacked() -> None:
    runs = focus().runs
    choice, _ = chosen(runs, "auto", None)
    assert [set(some) for some in choice.stacks] == [ids(s for s in runs if s.role == role) for role in STAGES]
    assert chosen(runs, "auto", None, recipe="auto")[0].stacks == ()
    assert chosen(runs, "auto", None, recipe="in-turn")[0].stacks == ()
    assert chosen(runs, "stacked", None, recipe="in-turn")[0].stacks == choice.stacks


def test_in_turn_by_order_and_gone_on_with() -> None:
    few = [spec for spec in focus().runs if spec.rows and spec.rows[0].endswith("no_kd")]
    choice, told = chosen(few, "in-turn", None)
    assert choice.stacks == ()
    assert chosen(few, "auto", told)[0].stacks == ()
    assert chosen(few, "stacked", told)[0].stacks


def test_a_call_that_had_nothing_to_stack_decides_nothing() -> None:
    one = focus().runs[:1]
    choice, told = chosen(one, "auto", None)
    assert (choice.stacks, told) == ((), {"mode": "in_turn"})
    assert len(chosen(focus().runs, "auto", told)[0].stacks) == 3


def test_a_study_that_goes_on_keeps_its_stacks_and_stacks_what_is_new() -> None:
    runs = focus().runs
    first = [spec for spec in runs if spec.seed in (0, 1)]
    stacks, told = chosen(first, "auto", None)
    left = [spec for spec in first if spec.run_id != first[0].run_id]  # the first was finished before a kill
    expected = tuple(tuple(run for run in some if run != first[0].run_id) for some in stacks.stacks)
    assert chosen(left, "auto", told)[0].stacks == expected
    assert chosen(left, "auto", told, recipe="in-turn")[0].stacks == expected, "as it began"
    more = chosen(runs, "auto", told)[0].stacks
    assert more[:3] == stacks.stacks
    assert [set(some) for some in more[3:]] == [
        ids(s for s in runs if s.role == role and s.seed == 2) for role in STAGES
    ]  # fmt: skip
    assert chosen(left, "in-turn", told)[0].stacks == ()


# --- the plan as printed ------------------------------------------------------------------------------------


def test_a_dry_run_counts_groups_as_they_will_be_trained(tmp_path: Path) -> None:
    rows = [row.name for row in focus().rows]
    plan = make_plan(focus(), rows, SEEDS, out=tmp_path, device="cpu", jobs=2, force=False)
    lines = summary(plan)
    runs = len(focus().runs)
    assert lines[1] == f"{runs} runs, 0 finished, {runs} to train in 3 groups, up to 2 side by side"
    assert "15 pairs of teacher and student, trained jointly for the saliency of channels" in lines[0]
    groups = _as_json(plan)["groups"]
    assert [len(group) for group in groups] == [sum(s.role == role for s in focus().runs) for role in STAGES]


# --- what fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["stacked", "in-turn"])
def test_a_joint_training_that_fails_fails_what_reads_it_by_its_name(tmp_path: Path, mode: str) -> None:
    study = open_study("gauss_focus", seeds=[0], overrides=["focus.train.lr=1e30", "train.steps=20"])
    assert isinstance(study, Study)
    rows = ["0.25+no_kd", "0.25+kd", "0.25+kd_general"]
    pair, *_ = wanted = wanted_runs(study, rows, [0])
    outcome = run_study(study, wanted, Options(tmp_path, "cpu", 1, quiet=True, mode=mode), described()[0], None)
    by_row = {spec.rows[0]: spec for spec in wanted if spec.rows}
    last = by_row["0.25+kd_general"]
    (teacher,) = last.depends_on
    told = {record.run_id: record.error for record in outcome.failed}
    assert told.keys() == {pair.run_id, teacher, last.run_id}
    assert told[teacher].message == f"its joint training, run {pair.run_id}, failed"
    assert told[last.run_id].message == f"its teacher, run {teacher}, failed"
    assert {record.row for record in outcome.trained if record.row} == set(rows[:2])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["focus.keep=random", "focus.count=26"], "focus.count: at most the 25 channels of modality x1, got 26"),
        (["focus.keep=general", "focus.split=val"], "focus.split: the data have no validation split: train, got 'val'"),
        (["train.select=best"], "train.select: the data have no validation split to select on: last, got 'best'"),
    ],
)
def test_what_only_the_data_can_tell_is_told_before_anything_is_trained(
    tmp_path: Path, overrides: list[str], told: str
) -> None:
    rows = ["factors={}", "rows=[[sup],[sup,kd]]", "baseline=sup", "claims=[]"]
    study = open_study("gauss_gamma", seeds=[0], overrides=[*rows, *overrides])
    assert isinstance(study, Study)
    data = open_dataset(dataset_settings(study.recipe), None, seed=0)
    with pytest.raises(RecipeError) as error:
        run_study(study, study.runs, Options(tmp_path, "cpu", 1, quiet=True), data, None)
    assert told in error.value.problems
    assert not (tmp_path / study.name).exists()
