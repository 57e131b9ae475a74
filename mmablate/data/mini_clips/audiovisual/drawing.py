"""Clips of a mini set: numbers that decide what is heard and seen, and their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.data.generated import SYNTHETIC_FILE, write_json
from mmablate.data.mini_clips.audiovisual.parts import Parts, codes, limits
from mmablate.data.mini_clips.cause import SEEN, stream
from mmablate.data.mini_clips.rendering import Pixels, frames, wave, write_image, write_wav
from mmablate.errors import MissingExtra

RATE = 16_000
VERSION = 1
AUDIO, VISUAL = 0, 1
FRAMES_A_SECOND = 1
CODECS = {".mp4": "mpeg4", ".flv": "flv"}


@dataclass(frozen=True)
class Sample:
    """One clip.

    Attributes:
        label: class number.
        key: its own numbers, by which its streams are keyed.
        group: number of its speaker or source video.
        sound: wav file, below the root.
        visual: folder of frames, below the root.
        video: video file, which `form: video` makes in place of the folder.
    """

    label: int
    key: tuple[int, ...]
    group: int
    sound: str
    visual: str
    video: str


class Drawer:
    """Draws clips; each has streams of its own, so that more clips change nothing of the others.

    Args:
        parts: what the classes are made of.
        options: of the generator.
    """

    def __init__(self, parts: Parts, options: Mapping[str, Any]) -> None:
        self.parts, self.options, self.seed = parts, options, int(options["seed"])
        self.apart = float(options.get("speaker", 0.0))
        self.strength = (float(options["audio_strength"]), float(options["visual_strength"]))
        self.noise = (float(options["audio_noise"]), float(options["visual_noise"]))
        self.codes = (codes(len(parts.heard()), self.seed, AUDIO), codes(len(parts.seen()), self.seed, VISUAL))

    def known(self) -> dict[str, Any]:
        """What the mark tells of the class's information."""
        shown = (self.strength[0] * self.codes[0], self.strength[1] * self.codes[1])
        spreads = (float(np.hypot(self.noise[0], self.apart)), float(np.hypot(self.noise[1], self.apart)))
        return {
            "bits": self.parts.bits(),
            "classes": [list(one) for one in self.parts.classes],
            "with_noise": limits(self.parts, shown, spreads, self.seed),
        }

    def told(self, sample: Sample, modality: int) -> np.ndarray:
        """The numbers that a modality shows of a clip, (SEEN,)."""
        own = (self.seed, 1, *sample.key)
        content = self.parts.draw(sample.label, stream(*own, 0))[modality]
        clip = self.noise[modality] * stream(*own, 1, modality).normal(size=SEEN)
        group = self.apart * stream(self.seed, 2, modality, sample.group).normal(size=SEEN)
        return np.asarray(self.strength[modality] * self.codes[modality][content] + clip + group)

    def write(self, root: Path, samples: Iterable[Sample]) -> None:
        """Sound and frames (or video) of every clip, and a mark in every folder that holds some."""
        folders: set[Path] = set()
        length = round(self.options["seconds"] * RATE)
        for sample in samples:
            own = (self.seed, 1, *sample.key)
            voice, face = stream(self.seed, 4, sample.group), stream(self.seed, 5, sample.group)
            write_wav(root / sample.sound, wave(self.told(sample, AUDIO), length, RATE, voice, stream(*own, 2)), RATE)
            shown = self._frames(sample, face, stream(*own, 3))
            if self.options["form"] == "video":
                write_video(root / sample.video, shown)
            else:
                for i, picture in enumerate(shown):
                    write_image(root / sample.visual / f"{i:05d}.jpg", picture)
            place = sample.video if self.options["form"] == "video" else sample.visual
            folders.update(((root / sample.sound).parent, (root / place).parent))
        for folder in sorted(folders):
            write_json(folder / SYNTHETIC_FILE, {"synthetic": True, "version": VERSION})

    def _frames(self, sample: Sample, face: np.random.Generator, own: np.random.Generator) -> list[Pixels]:
        """Every frame shows the same, each with noise of its own."""
        height, width = self.options["size"]
        told = self.told(sample, VISUAL)
        states = face.bit_generator.state
        made = []
        for _ in range(self.options["frames"]):
            face.bit_generator.state = states  # one face throughout
            made += frames(told, (height, width), 1, face, own)
        return made


def write_video(path: Path, pictures: Sequence[Pixels]) -> None:
    """A video file of one frame a second.

    Raises:
        MissingExtra: PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingExtra('writing video files needs PyAV: pip install "mmablate[video]" (or av)') from None
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        track: Any = container.add_stream(CODECS[path.suffix], rate=FRAMES_A_SECOND)
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        track.bit_rate = 64 * height * width
        for picture in pictures:
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode())
