"""Writing files so that a reader sees the old content or the new, never half of one."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmablate.errors import StoreError

_NUMBERS = itertools.count()  # of the temporary files of this process


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
        StoreError: names the path and the reason; the old content is left as it was.
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


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Writes JSON atomically; NaN and infinities are refused (ValueError) rather than written."""
    text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
    write_atomic(path, (text + "\n").encode(), durable=durable)


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        StoreError: missing, unreadable or not JSON; names path and line. Its cause is an OSError where the content
            could not be read at all.
    """
    try:
        content = _content(path)
        value = json.loads(content)
        if b"\\ud" in content.lower():  # half of a pair, as an escape: Python reads it, no file can be written of it
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
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
