"""Kinetics-Sounds: actions that are seen and heard; Arandjelovic and Zisserman 2017, from Kinetics (Kay et al. 2017).

    kinect_sound/visual/{train_img,val_img}/Image-01-FPS/CLASS/CLIP/*.jpg, or visual/{train,val}/CLASS/CLIP.mp4
    kinect_sound/audio/{train,test}/CLASS/CLIP.wav
    class.txt: the classes in the order of their numbers, between commas or one a line

Sound and pictures of a class may spell it with spaces or underscores. Which 31 to 34 classes there are differs from
copy to copy (methods in the field report 31, 33 and 34): class.txt decides, and must have clips of each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mmablate.data.audiovisual.listing import (
    AUDIO,
    TEST,
    TRAIN,
    VISUAL,
    Listed,
    Listing,
    class_key,
    class_table,
    entries,
    find_home,
    find_list,
    first_of,
    list_places,
    shown,
    sounds_in,
    visuals_in,
)
from mmablate.data.audiovisual.reading import Layout, Reading
from mmablate.data.faults import FileFault, counted
from mmablate.data.lists import read_rows
from mmablate.errors import DataError

NAME = "kinect_sound"
CLASSES = "class.txt"
FOLDERS = {
    (AUDIO, TRAIN): ("audio/train",),
    (AUDIO, TEST): ("audio/test",),
    (VISUAL, TRAIN): ("visual/train_img/Image-01-FPS", "visual/train"),
    (VISUAL, TEST): ("visual/val_img/Image-01-FPS", "visual/val"),
}
_TIMES = re.compile(r"_[0-9]{6}_[0-9]{6}$")  # start and end that Kinetics adds to the id of a video


def find(root: Path, reading: Reading, modalities: Sequence[str]) -> Listing:
    """The clips of the folders of all listed classes.

    Raises:
        DataError: no folder of the set, no class, or a class of class.txt without a folder.
    """
    home = find_home(root, NAME, ("visual", "audio"))
    path = find_list(CLASSES, list_places(root, home, reading.lists))
    folders = _class_folders(home, modalities)
    classes = _classes(home, path, folders)
    listing = Listing(
        home=home,
        clips=[],
        classes=classes,
        files={name: {} for name in modalities},
        looked={
            name: " or ".join(f"{place}/CLASS" for split in (TRAIN, TEST) for place in FOLDERS[name, split])
            for name in modalities
        },
        sources={split: f"the folders of {split}" for split in (TRAIN, TEST)},
        lists=[] if path is None else [path],
    )
    _left_out(listing, folders)
    for split in (TRAIN, TEST):
        _add_split(listing, folders, split, modalities)
    return listing


def _class_folders(home: Path, modalities: Sequence[str]) -> dict[tuple[str, str], dict[str, list[Path]]]:
    """(modality, split) -> key of a class -> its folders, in whatever spellings there are."""
    found: dict[tuple[str, str], dict[str, list[Path]]] = {}
    for (modality, split), places in FOLDERS.items():
        if modality in modalities:
            by_key = found.setdefault((modality, split), {})
            for place in places:
                for folder in entries(home / place):
                    if folder.is_dir():
                        by_key.setdefault(class_key(folder.name), []).append(folder)
    return found


def _classes(home: Path, path: Path | None, folders: dict[tuple[str, str], dict[str, list[Path]]]) -> dict[str, str]:
    """Of class.txt, else of the folders of both splits by name."""
    if path is None:
        there = {key: found[0].name for by_key in folders.values() for key, found in by_key.items()}
        return class_table([there[key] for key in sorted(there)], f"{home}: folders of classes")
    try:
        names = [cell for _, cells in read_rows(path) for cell in cells if cell]
    except FileFault as error:
        raise DataError(str(error)) from None
    table = class_table(names, str(path))
    lacking = [name for key, name in table.items() if not any(key in by_key for by_key in folders.values())]
    if lacking:
        others = sorted(
            {f.name for by_key in folders.values() for key, fs in by_key.items() if key not in table for f in fs}
        )
        text = f"expected a folder of each class of {path}, found none of {shown(lacking)}"
        more = f"; folders of no listed class: {shown(others)}" if others else ""
        raise DataError(f"{home}: {text}{more}")
    return table


def _left_out(listing: Listing, folders: dict[tuple[str, str], dict[str, list[Path]]]) -> None:
    """Notes folders of classes that class.txt does not list."""
    others = {key: found[0].name for by_key in folders.values() for key, found in by_key.items()}
    names = sorted(name for key, name in others.items() if key not in listing.classes)
    if names:
        listing.notes.append(
            f"{counted(len(names), 'folder')} of classes that {CLASSES} does not list "
            f"{'was' if len(names) == 1 else 'were'} left out: {shown(names)}."
        )


def _add_split(
    listing: Listing, folders: dict[tuple[str, str], dict[str, list[Path]]], split: str, modalities: Sequence[str]
) -> None:
    """Clips by class, then by name; those of either modality."""
    for label in listing.classes:
        places: dict[str, str] = {}
        for modality in modalities:
            of = sounds_in if modality == AUDIO else visuals_in
            own = folders[modality, split].get(label, [])
            for stem, path in first_of(of(folder) for folder in own).items():
                listing.files[modality][f"{split}/{label}/{stem}"] = path
                places.setdefault(stem, str(path.parent))
        for stem in sorted(places):
            group = _TIMES.sub("", stem)
            listing.clips.append(Listed(stem, label, split, group, places[stem], f"{split}/{label}/{stem}"))


LAYOUT = Layout(
    name="kinetics_sounds",
    attribution="Kinetics-Sounds (Arandjelovic and Zisserman 2017), videos of Kinetics (Kay et al. 2017, CC BY 4.0)",
    defaults={"sample_rate": 16_000, "seconds": 5.0, "n_fft": 256, "hop": 128, "frames": 3},
    find=find,
)
