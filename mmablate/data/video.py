"""Frames of a video: from a video file (by PyAV, an extra) or from a folder of images."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmablate.data.faults import FileFault
from mmablate.data.image_folder.images import UnreadableImage, read_pixels
from mmablate.data.untrusted import reason
from mmablate.errors import MissingExtra

Pixels = NDArray[np.uint8]

VIDEOS = (".mp4",)
ALL_VIDEOS = (".mp4", ".flv", ".avi", ".mkv", ".webm", ".mov")
"""Endings of what `read_frames` decodes; the layouts that name no others take `VIDEOS`."""
IMAGES = (".jpg", ".jpeg", ".png", ".bmp")


def read_picture(path: Path) -> Pixels:
    """An image file as RGB (H, W, 3). Raises FileFault where it cannot be read."""
    try:
        return np.asarray(read_pixels(path, "colours"), dtype=np.uint8)
    except UnreadableImage as error:
        raise FileFault(path, str(error), "unreadable images") from None


def is_clip(path: Path) -> bool:
    """Whether a path is a video that `read_frames` reads: an mp4 file, or a folder with images."""
    return path.suffix.lower() in VIDEOS if path.is_file() else bool(frame_files(path))


def frame_files(folder: Path) -> list[Path]:
    """Images of a folder in the order of the numbers in their names (frame_2 before frame_10)."""
    if not folder.is_dir():
        return []
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and not p.name.startswith(".") and p.is_file()]
    return sorted(found, key=lambda path: ([int(n) for n in re.findall(r"[0-9]{1,18}", path.stem)], path.name))


def has_frames(folder: Path) -> bool:
    """Whether `frame_files` finds any, without looking at all of them."""
    with os.scandir(folder) as found:
        return any(
            Path(each.name).suffix.lower() in IMAGES and not each.name.startswith(".") and each.is_file()
            for each in found
        )


def media_files(path: Path) -> list[Path]:
    """The files that a clip's path stands for: itself, or the frames of a folder."""
    return frame_files(path) if path.is_dir() else [path]


def read_frames(path: Path, count: int) -> list[Pixels]:
    """`count` frames of a video, evenly apart: the middle one of each of `count` equal parts.

    A video of fewer frames shows some of them twice or more.

    Args:
        path: a video file, or a folder of images.

    Returns:
        RGB (H, W, 3) each, all of one size.

    Raises:
        FileFault: no frames, damaged ones, or frames of several sizes.
        MissingExtra: a video file, and PyAV is not installed.
    """
    if path.is_dir():
        files = frame_files(path)
        if not files:
            raise FileFault(path, f"expected frames ({', '.join(IMAGES)}), found none", "empty folders of frames")
        frames = [read_picture(files[i]) for i in spread_over(len(files), count)]
        for i, frame in zip(spread_over(len(files), count), frames, strict=True):
            if frame.shape != frames[0].shape:
                raise FileFault(
                    files[i],
                    f"expected a frame of {_size(frames[0])} as the others of its video, found {_size(frame)}",
                    "frames of other sizes",
                )
        return frames
    return _decoded(path, count)


def spread_over(total: int, count: int) -> list[int]:
    """The middle of each of `count` equal parts of 0..total-1; repeats where there are fewer, [] of none."""
    return [] if total == 0 else [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _size(frame: np.ndarray) -> str:
    return f"{frame.shape[0]} x {frame.shape[1]}"


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtra('reading video files needs PyAV: pip install "mmablate[video]" (or av)') from None
    return av


def _decoded(path: Path, count: int) -> list[Pixels]:
    """The frames by the number that the header tells; where it tells none, or too many, they are counted first."""
    av = _av()
    try:
        frames = _pick(av, path, spread_over(_announced(av, path), count))
        if not frames:
            frames = _pick(av, path, spread_over(_counted(av, path), count))
    except Exception as error:  # decoders of damaged bytes raise errors of many types
        raise FileFault(path, f"expected a video, found: {reason(error)}", "unreadable videos") from None
    if not frames:
        raise FileFault(path, "expected a video, found no frame in it", "videos without frames")
    return frames


def _announced(av: Any, path: Path) -> int:
    """Number of frames by the header; 0 where it does not say."""
    with av.open(str(path)) as container:
        return int(container.streams.video[0].frames) if container.streams.video else 0


def _counted(av: Any, path: Path) -> int:
    """Number of frames that can be decoded."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0)) if container.streams.video else 0


def _pick(av: Any, path: Path, wanted: Sequence[int]) -> list[Pixels]:
    """The wanted frames, ascending; [] where there are not so many."""
    if not wanted:
        return []
    kept: dict[int, Pixels] = {}
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0) if container.streams.video else ()):
            if number in wanted:
                kept[number] = frame.to_ndarray(format="rgb24")
            if number >= wanted[-1]:
                break
    return [kept[i] for i in wanted] if wanted[-1] in kept else []


def channels_first(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Frames, each RGB (height, width, 3) from 0 to 255, as (3, frames, height, width) from 0 to 1."""
    return np.ascontiguousarray(np.moveaxis(np.stack(frames), -1, 0), dtype=np.float32) / np.float32(255)
