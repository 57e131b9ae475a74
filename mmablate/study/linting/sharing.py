"""Comparing the settings of many rows: a section is written out once, however many rows share it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from mmablate.study.plan import Row


class Texts:
    """Sections as texts; equal sections have one and the same."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, Any]] = {}
        self._texts: dict[str, str] = {}

    def of(self, section: Any) -> str:
        """The section's content, whatever the order of its keys."""
        known = self._known.get(id(section))
        if known is None:
            text = json.dumps(_plain(section), sort_keys=True, ensure_ascii=False, default=str)
            known = self._known[id(section)] = self._texts.setdefault(text, text), section
        return known[0]

    def settings(self, row: Row) -> tuple[str, ...]:
        """All that a run of the row reads of its own."""
        own = [self.of(section) for name, section in row.sections._asdict().items() if name != "losses"]
        return (*own, self.of(row.losses))


def grouped(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> dict[Any, list[str]]:
    """Key -> names of the rows that have it."""
    groups: dict[Any, list[str]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row.name)
    return dict(groups)


def _plain(section: Any) -> Any:
    if isinstance(section, Mapping):
        return {key: _plain(value) for key, value in section.items()}
    return section.model_dump(mode="json") if hasattr(section, "model_dump") else section
