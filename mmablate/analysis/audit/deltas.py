"""Every Δ against its baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mmablate.analysis.audit import words
from mmablate.analysis.audit.baselines import (
    Fit,
    Judged,
    Scheme,
    alternatives,
    assumed,
    fit,
    fixed,
    is_plausible,
    named_row,
    without_delta,
)
from mmablate.analysis.audit.model import Finding, PublishedTable, Series


class DeltaCheck(NamedTuple):
    """What came of the Δ of one table.

    Attributes:
        signs: by (column index, rank): the sign by which the column prints Δ.
    """

    wrong: list[Finding]
    by_rounding: list[Finding]
    checked: int
    notes: list[str]
    baselines: list[str]
    signs: dict[tuple[int, int], int]


class _Explained(NamedTuple):
    scheme: Scheme
    fits: list[Fit]

    @property
    def n(self) -> int:
        return sum(len(f.judged) for f in self.fits)

    @property
    def n_wrong(self) -> int:
        return sum(f.n_wrong for f in self.fits)


def _explain(table: PublishedTable, group: Sequence[Series], scheme: Scheme) -> _Explained:
    return _Explained(scheme, [fit(table, series, scheme) for series in group])


def _best_alternative(
    table: PublishedTable, group: Sequence[Series], without: Sequence[int], most_wrong: int, at_least: int
) -> _Explained | None:
    """The scheme that explains most, if it leaves fewer unexplained than the assumed one and sees as many Δ."""
    best: _Explained | None = None
    n_deltas = sum(len(series.deltas) for series in group)
    for scheme in alternatives(table, group, without):
        if not is_plausible(table, group, scheme):
            continue
        fits: list[Fit] = []
        wrong = 0
        for series in group:
            fits.append(fit(table, series, scheme))
            wrong += fits[-1].n_wrong
            if wrong >= most_wrong or 4 * wrong > n_deltas:
                break
        found = _Explained(scheme, fits)
        if wrong < most_wrong and 4 * wrong <= n_deltas and found.n >= at_least:
            best, most_wrong = found, wrong
            if wrong == 0:
                break
    return best


def _choose(
    table: PublishedTable, group: Sequence[Series], named: int | None
) -> tuple[_Explained | None, _Explained, str]:
    """(what to accuse by, what was assumed, a note)."""
    without = without_delta(table, group)
    schemes, certain = assumed(table, group, without, named)
    relative = any(words.RELATIVE.search(series.header) for series in group)
    if relative and len(without) == 1:
        schemes = [fixed(table, without[0], relative=True), *schemes]
    likely = [s for s in schemes if len(schemes) == 1 or is_plausible(table, group, s)] or schemes[:1]
    n_deltas = sum(len(series.deltas) for series in group)
    explained: list[_Explained] = []
    for scheme in likely:
        explained.append(_explain(table, group, scheme))
        if explained[-1].n_wrong == 0 and explained[-1].n == n_deltas:
            break  # nothing explains more
    first = min(explained, key=lambda e: (e.n_wrong, -e.n))
    if first.n_wrong == 0:
        return first, first, ""
    other = _best_alternative(table, group, without, first.n_wrong, max(2, min(first.n, n_deltas - len(group))))
    right, share = first.n - first.n_wrong, (first.n - first.n_wrong) / max(first.n, 1)
    if other is not None and named is None:
        explains_all = other.n_wrong == 0
        mostly = (other.n - other.n_wrong) >= max(3, 0.75 * other.n) and share < 0.5
        if explains_all or mostly:
            note = f"Δ follow {other.scheme.words}, not {first.scheme.words}"
            return other, first, note
    if certain and (first.n < 4 or share >= 0.25):
        return first, first, ""
    if not certain and right >= 1 and share >= 0.5:
        return first, first, ""
    note = (
        f"what the Δ refer to could not be found out: {first.scheme.words} explains {right} of {first.n}; "
        "none is called wrong (--baseline ROW names it)"
    )
    return None, first, note


def finding(table: PublishedTable, series: Series, item: Judged, against: str) -> Finding:
    """A Δ as it is reported, under the metric's name."""
    row = table.rows[item.row]
    return Finding(table.number, row.label, row.index, series.column.name, item.printed, item.computed, against)


def _groups(series: Iterable[Series]) -> list[list[Series]]:
    """Δ that share a baseline: the first ones of all metrics, the second ones, and those of each header's name."""
    groups: dict[tuple[int, str], list[Series]] = {}
    for item in series:
        match = words.AGAINST.search(item.header)
        groups.setdefault((item.rank, match[1].lower() if match else ""), []).append(item)
    return list(groups.values())


def check_deltas(table: PublishedTable, baseline: int | None) -> DeltaCheck:
    """All Δ of a table.

    Args:
        table: to check.
        baseline: position of the row that the user names.
    """
    check = DeltaCheck([], [], 0, [], [], {})
    total = 0
    for group in _groups(table.series):
        named = baseline if baseline is not None else named_row(table, group)
        chosen, first, note = _choose(table, group, named)
        if note:
            check.notes.append(note)
        accusing = chosen or first
        check.baselines.append(chosen.scheme.words if chosen else "not found out")
        for found in accusing.fits:
            check.signs[found.series.column.index, found.series.rank] = found.sign
            if chosen is None:
                continue
            total += len(found.judged)
            _collect(table, found, chosen.scheme.words, check)
    return check._replace(checked=total)


def _collect(table: PublishedTable, found: Fit, against: str, check: DeltaCheck) -> None:
    """Sorts the Δ of a series; what has an innocent reading becomes a note."""
    series = found.series
    if found.sign < 0 and found.n_wrong < len(found.judged):
        check.notes.append(f"column {series.column.name!r} prints Δ as baseline minus value")
    elif found.sign == 0:
        check.notes.append(f"column {series.column.name!r} prints the size of Δ without its sign")
    for item in found.judged:
        if item.verdict == "by rounding" and series.column.kind != "extra":
            check.by_rounding.append(finding(table, series, item, against))
        if item.verdict != "wrong":
            continue
        row = table.rows[item.row]
        if row.partial:
            check.notes.append(f"Δ of row {row.label!r} are not checked: it lacks seeds, Δ may be over fewer of them")
        elif series.column.kind == "extra":
            check.notes.append(f"a Δ beside column {series.column.name!r} (row {row.label!r}) does not follow from it")
        else:
            check.wrong.append(finding(table, series, item, against))
