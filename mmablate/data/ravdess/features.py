"""What a sample of RAVDESS is made from: arrays of features, waves, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data import audio
from mmablate.data.clips import sound_picture
from mmablate.data.faults import FileFault
from mmablate.data.image_folder.images import UnreadableImage, read_header, resize_image
from mmablate.data.untrusted import reason
from mmablate.data.video import is_clip, read_frames, read_picture

RATE = 22_050
WINDOW, HOP = 2048, 512
BANDS = 128

Size = tuple[int, int]


def load_array(path: Path) -> np.ndarray:
    """A 2-D float32 array of a .npy file, not read until it is used. Raises FileFault."""
    try:
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        name, shape = values.dtype.name, values.shape
    except Exception as error:  # damaged headers raise errors of many types
        text = f"expected a .npy file of float32 (never pickled objects), found: {reason(error)}"
        raise FileFault(path, text, "unreadable arrays") from None
    if name != "float32" or values.ndim != 2 or min(shape) < 1:
        raise FileFault(path, f"expected a 2-D float32 array, found {name} of shape {shape}", "arrays")
    return values


def array_size(path: Path) -> Size:
    """Rows and columns of an array's file, from its header. Raises FileFault."""
    values = load_array(path)
    return values.shape[0], values.shape[1]


def picture_size(path: Path) -> Size:
    """Height and width of an image file, or of the frames of a clip. Raises FileFault."""
    if is_clip(path):
        frame = read_frames(path, 1)[0]
        return frame.shape[0], frame.shape[1]
    try:
        header = read_header(path, "colours")
    except UnreadableImage as error:
        raise FileFault(path, str(error), "unreadable images") from None
    return header.height, header.width


@dataclass(frozen=True)
class ArraySound:
    """Features as they are in .npy files.

    Attributes:
        size: rows and columns of every sample.
        resize: whether arrays of another size are brought to it; otherwise they are faults.
    """

    size: Size
    resize: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, rows, columns)."""
        return 1, *self.size

    def read(self, path: Path) -> NDArray[np.float32]:
        """(1, rows, columns). Raises FileFault."""
        values = load_array(path)
        if values.shape != self.size and not self.resize:
            raise other_size(path, (values.shape[0], values.shape[1]), self.size, "audio_size")
        try:
            exact = np.array(values)
        except Exception as error:  # the file is shorter than its header says, or gone
            raise FileFault(path, f"expected a whole array, found: {reason(error)}", "unreadable arrays") from None
        if not np.isfinite(exact).all():
            raise FileFault(path, "expected finite numbers, found NaN or infinity", "arrays that are not finite")
        return np.asarray(audio.resized(exact, self.size), dtype=np.float32)[None]

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """The array as a picture."""
        return sound_picture(self.read(path))


@dataclass(frozen=True)
class WaveSound:
    """Features of wav files.

    The recipe of the published arrays is not known. These are the coefficients (or log-mel bands) of librosa's
    defaults: 22,050 Hz, windows of 2048 samples 512 apart, 128 mel bands; cepstral coefficients have about the
    mean and deviation by which the published code scales its arrays. A clip is cut or filled with silence at its
    end to the number of columns; 256 hold 5.9 s, more than the longest clip.

    Attributes:
        size: coefficients or bands, and columns.
        kind: "mfcc" or "logmel".
    """

    size: Size
    kind: str = "mfcc"

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, rows, columns)."""
        return 1, *self.size

    def read(self, path: Path) -> NDArray[np.float32]:
        """(1, rows, columns). Raises FileFault."""
        return wave_features(audio.read_wave(path, RATE), self.size, self.kind)

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """The features as a picture."""
        return sound_picture(self.read(path))


def wave_features(wave: audio.Floats, size: Size, kind: str) -> NDArray[np.float32]:
    """Features (1, rows, columns) of a wave at 22,050 Hz; see `WaveSound`."""
    rows, columns = size
    length = max((columns - 1) * HOP, WINDOW // 2 + 1)
    whole = np.zeros(length)
    whole[: len(wave)] = wave[:length]
    if kind == "logmel":
        found = audio.log_mel(whole, RATE, n_fft=WINDOW, hop=HOP, bands=rows)
    else:
        bands = max(BANDS, rows)
        found = audio.mfcc(whole, RATE, n_fft=WINDOW, hop=HOP, coefficients=rows, bands=bands)
    return np.ascontiguousarray(found[None, :, :columns], dtype=np.float32)


@dataclass(frozen=True)
class Picture:
    """An image file, or the middle frame of a clip, as RGB from 0 to 1.

    Attributes:
        size: height and width of every sample.
        resize: whether pictures of another size are brought to it; otherwise they are faults.
    """

    size: Size
    resize: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """(3, height, width)."""
        return 3, *self.size

    def read(self, path: Path) -> NDArray[np.float32]:
        """(3, height, width). Raises FileFault."""
        return np.ascontiguousarray(np.moveaxis(self.picture(path), -1, 0), dtype=np.float32) / np.float32(255)

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """(height, width, 3). Raises FileFault."""
        pixels = read_frames(path, 1)[0] if is_clip(path) else read_picture(path)
        if pixels.shape[:2] != self.size and not self.resize:
            raise other_size(path, (pixels.shape[0], pixels.shape[1]), self.size, "size")
        return np.asarray(resize_image(pixels, self.size), dtype=np.uint8)


def other_size(path: Path, found: Size, wanted: Size, option: str) -> FileFault:
    """The fault of a file that has not the size of most others."""
    text = f"expected {wanted[0]} x {wanted[1]} as most others, found {found[0]} x {found[1]}"
    return FileFault(path, f"{text} (the option `{option}` brings all to one size)", f"other sizes ({option})")
