"""Runs in the store: what is valid, taking over from siblings, and two processes at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import failed, prepared, record

from mmablate.errors import StoreError
from mmablate.results import RunRecord, StudyStore, find_studies

A, B = "a" * 16, "b" * 16
KEYS = ["run_id", "study", "row", "seed", "status", "error", "metrics", "n_parameters", "seconds", "steps"]
KEYS += ["depends_on", "digests", "environment"]
STUDY = {"name": "s", "plan": [], "table": {"columns": ["V"], "column_info": {"V": {}}, "rows": []}}


# --- one run ----------------------------------------------------------------------------------------------


def test_a_run_is_finished_when_its_record_is_there(tmp_path):
    store = prepared(tmp_path)
    store.start_run(A, {"lr": 1})
    store.append_history(A, {"epoch": 1, "loss": 0.5, "bad": float("nan"), "terms": {"mad": float("inf")}})
    assert store.read_record(A) is None
    assert not store.has_finished(A)
    store.finish_run(record())
    assert store.read_record(A) == record()
    assert store.has_finished(A)
    folder = store.run_folder(A)
    assert json.loads((folder / "config.json").read_text()) == {"lr": 1}
    assert json.loads((folder / "history.jsonl").read_text()) == {
        "epoch": 1,
        "loss": 0.5,
        "bad": None,
        "terms": {"mad": None},
    }
    assert sorted(json.loads((folder / "record.json").read_text())) == sorted(RunRecord.model_fields)


def test_starting_again_drops_the_history_of_the_unfinished_try(tmp_path):
    store = prepared(tmp_path)
    for _ in range(2):
        store.start_run(A, {})
        store.append_history(A, {"epoch": 1})
    assert len((store.run_folder(A) / "history.jsonl").read_text().splitlines()) == 1


def test_a_failed_run_has_a_record_and_is_not_finished(tmp_path):
    store = prepared(tmp_path)
    store.finish_run(failed())
    assert store.read_record(A).error.step == 17
    assert not store.has_finished(A)
    assert not prepared(tmp_path, "other").adopt(A)


def spoil(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def without(key):
    return lambda path: spoil(path, lambda value: value.pop(key))


INVALID = {
    "half written": lambda path: path.write_text(path.read_text()[:40]),
    "empty": lambda path: path.write_text(""),
    "binary": lambda path: path.write_bytes(b"\xff\x00\xfe"),
    "a list": lambda path: path.write_text("[]"),
    "a number": lambda path: path.write_text("1"),
    "null": lambda path: path.write_text("null"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "another id": lambda path: spoil(path, lambda v: v.update(run_id=B)),
    "NaN metric": lambda path: spoil(path, lambda v: v["metrics"].update(V=float("nan"))),
    "infinite metric": lambda path: spoil(path, lambda v: v["metrics"].update(V=float("inf"))),
    "NaN seconds": lambda path: spoil(path, lambda v: v.update(seconds=float("nan"))),
    "null metric": lambda path: spoil(path, lambda v: v["metrics"].update(V=None)),
    "status": lambda path: spoil(path, lambda v: v.update(status="done")),
    "seed as text": lambda path: spoil(path, lambda v: v.update(seed="zero")),
    "huge number": lambda path: path.write_text('{"seed": ' + "1" * 9000 + "}"),
    **{f"no {key}": without(key) for key in KEYS},
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_records_are_named_and_left_out(case, tmp_path):
    store = prepared(tmp_path)
    store.finish_run(record(A))
    store.finish_run(record(B))
    path = store.run_folder(A) / "record.json"
    INVALID[case](path)
    good, bad = store.records()
    assert [r.run_id for r in good] == [B]
    (line,) = bad
    assert line.startswith(str(path))
    if case.startswith("no "):
        assert f"({case[3:]}: Field required)" in line
    assert store.read_record(A) is None
    assert not store.has_finished(A)
    assert not prepared(tmp_path, "other").adopt(A)


def test_the_id_is_not_recomputed_and_further_keys_are_allowed(tmp_path):
    store = prepared(tmp_path)
    store.finish_run(record("copied"))
    spoil(store.run_folder("copied") / "record.json", lambda v: v.update(mine=1))
    good, bad = store.records()
    assert ([r.run_id for r in good], bad) == (["copied"], [])


metrics = st.dictionaries(st.text(max_size=4), st.floats(allow_nan=False, allow_infinity=False), max_size=4)


@given(
    metrics=metrics,
    seed=st.integers(0, 2**31 - 1),
    seconds=st.floats(0, 1e9) | st.none(),
    row=st.none() | st.text(max_size=5),
)
def test_a_record_comes_back_as_it_was_written(tmp_path_factory, metrics, seed, seconds, row):
    store = prepared(tmp_path_factory.getbasetemp(), "any")
    written = record(metrics=metrics, seed=seed, seconds=seconds, row=row)
    store.finish_run(written)
    assert store.read_record(A) == written


# --- the study --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", '{"plan": [], "table": {}}', "{", '{"name": "s", "plan": [1], "table": {"columns": [], "rows": []}}',
     '{"name": "s", "plan": [], "table": {"columns": ["V"], "column_info": {}, "rows": []}}'],
)  # fmt: skip
def test_a_damaged_study_is_told_with_its_path(content, tmp_path):
    store = prepared(tmp_path)
    path = store.folder / "study.json"
    path.write_text(content)
    with pytest.raises(StoreError) as caught:
        store.read_study()
    assert str(caught.value).startswith(str(path))


def test_update_sees_the_old_study_and_replaces_it(tmp_path):
    store = prepared(tmp_path)
    assert store.update_study(lambda old: {**STUDY, "old": old}) == {**STUDY, "old": None}
    store.update_study(lambda old: {**STUDY, "old": old["name"]})
    assert store.read_study()["old"] == "s"


def test_studies_are_found_one_or_many(tmp_path):
    for name in ("b", "a"):
        prepared(tmp_path, name).update_study(lambda old: STUDY)
    (tmp_path / "unrelated").mkdir()
    assert [store.name for store in find_studies(tmp_path)] == ["a", "b"]
    assert [store.folder for store in find_studies(tmp_path / "a")] == [tmp_path / "a"]
    with pytest.raises(StoreError, match="no study in it"):
        find_studies(tmp_path / "unrelated")
    with pytest.raises(StoreError, match="no such file or folder"):
        find_studies(tmp_path / "nowhere")


# --- taking over ------------------------------------------------------------------------------------------


def finished(out, name):
    store = prepared(out, name)
    store.start_run(A, {"lr": 1})
    store.append_history(A, {"epoch": 1})
    (store.run_folder(A) / "checkpoint.safetensors").write_bytes(b"weights")
    store.finish_run(record(study=name))
    return store


def contents(store):
    return {path.name: path.read_bytes() for path in store.run_folder(A).iterdir()}


@pytest.mark.parametrize("links", [True, False])
def test_a_siblings_run_is_taken_over_and_independent(links, tmp_path, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", lambda *a: (_ for _ in ()).throw(OSError(1, "not permitted")))
    first = finished(tmp_path, "first")
    second = prepared(tmp_path, "second")
    assert second.has_finished(A)
    assert second.adopt(A)
    before = contents(first)
    assert contents(second) == before
    assert (second.run_folder(A) / "record.json").samefile(first.run_folder(A) / "record.json") == links
    # --force in one study leaves the other as it was.
    second.start_run(A, {"lr": 2})
    second.append_history(A, {"epoch": 7})
    second.finish_run(record(study="second", metrics={"V": 1.0}))
    assert contents(first) == before
    assert second.read_record(A).metrics == {"V": 1.0}
    first.start_run(A, {"lr": 3})
    assert json.loads((second.run_folder(A) / "config.json").read_text()) == {"lr": 2}
    assert (second.run_folder(A) / "history.jsonl").read_text().count("7") == 1


def test_a_study_that_has_taken_over_stands_alone_and_can_be_moved(tmp_path):
    first, second = finished(tmp_path / "out", "first"), prepared(tmp_path / "out", "second")
    assert second.adopt(A)
    shutil.rmtree(first.folder)
    shutil.move(second.folder, tmp_path / "moved")
    moved = StudyStore(tmp_path, "moved")
    assert moved.read_record(A).status == "ok"
    assert contents(moved)["checkpoint.safetensors"] == b"weights"


def test_nothing_is_taken_from_itself_from_elsewhere_or_while_unfinished(tmp_path):
    store = finished(tmp_path / "out", "first")
    assert not store.adopt(A)
    assert not prepared(tmp_path / "other", "second").adopt(A)
    third = prepared(tmp_path / "out", "third")
    assert not third.adopt(B)
    third.start_run(B, {})
    assert not prepared(tmp_path / "out", "second").adopt(B)


def test_a_damaged_sibling_is_passed_over_for_a_sound_one(tmp_path):
    bad, good = finished(tmp_path, "bad"), finished(tmp_path, "good")
    (bad.run_folder(A) / "record.json").write_text("{")
    third = prepared(tmp_path, "third")
    assert third.adopt(A)
    assert third.read_record(A).study == "good"
    assert good.read_record(A) is not None


def test_the_record_is_taken_over_last(tmp_path, monkeypatch):
    finished(tmp_path, "first")
    second = prepared(tmp_path, "second")
    seen = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (seen.append(target.name), real(source, target)))
    assert second.adopt(A)
    assert seen[-1] == "record.json"
    assert len(seen) == 4


# --- two processes ----------------------------------------------------------------------------------------


def test_two_processes_that_update_a_study_lose_nothing(tmp_path):
    store = prepared(tmp_path)
    store.update_study(lambda old: {**STUDY, "count": 0})
    code = (
        "import sys, pathlib\n"
        "from mmablate.results import StudyStore\n"
        "store = StudyStore(pathlib.Path(sys.argv[1]), 's')\n"
        "for _ in range(25): store.update_study(lambda old: {**old, 'count': old['count'] + 1})\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert store.read_study()["count"] == 50
