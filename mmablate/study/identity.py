"""What a program is, for the identity of its runs: its name or command line, and the content of its files."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from mmablate.catalog import fingerprint
from mmablate.errors import RecipeError
from mmablate.recipe.programs import Program, placeholders, split_command


def program_files(run: Program, folder: Path) -> dict[str, Path]:
    """The files that make the program, by the name under which they count.

    They are the module of a callable (under its dotted name), the files that a command names (`python train.py`,
    `python -m package.train`), and those of `files`.

    Args:
        folder: `run.cwd`, resolved.

    Raises:
        RecipeError: no such folder, no such module, or an entry of `files` that is no file.
    """
    if not folder.is_dir():
        raise RecipeError(f"run.cwd: no such folder, got {str(folder)!r}")
    found: dict[str, Path] = {}
    if run.call is not None:
        module = run.call.partition(":")[0]
        source = module_source(module, folder)
        if source is None:
            raise RecipeError(f"run.call: no module {module!r} in {folder} or among the installed packages")
        found[module] = source
    else:
        found.update(_named(split_command(run.command or ""), folder))
    for pattern in run.files:
        matches = _matches(pattern, folder)
        if not matches:
            raise RecipeError(f"run.files: no file in {folder}, got {pattern!r}")
        found.update(matches)
    return dict(sorted(found.items()))


def program_identity(run: Program, files: Mapping[str, Path]) -> dict[str, Any]:
    """What of the program counts for the identity of a run; not where it lies, and not its time limit."""
    what = {"call": run.call} if run.call is not None else {"command": run.command}
    return {**what, "files": {name: fingerprint([path]) for name, path in files.items()}}


def module_source(module: str, folder: Path) -> Path | None:
    """The file of a module, found as an import from `folder` would find it, without importing anything of it."""
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    top, *rest = module.split(".")
    spec = PathFinder.find_spec(top, [str(folder)]) or _installed(top)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        top = f"{top}.{part}"
        spec = PathFinder.find_spec(top, spec.submodule_search_locations)
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _installed(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except ValueError:  # a module without a spec, such as __main__
        return None


def _named(words: list[str], folder: Path) -> Iterator[tuple[str, Path]]:
    """The words of a command that are files; the program itself only where it lies below the folder."""
    for index, word in enumerate(words):
        if any(name is not None for _, name in placeholders(word)):
            continue
        text = "".join(text for text, _ in placeholders(word))
        path = folder / text
        if os.path.isfile(path) and not (index == 0 and Path(text).is_absolute()):
            yield text, path
        elif index and words[index - 1] == "-m" and (source := _module_of(text, folder)):
            yield text, source


def _module_of(name: str, folder: Path) -> Path | None:
    """What `python -m NAME` runs."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    return module_source(f"{name}.__main__", folder) or module_source(name, folder)


def _matches(pattern: str, folder: Path) -> dict[str, Path]:
    path = folder / pattern
    if os.path.isfile(path):
        return {pattern: path}
    if Path(pattern).is_absolute():
        return {}
    try:
        return {p.relative_to(folder).as_posix(): p for p in sorted(folder.glob(pattern)) if p.is_file()}
    except ValueError as error:
        raise RecipeError(f"run.files: {error}, got {pattern!r}") from error
