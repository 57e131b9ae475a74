"""Subjects as pre-processed .npy files, of which a part can be read without the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmablate.data.brats.nifti import Shape, label_problem
from mmablate.data.brats.preprocessing import SEQUENCES
from mmablate.data.brats.subjects import LABELS, STORED, Subject
from mmablate.data.faults import FileFault
from mmablate.data.untrusted import BROKEN, reason

ALLOWED = ({0, 1, 2, 3},)


def open_subject(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """A subject's volume and labels as maps of their files: nothing is read until it is asked for.

    Returns:
        float32 (H, W, Z, 4) and uint8 (H, W, Z).

    Raises:
        FileFault: no .npy of plain numbers, truncated, or of another type or shape.
    """
    volume = _mapped(subject.files[STORED])
    if volume.dtype != np.float32 or volume.ndim != 4 or volume.shape[-1] != len(SEQUENCES) or not volume.size:
        _refuse(subject.files[STORED], f"float32 (H, W, Z, {len(SEQUENCES)})", volume)
    labels = _mapped(subject.files[LABELS])
    if labels.dtype != np.uint8 or labels.shape != volume.shape[:3]:
        _refuse(subject.files[LABELS], f"uint8 {volume.shape[:3]}, as its volume", labels)
    return volume, labels


def shape_of(subject: Subject) -> Shape:
    """Voxels of a subject along the three axes, from the header."""
    shape = open_subject(subject)[1].shape
    return shape[0], shape[1], shape[2]


def presence_of(subject: Subject) -> tuple[bool, ...]:
    """Which sequences a stored volume holds, (4,): a missing one is 0 throughout.

    A standardised sequence is 0 hardly anywhere, its background least of all, so one row of voxels tells; only where
    it is 0 is the rest looked at.

    Raises:
        FileFault: as `open_subject`.
    """
    volume = open_subject(subject)[0]
    row = volume[volume.shape[0] // 2, volume.shape[1] // 2]
    return tuple(bool(row[:, k].any() or volume[..., k].any()) for k in range(len(SEQUENCES)))


def check_values(subject: Subject, volume: np.ndarray, labels: np.ndarray) -> None:
    """Looks at values that were read. Raises FileFault where they are not finite, or no labels of 0, 1, 2, 3."""
    if not np.isfinite(volume).all():
        raise FileFault(
            subject.files[STORED], "expected finite values, found NaN or infinity", "values that are not finite"
        )
    if labels.size and labels.max() > 3:
        raise FileFault(subject.files[LABELS], str(label_problem(labels, ALLOWED)), "unknown labels")


def _mapped(path: Path) -> np.ndarray:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN as error:
        text = f"expected a .npy array of numbers, found: {reason(error)[:200]}"
        raise FileFault(path, text, "unreadable volumes") from None
    if not isinstance(found, np.ndarray):
        found.close()  # an archive under this name
        raise FileFault(path, "expected a .npy array of numbers, found an archive", "unreadable volumes")
    return found


def _refuse(path: Path, expected: str, found: np.ndarray) -> None:
    raise FileFault(path, f"expected {expected}, found {found.dtype} {found.shape}", "types and shapes of volumes")
