"""Faults of files: found one at a time, told all together, those alike in one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmablate.errors import DataError

SHOWN = 3  # lines of one kind before the rest is a number


class FileFault(DataError):
    """A file that cannot be used.

    Args:
        path: the file.
        text: "expected ..., found ...".
        kind: what faults alike have in common; they are counted together.
    """

    def __init__(self, path: Path, text: str, kind: str) -> None:
        self.path, self.text, self.kind = path, text, kind
        super().__init__(f"{path}: {text}")

    def __reduce__(self) -> tuple[type[FileFault], tuple[Path, str, str]]:
        # Workers that load data send their errors through a pipe.
        return FileFault, (self.path, self.text, self.kind)


@dataclass(frozen=True)
class Fault:
    """A line of the report.

    Attributes:
        line: path, what was expected and what was found.
        kind: as in `FileFault`.
        scene: id of the scene or clip that can be left out to be rid of it; None where none is to blame.
    """

    line: str
    kind: str
    scene: str | None = None

    @classmethod
    def of(cls, error: FileFault, scene: str | None = None) -> Fault:
        """The fault that a reader raised."""
        return cls(str(error), error.kind, scene)


def counted(number: int, noun: str, singular: str = "", plural: str = "") -> str:
    """ "1 clip", "2 clips"; with a verb in both numbers, "1 clip was", "2 clips were"."""
    verb = singular if number == 1 else plural
    return f"{number} {noun}{'' if number == 1 else 's'}{verb and f' {verb}'}"


def told(faults: Iterable[Fault]) -> list[str]:
    """One line each, in the order found; of each kind the first few, with the number of the others."""
    kinds: dict[str, list[str]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault.line)
    lines = []
    for found in kinds.values():
        shown = found[:SHOWN]
        if len(found) > SHOWN:
            shown[-1] += f" (... and {len(found) - SHOWN} more like it)"
        lines.extend(shown)
    return lines


def within(folder: Path, path: Path) -> str:
    """The path as it is named in a report: below `folder` where it lies there."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
