"""RAVDESS as a dataset: 8 acted emotions by their sound and a picture of the actor.

Livingstone and Russo 2018, "The Ryerson Audio-Visual Database of Emotional Speech and Song". Two forms are read:
the arrays and images that the code of "The Modality Focusing Hypothesis" (Xue et al. 2023) reads, and the media
as RAVDESS hands them out. Departures from that code: the splits are of different actors by default; no column of
the features is exchanged for another (its swap of colours is applied to sound too); batches are shuffled in
training alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmablate.data.base import ClassificationData, Split
from mmablate.data.clips import Clip, ClipSplit, MediaReader, Scaled, file_faults, kept, measured, sound_clips
from mmablate.data.faults import Fault, FileFault, counted, told
from mmablate.data.image_folder.marks import marked
from mmablate.data.image_folder.splits import IMAGENET_MEAN, IMAGENET_STD
from mmablate.data.ravdess.features import ArraySound, Picture, Size, WaveSound, array_size, other_size, picture_size
from mmablate.data.ravdess.finding import ARRAYS, AUDIO, IMAGE, Found, find_arrays, find_media
from mmablate.data.ravdess.speakers import Choice, deal_actors
from mmablate.data.ravdess.tables import FOLDER, TABLES
from mmablate.data.video import media_files
from mmablate.errors import DataError

ATTRIBUTION = "RAVDESS (Livingstone and Russo 2018, CC BY-NC-SA 4.0)"
SYNTHETIC = "synthetic clips by mmablate data make ravdess"
SPLITS = ("train", "val", "test")
AUDIO_MEAN, AUDIO_STD = -10.59, 85.66  # of the published arrays, as their code scales them
MEDIA_SIZES: dict[str, Size] = {AUDIO: (40, 256), IMAGE: (256, 512)}  # of the published arrays
STATS_CLIPS = 300


@dataclass(frozen=True)
class Reading:
    """The options of `open_ravdess`."""

    modalities: tuple[str, ...]
    layout: str
    split: str
    val_actors: Choice
    test_actors: Choice
    split_seed: int
    channel: str
    sizes: Mapping[str, Size | None]
    features: str


@dataclass
class Survey:
    """What a look at names and headers gives."""

    root: Path
    clips: dict[str, list[Clip]]
    readers: dict[str, MediaReader]
    faults: list[Fault]
    class_names: tuple[str, ...]
    notes: list[str]
    content: tuple[Path, ...]
    synthetic: bool


def check_ravdess(
    root: Path,
    *,
    modalities: Sequence[str],
    layout: str = "auto",
    split: str = "speaker",
    val_actors: Choice = None,
    test_actors: Choice = None,
    split_seed: int = 0,
    channel: str = "speech",
    size: Sequence[int] | None = None,
    audio_size: Sequence[int] | None = None,
    features: str = "mfcc",
    normalise: str = "published",
    on_fault: str = "refuse",
    thorough: bool = False,
) -> list[str]:
    """All faults of a folder, one line each; [] where all is well. Arguments as of `open_ravdess`.

    Args:
        thorough: read every file; otherwise names, tables and headers only.
    """
    reading = _reading(
        modalities, layout, split, val_actors, test_actors, split_seed, channel, size, audio_size, features
    )
    try:
        found = survey(Path(root), reading)
    except DataError as error:
        return error.problems
    faults = list(found.faults)
    if thorough:
        faulty = {fault.scene for fault in faults}
        for clips in found.clips.values():
            faults += file_faults([clip for clip in clips if clip.id not in faulty], found.readers)
    return told(faults)


def open_ravdess(
    root: Path,
    *,
    modalities: Sequence[str],
    layout: str = "auto",
    split: str = "speaker",
    val_actors: Choice = None,
    test_actors: Choice = None,
    split_seed: int = 0,
    channel: str = "speech",
    size: Sequence[int] | None = None,
    audio_size: Sequence[int] | None = None,
    features: str = "mfcc",
    normalise: str = "published",
    on_fault: str = "refuse",
    cache_bytes: int = 1 << 31,
) -> ClassificationData:
    """RAVDESS, or a mini set in its layout, with 8 emotions as classes.

    Args:
        root: folder of aud_features, vid_features and data_file, or one with folders Actor_XX somewhere below.
        modalities: some of "audio" (1, rows, columns) and "image" (3, height, width), in the order wanted.
        layout: "arrays", "media", or "auto": whichever is there.
        split: "speaker": actors of one split are in no other; "published": that of data_file/spa_*.csv.
        val_actors, test_actors, split_seed: see `deal_actors`.
        channel: "speech", "song" or "all", of media.
        size: height and width of pictures. None: arrays as they are, which must be one size; media 256 x 512.
        audio_size: rows and columns of the sound. None: as they are; media (40, 256). For media, more columns
            take in more of the clip, and more rows are more coefficients; arrays are resized.
        features: "mfcc" or "logmel", of media; see `WaveSound`.
        normalise: "published": sound (x + 10.59) / 85.66, pictures by ImageNet's mean and deviation; "standard":
            mean 0 and deviation 1 per channel over at most 300 training clips, evenly spaced; "none": sound as it
            is, pictures 0-1.
        on_fault: "refuse" any faulty clip, or "drop" it with a note; to drop, every file is read once.
        cache_bytes: a split that takes at most so many bytes is kept in memory.

    Raises:
        DataError: all faults found in names, tables and headers; values are looked at when they are read.
        MissingExtra: mp4 files without PyAV.
    """
    reading = _reading(
        modalities, layout, split, val_actors, test_actors, split_seed, channel, size, audio_size, features
    )
    found = survey(Path(root), reading)
    usable, dropped = sound_clips(found.root, found.clips, found.readers, found.faults, drop=on_fault == "drop")
    readers = {name: _scaled(name, found.readers[name], normalise, usable["train"]) for name in reading.modalities}
    splits: dict[str, Split] = {
        split_name: kept(ClipSplit(clips, readers), cache_bytes) for split_name, clips in usable.items()
    }
    return ClassificationData(
        name="ravdess",
        modalities={name: readers[name].shape for name in reading.modalities},
        class_names=found.class_names,
        splits=splits,
        synthetic=found.synthetic,
        attribution=SYNTHETIC if found.synthetic else ATTRIBUTION,
        content=found.content,
        notes=(*found.notes, *dropped),
    )


def _reading(
    modalities: Sequence[str],
    layout: str,
    split: str,
    val_actors: Choice,
    test_actors: Choice,
    split_seed: int,
    channel: str,
    size: Sequence[int] | None,
    audio_size: Sequence[int] | None,
    features: str,
) -> Reading:
    def pair(value: Sequence[int] | None) -> Size | None:
        return None if value is None else (int(value[0]), int(value[1]))

    sizes = {AUDIO: pair(audio_size), IMAGE: pair(size)}
    return Reading(tuple(modalities), layout, split, val_actors, test_actors, split_seed, channel, sizes, features)


def survey(root: Path, reading: Reading) -> Survey:
    """Looks at names, tables and headers.

    Raises:
        DataError: no clips, no speakers to split by, or too few of them.
    """
    arrays = _layout(root, reading.layout) == "arrays"
    if arrays:
        found = find_arrays(root, reading.modalities)
    else:
        found = find_media(root, reading.modalities, reading.channel, tables=reading.split == "published")
    if not found.clips:
        where = f"{FOLDER}/{TABLES['train']}" if arrays else "folders Actor_XX"
        raise DataError(told(found.faults) or f"{root}: expected clips in {where}, found none")
    sound = [clip for _, clip in found.clips if clip.id not in {fault.scene for fault in found.faults}]
    readers = {name: _reader(name, arrays, sound, reading, found.faults) for name in reading.modalities}
    clips, notes = _published(found) if reading.split == "published" else _by_speaker(root, found, reading)
    everything = [path for _, clip in found.clips for path in clip.files.values()]
    files = [file for path in everything for file in media_files(path)]
    tables = [root / FOLDER / name for name in TABLES.values() if (root / FOLDER / name).is_file()]
    synthetic = marked(root, [{name: media_files(p)[0] for name, p in clip.files.items()} for clip in sound])
    return Survey(root, clips, readers, found.faults, found.class_names, notes, (*files, *tables), synthetic)


def _layout(root: Path, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    arrays = any((root / folder).is_dir() for folder in ARRAYS.values())
    media = any(path.is_dir() for path in root.glob("**/Actor_[0-9][0-9]"))
    if arrays and media:
        raise DataError(f"{root}: expected arrays or media, found both; say `layout: arrays` or `layout: media`")
    if not arrays and not media:
        raise DataError(
            f"{root}: expected folders {', '.join(ARRAYS.values())} and {FOLDER}, or Actor_XX, found neither"
        )
    return "arrays" if arrays else "media"


def _reader(name: str, arrays: bool, clips: Sequence[Clip], reading: Reading, faults: list[Fault]) -> MediaReader:
    """The reader of a modality; files of another size than most become faults where no size was asked for."""
    size = reading.sizes[name]
    fixed = size is not None or not arrays
    if not arrays:
        size = size or MEDIA_SIZES[name]
    measure = array_size if name == AUDIO else picture_size
    sizes = _sizes(name, clips, measure, faults) if arrays else {}
    common = size or (Counter(sizes.values()).most_common(1)[0][0] if sizes else (1, 1))
    if not fixed:
        option = "audio_size" if name == AUDIO else "size"
        others = [clip for clip in clips if sizes.get(clip.id, common) != common]
        faults.extend(Fault.of(other_size(c.files[name], sizes[c.id], common, option), c.id) for c in others)
    if name == IMAGE:
        return Picture(common, fixed)
    return ArraySound(common, fixed) if arrays else WaveSound(common, reading.features)


def _sizes(name: str, clips: Sequence[Clip], measure: Callable[[Path], Size], faults: list[Fault]) -> dict[str, Size]:
    sizes = {}
    for clip in clips:
        try:
            sizes[clip.id] = measure(clip.files[name])
        except FileFault as error:
            faults.append(Fault.of(error, clip.id))
    return sizes


def _published(found: Found) -> tuple[dict[str, list[Clip]], list[str]]:
    """The split of the tables, and what it leaks."""
    clips = {split: [clip for at, clip in found.clips if at == split] for split in SPLITS}
    speakers = {split: {clip.group for clip in members} for split, members in clips.items()}
    if None in set().union(*speakers.values()):
        leak = "the files' names do not tell whether speakers of test are in train too"
    else:
        shared = speakers["test"] & speakers["train"]
        leak = f"{len(shared)} of the {len(speakers['test'])} speakers of test are in train too"
    notes = [f"Published split: {leak}."]
    train = {clip.id for clip in clips["train"]}
    twice = sum(clip.id in train for split in ("val", "test") for clip in clips[split])
    if twice:
        are = "is" if twice == 1 else "are"
        notes.append(f"Published split: {counted(twice, 'clip')} of validation and test {are} in train too.")
    return clips, notes


def _by_speaker(root: Path, found: Found, reading: Reading) -> tuple[dict[str, list[Clip]], list[str]]:
    """Clips dealt by actor; a clip that the tables name in two splits counts once."""
    distinct: dict[str, Clip] = {}
    for _, clip in found.clips:
        if distinct.setdefault(clip.id, clip).label != clip.label:
            text = f"{root / FOLDER}: expected one label of {clip.id}, found {distinct[clip.id].label} and {clip.label}"
            found.faults.append(Fault(text, "clips with two labels", clip.id))
    unknown = [clip for clip in distinct.values() if clip.group is None]
    if unknown:
        raise DataError(
            f"{root}: expected names of seven fields, whose last is the speaker, found {unknown[0].id} "
            f"({len(unknown)} such): clips whose speakers are not known cannot be split by speaker; "
            f"`split: published` takes the split of {FOLDER}"
        )
    actors = {int(clip.group) for clip in distinct.values() if clip.group is not None}
    try:
        dealt = deal_actors(actors, reading.val_actors, reading.test_actors, reading.split_seed)
    except ValueError as error:
        raise DataError(f"{root}: {error}") from None
    clips = {split: [c for c in distinct.values() if dealt[int(c.group or 0)] == split] for split in SPLITS}
    counts = {split: sum(1 for at in dealt.values() if at == split) for split in SPLITS}
    text = f"Split by speaker: {counts['train']} actors train, {counts['val']} validate, {counts['test']} test."
    return clips, [text]


def _scaled(name: str, reader: MediaReader, normalise: str, train: Sequence[Clip]) -> MediaReader:
    if normalise == "standard":
        at = np.linspace(0, len(train) - 1, min(len(train), STATS_CLIPS)).round().astype(int)
        return measured(reader, [train[i].files[name] for i in at])
    if normalise == "none":
        return reader
    if name == AUDIO:
        return Scaled(reader, (AUDIO_MEAN,), (AUDIO_STD,))
    return Scaled(reader, IMAGENET_MEAN, IMAGENET_STD)
