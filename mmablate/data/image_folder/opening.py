"""Opens and checks a folder of images that a recipe describes.

Options, common to both functions:

- `modalities`: name -> {files: pattern, channels: numbers or None}. Patterns are those of
  `mmablate.data.image_folder.patterns`. Two modalities may name one file and different channels; a channel may be
  named twice ([0, 0, 0] makes gray images fit a network for RGB). Without `channels` all are used but transparency.
- `labels`: files, channel, offset, map, colours, void, others; see `LabelRule`. JPEG is refused for labels.
- `class_names`: of classes 0, 1, ...; by default the keys of `labels.colours`.
- `splits`: split -> what {split} is in its paths, or a list file (.txt, .csv, .yaml; see `drawing.read_list`).
- `fractions`: {train, val, test, seed, by} in their place; see `drawing.draw`.
- `conditions`: placeholders by which scores may be told apart.
- `size`: height and width that all is brought to, labels nearest, modalities as `resize` says (modality -> nearest,
  bilinear for those not named).
- `normalise`: a way of `splits.scalings`, or modality -> way ("standard" for those not named).
- `on_fault`: "refuse", or "drop": samples with a faulty file are left out, and a note tells how many. For that, every
  file is read when the folder is opened.
- `synthetic`: generated data; what generators leave in folders and images says so too, see `marks.marked`.

A sample is what has the same values of those placeholders that all patterns have; `{split}` is not among them.
A pattern may have further placeholders (as conditions, or just to find files), as long as they leave one file a
sample. A sample that lacks one of its files is at fault, and so is one whose files disagree in a placeholder. Files
that are another sample's labels, say, by a narrower pattern are no samples. A file that holds the labels is an input
only by its other channels, and no file may be in two splits, links followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmablate.data.base import SegmentationData, Split
from mmablate.data.image_folder.faults import Fault, tell
from mmablate.data.image_folder.layout import FolderLayout, layout_problems, make_layout
from mmablate.data.image_folder.marks import marked
from mmablate.data.image_folder.reading import SampleReader, Shape, common_shape, read_headers
from mmablate.data.image_folder.samples import Found, Sample, find_samples
from mmablate.data.image_folder.sharing import sharing_faults
from mmablate.data.image_folder.splits import FolderSplit, KeptSplit, scalings, scan
from mmablate.errors import DataError

GIB = 1 << 30


@dataclass
class _Folder:
    """What files and headers say."""

    found: Found
    shape: Shape | None
    faults: list[Fault]

    def drop(self, faults: Sequence[Fault]) -> list[Fault]:
        """Takes samples at fault out of their splits; returns the faults that are no sample's."""
        wrong = {fault.sample for fault in faults}
        for split, samples in self.found.splits.items():
            self.found.splits[split] = [s for s in samples if (s.split, s.name) not in wrong]
        return [fault for fault in faults if fault.sample is None]

    @property
    def samples(self) -> list[Sample]:
        """Of all splits."""
        return [sample for samples in self.found.splits.values() for sample in samples]


def _read_folder(layout: FolderLayout) -> _Folder:
    """Lists a folder and reads all headers."""
    found = find_samples(layout)
    samples = [sample for group in found.splits.values() for sample in group]
    headers, unreadable = read_headers(layout, samples)
    shape, unlike = common_shape(layout, samples, headers)
    shared = sharing_faults(layout, samples, headers)
    return _Folder(found, shape, found.faults + shared + unreadable + unlike)


def check_image_folder(
    root: Path,
    *,
    modalities: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, Any],
    class_names: Sequence[str] | None = None,
    splits: Mapping[str, str] | None = None,
    fractions: Mapping[str, Any] | None = None,
    conditions: Sequence[str] = (),
    size: Sequence[int] | None = None,
    normalise: str | Mapping[str, str] = "standard",
    resize: Mapping[str, str] | None = None,
    on_fault: str = "refuse",
    attribution: str | None = None,
    synthetic: bool = False,
    cache_bytes: int = GIB,
    stats_samples: int = 500,
    thorough: bool = False,
) -> list[str]:
    """All faults of a folder at once, one line each, many alike counted; [] where all is well.

    Args:
        root: the folder; the other options are told above.
        thorough: also read every pixel of the samples with sound headers; otherwise files and headers only.

    Returns:
        Lines that name the path, what was expected and what was found. Where faulty samples are to be dropped,
        faults of samples are told only with `thorough`.
    """
    layout = make_layout(
        root,
        modalities=modalities,
        labels=labels,
        class_names=class_names,
        splits=splits,
        fractions=fractions,
        conditions=conditions,
        size=size,
        normalise=normalise,
        resize=resize,
    )
    problems = layout_problems(layout)
    if problems:
        return problems
    folder = _read_folder(layout)
    faults = list(folder.faults)
    if not thorough and on_fault == "drop":
        return tell(folder.drop(faults) + _emptied(folder))
    if thorough and folder.shape is not None:
        folder.drop(faults)
        faults += scan(SampleReader(layout, folder.shape), folder.samples, [])[1]
    return tell(faults)


def open_image_folder(
    root: Path,
    *,
    modalities: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, Any],
    class_names: Sequence[str] | None = None,
    splits: Mapping[str, str] | None = None,
    fractions: Mapping[str, Any] | None = None,
    conditions: Sequence[str] = (),
    size: Sequence[int] | None = None,
    normalise: str | Mapping[str, str] = "standard",
    resize: Mapping[str, str] | None = None,
    on_fault: str = "refuse",
    attribution: str | None = None,
    synthetic: bool = False,
    cache_bytes: int = GIB,
    stats_samples: int = 500,
) -> SegmentationData:
    """A folder of images as a dataset.

    Args:
        root: the folder; the other options are told above, and:
        attribution: whom the data come from.
        cache_bytes: a split that takes at most so many bytes when decoded (in the types of its files) is kept in
            memory; a larger one is read from its files, sample by sample.
        stats_samples: at most so many training samples, evenly spaced, give mean and deviation.

    Raises:
        DataError: all faults found, one line each, as `check_image_folder` words them. Pixels are read here for
            splits that are kept in memory and for the statistics, with `on_fault` "drop" for all samples, and
            otherwise when a sample is asked for.
    """
    layout = make_layout(
        root,
        modalities=modalities,
        labels=labels,
        class_names=class_names,
        splits=splits,
        fractions=fractions,
        conditions=conditions,
        size=size,
        normalise=normalise,
        resize=resize,
    )
    problems = layout_problems(layout)
    if problems:
        raise DataError(problems)
    opened, notes, content = _open_splits(layout, on_fault == "drop", cache_bytes, stats_samples)
    colours = layout.rule.colours
    return SegmentationData(
        name="image_folder",
        modalities={name: len(channels) for name, channels in opened.shape.channels.items()},
        class_names=layout.class_names,
        ignore_label=layout.rule.ignore_label,
        splits=opened.splits,
        synthetic=synthetic or opened.marked,
        attribution=attribution,
        content=content,
        colours=tuple((c[0], c[1], c[2]) for c in colours if c) if colours and all(colours) else None,
        notes=notes,
    )


@dataclass
class _Opened:
    splits: dict[str, Split]
    shape: Shape
    marked: bool


def _open_splits(
    layout: FolderLayout, drop: bool, cache_bytes: int, stats_samples: int
) -> tuple[_Opened, tuple[str, ...], tuple[Path, ...]]:
    """Reads what must be read at the start; a DataError with all that is wrong with it."""
    folder = _read_folder(layout)
    left = folder.drop(folder.faults) if drop else folder.faults
    if left or folder.shape is None:
        raise DataError(tell(left or folder.faults))
    reader = SampleReader(layout, folder.shape)
    standard = "standard" in layout.normalise.values()
    counted = _sampled(folder.found.splits.get("train", []), stats_samples) if standard else []
    moments, faults = scan(reader, folder.samples if drop else [], counted)
    if drop:
        folder.drop(faults)
    left = _emptied(folder) if drop else faults
    if left:
        raise DataError(tell(left))
    scaling = scalings(layout.normalise, folder.shape, moments)
    splits: dict[str, Split] = {}
    problems: list[str] = []
    for name, samples in folder.found.splits.items():
        kind = KeptSplit if len(samples) * folder.shape.nbytes <= cache_bytes else FolderSplit
        try:
            splits[name] = kind(samples, reader, scaling)
        except DataError as fault:
            problems.extend(fault.problems)
    if problems:
        raise DataError(problems)
    files = {path for sample in folder.samples for path in sample.files.values()}
    content = (*sorted(files), *folder.found.lists)
    opened = _Opened(splits, folder.shape, marked(layout.root, (sample.files for sample in folder.samples)))
    return opened, _note(folder, faults) if drop else (), content


def _emptied(folder: _Folder) -> list[Fault]:
    """Splits of which nothing is left."""
    faults = []
    for split in [split for split, samples in folder.found.splits.items() if not samples]:
        line = f"{split}: expected samples without a fault, found none (`on_fault: refuse` lists the faults)"
        faults.append(Fault("splits without samples", line))
    return faults


def _note(folder: _Folder, later: Sequence[Fault]) -> tuple[str, ...]:
    """A sentence on the samples that were dropped."""
    dropped = {fault.sample for fault in [*folder.faults, *later] if fault.sample is not None}
    if not dropped:
        return ()
    kept = len(folder.samples)
    count = ", ".join(
        f"{split} {number}"
        for split in ("train", "val", "test")
        if (number := sum(1 for at in dropped if at[0] == split))
    )
    were = "was" if len(dropped) == 1 else "were"
    return (f"{len(dropped)} of {kept + len(dropped)} samples {were} left out for faulty files ({count}).",)


def _sampled(samples: Sequence[Sample], number: int) -> list[Sample]:
    """At most `number` of the samples, evenly spaced."""
    if len(samples) <= number or number < 1:
        return list(samples)
    return [samples[round(i * (len(samples) - 1) / max(1, number - 1))] for i in range(number)]
