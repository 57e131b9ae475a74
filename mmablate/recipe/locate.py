"""Finding a recipe: a path, or the bare name of one that ships with the package."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from mmablate.errors import RecipeError

PACKAGE = Path(__file__).resolve().parent.parent


def shipped_folder() -> Path:
    """Where the shipped recipes are: inside a wheel, or beside the package in a checkout."""
    inside = PACKAGE / "_recipes"
    return inside if inside.is_dir() else PACKAGE.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of every shipped recipe."""
    return {path.stem: path for path in sorted(shipped_folder().rglob("*.yaml"))}


def locate(recipe: str) -> Path:
    """The file that RECIPE means.

    Raises:
        RecipeError: neither a file nor a shipped name; lists the shipped ones.
    """
    path = Path(recipe)
    if os.path.isfile(recipe):  # unlike Path.is_file, False for a name that is too long
        return path
    shipped = shipped_recipes()
    # `recipes/landsat_losses.yaml` works from any folder too, since README and papers write it so.
    looks_shipped = path.parent in (Path(), Path("recipes")) and path.suffix in ("", ".yaml", ".yml")
    if looks_shipped and path.stem in shipped:
        return shipped[path.stem]
    near = difflib.get_close_matches(path.stem, shipped, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise RecipeError(f"{recipe}: no such file, and no shipped recipe ({', '.join(shipped)}){hint}")
