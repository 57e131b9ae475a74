"""Finds the samples of a folder: one file a modality and one with the labels, of equal placeholders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmablate.data.base import SampleInfo
from mmablate.data.image_folder.drawing import choose, draw, read_list
from mmablate.data.image_folder.faults import Fault
from mmablate.data.image_folder.layout import LABELS, SPLITS, FolderLayout
from mmablate.data.image_folder.patterns import SPECIAL, SPLIT, fill, find, placeholders
from mmablate.data.range_layout import natural_key


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        split: "train", "val" or "test".
        name: its placeholders but the split, joined by "/".
        files: role -> file; roles are the modalities and `LABELS`.
        conditions: axis -> value.
    """

    split: str
    name: str
    files: Mapping[str, Path]
    conditions: Mapping[str, str]

    @property
    def info(self) -> SampleInfo:
        """What the rest of mmablate knows it by."""
        return SampleInfo(f"{self.split}/{self.name}", dict(self.conditions))


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        splits: split -> its complete samples, in natural order of their names.
        faults: samples that lack a file, files that cannot be told apart, splits that are empty.
        lists: list files read.
    """

    splits: dict[str, list[Sample]]
    faults: list[Fault]
    lists: list[Path] = field(default_factory=list)


@dataclass
class _Group:
    """The files of one sample while they are collected.

    Attributes:
        values: placeholder -> what it is in the files' paths.
        files: role -> file.
        unlike: a line for each file that has another value than a file before it.
    """

    values: dict[str, str]
    files: dict[str, Path] = field(default_factory=dict)
    unlike: list[Fault] = field(default_factory=list)


Groups = dict[tuple[str, str], _Group]  # (split or "", name) -> files


def find_samples(layout: FolderLayout) -> Found:
    """The samples of all splits. The layout must be sound."""
    if not layout.root.is_dir():
        found = "a file" if layout.root.exists() else "nothing"
        return Found({}, [Fault("folders", f"{layout.root}: expected a folder, found {found}")])
    groups, faults = _collect(layout)
    lists: list[Path] = []
    if faults:
        return Found({}, faults)
    groups = _without_leftovers(layout, groups)
    if layout.fractions is not None:
        groups = _drawn(layout, groups)
    elif layout.lists:
        groups, faults, lists = _listed(layout, groups)
    splits: dict[str, list[Sample]] = {name: [] for name in layout.splits or SPLITS}
    for (split, name), group in sorted(groups.items(), key=lambda item: (natural_key(item[0][1]), item[0][1])):
        wrong = _missing(layout, split, name, group)
        wrong += [Fault(fault.kind, fault.line, (split, name)) for fault in group.unlike]
        faults.extend(wrong)
        if not wrong:
            conditions = {axis: group.values[axis] for axis in layout.conditions}
            splits[split].append(Sample(split, name, group.files, conditions))
    faults.extend(_axis_faults(layout, splits))
    return Found(splits, faults + _empty(layout, splits, {split for split, _ in groups}), lists)


def _collect(layout: FolderLayout) -> tuple[Groups, list[Fault]]:
    """All files that match a pattern, by sample; faults that leave nothing to go on with."""
    folders = {folder: split for split, folder in (layout.splits or {}).items() if not layout.lists}
    by_role = {}
    faults = []
    for role, text in layout.patterns.items():
        try:
            by_role[role], twice = _index(layout, role, text, folders)
            faults.extend(twice)
        except OSError as fault:
            path = fault.filename or layout.root
            faults.append(Fault("folders", f"{path}: expected a folder for {role}, found: {fault.strerror or fault}"))
            continue
        if not by_role[role]:
            line = f"{layout.root / text}: expected files of {role}, found none that match"
            faults.append(Fault("patterns without files", line))
    return ({}, faults) if faults else (_join(layout, by_role), [])


def _index(layout: FolderLayout, role: str, text: str, folders: Mapping[str, str]) -> tuple[Groups, list[Fault]]:
    groups: Groups = {}
    faults = []
    for match in find(layout.root, text, tuple(folders)):
        name = "/".join(match.values[key] for key in layout.key)
        at = (folders.get(match.values.get(SPLIT, ""), ""), name)
        if at in groups:
            first = groups[at].files[role].relative_to(layout.root)
            line = f"{match.path}: expected one file of {role} for sample {name}, found {first} too"
            faults.append(Fault(f"files of {role} beside another of the same placeholders", line))
            continue
        groups[at] = _Group({k: v for k, v in match.values.items() if k != SPLIT}, {role: match.path})
    return groups, faults


def _join(layout: FolderLayout, by_role: Mapping[str, Groups]) -> Groups:
    """Files of all roles by sample; a role whose pattern has no {split} serves every split."""
    splitting = [role for role, text in layout.patterns.items() if SPLIT in placeholders(text)]
    roles = splitting or list(by_role)
    joined: Groups = {}
    for role in roles:
        for at, group in by_role[role].items():
            _merge(layout, joined, at, role, group)
    places: dict[str, list[tuple[str, str]]] = {}
    for at in joined:
        places.setdefault(at[1], []).append(at)
    for role in set(by_role) - set(roles):
        for (_, name), group in by_role[role].items():
            for at in places.get(name, []):
                _merge(layout, joined, at, role, group)
    return joined


def _merge(layout: FolderLayout, joined: Groups, at: tuple[str, str], role: str, group: _Group) -> None:
    whole, path = joined.setdefault(at, _Group({})), group.files[role]
    for key, value in group.values.items():
        known = whole.values.setdefault(key, value)
        if known != value:
            first = next(other for other in whole.files if key in placeholders(layout.patterns[other]))
            model = f"as in {whole.files[first].relative_to(layout.root)}, a file of the same sample {at[1]}"
            line = f"{path}: expected {key} {known!r} {model}, found {value!r}"
            whole.unlike.append(Fault(f"files of one sample that disagree in {key}", line))
    whole.files[role] = path


def _without_leftovers(layout: FolderLayout, groups: Groups) -> Groups:
    """The samples but for those whose files are all another sample's files of other roles.

    Where images and labels lie in one folder, {id}.png takes 0_gt.png for the image of a sample 0_gt. It belongs to
    the sample that has more files, or else to the one whose pattern says more of its name.
    """
    said = {role: len(SPECIAL.sub("", text)) for role, text in layout.patterns.items()}
    best: dict[tuple[str, Path], tuple[int, int]] = {}
    for (split, _), group in groups.items():
        for role, path in group.files.items():
            rank = len(group.files), said[role]
            best[split, path] = max(rank, best.get((split, path), rank))
    return {
        at: group
        for at, group in groups.items()
        if any((len(group.files), said[role]) == best[at[0], path] for role, path in group.files.items())
    }


def _drawn(layout: FolderLayout, groups: Groups) -> Groups:
    fractions = layout.fractions or {}
    drawn = {(draw(group.values, name, fractions) or "", name): group for (_, name), group in groups.items()}
    return {at: group for at, group in drawn.items() if at[0]}


def _listed(layout: FolderLayout, groups: Groups) -> tuple[Groups, list[Fault], list[Path]]:
    pool = {name: group.values for (_, name), group in groups.items()}
    listed: Groups = {}
    owner: dict[str, str] = {}
    faults: list[Fault] = []
    lists = []
    for split, text in layout.lists.items():
        path = layout.root / text
        try:
            named = read_list(path, split)
        except ValueError as fault:
            faults.append(Fault("lists", f"{path}: {fault}"))
            continue
        lists.append(path)
        chosen, wrong = choose(path, split, named, pool)
        faults.extend(wrong)
        for name in chosen:
            if name in owner:
                line = f"{path}: expected samples of {split} only, found {name}, which is in {owner[name]} too"
                faults.append(Fault("samples in two splits", line))
            owner.setdefault(name, split)
            listed[split, name] = groups["", name]
    return listed, faults, list(dict.fromkeys(lists))


def _missing(layout: FolderLayout, split: str, name: str, group: _Group) -> list[Fault]:
    folder = (layout.splits or {}).get(split, split)
    values = {**group.values, SPLIT: folder}
    faults = []
    for role, text in layout.patterns.items():
        if role not in group.files:
            what = "the labels" if role == LABELS else f"modality {role}"
            line = f"{layout.root / fill(text, values)}: expected {what} of sample {name}, found no file"
            faults.append(Fault(f"missing files of {role} in {split}", line, (split, name)))
    return faults


def _axis_faults(layout: FolderLayout, splits: Mapping[str, Iterable[Sample]]) -> list[Fault]:
    """Values that two conditions share, so that a score by condition would mix them."""
    axes: dict[str, set[str]] = {}
    for samples in splits.values():
        for sample in samples:
            for axis, value in sample.conditions.items():
                axes.setdefault(value, set()).add(axis)
    return [
        Fault("conditions", f"conditions: expected no value in two of them, found {value!r} in {sorted(shared)}")
        for value, shared in axes.items()
        if len(shared) > 1
    ]


def _empty(layout: FolderLayout, splits: dict[str, list[Sample]], seen: set[str]) -> list[Fault]:
    """Faults of splits without samples; a test split that nobody asked for is left out instead."""
    faults = []
    fractions = layout.fractions or {}
    for split in list(splits):
        asked = layout.chosen if layout.fractions is None else float(fractions.get(split, 0)) > 0
        if not splits[split] and split == "test" and not asked:
            del splits[split]
        elif not splits[split] and split not in seen:
            where = f" (folder {(layout.splits or {})[split]!r})" if layout.splits and not layout.lists else ""
            line = f"{layout.root}: expected samples of {split}{where}, found none"
            faults.append(Fault("empty splits", line))
    return faults
