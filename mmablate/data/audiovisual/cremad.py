"""CREMA-D: six acted emotions, 91 actors; Cao et al. 2014, "Crowd-sourced Emotional Multimodal Actors Dataset".

    CREMA-D/AudioWAV/ID.wav
    CREMA-D/Image-01-FPS/ID/*.jpg, or CREMA-D/VideoFlash/ID.flv
    train.csv, test.csv: lines ID,EMO without a header

An id is ACTOR_SENTENCE_EMO_LEVEL. The published split has every actor in train and in test, so that it also measures
how well speakers are remembered; by default, clips are split by speaker instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmablate.data.audiovisual.listing import (
    AUDIO,
    TEST,
    TRAIN,
    VAL,
    VISUAL,
    Listed,
    Listing,
    find_home,
    find_list,
    first_of,
    list_places,
    sounds_in,
    visuals_in,
)
from mmablate.data.audiovisual.reading import Layout, Reading
from mmablate.data.carving import deal_speakers
from mmablate.data.faults import Fault, FileFault, told
from mmablate.data.lists import read_rows
from mmablate.errors import DataError

NAME = "CREMA-D"
EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
SOUNDS, FRAMES, VIDEOS = "AudioWAV", "Image-01-FPS", "VideoFlash"
LISTS = {TRAIN: "train.csv", TEST: "test.csv"}


def name_fields(stem: str) -> tuple[str, str] | None:
    """Actor and emotion of an id, None where it tells none."""
    fields = stem.split("_")
    if len(fields) != 4 or not fields[0].isdigit() or fields[2] not in EMOTIONS:
        return None
    return fields[0], fields[2]


def find(root: Path, reading: Reading, modalities: Sequence[str]) -> Listing:
    """The clips of the lists, or all there are where there is no list.

    Raises:
        DataError: no folder of the set, only one of the lists, or too few speakers to split by.
    """
    home = find_home(root, NAME, (SOUNDS, FRAMES, VIDEOS))
    files = {
        AUDIO: sounds_in(home / SOUNDS),
        VISUAL: first_of([visuals_in(home / FRAMES), visuals_in(home / VIDEOS)]),
    }
    listing = Listing(
        home=home,
        clips=[],
        classes={name.casefold(): name for name in EMOTIONS},
        files={name: files[name] for name in modalities},
        looked={AUDIO: SOUNDS, VISUAL: f"{FRAMES} or {VIDEOS}"},
        sources=dict(LISTS),
    )
    places = list_places(root, home, reading.lists)
    found = {split: find_list(name, places) for split, name in LISTS.items()}
    paths = {split: path for split, path in found.items() if path is not None}
    if len(paths) == 1 or (not paths and (reading.split == "published" or reading.lists is not None)):
        lacking = " and ".join(LISTS[split] for split in LISTS if split not in paths)
        where = " or ".join(map(str, places))
        raise DataError(
            f"{where}: expected the lists {lacking} (option `lists`), found none; `split: speakers` needs none"
        )
    for split, path in paths.items():
        _read(listing, split, path)
    if not paths:
        for stem in sorted({stem for found_files in listing.files.values() for stem in found_files}):
            _add(listing, stem, None, TRAIN, str(home))
    if reading.split == "published":
        _tell_speakers(listing)
    else:
        _deal(listing, reading)
    return listing


def _read(listing: Listing, split: str, path: Path) -> None:
    listing.lists.append(path)
    listing.sources[split] = str(path)
    try:
        rows = read_rows(path)
    except FileFault as error:
        listing.faults.append(Fault.of(error))
        return
    if not rows:  # of the other list alone nobody would see what is missing
        listing.faults.append(Fault(f"{path}: expected lines ID,EMO, found none", "empty lists"))
    for number, cells in rows:
        place = f"{path}, line {number}"
        if len(cells) < 2:
            listing.faults.append(Fault(f"{place}: expected ID,EMO, found {','.join(cells)!r}", "short rows"))
            continue
        _add(listing, Path(cells[0]).stem, cells[1], split, place)


def _add(listing: Listing, stem: str, emotion: str | None, split: str, place: str) -> None:
    """A clip by its id; the emotion of a list must be the one that the id tells."""
    fields = name_fields(stem)
    if fields is None:
        text = f"{place}: expected an id ACTOR_SENTENCE_EMO_LEVEL with EMO one of {', '.join(EMOTIONS)}, found {stem!r}"
        listing.faults.append(Fault(text, "names"))
    elif emotion is not None and emotion.upper() != fields[1]:
        text = f"{place}: expected the emotion {fields[1]} that the id {stem} tells, found {emotion!r}"
        listing.faults.append(Fault(text, "labels that the name contradicts"))
    else:
        listing.clips.append(Listed(stem, fields[1].casefold(), split, fields[0], place, stem))


def _tell_speakers(listing: Listing) -> None:
    """Notes what the published split leaks; validation is carved out by clip, since no actor is left out anyway."""
    speakers = {split: {clip.group for clip in listing.clips if clip.split == split} for split in (TRAIN, TEST)}
    shared = len(speakers[TRAIN] & speakers[TEST])
    listing.notes.append(f"Published split: {shared} of the {len(speakers[TEST])} speakers of test are in train too.")
    listing.clips = [replace(clip, group=clip.id) for clip in listing.clips]
    listing.unit = "clip"


def _deal(listing: Listing, reading: Reading) -> None:
    """Splits the clips by speaker."""
    if not listing.clips:
        return  # told elsewhere
    try:
        dealt = deal_speakers(
            {clip.group for clip in listing.clips}, reading.val_fraction, reading.test_fraction, reading.split_seed
        )
    except ValueError as error:
        raise DataError([*told(listing.faults), f"{listing.home}: {error}"]) from None
    distinct = {clip.id: clip for clip in reversed(listing.clips)}  # one that both lists name counts once
    listing.clips = [replace(distinct[name], split=dealt[distinct[name].group]) for name in sorted(distinct)]
    listing.sources = {split: f"the speakers of {split}" for split in (TRAIN, VAL, TEST)}
    counts = {split: sum(1 for at in dealt.values() if at == split) for split in (TRAIN, VAL, TEST)}
    text = f"{counts[TRAIN]} actors train, {counts[VAL]} validate, {counts[TEST]} test"
    listing.notes.append(f"Split by speaker: {text}.")


LAYOUT = Layout(
    name="cremad",
    attribution="CREMA-D (Cao et al. 2014, Open Database License)",
    defaults={
        "sample_rate": 22_050,
        "seconds": 3.0,
        "crop": "start",
        "n_fft": 512,
        "hop": 353,
        "frames": 1,
        "split": "speakers",
    },
    find=find,
)
