"""Splits of clips: samples with one label whose modalities are files of their own, read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import Batch, LabelledSplit, Moments, SampleInfo, Split
from mmablate.data.faults import Fault, FileFault, counted, told
from mmablate.data.pictures import to_rgb
from mmablate.errors import DataError


@dataclass(frozen=True)
class Clip:
    """One sample.

    Attributes:
        id: unique in the dataset.
        label: class number.
        files: modality -> file, or folder of frames; a modality that is absent is read as zeros.
        group: whom or what it comes from (a speaker, a source video); None where that is not known.
    """

    id: str
    label: int
    files: Mapping[str, Path]
    group: str | None = None


class MediaReader(Protocol):
    """Reads the files of one modality; plain data, so that it can be pickled."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of every sample, channels first."""
        ...

    def read(self, path: Path) -> NDArray[np.float32]:
        """A sample of `shape`. Raises FileFault."""
        ...

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """The sample for people, RGB (H, W, 3). Raises FileFault."""
        ...


@dataclass(frozen=True)
class Scaled:
    """(value - shift) / scale, per channel, of another reader.

    Attributes:
        reader: of the values as they are.
        shift, scale: one a channel.
    """

    reader: MediaReader
    shift: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of every sample, channels first."""
        return self.reader.shape

    def read(self, path: Path) -> NDArray[np.float32]:
        """A scaled sample. Raises FileFault."""
        values = self.reader.read(path)
        room = (-1, *[1] * (values.ndim - 1))
        shift = np.asarray(self.shift, dtype=np.float32).reshape(room)
        scale = np.asarray(self.scale, dtype=np.float32).reshape(room)
        return (values - shift) / scale

    def picture(self, path: Path) -> NDArray[np.uint8]:
        """The sample for people, as of the reader below."""
        return self.reader.picture(path)


def measured(reader: MediaReader, paths: Sequence[Path]) -> Scaled:
    """The reader scaled to mean 0 and deviation 1 over these files, per channel. Raises FileFault."""
    moments = Moments(reader.shape[0])
    for path in paths:
        values = reader.read(path)
        moments.add(values.reshape(len(values), -1).T)
    mean, std = moments.mean_std()
    return Scaled(reader, tuple(mean.tolist()), tuple(std.tolist()))


def sound_picture(values: np.ndarray) -> NDArray[np.uint8]:
    """A spectrogram (1, H, W) for people: low frequencies at the bottom."""
    return np.ascontiguousarray(to_rgb((values - values.mean()) / (values.std() or 1.0))[::-1])


class ClipSplit:
    """Clips read from their files each time they are asked for; may be pickled.

    Args:
        clips: in order.
        readers: modality -> its reader, in the order of the modalities.
    """

    def __init__(self, clips: Sequence[Clip], readers: Mapping[str, MediaReader]) -> None:
        self.clips, self.readers = tuple(clips), dict(readers)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def shape(self) -> tuple[int, int]:
        """One label a sample."""
        return 1, 1

    @property
    def nbytes(self) -> int:
        """Bytes that inputs and labels would take in memory."""
        return len(self.clips) * (8 + sum(4 * int(np.prod(reader.shape)) for reader in self.readers.values()))

    def describe(self, index: int) -> SampleInfo:
        """The clip's name."""
        return SampleInfo(self.clips[index].id)

    def labels_of(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """Labels int64 (B,); no file is read."""
        return np.array([self.clips[int(index)].label for index in indices], dtype=np.int64)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples at `indices`; see `Split.batch`. Raises DataError where a file is at fault."""
        inputs = {
            name: np.empty((len(indices), *reader.shape), dtype=np.float32) for name, reader in self.readers.items()
        }
        for i, index in enumerate(indices):
            clip = self.clips[int(index)]
            for name, reader in self.readers.items():
                inputs[name][i] = reader.read(clip.files[name]) if name in clip.files else 0.0
        return inputs, self.labels_of(indices)

    def pictures(self, index: int) -> dict[str, np.ndarray]:
        """Modality -> uint8 RGB (H, W, 3), each of its own size; black where it is absent.

        Raises DataError where a file is at fault.
        """
        files = self.clips[index].files
        return {
            name: reader.picture(files[name]) if name in files else np.zeros((*reader.shape[-2:], 3), dtype=np.uint8)
            for name, reader in self.readers.items()
        }


class KeptClips(LabelledSplit):
    """Clips read into memory at once.

    Args:
        source: of the clips.

    Raises:
        DataError: the first file at fault.
    """

    def __init__(self, source: ClipSplit) -> None:
        inputs, labels = source.batch(range(len(source)))
        super().__init__(inputs, labels, [source.describe(i) for i in range(len(source))])
        self._source = source

    def pictures(self, index: int) -> dict[str, np.ndarray]:
        """As of the source; read from the files."""
        return self._source.pictures(index)


def kept(source: ClipSplit, cache_bytes: int) -> Split:
    """The split in memory where it takes at most so many bytes, else as it is.

    Raises:
        DataError: all its files at fault, where it is read into memory.
    """
    if source.nbytes > cache_bytes:
        return source
    try:
        return KeptClips(source)
    except FileFault:
        raise DataError(told(file_faults(source.clips, source.readers))) from None


def file_faults(clips: Sequence[Clip], readers: Mapping[str, MediaReader]) -> list[Fault]:
    """Reads every file once; what is wrong with them, with the clip that can be left out."""
    faults = []
    for clip in clips:
        for name, reader in readers.items():
            if name not in clip.files:
                continue
            try:
                reader.read(clip.files[name])
            except FileFault as error:
                faults.append(Fault.of(error, clip.id))
    return faults


def sound_clips(
    root: Path,
    clips: Mapping[str, Sequence[Clip]],
    readers: Mapping[str, MediaReader],
    faults: Sequence[Fault],
    *,
    drop: bool,
) -> tuple[dict[str, list[Clip]], list[str]]:
    """The clips to use and, where some were left out, a note of their number.

    Args:
        root: for messages.
        clips: split -> its clips.
        readers: of their files.
        faults: found so far.
        drop: leave faulty clips out, for which every file is read once; otherwise any fault refuses the set.

    Raises:
        DataError: faults that may not be dropped, or a split of which nothing is left.
    """
    found = list(faults)
    if drop:
        known = {fault.scene for fault in found}
        for members in clips.values():
            found += file_faults([clip for clip in members if clip.id not in known], readers)
    fatal = [fault for fault in found if not drop or fault.scene is None]
    if fatal:
        raise DataError(told(fatal))
    faulty = {fault.scene for fault in found}
    left = {split: [clip for clip in members if clip.id not in faulty] for split, members in clips.items()}
    empty = [f"{root}: expected sound clips of the split {split}, found none" for split in left if not left[split]]
    if empty:
        raise DataError(empty + told(found))
    lost = {split: len(clips[split]) - len(left[split]) for split in clips}
    if not any(lost.values()):
        return left, []
    parts = ", ".join(f"{split} {number}" for split, number in lost.items() if number)
    return left, [f"{counted(sum(lost.values()), 'clip', 'was', 'were')} dropped for faulty files ({parts})."]
