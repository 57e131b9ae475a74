"""AVE: 28 kinds of events in ten seconds of video; Tian et al. 2018, "Audio-Visual Event Localization".

    AVE_Dataset/Audios/ID.wav
    AVE_Dataset/Image-01-FPS-SE/ID/*.jpg, or AVE_Dataset/AVE/ID.mp4
    trainSet.txt, valSet.txt, testSet.txt: lines Category&VideoID&Quality&StartTime&EndTime

The whole clip has the class of its event. Classes are numbered as they first occur in testSet.txt, as released; the
set has a validation split of its own. The released spectrograms are refilled to 224 x 224 by repeating their values
row by row, which scrambles time and frequency; here they are resized bilinearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmablate.data.audiovisual.listing import (
    AUDIO,
    TEST,
    TRAIN,
    VAL,
    VISUAL,
    Listed,
    Listing,
    class_key,
    find_home,
    find_list,
    first_of,
    list_places,
    sounds_in,
    visuals_in,
)
from mmablate.data.audiovisual.reading import Layout, Reading
from mmablate.data.faults import Fault, FileFault
from mmablate.data.lists import read_rows
from mmablate.errors import DataError

NAME = "AVE_Dataset"
SOUNDS, FRAMES, VIDEOS = "Audios", "Image-01-FPS-SE", "AVE"
LISTS = {TEST: "testSet.txt", TRAIN: "trainSet.txt", VAL: "valSet.txt"}  # the first one numbers the classes
HEADER = "videoid"


def find(root: Path, reading: Reading, modalities: Sequence[str]) -> Listing:
    """The clips of the lists; valSet.txt may be absent.

    Raises:
        DataError: no folder of the set, or no lists.
    """
    home = find_home(root, NAME, (SOUNDS, FRAMES, VIDEOS))
    files = {
        AUDIO: sounds_in(home / SOUNDS),
        VISUAL: first_of([visuals_in(home / FRAMES), visuals_in(home / VIDEOS)]),
    }
    places = list_places(root, home, reading.lists)
    paths = {split: find_list(name, places) for split, name in LISTS.items()}
    lacking = [LISTS[split] for split in (TRAIN, TEST) if paths[split] is None]
    if lacking:
        where = " or ".join(map(str, places))
        raise DataError(f"{where}: expected the lists {' and '.join(lacking)} (option `lists`), found none")
    listing = Listing(
        home=home,
        clips=[],
        classes={},
        files={name: files[name] for name in modalities},
        looked={AUDIO: SOUNDS, VISUAL: f"{FRAMES} or {VIDEOS}"},
        sources={},
    )
    for split, path in paths.items():
        if path is not None:
            _read(listing, split, path)
    return listing


def _read(listing: Listing, split: str, path: Path) -> None:
    listing.lists.append(path)
    listing.sources[split] = str(path)
    try:
        rows = read_rows(path, delimiter="&")
    except FileFault as error:
        listing.faults.append(Fault.of(error))
        return
    for number, cells in rows:
        place = f"{path}, line {number}"
        if len(cells) < 2 or not cells[0] or not cells[1]:
            text = f"{place}: expected Category&VideoID&Quality&StartTime&EndTime, found {'&'.join(cells)!r}"
            listing.faults.append(Fault(text, "rows"))
        elif cells[1].casefold() != HEADER:
            key = class_key(cells[0])
            listing.classes.setdefault(key, cells[0])
            listing.clips.append(Listed(cells[1], key, split, cells[1], place, cells[1]))


LAYOUT = Layout(
    name="ave",
    attribution="AVE (Tian et al. 2018), videos of AudioSet (Gemmeke et al. 2017, CC BY 4.0)",
    defaults={
        "sample_rate": 22_050,
        "seconds": 10.0,
        "n_fft": 512,
        "hop": 256,
        "audio_size": (224, 224),
        "frames": 4,
    },
    find=find,
)
