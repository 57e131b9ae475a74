"""`data make`: a small synthetic set in a dataset's real layout."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pydantic import ValidationError

from mmablate.catalog import entries
from mmablate.catalog.entries import DatasetEntry
from mmablate.cli.datasets import data_settings
from mmablate.errors import UsageError
from mmablate.recipe.reading import parse_scalar
from mmablate.study.datasets import open_dataset
from mmablate.study.generating import make_dataset


def make(name: str, root: Path, settings: list[str]) -> int:
    """Writes the set; KEY=VALUE are options of the generator."""
    known: dict[str, DatasetEntry] = entries("dataset")
    makers = [entry.name for entry in known.values() if entry.make_options]
    if name not in makers:
        raise UsageError(f"data make {name}: no generator of that name (there are: {', '.join(makers)})")
    options_type = known[name].make_options
    assert options_type is not None
    given = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"data make {name}: options are KEY=VALUE, got {text!r}")
        given[key] = parse_scalar(value, key=key)
    try:
        options = options_type.model_validate(given)
    except ValidationError as error:
        there = ", ".join(options_type.model_fields)
        raise UsageError("\n".join(_line(name, detail, there) for detail in error.errors())) from error
    already = root.is_dir() and any(root.iterdir())
    started = time.perf_counter()
    make_dataset(name, root, options.model_dump(mode="json"))
    if already:  # any other content has been refused
        print(f"{root}: the synthetic {name} data of these options are there already", file=sys.stderr)
        return 0
    section, place = data_settings(name, str(root))
    splits = open_dataset(section, place).splits
    counts = ", ".join(f"{len(split)} {split_name}" for split_name, split in splits.items())
    print(f"{root}: synthetic {name} data, {counts} samples, {time.perf_counter() - started:.1f} s", file=sys.stderr)
    return 0


def _line(name: str, detail: object, there: str) -> str:
    assert isinstance(detail, dict)
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"data make {name}: unknown option {key} (there are: {there})"
    rule = detail["msg"].removeprefix("Input ")
    return f"data make {name}: {key}: {rule[:1].lower() + rule[1:]}, got {detail['input']!r}"
