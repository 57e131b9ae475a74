"""Recipes: what a user may write, where it is found, and what is wrong with it."""

from mmablate.recipe.checking import Draft, check, subset_names
from mmablate.recipe.loading import draft_recipe, load_recipe
from mmablate.recipe.locate import locate, shipped_recipes
from mmablate.recipe.schema import Recipe

__all__ = [
    "Draft",
    "Recipe",
    "check",
    "draft_recipe",
    "load_recipe",
    "locate",
    "shipped_recipes",
    "subset_names",
]
