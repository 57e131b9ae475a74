"""Patterns of paths below a folder: `rgb/{split}/{scene}/{id}_*.png`.

A placeholder and a `*` each match one or more, or any number of characters within one component of a path,
never a "/"; from left to right each takes as much as it can. A placeholder that stands twice must match the
same text. Nothing else is special. Entries whose name starts with a dot are passed over. A pattern names
what lies below its root; links inside the root are followed, so that folders may be linked in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SPLIT = "split"
SPECIAL = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}|\*")


@dataclass(frozen=True)
class Match:
    """A file, and what the placeholders are in its path."""

    path: Path
    values: Mapping[str, str]


def pattern_problems(role: str, text: str) -> list[str]:
    """What is wrong with a pattern, one line each; `role` says whose it is."""
    wanted = "a path below the root such as rgb/{split}/{id}.png"
    problems = []
    if not text or text.startswith(("/", "~")) or re.match(r"[A-Za-z]:", text) or "\\" in text or "\0" in text:
        problems.append(f"{role}: expected {wanted}, found {text!r}")
    elif any(part in ("", ".", "..") for part in text.split("/")):
        problems.append(f"{role}: expected {wanted}, without empty parts, . and .., found {text!r}")
    if re.search(r"[{}]", SPECIAL.sub("", text)):
        problems.append(f"{role}: expected placeholders such as {{id}}, letters between braces, found {text!r}")
    return problems


def placeholders(text: str) -> tuple[str, ...]:
    """Names of the placeholders of a pattern, each once, in their order."""
    return tuple(dict.fromkeys(name for name in SPECIAL.findall(text) if name))


def fill(text: str, values: Mapping[str, str]) -> str:
    """The pattern with the placeholders that are known put in."""
    return SPECIAL.sub(lambda found: values.get(found[1] or "", found[0]), text)


def find(root: Path, text: str, splits: Collection[str] = ()) -> Iterator[Match]:
    """The files below `root` that match, in the order of their names.

    Args:
        root: the folder that the pattern starts from.
        text: a sound pattern.
        splits: what {split} may be.

    Raises:
        OSError: a folder that cannot be listed.
    """
    yield from _find(root, text.split("/"), {}, tuple(splits))


def _find(folder: Path, parts: list[str], values: dict[str, str], splits: tuple[str, ...]) -> Iterator[Match]:
    part, rest = parts[0], parts[1:]
    for name, found in _entries(folder, part, values, splits):
        path = folder / name
        if rest and path.is_dir():
            yield from _find(path, rest, found, splits)
        elif not rest and path.is_file():
            yield Match(path, found)


def _entries(
    folder: Path, part: str, values: dict[str, str], splits: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Names in a folder that one component matches, with the placeholders known then."""
    if not SPECIAL.search(part):
        yield part, values
        return
    expression = _expression(part, splits)
    for name in sorted(os.listdir(folder)):
        found = None if name.startswith(".") else expression.fullmatch(name)
        if found is not None and all(values.get(key, text) == text for key, text in found.groupdict().items()):
            yield name, values | found.groupdict()


def _expression(part: str, splits: tuple[str, ...]) -> re.Pattern[str]:
    pieces, end = [], 0
    seen: set[str] = set()
    for found in SPECIAL.finditer(part):
        pieces.append(re.escape(part[end : found.start()]))
        name, end = found[1], found.end()
        if name is None:
            pieces.append("[^/]*")
        elif name in seen:
            pieces.append(f"(?P={name})")
        else:
            seen.add(name)
            allowed = "|".join(map(re.escape, splits)) if name == SPLIT and splits else "[^/]+"
            pieces.append(f"(?P<{name}>{allowed})")
    pieces.append(re.escape(part[end:]))
    return re.compile("".join(pieces), re.DOTALL)
