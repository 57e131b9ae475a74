"""Which runs train together, and that handing out groups neither loses nor doubles one."""

from pathlib import Path

import pytest
from execution_samples import small_study
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.execution.grouping import Group, group_runs, next_group
from mmablate.study import RunSpec


def rows_of(group: Group) -> list[str]:
    return [spec.rows[0] if spec.rows else "teacher" for spec in group.specs]


def test_teachers_first_then_the_students_of_a_seed_together(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    groups = group_runs(study.runs)
    assert [(g.specs[0].seed, sorted(rows_of(g))) for g in groups] == [
        (1, ["teacher"]),
        (2, ["teacher"]),
        (1, ["sup", "sup+mad", "sup+mad+umd"]),
        (2, ["sup", "sup+mad", "sup+mad+umd"]),
    ]
    teachers = {spec.seed: spec.run_id for spec in study.runs if spec.role == "teacher"}
    assert [g.waits_for for g in groups] == [set(), set(), {teachers[1]}, {teachers[2]}]
    assert group_runs(study.runs[::-1])[0].specs[0].role == "teacher"


def test_a_shared_teacher_serves_groups_of_several_seeds(tmp_path: Path) -> None:
    groups = group_runs(small_study(tmp_path, "teacher.seed=shared").runs)
    assert [len(g.specs) for g in groups] == [1, 3, 3]
    assert groups[1].waits_for == groups[2].waits_for == {groups[0].specs[0].run_id}


@pytest.mark.parametrize(
    ("override", "together"),
    [
        ("train.batch_size: 5", False),
        ("train.accumulate: 2", False),
        ("train.epochs: 2", False),
        ("masks.mode: none", False),
        ("data.tile: 8", False),
        ("train.augment.flip: false", False),
        ("train.lr: 0.5", True),
        ("train.clip: 1", True),
        ("train.select: last", True),
        ("losses.umd.weight: 9", True),
        ("model.depths: [2]", True),
    ],
)
def test_only_what_is_shared_must_be_equal(tmp_path: Path, override: str, together: bool) -> None:
    other = "{name: other, losses: [sup, mad, umd], overrides: {" + override + "}}"
    study = small_study(tmp_path, f"rows=[[sup, mad, umd], {other}]", "baseline=other", "seeds=[1]")
    groups = [g for g in group_runs(study.runs) if g.specs[0].role == "student"]
    assert [len(g.specs) for g in groups] == ([2] if together else [1, 1])


def test_runs_without_a_teacher_stay_together_where_none_has_one(tmp_path: Path) -> None:
    specs = [spec for spec in small_study(tmp_path).runs if spec.rows == ("sup",)]
    assert [rows_of(g) for g in group_runs(specs)] == [["sup"], ["sup"]]
    assert all(not g.waits_for for g in group_runs(specs))


def test_a_split_keeps_every_run_and_what_it_waits_for() -> None:
    specs = tuple(RunSpec(str(i), "student", 0, {}, ("t",) if i else ()) for i in range(5))
    parts = Group(specs, frozenset({"t"})).split(3)
    assert sorted(len(part.specs) for part in parts) == [1, 2, 2]
    assert sorted(s.run_id for part in parts for s in part.specs) == ["0", "1", "2", "3", "4"]
    assert all(part.waits_for == {u for s in part.specs for u in s.depends_on} for part in parts)
    assert len(Group(specs, frozenset()).split(9)) == 5


@st.composite
def group_lists(draw: st.DrawFn) -> list[Group]:
    """Groups whose runs depend on runs of earlier groups."""
    groups: list[Group] = []
    earlier: list[str] = []
    for number in range(draw(st.integers(1, 6))):
        specs = []
        for member in range(draw(st.integers(1, 6))):
            upstream = draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
            specs.append(RunSpec(f"{number}.{member}", "student", 0, {}, tuple(upstream)))
        earlier += [spec.run_id for spec in specs]
        groups.append(Group(tuple(specs), frozenset(u for s in specs for u in s.depends_on)))
    return draw(st.permutations(groups))


@given(groups=group_lists(), workers=st.integers(1, 5), data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_run_is_lost_doubled_or_started_too_early(groups: list[Group], workers: int, data: st.DataObject) -> None:
    runs = sorted(spec.run_id for group in groups for spec in group.specs)
    waiting, busy = list(groups), []
    done: set[str] = set()
    started: list[str] = []
    while waiting or busy:
        while len(busy) < workers and (group := next_group(waiting, done, workers, workers - len(busy))):
            assert all(set(spec.depends_on) <= done for spec in group.specs)
            started += [spec.run_id for spec in group.specs]
            busy.append(group)
        assert busy, "runs are left, nothing is trained, and nothing may start"
        assert len(busy) <= workers
        ended = busy.pop(data.draw(st.integers(0, len(busy) - 1)))
        done |= {spec.run_id for spec in ended.specs}
    assert sorted(started) == runs


def test_the_last_group_is_shared_out_among_idle_workers() -> None:
    specs = tuple(RunSpec(str(i), "student", 0, {}) for i in range(6))
    waiting = [Group(specs, frozenset())]
    sizes = []
    for idle in (3, 2, 1):
        group = next_group(waiting, set(), 3, idle)
        assert group is not None
        sizes.append(len(group.specs))
    assert sum(sizes) + sum(len(g.specs) for g in waiting) == 6
    assert sizes[0] == 2
    alone = [Group(specs, frozenset())]
    assert next_group(alone, set(), 1, 1) == Group(specs, frozenset()), "one worker takes it whole"
