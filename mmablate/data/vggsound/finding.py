"""The clips of a folder, their classes, and which videos they were cut from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmablate.data.carving import carve
from mmablate.data.clips import Clip
from mmablate.data.faults import Fault
from mmablate.data.untrusted import BROKEN, read_json, reason
from mmablate.data.video import VIDEOS
from mmablate.errors import DataError

__all__ = ["carve", "class_of", "find_clips", "read_classes", "source_of"]

AUDIO, VIDEO = "audio", "video"
FOLDERS = {AUDIO: ("audio_npy", "audio"), VIDEO: ("video_jpg", "video")}
"""Where the files of a modality lie; a clip in both is taken from the first."""
ENDINGS = {"audio_npy": (".npy",), "audio": (".wav",), "video_jpg": (".jpg",), "video": VIDEOS}
WHAT = {AUDIO: "the sound", VIDEO: "the video"}
MOST_BYTES = 1 << 20
YOUTUBE_ID = 11  # letters


def read_classes(path: Path) -> dict[str, int]:
    """Class name -> number of a JSON file; numbers run from 0 without a gap, each once.

    Raises:
        DataError: no such file, or another form.
    """
    form = "a JSON object of class name -> number (option `classes`)"
    try:
        found = read_json(path, MOST_BYTES)
    except BROKEN as error:
        raise DataError(f"{path}: expected {form}, found: {reason(error)}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected {form}, found a JSON {type(found).__name__}")
    for name, number in found.items():
        if type(number) is not int:
            raise DataError(f"{path}: expected a whole number for class {name!r}, found {number!r}")
    if sorted(found.values()) != list(range(len(found))) or len(found) < 2:
        told = sorted(found.values())
        raise DataError(f"{path}: expected the numbers 0 to {max(1, len(found) - 1)}, each once, found {told[:12]}")
    return found


def class_of(stem: str) -> str | None:
    """The part of a name between its last two "_", by which the published code knows the class."""
    parts = stem.split("_")
    return parts[-2] if len(parts) >= 2 else None


def source_of(stem: str) -> str:
    """The video that a clip was cut from: what stands before the class, without a starting second of digits.

    An id of YouTube has 11 letters, "_" among them, and is never cut.
    """
    before = "_".join(stem.split("_")[:-2]) or stem
    return before if len(before) <= YOUTUBE_ID else re.sub(r"_[0-9]{1,6}$", "", before)


def find_clips(
    root: Path, split: str, modalities: Sequence[str], classes: Mapping[str, int]
) -> tuple[list[Clip], list[Fault]]:
    """The clips of "train" or "test", by name; those without a file or a class are faults."""
    files: dict[str, dict[str, Path]] = {}
    for modality in modalities:
        for folder in reversed(FOLDERS[modality]):
            for path in _entries(root / split / folder, ENDINGS[folder]):
                stem = path.stem if path.suffix.lower() in ENDINGS[folder] else path.name
                files.setdefault(stem, {})[modality] = path
    clips, faults = [], []
    for stem, found in sorted(files.items()):
        clip_id = f"{split}/{stem}"
        path = next(iter(found.values()))
        name = class_of(stem)
        if name is None:
            faults.append(Fault(f"{path}: expected a name ..._CLASS_NUMBER, found {stem!r}", "names", clip_id))
        elif name not in classes:
            text = f'{path}: expected a class of the map before the last "_", found {name!r}'
            faults.append(Fault(text, "labels outside of the map", clip_id))
        for modality in modalities:
            if modality not in found:
                places = " or ".join(f"{split}/{folder}" for folder in FOLDERS[modality])
                text = f"{path}: expected {WHAT[modality]} of this clip in {places}, found none"
                faults.append(Fault(text, f"clips without {modality}", clip_id))
        clips.append(Clip(clip_id, classes.get(name or "", 0), found, source_of(stem)))
    if not clips:
        names = ", ".join(f"{split}/{folder}" for modality in modalities for folder in FOLDERS[modality])
        faults.append(Fault(f"{root}: expected clips in {names}, found none", "empty splits"))
    return clips, faults


def _entries(folder: Path, endings: Sequence[str]) -> list[Path]:
    """Files with these endings; of videos, folders of frames too."""
    if not folder.is_dir():
        return []
    frames = endings == VIDEOS
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and (path.suffix.lower() in endings or (frames and path.is_dir()))
    )
