"""Mask lists: which sequences of each training subject are there, as files and as drawn from missing rates.

Source: PASSION (Shi et al. 2024), released lists and their generator. Names like mr2468 are missing rates, in tenths,
of T1, T1ce, FLAIR and T2, an order other than that of the columns of a mask.
"""

from __future__ import annotations

import ast
import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.brats.atomic import write_bytes
from mmablate.data.brats.preprocessing import SEQUENCES
from mmablate.data.faults import Fault, FileFault, told
from mmablate.data.lists import read_rows
from mmablate.errors import DataError

Mask = tuple[bool, bool, bool, bool]

RATES_ORDER = ("t1", "t1ce", "flair", "t2")
PUBLISHED = ("mr2468", "mr1379", "mr2258", "mr2285", "mr5528", "mr5582", "mr8825", "mr8852")
MASK_SEED = 1037
COLUMNS = ("data_name", "mask_id", "mask", "pos_mask_ids")
MOST_CELL = 200  # characters of a mask or of its list of ids; longer ones are not parsed

_NUMBERED = (
    "t2", "t1ce", "t1", "flair", "t1ce t2", "t1ce t1", "flair t1", "t1 t2", "flair t2", "flair t1ce",
    "flair t1ce t1", "flair t1 t2", "flair t1ce t2", "t1ce t1 t2", "flair t1ce t1 t2",
)  # fmt: skip


def _mask(row: Iterable[object]) -> Mask:
    first, second, third, fourth = (bool(value) for value in row)
    return first, second, third, fourth


MASKS: tuple[Mask, ...] = tuple(_mask(name in text.split() for name in SEQUENCES) for text in _NUMBERED)
"""The 15 masks by their number in a list, 0 to 14; columns as `SEQUENCES`."""

MASK_IDS = {mask: number for number, mask in enumerate(MASKS)}


def rates_of(name: str) -> tuple[float, float, float, float] | None:
    """Missing rates of T1, T1ce, FLAIR and T2 that a list's name like "mr2468" stands for; None of other names."""
    if re.fullmatch(r"mr[0-9]{4}", name, re.ASCII) is None:
        return None
    first, second, third, fourth = (int(digit) / 10 for digit in name[2:])
    return first, second, third, fourth


def generate_masks(n: int, rates: Sequence[float], seed: int = MASK_SEED) -> NDArray[np.bool_]:
    """Draws a mask for each of n subjects, taken in the order of their names.

    Each of the 15 patterns gets max(1, floor(n * product of its rates)) subjects; the rest get none, and all are
    shuffled. A subject without a sequence is then drawn anew, each sequence by its rate, until it has one. At 219
    subjects and seed 1037 this gives the published lists of BraTS 2020 to the bit.

    Args:
        n: number of subjects.
        rates: probability of each of T1, T1ce, FLAIR and T2 to be missing, in this order.
        seed: of numpy's legacy generator, which the published lists were drawn by.

    Returns:
        (n, 4), columns flair, t1ce, t1, t2; no row is all false.

    Raises:
        ValueError: n below 1, or rates that are no four numbers in [0, 1] or all 1.
    """
    missing = [float(rate) for rate in rates]
    if n < 1 or len(missing) != 4 or not all(0 <= rate <= 1 for rate in missing) or min(missing) == 1:
        raise ValueError(f"expected subjects and four missing rates in [0, 1], not all 1; got {n} and {missing}")
    random = np.random.RandomState(seed)
    for _ in missing:  # the published generator draws masks that it then replaces; the stream goes on from there
        random.rand(n)
    drawn = np.zeros((n, 4), dtype=bool)  # columns as rates
    start = 0
    for pattern in _patterns():
        share = float(n)
        for there, rate in zip(pattern, missing, strict=True):
            share *= 1 - rate if there else rate
        count = max(1, int(share))
        drawn[start : start + count] = pattern
        start += count
    order = np.arange(n)
    random.shuffle(order)
    drawn = drawn[order]
    for row in drawn:
        while not row.any():
            row[:] = [random.rand(1)[0] > rate for rate in missing]
    return drawn[:, [RATES_ORDER.index(name) for name in SEQUENCES]]


def _patterns() -> list[Mask]:
    """The 15 patterns of T1, T1ce, FLAIR, T2 in the order in which they are dealt."""
    dealt = []
    for t1, t1ce, first, second in product((True, False), repeat=4):
        # Where T1ce is there, the published code deals by T2 before FLAIR.
        flair, t2 = (second, first) if t1ce else (first, second)
        dealt.append((t1, t1ce, flair, t2))
    return dealt[:-1]


def write_mask_list(path: Path, names: Sequence[str], masks: np.ndarray) -> None:
    """Writes a mask list, in the published form: lines end in CR LF.

    Args:
        path: a file that this replaces at once.
        names: one a row.
        masks: bool (N, 4), columns flair, t1ce, t1, t2; no row all false.

    Raises:
        ValueError: shapes that do not fit, or an all-false row.
    """
    if np.shape(masks) != (len(names), 4) or not np.asarray(masks, dtype=bool).any(axis=1).all():
        raise ValueError(f"expected a mask (4,) with a sequence for each of {len(names)} names")
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for name, row in zip(names, masks, strict=True):
        mask = _mask(row)
        writer.writerow([name, MASK_IDS[mask], list(mask), list(possible_ids(mask))])
    write_bytes(path, text.getvalue().encode())


def possible_ids(mask: Sequence[bool]) -> tuple[int, ...]:
    """Numbers of the masks that leave some of the sequences of this one, itself among them, rising."""
    return tuple(i for i, other in enumerate(MASKS) if all(a or not b for a, b in zip(mask, other, strict=True)))


def read_mask_list(path: Path) -> dict[str, Mask]:
    """Name -> mask (flair, t1ce, t1, t2) of every row of a list.

    The column `mask` decides; `mask_id` and `pos_mask_ids` may be absent, and must say the same where they are there.

    Raises:
        DataError: all rows at fault, each with file and line: no quoted list of four truth values, all false, a number
            that means another mask, or a name twice.
    """
    rows = read_rows(path, what="mask lists")
    header = rows[0][1] if rows else []
    if not {"data_name", "mask"} <= set(header) or len(set(header)) < len(header):
        there = ", ".join(header)[:MOST_CELL] or "nothing"
        example = '"[True, False, True, True]" for ' + ", ".join(SEQUENCES)
        text = f"line 1: expected the columns data_name and mask, e.g. {example}; found {there}"
        raise FileFault(path, text, "headers of mask lists")
    found: dict[str, Mask] = {}
    faults = []
    for line, cells in rows[1:]:
        try:
            if len(cells) != len(header):
                raise ValueError(f"expected {len(header)} cells, found {len(cells)}")
            row = dict(zip(header, cells, strict=True))
            mask = _checked(row)
            name = row["data_name"]
            if not name or name in found:
                raise ValueError(f"expected a name once, found {name!r} {'again' if name else ''}".rstrip())
            found[name] = mask
        except ValueError as error:
            faults.append(Fault(f"{path}: line {line}: {error}", "rows of mask lists"))
    if faults:
        raise DataError(told(faults))
    return found


def _checked(row: Mapping[str, str]) -> Mask:
    mask = _parsed(row["mask"], bool)
    if len(mask) != 4:
        raise ValueError(f"mask: expected 4 truth values (flair, t1ce, t1, t2), found {len(mask)}")
    known = _mask(mask)
    if not any(known):
        raise ValueError("mask: expected at least one sequence, found all false")
    number = row.get("mask_id", "")
    if number and number != str(MASK_IDS[known]):
        raise ValueError(f"mask_id: expected {MASK_IDS[known]}, the number of {row['mask']}, found {number[:20]!r}")
    ids = row.get("pos_mask_ids", "")
    if ids and sorted(_parsed(ids, int)) != list(possible_ids(known)):
        raise ValueError(f"pos_mask_ids: expected {list(possible_ids(known))}, found {ids}")
    return known


def _parsed(text: str, kind: type) -> list[int]:
    """The values of a Python list of truth values or of whole numbers, read without being run."""
    wanted = f"a list like {[True, False, True, False] if kind is bool else [1, 2, 5]}"
    try:
        value = ast.literal_eval(text) if len(text) <= MOST_CELL else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, list) or any(type(part) is not kind for part in value):
        raise ValueError(f"expected {wanted}, found {text[:60]!r}")
    return value
