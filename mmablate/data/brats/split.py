"""Subjects handed out as boxes of voxels, from maps of files or from memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import SampleInfo
from mmablate.data.brats.nifti import Shape, read_subject
from mmablate.data.brats.stored import check_values, open_subject
from mmablate.data.brats.subjects import Subject

Arrays = tuple[np.ndarray, np.ndarray]
Corner = tuple[int, int, int]


class Volumes(Protocol):
    """Where the voxels of subjects come from."""

    def size(self, subject: Subject) -> Shape:
        """Voxels along the three axes."""
        ...

    def box(self, subject: Subject, box: tuple[slice, slice, slice]) -> Arrays:
        """float32 (h, w, z, 4) and uint8 (h, w, z) of a box; not to be written to."""
        ...


class MappedVolumes:
    """Pre-processed volumes of which a box alone is read."""

    def size(self, subject: Subject) -> Shape:
        """From the header of the labels."""
        return _shape(open_subject(subject)[1])

    def box(self, subject: Subject, box: tuple[slice, slice, slice]) -> Arrays:
        """Reads a box. Raises FileFault for values in it that are not finite, or unknown labels."""
        volume, labels = open_subject(subject)
        part = np.array(volume[box]), np.array(labels[box])
        check_values(subject, *part)
        return part


class KeptVolumes:
    """Volumes that are kept in memory once read: all of them, or those asked for last.

    Args:
        stored: pre-processed rather than NIfTI.
        limit: bytes that are kept; the subject asked for last is kept whatever it takes.
    """

    def __init__(self, *, stored: bool, limit: int) -> None:
        self.stored, self.limit = stored, limit
        self._kept: OrderedDict[str, Arrays] = OrderedDict()
        self._sizes: dict[str, Shape] = {}

    def size(self, subject: Subject) -> Shape:
        """Of the crop; reads the subject the first time."""
        if subject.name not in self._sizes:
            self.whole(subject)
        return self._sizes[subject.name]

    def box(self, subject: Subject, box: tuple[slice, slice, slice]) -> Arrays:
        """A view of the box."""
        volume, labels = self.whole(subject)
        return volume[box], labels[box]

    def whole(self, subject: Subject) -> Arrays:
        """All voxels of a subject. Raises FileFault as its reader does."""
        found = self._kept.pop(subject.name, None)
        if found is None:
            found = read_stored(subject) if self.stored else read_subject(subject)
            self._sizes[subject.name] = _shape(found[1])
            self._make_room(found)
        self._kept[subject.name] = found
        return found

    def _make_room(self, coming: Arrays) -> None:
        wanted = sum(part.nbytes for part in coming)
        while self._kept and self.nbytes + wanted > self.limit:
            self._kept.popitem(last=False)

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        return sum(volume.nbytes + labels.nbytes for volume, labels in list(self._kept.values()))


def read_stored(subject: Subject) -> Arrays:
    """All voxels of a pre-processed subject, in memory. Raises FileFault as `open_subject` and `check_values`."""
    volume, labels = (np.array(part) for part in open_subject(subject))
    check_values(subject, volume, labels)
    return volume, labels


class BratsSplit:
    """Subjects of one split; a `VolumeSplit`.

    Args:
        subjects: in order.
        presence: bool (N, M), by the files and, in training, by the mask list.
        columns: channel of a stored volume of each modality asked for, in their order.
        volumes: where voxels come from.
        graded: samples are described by their grade.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        presence: NDArray[np.bool_],
        columns: Sequence[int],
        volumes: Volumes,
        *,
        graded: bool,
    ) -> None:
        if presence.shape != (len(subjects), len(columns)):
            raise ValueError(f"presence is {presence.shape} of {len(subjects)} subjects, {len(columns)} modalities")
        self._subjects, self._presence, self._columns = list(subjects), presence.copy(), list(columns)
        self._volumes, self._graded = volumes, graded

    def __len__(self) -> int:
        return len(self._subjects)

    @property
    def presence(self) -> NDArray[np.bool_]:
        """A copy of what is there, (N, M)."""
        return self._presence.copy()

    def size(self, index: int) -> Shape:
        """Voxels of a subject along the three axes; a NIfTI subject is read for it, since the crop must be known."""
        return self._volumes.size(self._subjects[index])

    def read(
        self, index: int, corner: Corner = (0, 0, 0), size: Shape | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """A box of a subject; see `VolumeSplit.read`.

        Raises:
            ValueError: a box that is empty or reaches out of the volume.
            FileFault: a file that cannot be used.
        """
        subject = self._subjects[index]
        whole = self._volumes.size(subject)
        wanted = size if size is not None else tuple(n - low for n, low in zip(whole, corner, strict=True))
        if any(low < 0 or n < 1 or low + n > most for low, n, most in zip(corner, wanted, whole, strict=True)):
            raise ValueError(f"{subject.name}: no box of {wanted} voxels at {corner} in {whole}")
        first, second, third = (slice(low, low + n) for low, n in zip(corner, wanted, strict=True))
        volume, labels = self._volumes.box(subject, (first, second, third))
        inputs = np.empty((len(self._columns), *labels.shape), dtype=np.float32)
        for row, column in enumerate(self._columns):
            inputs[row] = volume[..., column]
        return inputs, labels.astype(np.int64)

    def describe(self, index: int) -> SampleInfo:
        """Name, without the prefix of a grade; and grade, where it is known of every subject of the set."""
        subject = self._subjects[index]
        conditions: Mapping[str, str] = {"grade": subject.grade} if self._graded and subject.grade else {}
        return SampleInfo(subject.name, conditions)


def _shape(labels: np.ndarray) -> Shape:
    return labels.shape[0], labels.shape[1], labels.shape[2]
