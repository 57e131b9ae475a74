"""Subjects as NIfTI files: headers that must fit together, and volumes through the published preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmablate.data.brats.preprocessing import SEQUENCES, preprocess
from mmablate.data.brats.subjects import LABELS, Subject
from mmablate.data.faults import FileFault
from mmablate.data.untrusted import BROKEN, reason
from mmablate.errors import MissingExtra

Spacing = tuple[float, float, float]
Shape = tuple[int, int, int]

MOST_VOXELS = 1 << 26  # of one scan (BraTS: 240 x 240 x 155); more than 1 GiB of four sequences is no head
SAME = 1e-3  # mm by which affines may differ that were written by different programs
LABEL_SETS = ({0, 1, 2, 4}, {0, 1, 2, 3})


@dataclass(frozen=True)
class ScanHeader:
    """What a subject's headers say.

    Attributes:
        shape: voxels along the three axes.
        spacing: edges of a voxel, mm.
        synthetic: the description of one of them begins with "synthetic", as generated files have it.
    """

    shape: Shape
    spacing: Spacing
    synthetic: bool = False


def require_nibabel() -> Any:
    """The module nibabel. Raises MissingExtra where it is not installed."""
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtra(f'BraTS as NIfTI needs nibabel: pip install "mmablate[medical]" ({error})') from error
    return nibabel


def read_header(subject: Subject) -> ScanHeader:
    """Shape and spacing of a subject, whose files must agree in them and in their affine.

    Raises:
        FileFault: an unreadable header, no volume of real numbers, or a file that differs from the first one.
        MissingExtra: nibabel is not installed.
    """
    first: tuple[Path, ScanHeader, np.ndarray] | None = None
    synthetic = False
    for path in subject.files.values():
        image = _opened(path)
        header, affine = _header(path, image), np.asarray(image.affine, dtype=np.float64)
        synthetic = synthetic or header.synthetic
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise FileFault(path, "expected an affine that can be inverted, found none", "affines")
        if first is None:
            first = path, header, affine
            continue
        if header.shape != first[1].shape:
            text = f"expected the shape {_by(first[1].shape)} of {first[0].name}, found {_by(header.shape)}"
            raise FileFault(path, text, "shapes that differ within a subject")
        apart = float(np.abs(affine - first[2]).max())
        if apart > SAME:
            text = f"expected the affine of {first[0].name}, found one that differs by {apart:.4g}"
            raise FileFault(path, text, "affines that differ within a subject")
    assert first is not None
    return replace(first[1], synthetic=synthetic)


def read_subject(subject: Subject) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A subject through `preprocess`: float32 (h, w, z, 4) and labels uint8 (h, w, z).

    Raises:
        FileFault: a file that cannot be read, values that are not finite, labels other than 0, 1, 2, 4 or 0, 1, 2, 3,
            or a volume without a voxel above 0.
        MissingExtra: nibabel is not installed.
    """
    read_header(subject)
    volumes = {name: _intensities(subject.files[name]) for name in SEQUENCES if name in subject.files}
    labels = _labels(subject.files[LABELS])
    try:
        return preprocess(volumes, labels)
    except ValueError as error:
        raise FileFault(subject.place, str(error), "empty volumes") from None


def bytes_of(header: ScanHeader) -> int:
    """What a subject takes in memory at most, before it is cropped."""
    return int(np.prod(header.shape)) * (4 * len(SEQUENCES) + 1)


def label_problem(labels: np.ndarray, allowed: tuple[set[int], ...] = LABEL_SETS) -> str | None:
    """What is wrong with label values, None where nothing is."""
    # Of floating-point labels only whole numbers pass.
    values = {float(value) for value in np.unique(labels)}
    if any(values <= names for names in allowed):
        return None
    sets = " or ".join("{" + ", ".join(map(str, sorted(names))) + "}" for names in allowed)
    extra = ", ".join(f"{value:g}" for value in sorted(values, key=lambda value: (value != value, value))[:8])
    return f"expected labels of {sets}, found {extra}{', ...' if len(values) > 8 else ''}"


def _intensities(path: Path) -> NDArray[np.float32]:
    values = _values(path)
    if not np.isfinite(values).all():
        raise FileFault(path, "expected finite intensities, found NaN or infinity", "values that are not finite")
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if not np.isfinite(single).all():
        raise FileFault(path, "expected intensities of single precision, found larger ones", "values not finite")
    return single


def _labels(path: Path) -> np.ndarray:
    values = _values(path)
    problem = label_problem(values)
    if problem is not None:
        raise FileFault(path, problem, "unknown labels")
    return values.astype(np.uint8)


def _values(path: Path) -> np.ndarray:
    image = _opened(path)
    shape = _header(path, image).shape
    try:
        return np.asarray(image.dataobj).reshape(shape)
    except BROKEN as error:
        raise _unreadable(path, error) from None


def _opened(path: Path) -> Any:
    nibabel = require_nibabel()
    broken: tuple[type[Exception], ...] = (*BROKEN, *_own_errors(nibabel))
    try:
        image = nibabel.load(path, mmap=False)
    except broken as error:
        raise _unreadable(path, error) from None
    if not isinstance(image, nibabel.Nifti1Image):
        raise FileFault(path, f"expected NIfTI, found {type(image).__name__}", "unreadable scans")
    return image


def _own_errors(nibabel: Any) -> tuple[type[Exception], ...]:
    return (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.spatialimages.HeaderTypeError,
    )


def _unreadable(path: Path, error: BaseException) -> FileFault:
    return FileFault(path, f"expected a NIfTI file, found: {reason(error)[:200]}", "unreadable scans")


def _header(path: Path, image: Any) -> ScanHeader:
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:  # some programs write a time of one
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1 or int(np.prod(shape, dtype=object)) > MOST_VOXELS:
        text = f"expected a volume of three axes and at most {MOST_VOXELS} voxels, found {_by(shape)}"
        raise FileFault(path, text, "shapes of scans")
    kind = image.get_data_dtype()
    if kind.fields is not None or kind.kind not in "iuf":
        raise FileFault(path, f"expected whole or real numbers, found {kind}", "types of scans")
    spacing = tuple(float(edge) for edge in image.header.get_zooms()[:3])
    if not all(np.isfinite(spacing)) or min(spacing) <= 0:
        raise FileFault(path, f"expected edges of a voxel above 0 mm, found {_by(spacing)}", "spacings of scans")
    synthetic = bytes(image.header["descrip"].tobytes()).startswith(b"synthetic")
    return ScanHeader((shape[0], shape[1], shape[2]), (spacing[0], spacing[1], spacing[2]), synthetic)


def _by(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def common_spacing(headers: Mapping[Path, ScanHeader]) -> Spacing:
    """The spacing of all subjects, which distances in mm are measured by.

    Raises:
        FileFault: the first subject whose spacing differs from that of the others.
    """
    places = iter(headers.items())
    first, header = next(places)
    for place, other in places:
        if any(abs(a - b) > SAME for a, b in zip(header.spacing, other.spacing, strict=True)):
            text = f"expected voxels of {_by(header.spacing)} mm as of {first.name}, found {_by(other.spacing)} mm"
            raise FileFault(place, text, "spacings that differ between subjects")
    return header.spacing
