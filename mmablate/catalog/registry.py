"""Finding entries by kind and name: those shipped, and those of installed plugins.

A plugin is a package with an entry point in the group `mmablate.plugins` whose object is a list of
entries (`mmablate.catalog.LossEntry` and so on).
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from mmablate.catalog.datasets import DATASETS
from mmablate.catalog.entries import DatasetEntry, Entry, LossEntry, MethodEntry, ModelEntry
from mmablate.catalog.losses import LOSSES
from mmablate.catalog.methods import METHODS
from mmablate.catalog.models import MODELS
from mmablate.errors import UsageError

KINDS: dict[str, type[Entry]] = {
    "dataset": DatasetEntry,
    "model": ModelEntry,
    "loss": LossEntry,
    "method": MethodEntry,
}


@cache
def _catalogue() -> dict[str, dict[str, Entry]]:
    table: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
    shipped: Iterable[Entry] = (*DATASETS, *MODELS, *LOSSES, *METHODS)
    for entry in shipped:
        table[entry.kind][entry.name] = entry
    for point in entry_points(group="mmablate.plugins"):
        for entry in point.load():
            if not isinstance(entry, tuple(KINDS.values())):
                raise UsageError(f"plugin {point.name!r}: {entry!r} is not a catalogue entry")
            if entry.name in table[entry.kind]:
                raise UsageError(f"plugin {point.name!r}: the {entry.kind} {entry.name!r} exists already")
            table[entry.kind][entry.name] = entry
    return table


def entries(kind: str) -> dict[str, Any]:
    """All entries of a kind ("dataset", "model", "loss", "method"), by name, in the order of definition."""
    return dict(_catalogue()[kind])


def find(kind: str, name: str) -> Any:
    """The entry of that kind and name.

    Raises:
        KeyError: with a message that lists the names there are, the nearest first.
    """
    table = _catalogue()[kind]
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise KeyError(f"no {kind} is called {name!r} (there are: {', '.join(table)}){hint}")


def load_target(entry: Entry, target: str | None = None) -> Any:
    """Imports what an entry points to (this is where torch comes in)."""
    module, _, attribute = (target or entry.target).partition(":")
    return getattr(importlib.import_module(module), attribute)
