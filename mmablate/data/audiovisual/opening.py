"""The audio-visual sets as datasets: opened, or checked for faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.data.audiovisual import ave, cremad, kinetics_sounds, vggsound
from mmablate.data.audiovisual.listing import (
    TEST,
    TRAIN,
    VAL,
    VISUAL,
    Listing,
    check_classes,
    note_shared_sources,
    settle,
    shown,
)
from mmablate.data.audiovisual.pairing import check_modalities, pair
from mmablate.data.audiovisual.reading import MODALITIES, Layout, Reading
from mmablate.data.base import ClassificationData, Split
from mmablate.data.carving import carve
from mmablate.data.clips import Clip, ClipSplit, MediaReader, Scaled, file_faults, kept, measured, sound_clips
from mmablate.data.faults import Fault, counted, told
from mmablate.data.image_folder.marks import marked
from mmablate.data.image_folder.splits import IMAGENET_MEAN, IMAGENET_STD
from mmablate.data.video import media_files
from mmablate.errors import DataError

STATS_CLIPS = 1_000
MARKED_CLIPS = 2_000
"""Of a larger set, so many clips are looked at for the mark of generated ones; every folder has it too."""


@dataclass
class Survey:
    """What a look at lists and folders gives."""

    clips: dict[str, list[Clip]]
    readers: dict[str, MediaReader]
    faults: list[Fault]
    class_names: tuple[str, ...]
    notes: list[str]
    content: tuple[Path, ...]
    synthetic: bool


def check_set(
    layout: Layout, root: Path, *, modalities: Sequence[str], thorough: bool = False, **options: Any
) -> list[str]:
    """All faults of a folder, one line each; [] where all is well. Arguments as of `open_set`.

    Args:
        thorough: read every file; otherwise names and lists only.
    """
    try:
        found = survey(layout, Path(root), modalities, layout.reading(options))
    except DataError as error:
        return error.problems
    faults = list(found.faults)
    if thorough:
        for clips in found.clips.values():
            faults += file_faults(clips, found.readers)
    return told(faults)


def open_set(
    layout: Layout,
    root: Path,
    *,
    modalities: Sequence[str],
    cache_bytes: int = 1 << 30,
    **options: Any,
) -> ClassificationData:
    """A set, or a mini set in its layout.

    Args:
        layout: of the set.
        root: the set's own folder, or the one that holds it.
        modalities: some of "audio" (1, frequencies, times) and "visual" (3, frames, height, width), in the order
            wanted.
        cache_bytes: a split that takes at most so many bytes is kept in memory; a larger one is read from its
            files batch by batch.
        options: those of `Reading`, over the published ones of the layout.

    Raises:
        DataError: all faults found in lists and folders, or a class of which none is left to train on; files are
            looked at when they are read.
        MissingExtra: video files without PyAV.
        TypeError: no such option.
    """
    reading = layout.reading(options)
    found = survey(layout, Path(root), modalities, reading)
    usable, dropped = sound_clips(Path(root), found.clips, found.readers, found.faults, drop=reading.on_fault == "drop")
    trained = {clip.label for clip in found.clips[TRAIN]}
    _check_trained(Path(root), found.class_names, trained, usable, "for faulty files")
    readers = {name: _scaled(name, found.readers[name], usable[TRAIN], reading) for name in modalities}
    splits: dict[str, Split] = {split: kept(ClipSplit(clips, readers), cache_bytes) for split, clips in usable.items()}
    return ClassificationData(
        name=layout.name,
        modalities={name: readers[name].shape for name in modalities},
        class_names=found.class_names,
        splits=splits,
        synthetic=found.synthetic,
        attribution=f"synthetic clips by mmablate data make {layout.name}" if found.synthetic else layout.attribution,
        content=found.content,
        notes=(*found.notes, *dropped),
    )


def survey(layout: Layout, root: Path, modalities: Sequence[str], reading: Reading) -> Survey:
    """Looks at lists and folders. Raises DataError where no clips can be told, or classes do not fit."""
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown:
        raise DataError(f"modalities: {layout.name} has {', '.join(MODALITIES)}, not {', '.join(unknown)}")
    listing = layout.find(root, reading, modalities)
    own_val = VAL in listing.sources and reading.val_fraction > 0
    for split in (TRAIN, TEST, VAL) if own_val else (TRAIN, TEST):
        if not any(clip.split == split for clip in listing.clips):
            lines = told(listing.faults)
            source = listing.sources.get(split, split)
            raise DataError([*lines, f"{listing.home}: expected clips of {split} ({source}), found none"])
    settle(listing)
    try:
        check_classes(listing)
    except DataError as error:  # lines that could not be read may be why
        raise DataError([*told(listing.faults), *error.problems]) from None
    note_shared_sources(listing)
    check_modalities(listing, modalities)
    pairs = pair(listing, modalities, reading.missing)
    clips = {split: [clip for row, clip in pairs if row.split == split] for split in (TRAIN, VAL, TEST)}
    listed = {row.label for row in listing.clips}
    there = {number for number, key in enumerate(listing.classes) if key in listed}
    _check_trained(listing.home, tuple(listing.classes.values()), there, clips, "for a missing modality")
    if VAL not in listing.sources:
        _carve(listing, clips, reading)
    if not clips[VAL] and reading.val_fraction == 0:
        del clips[VAL]
    every = [clip for members in clips.values() for clip in members]
    some = every[:: -(-len(every) // MARKED_CLIPS) or 1]
    firsts = [{name: media_files(path)[0] for name, path in clip.files.items()} for clip in some]
    files = [path for clip in every for path in clip.files.values()]  # a folder stands for its frames
    return Survey(
        clips=clips,
        readers={name: reading.reader(name) for name in modalities},
        faults=listing.faults,
        class_names=tuple(listing.classes.values()),
        notes=listing.notes,
        content=(*files, *listing.lists),
        synthetic=marked(root, firsts),
    )


def _check_trained(
    place: Path, names: Sequence[str], before: set[int], clips: Mapping[str, Sequence[Clip]], why: str
) -> None:
    """Refuses clips to validate or test on of a class that has lost all its training clips, one of `before`."""
    left = {split: {clip.label for clip in own} for split, own in clips.items()}
    lost = (before - left[TRAIN]) & set().union(*(own for split, own in left.items() if split != TRAIN))
    if lost:
        text = f"found none of {shown(names[k] for k in sorted(lost))}: all were dropped {why}"
        raise DataError(f"{place}: expected training clips of every class, {text}")


def _carve(listing: Listing, clips: dict[str, list[Clip]], reading: Reading) -> None:
    """Validation clips out of train, by source video, or by clip where that is what groups are."""
    train = clips[TRAIN]
    if reading.val_fraction == 0 or not train:
        return
    clips[TRAIN], clips[VAL] = carve(train, reading.val_fraction, reading.split_seed)
    if not clips[VAL] or not clips[TRAIN]:
        text = f"two {listing.unit}s in train, one to validate on (val_fraction {reading.val_fraction:g}), found one"
        raise DataError(f"{listing.home}: expected {text}: {train[0].group}")
    groups = counted(len({clip.group for clip in clips[VAL]}), listing.unit)
    those = "" if listing.unit == "clip" else f", those of {groups}"
    listing.notes.append(f"Validation: {len(clips[VAL])} of the {len(train)} training clips{those}.")


def _scaled(name: str, reader: MediaReader, train: Sequence[Clip], reading: Reading) -> MediaReader:
    if reading.standardise:
        paths = [clip.files[name] for clip in train if name in clip.files]
        if not paths:
            return reader
        at = np.linspace(0, len(paths) - 1, min(len(paths), STATS_CLIPS)).round().astype(int)
        return measured(reader, [paths[i] for i in at])
    return Scaled(reader, IMAGENET_MEAN, IMAGENET_STD) if name == VISUAL else reader


open_cremad, check_cremad = partial(open_set, cremad.LAYOUT), partial(check_set, cremad.LAYOUT)
open_kinetics_sounds = partial(open_set, kinetics_sounds.LAYOUT)
check_kinetics_sounds = partial(check_set, kinetics_sounds.LAYOUT)
open_vggsound_av, check_vggsound_av = partial(open_set, vggsound.LAYOUT), partial(check_set, vggsound.LAYOUT)
open_ave, check_ave = partial(open_set, ave.LAYOUT), partial(check_set, ave.LAYOUT)
LAYOUTS = (cremad.LAYOUT, kinetics_sounds.LAYOUT, vggsound.LAYOUT, ave.LAYOUT)
