"""A small synthetic set in the layout of VGGSound, as the published code's files or as media."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmablate.data.generated import SYNTHETIC_FILE, write_json, write_set
from mmablate.data.mini_clips.cause import Cause, stream
from mmablate.data.mini_clips.rendering import frames, wave, write_image, write_wav
from mmablate.data.vggsound.media import RATE

GENERATOR = "mmablate data make vggsound"
VERSION = 1
CLASS_FILE = "vggsound_classes.json"
LETTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
CLIPS_A_VIDEO = 3


def make_vggsound(
    root: Path,
    *,
    form: str = "arrays",
    classes: int = 8,
    train: int = 400,
    test: int = 160,
    frames: int = 32,
    size: tuple[int, int] = (24, 24),
    seconds: float = 1.0,
    shared: float = 0.5,
    difficulty: float = 1.0,
    source: float = 1.0,
    seed: int = 0,
) -> None:
    """Writes the set to `root`; a set of the same options that is there already is left alone.

    Clips are called ID_SECOND_event N_0, with an id of 11 letters; three clips in a row are cut from one source
    video, and no video has clips in both splits.

    Args:
        root: folder to make; missing or empty, or a set of these options.
        form: "arrays": video_jpg, audio_npy in train and audio in test, as published; "media": folders of frames
            in video and wav files in audio.
        classes: kinds of events, named "event 0", "event 1", ... in vggsound_classes.json.
        train, test: clips; classes take turns.
        frames: of a clip.
        size: height and width of a frame.
        seconds: length of a clip.
        shared: share of what decides the class in one modality that the other sees too, 0..1.
        difficulty, source: factors of the spread of clips, and of how source videos differ.
        seed: same seed, same bytes.

    Raises:
        DataError: `root` holds something else, or cannot be written.
    """
    options: dict[str, Any] = {
        "form": form, "classes": classes, "train": train, "test": test, "frames": frames, "size": list(size),
        "seconds": seconds, "shared": shared, "difficulty": difficulty, "source": source, "seed": seed,
    }  # fmt: skip
    mark = {"synthetic": True, "generator": GENERATOR, "version": VERSION, "options": options}
    cause = Cause.draw(classes, shared, seed)
    write_set(Path(root), mark, lambda place: _write(place, cause, options))


def _write(root: Path, cause: Cause, options: dict[str, Any]) -> None:
    for place, split in enumerate(("train", "test")):
        for number in range(options[split]):
            _write_clip(root / split, cause, options, place, number)
        for folder in sorted((root / split).iterdir()):
            write_json(folder / SYNTHETIC_FILE, {"synthetic": True, "generator": GENERATOR, "version": VERSION})
    numbers = {f"event {k}": k for k in range(options["classes"])}
    write_json(root / CLASS_FILE, numbers)


def _write_clip(folder: Path, cause: Cause, options: dict[str, Any], place: int, number: int) -> None:
    seed = int(options["seed"])
    group = 2 * (number // CLIPS_A_VIDEO) + place
    label = number % options["classes"]
    video = "".join(stream(seed, 7, group).choice(LETTERS, size=11))
    name = f"{video}_{10 * (number % CLIPS_A_VIDEO):06d}_event {label}_0"
    own = (seed, 1, place, number)
    heard, seen = cause.state(label, own, group, options["difficulty"], options["source"])
    length = round(options["seconds"] * RATE)
    sound = wave(heard, length, RATE, stream(seed, 4, group), stream(*own, 2))
    height, width = options["size"]
    shown = frames(seen, (height, width), options["frames"], stream(seed, 5, group), stream(*own, 3))
    if options["form"] == "media":
        for i, picture in enumerate(shown):
            write_image(folder / "video" / name / f"frame_{i + 1:04d}.png", picture)
        write_wav(folder / "audio" / f"{name}.wav", sound, RATE)
        return
    write_image(folder / "video_jpg" / f"{name}.jpg", np.concatenate(shown))
    if place == 0:
        (folder / "audio_npy").mkdir(exist_ok=True)
        np.save(folder / "audio_npy" / f"{name}.npy", sound.astype(np.float32)[None])
    else:
        write_wav(folder / "audio" / f"{name}.wav", sound, RATE)
