"""Reads the files of samples and says what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmablate.data.image_folder.faults import Fault
from mmablate.data.image_folder.images import (
    Form,
    Header,
    Kind,
    UnreadableImage,
    read_header,
    read_pixels,
    resize_image,
    resize_labels,
)
from mmablate.data.image_folder.labels import unknown_values
from mmablate.data.image_folder.layout import LABELS, FolderLayout
from mmablate.data.image_folder.samples import Sample

BYTES: dict[Kind, int] = {"8-bit": 1, "16-bit": 4, "other": 8}


@dataclass(frozen=True)
class Shape:
    """What all samples have in common.

    Attributes:
        size: height and width of the samples handed out.
        channels: modality -> channel numbers used.
        kinds: modality -> kind of its values.
        label_type: the smallest type that holds all labels.
    """

    size: tuple[int, int]
    channels: Mapping[str, tuple[int, ...]]
    kinds: Mapping[str, Kind]
    label_type: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes that one sample takes in memory, at most: 16-bit values that are resized become float32."""
        values = sum(len(channels) * BYTES[self.kinds[name]] for name, channels in self.channels.items())
        return self.size[0] * self.size[1] * (values + self.label_type.itemsize)


Headers = dict[tuple[str, str, str], Header]  # (split, name, role) -> header


def read_headers(layout: FolderLayout, samples: Sequence[Sample]) -> tuple[Headers, list[Fault]]:
    """The headers of all files; faults are of files that cannot be read or have no such channel."""
    headers: Headers = {}
    faults: list[Fault] = []
    known: dict[tuple[Path, Form], Header | str] = {}
    for sample in samples:
        for role, path in sample.files.items():
            at = path, layout.form_of(role)
            if at not in known:
                try:
                    known[at] = read_header(*at)
                except UnreadableImage as fault:
                    known[at] = str(fault)
            header = known[at]
            wrong = header if isinstance(header, str) else _header_problem(layout, role, header)
            if wrong:
                kind = f"unreadable files of {role} in {sample.split}"
                faults.append(Fault(kind, f"{path}: {wrong}", (sample.split, sample.name)))
            elif not isinstance(header, str):
                headers[sample.split, sample.name, role] = header
    return headers, faults


def _header_problem(layout: FolderLayout, role: str, header: Header) -> str:
    """What is wrong with one header in itself; "" where nothing is."""
    if role == LABELS:
        if header.lossy:
            return "expected labels in a format without loss, found JPEG"
        if layout.rule.colours is not None:
            return "" if header.bands == 3 else f"expected colours (H, W, 3), found {header.bands} channels"
        highest, what = layout.rule.channel, "labels in channel"
    else:
        highest, what = max(layout.channels[role] or [0]), "a channel"
    return (
        "" if highest < header.bands else f"expected {what} {highest}, found {header.bands} channels (0 is the first)"
    )


def common_shape(layout: FolderLayout, samples: Sequence[Sample], headers: Headers) -> tuple[Shape | None, list[Fault]]:
    """What the files have in common, and the samples that differ from most others.

    Returns:
        The shape, None where no sample has sound headers; and the faults.
    """
    faults: list[Fault] = []
    channels, kinds = {}, {}
    for name, wanted in layout.channels.items():
        if wanted is None:
            channels[name], found = _agree(
                headers,
                samples,
                name,
                lambda h: h.usual,
                lambda n: f"{n} channels",
                "channels; name some in `channels`",
            )
            faults.extend(found)
        kinds[name], found = _agree(headers, samples, name, lambda h: h.kind, "{} values".format, "")
        faults.extend(found)
    size = layout.size
    if size is None:
        size, found = _one_size(samples, headers)
        faults.extend(found)
    if size is None or None in kinds.values():
        return None, faults
    used = {name: tuple(wanted or range(channels.get(name) or 0)) for name, wanted in layout.channels.items()}
    return Shape(size, used, kinds, np.min_scalar_type(layout.rule.ignore_label)), faults


def _agree(
    headers: Headers,
    samples: Sequence[Sample],
    role: str,
    what: Callable[[Header], Any],
    show: Callable[[Any], str],
    hint: str,
) -> tuple[Any, list[Fault]]:
    """The commonest property of the files of a role, and a fault for each file that has another."""
    at = [(sample, headers.get((sample.split, sample.name, role))) for sample in samples]
    found = [(sample, what(header)) for sample, header in at if header is not None]
    if not found:
        return None, []
    expected = Counter(value for _, value in found).most_common(1)[0][0]
    model = next(sample.files[role].name for sample, value in found if value == expected)
    advice = f" ({hint})" if hint else ""
    return expected, [
        Fault(
            f"files of {role} unlike the others",
            f"{sample.files[role]}: expected {show(expected)} as in {model}, found {show(value)}{advice}",
            (sample.split, sample.name),
        )
        for sample, value in found
        if value != expected
    ]


def _one_size(samples: Sequence[Sample], headers: Headers) -> tuple[tuple[int, int] | None, list[Fault]]:
    """The commonest height and width of all files, and the files that have another."""
    sizes = Counter((header.height, header.width) for header in headers.values())
    if not sizes:
        return None, []
    height, width = sizes.most_common(1)[0][0]
    faults = []
    for sample in samples:
        for role, path in sample.files.items():
            header = headers.get((sample.split, sample.name, role))
            if header is not None and (header.height, header.width) != (height, width):
                found = f"{header.height} x {header.width}"
                line = f"{path}: expected {height} x {width} pixels, found {found} (`size` brings all files to one)"
                faults.append(Fault("files of another size", line, (sample.split, sample.name)))
    return (height, width), faults


@dataclass(frozen=True)
class SampleReader:
    """Reads samples; may be sent to another process."""

    layout: FolderLayout
    shape: Shape

    def inputs(self, sample: Sample) -> tuple[dict[str, np.ndarray], list[Fault]]:
        """Modality -> values (H, W, C) as in the file, at the common size; and the faults of the files."""
        decoded: dict[Path, np.ndarray | str] = {}
        values, faults = {}, []
        for name, channels in self.shape.channels.items():
            path = sample.files[name]
            if path not in decoded:
                decoded[path] = self._decode(path, "input")
            whole = decoded[path]
            problem = whole if isinstance(whole, str) else self._input_problem(name, whole)
            if problem or isinstance(whole, str):
                faults.append(Fault(f"faulty files of {name}", f"{path}: {problem}", (sample.split, sample.name)))
            else:
                way = self.layout.resize.get(name, "bilinear")
                values[name] = resize_image(whole[..., list(channels)], self.shape.size, way)
        return values, faults

    def _input_problem(self, name: str, values: np.ndarray) -> str:
        channels = list(self.shape.channels[name])
        if values.shape[2] <= max(channels):
            return f"expected a channel {max(channels)}, found {values.shape[2]} channels"
        if self.layout.size is None and values.shape[:2] != self.shape.size:
            return f"expected {self.shape.size[0]} x {self.shape.size[1]} pixels, found {_size(values)}"
        if values.dtype.kind == "f":
            bad = ~np.isfinite(values[..., channels])
            if bad.any():
                row, column, _ = np.argwhere(bad)[0].tolist()
                return (
                    f"expected finite values, found {int(bad.sum())} NaN or infinite "
                    f"(the first at row {row}, column {column})"
                )
        return ""

    def labels(self, sample: Sample) -> tuple[NDArray[np.int64] | None, list[Fault]]:
        """Labels (H, W) at the common size, None where they cannot be read; and the faults of the file."""
        path, rule = sample.files[LABELS], self.layout.rule
        values = self._decode(path, self.layout.form)
        problem = ""
        if isinstance(values, str):
            problem = values
        elif values.shape[2] <= (2 if rule.colours is not None else rule.channel):
            problem = f"expected labels in channel {rule.channel}, found {values.shape[2]} channels"
        elif self.layout.size is None and values.shape[:2] != self.shape.size:
            problem = f"expected {self.shape.size[0]} x {self.shape.size[1]} pixels, found {_size(values)}"
        if problem or isinstance(values, str):
            return None, [Fault("faulty label files", f"{path}: {problem}", (sample.split, sample.name))]
        labels, unknown = rule.read(values)
        faults = []
        if unknown:
            what = "a colour of a class or of void" if rule.colours is not None else f"classes 0..{rule.n_classes - 1}"
            line = f"{path}: expected {what}, or void, found {unknown_values(unknown)}"
            faults.append(Fault("label files with unknown values", line, (sample.split, sample.name)))
        return resize_labels(labels, self.shape.size), faults

    def _decode(self, path: Path, form: Form) -> np.ndarray | str:
        try:
            return read_pixels(path, form)
        except UnreadableImage as fault:
            return str(fault)


def _size(values: np.ndarray) -> str:
    return f"{values.shape[0]} x {values.shape[1]}"
