"""The driver under strace: its system calls on the study's folders, and each of them failing once.

`strace -e inject=CALL:error=EIO:when=N` makes the Nth call of a kind fail without being made, `:signal=KILL` ends
the process in its place. N counts all calls of the process, imports included, which are the same every time; that
the right one was hit is read from the log.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import crash_driver
from crash_driver import ADOPTED, CHECKPOINT, EPOCHS, RUNS, SIBLING, STATE, STUDY, TEACHER, WEIGHTS

from mmablate.errors import StoreError
from mmablate.results import StudyStore

CALLS = (
    "openat", "write", "fsync", "fdatasync", "close", "rename", "renameat", "renameat2", "link", "linkat", "unlink",
    "unlinkat", "mkdir", "mkdirat", "chmod", "fchmod", "flock", "ftruncate",
)  # fmt: skip
FAULTS = ("KILL", "ENOSPC", "EIO")
_LINE = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|\?)(.*)$")


@dataclass(frozen=True)
class Call:
    """One system call of the driver.

    Attributes:
        kind: its name.
        number: which of its kind in the whole process, from 1.
        paths: in its arguments (those of open files too), as strace prints them.
        data: the strings in its arguments that are no paths of open files.
        result: what it returned; negative for an error.
        flags: the arguments as printed.
    """

    kind: str
    number: int
    paths: tuple[str, ...]
    data: tuple[bytes, ...]
    result: int
    flags: str = field(repr=False)

    def touches(self, folder: Path) -> bool:
        """Whether it is about something below the folder."""
        names = [*self.paths, *(text.decode(errors="replace") for text in self.data)]
        return any(name == str(folder) or name.startswith(f"{folder}/") for name in names)


@cache
def why_not() -> str | None:
    """Why calls cannot be watched and made to fail here; None where they can."""
    program = shutil.which("strace")
    if program is None:
        return "strace is not installed"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        tried = subprocess.run(
            [program, "-o", str(log), "-e", "trace=openat", "-e", "inject=openat:error=EIO:when=1000", "true"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if tried.returncode or not log.exists():
            return f"strace cannot watch a process here: {' '.join(tried.stderr.split())[:200]}"
    return None


def traced(out: Path, *arguments: str, inject: str | None = None) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The driver under strace: how it ended, and the lines of the log."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = ["strace", "-o", str(log), "-y", "-xx", "-s", "1000000", "-e", f"trace={','.join(CALLS)}"]
        command += ["-e", f"inject={inject}"] if inject else []
        done = subprocess.run(
            [*command, sys.executable, "-B", crash_driver.__file__, str(out), *arguments],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return done, log.read_text().splitlines()


def calls(lines: list[str]) -> Iterator[Call]:
    """The calls of a log."""
    counts: dict[str, int] = {}
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        kind, arguments, result, _ = found.groups()
        counts[kind] = counts.get(kind, 0) + 1
        paths = tuple(_text(path).decode() for path in re.findall(r"<((?:\\x..)+)>", arguments))
        data = tuple(map(_text, re.findall(r'"((?:\\x..)*)"', arguments)))
        yield Call(kind, counts[kind], paths, data, int(result) if result != "?" else 0, arguments)


def _text(printed: str) -> bytes:
    return bytes.fromhex(printed.replace("\\x", ""))


# --- what must hold ---------------------------------------------------------------------------------------------


def said(text: str, *words: str) -> set[str]:
    """The runs of which the driver said one of these."""
    return {line.split()[1] for line in text.splitlines() if line.split()[0] in words and line.endswith(tuple(RUNS))}


def acknowledged(text: str) -> set[str]:
    """The runs that a user may count on."""
    return said(text, "done", "adopted", "had")


def content(out: Path) -> dict[str, bytes]:
    """All that the studies hold, but for files of the moment (their names begin with a dot)."""
    found = {}
    for path in sorted(out.glob("*/**/*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts):
            found[str(path.relative_to(out))] = path.read_bytes()
    return found


@cache
def undisturbed() -> dict[str, bytes]:
    """What the study holds in the end."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        crash_driver.make_sibling(out)
        told: list[str] = []
        crash_driver.drive(out, told.append)
        assert acknowledged("\n".join(told)) == set(RUNS)
        found = content(out)
    records = [name for name in found if name.startswith(f"{STUDY}/") and name.endswith("record.json")]
    assert len(records) == len(RUNS)
    return found


def broken(out: Path, told: str) -> list[str]:
    """What is wrong with a results folder in which these runs have been acknowledged."""
    wrong = []
    store, expected = StudyStore(out, STUDY), undisturbed()
    for run_id in sorted(acknowledged(told)):
        for name in ("record.json", "config.json", "history.jsonl", *([CHECKPOINT] if run_id == TEACHER else [])):
            path = store.run_folder(run_id) / name
            if not path.exists():
                wrong.append(f"acknowledged, but lost: {run_id}/{name}")
            elif path.read_bytes() != expected[f"{STUDY}/runs/{run_id}/{name}"]:
                wrong.append(f"acknowledged, but not as it was: {run_id}/{name}")
    for run_id in RUNS:
        record = store.read_record(run_id)
        path = store.run_folder(run_id)
        if record is None:
            continue
        if (path / "record.json").read_bytes() != expected[f"{STUDY}/runs/{run_id}/record.json"]:
            wrong.append(f"a record that nobody has written is trusted: {run_id}")
        if _read(path / "history.jsonl").count(b"\n") != EPOCHS:
            wrong.append(f"a record is trusted whose history is torn: {run_id}")
        if run_id == TEACHER and _read(path / CHECKPOINT) != WEIGHTS:
            wrong.append(f"a record is trusted whose weights are torn: {run_id}")
    for name, value in expected.items():
        if name.startswith(f"{SIBLING}/") and _read(out / name) != value:
            wrong.append(f"the sibling's {name} has changed")
    return wrong


def resumed(out: Path, told: str, *, cut: bool = False) -> list[str]:
    """Runs the driver again; what is wrong with that and its end.

    Args:
        cut: after a power cut, which may have torn leases: they are waited for, and may stay where nobody asks.
    """
    wrong = []
    before = {run_id: _identity(out, run_id) for run_id in acknowledged(told)}
    now: list[str] = []
    try:
        crash_driver.drive(out, now.append, patience=0.02 if cut else None)
    except StoreError as error:
        return [f"cannot be resumed: {error}"]
    text = "\n".join(now)
    if again := said(text, "done", "adopted") & before.keys():
        wrong.append(f"done again though acknowledged: {sorted(again)}")
    if held := said(text, "elsewhere"):
        wrong.append(f"held by the dead: {sorted(held)}")
    if touched := [run_id for run_id, identity in before.items() if _identity(out, run_id) != identity]:
        wrong.append(f"touched again though acknowledged: {sorted(touched)}")
    end = content(out)
    if cut:  # a state under a torn lease may belong to somebody: it stays
        end = {name: value for name, value in end.items() if not name.endswith(STATE)}
    if end != undisturbed():
        wrong.append("another end than undisturbed")
    if left := sorted(p.name for p in (out / ".leases").iterdir() if not p.name.startswith(".")):
        if not cut or any(_is_json(out / ".leases" / name) for name in left):
            wrong.append(f"leases are left: {left}")
    return wrong


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def litter(out: Path) -> list[str]:
    """Files that a write which never ended has left."""
    return sorted(p.name for p in out.glob("*/**/.*") if p.is_file() and p.name != ".takeover.lock")


def _is_json(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_bytes()))
    except ValueError:
        return False


def _identity(out: Path, run_id: str) -> tuple[int, int] | None:
    try:
        stat = (StudyStore(out, STUDY).run_folder(run_id) / "record.json").stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


# --- each call ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Injection:
    """One call that failed once.

    Attributes:
        call: which; fault: how.
        outcome: "killed", "told" (a clear message, exit 2), "unharmed" (the end was reached) or "traceback".
        wrong: what did not hold after it, or after running the driver again.
        alone: whether it trained what a sibling has, whose record it could not read.
        litter: temporary files left after the second run.
    """

    call: Call
    fault: str
    outcome: str
    wrong: tuple[str, ...]
    alone: bool
    litter: tuple[str, ...]


def base(folder: Path) -> Path:
    """A results folder with the sibling in it."""
    out = folder / "out"
    crash_driver.make_sibling(out)
    return out


def study_calls(out: Path) -> list[Call]:
    """The calls of an undisturbed driver that are about the results folder."""
    done, lines = traced(out)
    assert done.returncode == 0, done.stderr
    assert acknowledged(done.stdout) == set(RUNS)
    assert said(done.stdout, "adopted") == {ADOPTED}
    return [call for call in calls(lines) if call.touches(out) or call.paths[:1] == (str(out.parent),)]


def inject(out: Path, call: Call, fault: str) -> Injection:
    """Lets a call fail in a folder made by `base`, looks around, and runs the driver again undisturbed."""
    how = "signal=KILL" if fault == "KILL" else f"error={fault}"
    done, lines = traced(out, inject=f"{call.kind}:{how}:when={call.number}")
    hit = [own for own in calls(lines) if own.kind == call.kind and own.number == call.number]
    assert len(hit) == 1, f"{call} was not reached"
    assert hit[0].touches(out) or hit[0].paths[:1] == (str(out.parent),), f"another call was hit: {hit[0]}"
    outcome = _outcome(done, fault)
    wrong = broken(out, done.stdout)
    if outcome == "traceback":
        wrong.append(f"no clear message: {done.stderr.splitlines()[-1] if done.stderr else done.returncode}")
    if outcome == "unharmed" and acknowledged(done.stdout) != set(RUNS):
        wrong.append("it said that all was well, but not of all runs")
    if call.kind == "fsync" and fault != "KILL" and outcome != "told":
        wrong.append("a failed fsync was passed over")
    wrong += resumed(out, done.stdout)
    alone = ADOPTED in said(done.stdout, "done")
    return Injection(call, fault, outcome, tuple(wrong), alone, tuple(litter(out)))


def _outcome(done: Any, fault: str) -> str:
    if done.returncode == (-9 if fault == "KILL" else 0):
        return "killed" if fault == "KILL" else "unharmed"
    if done.returncode == StoreError.exit_code and len(done.stderr.splitlines()) == 1:
        return "told"
    return "traceback"
