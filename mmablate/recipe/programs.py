"""Recipes that run a program of the user's: its sections, the placeholders of its command, and their checks.

Such a recipe has `run`, `settings` and `metrics` in place of data, model and losses; rows, factors, seeds, sweeps,
claims and the rest mean what they mean elsewhere.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from mmablate.recipe.schema import Name, Report, Rows, Section, Seeds, Significance, SweepParameter, number

_CALL = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
# The keys by which such a recipe is known.
PROGRAM_KEYS = ("run", "settings", "metrics")
# What mmablate itself fills in; a setting of that name would be mistaken for it.
GIVEN = ("seed", "folder", "device", "python", "settings")


class Program(Section):
    """The program: exactly one of `call` and `command`.

    Attributes:
        call: `package.module:function`, called with the resolved settings and a reporter.
        command: a command line, split as a shell would; no shell runs it. `{lr}`, `{optimizer.name}` stand for
            settings, `{seed}`, `{folder}`, `{device}`, `{python}` and `{settings}` (a JSON file) for what mmablate
            gives; a doubled brace is a brace.
        cwd: folder in which the command runs, or from which the callable's module is imported; relative to the
            recipe's.
        files: paths or globs below it whose content counts for the identity of a run, beside the files that the
            command names and the callable's own module.
        timeout: seconds after which a command is ended and its run counted as failed.
    """

    call: str | None = None
    command: str | None = None
    cwd: str = "."
    files: list[str] = Field(default_factory=list)
    timeout: float | None = Field(None, gt=0)

    @field_validator("call")
    @classmethod
    def _importable(cls, call: str | None) -> str | None:
        if call is not None and not _CALL.fullmatch(call):
            raise ValueError("package.module:function")
        return call

    @field_validator("command")
    @classmethod
    def _splits(cls, command: str | None) -> str | None:
        if command is not None and not split_command(command):
            raise ValueError("an empty command")
        return command

    @model_validator(mode="after")
    def _one_of_two(self) -> Program:
        if (self.call is None) == (self.command is None):
            raise ValueError("exactly one of call and command")
        if self.call is not None and self.timeout is not None:
            raise ValueError("timeout goes with command: a callable cannot be ended from outside")
        return self


def _direction(value: Any) -> Any:
    """`accuracy: max` is short for `accuracy: {direction: max}`."""
    return {"direction": value} if isinstance(value, str) else value


class Metric(Section):
    """A number that the program reports, and a column of the table.

    Attributes:
        direction: whether larger ("max") or smaller ("min") is better.
        unit: "%", "mm"; "" for none.
        label: of the metric as printed; by default its name.
    """

    direction: Literal["max", "min"]
    unit: str = ""
    label: str | None = None


def _settings(value: Any) -> Any:
    """Plain JSON values under names that dotted keys and placeholders can tell apart; text such as 1e-3 is a number."""
    if isinstance(value, Mapping):
        for name in GIVEN:
            if name in value:
                raise ValueError(f"no setting can be called {name!r}: mmablate gives the program that name's value")
        return {key: plain(item, str(key)) for key, item in _items(value, "")}
    return value


def plain(value: Any, key: str) -> Any:
    """A setting as JSON has it.

    Raises:
        ValueError: a date, a number that is not finite, a key that is no plain name; says which.
    """
    if isinstance(value, Mapping):
        return {name: plain(item, f"{key}.{name}") for name, item in _items(value, key)}
    if isinstance(value, list | tuple):
        return [plain(item, f"{key}.{index}") for index, item in enumerate(value)]
    value = number(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{key}: finite numbers, got {value}")
    if value is not None and not isinstance(value, str | bool | int | float):
        raise ValueError(f"{key}: text, numbers, true, false, null, lists and mappings, got {value!r}")
    return value


def _items(value: Mapping[Any, Any], key: str) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"[^\s.{}=]+", name):
            where = f"{key}: " if key else ""
            raise ValueError(f"{where}names of settings are text without dots, braces, = and spaces, got {name!r}")
        yield name, item


class ProgramRecipe(Section):
    """A recipe that runs a program, profile and overrides applied.

    Attributes:
        settings: what the program reads; rows and sweeps set these keys, with or without the prefix `settings.`.
        metrics: what it reports, in the order of the columns.
        dataset: name of the data behind it, for the table.
        synthetic: the data behind it are generated; tables then say so.

    All else is as in `Recipe`.
    """

    name: Name
    title: str = ""
    caption: str = ""
    run: Program
    settings: Annotated[dict[str, Any], BeforeValidator(_settings)] = Field(default_factory=dict)
    metrics: dict[Name, Annotated[Metric, BeforeValidator(_direction)]] = Field(min_length=1)
    dataset: str = ""
    synthetic: bool = False
    factors: dict[Name, dict[Name, dict[str, Any]]] = Field(default_factory=dict)
    rows: Rows = None
    baseline: str | dict[str, str] | None = None
    seeds: Seeds = Field(default_factory=lambda: [0, 1, 2, 3, 4])
    sweep: dict[Name, SweepParameter] = Field(default_factory=dict)
    significance: Significance = Significance()
    smallest_effect: float | None = Field(None, gt=0)
    report: Report = Report()
    claims: list[str] = Field(default_factory=list)
    n_decimals: int = Field(2, ge=0, le=6)


def names_a_program(document: Mapping[str, Any]) -> bool:
    """Whether a recipe's document is meant to run a program."""
    return any(key in document for key in PROGRAM_KEYS)


# --- settings by dotted key -------------------------------------------------------------------------------


def setting_path(settings: Mapping[str, Any], key: str) -> list[str] | None:
    """The way to the setting that a dotted key means, with or without the prefix `settings.`; None for no setting."""
    path = key.removeprefix("settings.").split(".")
    here: Any = settings
    for part in path:
        if not isinstance(here, Mapping) or part not in here:
            return None
        here = here[part]
    return path


def setting_key(settings: Mapping[str, Any], key: str) -> str | None:
    """The full dotted key of the setting that a key means, `settings.lr` for `lr`; None for no setting."""
    path = setting_path(settings, key)
    return None if path is None else ".".join(["settings", *path])


def setting(settings: Mapping[str, Any], path: Sequence[str]) -> Any:
    """The setting at the end of a way that `setting_path` found."""
    here: Any = settings
    for part in path:
        here = here[part]
    return here


def with_settings(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The settings of one row, and what is wrong with its overrides.

    Args:
        overrides: dotted key -> value; it replaces what stands there, and must stand there already.
    """
    result: dict[str, Any] = dict(settings)
    problems = []
    for key, value in overrides.items():
        path = setting_path(result, key)
        if path is None:
            known = ", ".join(leaves(settings)) or "none"
            problems.append(f"{key}: no setting has that name (there are: {known})")
            continue
        try:
            value = plain(value, key)
        except ValueError as error:
            problems.append(str(error))
            continue
        here = result
        for part in path[:-1]:  # only what changes is copied
            here[part] = here = dict(here[part])
        here[path[-1]] = value
    return result, problems


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of all settings that are no mappings themselves."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


# --- commands ---------------------------------------------------------------------------------------------


def split_command(command: str) -> list[str]:
    """The words of a command line, placeholders still in them.

    Raises:
        ValueError: a quotation that does not end, or braces that are no placeholder.
    """
    words = shlex.split(command)
    for word in words:
        placeholders(word)
    return words


def placeholders(word: str) -> list[tuple[str, str | None]]:
    """Pieces of a word: text, and the name of the placeholder behind it or None.

    Raises:
        ValueError: braces that are no placeholder.
    """
    try:
        parts = list(string.Formatter().parse(word))
    except ValueError as error:
        raise ValueError(f"{word!r}: {error} (a brace itself is written twice)") from error
    for _, name, form, conversion in parts:
        if name is not None and (not name or form or conversion):
            raise ValueError(f"{word!r}: a placeholder is a name in braces, e.g. {{lr}} (a brace itself, twice)")
    return [(text, name) for text, name, _, _ in parts]


def fill(words: Sequence[str], settings: Mapping[str, Any], given: Mapping[str, str]) -> list[str]:
    """The arguments of a command: each word stays one argument, whatever the values hold.

    Args:
        words: of `split_command`.
        given: value of each name of `GIVEN`.
    """
    return ["".join(text + _value(name, settings, given) for text, name in placeholders(word)) for word in words]


def _value(name: str | None, settings: Mapping[str, Any], given: Mapping[str, str]) -> str:
    if name is None:
        return ""
    if name in given:
        return given[name]
    path = setting_path(settings, name)
    if path is None:
        raise KeyError(name)
    return as_text(setting(settings, path))


def as_text(value: Any) -> str:
    """A setting as an argument: text as it is, all else as JSON has it (0.001, true, null, [1, 2])."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def unknown_placeholders(command: str, settings: Mapping[str, Any]) -> list[str]:
    """Placeholders that are neither a setting nor given."""
    names = [name for word in split_command(command) for _, name in placeholders(word)]
    return [n for n in names if n is not None and n not in GIVEN and setting_path(settings, n) is None]
