"""What a sample is made from: a wave as a log-magnitude spectrogram, and frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data import audio
from mmablate.data.clips import sound_picture
from mmablate.data.faults import FileFault
from mmablate.data.image_folder.images import resize_image
from mmablate.data.video import channels_first, read_frames

FLOOR = 1e-7  # added to magnitudes before the logarithm
SHOWN = 4  # frames of a picture for people

Size = tuple[int, int]


@dataclass(frozen=True)
class Spectrogram:
    """log(|STFT| + 1e-7) of a stretch of a wave at one rate.

    A shorter wave is repeated until it is long enough; the stretch is cut out of the middle, or from the start; values
    beyond -1..1 are clipped. Hann windows of `n_fft` samples, `hop` apart, ends mirrored. A silent file is sound:
    log(1e-7) throughout (one clip of CREMA-D is silent, and so are some of VGGSound).

    Source: the loaders of DGL and OGM-GE (methods as published for each set), which use librosa's STFT and draw the
    stretch at random, in test too; ends are mirrored as in librosa before 0.10, not padded with zeros as since.

    Attributes:
        rate: Hz.
        seconds: length of the stretch.
        n_fft, hop: samples.
        crop: "centre" or "start".
        size: rows and columns that the spectrogram is resized to, bilinearly; None: as it is.
    """

    rate: int
    seconds: float
    n_fft: int
    hop: int
    crop: str = "centre"
    size: Size | None = None

    @property
    def length(self) -> int:
        """Samples of the stretch."""
        return round(self.seconds * self.rate)

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, rows, columns); rows are n_fft / 2 + 1 frequencies, columns times."""
        return 1, *(self.size or (self.n_fft // 2 + 1, self.length // self.hop + 1))

    def read(self, path: Path) -> NDArray[np.float32]:
        """(1, rows, columns). Raises FileFault."""
        wave = self.stretch(audio.read_wave(path, self.rate, silence=True))
        try:
            found = np.log(audio.magnitudes(np.clip(wave, -1.0, 1.0), self.n_fft, self.hop) + FLOOR)
        except ValueError as error:
            raise FileFault(path, f"{error} (options `seconds` and `n_fft`)", "short sounds") from None
        return np.asarray(audio.resized(found, self.shape[1:]), dtype=np.float32)[None]  # type: ignore[arg-type]

    def stretch(self, wave: audio.Floats) -> audio.Floats:
        """The part of a wave that is read, (length,)."""
        if len(wave) < self.length:
            wave = np.tile(wave, -(-self.length // len(wave)))
        start = (len(wave) - self.length) // 2 if self.crop == "centre" else 0
        return wave[start : start + self.length]

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """The spectrogram as a picture, low frequencies at the bottom."""
        return sound_picture(self.read(path))


@dataclass(frozen=True)
class Frames:
    """Frames of a clip as RGB from 0 to 1, evenly apart over its sorted frames.

    Attributes:
        count: frames; a clip of fewer shows some of them again.
        size: height and width that every frame is brought to, bilinearly.
    """

    count: int
    size: Size

    @property
    def shape(self) -> tuple[int, ...]:
        """(3, frames, height, width)."""
        return 3, self.count, *self.size

    def read(self, path: Path) -> NDArray[np.float32]:
        """(3, frames, height, width). Raises FileFault."""
        return channels_first(self._frames(path))

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """The frames side by side, of many the first, the last and some between."""
        frames = self._frames(path)
        at = np.linspace(0, len(frames) - 1, min(SHOWN, len(frames))).round().astype(int)
        return np.concatenate([frames[i] for i in at], axis=1)

    def _frames(self, path: Path) -> list[NDArray[np.uint8]]:
        return [np.asarray(resize_image(frame, self.size), dtype=np.uint8) for frame in read_frames(path, self.count)]
