"""Files of features as arrays and columns of text: .npy, .npz, .csv and .csv.gz, whoever wrote them."""

from __future__ import annotations

import csv
import zipfile
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.arrays.lines import table_rows
from mmablate.data.untrusted import BROKEN, reason
from mmablate.errors import DataError

ENDINGS = (".npy", ".npz", ".csv", ".csv.gz")
MOST_BYTES = 4 << 30
"""Of the arrays of an archive, unpacked, and of a column's texts: a small file may claim to be an endless one."""
PIECE = 1 << 16  # texts
WIDTH = np.dtype("U1").itemsize
REAL = "fiub"
Column = str | int
Text = NDArray[np.str_]


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        path: the file.
        n: number of rows.
        values: (N, ...) real numbers; None where it was read for its columns alone.
        columns: name or place, as asked for -> one text a row.
    """

    path: Path
    n: int
    values: np.ndarray | None
    columns: Mapping[Column, Text]


@dataclass(frozen=True)
class Wanted:
    """What to read of a file.

    Attributes:
        columns: names (of a CSV's columns, of an archive's arrays) or places in a CSV; read where they are there.
        ignored: names of columns that are no features.
        values: whether to read features, too.
        key: of an archive, the array of features; None for the only one left.
        header: whether a CSV's first line holds names.
        whole: the file is one column, whatever it is called (an .npy of labels).
    """

    columns: tuple[Column, ...] = ()
    ignored: tuple[str, ...] = ()
    values: bool = True
    key: str | None = None
    header: bool = True
    whole: Column | None = None


def ending(path: Path) -> str:
    """ ".csv.gz" where it is that, else the suffix, in lower case."""
    return ".csv.gz" if path.name.lower().endswith(".csv.gz") else path.suffix.lower()


def read_content(path: Path, wanted: Wanted) -> Content:
    """The features of a file and those of the wanted columns that it has.

    Raises:
        DataError: the file is missing, damaged or of another form.
    """
    try:
        if ending(path) == ".npy":
            return _of_array(path, wanted)
        return _of_archive(path, wanted) if ending(path) == ".npz" else _of_table(path, wanted)
    except DataError:
        raise
    except (*BROKEN, csv.Error) as error:
        raise DataError(f"{path}: expected a readable {ending(path)} file, found: {reason(error)}") from None


def _of_array(path: Path, wanted: Wanted) -> Content:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if wanted.whole is not None:
        return Content(path, len(_rows(path, values)), None, {wanted.whole: as_text(path, values)})
    return Content(path, len(_rows(path, values)), _real(path, values) if wanted.values else None, {})


def _of_archive(path: Path, wanted: Wanted) -> Content:
    with zipfile.ZipFile(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
    if total > MOST_BYTES:
        raise DataError(f"{path}: expected at most {MOST_BYTES:,} bytes unpacked, found {total:,}")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        names = list(arrays.files)
        here = [name for name in wanted.columns if name in names]
        columns = {name: as_text(f"{path}: {name}", arrays[str(name)]) for name in here}
        left = [name for name in names if name not in here and name not in wanted.ignored]
        if wanted.whole is not None and len(left) == 1:
            columns[wanted.whole] = as_text(f"{path}: {left[0]}", arrays[left[0]])
        values = None
        if wanted.values:
            key = wanted.key or (left[0] if len(left) == 1 else None)
            if key is None or key not in names:
                asked = f"an array {wanted.key!r}" if wanted.key else "one array of features, or its name as `key`"
                raise DataError(f"{path}: expected {asked}, found {', '.join(names) or 'none'}")
            values = _real(f"{path}: {key}", arrays[key])
    lengths = {len(found) for found in (*columns.values(), *([] if values is None else [values]))}
    if len(lengths) > 1:
        raise DataError(f"{path}: expected arrays of one length, found {sorted(lengths)}")
    return Content(path, lengths.pop() if lengths else 0, values, columns)


def _of_table(path: Path, wanted: Wanted) -> Content:
    rows = table_rows(path)
    first = next(rows, [])
    names = tuple(name.strip() for name in first) if wanted.header else tuple(str(i) for i in range(len(first)))
    if wanted.header:
        _check_names(path, names, wanted.columns)
    places = {column: place for column in wanted.columns if (place := _place(column, names)) is not None}
    if wanted.whole is not None and len(names) - len(places) == 1:
        (places[wanted.whole],) = set(range(len(names))) - set(places.values())
    away: Collection[int] = {*places.values(), *(i for i, name in enumerate(names) if name in wanted.ignored)}
    left = [place for place in range(len(names)) if place not in away] if wanted.values else []
    texts = {column: _Texts(path, column) for column in places}
    numbers, n = array("d"), 0
    for row in _full_rows(path, rows if wanted.header else chain([first], rows), names):
        if wanted.values:
            numbers.extend(_numbers(path, n, row, names, left))
        for column, place in places.items():
            texts[column].add(row[place].strip())
        n += 1
    if n == 0:
        lines = int(wanted.header and bool(first))
        raise DataError(
            f"{path}: expected {'a header and ' if wanted.header else ''}rows of values, found {lines} lines"
        )
    if wanted.values and not left:
        raise DataError(f"{path}: expected a column of features, found none beside {', '.join(names)}")
    values = np.frombuffer(numbers).reshape(n, len(left)) if wanted.values else None
    return Content(path, n, values, {column: found.all() for column, found in texts.items()})


class _Texts:
    """The texts of a column, held as an array piece by piece: a text of Python takes many times its length."""

    def __init__(self, path: Path, column: Column) -> None:
        self.path, self.column = path, column
        self.done: list[Text] = []
        self.last: list[str] = []
        self.n = self.widest = 0

    def add(self, text: str) -> None:
        self.n, self.widest = self.n + 1, max(self.widest, len(text))
        if self.n * self.widest * WIDTH > MOST_BYTES:  # every text takes the room of the longest
            found = f"{self.n:,} of up to {self.widest:,} characters"
            raise DataError(
                f"{self.path}: column {self.column!r}: expected texts of at most {MOST_BYTES:,} bytes, found {found}"
            )
        self.last.append(text)
        if len(self.last) == PIECE:
            self._close()

    def _close(self) -> None:
        self.done.append(np.array(self.last, dtype=np.str_))
        self.last = []

    def all(self) -> Text:
        self._close()
        return np.concatenate(self.done)


def _place(column: Column, names: tuple[str, ...]) -> int | None:
    """Where a column is; None where it is not."""
    if isinstance(column, str):
        return names.index(column) if column in names else None
    return column % len(names) if -len(names) <= column < len(names) else None


def _full_rows(path: Path, rows: Iterable[list[str]], names: tuple[str, ...]) -> Iterator[list[str]]:
    """The rows without the empty lines at the end. Raises DataError for one of another length."""
    n = blank = 0
    for row in rows:
        if not row:
            blank += 1
            continue
        if blank or len(row) != len(names):
            text = f"expected {len(names)} values separated by commas, found {0 if blank else len(row)}"
            raise DataError(f"{path}: row {n + 1}: {text}")
        n += 1
        yield row


def _check_names(path: Path, names: tuple[str, ...], columns: Collection[Column]) -> None:
    """Refuses a first line that holds values, and names that could mean two columns.

    Columns that are asked for by their place may be called anything: a widely used form numbers the features and
    calls the label 0 once more.
    """
    spared = {_place(column, names) for column in columns if isinstance(column, int)}
    others = [name for place, name in enumerate(names) if place not in spared]
    hint = "a header of different names; where the first line holds values, say header: false"
    odd = [name for name in others if not name.isdecimal() and _is_number(name)]
    odd += [name for name, count in Counter(others).items() if count > 1]
    if others and all(name.isdecimal() for name in others):
        counted = [int(name) for name in others]
        odd += [] if counted == list(range(counted[0], counted[0] + len(counted))) else others
    if odd:
        raise DataError(f"{path}: expected {hint}, found {odd[0]!r} in it")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(path: Path, row: int, cells: list[str], names: tuple[str, ...], left: list[int]) -> list[float]:
    try:
        return [float(cells[place]) for place in left]
    except ValueError:
        place = next(place for place in left if not _is_number(cells[place]))
        where = f"row {row + 1}, column {names[place]!r}"
        text = "expected a number (or the column's name under `ignore`)"
        raise DataError(f"{path}: {where}: {text}, found {cells[place]!r}") from None


def _rows(path: Path | str, values: np.ndarray) -> np.ndarray:
    if values.ndim < 1 or values.size == 0:
        raise DataError(f"{path}: expected an array (N, ...), found shape {values.shape}")
    return values


def _real(path: Path | str, values: np.ndarray) -> np.ndarray:
    """(N, ...), one number a row as (N, 1)."""
    if values.dtype.kind not in REAL:
        raise DataError(f"{path}: expected real numbers, found dtype {values.dtype}")
    return _rows(path, values).reshape(len(values), 1) if values.ndim == 1 else _rows(path, values)


def as_text(path: Path | str, values: np.ndarray) -> Text:
    """One text a row of an array (N,) of numbers or strings. Raises DataError for anything else."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "fiubUS":
        raise DataError(f"{path}: expected one name or number a row, found {values.dtype} of shape {values.shape}")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    return np.char.strip(np.asarray(values).astype(np.str_))
