"""Many runs that become durable at once: nothing is trusted before what it stands for is on the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from store_samples import prepared, record

from mmablate.errors import StoreError
from mmablate.results import StudyStore
from mmablate.results.files import Barrier

NAMES = [letter * 16 for letter in "abcdefgh"]


def begun(out: Path) -> StudyStore:
    """A store with runs that have all but their records."""
    store = prepared(out)
    for name in NAMES:
        store.start_run(name, {"run_id": name})
        store.append_history(name, {"epoch": 1})
    return store


def there(store: StudyStore) -> list[str]:
    """The runs that have a record."""
    return [name for name in NAMES if (store.run_folder(name) / "record.json").exists()]


def watched(monkeypatch: pytest.MonkeyPatch, store: StudyStore, answer) -> list[list[str]]:
    """What records there were whenever the barrier was reached."""
    seen: list[list[str]] = []

    def reached(self: Barrier) -> bool:
        seen.append(there(store))
        return answer(len(seen))

    monkeypatch.setattr(Barrier, "reached", reached)
    return seen


def test_records_stand_between_two_barriers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = begun(tmp_path)
    seen = watched(monkeypatch, store, lambda n: True)
    with store.barrier() as barrier:
        store.finish_runs([record(name) for name in NAMES], barrier)
    assert seen == [[], NAMES]
    assert store.records() == ([record(name) for name in NAMES], [])


def test_the_real_barrier_holds(tmp_path: Path) -> None:
    store = begun(tmp_path)
    with store.barrier() as barrier:
        store.finish_runs([record(name) for name in NAMES], barrier)
    assert there(store) == NAMES


def test_where_the_system_cannot_be_relied_on_each_is_finished_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of a run is synced before its record is there, the weights too."""
    store = begun(tmp_path)
    (store.run_folder(NAMES[0]) / "checkpoint.safetensors").write_bytes(b"weights")
    watched(monkeypatch, store, lambda n: False)
    synced: list[tuple[int, int]] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        about = os.fstat(handle)
        synced.append((about.st_ino, len(there(store))))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with store.barrier() as barrier:
        store.finish_runs([record(name) for name in NAMES], barrier)
    assert there(store) == NAMES
    for count, name in enumerate(NAMES):
        files = [f for f in store.run_folder(name).iterdir() if f.name != "record.json"]
        assert len(files) == (3 if name == NAMES[0] else 2)
        assert all((f.stat().st_ino, count) in synced for f in files)


@pytest.mark.parametrize("when", [1, 2])
def test_records_that_may_be_gone_are_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int) -> None:
    store = begun(tmp_path)
    store.finish_run(record(NAMES[0], seconds=9.0))  # of an earlier try

    def broken(n: int) -> bool:
        if n == when:
            raise OSError(errno.EIO, "Input/output error")
        return True

    watched(monkeypatch, store, broken)
    with store.barrier() as barrier, pytest.raises(StoreError, match="runs: cannot be written: Input/output error"):
        store.finish_runs([record(name) for name in NAMES[1:]], barrier)
    assert there(store) == NAMES[:1]


def test_a_record_that_cannot_be_written_takes_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the second barrier nothing is known of those that were written."""
    store = begun(tmp_path)
    real = os.replace

    def replace(source, target) -> None:
        if NAMES[5] in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with store.barrier() as barrier, pytest.raises(StoreError, match="No space left"):
        store.finish_runs([record(name) for name in NAMES], barrier)
    assert there(store) == []


def test_records_are_read_again_where_they_have_changed(tmp_path: Path) -> None:
    store = begun(tmp_path)
    store.finish_run(record(NAMES[0]))
    first = store.records()[0]
    store.finish_run(record(NAMES[0], seconds=2.5))
    assert [r.seconds for r in first] == [1.5]
    assert [r.seconds for r in store.records()[0]] == [2.5]
    path = store.run_folder(NAMES[0]) / "record.json"
    path.write_text("{" + " " * (path.stat().st_size - 1))
    assert store.records()[0] == []
    assert len(store.records()[1]) == 1
