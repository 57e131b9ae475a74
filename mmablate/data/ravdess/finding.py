"""The clips of a folder: of the published arrays, or of the media as RAVDESS hands them out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mmablate.data.clips import Clip
from mmablate.data.faults import Fault
from mmablate.data.ravdess.names import AUDIO_ONLY, AUDIO_VIDEO, CHANNELS, EMOTIONS, FIELDS, ClipName, read_name
from mmablate.data.ravdess.tables import FOLDER, Row, read_tables
from mmablate.data.video import is_clip

AUDIO, IMAGE = "audio", "image"
ARRAYS = {AUDIO: "aud_features", IMAGE: "vid_features"}
WHAT = {AUDIO: "the sound", IMAGE: "the picture"}
_ACTOR = re.compile(r"Actor_([0-9]{2})")


@dataclass
class Found:
    """Clips of a folder and what is wrong with others.

    Attributes:
        clips: split of the tables (None where there are no tables) and clip.
        class_names: in the order of the labels.
    """

    clips: list[tuple[str | None, Clip]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    class_names: tuple[str, ...] = EMOTIONS


def find_arrays(root: Path, modalities: Sequence[str]) -> Found:
    """Clips of data_file/spa_*.csv with their files in aud_features and vid_features.

    The tables may number the emotions as they like; where names tell the emotion, the classes are named by it.
    """
    rows, faults = read_tables(root)
    found = Found(faults=faults)
    seen: dict[str, str] = {}
    for row in rows:
        names = {AUDIO: row.audio, IMAGE: row.image}
        files = {name: root / ARRAYS[name] / names[name] for name in modalities}
        about = {name: read_name(PurePosixPath(names[name]).stem, whole=False) for name in names}
        stems = [str(PurePosixPath(name).with_suffix("")) for name in names.values()]
        clip_id = "+".join(dict.fromkeys(stems))
        own = _row_faults(row, files, about, clip_id)
        if seen.setdefault(f"{row.split}/{clip_id}", row.place) != row.place:
            own.append(
                Fault(f"{row.place}: expected each clip once in a table, found {clip_id} twice", "repeated rows")
            )
        found.faults.extend(own)
        name = about[AUDIO] or about[IMAGE]
        speaker = f"{name.actor:02d}" if name is not None else None
        found.clips.append((row.split, Clip(clip_id, row.label, files, speaker)))
    _name_classes(found, rows)
    return found


def _row_faults(row: Row, files: dict[str, Path], about: dict[str, ClipName | None], clip_id: str) -> list[Fault]:
    faults = [
        Fault(f"{path}: expected {WHAT[name]} of {row.place}, found no file", f"missing {name} files", clip_id)
        for name, path in files.items()
        if not path.is_file()
    ]
    sound, picture = about[AUDIO], about[IMAGE]
    if sound and picture and (sound.actor, sound.emotion) != (picture.actor, picture.emotion):
        text = f"{row.place}: expected sound and picture of one actor and emotion, found {row.audio} and {row.image}"
        faults.append(Fault(text, "rows of two clips", clip_id))
    return faults


def _name_classes(found: Found, rows: Sequence[Row]) -> None:
    """Names the classes by the emotions that the files' names tell; a fault where a label has two."""
    known: dict[int, tuple[int, str]] = {}
    for row in rows:
        name = read_name(PurePosixPath(row.audio).stem, whole=False)
        if name is None:
            continue
        emotion, place = known.setdefault(row.label, (name.emotion, row.place))
        if emotion != name.emotion:
            text = (
                f"{row.place}: expected label {row.label} for {EMOTIONS[emotion - 1]} as in {place}, "
                f"found it for {EMOTIONS[name.emotion - 1]} ({row.audio})"
            )
            found.faults.append(Fault(text, "labels of two emotions"))
    told = [emotion for emotion, _ in known.values()]
    if len(known) == len(EMOTIONS) and len(set(told)) == len(EMOTIONS):
        found.class_names = tuple(EMOTIONS[known[label][0] - 1] for label in sorted(known))


def find_media(root: Path, modalities: Sequence[str], channel: str, *, tables: bool) -> Found:
    """Clips of the folders Actor_XX, wherever they lie below the root; sound and picture paired by their names.

    Sound is a wav file of modality 03, or else 01; a picture comes from a folder of frames or an mp4 file of
    modality 01, or else 02.

    Args:
        channel: "speech", "song" or "all".
        tables: whether the published split of data_file/spa_*.csv is to be told with the clips.
    """
    found = Found()
    wanted = set(CHANNELS.values()) if channel == "all" else {CHANNELS[channel]}
    best: dict[str, dict[str, tuple[int, Path, ClipName]]] = {}
    for actor, path in _entries(root):
        name = read_name(path.stem if path.is_file() else path.name)
        if name is None or name.actor != actor:
            what = f"a name of seven fields ({FIELDS}) of actor {actor:02d}"
            found.faults.append(Fault(f"{path}: expected {what}, found {path.name}", "names"))
            continue
        modality = AUDIO if path.suffix.lower() == ".wav" else IMAGE
        if name.channel not in wanted or modality not in modalities:
            continue
        rank = _rank(path, modality, name)
        other = best.setdefault(name.key, {}).get(modality)
        if other is not None and other[0] == rank:
            found.faults.append(Fault(f"{path}: expected each clip once, found {other[1]} too", "repeated clips"))
        if other is None or rank < other[0]:
            best[name.key][modality] = (rank, path, name)
    splits = _published(root, found) if tables else {}
    for key, files in sorted(best.items()):
        missing = [modality for modality in modalities if modality not in files]
        _, path, name = next(iter(files.values()))
        found.faults.extend(
            Fault(f"{path}: expected {WHAT[modality]} of this clip too, found none", f"clips without {modality}", key)
            for modality in missing
        )
        if tables and key not in splits:
            continue  # told in a note
        clip = Clip(key, name.label, {m: files[m][1] for m in modalities if m in files}, f"{name.actor:02d}")
        found.clips.append((splits.get(key), clip))
    found.faults.extend(
        Fault(f"{root}: expected the clip {key} of {FOLDER}, found no files of it", "clips of the tables without files")
        for key in splits
        if key not in best
    )
    return found


def _entries(root: Path) -> Iterator[tuple[int, Path]]:
    """Actor and each wav file, mp4 file or folder of frames in the folders Actor_XX."""
    seen: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        actor = _ACTOR.fullmatch(os.path.basename(place))
        if actor is None:
            continue
        for name in sorted([*names, *folders]):
            path = Path(place, name)
            if not name.startswith(".") and (path.suffix.lower() == ".wav" or is_clip(path)):
                yield int(actor.group(1)), path
        folders.clear()


def _rank(path: Path, modality: str, name: ClipName) -> int:
    if modality == AUDIO:
        return 0 if name.modality == AUDIO_ONLY else 1
    return (0 if path.is_dir() else 2) + (0 if name.modality == AUDIO_VIDEO else 1)


def _published(root: Path, found: Found) -> dict[str, str]:
    """Key of a clip -> its split by the tables; names without seven fields and clips in two splits are faults."""
    rows, faults = read_tables(root)
    found.faults.extend(faults)
    splits: dict[str, str] = {}
    for row in rows:
        name = read_name(PurePosixPath(row.audio).stem, whole=False)
        if name is None:
            text = f"{row.place}: expected a name that begins with seven fields ({FIELDS}), found {row.audio}"
            found.faults.append(Fault(text, "names in tables"))
        elif splits.setdefault(name.key, row.split) != row.split:
            text = f"{row.place}: expected each clip in one split, found {name.key} in {splits[name.key]} too"
            found.faults.append(Fault(text, "clips in two splits"))
    return splits
