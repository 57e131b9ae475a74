"""What a plan of many rows prints: its first and last rows, and how many lie between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from mmablate.study import Row, RunSpec

MOST_ROWS, LAST = 40, 5  # printed, and how many of them from the end


@dataclass(frozen=True)
class PlannedRow:
    """A row of the plan.

    Attributes:
        row: of the study.
        runs, finished: numbers of its runs.
    """

    row: Row
    runs: int
    finished: int


def planned_rows(
    rows: Iterable[Row], names: Collection[str], wanted: Sequence[RunSpec], done: Collection[str]
) -> tuple[list[PlannedRow], int, list[PlannedRow]]:
    """The rows of a plan that are printed, and how many are left out between them; counted in one pass.

    Args:
        rows: of the study.
        names: of the rows asked for.
        wanted: the runs.
        done: ids of those that are finished.

    Returns:
        All rows, 0 and none where there are at most 40; otherwise the first 35, the number left out, the last 5.
    """
    chosen, finished = set(names), set(done)
    runs: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for spec in wanted:
        runs.update(spec.rows)
        if spec.run_id in finished:
            ended.update(spec.rows)
    kept = [row for row in rows if row.name in chosen]
    many = len(kept) > MOST_ROWS
    first, last = (kept[: MOST_ROWS - LAST], kept[-LAST:]) if many else (kept, [])

    def counted(some: list[Row]) -> list[PlannedRow]:
        return [PlannedRow(row, runs[row.name], ended[row.name]) for row in some]

    return counted(first), len(kept) - len(first) - len(last), counted(last)
