"""`--track`: from the options of a command to the recorder that its runs are told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mmablate.execution.processes import is_lead
from mmablate.tracking import Recorder, TableLog
from mmablate.tracking.trackers import parse_trackers

if TYPE_CHECKING:  # the statistics bring scipy along, which a plan must not wait for
    from mmablate.analysis import Table


def open_recorder(texts: list[str] | None, out: Path, say: Callable[[str], None]) -> Recorder:
    """The recorder of a command; without `--track`, and in all processes of torchrun but the first, it does nothing.

    Raises:
        UsageError: a tracker that does not exist.
        MissingExtra: one that is not installed.
    """
    recorder = Recorder(parse_trackers(texts or []), out, say)
    if not is_lead():
        recorder.wishes.clear()
    return recorder


def table_log(table: Table) -> TableLog:
    """A table as trackers take it."""
    from mmablate.report import render

    markdown, html, json = (render([table], format, single=True) for format in ("markdown", "html", "json"))
    scores: dict[str, float] = {}
    for row in table.rows:
        for column, cell in row.cells.items():
            found = {f"{row.name}/{column}": cell.mean, f"{row.name}/Δ {column}": cell.delta}
            scores |= {name: value for name, value in found.items() if value is not None}
    return TableLog(table.study, table.title, markdown, html, json, scores, table.dataset.synthetic)
