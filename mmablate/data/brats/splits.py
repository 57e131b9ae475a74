"""Which subjects train, validate and test, and which sequences the mask list leaves to those that train."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mmablate.data.brats.masks import Mask, generate_masks, rates_of, read_mask_list
from mmablate.data.brats.record import RECORD
from mmablate.data.brats.subjects import Home, Subject, bare
from mmablate.data.faults import Fault, counted
from mmablate.data.lists import read_rows
from mmablate.errors import DataError

SPLITS = ("train", "val", "test")
PUBLISHED_COUNTS = {"train": 219, "val": 50, "test": 100}
SPLIT_SEED = 1037
FOLDERS = ("BraTS/brats_split", "brats_split")
SHOWN = 5
EVERY: Mask = (True, True, True, True)


@dataclass
class Dealt:
    """Subjects of each split.

    Attributes:
        splits: split -> names, sorted as the published lists are.
        files: lists that were read.
        notes: sentences for tables.
        faults: names that fit nothing, or more than one split.
    """

    splits: dict[str, list[str]]
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass
class Masked:
    """Masks of the training subjects: name -> (flair, t1ce, t1, t2), and where they come from."""

    masks: dict[str, Mask]
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def below(home: Home, option: str, path: str) -> Path:
    """The path that an option names, below the root.

    Raises:
        DataError: an absolute path, or one that leads out of the root.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or not home.holds(home.root / pure):
        raise DataError(f"data.{option}: expected a path below {home.root}, found {path!r}")
    return home.root / pure


def deal(home: Home, stored: Path, subjects: Mapping[str, Subject], lists: str | None) -> Dealt:
    """Splits by train.txt, val.txt and test.txt, or by a hash of the names where there are none.

    Args:
        home: the root.
        stored: folder of vol/ and seg/; of NIfTI the root.
        subjects: those on disk.
        lists: folder of the lists below the root; None: the root, the folder of vol/, or brats_split.

    Raises:
        DataError: some of the three lists without the others, one that cannot be read, or, without lists, fewer than
            three subjects.
    """
    if lists is not None:
        folder = below(home, "lists", lists)
        if not any((folder / f"{split}.txt").is_file() for split in SPLITS):
            raise DataError(f"{folder}: expected train.txt, val.txt and test.txt (data.lists), found none")
    else:
        places = places_of(home.root, stored)
        there = [place for place in places if any((place / f"{split}.txt").is_file() for split in SPLITS)]
        if not there:
            return draw_splits(home.root, subjects)
        folder = there[0]
    return _listed(home, folder, subjects)


def places_of(root: Path, stored: Path) -> list[Path]:
    """Folders in which lists are looked for, in this order."""
    return list(dict.fromkeys([root, stored, *(root / name for name in FOLDERS), *(stored / n for n in FOLDERS)]))


def draw_splits(root: Path, subjects: Mapping[str, Subject]) -> Dealt:
    """A fixed split in the published proportions (219 : 50 : 100), the subjects ranked by a hash of their names.

    Raises:
        DataError: fewer than three subjects.
    """
    if len(subjects) < len(SPLITS):
        raise DataError(f"{root}: expected at least 3 subjects to split (there are no lists), found {len(subjects)}")
    ranked = sorted(subjects, key=lambda name: hashlib.sha256(f"{SPLIT_SEED}:{name}".encode()).digest())
    total = sum(PUBLISHED_COUNTS.values())
    counts = {split: max(1, round(len(ranked) * PUBLISHED_COUNTS[split] / total)) for split in ("test", "val")}
    splits, start = {}, 0
    for split, count in counts.items():
        splits[split] = in_order(subjects, ranked[start : start + count])
        start += count
    splits["train"] = in_order(subjects, ranked[start:])
    splits = {split: splits[split] for split in SPLITS}
    sizes = " / ".join(str(len(names)) for names in splits.values())
    note = f"Split drawn here by a hash of the names ({sizes}; published proportions 219 / 50 / 100): no lists on disk."
    return Dealt(splits, notes=[note])


def in_order(subjects: Mapping[str, Subject], names: Iterable[str]) -> list[str]:
    """Names sorted as the published lists are, those of 2020 by their grade first."""
    return sorted(names, key=lambda name: subjects[name].listed)


def _listed(home: Home, folder: Path, subjects: Mapping[str, Subject]) -> Dealt:
    dealt = Dealt({split: [] for split in SPLITS})
    owner: dict[str, str] = {}
    for split in SPLITS:
        path = home.check(folder / f"{split}.txt")
        if not path.is_file():
            raise DataError(f"{path}: expected this list beside the others of the split, found no file")
        dealt.files.append(path)
        names = [bare(cells[0]) for _, cells in read_rows(path, delimiter="\t", what="lists")]
        unknown = sorted({name for name in names if name not in subjects})
        if unknown:
            stopped = ""
            if (folder / RECORD).is_file():
                stopped = "; data prepare has begun here and not ended, give that command again"
            text = f"{path}: names subjects that are not on disk, {_some(unknown)}{stopped}"
            dealt.faults.append(Fault(text, "unknown subjects"))
        leaks = sorted({name for name in names if owner.get(name, split) != split})
        if leaks:
            text = f"{path}: expected each subject in one split, found {_some(leaks)} in {owner[leaks[0]]}.txt too"
            dealt.faults.append(Fault(text, "subjects in two splits"))
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            dealt.faults.append(Fault(f"{path}: expected each subject once, found {_some(twice)} again", "repeats"))
        owner.update((name, split) for name in names if name not in owner)
        dealt.splits[split] = in_order(subjects, (n for n in dict.fromkeys(names) if n in subjects))
        if not names:
            dealt.faults.append(Fault(f"{path}: expected the name of at least one subject, found none", "empty lists"))
    unlisted = len(subjects) - len(owner.keys() & subjects.keys())
    if unlisted:
        dealt.notes.append(f"{counted(unlisted, 'subject', 'is', 'are')} on disk but in no list, and not used.")
    return dealt


def find_masks(
    home: Home, stored: Path, subjects: Mapping[str, Subject], train: Sequence[str], masks: str | None, seed: int
) -> Masked:
    """Masks of the training subjects.

    Args:
        home: the root.
        stored: folder of vol/ and seg/; of NIfTI the root.
        subjects: those on disk.
        train: names of those that train.
        masks: "mrABCD", a CSV below the root, or None: every sequence that is there.
        seed: of a list that is drawn since it is not on disk.

    Raises:
        DataError: no such file, one that cannot be read, or a name that means neither.
    """
    if masks is None:
        return Masked(dict.fromkeys(train, EVERY))
    rates = rates_of(masks)
    if rates is None:
        path = below(home, "masks", masks)
        if not path.is_file():
            raise DataError(f"{path}: expected a mask list (data.masks), or a name like mr2468; found no such file")
    else:
        listed = _named_list(home, stored, subjects, masks)
        if listed is None:
            return _generated(subjects, train, masks, rates, seed)
        path = listed
    return _read(home.check(path), subjects, train)


def year_of(subjects: Iterable[str]) -> int:
    """2018 where names are of that year, else 2020; the mask lists of both lie in one folder."""
    return 2018 if any(name.startswith("Brats18_") for name in subjects) else 2020


def list_name(masks: str, year: int) -> str:
    """File of a published mask list."""
    return f"Brats{year}_imb_split_{masks}.csv"


def _named_list(home: Home, stored: Path, subjects: Mapping[str, Subject], masks: str) -> Path | None:
    for place in places_of(home.root, stored):
        path = place / list_name(masks, year_of(subjects))
        if path.is_file():
            return path
    return None


def draw_masks(
    subjects: Mapping[str, Subject], train: Sequence[str], rates: Sequence[float], seed: int
) -> dict[str, Mask]:
    """Masks drawn from missing rates for subjects in the order of the published lists."""
    names = in_order(subjects, train)
    rows = generate_masks(len(names), rates, seed).tolist() if names else []
    return {name: (row[0], row[1], row[2], row[3]) for name, row in zip(names, rows, strict=True)}


def _generated(
    subjects: Mapping[str, Subject], train: Sequence[str], masks: str, rates: Sequence[float], seed: int
) -> Masked:
    shares = ", ".join(f"{name} {rate:g}" for name, rate in zip(("T1", "T1ce", "FLAIR", "T2"), rates, strict=True))
    file = list_name(masks, year_of(subjects))
    note = f"Masks {masks} drawn here (missing rates {shares}; seed {seed}) by the published rule: no {file} on disk."
    return Masked(draw_masks(subjects, train, rates, seed), notes=[note])


def _read(path: Path, subjects: Mapping[str, Subject], train: Sequence[str]) -> Masked:
    found: dict[str, Mask] = {}
    faults = []
    for name, mask in read_mask_list(path).items():
        if bare(name) in found:
            faults.append(Fault(f"{path}: expected {bare(name)} once, found it with and without prefix", "repeats"))
        found[bare(name)] = mask
    unknown = sorted(found.keys() - subjects.keys())
    if unknown:
        faults.append(Fault(f"{path}: names subjects that are not on disk, {_some(unknown)}", "unknown subjects"))
    others = sorted(name for name in found.keys() - set(train) if name in subjects)
    if others:
        faults.append(Fault(f"{path}: expected training subjects, found {_some(others)}", "masks of other subjects"))
    lacking = [name for name in train if name not in found]
    if lacking:
        text = f"{path}: expected a row for each of {len(train)} training subjects, found none for {_some(lacking)}"
        faults.append(Fault(text, "subjects without a mask"))
    return Masked({name: found.get(name, EVERY) for name in train}, [path], [], faults)


def _some(names: Sequence[str]) -> str:
    """A few of the names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name[:60] if name.isprintable() else ascii(name[:60]) for name in names[:SHOWN]) + more
