"""What `prepare_brats` writes down about what it has made: JSON lines in prepared.jsonl beside vol/ and seg/."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmablate.data.brats.nifti import Spacing
from mmablate.data.untrusted import BROKEN

RECORD = "prepared.jsonl"
MOST_BYTES = 16 << 20


class Record:
    """The record of a folder; lines are added and never changed, so that a kill at any time leaves it readable.

    A subject is begun before its files are written and done after it: files of one that was begun are ours, and may
    be replaced; all others are the user's.

    Args:
        folder: that holds vol/ and seg/.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / RECORD
        self.done: dict[str, Any] = {}
        self.begun: set[str] = set()
        self.spacing: Spacing | None = None
        for line in _lines(self.path):
            self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        if isinstance(name := line.get("begun"), str):
            self.begun.add(name)
            self.done.pop(name, None)
        if isinstance(name := line.get("done"), str):
            self.done[name] = line.get("sources")
        edges = line.get("spacing")
        if isinstance(edges, list) and len(edges) == 3 and all(isinstance(x, float) and 0 < x < 1000 for x in edges):
            self.spacing = (edges[0], edges[1], edges[2])

    def add(self, **line: Any) -> None:
        """Writes a line, so that it is on the disk when this returns."""
        with self.path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # of a line that a kill cut short
                    file.write(b"\n")
            file.write((json.dumps(line, sort_keys=True) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self._take(line)


def read_spacing(folder: Path) -> Spacing | None:
    """Edges of a voxel in mm that the record of a folder names; None where there is none."""
    return Record(folder).spacing


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines that are JSON objects; one that was cut short is passed over."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except BROKEN:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
