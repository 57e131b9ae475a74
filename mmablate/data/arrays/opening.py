"""Anybody's features as a dataset: one file a modality, labels in a column or a file of their own.

Rows are never put together by chance: files have either the same number of rows, in one order, or an id; labels that
several files hold must agree; and columns of labels, ids, splits and groups are taken out of the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmablate.data.arrays.aligning import Aligned, agreed, align
from mmablate.data.arrays.files import ENDINGS, Column, Content, Text, Wanted, ending, read_content
from mmablate.data.arrays.scaling import finite, standardised
from mmablate.data.base import ClassificationData, LabelledSplit, SampleInfo, Split
from mmablate.data.class_splits import Rule, split_rows
from mmablate.data.image_folder.marks import marked
from mmablate.data.image_folder.patterns import pattern_problems, placeholders
from mmablate.errors import DataError

ROLES = ("labels", "split", "group")
Place = Mapping[str, Any]


@dataclass(frozen=True)
class Layout:
    """Which file holds what.

    Attributes:
        root: the folder.
        files: modality -> file.
        channels: modality -> which of its features; None for all.
        places: role of `ROLES` -> file (None: those of the modalities) and column.
        id: column of ids, or None.
        keys: modality -> array in an .npz, or None.
        header, ignored: as in `Wanted`.
    """

    root: Path
    files: Mapping[str, Path]
    channels: Mapping[str, Sequence[int] | None]
    places: Mapping[str, tuple[Path | None, Column | None]]
    id: str | None
    keys: Mapping[str, str | None]
    header: bool
    ignored: tuple[str, ...]

    def column_of(self, role: str) -> Column:
        """The column, or what stands for it where a file has no other."""
        column = self.places[role][1]
        return f"the {role}" if column is None else column

    def wanted(self, path: Path) -> Wanted:
        """What is to be read of a file."""
        columns: list[Column] = [] if self.id is None else [self.id]
        whole: Column | None = None
        for role, (file, column) in self.places.items():
            if column is None:
                whole = self.column_of(role) if file == path else whole
            elif isinstance(column, str) or file in (None, path):
                columns.append(column)  # a name is no feature in any file, a place means its own file alone
        key = next((self.keys[name] for name, file in self.files.items() if file == path), None)
        is_modality = path in self.files.values()
        return Wanted(tuple(dict.fromkeys(columns)), self.ignored, is_modality, key, self.header, whole)


def open_arrays(
    root: Path,
    *,
    modalities: Mapping[str, Mapping[str, Any]],
    labels: Place,
    id: str | None = None,
    missing: str = "refuse",
    header: bool = True,
    key: str | Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    split: Place | None = None,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    val_fraction: float = 0.1,
    group: Place | None = None,
    split_seed: int = 0,
    standardise: str = "channel",
    attribution: str | None = None,
    synthetic: bool = False,
) -> ClassificationData:
    """Features of anybody's making.

    Args:
        root: folder of the files.
        modalities: name -> `files`, a path below `root` to a .npy, .npz, .csv or .csv.gz file of N rows, and
            `channels`, which features of it (None for all).
        labels: `file` and `column` of the classes: names, or whole numbers; without a file the column of each file of
            a modality that has it. A column given by its place (-1: the last) is one of CSV files.
        id: column that rows are matched by; None: all files have the same order.
        missing: "refuse" rows whose id another file lacks, or "drop" them with a note.
        header: whether the first line of a CSV holds names.
        key: array of features in .npz files, of all or modality -> name; None: the only one that is left.
        ignore: names of columns that are no features.
        split: `file` and `column` of the words train, val and test; None: drawn by `fractions`.
        fractions: of train, val and test, in every class; of groups on the whole. 0 for val or test: no such split.
        val_fraction: share of train that validates where `split` names no val; 0 for no validation split.
        group: `file` and `column` of groups; samples of a group are drawn together.
        split_seed: of the draw.
        standardise: "channel" to mean 0 and deviation 1 over train per index of a sample's first axis, "each" per
            number, "none".
        attribution: whom the data come from.
        synthetic: whether they were generated; a file SYNTHETIC.json in the folder says so, too.

    Returns:
        Inputs float32 (N, ...) as in the files, (N, 1) of one number a row; classes in the order of their names, of
        numbers in theirs. A feature that is constant over train is 0 where standardised.

    Raises:
        DataError: all that is wrong with arguments, or with the files.
    """
    layout, problems = _layout(Path(root), modalities, labels, id, header, key, ignore, split, group)
    if problems:
        raise DataError(problems)
    contents = _read(layout)
    aligned = align(contents, id, _ids_file(layout), drop=missing == "drop")
    texts = {role: _texts(layout, role, contents, aligned) for role in layout.places}
    classes, numbers = _classes(layout, texts["labels"])
    rule = Rule(tuple(fractions), val_fraction, split_seed)
    dealt, notes = split_rows(
        layout.root, aligned.names, numbers, classes, texts.get("split"), texts.get("group"), rule, "arrays"
    )
    inputs = {}
    for name, path in layout.files.items():
        place = next(i for i, content in enumerate(contents) if content.path == path)
        values = _features(layout, name, contents[place], aligned.rows[place], numbers, classes)
        inputs[name] = standardised(path, values, dealt["train"], standardise)
    splits: dict[str, Split] = {
        part: LabelledSplit(
            {name: values[rows] for name, values in inputs.items()},
            numbers[rows],
            [SampleInfo(aligned.names[row]) for row in rows],
        )
        for part, rows in dealt.items()
    }
    return ClassificationData(
        name="arrays",
        modalities={name: values.shape[1:] for name, values in inputs.items()},
        class_names=classes,
        splits=splits,
        synthetic=synthetic or marked(layout.root, [dict(layout.files)]),
        attribution=attribution,
        content=tuple(content.path for content in contents),
        notes=(*aligned.notes, *notes),
    )


def check_arrays(
    root: Path,
    *,
    modalities: Mapping[str, Mapping[str, Any]],
    labels: Place,
    thorough: bool = False,
    **options: Any,
) -> list[str]:
    """What `open_arrays`, whose arguments these are, would object to, one line each; [] where all is well.

    Args:
        thorough: read the files; otherwise only arguments and whether the files are there.
    """
    names = ("id", "header", "key", "ignore", "split", "group")
    defaults: dict[str, Any] = {"id": None, "header": True, "key": None, "ignore": (), "split": None, "group": None}
    given = {name: options.get(name, defaults[name]) for name in names}
    _, problems = _layout(Path(root), modalities, labels, **given)
    if problems or not thorough:
        return problems
    try:
        open_arrays(root, modalities=modalities, labels=labels, **options)
    except DataError as error:
        return error.problems
    return []


def _layout(
    root: Path,
    modalities: Mapping[str, Mapping[str, Any]],
    labels: Place,
    id: str | None,
    header: bool,
    key: str | Mapping[str, str] | None,
    ignore: Sequence[str],
    split: Place | None,
    group: Place | None,
) -> tuple[Layout, list[str]]:
    """The layout that the arguments mean, and what is wrong with it."""
    given = {role: place for role, place in zip(ROLES, (labels, split, group), strict=True) if place is not None}
    files = {name: str(source["files"]) for name, source in modalities.items()}
    extra = {role: place["file"] for role, place in given.items() if place.get("file") is not None}
    problems = []
    for role, text in (*files.items(), *extra.items()):
        wrong = pattern_problems(role, text)
        if wrong or placeholders(text) or "*" in text or not text.lower().endswith(ENDINGS):
            problems.append(f"{role}: expected a {', '.join(ENDINGS)} file below the root, found {text!r}")
        elif not (root / text).is_file():
            problems.append(f"{root / text}: expected a file of {role}, found none")
    if isinstance(key, Mapping) and (unknown := [name for name in key if name not in files]):
        problems.append(f"key: expected modalities ({', '.join(files)}), found {', '.join(unknown)}")
    if len(set(files.values())) < len(files) and not problems:
        problems.append(f"modalities: expected a file each, found {', '.join(files.values())}")
    places = {
        role: (None if place.get("file") is None else root / place["file"], place.get("column"))
        for role, place in given.items()
    }
    keys = {name: key.get(name) if isinstance(key, Mapping) else key for name in files}
    channels = {name: source.get("channels") for name, source in modalities.items()}
    paths = {name: root / text for name, text in files.items()}
    layout = Layout(root, paths, channels, places, id, keys, header, tuple(ignore))
    for role, (file, column) in places.items():
        if file in paths.values() and column is None:
            problems.append(
                f"{role}.column: expected a name or a place in {file}, which holds features too, found none"
            )
    return layout, problems


def _read(layout: Layout) -> list[Content]:
    """Every file once. Raises DataError with all that is wrong."""
    paths = dict.fromkeys([*layout.files.values(), *(file for file, _ in layout.places.values() if file is not None)])
    contents, problems = [], []
    for path in paths:
        try:
            contents.append(read_content(path, layout.wanted(path)))
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError(problems)
    return contents


def _ids_file(layout: Layout) -> Path | None:
    return layout.places["labels"][0]


def _texts(layout: Layout, role: str, contents: Sequence[Content], aligned: Aligned) -> Text:
    """One text a sample. Raises DataError."""
    file, column = layout.places[role]
    asked = layout.column_of(role)
    if file is None:
        return agreed(role, asked, contents, aligned)
    content = next(content for content in contents if content.path == file)
    if asked not in content.columns:
        which = "one column, or the name of one as `column`" if column is None else f"a column {column!r}"
        raise DataError(f"{file}: {role}: expected {which}, found another form")
    if ending(file) == ".npy" and column is not None:
        raise DataError(f"{file}: {role}: expected no column of an .npy file, found {column!r}")
    if isinstance(column, str):  # the same column in another file must not say something else
        return agreed(role, asked, [content, *(one for one in contents if one is not content)],
                      _first(aligned, contents.index(content)))  # fmt: skip
    return agreed(role, asked, [content], Aligned(aligned.names, (aligned.rows[contents.index(content)],)))


def _first(aligned: Aligned, place: int) -> Aligned:
    rows = aligned.rows
    return Aligned(aligned.names, (rows[place], *rows[:place], *rows[place + 1 :]))


def _classes(layout: Layout, labels: Text) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names of the classes in order, and the number of each sample's. Raises DataError."""
    known, numbers = np.unique(labels, return_inverse=True)
    names = known.tolist()
    file = layout.places["labels"][0] or layout.root
    try:
        values = np.array([float(name) for name in names])
    except ValueError:
        values = None
    if any(name.casefold() == "nan" for name in names):  # what a missing value becomes where names are written as text
        raise DataError(f"{file}: labels: expected names of classes or whole numbers, found nan")
    if values is not None and not (values == np.round(values)).all():
        odd = names[int(np.flatnonzero(values != np.round(values))[0])]
        raise DataError(f"{file}: labels: expected names of classes or whole numbers, found {odd}")
    if len(names) < 2:
        raise DataError(f"{file}: labels: expected at least two classes, found {', '.join(names)} alone")
    order = np.argsort(values, kind="stable") if values is not None else np.arange(len(names))
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return tuple(names[i] for i in order), rank[numbers.reshape(-1)]


def _features(
    layout: Layout,
    name: str,
    content: Content,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
) -> np.ndarray:
    """Rows of a modality in the order of the samples. Raises DataError."""
    assert content.values is not None
    values = content.values[rows]
    channels = layout.channels[name]
    if channels is not None:
        if max(channels) >= values.shape[1]:
            raise DataError(f"{content.path}: {name}.channels: expected 0 to {values.shape[1] - 1}, found {channels}")
        values = values[:, list(channels)]
    finite(content.path, values, rows)
    if values.ndim == 2 and all(text.lstrip("-").isdecimal() for text in classes):
        truth = np.array([int(text) for text in classes])[labels]
        same = np.flatnonzero((values == truth[:, None]).all(axis=0))
        if len(same):
            text = "expected features, none of which is the label itself"
            raise DataError(f"{content.path}: {text}, found it in feature {same[0]} (name its column under `ignore`)")
    return values
