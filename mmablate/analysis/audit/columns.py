"""What each column of a table is: label, metric, Δ, spread, Mean, or beside the point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmablate.analysis.audit import words
from mmablate.analysis.audit.model import Cell, Column, Entry, Kind


def _header(rows: Sequence[Sequence[Cell]], x: int) -> tuple[str, str]:
    """(name, group): the lowest text of the header above a column, and the different ones above that."""
    texts = list(dict.fromkeys(row[x].text for row in rows if row[x].text))
    if len(texts) > 1 and words.UNIT.match(texts[-1]):
        texts[-2:] = [f"{texts[-2]} ({texts[-1]})"]
    return (texts[-1], " / ".join(texts[:-1])) if texts else ("", "")


def _share_of_numbers(entries: Sequence[Sequence[Entry]], x: int) -> tuple[float, int, int]:
    """(share of numbers among what is printed, numbers, signed numbers) of a column."""
    column = [row[x] for row in entries]
    numbers = [e.value for e in column if e.value is not None]
    printed = [e for e in column if not e.missing]
    return len(numbers) / max(len(printed), 1), len(numbers), sum(n.signed for n in numbers)


def _kind(
    name: str, group: str, x: int, entries: Sequence[Sequence[Entry]], text: Sequence[str], others: frozenset[str]
) -> Kind:
    """The kind of a column.

    Args:
        name, group: of its header.
        x: its index.
        entries, text: of the body, and of this column.
        others: names of all columns: "F_p" is a detail of "F".
    """
    share, n_numbers, n_signed = _share_of_numbers(entries, x)
    delta = bool(words.DELTA.search(name) or (words.DELTA.search(group) and not words.DELTA.search(name)))
    if x == 0:
        return "label"
    if any(row[x].delta is not None for row in entries):
        delta = False  # "mIoU (Δ)" over "45.82 (+2.13)"
    if n_numbers == 0 or share < 0.5:
        dashes = all(e.missing for e in (row[x] for row in entries)) and any(text)
        return "delta" if delta and dashes else "label"
    if words.STD.search(name):
        return "std"
    if delta:
        return "delta"
    if not name and n_signed * 2 >= n_numbers and x > 1:
        return "delta"  # a column without a name that holds signed numbers
    if any(name[:i] in others for i, c in enumerate(name) if c == "_" and i):
        return "extra"
    if words.MEAN.search(name):
        return "mean"
    return "extra" if words.EXTRA.search(name) else "metric"


def _owner(position: int, drafts: Sequence[tuple[str, str, str, Kind]]) -> int | None:
    """Index of the metric that a column of Δ or std belongs to: the one it names, else the nearest on its left."""
    name, group = drafts[position][1], drafts[position][2]
    measured = [i for i, (_, _, _, kind) in enumerate(drafts) if kind in ("metric", "mean")]
    wanted = {
        t.lower() for t in (words.without_delta(name), name.removesuffix("_std"), words.without_delta(group)) if t
    }
    named = [i for i in measured if words.bare(drafts[i][1]).lower() in wanted]
    same_group = [i for i in named if drafts[i][2] == group or words.without_delta(group) == drafts[i][2]]
    if same_group or named:
        return (same_group or named)[0]
    several = sum(kind == "delta" for _, _, _, kind in drafts) > 1
    if several and position and drafts[position - 1][3] == "extra":
        return position - 1  # a Δ of seconds says nothing about the metric before them
    left = [i for i in measured if i < position]
    return left[-1] if left else next(iter(measured), None)


def _names(drafts: Sequence[tuple[str, str, str, Kind]]) -> list[str]:
    """Names that tell columns apart: with their group, or counted, where the lowest header repeats."""
    measured = Counter(bare for bare, _, _, kind in drafts if kind in ("metric", "mean"))
    found: list[str] = []
    for x, (bare, _, group, kind) in enumerate(drafts):
        name = bare or f"column {x + 1}"
        if kind in ("metric", "mean") and measured[bare] > 1 and group:
            name = f"{words.bare(group)} / {name}"
        if kind in ("metric", "mean") and name in found:
            name = f"{name} ({found.count(name) + 1})"
        found.append(name)
    return found


def make_columns(
    header: Sequence[Sequence[Cell]], body: Sequence[Sequence[Cell]], entries: Sequence[Sequence[Entry]]
) -> tuple[Column, ...]:
    """Columns with their meaning.

    Args:
        header, body: rows of cells, equally wide.
        entries: the numbers of the body.
    """
    width = len(header[0]) if header else len(body[0]) if body else 0
    others = frozenset(_header(header, x)[0] for x in range(width))
    drafts: list[tuple[str, str, str, Kind]] = []
    for x in range(width):
        name, group = _header(header, x)
        kind = _kind(name, group, x, entries, [row[x].text for row in body], others)
        drafts.append((words.bare(name), name, group, kind))
    columns = []
    for x, name in enumerate(_names(drafts)):
        _, printed, group, kind = drafts[x]
        of = _owner(x, drafts) if kind in ("delta", "std") else None
        columns.append(Column(x, name, printed, kind, group, words.direction(printed, group), of))
    return tuple(columns)
