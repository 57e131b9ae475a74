"""What a table must say in words: which tests, which families, what limits the numbers, what was left out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from mmablate.analysis.pairing import Pairing
from mmablate.analysis.statistics import detectable_effect
from mmablate.analysis.table import Row, Table

T = TypeVar("T")

_MOST_LISTED = 8
_MOST_LEFT_OUT = 50


@dataclass(frozen=True)
class Found:
    """What reading the scores came upon, that the finished table does not show.

    Attributes:
        missing: rows that were not trained yet.
        left_out: one line for each record that does not count.
        devices: that the runs were trained on.
        constant: (row, column) of a Δ ≠ 0 that is the same for every seed.
        superseded: number of runs of earlier settings.
        of_the_study: notes that the study brought with it.
        seeds_are_named: seeds of the same name in two rows are the same seed.
        pairing: what the digests of the runs say of it.
    """

    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    constant: tuple[tuple[str, str], ...] = ()
    superseded: int = 0
    of_the_study: tuple[str, ...] = ()
    seeds_are_named: bool = True
    pairing: Pairing = field(default_factory=Pairing)


SYNTHETIC = "Synthetic data: these numbers say how the code behaves, not how a method does on real data."


def table_notes(table: Table, found: Found) -> list[str]:
    """The notes of a table, in the order of print."""
    notes = [SYNTHETIC] if table.dataset.synthetic else []
    notes += found.of_the_study
    notes += [*_seeds(table, named=found.seeds_are_named), *significance_notes(table), *_planning(table)]
    notes += [*_lacking(table), *_rounding(table), *_constant(found)]
    if len(found.devices) > 1:
        notes.append(f"Runs of different devices are compared: {', '.join(found.devices)}.")
    notes += [*found.pairing.notes, *_twins(table, found.pairing.alike)]
    return [*notes, *_not_counted(found)]


def study_notes(found: Found) -> tuple[str, ...]:
    """Those of them that hold for every table made of the same runs."""
    return (*found.of_the_study, *found.pairing.notes, *_not_counted(found))


def _not_counted(found: Found) -> Iterator[str]:
    if found.superseded:
        runs = "1 run" if found.superseded == 1 else f"{found.superseded} runs"
        yield f"{runs} of this study's earlier settings {'is' if runs == '1 run' else 'are'} kept and not counted."
    if found.missing:
        yield f"Not trained yet: {', '.join(found.missing)}."
    for line in found.left_out[:_MOST_LEFT_OUT]:
        yield f"Left out: {line}"
    if len(found.left_out) > _MOST_LEFT_OUT:
        yield f"Left out: {len(found.left_out) - _MOST_LEFT_OUT} more records."


def _counted(table: Table) -> list[Row]:
    return [row for row in table.rows if not row.reference]


def _seeds_of(row: Row) -> tuple[str, ...]:
    """The seeds of a row: those of its cell with the most values."""
    return max((tuple(cell.values) for cell in row.cells.values()), key=len, default=())


def _seeds(table: Table, *, named: bool) -> Iterator[str]:
    """How many seeds there are, what ± covers, and where rows differ in their seeds."""
    counted = {row.name: _seeds_of(row) for row in _counted(table)}
    largest = max((len(seeds) for seeds in counted.values()), default=0)
    if largest == 1:
        yield "One seed: the Δ are differences of single runs and support no claim."
    elif largest:
        yield (
            "± is the sample standard deviation over training seeds; neither it nor the intervals cover the choice "
            "of the test samples."
        )
    if named and len(set(counted.values())) > 1:
        listing = "; ".join(f"{name}: {', '.join(seeds) or 'none'}" for name, seeds in _some(counted.items()))
        more = f"; and {len(counted) - _MOST_LISTED} more" if len(counted) > _MOST_LISTED else ""
        kinds = {cell.test for row in table.rows for cell in row.cells.values()}
        over = "; Δ is taken over the seeds that both rows have" if "paired" in kinds else ""
        yield f"Rows have different seeds ({listing}{more}){over}."
    welch = [row.name for row in table.rows if any(cell.test == "welch" for cell in row.cells.values())]
    if largest > 1 and welch:
        some = ", ".join(welch[:_MOST_LISTED]) + (", ..." if len(welch) > _MOST_LISTED else "")
        yield f"Fewer than two common seeds with the baseline ({some}): Δ is the difference of the means, not paired."


def _some(items: Iterable[T]) -> list[T]:
    """The first few; a note stays readable in a table of a thousand rows."""
    return list(itertools.islice(items, _MOST_LISTED))


def significance_notes(table: Table) -> Iterator[str]:
    """Which tests were made, and which were adjusted together."""
    if not table.families:
        return
    cells = [cell for row in table.rows for cell in row.cells.values() if cell.p is not None]
    kinds = {cell.test for cell in cells}
    tests = " and ".join(
        text for kind, text in (("paired", "paired t tests over seeds"), ("welch", "Welch's t test")) if kind in kinds
    )
    if table.kind == "effects":
        tests = "t tests of the per-seed contrasts"
    told = [
        f"{_columns(family.columns)} over {family.size} test{'s' if family.size > 1 else ''}"
        for family in _some(table.families)
    ]
    more = f"; and {len(table.families) - _MOST_LISTED} more" if len(table.families) > _MOST_LISTED else ""
    yield (
        f"Significance at 5 %: {tests}, two-sided, p adjusted by Holm in {len(table.families)} "
        f"famil{'y' if len(table.families) == 1 else 'ies'}: {'; '.join(told)}{more}. "
        f"Intervals ({100 * table.confidence:g} %) are of single cells, not adjusted."
    )


def _columns(columns: Sequence[str]) -> str:
    if len(columns) <= 3:
        return ", ".join(columns)
    return f"{columns[0]} to {columns[-1]} ({len(columns)} columns)"


def _planning(table: Table) -> Iterator[str]:
    """What this number of seeds can detect, and what the smallest effect of interest would need."""
    n = max((cell.n_pairs or 0 for row in table.rows for cell in row.cells.values() if cell.p is not None), default=0)
    if 2 <= n < 10:
        single = f"{detectable_effect(n, 0.05):.1f}"
        steps = [f"{detectable_effect(n, 0.05 / f.size):.1f} in {_columns(f.columns)}" for f in table.families[:2]]
        yield (
            f"With {n} paired seeds a Δ is found with 80 % power from {single} standard deviations of the "
            f"per-seed differences on, after Holm's first step from {', '.join(steps)}: what is not significant may "
            "still be there."
        )
    if table.smallest_effect is not None and any(
        cell.seeds_needed is not None for row in table.rows for cell in row.cells.values()
    ):
        yield (
            f"Seeds to detect |Δ| = {table.smallest_effect:g} are for a power of 80 % at Holm's first step, from the "
            "spread seen, not from the Δ seen. They are for planning: adding seeds until p < 0.05 finds differences "
            "that are not there; confirm with fresh seeds."
        )


def _lacking(table: Table) -> Iterator[str]:
    """Rows whose runs lack a value in some column, and rows without any in it (those of one modality have no cell for
    the others); that a row has no teacher at all is no lack.
    """
    lacking: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for column in table.columns:
        found = [(row.name, len(row.cells[column].values), row.n_seeds) for row in table.rows if row.n_seeds]
        some = tuple(name for name, n, whole in found if 0 < n < whole)
        none = tuple(name for name, n, _ in found if not n and not table.column_info[column].reference)
        lacking.setdefault(("Some runs have", some), []).append(column)
        lacking.setdefault(("Rows with", none), []).append(column)
    for (who, names), columns in lacking.items():
        if names:
            shown = f"{', '.join(columns[:_MOST_LISTED])}{' and others' if len(columns) > _MOST_LISTED else ''}"
            yield f"{who} no value for {shown}: {', '.join(names)}."


def with_decimals(table: Table, n_decimals: int) -> Table:
    """The table printed with another number of decimals, its note about rounding made anew."""
    changed = table.model_copy(update={"n_decimals": n_decimals})
    others = [note for note in table.notes if not note.startswith(_UNROUNDED)]
    return changed.model_copy(update={"notes": (*others, *_rounding(changed))})


_UNROUNDED = "Δ is computed from unrounded scores."


def printed(value: float, n_decimals: int) -> Decimal:
    """A value as tables print it, exactly."""
    return Decimal(f"{value:.{n_decimals}f}")


def _rounding(table: Table) -> Iterator[str]:
    """Cells whose printed Δ is not the difference of the printed means: the exact Δ stands, and the reader is told."""
    by_name = {row.name: row for row in reversed(table.rows)}
    differing: dict[str, list[str]] = {}
    for row in _counted(table):
        base = by_name.get(row.baseline or "")
        if base is None or base is row:
            continue
        for column in table.columns:
            own, other = row.cells[column], base.cells[column]
            if own.delta is None or own.mean is None or other.mean is None or set(own.values) != set(other.values):
                continue
            apart = printed(own.mean, table.n_decimals) - printed(other.mean, table.n_decimals)
            if apart != printed(own.delta, table.n_decimals):
                differing.setdefault(row.name, []).append(column)
    if differing:
        listing = "; ".join(
            f"{name}: {', '.join(columns[:_MOST_LISTED])}" for name, columns in _some(differing.items())
        )
        count = sum(map(len, differing.values()))
        yield (
            f"{_UNROUNDED} In {count} cell{'s' if count > 1 else ''} it differs in the last "
            f"digit from the difference of the printed means ({listing})."
        )


def _constant(found: Found) -> Iterator[str]:
    if found.constant:
        listing = ", ".join(f"{row} in {column}" for row, column in found.constant[:_MOST_LISTED])
        more = f" and {len(found.constant) - _MOST_LISTED} more" if len(found.constant) > _MOST_LISTED else ""
        yield f"Every seed shows the same Δ ({listing}{more}): without spread no test can be made, and none is."


def _twins(table: Table, told: Sequence[frozenset[str]]) -> Iterator[str]:
    """Rows with the same scores everywhere, of which it is not told already that they are one.

    Their teachers may differ: that this changed nothing is what the note says.
    """
    columns = [column for column in table.columns if not table.column_info[column].reference]
    alike: dict[str, list[str]] = {}
    for row in table.rows:
        if row.n_seeds and columns:
            alike.setdefault(repr([row.cells[column].values for column in columns]), []).append(row.name)
    for twins in alike.values():
        if len(twins) > 1 and not set(twins) <= _reached(twins[0], told):
            rows = ", ".join(twins)
            yield f"The rows {rows} have the same scores to the last digit: their difference may do nothing."


def _reached(name: str, groups: Sequence[frozenset[str]]) -> set[str]:
    """All that groups which overlap join with this one."""
    found, before = {name}, 0
    while len(found) > before:
        before = len(found)
        found.update(*(group for group in groups if group & found))
    return found
