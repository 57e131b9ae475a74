"""What the lists and folders of a set say of its clips, before any file of them is opened."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmablate.data.faults import Fault, counted
from mmablate.data.untrusted import is_utf8
from mmablate.data.video import ALL_VIDEOS, has_frames
from mmablate.errors import DataError

AUDIO, VISUAL = "audio", "visual"
TRAIN, VAL, TEST = "train", "val", "test"
SOUNDS = (".wav",)
NAMED = 5  # names that a message lists


@dataclass(frozen=True)
class Listed:
    """One clip of a list.

    Attributes:
        id: of the clip.
        label: key of its class (see `class_key`).
        split: "train", "val" or "test".
        group: speaker or source video; clips of one group are never parted by a split made here.
        place: file and line, or folder, for messages.
        key: what its files are found under; its id where that is unique.
    """

    id: str
    label: str
    split: str
    group: str
    place: str
    key: str


@dataclass
class Listing:
    """A set as its names tell it.

    Attributes:
        home: the set's own folder.
        clips: of all lists, in order.
        classes: key -> name as it is shown, in the order of the labels.
        files: modality -> key of a clip -> its file, or folder of frames.
        looked: modality -> where they were looked for, for messages.
        sources: split -> list or folder that it comes from, for messages.
        lists: the list files read.
        faults: lines and names that could not be used.
        notes: for every table.
        unit: what a group of clips is, of which none is in train and in a split that is made here.
    """

    home: Path
    clips: list[Listed]
    classes: dict[str, str]
    files: dict[str, dict[str, Path]]
    looked: dict[str, str]
    sources: dict[str, str]
    lists: list[Path] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unit: str = "source video"


def class_key(name: str) -> str:
    """What all spellings of a class have in common: spaces for underscores, one at a time, no capitals."""
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").split()).casefold()


def class_table(names: Iterable[str], place: str) -> dict[str, str]:
    """Key -> name as written, in order, of a list of classes.

    Raises:
        DataError: a class that is there twice, in two spellings too, one whose name cannot be written, or fewer than
            two.
    """
    table: dict[str, str] = {}
    for name in names:
        key = class_key(name)
        if not is_utf8(name):
            raise DataError(f"{place}: expected names of classes in UTF-8, found {name!a}")
        if key in table:
            raise DataError(f"{place}: expected each class once, found {table[key]!r} and {name!r}")
        table[key] = name
    if len(table) < 2:
        raise DataError(f"{place}: expected at least two classes, found {len(table)}")
    return table


def find_home(root: Path, name: str, marks: Sequence[str]) -> Path:
    """The set's own folder: the folder `name` of the root, or the root itself where it holds one of the marks.

    Raises:
        DataError: neither.
    """
    if (root / name).is_dir():
        return root / name
    if any((root / mark).is_dir() for mark in marks):
        return root
    raise DataError(f"{root}: expected the folder {name}, or {' or '.join(marks)}, found none of them")


def find_list(name: str, places: Sequence[Path]) -> Path | None:
    """The first file of that name."""
    return next((place / name for place in places if (place / name).is_file()), None)


def list_places(root: Path, home: Path, lists: str | None) -> list[Path]:
    """Where lists are looked for: the folder that the option names, else the set's own one and the root.

    Raises:
        DataError: the option names no folder.
    """
    if lists is None:
        return [home] if home == root else [home, root]
    place = root / Path(lists).expanduser()
    if not place.is_dir():
        raise DataError(f"{place}: expected a folder of lists (option `lists`), found none")
    return [place]


def sounds_in(folder: Path) -> dict[str, Path]:
    """Stem -> wav file of a folder; {} where there is no such folder."""
    return {path.stem: path for path in entries(folder) if path.suffix.lower() in SOUNDS and path.is_file()}


def visuals_in(folder: Path) -> dict[str, Path]:
    """Stem -> folder of frames, or video file where there is none; a folder may be called as a video is."""
    found: dict[str, Path] = {}
    for path in entries(folder):
        video = path.suffix.lower() in ALL_VIDEOS
        stem = path.stem if video else path.name
        if path.is_dir():
            if stem not in found or not is_bare(path):
                found[stem] = path
        elif video and (stem not in found or is_bare(found[stem])):
            found[stem] = path
    return found


def is_bare(path: Path) -> bool:
    """Whether a clip's path is a folder without a frame, which must hide no video of the same clip."""
    return path.is_dir() and not has_frames(path)


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, hidden things left out; [] where there is no such folder."""
    if not folder.is_dir():
        return []
    return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]


def first_of(found: Iterable[Mapping[str, Path]]) -> dict[str, Path]:
    """Of several places the first that has a clip; a folder without a frame only where no other place has it."""
    joined: dict[str, Path] = {}
    for files in found:
        for stem, path in files.items():
            if stem not in joined or is_bare(joined[stem]):
                joined[stem] = path
    return joined


def shown(names: Iterable[str]) -> str:
    """The first few names, and how many others there are."""
    told = list(names)
    more = f" and {len(told) - NAMED} others" if len(told) > NAMED else ""
    return ", ".join(told[:NAMED]) + more


def check_classes(listing: Listing) -> None:
    """Refuses train and test whose classes differ; notes the classes that have no clip at all.

    Raises:
        DataError: a class of one that the other lacks, all of them in one message; or fewer than two classes.
    """
    if len(listing.classes) < 2:
        told = shown(listing.classes.values())
        raise DataError(f"{listing.home}: expected at least two classes, found {len(listing.classes)}: {told}")
    found = {split: {clip.label for clip in listing.clips if clip.split == split} for split in (TRAIN, VAL, TEST)}
    lacking = []
    for split, other in ((TRAIN, TEST), (TEST, TRAIN), (VAL, TRAIN)):
        only = [name for key, name in listing.classes.items() if key in found[split] - found[other]]
        if only:
            lacking.append(f"in {listing.sources[split]} but not in {listing.sources[other]}: {shown(only)}")
    if lacking:
        raise DataError(f"{listing.home}: expected the same classes in train and test, found {'; '.join(lacking)}")
    empty = [name for key, name in listing.classes.items() if key not in found[TRAIN]]
    if empty:
        listing.notes.append(f"{len(empty)} of the {len(listing.classes)} classes have no clip: {shown(empty)}.")


def settle(listing: Listing) -> None:
    """Leaves every clip once: the first row of a list counts, and test keeps what train or val name too.

    What was left out is told in notes; nothing of a clip that tests is trained on.
    """
    rank = {TEST: 0, VAL: 1, TRAIN: 2}
    kept: dict[str, Listed] = {}
    again = relabelled = moved = 0
    for clip in listing.clips:
        other = kept.setdefault(clip.id, clip)
        if other is clip:
            continue
        if other.split == clip.split:
            again += 1
            relabelled += other.label != clip.label
        else:
            moved += 1
            kept[clip.id] = min(other, clip, key=lambda each: rank[each.split])
    if again:
        more = f", {relabelled} of them with another class" if relabelled else ""
        listing.notes.append(f"{counted(again, 'row', 'names', 'name')} a clip again{more}; the first one counts.")
    if moved:
        stay = "it stays" if moved == 1 else "they stay"
        listing.notes.append(
            f"{counted(moved, 'clip', 'is', 'are')} listed in two splits; {stay} in test (or val) alone."
        )
    listing.clips = list(kept.values())


def note_shared_sources(listing: Listing) -> None:
    """Notes source videos of which lists or folders put clips into train and into another split."""
    groups = {split: {clip.group for clip in listing.clips if clip.split == split} for split in (TRAIN, VAL, TEST)}
    shared = groups[TRAIN] & (groups[VAL] | groups[TEST])
    if shared:
        videos = counted(len(shared), "source video", "has", "have")
        listing.notes.append(f"{videos} clips in train and in another split, as the set ships them.")
