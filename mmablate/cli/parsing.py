"""Values of command line options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from mmablate.errors import UsageError


def parse_seeds(text: str | None) -> list[int] | None:
    """ "0,1,2" or "0-4" or a mixture, each seed once, in the order given.

    Raises:
        UsageError: anything else.
    """
    if text is None:
        return None
    seeds: dict[int, None] = {}
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise UsageError(f"--seeds {text}: numbers from 0 up, e.g. 0,1,2 or 0-4, got {part.strip()!r}")
        first, last = int(low), int(high or low)
        if last < first or last >= 2**31 or last - first > 100_000:
            raise UsageError(f"--seeds {text}: {part.strip()!r} is no range of seeds")
        seeds.update(dict.fromkeys(range(first, last + 1)))
    return list(seeds)


def parse_values(text: str | None) -> tuple[Any, ...] | None:
    """ "0,0.1,1" as numbers, or words where they are no numbers.

    Raises:
        UsageError: an empty value, or one that is not a finite number, word or truth value.
    """
    if text is None:
        return None
    values = []
    for part in text.split(","):
        value = _scalar(part.strip())
        if value is None or (isinstance(value, float) and value - value != 0):
            raise UsageError(f"--values {text}: finite numbers or words, got {part.strip()!r}")
        values.append(value)
    return tuple(values)


def parse_range(text: str) -> tuple[float, float, bool]:
    """ "LO:HI" or "LO:HI:log".

    Raises:
        UsageError: anything else.
    """
    parts = text.split(":")
    try:
        low, high = float(parts[0]), float(parts[1])
    except (IndexError, ValueError) as error:
        raise UsageError(f"--range {text}: LO:HI or LO:HI:log, e.g. 0.1:100:log") from error
    if len(parts) > 3 or (len(parts) == 3 and parts[2] != "log"):
        raise UsageError(f"--range {text}: LO:HI or LO:HI:log, e.g. 0.1:100:log")
    return low, high, len(parts) == 3


def _scalar(text: str) -> Any:
    try:
        return float(text) if not text.lstrip("+-").isdecimal() else int(text)
    except ValueError:
        pass
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return value if isinstance(value, (str, bool)) else None


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Each "key=value" of --backend-option, the value read as YAML.

    Raises:
        UsageError: no key, no value, or one that is no YAML.
    """
    options = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--backend-option {text}: the value is no YAML") from error
        if not key.isidentifier() or not equals or options[key] is None:
            raise UsageError(f"--backend-option {text}: KEY=VALUE, e.g. partition=gpu")
    return options
