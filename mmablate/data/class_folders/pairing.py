"""Which files of a folder are one sample: those whose placeholders are equal in every modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmablate.data.faults import Fault, told
from mmablate.data.image_folder.patterns import SPLIT, fill, find, pattern_problems, placeholders
from mmablate.data.range_layout import natural_key
from mmablate.errors import DataError

CLASS = "class"


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        id: its placeholders, joined by "/".
        values: placeholder -> what it is.
        files: modality -> file; all modalities of a complete one.
    """

    id: str
    values: Mapping[str, str]
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Pairs:
    """The samples of a folder.

    Attributes:
        complete: in natural order of their ids.
        lacking: those without a file in some modality.
    """

    complete: tuple[Sample, ...]
    lacking: tuple[Sample, ...]

    @property
    def every(self) -> tuple[Sample, ...]:
        """All samples, in natural order of their ids."""
        return tuple(sorted((*self.complete, *self.lacking), key=lambda sample: (natural_key(sample.id), sample.id)))

    def note(self, modalities: Sequence[str], policy: str) -> str:
        """How many lack which modality, and what became of them: "drop" or "mask"."""
        missing = {name: sum(name not in sample.files for sample in self.lacking) for name in modalities}
        parts = ", ".join(f"without {name} {number}" for name, number in missing.items() if number)
        n = len(self.lacking)
        some = f"{n} samples lack a modality" if n > 1 else "1 sample lacks a modality"
        done = "were dropped" if n > 1 else "was dropped"
        return f"{some} and {done} ({parts})." if policy == "drop" else f"{some}, which is read as zeros ({parts})."


def pairing_problems(patterns: Mapping[str, str], by: Sequence[str] = ()) -> list[str]:
    """What is wrong with the patterns, one line each.

    Args:
        patterns: modality -> pattern.
        by: placeholders whose samples are drawn together.
    """
    problems = [text for name, pattern in patterns.items() for text in pattern_problems(name, pattern)]
    if problems:
        return problems
    first, *others = patterns
    known = set(placeholders(patterns[first]))
    if CLASS not in known or not known - {CLASS, SPLIT}:
        wanted = "the placeholder {class} and one that tells samples apart, such as {id}"
        problems.append(f"{first}: expected {wanted}, found {patterns[first]!r}")
    for name in others:
        if set(placeholders(patterns[name])) != known:
            wanted = f"the placeholders of {first} ({', '.join(placeholders(patterns[first]))})"
            problems.append(f"{name}: expected {wanted}, found {patterns[name]!r}")
    problems += [f"by: expected placeholders of the patterns, found {one!r}" for one in by if one not in known]
    return problems


def find_pairs(root: Path, patterns: Mapping[str, str], splits: Sequence[str] = ()) -> Pairs:
    """The samples below `root`. The patterns must be sound.

    Args:
        root: folder that the patterns start from.
        patterns: modality -> pattern; all with the same placeholders.
        splits: what {split} may be.

    Raises:
        DataError: no folder, one that cannot be listed, or two files of one modality for one sample.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected a folder, found {'a file' if root.exists() else 'nothing'}")
    names = placeholders(next(iter(patterns.values())))
    values: dict[tuple[str, ...], Mapping[str, str]] = {}
    files: dict[tuple[str, ...], dict[str, Path]] = {}
    faults: list[Fault] = []
    for modality, pattern in patterns.items():
        try:
            for match in find(root, pattern, splits):
                key = tuple(match.values[name] for name in names)
                values.setdefault(key, match.values)
                other = files.setdefault(key, {}).setdefault(modality, match.path)
                if other != match.path:
                    text = f"{match.path}: expected one file of {modality} for {'/'.join(key)}, found {other.name} too"
                    faults.append(Fault(text, f"samples of two files of {modality}"))
        except OSError as error:
            raise DataError(f"{error.filename or root}: cannot be listed ({error.strerror})") from None
    if faults:
        raise DataError(told(faults))
    order = sorted(files, key=lambda key: (natural_key("/".join(key)), key))
    samples = [Sample("/".join(key), values[key], files[key]) for key in order]
    complete = tuple(sample for sample in samples if len(sample.files) == len(patterns))
    return Pairs(complete, tuple(sample for sample in samples if len(sample.files) < len(patterns)))


def partner_faults(root: Path, pairs: Pairs, patterns: Mapping[str, str]) -> list[Fault]:
    """A fault for each file that a sample lacks."""
    faults = []
    for sample in pairs.lacking:
        path = next(iter(sample.files.values()))
        for name, pattern in patterns.items():
            if name not in sample.files:
                place = fill(pattern, sample.values)
                advice = "missing: drop leaves such samples out, mask reads zeros"
                text = f"{path}: expected its partner of {name}, {place}, found none ({advice})"
                faults.append(Fault(text, f"samples without {name}", sample.id))
    return faults
