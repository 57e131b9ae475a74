"""VGGSound in the layout that DGL and OGM-GE read; Chen et al. 2020, "VGGSound: A Large-Scale Audio-Visual Dataset".

    vggsound/video/{train,test}-set-img/Image-01-FPS/ID_000SSS.mp4/*.jpg, or vggsound/video/{train,test}-set/*.mp4
    vggsound/audio/{train,test}-audios/{train,test}-set/ID_000SSS.wav
    vggsound.csv: lines id,start,label,split; or train.csv, test.csv: lines file.mp4,label

SSS is the second at which a clip starts. test.csv, where it is there, says what tests. Classes are numbered in the
order of their names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mmablate.data.audiovisual.listing import (
    AUDIO,
    TEST,
    TRAIN,
    Listed,
    Listing,
    class_key,
    find_home,
    find_list,
    first_of,
    is_bare,
    list_places,
    sounds_in,
    visuals_in,
)
from mmablate.data.audiovisual.reading import Layout, Reading
from mmablate.data.faults import Fault, FileFault
from mmablate.data.lists import read_rows
from mmablate.errors import DataError

NAME = "vggsound"
WHOLE = "vggsound.csv"
PARTS = {TRAIN: "train.csv", TEST: "test.csv"}
MARKS = ("video", "audio", "train-audios", "train-videos")
_NAME = re.compile(r"(.+)_([0-9]{1,6})")


def clip_name(stem: str) -> str | None:
    """ID_000SSS of a name with however many zeros; None where no second follows the id."""
    found = _NAME.fullmatch(stem)
    return None if found is None else f"{found.group(1)}_{int(found.group(2)):06d}"


def places(modality: str, split: str) -> tuple[str, ...]:
    """Where the files of a split may lie, the published place first."""
    if modality == AUDIO:
        return tuple(f"{above}{split}-audios/{split}-set" for above in ("audio/", "video/", ""))
    frames, videos = f"{split}-set-img/Image-01-FPS", f"{split}-set"
    return f"video/{frames}", f"{split}-videos/{frames}", f"video/{videos}", f"{split}-videos/{videos}"


def find(root: Path, reading: Reading, modalities: Sequence[str]) -> Listing:
    """The clips of the lists.

    Raises:
        DataError: no folder of the set, or no list.
    """
    home = find_home(root, NAME, MARKS)
    listing = Listing(
        home=home,
        clips=[],
        classes={},
        files={name: _files(home, name) for name in modalities},
        looked={name: places(name, TRAIN)[0].replace(TRAIN, "SPLIT") for name in modalities},
        sources={},
    )
    where = list_places(root, home, reading.lists)
    whole, train, test = (find_list(name, where) for name in (WHOLE, PARTS[TRAIN], PARTS[TEST]))
    if whole is None and (train is None or test is None):
        told = " or ".join(map(str, where))
        raise DataError(f"{told}: expected {WHOLE}, or {' and '.join(PARTS.values())} (option `lists`), found none")
    names: dict[str, str] = {}
    if whole is not None:
        _read_whole(listing, names, whole, with_test=test is None)
    elif train is not None:
        _read_part(listing, names, TRAIN, train)
    if test is not None:
        _read_part(listing, names, TEST, test)
    listing.classes = {key: names[key] for key in sorted(names)}
    return listing


def _files(home: Path, modality: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    of = sounds_in if modality == AUDIO else visuals_in
    for split in (TRAIN, TEST):
        for stem, path in first_of(of(home / place) for place in places(modality, split)).items():
            key = f"{split}/{clip_name(stem) or stem}"
            if key not in found or not is_bare(path):
                found[key] = path
    return found


def _read_whole(listing: Listing, names: dict[str, str], path: Path, *, with_test: bool) -> None:
    """vggsound.csv; of its test clips, only where no test.csv is there."""
    listing.sources.update({split: f"{path} ({split})" for split in (TRAIN, TEST)})
    for place, cells in _rows(listing, path):
        second = len(cells) >= 4 and cells[1].isdecimal() and len(cells[1]) <= 6
        if not second or not cells[0] or not cells[2] or cells[3] not in (TRAIN, TEST):
            text = f"{place}: expected id,start,label,split with a second and train or test, found {','.join(cells)!r}"
            listing.faults.append(Fault(text, "rows"))
        elif cells[3] == TRAIN or with_test:
            _add(listing, names, f"{cells[0]}_{int(cells[1]):06d}", cells[2], cells[3], place)


def _read_part(listing: Listing, names: dict[str, str], split: str, path: Path) -> None:
    """train.csv or test.csv."""
    listing.sources[split] = str(path)
    for place, cells in _rows(listing, path):
        name = clip_name(re.sub(r"\.mp4$", "", cells[0])) if len(cells) >= 2 else None
        if name is None or not cells[1]:
            text = f"{place}: expected ID_SECOND.mp4,label, found {','.join(cells)!r}"
            listing.faults.append(Fault(text, "rows"))
        else:
            _add(listing, names, name, cells[1], split, place)


def _rows(listing: Listing, path: Path) -> list[tuple[str, list[str]]]:
    listing.lists.append(path)
    try:
        return [(f"{path}, line {number}", cells) for number, cells in read_rows(path)]
    except FileFault as error:
        listing.faults.append(Fault.of(error))
        return []


def _add(listing: Listing, names: dict[str, str], name: str, label: str, split: str, place: str) -> None:
    key = class_key(label)
    names.setdefault(key, label)
    listing.clips.append(Listed(name, key, split, name.rsplit("_", 1)[0], place, f"{split}/{name}"))


LAYOUT = Layout(
    name="vggsound_av",
    attribution="VGGSound (Chen et al. 2020, CC BY 4.0)",
    defaults={"sample_rate": 16_000, "seconds": 5.0, "n_fft": 256, "hop": 128, "frames": 3},
    find=find,
)
