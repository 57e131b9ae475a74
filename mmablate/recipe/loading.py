"""The whole way from RECIPE, profile and KEY=VALUE to a checked recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmablate.errors import UsageError
from mmablate.recipe.checking import Draft, check
from mmablate.recipe.locate import locate
from mmablate.recipe.merging import apply_overrides, apply_profile
from mmablate.recipe.programs import ProgramRecipe, names_a_program
from mmablate.recipe.reading import read_yaml
from mmablate.recipe.schema import Recipe


def draft_recipe(
    recipe: str, *, profile: str | None = None, overrides: Sequence[str] = (), data_root: str | None = None
) -> tuple[Draft, str | None]:
    """Reads and checks, without raising for problems of content; returns the profile used, too.

    Precedence: recipe, then its profile, then the command line.
    """
    source, used = apply_profile(read_yaml(locate(recipe)), profile)
    if names_a_program(source.data):
        overrides = [_of_settings(source.data.get("settings"), text) for text in overrides]
        if data_root is not None:
            raise UsageError("--data-root: the recipe runs a program; where its data are stands in settings")
    source = apply_overrides(source, overrides)
    if data_root is not None and isinstance(source.data.get("data"), dict):
        source.data["data"] = {**source.data["data"], "root": data_root}
        source.places[("data", "root")] = "--data-root"
    return check(source), used


def _of_settings(settings: Any, override: str) -> str:
    """KEY=VALUE, with the prefix `settings.` where KEY is the name of a setting and of nothing else."""
    key = override.partition("=")[0]
    own = isinstance(settings, Mapping) and key.partition(".")[0] in settings
    return f"settings.{override}" if own and key.partition(".")[0] not in ProgramRecipe.model_fields else override


def load_recipe(
    recipe: str, *, profile: str | None = None, overrides: Sequence[str] = (), data_root: str | None = None
) -> Recipe:
    """Reads and checks a recipe.

    Raises:
        RecipeError: with every problem, each naming place, key, rule and value.
    """
    draft, _ = draft_recipe(recipe, profile=profile, overrides=overrides, data_root=data_root)
    return draft.finish()
