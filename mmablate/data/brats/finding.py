"""The two layouts of BraTS on a disk: NIfTI as downloaded, and pre-processed .npy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmablate.data.brats.preprocessing import SEQUENCES
from mmablate.data.brats.subjects import LABELS, NAME, STORED, Home, Subject, bare, grade_of
from mmablate.data.faults import Fault, FileFault, counted
from mmablate.errors import DataError

Layout = Literal["nifti", "npy"]

SCAN = re.compile(r"(.+)_(flair|t1ce|t1|t2|seg)\.nii(\.gz)?", re.ASCII)
# One subject of BraTS 2020 (355) came with labels named by hand, e.g. W39_1998.09.19_Segm.nii.
ODD_LABELS = re.compile(r".+_Segm\.nii(\.gz)?", re.ASCII)
ANY = re.compile(r"\.nii(\.gz)?$", re.ASCII)
UNLABELLED = re.compile(r"_(Validation|Testing)_", re.ASCII)
DEEPEST = 4  # folders between the root and a scan: e.g. MICCAI_BraTS2020_TrainingData/HGG/<subject>
VOL, SEG = "vol", "seg"


@dataclass
class Found:
    """What lies in a root.

    Attributes:
        layout: which of the two.
        home: folder that holds vol/ and seg/; of NIfTI the root.
        subjects: by name, sorted.
        faults: files that cannot be told or are one too many.
        notes: sentences about what was left out.
    """

    layout: Layout
    home: Path
    subjects: dict[str, Subject] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_subjects(root: Path, layout: str) -> Found:
    """Looks for subjects by names alone.

    Args:
        root: the user's folder.
        layout: "nifti", "npy", or "auto": .npy where there is a folder vol beside a folder seg, else NIfTI.

    Raises:
        DataError: no such layout in the root.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected a folder, found none")
    home = _stored_home(root) if layout != "nifti" else None
    if home is not None:
        found = _find_stored(home, Home(root))
        wanted = "vol/<name>_vol.npy and seg/<name>_seg.npy"
    elif layout == "npy":
        raise DataError(f"{root}: expected folders vol and seg of pre-processed volumes, found none")
    else:
        found = _find_scans(root)
        wanted = "<name>/<name>_{flair,t1,t1ce,t2,seg}.nii or .nii.gz"
        if layout == "auto":
            wanted += ", or pre-processed volumes in folders vol and seg"
    if not found.subjects and not found.faults:
        raise DataError(f"{root}: expected {wanted}, found none")
    found.subjects = dict(sorted(found.subjects.items()))
    return found


def _stored_home(root: Path) -> Path | None:
    """The folder of vol/ and seg/: the root, or one or two levels below it."""
    for pattern in ("", "*", "*/*"):
        for folder in sorted(root.glob(pattern)) if pattern else [root]:
            if not folder.name.startswith(".") and (folder / VOL).is_dir() and (folder / SEG).is_dir():
                return folder
    return None


def _find_stored(folder: Path, home: Home) -> Found:
    found = Found("npy", folder)
    for path in sorted((folder / VOL).glob("*_vol.npy")):
        if path.name.startswith("."):
            continue
        name = path.name.removesuffix("_vol.npy")
        try:
            labels = home.check(folder / SEG / f"{name}_seg.npy")
            if not labels.is_file():
                raise FileFault(labels, f"expected the labels of {path.name}, found no file", "missing labels")
            _add(found, Subject(_checked(path, name), grade_of(name), {STORED: home.check(path), LABELS: labels}))
        except FileFault as fault:
            found.faults.append(Fault.of(fault))
    for path in sorted((folder / SEG).glob("*_seg.npy")):
        volume = folder / VOL / f"{path.name.removesuffix('_seg.npy')}_vol.npy"
        if not path.name.startswith(".") and not volume.is_file():
            found.faults.append(Fault(f"{volume}: expected the volume of {path.name}, found no file", "no volume"))
    return found


def _find_scans(root: Path) -> Found:
    found = Found("nifti", root)
    home = Home(root)
    unlabelled = 0
    for folder, names in _folders(root):
        try:
            files = _scans(folder, names, home)
            if not files:
                continue
            if LABELS not in files and UNLABELLED.search(folder.name):
                unlabelled += 1
                continue
            if LABELS not in files:
                raise FileFault(folder, f"expected {folder.name}_seg.nii or .nii.gz, found neither", "missing labels")
            if len(files) == 1:
                text = f"expected at least one of {', '.join(SEQUENCES)}, found labels alone"
                raise FileFault(folder, text, "subjects without a sequence")
            name = _checked(folder, folder.name)
            _add(found, Subject(name, grade_of(folder.name, folder.parent.name), files))
        except FileFault as fault:
            found.faults.append(Fault.of(fault))
    if unlabelled:
        found.notes.append(f"{counted(unlabelled, 'subject')} of the challenge's unlabelled sets not used.")
    return found


def _scans(folder: Path, names: list[str], home: Home) -> dict[str, Path]:
    """Sequence or "seg" -> file of a folder; {} where it holds no scans."""
    files: dict[str, Path] = {}
    odd, strange = [], []
    for name in sorted(names):
        scan = SCAN.fullmatch(name)
        if scan is None:
            labels = ODD_LABELS.fullmatch(name) is not None
            odd += [folder / name] if labels else []
            strange += [name] if not labels and name.startswith(f"{folder.name}_") and ANY.search(name) else []
            continue
        path = home.check(folder / name)
        if scan[1] != folder.name:
            raise FileFault(path, f"expected a scan of {folder.name} in its folder, found one of {scan[1]}", "mix-ups")
        if scan[2] in files:
            text = f"expected one file of {scan[2]}, found {files[scan[2]].name} too"
            raise FileFault(path, text, "scans that are there twice")
        files[scan[2]] = path
    if strange:  # a sequence of another spelling would pass for a missing one
        text = (
            f"expected the endings {', '.join(f'_{key}' for key in (*SEQUENCES, LABELS))}, found {', '.join(strange)}"
        )
        raise FileFault(folder, text, "scans of other names")
    if files and LABELS not in files and len(odd) == 1:
        files[LABELS] = home.check(odd[0])
    return {name: files[name] for name in (*SEQUENCES, LABELS) if name in files}


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders of the root with the names of their files, sorted; hidden ones and those of .npy left out."""
    seen: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        folder = Path(place)
        if real in seen or len(folder.relative_to(root).parts) >= DEEPEST:
            folders.clear()
        if real in seen:
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in (VOL, SEG))
        yield folder, [name for name in names if not name.startswith(".") and (folder / name).is_file()]


def _checked(path: Path, name: str) -> str:
    """The name without prefix. Raises FileFault where it could not stand in a list."""
    if NAME.fullmatch(name) is None:
        raise FileFault(path, "expected a name of letters, digits, '_', '-' and '.', found another", "odd names")
    return bare(name)


def _add(found: Found, subject: Subject) -> None:
    if subject.name in found.subjects:
        other = found.subjects[subject.name].place
        raise FileFault(subject.place, f"expected {subject.name} once, found it in {other} too", "subjects twice")
    found.subjects[subject.name] = subject
