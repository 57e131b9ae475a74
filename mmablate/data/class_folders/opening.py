"""Any pictures that lie in folders of their classes, two modalities or more, described by the recipe alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmablate.data.base import ClassificationData
from mmablate.data.class_folders.assembling import Plan, assemble, faults_of, split_problems, survey
from mmablate.data.class_folders.reading import Picture, picture_reader, scaled
from mmablate.data.class_splits import SPLITS, Rule
from mmablate.data.clips import MediaReader
from mmablate.data.image_folder.images import SUFFIXES
from mmablate.errors import DataError

Source = Mapping[str, Any]
FOLDERS = {split: split for split in SPLITS}


def open_class_folders(
    root: Path,
    *,
    modalities: Mapping[str, Source],
    class_names: Sequence[str] | None = None,
    splits: Mapping[str, str] | None = None,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    val_fraction: float = 0.1,
    split_seed: int = 0,
    by: Sequence[str] = (),
    size: Sequence[int] | None = None,
    resize: Mapping[str, str] | None = None,
    normalise: str | Mapping[str, str] = "standard",
    missing: str = "refuse",
    on_fault: str = "refuse",
    attribution: str | None = None,
    synthetic: bool = False,
    cache_bytes: int = 1 << 30,
) -> ClassificationData:
    """Pictures in folders of their classes.

    Args:
        root: folder that the patterns start from.
        modalities: name -> `files`, a pattern such as "{class}/rgb/{id}.png", and `channels` (None: all but
            transparency). All patterns have the same placeholders; files in which they are equal are one sample.
        class_names: folders of the classes, in order; None: those there are, sorted.
        splits: split -> what {split} is in it, where the patterns have that placeholder.
        fractions: of train, val and test in every class, where they have not; 0 for val or test: no such split.
        val_fraction: share of train that validates where there is a {split}, but none for val; 0 for none.
        split_seed: of the draws.
        by: placeholders; samples that agree in them are drawn together.
        size: height and width that images are brought to; None: all have one size.
        resize: modality -> "bilinear" (as those not named) or "nearest".
        normalise: as of `class_folders.reading.scaled`, for all or by modality ("standard" for those not named).
        missing: "refuse" samples that lack a modality, "drop" them, or "mask" what they lack, which is then read as
            zeros; the latter two with a note of the numbers.
        on_fault: "refuse" samples with a file that cannot be used, or "drop" them with a note; to drop, every
            file is read once.
        attribution: whom the data come from.
        synthetic: whether they were generated.
        cache_bytes: a split that takes at most so many bytes is kept in memory; a larger one is read from its files
            batch by batch.

    Returns:
        Inputs float32 (N, C, H, W) of each modality; a sample is called by its placeholders, e.g. "cubes/0001".

    Raises:
        DataError: all faults of the arguments, of the names of the files, or of the files.
    """
    plan = _plan(
        Path(root), modalities, class_names, splits, fractions, val_fraction, split_seed, by, missing, on_fault
    )
    problems = _problems(plan, modalities, size, resize, normalise)
    if problems:
        raise DataError(problems)
    return assemble(
        plan,
        survey(plan),
        _reader_maker(modalities, size, resize),
        lambda name, reader, train: _scaled(name, reader, train, normalise),
        attribution=attribution,
        synthetic=synthetic,
        cache_bytes=cache_bytes,
    )


def check_class_folders(
    root: Path,
    *,
    modalities: Mapping[str, Source],
    class_names: Sequence[str] | None = None,
    splits: Mapping[str, str] | None = None,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    val_fraction: float = 0.1,
    split_seed: int = 0,
    by: Sequence[str] = (),
    size: Sequence[int] | None = None,
    resize: Mapping[str, str] | None = None,
    normalise: str | Mapping[str, str] = "standard",
    missing: str = "refuse",
    on_fault: str = "refuse",
    attribution: str | None = None,
    synthetic: bool = False,
    thorough: bool = False,
) -> list[str]:
    """All faults of a folder, one line each; [] where all is well. Arguments as of `open_class_folders`.

    Args:
        thorough: read every file; otherwise arguments and names only.
    """
    plan = _plan(
        Path(root), modalities, class_names, splits, fractions, val_fraction, split_seed, by, missing, on_fault
    )
    problems = _problems(plan, modalities, size, resize, normalise)
    if problems:
        return problems
    try:
        found = survey(plan)
    except DataError as error:
        return error.problems
    return faults_of(plan, found, _reader_maker(modalities, size, resize), thorough=thorough)


def _plan(
    root: Path,
    modalities: Mapping[str, Source],
    class_names: Sequence[str] | None,
    splits: Mapping[str, str] | None,
    fractions: Sequence[float],
    val_fraction: float,
    split_seed: int,
    by: Sequence[str],
    missing: str,
    on_fault: str,
) -> Plan:
    return Plan(
        name="class_folders",
        root=root,
        patterns={name: str(source["files"]) for name, source in modalities.items()},
        rule=Rule(tuple(fractions), val_fraction, split_seed),
        splits=dict(splits or FOLDERS),
        by=tuple(by),
        class_names=None if class_names is None else tuple(class_names),
        missing=missing,
        drop_faulty=on_fault == "drop",
    )


def _problems(
    plan: Plan,
    modalities: Mapping[str, Source],
    size: Sequence[int] | None,
    resize: Mapping[str, str] | None,
    normalise: str | Mapping[str, str],
) -> list[str]:
    """What is wrong with the arguments that pairing does not see."""
    problems = split_problems(plan.splits)
    known = ", ".join(modalities)
    for name, text in plan.patterns.items():
        if Path(text).suffix.lower() not in SUFFIXES:
            problems.append(f"{name}: expected files {', '.join(SUFFIXES)}, found {text!r}")
    named = {"resize": resize or {}, "normalise": {} if isinstance(normalise, str) else normalise}
    for key, mapping in named.items():
        problems += [
            f"{key}: expected modalities ({known}), found {name!r}" for name in mapping if name not in modalities
        ]
    if resize and size is None:
        problems.append("resize: expected a size to be resized to, found none")
    return problems


def _reader_maker(
    modalities: Mapping[str, Source], size: Sequence[int] | None, resize: Mapping[str, str] | None
) -> Any:
    return partial(_readers, modalities, None if size is None else (int(size[0]), int(size[1])), dict(resize or {}))


def _readers(
    modalities: Mapping[str, Source],
    size: tuple[int, int] | None,
    resize: Mapping[str, str],
    paths: Mapping[str, Sequence[Path]],
) -> dict[str, Picture]:
    return {
        name: picture_reader(
            name, paths[name], size=size, way=resize.get(name, "bilinear"), channels=source.get("channels")
        )
        for name, source in modalities.items()
    }


def _scaled(name: str, reader: MediaReader, train: Sequence[Path], normalise: str | Mapping[str, str]) -> MediaReader:
    assert isinstance(reader, Picture)
    way = normalise if isinstance(normalise, str) else normalise.get(name, "standard")
    return scaled(reader, way, train)
