"""A small study of no-op runs through the store alone, as a program that may be killed anywhere.

    python tests/results/crash_driver.py OUT

Prints one line for each run, after what it says is true: "done a", "adopted d", "had b". Exit 2 with one message
on standard error where the store cannot be read or written.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store_samples import prepared, record

from mmablate.errors import StoreError
from mmablate.results import StudyStore
from mmablate.results.files import write_atomic
from mmablate.results.store import CHECKPOINT, STATE

STUDY, SIBLING = "s", "older"
RUNS = ("a", "b", "c", "d")
ADOPTED = "d"  # finished by the sibling
TEACHER = "a"  # has weights
EPOCHS = 2
WEIGHTS = b"weights of a teacher " * 40


def plan() -> dict[str, Any]:
    """A study.json."""
    columns = {"V": {"modalities": ["V"]}}
    runs = [
        {"run_id": run_id, "role": "student", "seed": 0, "rows": ["sup"], "cells": [], "depends_on": []}
        for run_id in RUNS
    ]
    return {
        "name": STUDY, "plan": runs, "superseded": [], "notes": [],
        "table": {"rows": [{"name": "sup"}], "columns": list(columns), "column_info": columns},
    }  # fmt: skip


def config(run_id: str) -> dict[str, Any]:
    """What a run is."""
    return {"run_id": run_id, "text": "settings " * 20}


def line(run_id: str, epoch: int) -> dict[str, Any]:
    """One epoch of a run's history."""
    return {"epoch": epoch, "losses": {"sup": epoch / (1 + len(run_id))}}


def finish(store: StudyStore, run_id: str) -> None:
    """One run, start to end, in the order in which the trainer does it."""
    store.start_run(run_id, config(run_id))
    state = store.run_folder(run_id) / STATE
    for epoch in range(1, EPOCHS + 1):
        store.append_history(run_id, line(run_id, epoch))
        if epoch < EPOCHS and run_id == TEACHER:
            write_atomic(state, b"half-way" * 30)
    if run_id == TEACHER:
        write_atomic(store.run_folder(run_id) / CHECKPOINT, WEIGHTS)
    store.finish_run(record(run_id, metrics={"V": 10.0 + ord(run_id[0])}))


def make_sibling(out: Path) -> None:
    """The study that has finished a run before."""
    finish(prepared(out, SIBLING), ADOPTED)  # by the same bits as this study would


def drive(out: Path, tell: Callable[[str], None], *, patience: float | None = None) -> None:
    """All runs that are not there yet.

    Args:
        patience: seconds after which an untouched lease of somebody of whom nothing is known is taken over.

    Raises:
        StoreError: as the store does.
    """
    store = StudyStore(out, STUDY)
    store.prepare()
    store.update_study(lambda old: plan())
    for run_id in RUNS:
        found = store.read_record(run_id)
        if found is None and store.adopt(run_id):
            tell(f"adopted {run_id}")
            continue
        if found is not None:
            store.tidy(run_id)
            tell(f"had {run_id}")
            continue
        if patience is not None:
            store.leases.ttl = patience
            while not store.leases.claim([run_id]):
                time.sleep(patience / 4)
        with store.leases.holding([run_id]) as held:
            if not held:
                tell(f"elsewhere {run_id}")
                continue
            finish(store, run_id)
        tell(f"done {run_id}")


def say(text: str) -> None:
    """In one system call."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def forget_folders() -> None:
    """The store as it would be without fsync of folders, to show that the model of power cuts sees it."""
    from mmablate.results import files, store

    for module in (files, store):
        module.sync_folder = lambda folder: None


if __name__ == "__main__":
    if "--forget-folders" in sys.argv:
        forget_folders()
    try:
        drive(Path(sys.argv[1]), say)
    except StoreError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
