"""Writing files so that a reader sees the old content or the new, never half of one."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import json
import os
import platform
import re
import stat
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

from mmablate.errors import StoreError

_NUMBERS = itertools.count()  # of the temporary files of this process


class CannotRead(StoreError):
    """The system could not read a file that is there: nothing is known of what it holds."""


@contextlib.contextmanager
def telling(path: Path, verb: str = "written") -> Iterator[None]:
    """Turns an OSError into a StoreError that names the path and the reason (full disk, no permission)."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: cannot be {verb}: {error.strerror or error}") from error


def write_atomic(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes through a temporary file in the same folder; file and folder are fsynced.

    After an fsync that failed nothing is known of what the disk holds: the write is given up, never taken for done.

    Args:
        durable: without it, a later `sync_file` and `sync_folder` make the write survive a power cut.

    Raises:
        StoreError: names the path and the reason; the old content is left as it was, unless it was the fsync of the
            folder that failed: then the new content is there, and may be gone after a power cut.
    """
    with telling(path):
        temporary = path.parent / f".{path.name}.{os.getpid()}-{next(_NUMBERS)}"
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                written = memoryview(content)
                while written:
                    written = written[file.write(written) or 0 :]
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Makes the content of a file durable; one that is not there needs none."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Makes a rename in the folder durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Barrier:
    """Makes everything that was written to a folder's file system durable at once: one wait in place of hundreds.

    By Linux' syncfs, which tells of write errors since 5.8; elsewhere `reached` says False, and files are synced one
    by one. It is opened before the writes that it is for, since errors before that are not told.

    Args:
        folder: that is there.

    Raises:
        OSError: the folder cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._call = _syncfs()
        self._handle = os.open(folder, os.O_RDONLY) if self._call is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def reached(self) -> bool:
        """Waits until all writes so far are durable; False where the system cannot be relied on to say so.

        Raises:
            OSError: something could not be written; nothing is known of what the disk holds.
        """
        if self._call is None or self._handle is None:
            return False
        if self._call(self._handle) == 0:
            return True
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):
            return False
        raise OSError(number, os.strerror(number))


@cache
def _syncfs() -> Callable[[int], int] | None:
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if sys.platform != "linux" or release is None or (int(release[1]), int(release[2])) < (5, 8):
        return None
    call: Callable[[int], int] | None = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    return call


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, so that they survive a power cut; one that is there is left as it is.

    Raises:
        OSError: it cannot be made.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        with contextlib.suppress(PermissionError):  # a folder may be writable and yet not be opened
            sync_folder(path.parent)


def clear_litter(folder: Path, name: str = "") -> None:
    """Removes temporary files that writers which were killed have left; only for who alone writes there.

    Args:
        name: of the file whose temporary files are meant; all by default.

    Raises:
        OSError: the folder cannot be read, or a file not removed.
    """
    for own in os.listdir(folder):
        if own.startswith(f".{name}" if name else ".") and "." in own[len(name) + 1 :]:
            (folder / own).unlink(missing_ok=True)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Writes JSON atomically; NaN and infinities are refused (ValueError) rather than written."""
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    write_atomic(path, (text + "\n").encode(), durable=durable)


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        CannotRead: unreadable; names the path, and its cause is an OSError.
        StoreError: missing or not JSON; names path and line.
    """
    try:
        content = _content(path)
        value = json.loads(content)
        if b"\\ud" in content.lower():  # half of a pair, as an escape: Python reads it, no file can be written of it
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except OSError as error:
        no_file = isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError))
        no_file |= error.errno in (errno.EINVAL, errno.ELOOP)  # a pipe, a device, a link to itself
        kind = StoreError if no_file else CannotRead
        raise kind(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise StoreError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, half a character, a number of 5000 digits
        raise StoreError(f"{path}: not valid JSON: {error}") from error


def _content(path: Path) -> bytes:
    """The bytes of a regular file; a pipe or a device, which may never end, is refused as an OSError."""
    with open(path, "rb", buffering=0, opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a file")
        return file.readall()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
