"""A small synthetic set in both layouts of BraTS: head phantoms with gliomas, seen by FLAIR, T1ce, T1 and T2.

Every subject is one brain of tissues with relaxation times; each sequence follows from them by its signal equation, so
that the sequences agree and differ as real ones do: oedema is bright in FLAIR and T2, the rim takes up contrast agent
and is bright in T1ce, the core is dark in T1 and T1ce. White-matter lesions are bright in FLAIR and vessels in T1ce
without being tumour. Nothing was measured, and every folder and NIfTI file says so.

What is simpler than in BraTS: volumes are `size` voxels an edge (a brain is about 36 x 41 x 39 of 48), in files that
give a voxel 1 mm as those of BraTS do, so that a brain is a quarter as long as a real one; outlines are drawn by one
annotator with smooth errors; and the mask lists are drawn otherwise (README.txt).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmablate.data.brats.atomic import write_array
from mmablate.data.brats.masks import PUBLISHED, rates_of, write_mask_list
from mmablate.data.brats.mini.mark import GENERATOR, VERSION
from mmablate.data.brats.mini.names import Person, draw_masks, draw_people
from mmablate.data.brats.mini.scanner import Subject, draw_subject
from mmablate.data.brats.mini.writing import needs_nibabel, write_nifti
from mmablate.data.brats.preprocessing import SEQUENCES, preprocess
from mmablate.data.generated import SYNTHETIC_FILE, write_json, write_set
from mmablate.errors import DataError

__all__ = ["make_brats"]

SMALLEST = 16
CHOSEN = "mr2468"
"""The list that recipes train with, drawn until it suits them."""

README = """Synthetic volumes in the layouts of BraTS 2020, written by `{generator}`. Nothing here was measured.

{volumes}
train, val, test    lists of subjects
BraTS/brats_split   mask lists: which sequences a training subject has

The mask lists differ from the published ones. The published rule gives each of the 15 subsets of sequences to one
subject at least, so that none is unseen in training; {train} subjects are too few for that to say much. Here each
sequence of each training subject is there with the list's own rate, independently, and a subject left without any is
drawn again. So rare subsets are unseen in training, and can be scored apart. Of such draws, {chosen} is the first that
leaves {complete} subjects with all four sequences (a meta batch of complete subjects needs them).
"""
STORED = "vol, seg            pre-processed volumes and labels"
DOWNLOADED = "BraTS20_Training_*  volumes and labels as downloaded; the folder above has them pre-processed"


def make_brats(
    root: Path, *, train: int = 24, val: int = 8, test: int = 12, size: int = 48, seed: int = 0, raw: bool = True
) -> None:
    """Writes the set to `root`; a set of the same options that is there already is left alone.

    `root` holds the pre-processed layout and, in `root/raw`, the folders as downloaded, each with its split lists and
    mask lists. Both hold the same subjects: `vol` is what `preprocess` makes of the integers in the raw files.

    Args:
        root: folder to make; missing or empty, or a set of these options.
        train, val, test: number of subjects of each split; every fifth is of low grade.
        size: voxels along each edge, at least 16.
        seed: same seed, same bytes.
        raw: write the NIfTI files as well, which needs nibabel.

    Raises:
        DataError: `root` holds something else, or cannot be written; numbers that cannot be.
        MissingExtra: nibabel is missing and `raw` is wanted.
    """
    root = Path(root)
    counts = {"train": train, "val": val, "test": test}
    if size < SMALLEST:
        raise DataError(f"size: a phantom needs at least {SMALLEST} voxels along an edge, got {size}")
    options: dict[str, Any] = {**counts, "size": size, "seed": seed, "raw": raw}
    mark = {"synthetic": True, "generator": GENERATOR, "version": VERSION, "options": options}
    people = draw_people(counts, seed)
    if raw:
        needs_nibabel()
    write_set(root, mark, lambda place: _write_set(place, people, mark))


def _write_set(root: Path, people: dict[str, list[Person]], mark: dict[str, Any]) -> None:
    """All subjects and lists, and a copy of the mark where a folder may be copied without the first."""
    size, seed, raw = (mark["options"][name] for name in ("size", "seed", "raw"))
    (root / "vol").mkdir()
    (root / "seg").mkdir()
    for person in (person for split in people.values() for person in split):
        subject = draw_subject(seed, person.number, size, person.kind)
        _write_arrays(root, person, subject)
        if raw:
            _write_raw(root / "raw", person, subject)
    write_json(root / "vol" / SYNTHETIC_FILE, mark)
    _write_lists(root, {split: [person.name for person in found] for split, found in people.items()}, seed, STORED)
    if raw:
        write_json(root / "raw" / SYNTHETIC_FILE, mark)
        names = {split: [person.raw for person in found] for split, found in people.items()}
        _write_lists(root / "raw", names, seed, DOWNLOADED)


def _write_arrays(root: Path, person: Person, subject: Subject) -> None:
    """The pre-processed files of one subject."""
    volumes = dict(zip(SEQUENCES, subject.volumes, strict=True))
    volume, labels = preprocess(volumes, subject.labels)
    write_array(root / "vol" / f"{person.name}_vol.npy", volume)
    write_array(root / "seg" / f"{person.name}_seg.npy", labels)


def _write_raw(raw: Path, person: Person, subject: Subject) -> None:
    """The folder of one subject as downloaded."""
    folder = raw / person.raw
    folder.mkdir(parents=True)
    for name, volume in zip(SEQUENCES, subject.volumes, strict=True):
        write_nifti(folder / f"{person.raw}_{name}.nii.gz", volume)
    write_nifti(folder / f"{person.raw}_seg.nii.gz", subject.labels)


def _write_lists(root: Path, names: dict[str, list[str]], seed: int, volumes: str) -> None:
    """Split lists, mask lists of the training subjects, and what is to know about these."""
    for split, found in names.items():
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in found), encoding="ascii")
    folder = root / "BraTS" / "brats_split"
    folder.mkdir(parents=True)
    complete = 0
    for title in PUBLISHED:
        rates = rates_of(title)
        assert rates is not None
        masks = draw_masks(len(names["train"]), rates, seed, chosen=title == CHOSEN)
        if title == CHOSEN:
            complete = int(np.all(masks, axis=1).sum())
        write_mask_list(folder / f"Brats2020_imb_split_{title}.csv", names["train"], masks)
    text = README.format(
        generator=GENERATOR, volumes=volumes, train=len(names["train"]), chosen=CHOSEN, complete=complete
    )
    (root / "README.txt").write_text(text, encoding="ascii")
