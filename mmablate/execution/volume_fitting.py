"""Does a recipe of 3D scans fit their sizes and the masks of their subjects? Told before anything is trained."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmablate.catalog.volume_models import VOLUME_MODELS, smallest_patch
from mmablate.data.base import VolumeData, VolumeSplit
from mmablate.errors import MissingExtra, RecipeError, UsageError
from mmablate.execution.conditions import subset_groups
from mmablate.execution.processes import launched, world_size
from mmablate.recipe import Recipe
from mmablate.study import Study
from mmablate.study.datasets import dataset_settings, shown_settings

Size = Sequence[int]
SHOWN = 3  # subjects in a message


def check_volumes(study: Study, data: VolumeData) -> None:
    """What only the scans, and the masks of their subjects, can tell of a recipe.

    Raises:
        RecipeError: with every problem.
        UsageError: under torchrun.
        MissingExtra: a surface distance is wanted, and the package that measures it is not there.
    """
    if launched():
        raise UsageError(
            f"{study.name}: runs on 3D scans take one process each: start it without torchrun (-j says how many run "
            f"side by side), got {world_size()} processes"
        )
    problems: dict[Any, str] = dict(_apart_problems(study.recipe, data))
    base, shown = dataset_settings(study.recipe), shown_settings(study.recipe.data)
    sizes = {name: _sizes(split) for name, split in data.splits.items()}
    for row in study.rows:
        if shown_settings(row.recipe.data) == shown:  # of other files its runs tell what does not fit
            problems |= _size_problems(row.recipe, data, sizes)
            problems |= _second_problems(row.recipe, data, other_masks=dataset_settings(row.recipe) != base)
    if problems:
        raise RecipeError(list(problems.values()))
    if study.recipe.evaluate.hd95 and importlib.util.find_spec("monai") is None:
        raise MissingExtra('evaluate.hd95 needs monai: pip install "mmablate[medical]", or evaluate.hd95=false')


def _apart_problems(recipe: Recipe, data: VolumeData) -> Iterator[tuple[Any, str]]:
    """Groups of subsets of which there are none."""
    groups = subset_groups(data, recipe)
    count = 2 ** len(data.modalities) - 1 if recipe.evaluate.subsets == "all" else len(recipe.evaluate.subsets)
    for group in recipe.evaluate.apart:
        if not groups[group]:
            what = "every one occurs in the mask list" if group == "unseen" else f"none is {group}"
            text = f"of the {count} subsets that are evaluated {what}: leave it out, got {group!r}"
            yield ("apart", group), f"evaluate.apart: {text}"


def _sizes(split: VolumeSplit) -> list[tuple[int, int, int]]:
    return [split.size(index) for index in range(len(split))]


def _size_problems(recipe: Recipe, data: VolumeData, sizes: Mapping[str, Sequence[Size]]) -> dict[Any, str]:
    """Patches and windows against the scans, and both against the model."""
    problems: dict[Any, str] = {}
    patches, train = recipe.train.patches, sizes["train"]
    patch = None if patches is None else patches.size
    second = (recipe.method.options.get("meta") or {}).get("batch_size") or 1
    if patch is not None:
        small = [i for i, size in enumerate(train) if any(a < b for a, b in zip(size, patch, strict=True))]
        if small:
            text = f"at most the size of every training scan; smaller are {_named(data, 'train', small, train)}"
            problems["train.patches", patch] = f"train.patches.size: {text}, got {list(patch)}"
    elif max(recipe.train.batch_of(len(train)), second) > 1 and len(set(map(tuple, train))) > 1:
        odd = [i for i, size in enumerate(train) if tuple(size) != tuple(train[0])]
        text = "null takes whole scans, and those of a batch must be of one size: give a size, or train.batch_size 1"
        text += f"; other than {_named(data, 'train', [0], train)} are {_named(data, 'train', odd, train)}"
        problems["train.patches", patch] = f"train.patches.size: {text}, got null"
    if recipe.model.name != VOLUME_MODELS[0].name:
        return problems
    least, stages = smallest_patch(recipe.model.options), len(recipe.model.options["widths"])
    rule = f"each edge at least {least}, for the {stages} stages of the model"
    if patch is not None and min(patch) < least:
        problems["train.patches", least, patch] = f"train.patches.size: {rule}, got {list(patch)}"
    window = recipe.evaluate.window
    if window is not None and min(window) < least:
        problems["evaluate.window", least] = f"evaluate.window: {rule}, got {list(window)}"
    for name in sizes if patch is None else [name for name in sizes if name != "train"]:
        if small := [i for i, size in enumerate(sizes[name]) if min(size) < least]:
            text = f"scans of the {name} split with {rule}; smaller are {_named(data, name, small, sizes[name])}"
            problems["model.widths", name] = f"model.widths: {text}, got {list(recipe.model.options['widths'])}"
    return problems


def _second_problems(recipe: Recipe, data: VolumeData, *, other_masks: bool) -> dict[Any, str]:
    """Second batches of which there would be none.

    Args:
        other_masks: the row's mask list is not that of `data`: which subjects are complete is not known.
    """
    options: Mapping[str, Any] = recipe.method.options
    wish: Mapping[str, Any] | None = options.get("meta")
    outer = options.get("eta_out", 0) > 0 or options.get("balance") == "meta"
    if not wish or options.get("second", "outer" if outer else "none") == "none":
        return {}
    presence = data.splits["train"].presence
    count, batch = len(presence), recipe.train.batch_of(len(presence))
    if batch >= count:
        text = f"below the {count} training subjects, of whom the second batch of a step has others than the first"
        return {("second", batch): f"train.batch_size: {text}, got {recipe.train.batch_size}"}
    complete = int(presence.all(axis=1).sum())
    if wish["masks"] == "full" and complete < 2 and not other_masks:
        text = f"the training subjects that have all modalities, of whom there are {complete}: two at least"
        return {("meta", "masks"): f"method.meta.masks: full draws {text}, got 'full'"}
    return {}


def _named(data: VolumeData, split: str, indices: Sequence[int], sizes: Sequence[Size]) -> str:
    """ "a (40 x 48 x 48), b (...) and 3 more": subjects by name and size."""
    described = data.splits[split].describe
    shown = [f"{described(i).id} ({' x '.join(map(str, sizes[i]))})" for i in indices[:SHOWN]]
    more = len(indices) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
