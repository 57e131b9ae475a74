"""One file in, everything found in it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmablate.analysis.audit import words
from mmablate.analysis.audit.deltas import check_deltas
from mmablate.analysis.audit.grim import check_grim
from mmablate.analysis.audit.layout import publish
from mmablate.analysis.audit.marks import check_bold, check_colours
from mmablate.analysis.audit.means import check_means
from mmablate.analysis.audit.model import Audit, Finding, PublishedTable
from mmablate.analysis.audit.reading import read_grids
from mmablate.errors import UsageError


def _named(table: PublishedTable, name: str) -> int | None:
    """Position of the row of that label, or of the only row whose label contains it."""
    wanted = "".join(words.bare(name).lower().split())
    labels = ["".join(words.bare(row.label).lower().split()) for row in table.rows]
    if wanted in labels:
        return labels.index(wanted)
    within = [i for i, label in enumerate(labels) if wanted and wanted in label]
    return within[0] if len(within) == 1 else None


class _Collected:
    """Findings and notes of all tables of a file."""

    def __init__(self, several: bool) -> None:
        self.several = several
        self.findings: dict[str, list[Finding]] = {}
        self.checked: Counter[str] = Counter()
        self.notes: dict[str, None] = {}

    def add(self, kind: str, found: Sequence[Finding]) -> None:
        self.findings.setdefault(kind, []).extend(found)

    def note(self, table: PublishedTable, notes: Sequence[str]) -> None:
        for text in notes:
            self.notes[f"table {table.number}: {text}" if self.several else text] = None


def _audit_table(
    table: PublishedTable,
    into: _Collected,
    baseline: int | None,
    samples: int | None,
    columns: Sequence[str],
    runs: int,
) -> None:
    """All checks of one table."""
    deltas = check_deltas(table, baseline)
    means = check_means(table)
    bold = check_bold(table, means.averaged)
    colours = check_colours(table, deltas.signs)
    into.add("wrong_delta", [*deltas.wrong, *means.wrong_delta])
    into.add("wrong_mean", means.wrong)
    into.add("only_by_rounding", [*deltas.by_rounding, *means.by_rounding])
    into.add("bold_not_best", bold.found)
    into.add("colour_contradicts", colours.found)
    into.checked.update(delta=deltas.checked, mean=means.checked, bold=bold.checked, colour=colours.checked)
    into.note(table, [*deltas.notes, *means.notes, *bold.notes, *colours.notes])
    if samples is not None:
        grim = check_grim(table, samples, columns, runs)
        into.add("impossible", grim.impossible)
        into.checked.update(grim=grim.checked)
        into.note(table, grim.notes)
    if table.n_unread:
        into.note(table, [f"{table.n_unread} of {table.n_read + table.n_unread} cells could not be read as numbers"])


def audit_file(
    path: Path | str,
    *,
    baseline: str | None = None,
    samples: int | None = None,
    grim_columns: Sequence[str] = (),
    runs: int = 1,
) -> Audit:
    """Audits every table of a file.

    Args:
        path: HTML, Markdown, LaTeX or CSV.
        baseline: label of the row that Δ refer to; the table's form tells it otherwise.
        samples: of the test set: accuracies that no count can give are found too.
        grim_columns: columns that hold accuracies.
        runs: runs that a printed accuracy is the mean of.

    Raises:
        DataError: the file cannot be read, or holds no table.
        UsageError: no table has the row or the columns named, or a number of samples or runs is not positive.
    """
    if samples is None and (grim_columns or runs != 1):
        raise UsageError("--grim-columns and --runs need --samples")
    if (samples is not None and samples < 1) or runs < 1:
        raise UsageError("--samples and --runs: a number from 1 on")
    tables = tuple(publish(grid, number) for number, grid in enumerate(read_grids(Path(path)), start=1))
    named = [_named(table, baseline) if baseline is not None else None for table in tables]
    if baseline is not None and all(row is None for row in named):
        rows = dict.fromkeys(row.label for table in tables for row in table.rows)
        raise UsageError(f"--baseline {baseline}: no such row in {path}; rows: {', '.join(list(rows)[:20])}")
    into = _Collected(len(tables) > 1)
    for table, row in zip(tables, named, strict=True):
        _audit_table(table, into, row, samples, grim_columns, runs)
    columns = {words.bare(text).lower() for t in tables for c in t.columns for text in (c.name, c.header)}
    missing = [name for name in grim_columns if words.bare(name).lower() not in columns]
    if missing:
        raise UsageError(f"--grim-columns: no column {missing[0]!r} in {path}")
    kinds = {kind: tuple(found) for kind, found in into.findings.items()}
    return Audit(path=str(path), tables=tables, checked=dict(into.checked), notes=tuple(into.notes), **kinds)
