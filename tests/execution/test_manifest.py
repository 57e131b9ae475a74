"""study.json: seeds of earlier calls stay, rows that changed are superseded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from execution_samples import small_study, summary, tiles

from mmablate.execution.manifest import manifest
from mmablate.study import Study

EXECUTION = {"mode": "in_turn", "threads": 1, "device": "cpu", "jobs": 1}


def made(study: Study, old: Any = None) -> dict[str, Any]:
    return manifest(study, study.runs, tiles(), summary(), EXECUTION, old)


def ids(study: Study, *rows: str) -> set[str]:
    return {s.run_id for s in study.runs if set(rows) & set(s.rows)}


def run_ids(entries: list[dict[str, Any]]) -> set[str]:
    return {entry["run_id"] for entry in entries}


def planned(written: dict[str, Any]) -> dict[str, dict[str, Any]]:
    entries = {entry["run_id"]: entry for entry in written["plan"]}
    assert len(entries) == len(written["plan"]), "a run is planned once"
    return entries


def test_the_plan_names_every_run(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    written = made(study)
    entries = planned(written)
    assert list(entries) == [spec.run_id for spec in study.runs]
    for spec in study.runs:
        entry = entries[spec.run_id]
        assert (entry["role"], entry["seed"], tuple(entry["rows"])) == (spec.role, spec.seed, spec.rows)
        assert tuple(entry["depends_on"]) == spec.depends_on
    assert written["superseded"] == []
    assert written["execution"] == EXECUTION
    assert written["created"] == written["updated"]


def test_other_seeds_stay_with_their_teachers(tmp_path: Path) -> None:
    first, second = small_study(tmp_path, "seeds=[1]"), small_study(tmp_path, "seeds=[2, 3]")
    old = made(first)
    written = made(second, old)
    assert set(planned(written)) == {s.run_id for s in (*first.runs, *second.runs)}
    assert written["superseded"] == []
    assert written["created"] == old["created"]
    again = made(first, written)
    assert set(planned(again)) == set(planned(written))
    order = [entry["run_id"] for entry in again["plan"]]
    for entry in again["plan"]:
        assert all(order.index(upstream) < order.index(entry["run_id"]) for upstream in entry["depends_on"])


def test_a_row_that_changed_supersedes_its_runs(tmp_path: Path) -> None:
    first = small_study(tmp_path)
    second = small_study(tmp_path, "losses.umd.weight=3", "seeds=[1]")
    written = made(second, made(first))
    assert run_ids(written["superseded"]) == ids(first, "sup+mad+umd")
    kept = planned(written)
    assert ids(first, "sup", "sup+mad") <= set(kept), "seed 2 of the other rows"
    assert not set(kept) & run_ids(written["superseded"])


def test_going_back_makes_a_run_count_again(tmp_path: Path) -> None:
    first, second = small_study(tmp_path), small_study(tmp_path, "losses.umd.weight=3")
    back = made(first, made(second, made(first)))
    assert run_ids(back["superseded"]) == ids(second, "sup+mad+umd")
    assert ids(first, "sup+mad+umd") <= set(planned(back))
    fewer = made(small_study(tmp_path, "seeds=[1]"), made(second, made(first)))
    assert set(planned(fewer)) == {s.run_id for s in first.runs}, "the other seeds, and their teachers, too"


def test_a_change_of_training_supersedes_all_and_their_teachers(tmp_path: Path) -> None:
    first, second = small_study(tmp_path), small_study(tmp_path, "train.lr=0.5")
    written = made(second, made(first))
    assert run_ids(written["superseded"]) == {s.run_id for s in first.runs}
    assert set(planned(written)) == {s.run_id for s in second.runs}


def test_a_row_that_was_removed_is_superseded(tmp_path: Path) -> None:
    first, second = small_study(tmp_path), small_study(tmp_path, "rows=[[sup], [sup, mad]]")
    written = made(second, made(first))
    assert run_ids(written["superseded"]) == ids(first, "sup+mad+umd")


def test_the_folder_of_the_user_is_not_written_down(tmp_path: Path) -> None:
    written = made(small_study(tmp_path))
    assert str(tmp_path) not in str(written)
    assert "root" not in written["recipe"]["data"]


def test_only_what_is_wanted_is_planned_and_the_rest_stays(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    old = made(study)
    one = [spec for spec in small_study(tmp_path, "seeds=[7]").runs if spec.rows == ("sup",)]
    written = manifest(study, one, tiles(), summary(), EXECUTION, old)
    assert set(planned(written)) == run_ids(old["plan"]) | {one[0].run_id}
    assert written["superseded"] == []


def test_another_shared_teacher_is_another_row(tmp_path: Path) -> None:
    """Seeds of one row under two teachers would be one row of two experiments."""
    first, second = (small_study(tmp_path, "teacher.seed=shared", f"seeds={seeds}") for seeds in ([1, 2], [5, 6]))
    written = made(second, made(first))
    assert ids(first, "sup+mad") <= run_ids(written["superseded"])
    assert ids(first, "sup") <= set(planned(written)), "a row without a teacher does not mind"


def test_a_run_shared_by_two_rows_stays_with_both(tmp_path: Path) -> None:
    rows = "rows=[[sup, mad], {name: fixed, losses: [sup, mad], overrides: {teacher.seed: 1}}]"
    first, second = (small_study(tmp_path, rows, f"seeds={seeds}", "baseline=fixed") for seeds in ([1], [2, 3]))
    written = made(second, made(first))
    (shared,) = [spec.run_id for spec in first.runs if spec.role == "student"]
    assert planned(written)[shared]["rows"] == ["sup+mad", "fixed"]


def test_the_score_of_the_most_frequent_class_is_named_by_the_task(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    card = replace(summary(), majority_class="rain", majority_miou=12.345)
    whole = replace(card, task="classification", majority_miou=None, majority_accuracy=50.0)
    told = "Always predicting the most frequent training class (rain) gives"
    assert f"{told} 12.35 % mIoU on this split." in manifest(study, study.runs, tiles(), card, EXECUTION, None)["notes"]
    assert (
        f"{told} 50.00 % accuracy on this split."
        in manifest(study, study.runs, tiles(), whole, EXECUTION, None)["notes"]
    )
