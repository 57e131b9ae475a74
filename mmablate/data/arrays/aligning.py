"""Which rows of several files belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.arrays.files import Column, Content, Text
from mmablate.errors import DataError

Rows = NDArray[np.int64]
SHOWN = 3


@dataclass(frozen=True)
class Aligned:
    """Samples, each a row of every file.

    Attributes:
        names: of the samples: their ids, or the numbers of their rows.
        rows: row of each sample, of each file.
        lost: path -> number of its rows that are no sample.
        notes: what was taken for granted, and what was left out.
    """

    names: tuple[str, ...]
    rows: tuple[Rows, ...]
    notes: tuple[str, ...] = ()


def match_ids(lists: Sequence[Sequence[str]]) -> tuple[list[str], list[Rows]]:
    """Ids that all lists have, in the order of the first, and where they are in each list.

    Args:
        lists: ids of each file, each once.
    """
    places = [{name: row for row, name in enumerate(names)} for names in lists]
    common = [name for name in lists[0] if all(name in place for place in places[1:])]
    return common, [np.array([place[name] for name in common], dtype=np.int64) for place in places]


def align(contents: Sequence[Content], column: str | None, labels: Path | None, *, drop: bool) -> Aligned:
    """Matches the rows of all files.

    Args:
        contents: of the files.
        column: their ids; None: all files have the same order.
        labels: file whose ids and order hold for .npy files, which have no ids of their own.
        drop: leave rows without a partner out, with a note; otherwise they are refused.

    Raises:
        DataError: rows that cannot be matched.
    """
    if column is None:
        lengths = {content.n for content in contents}
        if len(lengths) > 1:
            found = ", ".join(f"{content.path.name} {content.n}" for content in contents)
            raise DataError(f"{contents[0].path.parent}: expected files of the same number of rows, found {found}")
        rows = np.arange(contents[0].n)
        return Aligned(tuple(str(row) for row in rows), tuple(rows for _ in contents))
    ids, notes = _ids(contents, column, labels)
    names, places = match_ids(ids)
    short = {content.path: content.n - len(names) for content in contents if content.n > len(names)}
    if not names:
        raise DataError(f"{contents[0].path}: expected ids that all files have, found none in common")
    if short and not drop:
        every = set(names)
        raise DataError([_unmatched(content, own, every) for content, own in zip(contents, ids, strict=True)
                         if content.path in short])  # fmt: skip
    if short:
        parts = ", ".join(f"{path.name} {lost}" for path, lost in short.items())
        notes.append(f"Rows without a partner of the same id were dropped ({parts}); {len(names)} samples are left.")
    return Aligned(tuple(names), tuple(places), tuple(notes))


def _unmatched(content: Content, ids: list[str], matched: set[str]) -> str:
    lost = [name for name in ids if name not in matched]
    some = ", ".join(map(repr, lost[:SHOWN])) + (", ..." if len(lost) > SHOWN else "")
    wanted = "a partner of the same id in every file for each row (missing: drop leaves the others out)"
    return f"{content.path}: expected {wanted}, found {len(lost)} of {content.n} rows without ({some})"


def _ids(contents: Sequence[Content], column: str, labels: Path | None) -> tuple[list[list[str]], list[str]]:
    """Ids of each file, and notes on those that have none of their own."""
    own = {content.path: content for content in contents}
    found, notes, problems = [], [], []
    for content in contents:
        ids: Text | None = content.columns.get(column)
        if ids is None and content.path.suffix.lower() == ".npy" and labels is not None:
            ids = own[labels].columns.get(column)
            if ids is not None and len(ids) != content.n:
                problems.append(f"{content.path}: expected the {len(ids)} rows of {labels.name}, found {content.n}")
            notes.append(f"{content.path.name} has no ids: its rows are taken to be those of {labels.name}, in order.")
        if ids is None:
            problems.append(f"{content.path}: expected a column {column!r} of ids, found none")
            continue
        blank = np.flatnonzero(ids == "")
        if len(blank):  # two of them are not the same sample
            problems.append(f"{content.path}: expected an id in every row, found none in row {blank[0] + 1}")
        twice = [name for name, count in Counter(ids.tolist()).items() if count > 1 and name]
        if twice:
            problems.append(f"{content.path}: expected each id once, found {twice[0]!r} {_times(ids, twice[0])} times")
        found.append(ids.tolist())
    if problems:
        raise DataError(problems)
    return found, notes


def _times(ids: Text, name: str) -> int:
    return int((ids == name).sum())


def agreed(what: str, column: Column, contents: Sequence[Content], aligned: Aligned) -> Text:
    """The texts of a column, one a sample, which must be the same in every file that has it.

    Raises:
        DataError: no file has it, a text is empty, one number is written in two ways, or files differ.
    """
    having = [(content, rows) for content, rows in zip(contents, aligned.rows, strict=True)
              if column in content.columns]  # fmt: skip
    if not having:
        names = ", ".join(content.path.name for content in contents)
        raise DataError(f"{contents[0].path.parent}: {what}: expected a column {column!r} in {names}, found none")
    values = [canonical(content.columns[column][rows]) for content, rows in having]
    problems = []
    for (content, rows), found in zip(having, values, strict=True):
        empty = np.flatnonzero(found == "")
        if len(empty):
            problems.append(f"{content.path}: {what}: expected a value in row {rows[empty[0]] + 1}, found none")
        twice = _merged(content.columns[column][rows], found)
        if twice:  # "01" and "1" may be two names, or one
            text = f"each {what.removesuffix('s')} written in one way"
            problems.append(f"{content.path}: {what}: expected {text}, found {twice[0]!r} and {twice[1]!r}")
        unlike = np.flatnonzero(found != values[0])
        if len(unlike):
            first = unlike[0]
            text = f"the {what} of {having[0][0].path.name} (are the rows in one order?)"
            told = f"{str(found[first])!r} for {str(values[0][first])!r} in row {rows[first] + 1}"
            problems.append(f"{content.path}: expected {text}, found {len(unlike)} others, first {told}")
    if problems:
        raise DataError(problems)
    return values[0]


def _merged(texts: Text, found: Text) -> tuple[str, str] | None:
    """Two different texts that `canonical` made one."""
    known: dict[str, str] = {}
    for text, made in sorted(set(zip(texts.tolist(), found.tolist(), strict=True))):
        if known.setdefault(made, text) != text:
            return known[made], text
    return None


def canonical(texts: Text) -> Text:
    """Whole numbers written as such: "3.0" and "03" become "3", where all texts are whole numbers."""
    known, places = np.unique(texts, return_inverse=True)
    try:
        numbers = [float(text) for text in known.tolist()]
        whole = all(number.is_integer() and abs(number) < 2**53 for number in numbers)
    except ValueError:
        return texts
    if not whole:
        return texts
    return np.array([str(int(number)) for number in numbers], dtype=np.str_)[places.reshape(-1)]
