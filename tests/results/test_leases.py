"""Leases: one holder each, gone with its process, taken over from the dead alone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.errors import StoreError
from mmablate.results.leases import JOB, Leases, this_machine, this_worker

HOLDER = (
    "import sys, pathlib\n"
    "from mmablate.results.leases import Leases\n"
    "leases = Leases(pathlib.Path(sys.argv[1]))\n"
    "print(*sorted(leases.claim(sys.argv[2:])), flush=True)\n"
    "sys.stdin.read(1)\n"
    "leases.release(sys.argv[2:])\n"
    "print('released', flush=True)\n"
)


@contextmanager
def holder(out: Path, *names: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLDER, str(out), *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def told(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    made = Leases(tmp_path)
    made.prepare()
    return made


def test_what_one_process_holds_another_does_not_get(tmp_path: Path, leases: Leases) -> None:
    with holder(tmp_path, "a", "b") as process:
        assert told(process) == ["a", "b"]
        assert leases.claim(["a", "b", "c"]) == {"c"}
        assert not leases.claim_all(["b", "d"])
        assert leases.claim(["d"]) == {"d"}, "a claim of all that failed leaves nothing behind"
        assert leases.live("a")
        assert leases.others({this_worker()}) == 1
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
        assert told(process) == ["released"]
        assert leases.claim(["a", "b"]) == {"a", "b"}


def test_a_lease_dies_with_its_process(tmp_path: Path, leases: Leases) -> None:
    with holder(tmp_path, "a") as process:
        assert told(process) == ["a"]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / ".leases" / "a").exists()
    assert not leases.live("a")
    assert leases.claim(["a"]) == {"a"}
    assert leases.mine("a")


def test_two_objects_of_one_process_are_two_holders(tmp_path: Path, leases: Leases) -> None:
    other = Leases(tmp_path)
    assert leases.claim(["a"]) == {"a"}
    assert other.claim(["a"]) == set()
    other.release(["a"])
    assert leases.mine("a"), "what one does not hold one cannot give back"
    leases.release(["a"])
    assert other.claim(["a"]) == {"a"}


def test_the_leases_of_a_job_are_freed_together_and_no_others(
    tmp_path: Path, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOB, "one")
    assert Leases(tmp_path).claim(["a", "b"]) == {"a", "b"}
    monkeypatch.setenv(JOB, "two")
    assert Leases(tmp_path).claim(["c"]) == {"c"}
    monkeypatch.delenv(JOB)
    assert leases.claim(["d"]) == {"d"}
    assert leases.of_job("one") == {"a", "b"}
    assert leases.end_job("three") == set()
    assert leases.end_job("one") == {"a", "b"}
    assert leases.claim(["a", "b", "c"]) == {"a", "b"}, "free, though the process that held them is alive"
    assert leases.end_job("one") == set(), "they are somebody else's now"
    assert leases.mine("a")
    assert leases.live("c")
    assert leases.mine("d")


def of_another(path: Path, **changes: object) -> None:
    content = {"worker": "far:1", "machine": "far/x/y", "pid": 1, "started": "1", "token": "t", **changes}
    path.write_text(json.dumps(content))


def test_another_machine_is_dead_only_when_it_has_not_touched_its_lease_for_long(tmp_path: Path) -> None:
    leases = Leases(tmp_path, ttl=0.2)
    leases.prepare()
    path = tmp_path / ".leases" / "a"
    of_another(path)
    os.utime(path, (0, 0))  # as old as can be by the clock of its own machine, which says nothing
    assert leases.claim(["a"]) == set()
    time.sleep(0.15)
    os.utime(path)
    assert leases.claim(["a"]) == set()
    time.sleep(0.15)
    assert leases.claim(["a"]) == set(), "touched in between"
    time.sleep(0.25)
    assert leases.claim(["a"]) == {"a"}


@pytest.mark.parametrize(
    ("changes", "dead"),
    [
        ({"machine": this_machine(), "pid": os.getpid(), "started": "0"}, True),  # a number used again
        ({"machine": this_machine().split("/")[0] + "/another boot/pid:[1]"}, True),
        ({"machine": "/".join([*this_machine().split("/")[:2], "pid:[1]"])}, False),  # another container
        ({}, False),
    ],
)
def test_who_is_known_to_be_dead(tmp_path: Path, leases: Leases, changes: dict[str, object], dead: bool) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("processes are looked up in /proc")
    of_another(tmp_path / ".leases" / "a", **changes)
    assert bool(leases.claim(["a"])) is dead


def test_a_holder_that_touches_its_lease_is_alive_to_all(tmp_path: Path) -> None:
    mine, other = Leases(tmp_path, ttl=0.3), Leases(tmp_path, ttl=0.3)
    mine.prepare()
    mine.claim(["a"])
    of_another(path := tmp_path / ".leases" / "b")
    content = json.loads((tmp_path / ".leases" / "a").read_text())
    (tmp_path / ".leases" / "a").write_text(json.dumps({**content, "machine": "far/x/y"}))  # as seen from elsewhere
    assert other.live("a")
    assert other.live("b")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert other.live("a")
        time.sleep(0.05)
    assert not other.live("b")
    assert path.exists()


def test_one_that_was_taken_over_notices_and_leaves_it_alone(tmp_path: Path, leases: Leases) -> None:
    leases.claim(["a"])
    of_another(tmp_path / ".leases" / "a")
    assert not leases.mine("a")
    leases.release(["a"])
    assert json.loads((tmp_path / ".leases" / "a").read_text())["worker"] == "far:1"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff"])
def test_a_lease_that_cannot_be_read_is_waited_for_and_then_taken(tmp_path: Path, content: bytes) -> None:
    leases = Leases(tmp_path, ttl=0.05)
    leases.prepare()
    (tmp_path / ".leases" / "a").write_bytes(content)
    assert leases.claim(["a"]) == set()
    time.sleep(0.1)
    assert leases.claim(["a"]) == {"a"}


def test_many_takers_of_a_dead_lease_are_one_holder(tmp_path: Path) -> None:
    Leases(tmp_path).prepare()
    for number in range(20):
        name = f"run{number}"
        of_another(tmp_path / ".leases" / name, machine=this_machine(), pid=2**22 + 1)
        takers = [Leases(tmp_path) for _ in range(6)]
        gate = threading.Barrier(len(takers))
        got: list[Leases] = []

        def take(own: Leases, name: str = name, gate: threading.Barrier = gate, got: list[Leases] = got) -> None:
            gate.wait()
            if own.claim([name]):
                got.append(own)

        threads = [threading.Thread(target=take, args=(own,)) for own in takers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
        assert got[0].mine(name)


@given(steps=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["claim", "release"]), st.integers(0, 3))))
@settings(max_examples=60, deadline=None)
def test_a_lease_has_one_holder_at_every_time(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, int]]
) -> None:
    out = tmp_path_factory.mktemp("leases")
    parties = [Leases(out) for _ in range(3)]
    parties[0].prepare()
    held: dict[str, int] = {}
    for party, action, number in steps:
        name = f"r{number}"
        if action == "claim":
            got = parties[party].claim([name])
            assert got == ({name} if held.get(name, party) == party else set())
            held.setdefault(name, party)
        else:
            parties[party].release([name])
            if held.get(name) == party:
                del held[name]
        for own, leases in enumerate(parties):
            assert {f"r{i}" for i in range(4) if leases.mine(f"r{i}")} == {n for n, p in held.items() if p == own}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / ".leases").write_text("a file")
    with pytest.raises(StoreError, match=r"\.leases"):
        Leases(tmp_path).prepare()


def test_what_dead_claims_left_is_cleared_away(tmp_path: Path, leases: Leases) -> None:
    of_another(tmp_path / ".leases" / ".claim-1", machine=this_machine(), pid=2**22 + 1)
    of_another(tmp_path / ".leases" / ".claim-2")
    leases.prepare()
    assert [p.name for p in (tmp_path / ".leases").iterdir()] == [".claim-2"]


def test_one_thread_touches_all_leases_of_a_process(tmp_path: Path) -> None:
    """Every group of runs has a store of its own: a thread for each would add up."""
    for number in range(20):
        leases = Leases(tmp_path)
        leases.prepare()
        leases.claim([f"a{number}", "b"])
        if number % 2:
            leases.release([f"a{number}", "b"])
    assert sum(thread.name == "leases" for thread in threading.enumerate()) == 1
