"""The recorder beside a study: live curves, retries, several processes, and trackers that break."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from tracking_samples import made_failure, made_lines, made_record, made_run, made_study, tree

from mmablate.errors import MissingExtra
from mmablate.tracking import Recorder, TableLog, recording, trackers
from mmablate.tracking.logs import Point
from mmablate.tracking.trackers import Wish

pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install mmablate[tracking]")
BOARD = [Wish("tensorboard")]


@pytest.fixture
def store(tmp_path):
    return made_study(tmp_path, {"a": "sup", "b": "sup+mad"})


def scalars(store, run_id, key):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = store.folder.glob(f"tensorboard/*-{run_id}")
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(key)] if key in events.Tags()["scalars"] else []


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def record_all(store, wishes=BOARD, **options):
    said = []
    with Recorder(wishes, store.out, said.append) as recorder:
        recorder.study_over("made", None, **options)
    return said


def test_curves_grow_while_a_run_is_trained(store, monkeypatch):
    monkeypatch.setattr(recording, "LIVE_SECONDS", 0.02)
    record = made_record("a")
    with Recorder(BOARD, store.out, lambda text: None) as recorder:
        recorder.follow("made")
        store.start_run("a", {"run_id": "a"}, made_lines(1))
        until(lambda: (store.folder / "tensorboard").exists() and len(list(store.folder.glob("tensorboard/*-a"))) == 1)
        until(lambda: scalars(store, "a", "epoch") == [(10, 1.0)])
        store.append_history("a", made_lines(1, 2)[0])
        until(lambda: len(scalars(store, "a", "epoch")) == 2)
        (file,) = store.folder.glob("tensorboard/*-a/events*")
        store.append_history("a", made_lines(1, 3)[0])
        store.finish_run(record)
        recorder.heard("made", record)
    assert scalars(store, "a", "epoch") == [(10, 1.0), (20, 2.0), (30, 3.0)]
    assert scalars(store, "a", "score/V") == [(4, 50.0)]
    assert list(store.folder.glob("tensorboard/*-a/events*")) == [file]


def test_a_run_that_is_cut_off_and_begins_anew(store, monkeypatch):
    monkeypatch.setattr(recording, "LIVE_SECONDS", 0.02)
    with Recorder(BOARD, store.out, lambda text: None) as recorder:
        recorder.follow("made")
        store.start_run("a", {"run_id": "a"}, made_lines(3))
        until(lambda: list(store.folder.glob("tensorboard/*-a")) and len(scalars(store, "a", "epoch")) == 3)
    made_run(store, made_record("a"), [{**line, "lr": 0.5} for line in made_lines(2)])
    record_all(store)
    assert scalars(store, "a", "lr") == [(10, 0.5), (20, 0.5)]


def test_a_failed_run_that_is_tried_again_is_replaced(store):
    made_run(store, made_failure("a"), made_lines(1))
    record_all(store)
    before = tree(store.folder / "tensorboard")
    made_run(store, made_record("a"))
    record_all(store)
    assert len(list(store.folder.glob("tensorboard/*-a/events*"))) == 1
    assert scalars(store, "a", "score/V") == [(4, 50.0)]
    assert tree(store.folder / "tensorboard") != before


def test_several_processes_log_a_run_once(store):
    for run_id in ("a", "b"):
        made_run(store, made_record(run_id))
    threads = [threading.Thread(target=record_all, args=(store,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.folder.glob("tensorboard/*/events*"))) == 2


def test_only_some_runs(store):
    for run_id in ("a", "b"):
        made_run(store, made_record(run_id))
    record_all(store, only=["b"])
    assert [path.name for path in store.folder.glob("tensorboard/*")] == ["sup+mad, seed 0-b"]


def test_a_tracker_that_breaks_is_told_once_and_hurts_nobody(store, capsys):
    (store.folder / "tracking").write_text("a file where a folder should be")
    for run_id in ("a", "b"):
        made_run(store, made_record(run_id))
    pytest.importorskip("wandb", reason="wandb is not installed: pip install mmablate[tracking]")
    with Recorder([Wish("wandb"), *BOARD], store.out, lambda text: None) as recorder:
        for run_id in ("a", "b"):
            recorder.heard("made", made_record(run_id))
        recorder.study_over("made", None)
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert "--track wandb failed and is left out" in told
    assert "tracking" in told
    assert "Traceback" not in told
    assert len(list(store.folder.glob("tensorboard/*/events*"))) == 2


def test_a_disk_that_fills_up(store, capsys, monkeypatch):
    for run_id in ("a", "b"):
        made_run(store, made_record(run_id))

    def full(tracker, run):
        raise OSError(28, "No space left on device")

    from mmablate.tracking.tensorboard_tracker import TensorBoardTracker

    monkeypatch.setattr(TensorBoardTracker, "write_run", full)
    record_all(store)
    assert capsys.readouterr().err.count("No space left on device") == 1
    monkeypatch.undo()
    record_all(store)
    assert scalars(store, "b", "score/V") == [(4, 50.0)]


def test_an_error_of_the_study_does_not_wait_for_trackers(store, monkeypatch):
    made_run(store, made_record("a"))
    monkeypatch.setattr(recording, "LEAVING_SECONDS", 0.1)
    gate, entered = threading.Event(), threading.Event()
    monkeypatch.setattr(recording, "read_run", lambda *arguments: entered.set() or gate.wait(30))
    recorder = Recorder(BOARD, store.out, lambda text: None)

    def study_that_fails():
        with recorder:
            recorder.heard("made", made_record("a"))
            assert entered.wait(30)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        study_that_fails()
    assert recorder.thread.is_alive()
    gate.set()
    recorder.thread.join()


def test_nothing_is_there_where_nothing_is_asked(tmp_path):
    with Recorder([], tmp_path / "out", pytest.fail) as recorder:
        recorder.follow("made")
        recorder.heard("made", made_record("a"))
        recorder.study_over("made", None)
    assert not (tmp_path / "out").exists()


def test_a_tracker_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", ("no_such_module", "mlflow-skinny"))
    with pytest.raises(MissingExtra, match=r'--track mlflow needs mlflow-skinny: pip install "mmablate\[tracking\]"'):
        Recorder([Wish("mlflow")], tmp_path, print)


def test_the_table_is_replaced_when_it_changes(store):
    tables = [TableLog("made", "T", f"| {i} |", "<b>", "{}", {"sup/V": float(i)}, True) for i in (1, 1, 2)]
    marks = []
    for table in tables:
        with Recorder(BOARD, store.out, lambda text: None) as recorder:
            recorder.study_over("made", table)
        marks.append(tree(store.folder / "tensorboard/table"))
    assert marks[0] == marks[1] != marks[2]
    assert len(marks[2]) == 2


def test_a_run_that_cannot_be_read_leaves_the_others_alone(store, capsys, monkeypatch):
    for run_id in ("a", "b"):
        made_run(store, made_record(run_id))
    read = recording.read_run

    def reading(store, study, record):
        if record.run_id == "a":
            raise RecursionError("nested\ntoo deeply")
        return read(store, study, record)

    monkeypatch.setattr(recording, "read_run", reading)
    record_all(store)
    told = capsys.readouterr().err
    assert told == "warning: tracking: run a of made is not logged: RecursionError: nested too deeply\n"
    assert scalars(store, "b", "score/V") == [(4, 50.0)]


def test_a_study_that_is_not_there(store, capsys):
    (store.folder / "study.json").write_text("{")
    record_all(store)
    assert capsys.readouterr().err.startswith("warning: tracking: StoreError")


def test_no_password_in_a_warning(store, capsys, monkeypatch):
    made_run(store, made_record("a"))

    def refused(*arguments):
        raise ConnectionError("API request to http://me:secret@server:5000/api failed")

    monkeypatch.setattr(recording, "open_tracker", refused)
    record_all(store)
    told = capsys.readouterr().err
    assert "http://server:5000/api" in told
    assert "secret" not in told


def test_a_history_that_becomes_another_one(store):
    from mmablate.tracking.tensorboard_tracker import TensorBoardTracker

    made_run(store, made_record("a"))
    run = recording.read_run(store, store.read_study(), made_record("a"))
    tracker = TensorBoardTracker("made", store.folder)
    tracker.follow(replace(run, points=(Point(10, 1.0, {"lr": 9.0}), Point(20, 2.0, {"lr": 9.0}))))
    tracker.write_run(run)
    assert scalars(store, "a", "lr") == [(10, pytest.approx(0.1)), (20, pytest.approx(0.1))]
    assert len(list(store.folder.glob("tensorboard/*/events*"))) == 1
