"""What a sample of VGGSound is made from: a wave as a spectrogram, and frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data import audio
from mmablate.data.clips import sound_picture
from mmablate.data.faults import FileFault
from mmablate.data.image_folder.images import resize_image
from mmablate.data.untrusted import reason
from mmablate.data.video import channels_first, read_frames, read_picture

RATE = 16_000
WINDOW, HOP = 1024, 512
HEADROOM = 1.1  # the loudest sample becomes 1 / 1.1

Size = tuple[int, int]


def read_array(path: Path) -> audio.Floats:
    """A wave (T,) of a .npy file (1, T) or (T,), already at 16 kHz. Raises FileFault."""
    try:
        values = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # damaged headers raise errors of many types
        text = f"expected a .npy file of numbers (never pickled objects), found: {reason(error)}"
        raise FileFault(path, text, "unreadable arrays") from None
    if values.dtype.kind not in "fi" or not (values.ndim == 1 or (values.ndim == 2 and len(values) == 1)):
        text = f"expected a mono wave (1, T) of real numbers, found {values.dtype} of shape {values.shape}"
        raise FileFault(path, text, "arrays")
    wave = values.reshape(-1).astype(np.float64)
    if len(wave) == 0:
        raise FileFault(path, "expected sound, found an array without samples", "empty sounds")
    audio.checked(path, wave)
    return wave


@dataclass(frozen=True)
class Sound:
    """Magnitudes of the short-time Fourier transform of a wave at 16 kHz.

    The wave is divided by 1.1 times its loudest sample; windows (Hann) of 1024 samples, 512 apart, as nnAudio's
    STFT computes them. Ten seconds give 513 x 313. A spectrogram of another length is resized to `size`
    bilinearly, in training and in test alike (the published code does so in test only).

    Attributes:
        size: rows and columns of every sample.
        log: whether magnitudes x become log(1 + x); the published code leaves them.
    """

    size: Size = (513, 313)
    log: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, rows, columns)."""
        return 1, *self.size

    def read(self, path: Path) -> NDArray[np.float32]:
        """(1, rows, columns). Raises FileFault."""
        wave = read_array(path) if path.suffix.lower() == ".npy" else audio.read_wave(path, RATE)
        wave = wave / (HEADROOM * np.abs(wave).max())
        try:
            found = audio.magnitudes(wave, WINDOW, HOP)
        except ValueError as error:
            raise FileFault(path, f"{error} (at {RATE} Hz)", "short sounds") from None
        found = audio.resized(found, self.size)
        return np.asarray(np.log1p(found) if self.log else found, dtype=np.float32)[None]

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """The spectrogram as a picture, low frequencies at the bottom."""
        return sound_picture(np.log1p(self.read(path)))


@dataclass(frozen=True)
class Frames:
    """Frames of a clip as RGB from 0 to 1: an image of all frames below each other, an mp4 file, or a folder of frames.

    Attributes:
        count: frames; of mp4 files and folders, so many evenly apart.
        size: height and width of a frame.
        resize: whether the frames of images are brought to the size too; those of mp4 files and folders always are.
    """

    count: int
    size: Size
    resize: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """(3, frames, height, width)."""
        return 3, self.count, *self.size

    def read(self, path: Path) -> NDArray[np.float32]:
        """(3, frames, height, width). Raises FileFault."""
        return channels_first(self._frames(path))

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """Four frames side by side, evenly apart."""
        frames = self._frames(path)
        return np.concatenate([frames[(2 * i + 1) * len(frames) // 8] for i in range(4)], axis=1)

    def _frames(self, path: Path) -> list[NDArray[np.uint8]]:
        stacked = path.suffix.lower() == ".jpg" and not path.is_dir()
        frames = unstacked(path, self.count, square=not self.resize) if stacked else read_frames(path, self.count)
        found = frames[0].shape[:2]
        if stacked and found != self.size and not self.resize:
            wanted = f"{self.count} frames of {self.size[0]} x {self.size[1]} as in the first clip"
            text = f"expected {wanted}, found {found[0]} x {found[1]} (the option `size` brings all to one size)"
            raise FileFault(path, text, "other sizes (size)")
        return [np.asarray(resize_image(frame, self.size), dtype=np.uint8) for frame in frames]


def unstacked(path: Path, count: int, *, square: bool) -> list[NDArray[np.uint8]]:
    """The frames of an image that holds them below each other, the first on top.

    Args:
        square: frames must be so; an image does not tell how many it holds, but published frames are square.

    Raises:
        FileFault: an image that cannot hold so many frames.
    """
    whole = read_picture(path)
    height, width = whole.shape[:2]
    if square and height != count * width:
        text = f"expected {count} square frames below each other, found an image of {height} x {width}"
        raise FileFault(path, f"{text} (options `frames` and `size`)", "images of other numbers of frames")
    if height % count:
        text = f"expected {count} frames of one height below each other, found an image {height} pixels high"
        raise FileFault(path, f"{text} (option `frames`)", "images of other numbers of frames")
    return list(whole.reshape(count, -1, *whole.shape[1:]))
