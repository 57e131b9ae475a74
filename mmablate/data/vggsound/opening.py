"""VGGSound as a dataset: which of its classes a clip of a video shows and lets hear.

Chen et al. 2020, "VGGSound: A Large-Scale Audio-Visual Dataset". The layout is that of the code of "The Modality
Focusing Hypothesis" (Xue et al. 2023), whose departures from itself are not repeated: sound is resized to one
length in training and in test, either form of a file may lie in either split, and the class map is a file of the
user's. There is no validation split upstream; one is carved out of train, by source video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmablate.data.base import ClassificationData, Split
from mmablate.data.clips import Clip, ClipSplit, MediaReader, Scaled, file_faults, kept, sound_clips
from mmablate.data.faults import Fault, FileFault, counted, told
from mmablate.data.image_folder.images import UnreadableImage, read_header
from mmablate.data.image_folder.marks import marked
from mmablate.data.image_folder.splits import IMAGENET_MEAN, IMAGENET_STD
from mmablate.data.vggsound.finding import AUDIO, VIDEO, carve, find_clips, read_classes
from mmablate.data.vggsound.media import Frames, Size, Sound
from mmablate.data.video import media_files
from mmablate.errors import DataError

ATTRIBUTION = "VGGSound (Chen et al. 2020, CC BY 4.0)"
SYNTHETIC = "synthetic clips by mmablate data make vggsound"
PUBLISHED_FRAMES, PUBLISHED_FRAME = 32, (256, 256)


@dataclass
class Survey:
    """What a look at the names gives."""

    clips: dict[str, list[Clip]]
    readers: dict[str, MediaReader]
    faults: list[Fault]
    classes: dict[str, int]
    notes: list[str]
    content: tuple[Path, ...]
    synthetic: bool


def check_vggsound(
    root: Path,
    *,
    modalities: Sequence[str],
    classes: str = "vggsound_classes.json",
    val_fraction: float = 0.1,
    split_seed: int = 0,
    frames: int | None = None,
    size: Sequence[int] | None = None,
    audio_size: Sequence[int] = (513, 313),
    loudness: str = "magnitude",
    on_fault: str = "refuse",
    thorough: bool = False,
) -> list[str]:
    """All faults of a folder, one line each; [] where all is well. Arguments as of `open_vggsound`.

    Args:
        thorough: read every file; otherwise names and the class map only.
    """
    try:
        found = _survey(Path(root), modalities, classes, val_fraction, split_seed, frames, size, audio_size, loudness)
    except DataError as error:
        return error.problems
    faults = list(found.faults)
    if thorough:
        faulty = {fault.scene for fault in faults}
        for clips in found.clips.values():
            faults += file_faults([clip for clip in clips if clip.id not in faulty], found.readers)
    return told(faults)


def open_vggsound(
    root: Path,
    *,
    modalities: Sequence[str],
    classes: str = "vggsound_classes.json",
    val_fraction: float = 0.1,
    split_seed: int = 0,
    frames: int | None = None,
    size: Sequence[int] | None = None,
    audio_size: Sequence[int] = (513, 313),
    loudness: str = "magnitude",
    on_fault: str = "refuse",
    cache_bytes: int = 1 << 30,
) -> ClassificationData:
    """VGGSound, or a mini set in its layout.

    Args:
        root: folder with train and test; in each video_jpg or video (mp4 files, folders of frames), audio_npy or
            audio (wav files).
        modalities: some of "audio" (1, rows, columns) and "video" (3, frames, height, width), in the order wanted.
        classes: JSON file of class name -> number, below `root` or a path of its own. The class of a clip is the
            part of its name between the last two "_".
        val_fraction: share of train's source videos whose clips validate; 0 for no validation split.
        split_seed: of that draw.
        frames: of a clip. None: as many squares as the first image of video_jpg holds; 32 where there is none.
        size: height and width of a frame. None: those of the first image, square; 256 x 256 where there is none.
        audio_size: rows and columns of spectrograms, resized bilinearly where they have others.
        loudness: "magnitude" as published, or "log" for log(1 + magnitude).
        on_fault: "refuse" any faulty clip, or "drop" it with a note; to drop, every file is read once.
        cache_bytes: a split that takes at most so many bytes is kept in memory; a larger one is read from its
            files batch by batch.

    Raises:
        DataError: all faults found in names and the class map; files are looked at when they are read.
        MissingExtra: mp4 files without PyAV.
    """
    found = _survey(Path(root), modalities, classes, val_fraction, split_seed, frames, size, audio_size, loudness)
    usable, dropped = sound_clips(Path(root), found.clips, found.readers, found.faults, drop=on_fault == "drop")
    readers = {name: _scaled(name, found.readers[name]) for name in modalities}
    splits: dict[str, Split] = {split: kept(ClipSplit(clips, readers), cache_bytes) for split, clips in usable.items()}
    return ClassificationData(
        name="vggsound",
        modalities={name: readers[name].shape for name in modalities},
        class_names=tuple(sorted(found.classes, key=lambda name: found.classes[name])),
        splits=splits,
        synthetic=found.synthetic,
        attribution=SYNTHETIC if found.synthetic else ATTRIBUTION,
        content=found.content,
        notes=(*found.notes, *dropped),
    )


def _survey(
    root: Path,
    modalities: Sequence[str],
    classes: str,
    val_fraction: float,
    split_seed: int,
    frames: int | None,
    size: Sequence[int] | None,
    audio_size: Sequence[int],
    loudness: str,
) -> Survey:
    """Looks at names and the class map. Raises DataError where no clip can be told."""
    place = root / Path(classes).expanduser()
    numbers = read_classes(place)
    train, faults = find_clips(root, "train", modalities, numbers)
    test, more = find_clips(root, "test", modalities, numbers)
    faults += more
    if not train or not test:
        raise DataError(told(faults))
    left, val = carve(train, val_fraction, split_seed)
    if not left or (val_fraction > 0 and not val):
        text = f"two source videos in train, one to validate on (val_fraction {val_fraction:g}), found one"
        raise DataError(f"{root}: expected {text}: {train[0].group}")
    clips = {"train": left, **({"val": val} if val_fraction > 0 else {}), "test": test}
    every = [clip for clip in (*train, *test) if clip.id not in {fault.scene for fault in faults}]
    readers: dict[str, MediaReader] = {}
    for name in modalities:
        if name == AUDIO:
            readers[name] = Sound((int(audio_size[0]), int(audio_size[1])), loudness == "log")
        else:
            wanted = None if size is None else (int(size[0]), int(size[1]))
            found_frames, found_size = _first_image(every, faults)
            readers[name] = Frames(frames or found_frames, wanted or found_size, wanted is not None)
    files = [file for clip in every for path in clip.files.values() for file in media_files(path)]
    firsts = [{name: media_files(path)[0] for name, path in clip.files.items() if media_files(path)} for clip in every]
    notes = _notes(train, val, test, val_fraction)
    return Survey(clips, readers, faults, numbers, notes, (*files, place), marked(root, firsts))


def _first_image(clips: Sequence[Clip], faults: list[Fault]) -> tuple[int, Size]:
    """Number and size of the square frames of the first image of video_jpg that can be read."""
    for clip in clips:
        path = clip.files[VIDEO]
        if path.suffix.lower() == ".jpg" and path.is_file():
            try:
                header = read_header(path, "colours")
            except UnreadableImage as error:
                faults.append(Fault.of(FileFault(path, str(error), "unreadable images"), clip.id))
                continue
            return max(1, header.height // header.width), (header.width, header.width)
    return PUBLISHED_FRAMES, PUBLISHED_FRAME


def _notes(train: Sequence[Clip], val: Sequence[Clip], test: Sequence[Clip], fraction: float) -> list[str]:
    notes = []
    if fraction > 0:
        videos = counted(len({clip.group for clip in val}), "source video")
        notes.append(f"Validation: {len(val)} of the {len(train)} training clips, those of {videos}.")
    shared = {clip.group for clip in train} & {clip.group for clip in test}
    if shared:
        notes.append(f"{counted(len(shared), 'source video', 'has', 'have')} clips in train and in test.")
    return notes


def _scaled(name: str, reader: MediaReader) -> MediaReader:
    return reader if name == AUDIO else Scaled(reader, IMAGENET_MEAN, IMAGENET_STD)
