"""From paired files to a dataset: classes, splits, what is left out, and what is noted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import ClassificationData, Split
from mmablate.data.class_folders.pairing import CLASS, Pairs, Sample, find_pairs, pairing_problems, partner_faults
from mmablate.data.class_splits import SPLITS, Rule, split_rows
from mmablate.data.clips import Clip, ClipSplit, MediaReader, file_faults, kept
from mmablate.data.faults import Fault, FileFault, counted, told
from mmablate.data.image_folder.marks import marked
from mmablate.data.image_folder.patterns import SPLIT, fill, placeholders
from mmablate.data.range_layout import natural_key
from mmablate.data.untrusted import is_utf8
from mmablate.errors import DataError

Readers = Callable[[Mapping[str, Sequence[Path]]], Mapping[str, MediaReader]]
Scalers = Callable[[str, MediaReader, Sequence[Path]], MediaReader]


@dataclass(frozen=True)
class Plan:
    """How files become samples.

    Attributes:
        name: of the dataset; part of the hash that draws.
        root: the folder.
        patterns: modality -> pattern, in the order of the modalities.
        rule: of the draw.
        splits: split -> what {split} is in it, where the patterns have that placeholder.
        by: placeholders whose samples are drawn together.
        class_names: folders of the classes, in order; None: those there are, sorted.
        missing: of samples that lack a modality: "refuse" them, "drop" them, or "mask" what they lack: it is read as
            zeros.
        drop_faulty: leave samples out that have a file which cannot be used.
    """

    name: str
    root: Path
    patterns: Mapping[str, str]
    rule: Rule
    splits: Mapping[str, str]
    by: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    missing: str = "refuse"
    drop_faulty: bool = False

    @property
    def is_split(self) -> bool:
        """Whether the folders say which samples train."""
        return SPLIT in placeholders(next(iter(self.patterns.values())))


@dataclass(frozen=True)
class Survey:
    """What the names of the files give.

    Attributes:
        clips: split -> its samples.
        classes: their names.
        faults: samples that lack a modality, where they may not be dropped.
        notes: for the tables.
    """

    clips: Mapping[str, tuple[Clip, ...]]
    classes: tuple[str, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]

    @property
    def every(self) -> list[Clip]:
        """The samples of all splits, in natural order."""
        clips = [clip for own in self.clips.values() for clip in own]
        return sorted(clips, key=lambda clip: (natural_key(clip.id), clip.id))

    def paths(self) -> dict[str, list[Path]]:
        """Modality -> its files, in natural order of the samples."""
        clips = self.every
        names = dict.fromkeys(name for clip in clips for name in clip.files)
        return {name: files_of(clips, name) for name in names}


def files_of(clips: Sequence[Clip], modality: str) -> list[Path]:
    """The files of a modality, of those samples that have one."""
    return [clip.files[modality] for clip in clips if modality in clip.files]


def survey(plan: Plan) -> Survey:
    """Pairs the files and deals them to the splits; no file is opened.

    Raises:
        DataError: patterns that do not fit together, no samples, or splits that cannot be trained on.
    """
    problems = pairing_problems(plan.patterns, plan.by)
    if problems:
        raise DataError(problems)
    pairs = find_pairs(plan.root, plan.patterns, tuple(plan.splits.values()))
    lacking = partner_faults(plan.root, pairs, plan.patterns)
    samples = pairs.every if plan.missing == "mask" else pairs.complete
    if not all(any(name in sample.files for sample in samples) for name in plan.patterns):
        wanted = ", ".join(plan.patterns.values())
        raise DataError([*told(lacking), f"{plan.root}: expected samples ({wanted}), found none"])
    bare = _bare_classes(plan, pairs)
    if bare:
        raise DataError([*bare, *(told(lacking) if plan.missing == "refuse" else [])])
    classes, labels = _classes(plan, pairs, samples)
    groups = None
    if plan.by:
        groups = np.array(["/".join(sample.values[name] for name in plan.by) for sample in samples])
    words = _words(plan, samples) if plan.is_split else None
    ids = [sample.id for sample in samples]
    dealt, notes = split_rows(plan.root, ids, labels, classes, words, groups, plan.rule, plan.name)
    clips = {
        split: tuple(Clip(ids[row], int(labels[row]), samples[row].files) for row in rows.tolist())
        for split, rows in dealt.items()
    }
    if pairs.lacking and plan.missing != "refuse":
        notes = [pairs.note(tuple(plan.patterns), plan.missing), *notes]
    return Survey(clips, classes, tuple(lacking) if plan.missing == "refuse" else (), tuple(notes))


def _bare_classes(plan: Plan, pairs: Pairs) -> list[str]:
    """Classes without any file of a modality, as a folder under another name leaves behind.

    Masked, the absence of the modality would tell the class; dropped, nothing of the class would be left.
    """
    there = {(sample.values[CLASS], modality) for sample in pairs.every for modality in sample.files}
    return [
        f"{plan.root}: expected files of {modality} of every class, found none of {name!r} "
        f"({fill(pattern, {CLASS: name})!r})"
        for name in sorted({name for name, _ in there})
        for modality, pattern in plan.patterns.items()
        if (name, modality) not in there
    ]


def _classes(plan: Plan, pairs: Pairs, samples: Sequence[Sample]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names of the classes, and the number of each sample's. Raises DataError."""
    there = sorted({sample.values[CLASS] for sample in pairs.every})
    classes = tuple(plan.class_names or there)
    odd = [name for name in there if not is_utf8(name)]
    if odd:
        raise DataError(f"{plan.root}: expected folders of classes whose names are UTF-8, found {odd[0]!a}")
    unknown = [name for name in there if name not in classes]
    if unknown:
        some = ", ".join(unknown[:5])
        raise DataError(f"{plan.root}: expected the classes {', '.join(classes)} (class_names), found {some} too")
    if len(classes) < 2:
        raise DataError(f"{plan.root}: expected folders of at least two classes, found {', '.join(classes)} alone")
    empty = [name for name in classes if all(sample.values[CLASS] != name for sample in samples)]
    if empty:
        raise DataError(f"{plan.root}: expected samples of every class, found none of {', '.join(empty[:5])}")
    return classes, np.array([classes.index(sample.values[CLASS]) for sample in samples], dtype=np.int64)


def _words(plan: Plan, samples: Sequence[Sample]) -> NDArray[np.str_]:
    """Split of each sample."""
    names = {folder: split for split, folder in plan.splits.items()}
    return np.array([names[sample.values[SPLIT]] for sample in samples])


def faults_of(plan: Plan, found: Survey, make: Readers, *, thorough: bool) -> list[str]:
    """All that is wrong with the files, one line each; `thorough` reads them."""
    faults = list(found.faults)
    if thorough:
        try:
            readers = make(found.paths())
        except FileFault as error:
            return told([*faults, Fault.of(error)])
        faults += file_faults(found.every, readers)
    return told(faults)


def assemble(
    plan: Plan,
    found: Survey,
    make: Readers,
    scale: Scalers,
    *,
    attribution: str | None,
    synthetic: bool,
    cache_bytes: int,
) -> ClassificationData:
    """The dataset.

    Args:
        plan, found: see there.
        make: modality -> all files, to modality -> reader of the values as they are.
        scale: modality, its reader and its training files, to the reader that is trained with.
        attribution: whom the data come from.
        synthetic: whether they are generated; marks of the files say so, too.
        cache_bytes: a split that takes at most so many bytes is kept in memory.

    Raises:
        DataError: samples that lack a modality, files at fault.
    """
    if found.faults:
        raise DataError(told(found.faults))
    readers = make(found.paths())
    clips, notes = _sound(plan, found, readers)
    train = {name: files_of(clips["train"], name) for name in plan.patterns}
    bare = [f"{plan.root}: train: expected files of {name}, found none" for name, files in train.items() if not files]
    if bare:
        raise DataError(bare)
    try:
        readers = {name: scale(name, readers[name], train[name]) for name in plan.patterns}
        splits: dict[str, Split] = {split: kept(ClipSplit(own, readers), cache_bytes) for split, own in clips.items()}
    except DataError as error:  # of one file, or of one split
        raise DataError(told(file_faults(found.every, readers)) or error.problems) from None
    files = [dict(clip.files) for own in clips.values() for clip in own]
    return ClassificationData(
        name=plan.name,
        modalities={name: readers[name].shape for name in plan.patterns},
        class_names=found.classes,
        splits=splits,
        synthetic=synthetic or marked(plan.root, files),
        attribution=attribution,
        content=tuple(path for sample in files for path in sample.values()),
        notes=(*found.notes, *notes),
    )


def _sound(
    plan: Plan, found: Survey, readers: Mapping[str, MediaReader]
) -> tuple[dict[str, tuple[Clip, ...]], list[str]]:
    """The samples to use: all, or those whose files can be read. Raises DataError where a split has none left."""
    if not plan.drop_faulty:
        return dict(found.clips), []
    faults = file_faults(found.every, readers)
    faulty = {fault.scene for fault in faults}
    clips = {split: tuple(clip for clip in own if clip.id not in faulty) for split, own in found.clips.items()}
    classes = set(range(len(found.classes)))
    if not all(clips.values()) or {clip.label for clip in clips["train"]} != classes:
        raise DataError([f"{plan.root}: expected sound samples of every class, found too few", *told(faults)])
    if not faulty:
        return clips, []
    lost = {split: len(found.clips[split]) - len(own) for split, own in clips.items()}
    parts = ", ".join(f"{split} {number}" for split, number in lost.items() if number)
    return clips, [f"{counted(len(faulty), 'sample', 'was', 'were')} dropped for faulty files ({parts})."]


def split_problems(splits: Mapping[str, str]) -> list[str]:
    """What is wrong with the names of the splits' folders."""
    problems = [f"splits: expected train, val, test, found {name!r}" for name in splits if name not in SPLITS]
    if len(set(splits.values())) < len(splits):
        problems.append(f"splits: expected a folder each, found {', '.join(splits.values())}")
    return problems
