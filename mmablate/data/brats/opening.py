"""BraTS 2018 and 2020 as a dataset: tumours in 3D scans of which every subject may lack some sequences.

Menze et al. 2015, Bakas et al. 2017 and 2018. Two layouts are read: NIfTI as downloaded, and the .npy files that
the code of PASSION (Shi et al. 2024) makes of them; both give the same numbers to the bit, since NIfTI goes through
the same preprocessing when it is first read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import VolumeData, VolumeSplit
from mmablate.data.brats.finding import Found, find_subjects
from mmablate.data.brats.masks import MASK_SEED
from mmablate.data.brats.nifti import (
    ScanHeader,
    Spacing,
    bytes_of,
    common_spacing,
    read_header,
    read_subject,
    require_nibabel,
)
from mmablate.data.brats.preprocessing import SEQUENCES
from mmablate.data.brats.record import read_spacing
from mmablate.data.brats.split import BratsSplit, KeptVolumes, MappedVolumes, Volumes, read_stored
from mmablate.data.brats.splits import EVERY, SPLITS, deal, find_masks
from mmablate.data.brats.stored import open_subject, presence_of
from mmablate.data.brats.subjects import Home, Subject
from mmablate.data.faults import Fault, FileFault, counted, told
from mmablate.data.image_folder.marks import marked
from mmablate.errors import DataError

ATTRIBUTION = "BraTS (Menze et al. 2015; Bakas et al. 2017, 2018)"
SYNTHETIC = "synthetic scans by mmablate data make brats"
CLASS_NAMES = ("background", "NCR/NET", "ED", "ET")
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
# Necrosis red, oedema green, enhancing tumour yellow, as is the custom, in tones that colour-blind readers tell apart
# (Okabe and Ito 2008).
COLOURS = ((0, 0, 0), (213, 94, 0), (0, 158, 115), (240, 228, 66))
TITLES = {"flair": "FLAIR", "t1ce": "T1ce", "t1": "T1", "t2": "T2"}
CACHE_BYTES = 1 << 30


@dataclass
class Survey:
    """What a look at names, lists and headers gives.

    Attributes:
        found: subjects on disk, those at fault left out.
        splits: split -> its subjects.
        masks: name -> mask of each training subject.
        presence: name -> sequences by the files, bool (4,).
        nbytes: what all subjects of the splits take in memory, at most.
        spacing: edges of a voxel, mm.
        synthetic: a NIfTI header says that its scans were generated.
        lists: the split's and the mask list's files.
        notes, faults: as in the data.
    """

    found: Found
    splits: dict[str, list[Subject]]
    masks: Mapping[str, Sequence[bool]]
    presence: dict[str, NDArray[np.bool_]]
    nbytes: int
    spacing: Spacing
    synthetic: bool
    lists: list[Path]
    notes: list[str]
    faults: list[Fault]


def check_brats(
    root: Path,
    *,
    modalities: Sequence[str],
    layout: str = "auto",
    masks: str | None = "mr2468",
    lists: str | None = None,
    mask_seed: int = MASK_SEED,
    thorough: bool = False,
) -> list[str]:
    """All faults of a folder, one line each; [] where all is well. Arguments as of `open_brats`.

    Args:
        thorough: read every voxel; otherwise names, lists and headers only.
    """
    try:
        found = survey(Path(root), modalities, layout, masks, lists, mask_seed)
    except DataError as error:
        return error.problems
    faults = list(found.faults)
    if thorough:
        for subject in (subject for subjects in found.splits.values() for subject in subjects):
            try:
                read_stored(subject) if found.found.layout == "npy" else read_subject(subject)
            except FileFault as fault:
                faults.append(Fault.of(fault))
    return told(faults)


def open_brats(
    root: Path,
    *,
    modalities: Sequence[str],
    layout: str = "auto",
    masks: str | None = "mr2468",
    lists: str | None = None,
    mask_seed: int = MASK_SEED,
    cache_bytes: int = CACHE_BYTES,
) -> VolumeData:
    """BraTS, or a mini set in its layout.

    A set that takes at most `cache_bytes` is read here and kept. Of a larger one, boxes of .npy files are read when
    asked for, and of NIfTI subjects the last ones within `cache_bytes` are kept; their voxels are looked at when they
    are read (all at once by `check_brats`). A NIfTI subject must be read for its size to be known, and again whenever
    it is no longer kept: `prepare_brats` is worth its while for the whole of BraTS.

    Args:
        root: the folder as downloaded, or the folder that holds vol/ and seg/ or one up to two levels above it.
        modalities: some of "flair", "t1ce", "t1", "t2", in the order wanted.
        layout: "nifti", "npy", or "auto": .npy where there is any.
        masks: name of a published list (mrABCD: missing rates of T1, T1ce, FLAIR and T2 in tenths), drawn from its
            rates where it is not on disk; a path below the root; None: training sees every sequence on disk.
        lists: folder of train.txt, val.txt and test.txt below the root; None: where they usually lie.
        mask_seed: of a list that is drawn.
        cache_bytes: see above.

    Raises:
        DataError: all faults found in names, lists and headers, and in the voxels of a set that is kept.
        MissingExtra: NIfTI without nibabel.
    """
    found = survey(Path(root), modalities, layout, masks, lists, mask_seed)
    if found.faults:
        raise DataError(told(found.faults))
    columns = [SEQUENCES.index(name) for name in modalities]
    kept, presence, notes = _kept(found, columns)
    volumes = _volumes(found, kept, cache_bytes)
    graded = all(subject.grade for subjects in kept.values() for subject in subjects)
    splits: dict[str, VolumeSplit] = {
        split: BratsSplit(subjects, presence[split], columns, volumes, graded=graded)
        for split, subjects in kept.items()
    }
    files = [path for subjects in kept.values() for subject in subjects for path in subject.files.values()]
    every = (subject.files for subjects in kept.values() for subject in subjects)
    synthetic = found.synthetic or marked(Path(root), every)
    return VolumeData(
        name="brats",
        modalities=dict.fromkeys(modalities, 1),
        class_names=CLASS_NAMES,
        regions=dict(REGIONS),
        spacing=found.spacing,
        splits=splits,
        synthetic=synthetic,
        attribution=SYNTHETIC if synthetic else ATTRIBUTION,
        content=(*files, *found.lists),
        colours=COLOURS,
        notes=(*found.notes, *notes),
    )


def survey(
    root: Path, modalities: Sequence[str], layout: str, masks: str | None, lists: str | None, mask_seed: int
) -> Survey:
    """Looks at names, lists and headers.

    Raises:
        DataError: no subjects, no sound lists, or no such modalities.
        MissingExtra: NIfTI without nibabel.
    """
    if not modalities or len(set(modalities)) < len(modalities) or not set(modalities) <= set(SEQUENCES):
        raise DataError(f"modalities: brats has {', '.join(SEQUENCES)}, each at most once; got {', '.join(modalities)}")
    found = find_subjects(root, layout)
    home = Home(root)
    if found.layout == "nifti":
        require_nibabel()
    known = dict(found.subjects)
    faults = list(found.faults)
    presence, nbytes, headers = _headers(found, faults)
    if found.faults:  # lists would be blamed for subjects that could not be told
        raise DataError(told(faults))
    try:
        dealt = deal(home, found.home, known, lists)
        masked = find_masks(home, found.home, known, dealt.splits["train"], masks, mask_seed)
    except DataError as error:
        raise DataError([*told(faults), *error.problems]) from None
    faults += [*dealt.faults, *masked.faults, *_absent(found, presence, modalities)]
    splits = {split: [known[name] for name in dealt.splits[split] if name in presence] for split in SPLITS}
    used = [subject for subjects in splits.values() for subject in subjects]
    spacing = _spacing(found, {headers[s.name][0]: headers[s.name][1] for s in used if s.name in headers}, faults)
    return Survey(
        found=found,
        splits=splits,
        masks=masked.masks,
        presence=presence,
        nbytes=sum(nbytes[subject.name] for subject in used),
        spacing=spacing,
        synthetic=any(headers[s.name][1].synthetic for s in used if s.name in headers),
        lists=[*dealt.files, *masked.files],
        notes=[*found.notes, *dealt.notes, *masked.notes],
        faults=faults,
    )


def _absent(found: Found, presence: Mapping[str, NDArray[np.bool_]], modalities: Sequence[str]) -> list[Fault]:
    """Sequences that no subject has: a slip of names, or to be left out."""
    if not presence:
        return []
    anywhere = [any(row[k] for row in presence.values()) for k in range(len(SEQUENCES))]
    return [
        Fault(f"{found.home}: expected {name} of a subject at least, found none: leave it out of data.modalities", name)
        for name, there in zip(SEQUENCES, anywhere, strict=True)
        if name in modalities and not there
    ]


Headers = dict[str, tuple[Path, ScanHeader]]


def _headers(found: Found, faults: list[Fault]) -> tuple[dict[str, NDArray[np.bool_]], dict[str, int], Headers]:
    """Sequences, bytes in memory and, of NIfTI, place and header of each sound subject, by name."""
    presence: dict[str, NDArray[np.bool_]] = {}
    nbytes: dict[str, int] = {}
    headers: Headers = {}
    for name, subject in found.subjects.items():
        try:
            if found.layout == "nifti":
                header = read_header(subject)
                headers[name] = subject.place, header
                there, nbytes[name] = tuple(k in subject.files for k in SEQUENCES), bytes_of(header)
            else:
                there, nbytes[name] = presence_of(subject), sum(part.nbytes for part in open_subject(subject))
            if not any(there):
                text = "expected at least one sequence that is not 0 throughout, found none"
                raise FileFault(subject.place, text, "subjects without a sequence")
            presence[name] = np.array(there)
        except FileFault as fault:
            faults.append(Fault.of(fault))
    return presence, nbytes, headers


def _spacing(found: Found, headers: Mapping[Path, ScanHeader], faults: list[Fault]) -> Spacing:
    """Of the NIfTI headers, or what was written down when .npy files were made of them; else the published 1 mm."""
    if not headers:
        return read_spacing(found.home) or (1.0, 1.0, 1.0)
    try:
        return common_spacing(headers)
    except FileFault as fault:
        faults.append(Fault.of(fault))
        return (1.0, 1.0, 1.0)


def _kept(
    found: Survey, columns: Sequence[int]
) -> tuple[dict[str, list[Subject]], dict[str, NDArray[np.bool_]], list[str]]:
    """Subjects and presence (N, M) of each split, those without any of the modalities dropped, and notes about it.

    Raises:
        DataError: a split of which none is left.
    """
    kept: dict[str, list[Subject]] = {}
    presence: dict[str, NDArray[np.bool_]] = {}
    notes = [*_missing(found)]
    for split, subjects in found.splits.items():
        rows = [
            found.presence[s.name] & np.asarray(found.masks[s.name] if split == "train" else EVERY) for s in subjects
        ]
        chosen = np.array(rows, dtype=bool).reshape(-1, len(SEQUENCES))[:, list(columns)]
        some = np.array([bool(row.any()) for row in chosen], dtype=bool)
        kept[split] = [subject for subject, there in zip(subjects, some.tolist(), strict=True) if there]
        presence[split] = chosen[some]
        asked = ", ".join(TITLES[SEQUENCES[k]] for k in columns)
        if not some.all():
            gone = counted(int((~some).sum()), "subject", "has", "have")
            notes.append(f"{split}: {gone} none of {asked}, and left out.")
        if not some.any():
            raise DataError(f"{found.found.home}: expected a subject of {split} with one of {asked}, found none")
    return kept, presence, notes


def _missing(found: Survey) -> list[str]:
    """A sentence on sequences without a file."""
    rows = np.array([found.presence[s.name] for subjects in found.splits.values() for s in subjects], dtype=bool)
    lacking: list[int] = np.logical_not(rows).sum(axis=0).tolist()
    if not any(lacking):
        return []
    parts = ", ".join(f"{TITLES[name]} of {n}" for name, n in zip(SEQUENCES, lacking, strict=True) if n)
    return [f"Sequences that are not on disk, and count as missing: {parts} (of {counted(len(rows), 'subject')})."]


def _volumes(found: Survey, kept: Mapping[str, Sequence[Subject]], cache_bytes: int) -> Volumes:
    """Where voxels come from; a set within `cache_bytes` is read. Raises DataError for all faults of its voxels."""
    stored = found.found.layout == "npy"
    small = found.nbytes <= cache_bytes
    if stored and not small:
        return MappedVolumes()
    volumes = KeptVolumes(stored=stored, limit=cache_bytes)
    faults = []
    for subject in (s for subjects in kept.values() for s in subjects) if small else ():
        try:
            volumes.whole(subject)
        except FileFault as fault:
            faults.append(Fault.of(fault))
    if faults:
        raise DataError(told(faults))
    return volumes
