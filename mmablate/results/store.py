"""The store: one folder a study, one folder a run, a record written last."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ValidationError

from mmablate.errors import StoreError
from mmablate.results.files import (
    Barrier,
    CannotRead,
    clear_litter,
    make_folder,
    read_json,
    sync_file,
    sync_folder,
    telling,
    write_atomic,
    write_json,
)
from mmablate.results.leases import Leases
from mmablate.results.record import RunRecord

CHECKPOINT = "checkpoint.safetensors"
RECORD = "record.json"
# Of a run in the middle of its training; goes when the run is over.
STATE = "state.safetensors"
_ASIDE = re.compile(r"record\.damaged-([0-9]{1,9})\.json")
_LONGEST_NAME = 100
_NOT_THERE = (FileNotFoundError, NotADirectoryError)


WRITERS = 4
"""Threads that write many records at once: each waits for the disk most of its time."""

# Folders of runs whose entries this process has made durable, many at a time.
_DURABLE: set[Path] = set()


class StudyStore:
    """A study's folder below `out`.

    Args:
        out: the results folder, e.g. Path("results").
        name: of the study.

    Raises:
        StoreError: a name that would leave `out`.
    """

    def __init__(self, out: Path, name: str) -> None:
        if Path(name).name != name or name in ("", ".", ".."):
            raise StoreError(f"{name!r}: a study's name is one folder name")
        self.out, self.name, self.folder = out, name, out / name
        self.runs = self.folder / "runs"
        self.leases = Leases(out)
        self._read: dict[Path, tuple[tuple[int, ...], RunRecord]] = {}  # a page reads all records several times

    # --- the study --------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Makes the folders and finds out now, not after an hour, whether they can be written.

        Raises:
            StoreError: names the folder and the reason.
        """
        with telling(self.runs, "created"):
            make_folder(self.runs)
            (self.out / ".locks").mkdir(exist_ok=True)
            self.leases.prepare()
            # Again: who made them may have been killed before it came to that.
            for folder in (self.folder, self.out):
                sync_folder(folder)
            with contextlib.suppress(PermissionError):  # not ours
                sync_folder(self.out.absolute().parent)
        probe = self.runs / ".writable"
        write_atomic(probe, b"")
        with telling(probe, "removed"):
            probe.unlink(missing_ok=True)

    def update_study(self, update: Any) -> dict[str, Any]:
        """Replaces study.json by `update(old)` (old is None at first), under a lock, atomically."""
        path = self.folder / "study.json"
        with self.locked(f"study-{self.name}"):
            old = self.read_study() if path.exists() else None
            with telling(path):
                clear_litter(self.folder, path.name)
            new: dict[str, Any] = update(old)
            write_json(path, new)
        return new

    def read_study(self) -> dict[str, Any]:
        """study.json.

        Raises:
            StoreError: missing, damaged, or not a study.
        """
        study = read_json(self.folder / "study.json")
        if not _is_study(study):
            raise StoreError(f"{self.folder / 'study.json'}: not the file of a study")
        return study

    # --- runs -------------------------------------------------------------------------------------------

    def run_folder(self, run_id: str) -> Path:
        """Folder of a run; it need not exist."""
        return self.runs / run_id

    def make_folders(self, run_ids: Sequence[str]) -> None:
        """Makes the folders of runs that are about to start, with one fsync for all of them."""
        with telling(self.runs, "written"):
            for run_id in run_ids:
                self.run_folder(run_id).mkdir(exist_ok=True)
            sync_folder(self.runs)
        _DURABLE.update(self.run_folder(run_id).absolute() for run_id in run_ids)

    def start_run(self, run_id: str, config: Mapping[str, Any], history: Sequence[Mapping[str, Any]] = ()) -> None:
        """Makes the run's folder and writes config.json; what an earlier, unfinished try left is replaced.

        Args:
            history: lines of the epochs that a resumed run has behind it.
        """
        folder = self.run_folder(run_id)
        path = folder / "history.jsonl"
        with telling(folder, "created"):
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
            clear_litter(folder)
            # A history may be a hard link to a sibling study's: unlink, never truncate.
            path.unlink(missing_ok=True)
        write_json(folder / "config.json", config, durable=False)  # fsynced with the record, which alone counts
        if history:
            write_atomic(path, "".join(map(_line, history)).encode(), durable=False)

    def has_weights(self, run_id: str) -> bool:
        """Whether the run's checkpoint is there."""
        return (self.run_folder(run_id) / CHECKPOINT).exists()

    def append_history(self, run_id: str, line: Mapping[str, Any]) -> None:
        """Adds one epoch to history.jsonl; non-finite numbers are written as null."""
        path = self.run_folder(run_id) / "history.jsonl"
        with telling(path), path.open("a", encoding="utf-8") as file:
            file.write(_line(line))

    def finish_run(self, record: RunRecord) -> None:
        """Writes record.json, whose presence means that the run is finished or failed.

        When this returns, the record, its folder and what the run wrote before survive a power cut. The state of
        the run in training goes.
        """
        folder = self.run_folder(record.run_id)
        with telling(folder, "written"):
            there = folder.is_dir()
            durable = there and folder.absolute() in _DURABLE
            if not there:
                folder.mkdir(parents=True, exist_ok=True)
            for name in ("config.json", "history.jsonl"):
                sync_file(folder / name)
            sync_folder(folder)  # their names too, before the record that stands for them; next to free after the above
        path = folder / RECORD
        before = _inode(path)
        try:
            write_json(path, record.model_dump(mode="json"))
            if not durable:
                with telling(self.runs, "written"):
                    sync_folder(self.runs)  # the run's folder is an entry of this one
        except StoreError:
            # A record that may be gone after a power cut: whoever finds it must not take the run for finished.
            if _inode(path) != before:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        self.drop_state(record.run_id)

    def barrier(self) -> Barrier:
        """To be opened before the files of runs that `finish_runs` is to finish together."""
        with telling(self.runs, "opened"):
            return Barrier(self.runs)

    def finish_runs(self, records: Sequence[RunRecord], barrier: Barrier) -> None:
        """As `finish_run`, of many runs at once.

        All that the runs wrote is on the disk before any of the records is there, and when this returns the records
        are too; their folders and files need not have been made durable before.

        Raises:
            StoreError: something could not be written; records that may be gone after a power cut are taken away.
        """
        with telling(self.runs, "written"):
            together = barrier.reached()
        if not together:
            for record in records:
                self._sync_files(record.run_id)
                self.finish_run(record)
            return
        before = {record.run_id: _inode(self.run_folder(record.run_id) / RECORD) for record in records}
        try:
            with ThreadPoolExecutor(WRITERS) as pool:
                for written in [pool.submit(self._write_record, record) for record in records]:
                    written.result()
            with telling(self.runs, "written"):
                if not barrier.reached():
                    raise OSError(errno.EIO, "the file system was synced a moment ago and is not now")
        except StoreError:
            for run_id, inode in before.items():
                path = self.run_folder(run_id) / RECORD
                if _inode(path) != inode:
                    with contextlib.suppress(OSError):
                        path.unlink()
            raise
        for record in records:
            self.drop_state(record.run_id)

    def _write_record(self, record: RunRecord) -> None:
        write_json(self.run_folder(record.run_id) / RECORD, record.model_dump(mode="json"), durable=False)

    def _sync_files(self, run_id: str) -> None:
        """Makes the files of a run durable, one by one; what another writer has in hand is left to it."""
        folder = self.run_folder(run_id)
        with telling(folder, "written"):
            for file in sorted(folder.iterdir()) if folder.is_dir() else ():
                if not file.name.startswith("."):
                    sync_file(file)

    def drop_state(self, run_id: str) -> None:
        """Removes the state of a run in training, where there is one."""
        state = self.run_folder(run_id) / STATE
        with telling(state, "removed"):
            state.unlink(missing_ok=True)

    def tidy(self, run_id: str) -> None:
        """Removes the state that a process which was killed between record and end has left of a finished run."""
        if (self.run_folder(run_id) / STATE).exists() and not self.leases.live(run_id):
            self.drop_state(run_id)

    def read_record(self, run_id: str) -> RunRecord | None:
        """The run's record; None where there is none, or none that is valid.

        Raises:
            CannotRead: there may be one, but the system cannot read it: the run must not be taken for missing.
        """
        try:
            return _valid_record(self.run_folder(run_id) / RECORD)
        except CannotRead:
            raise
        except StoreError:
            return None

    def _read_once(self, path: Path) -> RunRecord:
        """The valid record there, parsed again only where the file has changed; raises as `_valid_record`."""
        try:
            about = os.stat(path)
        except OSError:
            return _valid_record(path)  # which says what is wrong
        identity = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        known = self._read.get(path)
        if known is None or known[0] != identity:
            known = self._read[path] = identity, _valid_record(path)
        return known[1]

    def records(self) -> tuple[list[RunRecord], list[str]]:
        """All valid records by folder name, and one line for each that is not.

        A record that was set aside is told, too, as long as its run has no other.

        Raises:
            StoreError: the folder of the runs cannot be read.
        """
        good: list[RunRecord] = []
        bad: list[str] = []
        with telling(self.runs, "read"):
            try:
                names = sorted(os.listdir(self.runs))
            except FileNotFoundError:
                return good, bad
        for name in names:
            path = self.runs / name / RECORD
            try:
                good.append(self._read_once(path))
            except StoreError as error:
                if not isinstance(error.__cause__, _NOT_THERE):
                    bad.append(_clean(str(error)))
                else:
                    bad += [
                        _clean(f"{aside}: a damaged record, set aside; its run is not finished since then")
                        for aside in _set_aside_in(path.parent)[-1:]
                    ]
        return good, bad

    def set_aside(self, run_id: str) -> Path | None:
        """Renames a damaged record.json to record.damaged-<n>.json, so that the run can be trained again.

        Damaged is what is read and does not parse, lacks keys, has values of a wrong type or names another run,
        and a folder of that name. The rename is atomic and durable and never takes the name of an earlier one.
        Call it with the run's lease held: without, another process may just write a sound record.

        Returns:
            Where it is now; None where there is no record, or a sound one.

        Raises:
            StoreError: the record cannot be read (it may be sound: nothing is moved), or cannot be renamed.
        """
        path = self.run_folder(run_id) / RECORD
        try:
            _valid_record(path)
            return None
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, _NOT_THERE):
                return None
            if isinstance(cause, OSError) and not os.path.isdir(path):
                raise
        with telling(path, "set aside"):
            target = _reserve(path)
            os.replace(path, target)
            sync_folder(path.parent)
        return target

    def has_finished(self, run_id: str) -> bool:
        """Whether this study or a sibling has the run, without taking it over."""
        places = [self.runs, *_below(self.out, "runs")]
        for runs in places:
            record = _record_or_none(runs / run_id / RECORD)
            if record is not None and record.status == "ok":
                return True
        return False

    def adopt(self, run_id: str, *, weights: bool = False) -> bool:
        """Takes over a run that a sibling study of the same `out` has finished; True where it did.

        Files are hard-linked, or copied where links are not possible, so that the study stands alone. A sibling
        whose record cannot be read is passed over.

        Args:
            weights: only from a sibling that has the run's checkpoint.

        Raises:
            StoreError: the results folder cannot be read or written.
        """
        for sibling in _below(self.out, "runs"):
            source = sibling / run_id
            record = _record_or_none(source / RECORD) if sibling != self.runs else None
            if record is None or record.status != "ok":
                continue
            if weights and not (source / CHECKPOINT).exists():
                continue
            target = self.run_folder(run_id)
            with telling(target, "taken over"):
                target.mkdir(parents=True, exist_ok=True)
                for file in sorted(source.iterdir()):
                    if file.is_file() and not file.name.startswith(".") and not _own_alone(file.name):
                        _link(file, target / file.name)
                sync_folder(target)  # before the record, which stands for them all
                sync_file(source / RECORD)  # of many that are finished together, it may be there and not durable yet
                _link(source / RECORD, target / RECORD)
                for folder in (target, self.runs):
                    sync_folder(folder)
            return True
        return False

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Holds a lock of the results folder for a moment's work; it waits, and dies with its process."""
        path = self.out / ".locks" / f"{name}.lock"
        lock = FileLock(path)
        with telling(path, "locked"):
            lock.acquire()
        try:
            yield
        finally:
            with telling(path, "released"):
                lock.release()


def find_studies(path: Path) -> list[StudyStore]:
    """The study at `path`, or those in its direct subfolders, by name.

    Raises:
        StoreError: no study there.
    """
    path = Path(os.path.abspath(path))
    if (path / "study.json").is_file():
        return [StudyStore(path.parent, path.name)]
    if not path.exists():
        raise StoreError(f"{path}: no such file or folder")
    found = sorted(p.parent for p in path.glob("*/study.json"))
    if not found:
        raise StoreError(f"{path}: no study in it (a study's folder holds a study.json)")
    return [StudyStore(folder.parent, folder.name) for folder in found]


def _is_study(value: Any) -> bool:
    """Whether the parts that tables and resuming rely on are there."""
    if not isinstance(value, dict) or not isinstance(table := value.get("table"), dict):
        return False
    columns, about = table.get("columns"), table.get("column_info")
    return (
        isinstance(value.get("name"), str)
        and _mappings_with(value.get("plan"), "run_id", "role", "seed", "rows", "cells", "depends_on")
        and _mappings_with(value.get("superseded", []), "run_id", "role", "seed", "rows", "cells", "depends_on")
        and isinstance(value.get("notes", []), list)
        and _mappings_with(table.get("rows"), "name")
        and isinstance(columns, list)
        and isinstance(about, dict)
        and all(isinstance(about.get(str(column)), dict) for column in columns)
    )


def _mappings_with(items: Any, *keys: str) -> bool:
    return isinstance(items, list) and all(isinstance(i, dict) and all(key in i for key in keys) for i in items)


def _valid_record(path: Path) -> RunRecord:
    """The record of a run's folder, its values of the very types that it must have.

    Raises:
        StoreError: none that is valid; its cause is an OSError where it could not be read.
    """
    value = read_json(path)
    try:
        # Strict: a number in quotes or a truth value in the place of a score is damage, not a score.
        record = RunRecord.model_validate(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"]))[:_LONGEST_NAME] or "the whole"
        raise StoreError(f"{path}: not a valid record ({key}: {first['msg']})") from error
    if record.run_id != path.parent.name:
        name = record.run_id[:_LONGEST_NAME]
        raise StoreError(f"{path}: the record of run {name!r} lies in the folder of another")
    return record


def _record_or_none(path: Path) -> RunRecord | None:
    try:
        return _valid_record(path)
    except StoreError:
        return None


def _clean(line: str) -> str:
    """Names of folders and keys may hold anything; a line of text may not."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


def _set_aside_in(folder: Path) -> list[Path]:
    """The records set aside in a run's folder, the latest last."""
    try:
        found = [match for name in os.listdir(folder) if (match := _ASIDE.fullmatch(name))]
    except OSError:
        return []
    return [folder / match[0] for match in sorted(found, key=lambda match: int(match[1]))]


def _reserve(path: Path) -> Path:
    """A free name beside a damaged record, taken by something empty that a rename of its kind may replace."""
    earlier = _set_aside_in(path.parent)
    number = 1 + (int(_ASIDE.fullmatch(earlier[-1].name)[1]) if earlier else 0)  # type: ignore[index]
    while True:
        target = path.with_name(f"record.damaged-{number}.json")
        try:
            if path.is_dir() and not path.is_symlink():
                target.mkdir()
            else:
                os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            return target
        except FileExistsError:
            number += 1


def _own_alone(name: str) -> bool:
    """Files that no other study takes over, or not with the others: the record comes last."""
    return name in (STATE, RECORD) or _ASIDE.fullmatch(name) is not None


def _link(source: Path, target: Path) -> None:
    """The whole file or none has the target's name at any time, whoever is killed."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        try:
            os.link(source, temporary)  # what the source holds has been fsynced before its record was there
        except OSError:
            shutil.copy2(source, temporary)
            sync_file(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)  # there still where the target was a link to the same file already


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _below(folder: Path, name: str) -> list[Path]:
    """Every `folder/*/name` there is, sorted. Unlike glob it does not take a folder it cannot read for an empty one.

    Raises:
        StoreError: the folder cannot be read.
    """
    with telling(folder, "read"):
        try:
            folders = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        return [path for own in folders if (path := folder / own / name).exists()]


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(_finite(content), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return value
