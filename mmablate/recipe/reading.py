"""YAML to plain dictionaries, with the file and line of every key (safe loading only)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmablate.errors import RecipeError, UsageError

# A recipe is a page of text; these bounds stop alias bombs and files given by mistake.
MAX_BYTES = 1_000_000
MAX_NODES = 50_000

KeyPath = tuple[str | int, ...]


@dataclass
class Source:
    """A parsed document and where its keys stand.

    Attributes:
        data: nested dictionaries, lists and scalars.
        places: path of keys -> "file:line", or "command line".
    """

    data: dict[str, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """Where the key stands, or its nearest parent that was written."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return self.places.get((), "recipe")


def parse_scalar(text: str, *, key: str) -> Any:
    """The value of KEY=VALUE, as YAML reads it (0, false and null are values like any other)."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{key}={text}: the value is not YAML ({_reason(error)})") from error
    except RecursionError as error:
        raise UsageError(f"{key}: the value is nested too deeply") from error
    except ValueError as error:  # e.g. a date that no calendar has
        raise UsageError(f"{key}={text}: the value is not YAML ({error})") from error


def read_yaml(path: Path) -> Source:
    """Reads a recipe file.

    Raises:
        RecipeError: no file, no YAML, a key given twice, or no mapping at the top; names file and line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RecipeError(f"{path}: the recipe cannot be read ({error.strerror})") from error
    if len(raw) > MAX_BYTES:
        raise RecipeError(f"{path}: {len(raw)} bytes are no recipe (at most {MAX_BYTES})")
    try:
        text = raw.decode("utf-8-sig")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise RecipeError(f"{path}:1: a recipe is a mapping of keys, not {_kind(node)}")
        places: dict[KeyPath, str] = {(): str(path)}
        problems: list[str] = []
        for count, (key_path, line, duplicate) in enumerate(_walk(node, ())):
            if count > MAX_NODES:
                raise RecipeError(f"{path}: more than {MAX_NODES} values, aliases counted in full")
            places[key_path] = f"{path}:{line}"
            if duplicate:
                problems.append(f"{path}:{line}: {dotted(key_path)}: the key is given twice")
        if problems:
            raise RecipeError(problems)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise RecipeError(f"{where}: not valid YAML: {_reason(error)}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {_reason(error)}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: nested too deeply") from error
    except ValueError as error:  # e.g. a date that no calendar has
        raise RecipeError(f"{path}: not valid YAML: {error}") from error
    return Source(data, places)


def dotted(path: KeyPath) -> str:
    """("losses", "mad", "weight") as "losses.mad.weight"."""
    return ".".join(str(part) for part in path)


def _walk(node: yaml.Node, path: KeyPath) -> Iterator[tuple[KeyPath, int, bool]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            here = (*path, str(key.value))
            yield here, key.start_mark.line + 1, here in seen
            seen.add(here)
            yield from _walk(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1, False
            yield from _walk(value, (*path, index))


def _kind(node: yaml.Node | None) -> str:
    if node is None:
        return "an empty file"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _reason(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return " ".join(str(problem).split())
