"""Small BraTS trees in both layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np

SEQUENCES = ("flair", "t1ce", "t1", "t2")
SHAPE = (14, 12, 10)
NUMBERS = (1, 2, 3, 260, 261, 336)  # of either grade


def name_of(number: int) -> str:
    return f"BraTS20_Training_{number:03d}"


def scans(number: int, shape: tuple[int, int, int] = SHAPE, *, most: int = 4) -> dict[str, np.ndarray]:
    """int16 intensities with a rim of 0 around them, and labels 0, 1, 2 and `most`."""
    random = np.random.default_rng(number)
    inside = np.zeros(shape, dtype=bool)
    inside[2:-2, 1:-2, 1:-1] = True
    found = {name: np.where(inside, random.integers(1, 900, shape), 0).astype(np.int16) for name in SEQUENCES}
    found["seg"] = np.where(inside, random.choice([0, 0, 1, 2, most], shape), 0).astype(np.int16)
    return found


def write_scan(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def write_subject(folder: Path, values: Mapping[str, np.ndarray], ending: str = ".nii.gz") -> None:
    for role, array in values.items():
        write_scan(folder / f"{folder.name}_{role}{ending}", array)


def write_raw(root: Path, numbers: Sequence[int] = NUMBERS, shape: tuple[int, int, int] = SHAPE) -> None:
    for number in numbers:
        write_subject(root / name_of(number), scans(number, shape))


def write_lists(root: Path, train: Sequence[str], val: Sequence[str], test: Sequence[str], ends: str = "\n") -> None:
    for split, names in (("train", train), ("val", val), ("test", test)):
        (root / f"{split}.txt").write_bytes("".join(name + ends for name in names).encode())


def write_stored(root: Path, name: str, volume: np.ndarray, labels: np.ndarray) -> None:
    for folder, array in (("vol", volume), ("seg", labels)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        np.save(root / folder / f"{name}_{folder}.npy", array)


def stored(number: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(number)
    return random.normal(size=(*shape, 4)).astype(np.float32), random.integers(0, 4, shape).astype(np.uint8)


def write_npy(root: Path, numbers: Sequence[int] = NUMBERS) -> list[str]:
    """Volumes of these numbers with their prefixes; the names."""
    names = [("LG_" if 260 <= number <= 335 else "HG_") + name_of(number) for number in numbers]
    for name, number in zip(names, numbers, strict=True):
        write_stored(root, name, *stored(number))
    return names
