"""The data of a recipe: which files, their fingerprint, and opening them by the catalogue (numpy, no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmablate.catalog import find, fingerprint, load_target
from mmablate.catalog.entries import DatasetEntry
from mmablate.errors import DataError
from mmablate.recipe import Recipe
from mmablate.recipe.schema import Data


def data_files(recipe: Recipe) -> tuple[Path | None, list[Path]]:
    """Root folder and files of the recipe's data.

    Raises:
        DataError: no root given, no such folder, or no files in it.
    """
    entry: DatasetEntry = find("dataset", recipe.data.name)
    root = Path(recipe.data.root).expanduser() if recipe.data.root else None
    if entry.needs_root and root is None:
        raise DataError(f"data.root: {entry.name} reads a folder of yours: say which with --data-root DIR")
    if root is not None and not root.is_dir():
        raise DataError(f"{root}: no such folder (--data-root or data.root)")
    files = entry.files(root, dataset_settings(recipe))
    if not files:
        found = check_dataset(dataset_settings(recipe), None if root is None else str(root), thorough=False)
        raise DataError(found or f"{root}: no files of the dataset {entry.name}")
    return root, files


def data_fingerprint(recipe: Recipe) -> str:
    """Fingerprint of the data's files."""
    root, files = data_files(recipe)
    return fingerprint(files, relative_to=root if find("dataset", recipe.data.name).needs_root else None)


def dataset_settings(recipe: Recipe) -> dict[str, Any]:
    """Name, modalities and options of the recipe's data, as a run's settings hold them."""
    return data_settings(recipe.data)


def data_settings(data: Data) -> dict[str, Any]:
    """The settings of a recipe's section `data`.

    A mapping of modalities becomes a list of pairs: masks and columns follow their order, which neither the
    hash of a mapping nor JSON with sorted keys would keep.
    """
    modalities: Any = data.model_dump(mode="json")["modalities"]
    if isinstance(modalities, dict):
        modalities = [[name, source] for name, source in modalities.items()]
    return {"name": data.name, "modalities": modalities, **data.options}


def shown_settings(data: Data) -> dict[str, Any]:
    """The same, less what hides modalities of the same samples from a training."""
    hides = find("dataset", data.name).hides
    return {key: value for key, value in data_settings(data).items() if key not in hides}


def open_dataset(settings: Mapping[str, Any], root: str | None, *, seed: int | None = None) -> Any:
    """The `SegmentationData` or `ClassificationData` of these settings.

    Args:
        seed: of data that are drawn anew for every seed.

    Raises:
        DataError: files that are missing or of the wrong form.
    """
    entry, arguments = _arguments(settings, root)
    if entry.seeded:
        arguments["seed"] = 0 if seed is None else seed
    return load_target(entry)(**arguments)


def check_dataset(settings: Mapping[str, Any], root: str | None, *, thorough: bool) -> list[str]:
    """All problems of the files; `thorough` reads every value, otherwise headers only."""
    entry, arguments = _arguments(settings, root)
    problems: list[str] = load_target(entry, entry.check_target)(**arguments, thorough=thorough)
    return problems


def _arguments(settings: Mapping[str, Any], root: str | None) -> tuple[DatasetEntry, dict[str, Any]]:
    entry: DatasetEntry = find("dataset", settings["name"])
    arguments = {key: value for key, value in settings.items() if key not in ("name", "fingerprint", "root")}
    if entry.modalities is None:
        arguments["modalities"] = dict(arguments["modalities"])
    if entry.needs_root:
        if root is None:
            raise DataError(f"data.root: {entry.name} reads a folder of yours: say which with --data-root DIR")
        arguments["root"] = Path(root).expanduser()
    return entry, arguments
