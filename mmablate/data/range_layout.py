"""What the channels of a range image mean, and every fault of a folder of them that its files show.

Header problems are found without reading a file's values, and nothing is ever unpickled.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from mmablate.errors import DataError

SPLITS = ("train", "val", "test")
REAL_KINDS = "fiub"  # float, int, unsigned, bool
SHOWN = 5  # values at fault named in one line


@dataclass(frozen=True)
class RangeLayout:
    """What the channels of a file mean; checked by `layout_problems`.

    Attributes:
        modalities: name -> channel numbers, counted from 0.
        label_channel: the channel that holds the labels.
        ignore_label: label of pixels that count neither in a loss nor in a score.
        class_names: one a class, or None for "class 0", "class 1", ...
        n_classes: number of classes K; needed where there are no names. Labels are 0..K-1.
        no_return: {"channel": c, "value": v}: pixels whose channel c equals v (NaN too) had no return;
            their inputs are 0 after standardisation. None: every pixel counts.
        ignore_no_return: give the pixels without a return the ignore label.
        columns: cut every file into side-by-side windows of this width, each a sample; None: whole files.
        column_stride: keep every n-th column (before windows are cut), in training and in scoring.
    """

    modalities: Mapping[str, Sequence[int]]
    label_channel: int
    ignore_label: int = 255
    class_names: Sequence[str] | None = None
    n_classes: int | None = None
    no_return: Mapping[str, float] | None = None
    ignore_no_return: bool = False
    columns: int | None = None
    column_stride: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, made up where there are none."""
        return tuple(self.class_names or (f"class {k}" for k in range(self.n_classes or 0)))

    @property
    def inputs(self) -> list[int]:
        """The input channels, modality by modality."""
        return [channel for channels in self.modalities.values() for channel in channels]

    @property
    def roles(self) -> dict[str, int]:
        """What each channel that must exist is there for -> its number."""
        found = {f"modality {name}": max(channels) for name, channels in self.modalities.items() if channels}
        found["label_channel"] = self.label_channel
        if self.no_return is not None:
            found["no_return"] = int(self.no_return["channel"])
        return found

    def missing(self, values: np.ndarray) -> NDArray[np.bool_]:
        """Which pixels of (..., C) had no return, (...)."""
        if self.no_return is None:
            return np.zeros(values.shape[:-1], dtype=np.bool_)
        marker = values[..., int(self.no_return["channel"])]
        value = float(self.no_return.get("value", 0))
        return np.asarray(np.isnan(marker) if isnan(value) else marker == value)

    def width(self, columns: int) -> int:
        """Width of a sample cut from a file of so many columns."""
        return self.columns or len(range(0, columns, self.column_stride))


class Header(NamedTuple):
    path: Path
    shape: tuple[int, ...]
    solid: bool  # 3-D and not empty
    sound: bool  # without a fault of its own


def layout_problems(layout: RangeLayout) -> list[str]:
    """What is wrong with a layout itself, one line each."""
    problems = []
    if not layout.modalities:
        problems.append("modalities: expected at least one modality with its channels, found none")
    for name, channels in layout.modalities.items():
        if not channels or min(channels) < 0 or len(set(channels)) != len(channels):
            wanted = "channel numbers from 0, each once"
            problems.append(f"modalities: {name}: expected {wanted}, found {list(channels)}")
        if layout.label_channel in channels:
            problems.append(f"modalities: {name}: expected inputs, found the label channel {layout.label_channel}")
    if layout.label_channel < 0:
        problems.append(f"label_channel: expected 0 or more, found {layout.label_channel}")
    names, count = layout.class_names, layout.n_classes
    if not names and (count is None or count < 1):
        problems.append("class_names: expected names, or n_classes of 1 or more, found neither")
    elif names and count is not None and count != len(names):
        problems.append(f"n_classes: expected {len(names)}, as many as class_names, found {count}")
    marker = layout.no_return
    if marker is not None and not ({"channel"} <= set(marker) <= {"channel", "value"} and marker["channel"] >= 0):
        problems.append(f"no_return: expected {{channel: 0 or more, value: number}}, found {dict(marker)}")
    if marker is None and layout.ignore_no_return:
        problems.append("ignore_no_return: expected no_return beside it, found none")
    if layout.column_stride < 1:
        problems.append(f"column_stride: expected 1 or more, found {layout.column_stride}")
    if layout.columns is not None and layout.columns < 1:
        problems.append(f"columns: expected 1 or more, found {layout.columns}")
    return problems


def natural_key(name: str) -> list[str | int]:
    """Sorting key by which 2.npy comes before 10.npy."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def list_files(root: Path) -> dict[str, list[Path]]:
    """The samples of each split folder that exists, in natural order; hidden files are left out."""
    return {
        split: sorted(
            (path for path in (root / split).glob("*.npy") if not path.name.startswith(".")),
            key=lambda path: (natural_key(path.name), path.name),
        )
        for split in SPLITS
        if (root / split).is_dir()
    }


def _folder_problems(root: Path, files: Mapping[str, Sequence[Path]]) -> list[str]:
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        return [f"{root}: expected a folder with train/ and val/, found {found}"]
    problems = []
    for split in SPLITS:
        if split not in files and split != "test":
            problems.append(f"{root / split}: expected a folder of .npy files, found none")
        elif split in files and not files[split]:
            problems.append(f"{root / split}: expected .npy files, found an empty folder (no .npy file)")
    return problems


def _read_header(path: Path) -> tuple[tuple[int, ...], np.dtype, int, int]:
    """Shape, dtype, start of the data and size of a .npy file, from its header alone.

    Raises:
        ValueError: with what was expected and found.
    """
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    try:
        with path.open("rb") as file:
            prefix = file.read(len(npy_format.MAGIC_PREFIX))
            if prefix != npy_format.MAGIC_PREFIX:
                found = f"a file that starts with {prefix!r}" if prefix else "an empty file"
                raise ValueError(f"expected a .npy file, found {found}")
            file.seek(0)
            try:
                version = npy_format.read_magic(file)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # headers written by Python 2 are fine
                    shape, _, dtype = readers[version](file)
            except (ValueError, KeyError) as fault:
                detail = str(fault).splitlines()[0]
                raise ValueError(f"expected a .npy header, found a damaged or unknown one ({detail})") from None
            return shape, dtype, file.tell(), path.stat().st_size
    except OSError as fault:
        raise ValueError(f"expected a readable .npy file, found: {fault.strerror or fault}") from None


def _header_problems(path: Path) -> tuple[Header, list[str]]:
    try:
        shape, dtype, start, size = _read_header(path)
    except ValueError as fault:
        return Header(path, (), solid=False, sound=False), [f"{path}: {fault}"]
    problems = []
    if dtype.hasobject:
        problems.append(f"{path}: expected numbers, found pickled Python objects (dtype {dtype}; not loaded)")
    else:
        if dtype.kind not in REAL_KINDS:
            problems.append(f"{path}: expected real numbers, found dtype {dtype}")
        wanted = start + prod(shape) * dtype.itemsize
        if size < wanted:
            problems.append(f"{path}: expected {wanted} bytes by its header, found {size} (truncated)")
    solid = len(shape) == 3 and min(shape) > 0
    if not solid:
        problems.append(f"{path}: expected shape (H, W, C), found {shape}")
    return Header(path, shape, solid, sound=not problems), problems


def _shape_problems(headers: Sequence[Header], layout: RangeLayout) -> list[str]:
    """Shapes that differ from the commonest one, channels that do not exist, columns that do not fit."""
    solid = [header for header in headers if header.solid]
    if not solid:
        return []
    expected = Counter(header.shape for header in solid).most_common(1)[0][0]
    model = next(header.path for header in solid if header.shape == expected)
    like = f"{model.parent.name}/{model.name}"
    problems = [
        f"{header.path}: expected shape {expected} as in {like}, found {header.shape}"
        for header in solid
        if header.shape != expected
    ]
    for shape, number in Counter(header.shape for header in solid).items():
        path = next(header.path for header in solid if header.shape == shape)
        also = f" (and {number - 1} more files of this shape)" if number > 1 else ""
        problems.extend(
            f"{path}: {role}: expected a channel {channel}, found {shape[2]} channels{also}"
            for role, channel in layout.roles.items()
            if channel >= shape[2]
        )
    kept = len(range(0, expected[1], layout.column_stride))
    if layout.columns is not None and kept % layout.columns:
        wanted = f"a divisor of the {kept} columns of {like}"
        problems.append(f"columns: expected {wanted}, found {layout.columns}")
    return problems


def load_values(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as fault:
        raise DataError(f"{path}: expected a .npy file of numbers, found: {fault}") from None


def value_problems(path: Path, values: np.ndarray, layout: RangeLayout) -> list[str]:
    """Faults of the values (H, W, C) of one file: NaN or inf in a used channel, labels outside the classes.

    Where NaN marks a missing return, NaN at such pixels is no fault.
    """
    problems = []
    marker = layout.no_return
    exempt = layout.missing(values) if marker and isnan(float(marker.get("value", 0))) else None
    used = [*layout.inputs, *([] if marker is None else [int(marker["channel"])])]
    for channel in dict.fromkeys(used):
        finite = np.isfinite(values[..., channel])
        if exempt is not None:
            finite |= exempt
        if not finite.all():
            row, column = np.argwhere(~finite)[0].tolist()
            where = f"{finite.size - finite.sum()} NaN or infinite (the first at row {row}, column {column})"
            problems.append(f"{path}: channel {channel}: expected finite values, found {where}")
    return problems + _label_problems(path, values, layout)


def _label_problems(path: Path, values: np.ndarray, layout: RangeLayout) -> list[str]:
    problems = []
    labels = np.asarray(values[..., layout.label_channel], dtype=np.float64)
    k = len(layout.names)
    good = ((labels >= 0) & (labels < k) & (labels == np.floor(labels))) | (labels == layout.ignore_label)
    if layout.ignore_no_return:
        good |= layout.missing(values)
    if not good.all():
        wrong, counts = np.unique(labels[~good], return_counts=True)
        shown = ", ".join(f"{v:g} ({n} pixels)" for v, n in zip(wrong[:SHOWN], counts[:SHOWN], strict=True))
        more = f" and {len(wrong) - SHOWN} other values" if len(wrong) > SHOWN else ""
        wanted = f"integers 0..{k - 1} or {layout.ignore_label}"
        problems.append(f"{path}: labels (channel {layout.label_channel}): expected {wanted}, found {shown}{more}")
    return problems


@dataclass
class Folder:
    """What the headers of a folder say."""

    files: dict[str, list[Path]]
    headers: dict[Path, Header]
    problems: list[str]

    def nbytes(self, split: str, layout: RangeLayout) -> int:
        """Bytes of the decoded samples of a split: float32 inputs and int64 labels."""
        shapes = [self.headers[path].shape for path in self.files[split] if self.headers[path].solid]
        pixels = sum(shape[0] * len(range(0, shape[1], layout.column_stride)) for shape in shapes)
        return pixels * (4 * len(layout.inputs) + 8)

    def readable(self, split: str, layout: RangeLayout) -> list[Path]:
        """The files of a split whose values can be looked at."""
        needed = 1 + max(layout.roles.values())
        headers = [self.headers[path] for path in self.files.get(split, [])]
        return [header.path for header in headers if header.sound and header.shape[2] >= needed]


def read_folder(root: Path, layout: RangeLayout) -> Folder:
    """Lists a folder and reads its headers; problems hold all faults of layout, folders and headers."""
    files = list_files(root)
    problems = layout_problems(layout)
    sound = not problems
    problems.extend(_folder_problems(root, files))
    headers: dict[Path, Header] = {}
    for path in (path for paths in files.values() for path in paths):
        headers[path], found = _header_problems(path)
        problems.extend(found)
    if sound:
        problems.extend(_shape_problems(list(headers.values()), layout))
    return Folder(files, headers, problems)
