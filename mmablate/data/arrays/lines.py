"""The rows of a table of text, one after the other: what a small archive unpacks to is never held as a whole."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

from mmablate.errors import DataError

MOST_TEXT = 1 << 30
"""Bytes of a table, unpacked: a small file may claim to be an endless one."""
MOST_OF_ROW = 1 << 24
"""Characters of one row, line breaks between quotes included."""


class _Counted(io.RawIOBase):
    """A file that is read no further than `MOST_TEXT`."""

    def __init__(self, path: Path, file: io.BufferedIOBase) -> None:
        self.path, self.file, self.seen = path, file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # a writable buffer has no name before 3.12
        got = self.file.readinto(buffer)
        self.seen += got
        if self.seen > MOST_TEXT:
            raise DataError(f"{self.path}: expected at most {MOST_TEXT:,} bytes of text unpacked, found more")
        return got


class _Lines:
    """Lines with their breaks; `row` is to be set to 0 where a row begins."""

    def __init__(self, path: Path, file: io.BufferedIOBase) -> None:
        self.path, self.row = path, 0
        self.text = io.TextIOWrapper(io.BufferedReader(_Counted(path, file)), encoding="utf-8-sig", newline="")

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.text.readline(MOST_OF_ROW + 1)
        self.row += len(line)
        if self.row > MOST_OF_ROW:
            raise DataError(f"{self.path}: expected at most {MOST_OF_ROW:,} characters a row, found more")
        if not line:
            raise StopIteration
        return line


def table_rows(path: Path) -> Iterator[list[str]]:
    """The cells of each row of a CSV file, packed where its name ends in .gz; [] for an empty line.

    Raises:
        DataError: more text than `MOST_TEXT` or `MOST_OF_ROW`.
        OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error: damaged.
    """
    with path.open("rb") as raw:
        packed = path.name.lower().endswith(".gz")
        lines = _Lines(path, gzip.GzipFile(fileobj=raw) if packed else raw)
        for row in csv.reader(lines):
            lines.row = 0
            yield row
