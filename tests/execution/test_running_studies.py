"""Running a study: what is there is left alone, what failed is told, what is asked for again is trained again."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from execution_samples import names, numbers, run, small_study, stored, tiles

from mmablate.errors import RecipeError
from mmablate.execution import Options, run_study, wanted_runs
from mmablate.results import RunError, RunRecord, StudyStore
from mmablate.results.leases import Leases
from mmablate.study import Study

ROWS = ["sup", "sup+mad", "sup+mad+umd"]
ALL = sorted([(name, seed) for name in (*ROWS, "teacher") for seed in (1, 2)])
DIVERGES = ("teacher.train.lr=1e30", "teacher.train.optimizer=sgd")


def times(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/runs/*/record.json")}


def spoil(out: Path, study: Study, row: str, seed: int) -> str:
    """Writes a failed record over a good one."""
    store = StudyStore(out, study.name)
    spec = next(s for s in study.runs if row in s.rows and s.seed == seed)
    record = store.read_record(spec.run_id)
    assert record is not None
    error = RunError(type="WorkerDied", message="out of memory")
    store.finish_run(record.model_copy(update={"status": "failed", "error": error, "metrics": {}}))
    return spec.run_id


@pytest.fixture
def copied(finished: Any, tmp_path: Path) -> Path:
    """The results of the finished study, in a folder of its own."""
    shutil.copytree(finished.out, tmp_path / "out")
    return tmp_path / "out"


def test_everything_is_trained_once(finished: Any) -> None:
    assert names(finished.outcome.trained) == ALL
    assert not finished.outcome.failed
    assert not finished.outcome.reused
    assert stored(finished.out, finished.study) == finished.numbers
    leftover = [p.name for p in finished.out.rglob(".*") if p.is_file()]
    assert not leftover, "no temporary file stays"


def test_a_second_run_trains_nothing(finished: Any, copied: Path) -> None:
    before = times(copied)
    outcome = run(finished.study, copied)
    assert names(outcome.reused) == ALL
    assert not outcome.trained
    assert times(copied) == before


def test_two_jobs_change_nothing(finished: Any, tmp_path: Path) -> None:
    outcome = run(finished.study, tmp_path / "out", jobs=2)
    assert not outcome.failed
    assert numbers(outcome.trained) == finished.numbers
    workers = {record.environment["worker"] for record in outcome.trained}
    assert len(workers) == 2
    assert f":{os.getpid()}" not in "".join(workers)
    assert {record.environment["threads"] for record in outcome.trained} == {1}
    execution = json.loads((tmp_path / "out/small/study.json").read_text())["execution"]
    assert execution == {"mode": "in_turn", "threads": 1, "device": "cpu", "jobs": 2, "processes": 1}


def test_rows_and_seeds_asked_for(finished: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(finished.study, out, rows=["sup"], seeds=[2])
    assert names(first.trained) == [("sup", 2)], "sup needs no teacher"
    second = run(finished.study, out, rows=["sup", "sup+mad"], seeds=[2])
    assert names(second.trained) == [("sup+mad", 2), ("teacher", 2)]
    assert names(second.reused) == [("sup", 2)]
    for run_id, values in numbers([*first.trained, *second.trained]).items():
        assert values == finished.numbers[run_id]


def test_a_teacher_that_is_a_row_is_wanted_for_itself(tmp_path: Path) -> None:
    shown = small_study(tmp_path, "teacher.row=true", "seeds=[1]")
    assert [s.role for s in wanted_runs(shown, ["sup"], [1])] == ["teacher", "student"]
    hidden = small_study(tmp_path, "seeds=[1]")
    assert [s.role for s in wanted_runs(hidden, ["sup"], [1])] == ["student"]


def test_a_sibling_study_is_taken_over_and_stands_alone(finished: Any, copied: Path, tmp_path: Path) -> None:
    other = small_study(tmp_path, "name=other")
    outcome = run(other, copied)
    assert not outcome.trained
    assert names(outcome.reused) == ALL
    shutil.rmtree(copied / "small")
    assert stored(copied, other) == finished.numbers
    assert len(list(copied.glob("other/runs/*/checkpoint.safetensors"))) == 2
    assert len(list(copied.glob("other/runs/*/history.jsonl"))) == len(ALL)
    more = run(small_study(tmp_path, "name=other", "losses.umd.weight=3"), copied)
    assert names(more.trained) == [("sup+mad+umd", 1), ("sup+mad+umd", 2)], "with the teachers taken over"


def test_failed_runs_of_a_sibling_are_not_taken_over(finished: Any, copied: Path, tmp_path: Path) -> None:
    spoil(copied, finished.study, "sup", 1)
    outcome = run(small_study(tmp_path, "name=other"), copied)
    assert names(outcome.trained) == [("sup", 1)]
    assert not outcome.failed
    assert numbers([*outcome.trained, *outcome.reused]) == finished.numbers


def test_force_trains_again_and_gets_the_same(finished: Any, copied: Path) -> None:
    before = times(copied)
    outcome = run(finished.study, copied, rows=["sup", "sup+mad"], seeds=[1], force=True)
    assert names(outcome.trained) == [("sup", 1), ("sup+mad", 1), ("teacher", 1)]
    changed = {run_id for run_id, time in times(copied).items() if time != before[run_id]}
    assert changed == {record.run_id for record in outcome.trained}
    assert stored(copied, finished.study) == finished.numbers


def test_force_does_not_reach_into_a_sibling(finished: Any, copied: Path, tmp_path: Path) -> None:
    other = small_study(tmp_path, "name=other")
    run(other, copied)
    before = {p: p.read_bytes() for p in sorted((copied / "small").rglob("runs/*/*"))}
    run(other, copied, rows=["sup"], seeds=[1], force=True)
    assert {p: p.read_bytes() for p in sorted((copied / "small").rglob("runs/*/*"))} == before


def test_failed_runs_are_told_and_trained_again_when_asked(finished: Any, copied: Path) -> None:
    run_id = spoil(copied, finished.study, "sup+mad", 2)
    again = run(finished.study, copied)
    assert not again.trained
    assert [record.run_id for record in again.failed] == [run_id]
    retried = run(finished.study, copied, retry_failed=True)
    assert [record.run_id for record in retried.trained] == [run_id]
    assert not retried.failed
    assert stored(copied, finished.study) == finished.numbers


def test_students_of_a_failed_teacher_fail_for_that_reason(finished: Any, tmp_path: Path) -> None:
    study = small_study(tmp_path, *DIVERGES, "seeds=[1]")
    out = tmp_path / "out"
    outcome = run(study, out)
    assert names(outcome.trained) == [("sup", 1)], "it has no teacher"
    assert numbers(outcome.trained).items() <= finished.numbers.items()
    errors = {record.row: record.error for record in outcome.failed}
    teacher = next(spec.run_id for spec in study.runs if spec.role == "teacher")
    assert errors[None].type == "NonFiniteLoss"
    for row in ROWS[1:]:
        assert errors[row].type == "UpstreamFailed"
        assert teacher in errors[row].message
        assert errors[row].step is None
    assert len(stored(out, study)) == 4

    assert names(run(study, out).failed) == names(outcome.failed)
    retried = run(study, out, retry_failed=True)
    assert names(retried.failed) == names(outcome.failed)
    # A row that comes later meets a teacher that failed earlier.
    later = small_study(tmp_path, *DIVERGES, "seeds=[1]", "losses.umd.weight=5")
    assert {r.error.type for r in run(later, out, rows=["sup+mad+umd"]).failed} == {"NonFiniteLoss", "UpstreamFailed"}


def test_fail_fast_stops_at_the_first_failure(tmp_path: Path) -> None:
    study = small_study(tmp_path, *DIVERGES)
    outcome = run(study, tmp_path / "out", fail_fast=True)
    assert names(outcome.failed) == [("teacher", 1)]
    assert not outcome.trained
    assert len(stored(tmp_path / "out", study)) == 1
    # Nothing stands in the way of going on.
    assert len(run(study, tmp_path / "out").trained) == 2


def test_a_teacher_whose_weights_are_gone_is_trained_again_when_needed(
    finished: Any, copied: Path, tmp_path: Path
) -> None:
    for path in copied.glob("small/runs/*/checkpoint.safetensors"):
        path.unlink()
    assert not run(finished.study, copied).trained, "nothing reads it"
    study = small_study(tmp_path, "losses.umd.weight=4")
    outcome = run(study, copied, seeds=[1])
    assert names(outcome.trained) == [("sup+mad+umd", 1), ("teacher", 1)]
    assert names(outcome.reused) == [("sup", 1), ("sup+mad", 1)]
    teacher = next(record for record in outcome.trained if record.row is None)
    assert teacher.digests == finished.numbers[teacher.run_id]["digests"]


def test_a_damaged_record_counts_as_none(finished: Any, copied: Path) -> None:
    run_id = next(record.run_id for record in finished.outcome.trained if record.row == "sup")
    (copied / "small/runs" / run_id / "record.json").write_text('{"run_id": ')
    outcome = run(finished.study, copied)
    assert [record.run_id for record in outcome.trained] == [run_id]
    assert stored(copied, finished.study) == finished.numbers


def test_every_run_is_told_once_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = small_study(tmp_path, "seeds=[1]", "rows=[[sup]]", "teacher.row=true")
    wanted = wanted_runs(study, ["sup"], [1])
    run_study(study, wanted, Options(tmp_path / "out", "cpu", 1), tiles(), None)
    told = capsys.readouterr()
    assert told.out == ""
    assert [line.split(":")[0] for line in told.err.splitlines()] == ["[1/2] teacher, seed 1", "[2/2] sup, seed 1"]


def test_a_record_says_what_ran_it(finished: Any) -> None:
    record: RunRecord = finished.outcome.trained[0]
    assert {"worker", "device", "torch", "threads", "precision"} <= set(record.environment)
    assert record.environment["device"] == "cpu"


def test_scenes_are_shown_for_the_rows_that_see_them(tmp_path: Path) -> None:
    """A row that cuts the scene otherwise has other samples: it is scored, and shown nowhere."""
    other = "{name: other, losses: [sup], overrides: {data.split_seed: 3}}"
    study = small_study(tmp_path, f"rows=[[sup], {other}]", "baseline=sup", "seeds=[1]")
    outcome = run(study, tmp_path / "out")
    assert not outcome.failed
    shown = {r.row: (tmp_path / "out/small/runs" / r.run_id / "predictions.npz").exists() for r in outcome.trained}
    assert shown == {"sup": True, "other": False}
    assert (tmp_path / "out/small/samples.npz").exists()


def test_a_report_without_samples_keeps_no_predictions(tmp_path: Path) -> None:
    study = small_study(tmp_path, "rows=[[sup]]", "baseline=sup", "seeds=[1]", "report.samples=0")
    run(study, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.npz"))


def test_conditions_that_the_data_lack_are_told_before_training(tmp_path: Path) -> None:
    study = small_study(tmp_path, "report.conditions=[night]")
    with pytest.raises(RecipeError, match=r"report.conditions: conditions of the data \(they have none\)"):
        run(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("train.accumulate=99", "train.accumulate: at most the 15 images of a batch, got 99"),
        (
            "train.augment.photometric=[X]",
            r"train.augment.photometric: modalities of the data \(V, N, S\), got \['X'\]",
        ),
        ("teacher.train.augment.crop=[90,90]", r"teacher.train.augment.crop: at most the images' \(16, 16\)"),
    ],
)
def test_what_does_not_fit_the_data_is_told_by_its_key(tmp_path: Path, override: str, text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        run(small_study(tmp_path, override), tmp_path / "out")


def test_force_forgets_how_far_an_earlier_try_had_come(finished: Any, tmp_path: Path) -> None:
    out, study = tmp_path / "out", finished.study
    store = StudyStore(out, study.name)
    store.prepare()
    spec = next(s for s in study.runs if s.role == "teacher")
    store.run_folder(spec.run_id).mkdir()
    state = store.run_folder(spec.run_id) / "state.safetensors"
    state.write_bytes(b"of an earlier try")
    outcome = run(study, out, rows=["sup+mad"], seeds=[spec.seed], force=True)
    assert not outcome.failed
    assert not state.exists()
    assert all("resumed_at_step" not in record.environment for record in outcome.trained)


def test_failures_of_earlier_calls_do_not_stop_a_new_one(finished: Any, copied: Path) -> None:
    store = StudyStore(copied, finished.study.name)
    spec = next(s for s in finished.study.runs if s.rows == ("sup",))
    record = store.read_record(spec.run_id)
    assert record is not None
    error = {"type": "ValueError", "message": "yesterday", "step": 1}
    store.finish_run(record.model_validate({**record.model_dump(), "status": "failed", "error": error, "metrics": {}}))
    other = next(s for s in finished.study.runs if s.rows == ("sup+mad",) and s.seed == spec.seed)
    shutil.rmtree(store.run_folder(other.run_id))
    outcome = run(finished.study, copied, fail_fast=True)
    assert [r.run_id for r in outcome.trained] == [other.run_id]
    assert [r.run_id for r in outcome.failed] == [spec.run_id]


def test_what_a_dead_machine_held_is_taken_over(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a process of another machine lives cannot be looked up: only that it has been silent for long."""
    out, study = tmp_path / "out", finished.study
    store = StudyStore(out, study.name)
    store.prepare()
    monkeypatch.setitem(Leases.__init__.__kwdefaults__, "ttl", 0.6)
    for spec in study.runs[:3]:
        lease = {"worker": "far:1", "machine": "far/x/y", "pid": 1, "started": "1", "token": "t"}
        (out / ".leases" / spec.run_id).write_text(json.dumps(lease))
    outcome = run(study, out)
    assert not outcome.failed
    assert stored(out, study) == finished.numbers
    assert not [path for path in (out / ".leases").iterdir() if not path.name.startswith(".")]
