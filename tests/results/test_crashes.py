"""The store under failing system calls and power cuts: a sample of what tests/benchmarks/crashes.py does in full."""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import crash_calls
import crash_cuts
import crash_driver
import power_cuts
import pytest
from crash_calls import Call
from crash_driver import RUNS
from store_samples import failed, prepared, record

from mmablate.errors import StoreError
from mmablate.results import StudyStore
from mmablate.results.files import CannotRead, sync_folder
from mmablate.results.leases import Leases
from mmablate.results.store import STATE

strace = pytest.mark.skipif(crash_calls.why_not() is not None, reason=str(crash_calls.why_not()))


@pytest.fixture(scope="module")
def made() -> list[Call]:
    """The driver's calls."""
    with tempfile.TemporaryDirectory() as folder:
        return crash_calls.study_calls(crash_calls.base(Path(folder)))


def of(made: list[Call], kind: str, name: str) -> Call:
    """The first call of a kind about a path that ends so, or begins so where it is a temporary file's."""
    for call in made:
        names = [*call.paths, *(text.decode(errors="replace") for text in call.data)]
        if call.kind == kind and any(own.endswith(f"/{name}") or f"/.{name}." in own for own in names):
            return call
    raise AssertionError(f"no {kind} of {name}")


@strace
@pytest.mark.parametrize(
    ("fault", "kind", "name"),
    [
        ("KILL", "write", "study.json"),
        ("KILL", "rename", "study.json"),
        ("KILL", "link", ".leases/a"),
        ("KILL", "rename", "state.safetensors"),
        ("KILL", "write", "record.json"),
        ("KILL", "rename", "record.json"),
        ("KILL", "unlink", "a/state.safetensors"),
        ("KILL", "unlink", ".leases/a"),
        ("KILL", "link", "runs/d/record.json"),
        ("ENOSPC", "mkdir", "runs/a"),
        ("ENOSPC", "write", "history.jsonl"),
        ("ENOSPC", "write", "record.json"),
        ("ENOSPC", "link", "runs/d/record.json"),
        ("EIO", "fsync", "record.json"),
        ("EIO", "fsync", "runs/b"),
        ("EIO", "fsync", "runs/a/config.json"),
        ("EIO", "close", "record.json"),
        ("EIO", "openat", "s/runs"),
        ("EIO", "openat", "out"),
    ],
)
def test_a_call_that_fails(made: list[Call], tmp_path: Path, fault: str, kind: str, name: str) -> None:
    done = crash_calls.inject(crash_calls.base(tmp_path), of(made, kind, name), fault)
    assert done.wrong == ()
    # Where no link can be made, the file is copied.
    assert done.outcome == ("killed" if fault == "KILL" else "unharmed" if kind == "link" else "told")


@strace
def test_a_sample_of_all_calls(made: list[Call]) -> None:
    assert {"openat", "write", "fsync", "close", "rename", "link", "unlink", "mkdir"} <= {call.kind for call in made}
    for number, call in enumerate(made[3::40]):
        with tempfile.TemporaryDirectory() as folder:
            done = crash_calls.inject(crash_calls.base(Path(folder)), call, crash_calls.FAULTS[number % 3])
            assert done.wrong == (), done


def violations(every: int, *arguments: str) -> list[str]:
    """What a sample of power cuts breaks."""
    wrong = []
    for number, cut in enumerate(crash_cuts.cuts(*arguments)):
        if number % every == 0:
            found, again = crash_cuts.found(cut)
            wrong += [*found, *again]
    return wrong


@strace
def test_power_cuts_lose_nothing_that_was_acknowledged_and_tear_nothing_that_is_trusted() -> None:
    assert violations(80) == []


@strace
def test_the_model_of_power_cuts_sees_that_folders_are_not_fsynced() -> None:
    """The test above can fail: with renames but without fsync of their folders, records are lost."""
    wrong = violations(80, "--forget-folders")
    assert any("acknowledged, but lost" in text for text in wrong)
    assert any("done again though acknowledged" in text for text in wrong)


def call(kind: str, *data: str | bytes, path: str = "", flags: str = "", result: int = 0) -> Call:
    texts = tuple(text if isinstance(text, bytes) else text.encode() for text in data)
    return Call(kind, 1, (path,) if path else (), texts, result, flags)


def trees(tmp_path: Path, *made: Call) -> list[power_cuts.Tree]:
    """What a cut after these calls may leave below out/."""
    (tmp_path / "out").mkdir(exist_ok=True)
    disk = power_cuts.Disk(tmp_path / "out")
    for own in made:
        disk.do(own)
    found = [tree for tree in disk.after_cut(power_cuts.random.Random(0))]
    return [{name.removeprefix("out/"): value for name, value in tree.items() if name != "out"} for tree in found]


def test_the_model_of_a_disk(tmp_path: Path) -> None:
    """By hand: one file written through another name."""
    out = tmp_path / "out"
    temporary, final = f"{out}/t", f"{out}/f"
    create = call("openat", temporary, flags="O_CREAT", result=3)
    write = call("write", b"abcd", path=temporary, result=4)
    sync, rename = call("fsync", path=temporary), call("rename", temporary, final)
    folder = call("fsync", path=str(out))

    def same(found: list[power_cuts.Tree], *expected: power_cuts.Tree) -> bool:
        return all(tree in found for tree in expected) and all(tree in expected for tree in found)

    torn: list[bytes] = [b"", b"ab", b"abcd", bytes(4)]
    assert same(trees(tmp_path, create), {}, {"t": b""})
    assert same(trees(tmp_path, create, write), {}, *({"t": text} for text in torn))
    assert same(trees(tmp_path, create, write, sync), {}, {"t": b"abcd"})
    assert same(trees(tmp_path, create, write, sync, rename), {}, {"t": b"abcd"}, {"f": b"abcd"})
    assert same(trees(tmp_path, create, write, rename, folder), *({"f": text} for text in torn))
    assert same(trees(tmp_path, create, write, sync, rename, folder), {"f": b"abcd"})
    failed_sync = call("fsync", path=temporary, result=-1)
    assert {"f": b""} in trees(tmp_path, create, write, failed_sync, rename, folder)


# --- single rules, without strace ---------------------------------------------------------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, name: str, when: Callable[..., bool], number: int = errno.EIO) -> None:
    """Lets a function of `os` fail for some arguments."""
    real = getattr(os, name)

    def wrapped(*arguments: object, **options: object) -> object:
        if when(*arguments):
            raise OSError(number, os.strerror(number), str(arguments[0]))
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, wrapped)


def test_a_record_whose_folder_could_not_be_fsynced_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be gone after a power cut, so nobody may take the run for finished."""
    store = prepared(tmp_path)
    path = store.run_folder("a" * 16) / "record.json"
    store.start_run("a" * 16, {})

    def broken_disk(folder: Path) -> None:
        if path.exists():
            raise OSError(errno.EIO, "Input/output error")
        sync_folder(folder)

    monkeypatch.setattr("mmablate.results.store.sync_folder", broken_disk)
    with pytest.raises(StoreError, match="runs: cannot be written: Input/output error"):
        store.finish_run(record())
    assert not path.exists()


def test_a_record_that_could_not_be_written_leaves_the_one_of_an_earlier_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = prepared(tmp_path)
    store.finish_run(failed())
    failing(monkeypatch, "replace", lambda source, target: Path(target).name == "record.json", errno.ENOSPC)
    with pytest.raises(StoreError, match="No space left"):
        store.finish_run(record())
    assert store.read_record("a" * 16) == failed()


def test_a_record_that_cannot_be_read_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = prepared(tmp_path)
    store.finish_run(record())

    def unreadable(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("mmablate.results.files._content", unreadable)
    with pytest.raises(CannotRead, match=r"record\.json: cannot be read: Input/output error"):
        store.read_record("a" * 16)
    good, bad = store.records()
    assert not good
    assert len(bad) == 1


def test_a_folder_that_cannot_be_listed_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = prepared(tmp_path)
    store.finish_run(record())
    failing(monkeypatch, "listdir", lambda folder: Path(folder) == store.runs)
    with pytest.raises(StoreError, match="runs: cannot be read"):
        store.records()


def test_what_killed_writers_left_goes_when_the_run_starts_again(tmp_path: Path) -> None:
    store = prepared(tmp_path)
    store.start_run("a", {})
    folder = store.run_folder("a")
    for name in (".record.json.x1", f".{STATE}.x2", ".nfs0001", STATE):
        (folder / name).touch()
    (store.folder / ".study.json.x3").touch()
    store.start_run("a", {})
    store.update_study(lambda old: crash_driver.plan())
    assert {path.name for path in folder.iterdir()} == {".nfs0001", STATE, "config.json"}
    assert not list(store.folder.glob(".study*"))


def test_the_state_of_a_finished_run_goes_but_not_while_somebody_trains_it(tmp_path: Path) -> None:
    store = prepared(tmp_path)
    store.finish_run(record("a"))
    state = store.run_folder("a") / STATE
    state.touch()
    with store.leases.holding(["a"]):
        store.tidy("a")
        assert state.exists()
    store.tidy("a")
    assert not state.exists()


def test_taking_over_again_what_is_linked_already_leaves_one_whole_file(tmp_path: Path) -> None:
    crash_driver.make_sibling(tmp_path)
    store = prepared(tmp_path, crash_driver.STUDY)
    assert store.adopt(crash_driver.ADOPTED)
    assert store.adopt(crash_driver.ADOPTED)
    names = {path.name for path in store.run_folder(crash_driver.ADOPTED).iterdir()}
    assert names == {"record.json", "config.json", "history.jsonl"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_lease_on_a_full_disk_is_told_and_none_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    leases = Leases(tmp_path)
    leases.prepare()
    with monkeypatch.context() as patch:
        failing(patch, "link", lambda source, target: Path(target).name == "b", number)
        with pytest.raises(StoreError, match="leases: cannot be written"):
            leases.claim(["a", "b"])
    assert not list(leases.folder.iterdir())
    assert leases.claim(["a", "b"]) == {"a", "b"}


def test_leases_work_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "link", lambda source, target: True, errno.EPERM)
    one, two = Leases(tmp_path), Leases(tmp_path)
    one.prepare()
    assert one.claim(["a"]) == {"a"}
    assert two.claim(["a"]) == set()
    assert one.mine("a")


def test_a_new_results_folder_is_made_to_survive_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All folders that get a new entry, those above the results folder too."""
    synced: list[Path] = []
    for module in ("files", "store"):
        monkeypatch.setattr(f"mmablate.results.{module}.sync_folder", synced.append)
    StudyStore(tmp_path / "new" / "deep" / "out", "s").prepare()
    deep = tmp_path / "new" / "deep"
    assert {tmp_path, tmp_path / "new", deep, deep / "out", deep / "out" / "s"} <= set(synced)


def test_the_driver_ends_as_it_should(tmp_path: Path) -> None:
    out = crash_calls.base(tmp_path)
    told: list[str] = []
    crash_driver.drive(out, told.append)
    assert told == ["done a", "done b", "done c", "adopted d"]
    assert len(RUNS) == len(told)
    assert crash_calls.broken(out, "\n".join(told)) == []
    assert crash_calls.resumed(out, "\n".join(told)) == []
