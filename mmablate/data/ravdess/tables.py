"""data_file/spa_*.csv: which sound goes with which picture, their label, and the published split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmablate.data.faults import Fault, FileFault
from mmablate.data.lists import read_rows
from mmablate.data.ravdess.names import EMOTIONS

FOLDER = "data_file"
TABLES = {"train": "spa_dl.csv", "val": "spa_val.csv", "test": "spa_test.csv"}
COLUMNS = "columns (npy name, image name, label)"


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        split: of the table.
        audio, image: names below aud_features and vid_features.
        label: 0..7.
        place: file and line, for messages.
    """

    split: str
    audio: str
    image: str
    label: int
    place: str


def read_tables(root: Path) -> tuple[list[Row], list[Fault]]:
    """The rows of the three tables, in order, and what is wrong with the others."""
    rows: list[Row] = []
    faults: list[Fault] = []
    for split, name in TABLES.items():
        path = root / FOLDER / name
        try:
            lines = list(_lines(path))
        except FileFault as error:
            faults.append(Fault.of(error))
            continue
        before = len(rows) + len(faults)
        for number, cells in lines[1:]:
            found = _row(split, path, number, cells)
            (rows if isinstance(found, Row) else faults).append(found)  # type: ignore[arg-type]
        if len(rows) + len(faults) == before:
            faults.append(Fault(f"{path}: expected rows below the header, found none", "empty tables"))
    return rows, faults


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not empty; the first is the header."""
    found = read_rows(path, what="tables")
    if not found or len(found[0][1]) < 3:
        header = found[0][1] if found else "an empty file"
        raise FileFault(path, f"expected a header row of at least three {COLUMNS}, found {header}", "tables")
    if found[0][1][2].lstrip("-").isdigit():
        raise FileFault(path, f"expected a header row first, found the data {','.join(found[0][1])}", "tables")
    yield from found


def _row(split: str, path: Path, number: int, cells: list[str]) -> Row | Fault:
    place = f"{path}, line {number}"
    if len(cells) < 3:
        return Fault(f"{place}: expected three {COLUMNS}, found {len(cells)}", "short rows")
    audio, image, label = cells[:3]
    for name in (audio, image):
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0]:
            return Fault(f"{place}: expected a name below its folder, found {name!r}", "names outside of the folder")
    if not (len(label) == 1 and label.isascii() and label.isdigit() and int(label) < len(EMOTIONS)):
        text = f"{place}: expected a label from 0 to {len(EMOTIONS) - 1}, found {label!r}"
        return Fault(text, "labels outside of 0..7")
    return Row(split, audio, image, int(label), place)
