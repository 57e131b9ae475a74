"""Files are written whole or not at all, and what cannot be written is told with its path."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import prepared, record

from mmablate.errors import StoreError
from mmablate.results import StudyStore
from mmablate.results.files import read_json, write_atomic, write_json


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("where", ["os.replace", "os.fsync"])
def test_a_writer_that_is_killed_leaves_the_old_content(where, tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"old": 1})
    code = (
        "import os, sys, pathlib\n"
        "from mmablate.results.files import write_json\n"
        f"{where} = lambda *a: os._exit(9)\n"
        "write_json(pathlib.Path(sys.argv[1]), {'new': 2})\n"
    )
    assert run(code, path).returncode == 9
    assert read_json(path) == {"old": 1}
    write_json(path, {"newer": 3})
    assert read_json(path) == {"newer": 3}


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"new": float("nan")})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert read_json(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["record.json"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "f.json"
    write_json(path, [0] * 50_000)
    code = (
        "import sys, pathlib\n"
        "from mmablate.results.files import write_json\n"
        "for i in range(20): write_json(pathlib.Path(sys.argv[1]), [i] * 50_000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as writer:
        while writer.poll() is None:
            value = read_json(path)
            assert len(value) == 50_000
            assert len(set(value)) == 1
    assert writer.returncode == 0


def test_a_disk_that_takes_no_more_is_told_and_leaves_the_old_content(tmp_path):
    store = prepared(tmp_path)
    store.finish_run(record())
    code = (
        "import resource, sys, pathlib\n"
        "from mmablate.results import StudyStore\n"
        "from mmablate.errors import StoreError\n"
        "store = StudyStore(pathlib.Path(sys.argv[1]), 's')\n"
        "old = store.read_record('a' * 16)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "for call in (lambda: store.finish_run(old.model_copy(update={'seed': 5})),\n"
        "             lambda: store.start_run('b' * 16, {'x': 'y' * 200}),\n"
        "             lambda: store.append_history('a' * 16, {'x': 'y' * 200})):\n"
        "    try: call()\n"
        "    except StoreError as error: print(error)\n"
    )
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert f"{store.run_folder('a' * 16)}/record.json: cannot be written" in first
    assert f"{store.run_folder('b' * 16)}/config.json: cannot be written" in second
    assert "history.jsonl: cannot be written" in third
    assert store.read_record("a" * 16).seed == 0
    assert [path.name for path in store.folder.rglob(".*")] == []  # no temporary files
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_device_is_told(tmp_path):
    store = prepared(tmp_path)
    store.start_run("a" * 16, {})
    (store.run_folder("a" * 16) / "history.jsonl").symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"history\.jsonl: cannot be written: No space left"):
        store.append_history("a" * 16, {"epoch": 1})


def test_an_out_below_a_file_or_in_proc_is_told_before_anything_is_trained(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(StoreError) as caught:
            StudyStore(out, "s").prepare()
        assert str(out) in str(caught.value)
        assert caught.value.exit_code == 2


def test_prepare_leaves_nothing_but_folders_and_may_be_repeated(tmp_path):
    prepared(tmp_path / "a" / "b")
    prepared(tmp_path / "a" / "b")
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == [".leases", ".locks", "s"]
    assert list((tmp_path / "a" / "b" / "s" / "runs").iterdir()) == []


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/tmp", "../x", "a/", "./a"])
def test_a_study_name_that_leaves_the_folder_is_refused(name, tmp_path):
    with pytest.raises(StoreError, match="one folder name"):
        StudyStore(tmp_path, name)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", ":1: not valid JSON"),
        (b'{"a": 1,\n "b": ', ":2: not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"1" * 10_000, "not valid JSON"),
    ],
)
def test_what_is_no_json_is_told_with_path_and_line(content, told, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        read_json(path)
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)


def test_a_file_that_is_not_there_or_a_folder_is_told(tmp_path):
    for path in (tmp_path / "no.json", tmp_path):
        with pytest.raises(StoreError, match="cannot be read"):
            read_json(path)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_told(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    told = None
    try:
        assert read_json(path) == json.loads(content) or content.count(b"NaN")
    except StoreError as error:
        told = str(error)
    assert told is None or told.startswith(str(path))


def test_files_are_readable_by_others_and_end_in_a_line(tmp_path):
    write_json(tmp_path / "x.json", {"ä": 1})
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "x.json").read_text(encoding="utf-8").endswith("}\n")
    assert "ä" in (tmp_path / "x.json").read_text(encoding="utf-8")
    write_atomic(tmp_path / "y", b"1")
    assert (tmp_path / "y").read_bytes() == b"1"
