"""Records that cannot be trusted: they are told, never raised, never taken for another record, and set aside."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import failed, prepared, record

from mmablate.errors import StoreError
from mmablate.results import RunRecord, StudyStore

A, B = "a" * 16, "b" * 16
SOUND = record(
    error=failed().error, row=None, flops=2.0, conditions={"night": {"V": 1.5}}, validation={"V": 49.0},
    environment={"worker": "wörker", "threads": 1}, selected_epoch=3, scored_on="test",
)  # fmt: skip
TEXT = json.dumps(SOUND.model_dump(mode="json"), ensure_ascii=False, indent=1).encode()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with one sound run B and the run A, whose record is put there by `put`."""
    made = prepared(tmp_path_factory.mktemp("hostile"))
    made.finish_run(record(B))
    made.start_run(A, {})
    return made


def put(store, content):
    path = store.run_folder(A) / "record.json"
    path.write_bytes(content)
    return path


def looked_at(store, content):
    """The record that every reader of the store agrees on, None where it is told as damaged."""
    path = put(store, content)
    good, bad = store.records()
    found = {r.run_id: r for r in good}
    assert found.pop(B) == record(B)
    assert store.read_record(A) == found.get(A)
    assert store.has_finished(A) == (A in found and found[A].status == "ok")
    assert found.keys() <= {A}
    if A not in found:
        (line,) = bad
        assert line.startswith(str(path))
        assert line.isprintable()
        assert len(line) < 1000
    return found.get(A)


def says(value, record):
    """Whether a parsed file says of every field what the record says, value and type."""
    written = record.model_dump()
    missing = object()
    for key, field in RunRecord.model_fields.items():
        given = value.get(key, missing)
        if given is missing:
            assert not field.is_required()
            continue
        if not same(given, written[key]):
            return False
    return True


def same(given, kept):
    if isinstance(kept, dict):
        return isinstance(given, dict) and all(same(given.get(key), kept[key]) for key in kept)
    if isinstance(kept, list):
        return isinstance(given, list) and len(given) == len(kept) and all(map(same, given, kept))
    if isinstance(kept, bool) or isinstance(given, bool):
        return given is kept
    if isinstance(kept, int | float):
        # Only the environment, which nobody computes with, may hold NaN.
        return isinstance(given, int | float) and (given == kept or (math.isnan(given) and math.isnan(kept)))
    return type(given) is type(kept) and given == kept


def test_the_sound_record_is_read(store):
    assert looked_at(store, TEXT) == SOUND
    assert says(json.loads(TEXT), SOUND)


@given(st.binary(max_size=300))
def test_random_bytes_are_no_record(store, content):
    assert looked_at(store, content) is None


@given(st.integers(0, len(TEXT) - 2))
def test_a_truncated_record_is_no_record(store, length):
    assert looked_at(store, TEXT[:length]) is None


@given(st.integers(0, len(TEXT) - 2), st.integers(1, 64))
def test_a_record_whose_pages_are_lost_is_no_record(store, start, length):
    lost = TEXT[:start] + bytes(len(TEXT[start : start + length])) + TEXT[start + length :]
    assert looked_at(store, lost) is None


@given(st.integers(1, len(TEXT) - 1))
def test_a_record_with_the_rest_of_an_older_one_behind_it_is_no_record(store, start):
    assert looked_at(store, TEXT + TEXT[start:]) is None or not TEXT[start:].strip()


@given(
    st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4)
)
def test_changed_bytes_are_told_or_read_as_they_stand(store, edits):
    content = TEXT
    for place, removed, added in edits:
        content = content[:place] + added + content[place + removed :]
    found = looked_at(store, content)
    assert found is None or says(json.loads(content), found)


names = st.sampled_from([*RunRecord.model_fields, "V", "x", "\ud800", "a\nb", "\x1b[31m", A])
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 7), st.sampled_from([10**400, 2**63, -1, 0.5, 1e308, 3.0, 1e22]),
    st.just(float("nan")), st.just(float("inf")), st.sampled_from(["ok", "failed", "student", "0", "5.5", "true", ""]),
    names,
)  # fmt: skip
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from(list(RunRecord.model_fields)), junk, min_size=1, max_size=3))
def test_junk_in_any_field_is_told_or_read_as_it_stands(store, changes):
    value = {**json.loads(TEXT), **changes}
    found = looked_at(store, json.dumps(value).encode())
    assert found is None or says(value, found)


@given(junk)
def test_junk_in_the_place_of_a_record_is_told(store, value):
    assert looked_at(store, json.dumps(value).encode()) is None


def changed(**changes):
    return json.dumps({**json.loads(TEXT), **changes}).encode()


HOSTILE = {
    "deep list": b"[" * 100_000,
    "deep mapping": b'{"a":' * 100_000,
    "deep environment": TEXT.replace(b'"threads": 1', b'"threads": ' + b"[" * 50_000 + b"]" * 50_000),
    "a number of thousands of digits": TEXT.replace(b'"threads": 1', b'"threads": ' + b"9" * 9000),
    "score beyond a double": TEXT.replace(b"50.0", b"1e999"),
    "score of a huge integer": changed(metrics={"V": 10**400}),
    "score in quotes": changed(metrics={"V": "50.0"}),
    "true as a score": changed(metrics={"V": True}),
    "seed in quotes": changed(seed="0"),
    "true as a seed": changed(seed=True),
    "half a seed": changed(seed=0.5),
    "half a character": changed(study="\ud800"),
    "half a character as a key": changed(metrics={"\udfff": 1.0}),
    "UTF-16": TEXT.decode().encode("utf-16-be")[1:],
    "another run": changed(run_id=B),
    "another run of an endless name": changed(run_id="z" * 99_999),
    "a key of an endless name": changed(metrics={"k" * 99_999: None}),
    "a key of two lines": changed(metrics={"a\nb\x1b[31m": None}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_is_told(store, name):
    assert looked_at(store, HOSTILE[name]) is None


def test_whole_numbers_of_other_tools_are_read(store):
    assert looked_at(store, changed(seed=0.0, steps=4.0, seconds=2, metrics={"V": 50})).metrics == {"V": 50.0}


# --- what is no file of a record ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a device", "a link to itself"])
def test_what_is_no_file_is_told_and_never_waited_for(tmp_path, kind):
    store = prepared(tmp_path)
    store.start_run(A, {})
    path = store.run_folder(A) / "record.json"
    {
        "a folder": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
        "a device": lambda: path.symlink_to("/dev/zero"),
        "a link to itself": lambda: path.symlink_to(path),
    }[kind]()
    good, (line,) = store.records()
    assert (good, store.read_record(A), store.has_finished(A)) == ([], None, False)
    assert line.startswith(f"{path}: cannot be read: ")


def as_nobody(code, *arguments):
    """Runs code without the rights of the superuser."""
    start = "import os, sys, pathlib\nif os.geteuid() == 0: os.setgid(65534), os.setuid(65534)\n"
    start += "from mmablate.results import StudyStore\nstore = StudyStore(pathlib.Path(sys.argv[1]), 's')\n"
    # What the interpreter imports may lie below folders that nobody else may enter: import first.
    imports = "import mmablate.results, filelock, pydantic\n"
    command = [sys.executable, "-c", imports + start + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def open_folder(tmp_path):
    """A folder that everybody may enter, its parents included."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o005 != 0o005:
            if not str(folder).startswith(str(tmp_path.parents[1])):
                pytest.skip(f"{folder} cannot be entered by everybody")
            folder.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("what", ["record", "run", "runs"])
def test_what_may_not_be_read_is_told_and_never_set_aside(open_folder, what):
    store = prepared(open_folder)
    store.finish_run(record())
    path = {"record": store.run_folder(A) / "record.json", "run": store.run_folder(A), "runs": store.runs}[what]
    path.chmod(0o000)
    code = (
        "print(store.records())\nprint(store.read_record(sys.argv[2]), store.has_finished(sys.argv[2]))\n"
        "try: store.set_aside(sys.argv[2])\nexcept Exception as error: print(type(error).__name__)\n"
    )
    try:
        done = as_nobody(code, open_folder, A)
    finally:
        path.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    told, quiet, refused = done.stdout.splitlines()
    assert told.startswith("([], [")
    assert "cannot be read: Permission denied" in told
    assert (quiet, refused) == ("None False", "StoreError")
    assert store.read_record(A) == record()


# --- setting aside -----------------------------------------------------------------------------------------


def spoilt(store, content=b"{"):
    store.finish_run(record())
    return put(store, content)


def test_a_sound_or_missing_record_stays(tmp_path):
    store = prepared(tmp_path)
    assert store.set_aside(A) is None
    store.start_run(A, {})
    assert store.set_aside(A) is None
    for one in (record(), failed()):
        store.finish_run(one)
        assert store.set_aside(A) is None
        assert store.read_record(A) == one
    (store.runs / B).write_text("a file in the place of a run's folder")
    assert store.set_aside(B) is None


@pytest.mark.parametrize("content", [b"", TEXT[:99], b"[]", b"\xff", TEXT.replace(b'"seed"', b'"sead"'),
                                     TEXT.replace(A.encode(), B.encode())])  # fmt: skip
def test_a_damaged_record_is_renamed_with_its_content(tmp_path, content):
    store = prepared(tmp_path)
    path = spoilt(store, content)
    assert store.set_aside(A) == path.with_name("record.damaged-1.json")
    assert path.with_name("record.damaged-1.json").read_bytes() == content
    assert not path.exists()
    assert store.set_aside(A) is None


def test_an_earlier_one_is_never_replaced(tmp_path):
    store = prepared(tmp_path)
    folder = store.run_folder(A)
    for number in (1, 2):
        spoilt(store, b"%d{" % number)
        assert store.set_aside(A) == folder / f"record.damaged-{number}.json"
    (folder / "record.damaged-11.json").write_text("mine")
    spoilt(store, b"3{")
    assert store.set_aside(A) == folder / "record.damaged-12.json"
    path = spoilt(store)
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("kept")
    assert store.set_aside(A) == folder / "record.damaged-13.json"
    assert (folder / "record.damaged-13.json" / "inside").read_text() == "kept"
    names = {p.name: p.read_bytes() for p in folder.glob("record.damaged-*") if p.is_file()}
    assert names == {"record.damaged-1.json": b"1{", "record.damaged-2.json": b"2{", "record.damaged-11.json": b"mine",
                     "record.damaged-12.json": b"3{"}  # fmt: skip
    store.finish_run(record())
    assert store.read_record(A) == record()


def test_a_name_that_another_process_takes_meanwhile_is_left_to_it(tmp_path, monkeypatch):
    store = prepared(tmp_path)
    spoilt(store)
    taken = store.run_folder(A) / "record.damaged-1.json"
    taken.write_text("another's")
    monkeypatch.setattr("mmablate.results.store._set_aside_in", lambda folder: [])
    assert store.set_aside(A).name == "record.damaged-2.json"
    assert taken.read_text() == "another's"


def test_it_is_durable_only_when_the_folder_is_synced(tmp_path, monkeypatch):
    store = prepared(tmp_path)
    path = spoilt(store)
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append((os.readlink(f"/proc/self/fd/{handle}"),
                                                                    path.exists())), real(handle)))  # fmt: skip
    store.set_aside(A)
    assert synced == [(str(path.parent), False)]  # the run's folder, after the rename


@pytest.mark.parametrize("where", ["os.replace", "os.fsync"])
def test_what_cannot_be_renamed_or_synced_is_told_and_nothing_is_lost(tmp_path, monkeypatch, where):
    store = prepared(tmp_path)
    path = spoilt(store, b"{mine")
    monkeypatch.setattr(where, lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=r"record\.json: cannot be set aside: No space left on device"):
        store.set_aside(A)
    assert b"{mine" in [p.read_bytes() for p in path.parent.iterdir()]


def test_a_process_killed_in_between_loses_nothing(tmp_path):
    store = prepared(tmp_path)
    path = spoilt(store, b"{mine")
    code = (
        "import os, sys, pathlib\nfrom mmablate.results import StudyStore\nos.replace = lambda *a: os._exit(9)\n"
        "StudyStore(pathlib.Path(sys.argv[1]), 's').set_aside('a' * 16)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    assert path.read_bytes() == b"{mine"
    where = store.set_aside(A)
    assert where.name == "record.damaged-2.json"
    assert where.read_bytes() == b"{mine"


def test_it_is_told_until_the_run_is_finished(tmp_path):
    store = prepared(tmp_path)
    spoilt(store)
    where = store.set_aside(A)
    assert store.records() == ([], [f"{where}: a damaged record, set aside; its run is not finished since then"])
    assert store.records()[1] == store.records()[1]  # reading moves nothing
    store.finish_run(record())
    assert store.records() == ([record()], [])


def test_what_was_set_aside_is_not_taken_over_by_a_sibling(tmp_path):
    store = prepared(tmp_path)
    spoilt(store)
    store.set_aside(A)
    store.finish_run(record())
    other = prepared(tmp_path, "other")
    assert other.adopt(A)
    assert [p.name for p in other.run_folder(A).iterdir()] == ["record.json"]


def test_readers_never_move_anything(tmp_path):
    store = prepared(tmp_path)
    path = spoilt(store)
    before = sorted(Path(tmp_path).rglob("*"))
    store.records()
    store.read_record(A)
    store.has_finished(A)
    StudyStore(tmp_path, "other").has_finished(A)
    assert sorted(Path(tmp_path).rglob("*")) == before
    assert path.read_bytes() == b"{"
