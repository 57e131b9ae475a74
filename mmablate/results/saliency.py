"""What a run keeps of the saliency of a teacher's channels: saliency.csv, and saliency.json for how it was found."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mmablate.errors import StoreError
from mmablate.results.files import read_json, write_atomic

CSV_NAME, JSON_NAME = "saliency.csv", "saliency.json"
COLUMNS = ("channel", "score", "standard_error", "saliency", "kept", "general")
MOST_BYTES = 50_000_000
"""Of a saliency.csv; a larger one is not what training wrote."""


class SaliencyInfo(BaseModel):
    """How a saliency was found.

    Attributes:
        place: of the teacher whose channels these are, e.g. "encoder.2".
        distance: between the features of teacher and student, e.g. "squared".
        permutations: repeats behind a score.
        count: channels that were kept, or asked for; None where none were chosen.
        rule: by which the count was decided, e.g. "oracle".
        side: of the channels that were kept, e.g. "general".
        synthetic: the data were generated, not measured.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    place: str
    distance: str
    permutations: int
    count: int | None = None
    rule: str | None = None
    side: str | None = None
    synthetic: bool = False


@dataclass(frozen=True)
class Saliency:
    """The saliency of a teacher's channels, channel by channel.

    Attributes:
        scores: permutation importance as measured, (C,).
        standard_errors: of the scores over permutations, (C,); NaN where unknown.
        normalised: the saliency, (C,).
        kept: channels that were kept, ascending; None where none were chosen.
        general: channels that are known to be modality-general, ascending; None where nobody knows.
        info: how it was found.
    """

    scores: tuple[float, ...]
    standard_errors: tuple[float, ...]
    normalised: tuple[float, ...]
    kept: tuple[int, ...] | None
    general: tuple[int, ...] | None
    info: SaliencyInfo


def write_saliency(
    folder: Path,
    *,
    scores: Sequence[float],
    standard_errors: Sequence[float],
    normalised: Sequence[float],
    kept: Sequence[int] | None,
    general: Sequence[int] | None,
    info: SaliencyInfo,
    durable: bool = True,
) -> None:
    """Writes both files into a run's folder, the CSV last: where it stands, both do.

    Args:
        folder: of the run; it is there.
        durable: see `write_atomic`; a run's files are, before its record stands for them.

    Raises:
        ValueError: sequences of different lengths, a score that is not finite, a channel that there is not.
        StoreError: a file cannot be written.
    """
    values = [list(map(float, some)) for some in (scores, standard_errors, normalised)]
    n = len(values[0])
    if any(len(some) != n for some in values):
        raise ValueError(f"one score, standard error and saliency a channel, got {[len(some) for some in values]}")
    if not all(math.isfinite(v) for some in (values[0], values[2]) for v in some):
        raise ValueError("scores and saliency are finite numbers")
    flags = [_flags(name, some, n) for name, some in (("kept", kept), ("general", general))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for channel, (score, error, own) in enumerate(zip(*values, strict=True)):
        known = repr(error) if math.isfinite(error) else ""
        writer.writerow([channel, repr(score), known, repr(own), flags[0][channel], flags[1][channel]])
    text = json.dumps(info.model_dump(mode="json"), ensure_ascii=False, indent=1)
    write_atomic(folder / JSON_NAME, (text + "\n").encode(), durable=durable)
    write_atomic(folder / CSV_NAME, out.getvalue().encode(), durable=durable)


def _flags(name: str, channels: Sequence[int] | None, n: int) -> list[str]:
    """ "1" and "0" by channel, or nothing."""
    if channels is None:
        return [""] * n
    chosen = {int(channel) for channel in channels}
    if not chosen <= set(range(n)):
        raise ValueError(f"{name}: channels from 0 to {n - 1}, got {min(chosen)} to {max(chosen)}")
    return ["1" if channel in chosen else "0" for channel in range(n)]


class _Damaged(Exception):
    """What is wrong with a file; becomes the reason."""


def read_saliency(folder: Path) -> tuple[Saliency | None, str]:
    """The saliency in a run's folder.

    Returns:
        None where there is none or it is damaged, with the reason; the reason is "" where no file is there.
    """
    path = folder / CSV_NAME
    try:
        if not path.exists():
            return None, ""
        return _read(path, folder / JSON_NAME), ""
    except _Damaged as fault:
        return None, f"{path.parent.name}/{CSV_NAME}: {fault}"
    except StoreError as error:
        # Without the folder of the machine.
        return None, f"{path.parent.name}/{JSON_NAME}: {str(error).removeprefix(str(folder / JSON_NAME)).lstrip(': ')}"
    except (OSError, UnicodeDecodeError) as error:
        return None, f"{path.parent.name}/{CSV_NAME}: cannot be read: {getattr(error, 'strerror', None) or error}"


def _read(path: Path, beside: Path) -> Saliency:
    if not path.is_file():
        raise _Damaged("not a file")
    if path.stat().st_size > MOST_BYTES:
        raise _Damaged(f"larger than {MOST_BYTES} bytes")
    try:
        info = SaliencyInfo.model_validate(read_json(beside))
    except ValidationError as error:
        first = error.errors()[0]
        raise StoreError(f"{beside}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    lines = list(_lines(path.read_text(encoding="utf-8")))
    scores, errors, own = ([_number(line, name) for _, line in lines] for name in COLUMNS[1:4])
    if not lines:
        raise _Damaged("no channel")
    kept, general = (_channels([line[name] for _, line in lines], name) for name in COLUMNS[4:])
    return Saliency(tuple(scores), tuple(errors), tuple(own), kept, general, info)


def _lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Channel and fields of each line; channels are counted from 0 without a gap."""
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise _Damaged(f"no CSV: {error}") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise _Damaged(f"the columns are {', '.join(COLUMNS)}")
    for number, row in enumerate(rows[1:]):
        if len(row) != len(COLUMNS):
            raise _Damaged(f"line {number + 2} has {len(row)} fields, not {len(COLUMNS)}")
        if row[0] != str(number):
            raise _Damaged(f"line {number + 2} is of channel {row[0][:20]!r}, not {number}")
        yield number, dict(zip(COLUMNS, row, strict=True))


def _number(line: dict[str, str], name: str) -> float:
    """A finite number; a standard error may be unknown, and is not negative."""
    if name == "standard_error" and not line[name]:
        return math.nan
    try:
        value = float(line[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (name == "standard_error" and value < 0):
        raise _Damaged(f"{name} of channel {line['channel']} is {line[name][:20]!r}")
    return value


def _channels(flags: Sequence[str], name: str) -> tuple[int, ...] | None:
    """The channels flagged "1"; None where no line says anything."""
    if not any(flags):
        return None
    for channel, flag in enumerate(flags):
        if flag not in ("0", "1"):
            raise _Damaged(f"{name} of channel {channel} is {flag[:20]!r}, not 0 or 1")
    return tuple(channel for channel, flag in enumerate(flags) if flag == "1")
