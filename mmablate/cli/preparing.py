"""`data prepare`: brings a dataset as downloaded into the form that is read fastest."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmablate.catalog import entries, load_target
from mmablate.catalog.entries import DatasetEntry
from mmablate.errors import UsageError

PLAIN_LINES = 10  # of the whole, where no terminal shows a bar


def prepare(name: str, root: Path, out: Path) -> int:
    """Writes the prepared set to `out`; a call after an interruption goes on where it stopped."""
    known: dict[str, DatasetEntry] = entries("dataset")
    able = [entry.name for entry in known.values() if entry.prepare_target]
    if name not in able:
        raise UsageError(f"data prepare {name}: nothing to prepare of that name (there are: {', '.join(able)})")
    entry = known[name]
    with subjects_shown() as progress:
        load_target(entry, entry.prepare_target)(root, out, tell=_tell, progress=progress)
    return 0


class _Shown(Protocol):
    def __call__(self, done: int, total: int) -> None: ...


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def subjects_shown() -> Iterator[_Shown]:
    """A function that shows how far it is: by a bar on a terminal, in a few lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("subjects"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


def _plain(done: int, total: int) -> None:
    if done * PLAIN_LINES // total > (done - 1) * PLAIN_LINES // total:
        _tell(f"{done}/{total} subjects")
