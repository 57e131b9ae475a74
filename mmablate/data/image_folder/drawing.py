"""Splits by list files, or drawn at random."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from mmablate.data.image_folder.faults import Fault
from mmablate.data.image_folder.images import SUFFIXES

MAX_BYTES = 64 << 20  # of a list file


def read_list(path: Path, split: str) -> list[str]:
    """The samples that a list file names for a split.

    A .txt file has one name a line; lines that are empty or start with # say nothing. A .csv file has a column
    `id`, and where it has a column `split` too, only rows of that split are taken. A .yaml file is a list, or a
    mapping from split to list; all its values are read as text, so that 0001 stays 0001.

    Raises:
        ValueError: what was expected and what was found.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"expected a list of samples of at most {MAX_BYTES >> 20} MiB, found a larger file")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as fault:
        raise ValueError(f"expected a list of samples, found: {fault.strerror or fault}") from None
    except UnicodeDecodeError:
        raise ValueError("expected a list of samples in UTF-8, found other bytes") from None
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _read_csv(text, split)
    if suffix == ".txt":
        lines = [line.strip() for line in text.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]
    return _read_yaml(text, split)


def _read_csv(text: str, split: str) -> list[str]:
    try:
        rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
        columns = rows.fieldnames or []
        if "id" not in columns:
            raise ValueError(f"expected a column id, found {list(columns)}")
        return [
            (row["id"] or "").strip() for row in rows if "split" not in columns or (row["split"] or "").strip() == split
        ]
    except csv.Error as fault:
        raise ValueError(f"expected a csv file, found: {fault}") from None


def _read_yaml(text: str, split: str) -> list[str]:
    try:
        value = yaml.load(text, Loader=yaml.BaseLoader)  # text only, so that 0001 is no number; builds no objects
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        raise ValueError(f"expected a list in yaml, found: {str(fault).splitlines()[0]}") from None
    if isinstance(value, dict):
        value = value.get(split)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"expected a list of samples, or {split} and the other splits with one each")
    return value


def choose(
    path: Path, split: str, named: Sequence[str], pool: Mapping[str, Mapping[str, str]]
) -> tuple[list[str], list[Fault]]:
    """The samples that the lines of a list mean.

    A line is a sample's name, all its placeholders joined by "/", or its `{id}` alone, which takes all samples
    with that id; an image ending may follow.

    Args:
        path: the list, for messages.
        split: which split it is for.
        named: its lines.
        pool: name of each sample -> its placeholders.
    """
    by_id: dict[str, list[str]] = {}
    for name, values in pool.items():
        by_id.setdefault(values.get("id", name), []).append(name)
    chosen: dict[str, None] = {}
    faults = []
    for line in named:
        stem = line[: -len(PurePosixPath(line).suffix)] if PurePosixPath(line).suffix.lower() in SUFFIXES else line
        readings = [[text] if text in pool else by_id.get(text, []) for text in (line, stem)]
        found = readings[0] or readings[1]
        if not found:
            told = f"{path}: expected samples that have files, found {line!r}, which has none"
            faults.append(Fault(f"samples of {path.name} without files", told, (split, line)))
        chosen.update(dict.fromkeys(found))
    if not named:
        faults.append(Fault("empty lists", f"{path}: expected samples of {split}, found none"))
    return list(chosen), faults


def draw(values: Mapping[str, str], name: str, fractions: Mapping[str, Any]) -> str | None:
    """The split of one sample, or None where the fractions leave it out.

    A hash of the seed and the sample's name is a number from 0 to 1; train takes the lowest, val the next. Each
    sample is drawn for itself, so that adding or losing others changes nothing for it; shares are met on
    average, not to the last sample. With `by`, samples of equal placeholders are drawn together.
    """
    by = fractions.get("by") or ()
    drawn = "/".join(values[key] for key in by) if by else name
    digest = hashlib.sha256(f"{fractions.get('seed', 0)}:{drawn}".encode("utf-8", "surrogateescape")).digest()
    position = int.from_bytes(digest[:6], "big") / 2**48
    end = 0.0
    for split in ("train", "val", "test"):
        end += float(fractions.get(split, 0))
        if position < end - 1e-12 or (end > 1 - 1e-9 and fractions.get(split, 0)):
            return split
    return None
