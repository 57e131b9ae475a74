"""The layouts: which clips there are, what they are called, and the lists that name them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.data.audiovisual import ave, cremad, kinetics_sounds, vggsound
from mmablate.data.generated import write_set
from mmablate.data.mini_clips.audiovisual.drawing import VERSION, Drawer, Sample
from mmablate.data.mini_clips.audiovisual.parts import as_parts
from mmablate.data.mini_clips.cause import stream
from mmablate.errors import DataError

Groups = Sequence[Sequence[int]]
PAIRS: Groups = ((2, 1, 1), (1, 2, 1), (1, 1, 2))
EIGHT: Groups = (*PAIRS, (1, 1, 1), (1, 1, 1))
LETTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
LEVELS = ("XX", "LO", "MD", "HI")
SPLITS = ("train", "test", "val")


def make_cremad(
    root: Path,
    *,
    parts: Groups = PAIRS,
    speakers: int = 16,
    speaker: float = 0.5,
    frames: int = 1,
    visual_strength: float = 0.7,
    **options: Any,
) -> None:
    """A mini set in the layout of CREMA-D.

    Clips are called as CREMA-D's; actors and emotions take turns, and train.csv and test.csv deal the clips at random,
    so that every actor is in both, as published.

    Args:
        root: folder to make; missing or empty, or a set of these options.
        parts: see `Parts`; they must make 6 classes, in the order NEU HAP SAD FEA DIS ANG.
        speakers: actors.
        speaker: how much actors differ, in the unit of the noise.
        frames: of a clip.
        visual_strength: higher than elsewhere, since there is one frame to see.
        options: as of `make_kinetics_sounds`.

    Raises:
        DataError: `root` holds something else, or cannot be written.
        MissingExtra: video files without PyAV.
    """
    made = _options(options, parts=parts, frames=frames, visual_strength=visual_strength) | {
        "speakers": speakers,
        "speaker": speaker,
    }
    _make(root, "cremad", made, _cremad)


def make_kinetics_sounds(root: Path, **options: Any) -> None:
    """A mini set in the layout of Kinetics-Sounds.

    Args:
        root: folder to make; missing or empty, or a set of these options.
        options: `form` "frames" (folders of jpg files) or "video" (video files); `parts`, see `Parts`; `train` and
            `test`, clips, whose classes take turns; `size`, height and width of a frame; `seconds` of a sound;
            `frames` of a clip; `audio_strength` and `visual_strength`, factors of what is shown, with codes of -1 and
            1; `audio_noise` and `visual_noise`, spread around it; `seed`: same seed, same bytes.

    Raises:
        DataError: `root` holds something else, or cannot be written.
        MissingExtra: video files without PyAV.
        TypeError: another option.
    """
    _make(root, "kinetics_sounds", _options(options), _kinetics_sounds)


def make_vggsound_av(root: Path, **options: Any) -> None:
    """A mini set in the layout of VGGSound that DGL reads; arguments and errors as of `make_kinetics_sounds`."""
    _make(root, "vggsound_av", _options(options), _vggsound)


def make_ave(root: Path, *, val: int = 100, **options: Any) -> None:
    """A mini set in the layout of AVE; `val` validation clips, the rest as of `make_kinetics_sounds`."""
    _make(root, "ave", _options(options) | {"val": val}, _ave)


def _options(given: dict[str, Any], **own: Any) -> dict[str, Any]:
    """All options, as JSON has them; TypeError where there is no such one."""
    defaults: dict[str, Any] = {
        "form": "frames", "parts": EIGHT, "train": 600, "test": 200, "size": (32, 32), "seconds": 0.75, "frames": 3,
        "audio_strength": 1.5, "visual_strength": 0.6, "audio_noise": 0.8, "visual_noise": 0.8, "seed": 0,
    }  # fmt: skip
    unknown = set(given) - set(defaults)
    if unknown:
        raise TypeError(f"no such options: {', '.join(sorted(unknown))}")
    made = {**defaults, **own, **given}
    made["parts"] = [[int(n) for n in group] for group in made["parts"]]
    made["size"] = [int(n) for n in made["size"]]
    return made


def _make(root: Path, name: str, options: dict[str, Any], layout: Callable[..., list[Sample]]) -> None:
    parts = as_parts(options["parts"])
    try:
        drawer = Drawer(parts, options)
    except ValueError as error:
        raise DataError(f"parts: {error}") from None
    mark = {
        "synthetic": True,
        "generator": f"mmablate data make {name}",
        "version": VERSION,
        "options": options,
        "known": drawer.known(),
    }
    write_set(Path(root), mark, lambda place: drawer.write(place, layout(place, options, len(parts.classes))))


def _cremad(root: Path, options: dict[str, Any], classes: int) -> list[Sample]:
    if classes != len(cremad.EMOTIONS):
        raise DataError(f"parts: expected {len(cremad.EMOTIONS)} classes for CREMA-D, found {classes}")
    samples, rows = [], []
    for i in range(options["train"] + options["test"]):
        turn, label = divmod(i, classes)
        number, actor = divmod(turn, options["speakers"])
        if number >= len(SENTENCES) * len(LEVELS):
            raise DataError(f"speakers: {options['speakers']} speakers have fewer clips than train + test")
        emotion = cremad.EMOTIONS[label]
        sentence, level = SENTENCES[number % len(SENTENCES)], LEVELS[number // len(SENTENCES)]
        name = f"{1001 + actor}_{sentence}_{emotion}_{level}"
        rows.append((name, emotion))
        home = cremad.NAME
        samples.append(
            Sample(
                label,
                (actor, label, number),
                actor,
                f"{home}/{cremad.SOUNDS}/{name}.wav",
                f"{home}/{cremad.FRAMES}/{name}",
                f"{home}/{cremad.VIDEOS}/{name}.flv",
            )
        )
    order = [int(i) for i in stream(options["seed"], 6).permutation(len(rows))]
    for split, chosen in (("train", order[options["test"] :]), ("test", order[: options["test"]])):
        _write_rows(root / cremad.NAME / cremad.LISTS[split], [rows[i] for i in sorted(chosen)])
    return samples


def _clips(options: dict[str, Any], classes: int) -> Iterable[tuple[str, int, int, str, tuple[int, ...]]]:
    """Split, number, label, id of the source video, and key of each clip; every clip is of another video."""
    for place, split in enumerate(SPLITS):
        for number in range(options.get(split, 0)):
            video = "".join(stream(options["seed"], 7, place, number).choice(LETTERS, size=11))
            yield split, number, number % classes, video, (place, number)


def _sample(key: tuple[int, ...], label: int, sound: str, visual: str, video: str) -> Sample:
    return Sample(label, key, 3 * key[1] + key[0], sound, visual, video)


def _kinetics_sounds(root: Path, options: dict[str, Any], classes: int) -> list[Sample]:
    home = kinetics_sounds.NAME
    samples = []
    for split, _, label, video, key in _clips(options, classes):
        name = f"{video}_000000_{round(options['seconds']):06d}"
        visual = "train" if split == "train" else "val"
        samples.append(
            _sample(
                key,
                label,
                f"{home}/audio/{split}/event_{label}/{name}.wav",
                f"{home}/visual/{visual}_img/Image-01-FPS/event_{label}/{name}",
                f"{home}/visual/{visual}/event_{label}/{name}.mp4",
            )
        )
    listed = [f"event_{label}" if label % 2 else f"event {label}" for label in range(classes)]  # mixed, as published
    (root / home).mkdir()
    (root / home / kinetics_sounds.CLASSES).write_text(", ".join(listed) + "\n", encoding="utf-8")
    return samples


def _vggsound(root: Path, options: dict[str, Any], classes: int) -> list[Sample]:
    home = vggsound.NAME
    samples, rows = [], []
    for split, number, label, video, key in _clips(options, classes):
        start = 10 * (number % 30)
        name = f"{video}_{start:06d}"
        rows.append((video, str(start), f"event, number {label}", split))
        samples.append(
            _sample(
                key,
                label,
                f"{home}/audio/{split}-audios/{split}-set/{name}.wav",
                f"{home}/video/{split}-set-img/Image-01-FPS/{name}.mp4",
                f"{home}/video/{split}-set/{name}.mp4",
            )
        )
    tests = [(f"{video}_{int(start):06d}.mp4", label) for video, start, label, split in rows if split == "test"]
    _write_rows(root / home / vggsound.WHOLE, rows)
    _write_rows(root / home / vggsound.PARTS["test"], tests)
    return samples


def _ave(root: Path, options: dict[str, Any], classes: int) -> list[Sample]:
    home = ave.NAME
    samples = []
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, _, label, video, key in _clips(options, classes):
        lines[split].append(f"Event, number {label}&{video}&good&0&{round(options['seconds'])}\n")
        samples.append(
            _sample(
                key,
                label,
                f"{home}/{ave.SOUNDS}/{video}.wav",
                f"{home}/{ave.FRAMES}/{video}",
                f"{home}/{ave.VIDEOS}/{video}.mp4",
            )
        )
    (root / home).mkdir()
    for split, name in ave.LISTS.items():
        (root / home / name).write_text("".join(lines[split]), encoding="utf-8")
    return samples


def _write_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), encoding="utf-8")
