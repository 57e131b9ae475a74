"""From NIfTI folders as downloaded to the .npy layout, a subject at a time; begun again where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from mmablate.data.brats.atomic import write_array, write_bytes
from mmablate.data.brats.finding import SEG, VOL, find_subjects
from mmablate.data.brats.masks import MASK_SEED, PUBLISHED, write_mask_list
from mmablate.data.brats.nifti import ScanHeader, common_spacing, read_header, read_subject, require_nibabel
from mmablate.data.brats.record import RECORD, Record
from mmablate.data.brats.splits import SPLITS, Dealt, deal, find_masks, list_name, places_of, year_of
from mmablate.data.brats.subjects import Home, Subject
from mmablate.data.faults import Fault, FileFault, counted, told
from mmablate.data.generated import SYNTHETIC_FILE, write_json
from mmablate.data.image_folder.marks import marked
from mmablate.errors import DataError

Tell = Callable[[str], None]
Progress = Callable[[int, int], None]
GENERATOR = "mmablate data prepare brats"
LOCK = ".prepare.lock"


def prepare_brats(
    root: Path, out: Path, *, tell: Tell = lambda text: None, progress: Progress = lambda done, total: None
) -> None:
    """Writes vol/ and seg/, the lists of the split and the eight published mask lists below `out`.

    A subject whose files are as they were when it was finished is passed over, so that a call after an interruption
    goes on where it stopped. Files that this function has not made are left as they are: lists and mask lists that
    `out` holds already are the ones that count.

    Args:
        root: folder of the NIfTI folders, and of lists, where there are any.
        out: folder to write to, another one than `root`: volumes beside the scans would be read in their place.
        tell: is given sentences for the user.
        progress: is given the number of subjects that are done and of all, after each.

    Raises:
        DataError: names or lists at fault, before anything is written; subjects at fault, all together, once the
            others are done; or a folder that cannot be written to.
        MissingExtra: nibabel is not installed.
    """
    root, out = Path(root), Path(out)
    require_nibabel()
    if out.resolve() == root.resolve():
        raise DataError(f"{out}: expected another folder than the one of the scans, which are left as they are")
    found = find_subjects(root, "nifti")
    if found.faults:
        raise DataError(told(found.faults))
    dealt = _dealt(root, out, found.subjects)
    masks = _masks(root, out, found.subjects, dealt.splits["train"])
    try:
        for folder in (out / VOL, out / SEG):
            folder.mkdir(parents=True, exist_ok=True)
        with FileLock(out / LOCK, timeout=0):
            _write_lists(out, found.subjects, dealt, masks)
            for note in (*found.notes, *dealt.notes):
                tell(note)
            _write_subjects(root, out, found.subjects, tell, progress)
    except Timeout:
        raise DataError(f"{out}: another call of data prepare writes to this folder") from None
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror or error})") from error


def _dealt(root: Path, out: Path, subjects: Mapping[str, Subject]) -> Dealt:
    """The split by the lists of `out`, or else of `root`, or drawn. Raises DataError for names at fault."""
    there = any((place / f"{split}.txt").is_file() for place in places_of(out, out) for split in SPLITS)
    source = out if there else root
    dealt = deal(Home(source), source, subjects, None)
    if dealt.faults:
        raise DataError(told(dealt.faults))
    return dealt


def _masks(root: Path, out: Path, subjects: Mapping[str, Subject], train: list[str]) -> dict[Path, np.ndarray]:
    """The mask lists that `out` lacks: file -> bool (N, 4), as in the lists of `root` or drawn."""
    lacking = {}
    for name in PUBLISHED:
        file = list_name(name, year_of(subjects))
        if any((place / file).exists() for place in places_of(out, out)):
            continue
        masked = find_masks(Home(root), root, subjects, train, name, MASK_SEED)
        if masked.faults:
            raise DataError(told(masked.faults))
        lacking[out / file] = np.array([masked.masks[subject] for subject in train], dtype=bool).reshape(-1, 4)
    return lacking


def _write_mark(root: Path, out: Path, subjects: Mapping[str, Subject], headers: Iterable[ScanHeader]) -> None:
    """What is made of synthetic scans is synthetic too; .npy files themselves have no place for a mark."""
    if any(header.synthetic for header in headers) or marked(root, (subject.files for subject in subjects.values())):
        for folder in (out, out / VOL):
            if not (folder / SYNTHETIC_FILE).exists():
                write_json(folder / SYNTHETIC_FILE, {"generator": GENERATOR, "made_from": "synthetic scans"})


def _write_lists(out: Path, subjects: Mapping[str, Subject], dealt: Dealt, masks: Mapping[Path, np.ndarray]) -> None:
    if not any(path.is_relative_to(out) for path in dealt.files):
        for split, names in dealt.splits.items():
            write_bytes(out / f"{split}.txt", "".join(f"{subjects[name].listed}\n" for name in names).encode())
    train = [subjects[name].listed for name in dealt.splits["train"]]
    for path, rows in masks.items():
        write_mask_list(path, train, rows)


@dataclass
class _Counts:
    written: int = 0
    kept: int = 0
    foreign: int = 0


def _write_subjects(root: Path, out: Path, subjects: Mapping[str, Subject], tell: Tell, progress: Progress) -> None:
    """Writes the volumes that are not there yet. Raises DataError for all subjects at fault, at the end."""
    record, counts, faults = Record(out), _Counts(), []
    headers: dict[Path, ScanHeader] = {}
    sound = []
    for subject in subjects.values():
        try:
            headers[subject.place] = read_header(subject)
            sound.append(subject)
        except FileFault as fault:
            faults.append(Fault.of(fault))
    _write_mark(root, out, subjects, headers.values())
    if headers:
        _keep_spacing(out, record, common_spacing(headers))
    for number, subject in enumerate(sound, start=1):
        try:
            _write_subject(out, subject, record, counts)
        except FileFault as fault:
            faults.append(Fault.of(fault))
        progress(number, len(sound))
    tell(_said(out, counts))
    if faults:
        raise DataError([*told(faults), f"{out}: {counted(len(faults), 'subject')} at fault not written"])


def _said(out: Path, counts: _Counts) -> str:
    parts = [f"{counted(counts.written, 'subject')} written"]
    if counts.kept:
        parts.append(f"{counts.kept} there already")
    if counts.foreign:
        parts.append(f"{counts.foreign} left as they are, since this command did not make them")
    return f"{out}: {', '.join(parts)}"


def _keep_spacing(out: Path, record: Record, spacing: tuple[float, float, float]) -> None:
    if record.spacing is None:
        record.add(spacing=list(spacing))
    elif any(abs(a - b) > 1e-3 for a, b in zip(record.spacing, spacing, strict=True)):
        text = f"expected scans of {record.spacing} mm as those prepared before, found {spacing} mm"
        raise DataError(f"{out / RECORD}: {text}")


def _write_subject(out: Path, subject: Subject, record: Record, counts: _Counts) -> None:
    name, sources = subject.listed, _sources(subject)
    targets = (out / VOL / f"{name}_vol.npy", out / SEG / f"{name}_seg.npy")
    if name not in record.begun and any(path.exists() for path in targets):
        counts.foreign += 1
        return
    if record.done.get(name) == sources and all(path.is_file() for path in targets):
        counts.kept += 1
        return
    volume, labels = read_subject(subject)
    record.add(begun=name)
    for path in targets:
        for stale in path.parent.glob(f".{path.name}.*.part"):  # of a call that was killed
            stale.unlink()
    write_array(targets[0], volume)
    write_array(targets[1], labels)
    record.add(done=name, sources=sources)
    counts.written += 1


def _sources(subject: Subject) -> dict[str, Any]:
    """Size and time of change of each file of a subject, as JSON has them."""
    stats = {role: path.stat() for role, path in subject.files.items()}
    return {role: [stat.st_size, stat.st_mtime_ns] for role, stat in stats.items()}
