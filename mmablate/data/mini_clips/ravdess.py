"""A small synthetic set in the layout of RAVDESS, as published arrays or as media."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.data.audio import Floats
from mmablate.data.generated import SYNTHETIC_FILE, write_json, write_set
from mmablate.data.mini_clips.cause import Cause, stream
from mmablate.data.mini_clips.rendering import Pixels, frames, wave, write_image, write_wav
from mmablate.data.ravdess.features import HOP, RATE, wave_features
from mmablate.data.ravdess.names import AUDIO_ONLY, AUDIO_VIDEO, EMOTIONS, VIDEO_ONLY, ClipName
from mmablate.data.ravdess.opening import AUDIO_MEAN, AUDIO_STD
from mmablate.data.ravdess.tables import FOLDER, TABLES

GENERATOR = "mmablate data make ravdess"
VERSION = 1
MEDIA_FRAMES = 3
SHARES = {"test": 0.15, "val": 0.15}  # of the published split, whose test clips are of speakers in train


def make_ravdess(
    root: Path,
    *,
    form: str = "arrays",
    actors: int = 24,
    clips: int = 3,
    size: tuple[int, int] = (32, 64),
    audio_size: tuple[int, int] = (40, 64),
    shared: float = 0.5,
    difficulty: float = 1.0,
    speaker: float = 1.0,
    seed: int = 0,
) -> None:
    """Writes the set to `root`; a set of the same options that is there already is left alone.

    Arrays are log-mel bands (of which a small network learns faster than of cepstral coefficients, which is what
    `features: mfcc` makes of media) of the same waves that media hold, brought to the mean and deviation by
    which the published code scales its own; data_file/spa_*.csv splits clips at random, so that speakers leak.

    Args:
        root: folder to make; missing or empty, or a set of these options.
        form: "arrays", or "media": wav files of modality 03 and folders of frames of modality 02.
        actors: 3..24 speakers.
        clips: of each emotion and actor, 1..8; neutral has no strong intensity, and at most 4.
        size: height and width of pictures.
        audio_size: rows and columns of arrays; waves have the length of the columns.
        shared: share of what decides the class in one modality that the other sees too, 0..1.
        difficulty, speaker: factors of the spread of clips, and of how speakers differ.
        seed: same seed, same bytes.

    Raises:
        DataError: `root` holds something else, or cannot be written.
    """
    options: dict[str, Any] = {
        "form": form, "actors": actors, "clips": clips, "size": list(size), "audio_size": list(audio_size),
        "shared": shared, "difficulty": difficulty, "speaker": speaker, "seed": seed,
    }  # fmt: skip
    mark = {"synthetic": True, "generator": GENERATOR, "version": VERSION, "options": options}
    maker = _Maker(Cause.draw(len(EMOTIONS), shared, seed), options)
    write = maker.write_arrays if form == "arrays" else maker.write_media
    write_set(Path(root), mark, write)


class _Maker:
    """Draws clips; each has streams of its own, so that more actors or clips change nothing of the others."""

    def __init__(self, cause: Cause, options: dict[str, Any]) -> None:
        self.cause, self.options, self.seed = cause, options, int(options["seed"])

    def names(self) -> Iterator[ClipName]:
        """The clips, of modality 03."""
        for actor in range(1, self.options["actors"] + 1):
            for emotion in range(1, len(EMOTIONS) + 1):
                most = 4 if emotion == 1 else 8
                for number in range(min(self.options["clips"], most)):
                    statement, repetition, intensity = 1 + (number & 1), 1 + (number >> 1 & 1), 1 + (number >> 2)
                    yield ClipName(AUDIO_ONLY, 1, emotion, intensity, statement, repetition, actor)

    def draw(self, name: ClipName, count: int) -> tuple[Floats, list[Pixels]]:
        """Wave and frames of a clip."""
        own = (self.seed, 1, name.actor, name.emotion, name.intensity, name.statement, name.repetition)
        heard, seen = self.cause.state(name.label, own, name.actor, self.options["difficulty"], self.options["speaker"])
        length = (self.options["audio_size"][1] - 1) * HOP
        voice, face = stream(self.seed, 4, name.actor), stream(self.seed, 5, name.actor)
        height, width = self.options["size"]
        return (
            wave(heard, length, RATE, voice, stream(*own, 2)),
            frames(seen, (height, width), count, face, stream(*own, 3)),
        )

    def write_media(self, root: Path) -> None:
        """Actor_XX/03-*.wav and Actor_XX/02-*/frame_*.png; the first and last frame are darker."""
        for name in self.names():
            sound, pictures = self.draw(name, 1)
            folder = root / f"Actor_{name.actor:02d}"
            write_wav(folder / f"{name}.wav", sound, RATE)
            clip = folder / f"{VIDEO_ONLY:02d}-{name.key}"
            for number in range(MEDIA_FRAMES):
                dark = 1.0 if number == MEDIA_FRAMES // 2 else 0.8
                write_image(clip / f"frame_{number + 1:04d}.png", (pictures[0] * dark).round().astype(np.uint8))
        _mark(root)

    def write_arrays(self, root: Path) -> None:
        """aud_features, vid_features and data_file."""
        rows, columns = self.options["audio_size"]
        names = list(self.names())
        sounds = []
        for name in names:
            sound, pictures = self.draw(name, 1)
            sounds.append(wave_features(np.round(sound * 32767) / 32768, (rows, columns), "logmel")[0])
            write_image(root / "vid_features" / f"{AUDIO_VIDEO:02d}-{name.key}.png", pictures[0])
        every = np.stack(sounds).astype(np.float64)
        scaled = (every - every.mean()) / every.std() * AUDIO_STD + AUDIO_MEAN
        (root / "aud_features").mkdir()
        for name, values in zip(names, scaled, strict=True):
            np.save(root / "aud_features" / f"{name}.npy", values.astype(np.float32))
        (root / FOLDER).mkdir()
        for split, lines in self._split(names).items():
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([["audio", "image", "label"], *lines])
            (root / FOLDER / TABLES[split]).write_text(text.getvalue(), encoding="ascii")
        _mark(root)

    def _split(self, names: list[ClipName]) -> dict[str, list[list[str]]]:
        """Rows of the tables: clips at random, whoever speaks."""
        order = stream(self.seed, 6).permutation(len(names))
        ends = {split: max(1, round(share * len(names))) for split, share in SHARES.items()}
        at = {int(i): "test" for i in order[: ends["test"]]}
        at |= {int(i): "val" for i in order[ends["test"] : ends["test"] + ends["val"]]}
        lines: dict[str, list[list[str]]] = {split: [] for split in TABLES}
        for i, name in enumerate(names):
            row = [f"{name}.npy", f"{AUDIO_VIDEO:02d}-{name.key}.png", str(name.label)]
            lines[at.get(i, "train")].append(row)
        return lines


def _mark(root: Path) -> None:
    """A mark in every folder of files too, for where one is copied alone."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name != FOLDER):
        write_json(folder / SYNTHETIC_FILE, {"synthetic": True, "generator": GENERATOR, "version": VERSION})
