"""Synthetic sets of a dataset's own generator: written where the user says, or once into the cache folder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from mmablate.catalog import find, load_target
from mmablate.catalog.entries import DatasetEntry
from mmablate.data.cache import cache_folder
from mmablate.errors import DataError, UsageError
from mmablate.recipe import Recipe

Tell = Callable[[str], None]


def make_dataset(name: str, root: Path, options: Mapping[str, Any]) -> None:
    """Writes a synthetic set in the dataset's real layout.

    Args:
        options: of the generator, checked.

    Raises:
        UsageError: the dataset has no generator.
        DataError: the folder holds something else, or cannot be written.
    """
    entry: DatasetEntry = find("dataset", name)
    if not entry.make_target:
        raise UsageError(f"data make: {name} has no generator")
    make = load_target(entry, entry.make_target)
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    try:
        make(root, **arguments)
    except OSError as error:
        raise DataError(f"{root}: cannot be written ({error.strerror})") from error


def generated_root(name: str, options: Mapping[str, Any], tell: Tell) -> Path:
    """Folder of the generated set of these options; made at the first call, kept for all later ones.

    The folder's name holds a hash of the options and of the generator's source, so that neither an older
    set nor one of other options is ever taken for it.

    Raises:
        DataError: the cache folder cannot be written.
    """
    entry: DatasetEntry = find("dataset", name)
    content = json.dumps(options, sort_keys=True) + _source_hash(entry.make_target)
    root = cache_folder() / "generated" / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{root}.lock"):
            if not root.is_dir():
                tell(f"making synthetic {name} data once, in {root}")
                make_dataset(name, root, options)
    except OSError as error:
        raise DataError(
            f"{root}: cannot be written ({error.strerror}); set MMABLATE_CACHE to a folder that can, or make the "
            f"data yourself: mmablate data make {name} DIR, then --data-root DIR"
        ) from error
    return root


def with_data(recipe: Recipe, tell: Tell) -> Recipe:
    """The recipe with the root of its data filled in, where it generates them."""
    if recipe.data.root is not None or recipe.data.generate is None:
        return recipe
    root = generated_root(recipe.data.name, recipe.data.generate, tell)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": str(root)})})


def _source_hash(target: str) -> str:
    """Hash of the generator's package (or module), and of the table of classes beside it."""
    spec = importlib.util.find_spec(target.partition(":")[0])
    if spec is None or spec.origin is None:
        return ""
    origin = Path(spec.origin)
    files = sorted(origin.parent.glob("*.py")) if origin.name == "__init__.py" else [origin]
    files += sorted(path for name in ("classes.py", "preprocessing.py") for path in origin.parent.parent.glob(name))
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
