"""Lists of samples: csv files and their like, of unknown origin."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

from mmablate.data.faults import FileFault
from mmablate.data.untrusted import BROKEN, reason

MOST_BYTES = 64 << 20


def read_rows(path: Path, *, delimiter: str = ",", what: str = "lists") -> list[tuple[int, list[str]]]:
    """Number and cells of each line that is not empty, without the spaces around them.

    UTF-8 with or without a byte order mark, lines ended in any way. Quotes have a meaning where commas separate.

    Args:
        path: the file.
        delimiter: between cells.
        what: such files are called in the count of faults.

    Raises:
        FileFault: unreadable, no UTF-8, larger than 64 MiB, or with a quote that is still open at the end of its line.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FileFault(path, f"expected at most {MOST_BYTES >> 20} MiB, found a larger file", f"large {what}")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, skipinitialspace=True)
        rows, last = [], 0
        for cells in reader:
            if reader.line_num > last + 1:  # it has swallowed the rows up to the next quote, or to the end
                text = f"line {last + 1}: expected quotes that end on their line, found one that does not"
                raise FileFault(path, text, f"{what} with open quotes")
            last = reader.line_num
            rows.append((last, [cell.strip() for cell in cells]))
        return [(number, cells) for number, cells in rows if any(cells)]
    except (*BROKEN, csv.Error) as error:
        if isinstance(error, FileFault):
            raise
        raise FileFault(path, f"expected a csv file, found: {reason(error)}", f"unreadable {what}") from None
