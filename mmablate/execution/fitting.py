"""Does the recipe fit the data? Told before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmablate.catalog import find
from mmablate.catalog.models import check_packages, smallest_image
from mmablate.catalog.multimodal_parameters import TOLERANCE, multimodal_parameters
from mmablate.data.base import AnyData, VolumeData
from mmablate.data.summary import DatasetSummary
from mmablate.errors import DataError, RecipeError
from mmablate.execution.conditions import axes_of
from mmablate.execution.processes import world_size
from mmablate.execution.volume_fitting import check_volumes
from mmablate.recipe.schema import Focus, Loss, Model, Teacher, Train
from mmablate.study import Study
from mmablate.study.datasets import dataset_settings

MOST_CLASSES = 44
"""K of which K (K + K) is at most what `mmablate.metrics.information` decomposes; a test holds them together."""


def check_sizes(study: Study, summary: DatasetSummary) -> None:
    """What only the data's sizes can tell of a recipe, told before anything is trained."""
    problems: dict[Any, str] = {}
    for split, pixels in summary.class_pixels.items():
        if not sum(pixels):
            hint = "; without the test split, validation is scored" if split == "test" else ""
            raise DataError(f"{summary.name}: the {split} split has no labelled pixel{hint}")
    base = dataset_settings(study.recipe)
    pairs = [run.settings for run in study.runs if run.role == "pair"]
    on_val = any(settings["focus"]["split"] == "val" for settings in pairs)
    if on_val and not summary.n_val:
        problems["focus", "split"] = "focus.split: the data have no validation split: train, got 'val'"
    if "information" in study.recipe.evaluate.extras and find("method", study.recipe.method.name).fuses:
        problems |= _class_problems("evaluate.also", "information", summary)
    for row in study.rows:
        teacher = row.recipe.teacher
        problems |= _unique_problems(row.losses, summary)
        if dataset_settings(row.recipe) != base:
            continue  # a row that reads the data otherwise has other sizes; its runs tell what does not fit
        trains = {"train": row.recipe.train, **({"teacher.train": Train(**teacher.train)} if teacher else {})}
        for key, train in trains.items():
            problems |= {(key, what): text for what, text in _train_problems(key, train, summary)}
        problems |= _match_problems(row.recipe.model, summary)
        for key, model in (("model", row.recipe.model), ("teacher", teacher)):
            if model is not None:
                check_packages(model.options)
                small = smallest_image(model.options)
                crops = [train.augment.crop for train in trains.values() if train.augment.crop is not None]
                for size in (summary.shape, *crops):
                    if min(size) < small:
                        text = f"{key}.backbone: images and crops of at least {small} x {small}, got {tuple(size)}"
                        problems[key, "size"] = text
            stem = model.options.get("in_channels") if model else None
            for name, channels in summary.modalities.items():
                if stem is not None and channels > stem:
                    text = f"{key}.in_channels: at least the {channels} channels of modality {name}, got {stem}"
                    problems[key, name] = text
        if teacher is not None and row.recipe.focus is not None:
            problems |= _count_problems(row.recipe.focus, teacher, summary)
    if problems:
        raise RecipeError(list(problems.values()))


def _count_problems(focus: Focus, teacher: Teacher, summary: DatasetSummary) -> dict[Any, str]:
    """More channels of the input asked for than the teacher's modality has."""
    name = teacher.options.get("modality")
    shape = summary.modalities.get(str(name))
    channels = shape[0] if isinstance(shape, tuple) else shape
    if focus.place != "input" or not isinstance(focus.count, int) or channels is None or focus.count <= channels:
        return {}
    return {("focus", "count"): f"focus.count: at most the {channels} channels of modality {name}, got {focus.count}"}


def _class_problems(key: str, what: str, summary: DatasetSummary) -> dict[Any, str]:
    """More classes than unique, redundant and synergistic information can be told apart for."""
    number = len(summary.class_names)
    if number <= MOST_CLASSES:
        return {}
    return {(key, what): f"{key}: {what} takes at most {MOST_CLASSES} classes, got the {number} of {summary.name}"}


def _unique_problems(losses: Mapping[str, Loss], summary: DatasetSummary) -> dict[Any, str]:
    """Terms whose weights hang on unique information."""
    found: dict[Any, str] = {}
    for key, loss in losses.items():
        if find("loss", str(loss.term)).experts:
            found |= _class_problems(f"losses.{key}", f"the term {loss.term}", summary)
    return found


def _match_problems(model: Model, summary: DatasetSummary) -> dict[Any, str]:
    """A number of parameters that no hidden width reaches."""
    match = {key: value for key, value in (model.options.get("match") or {}).items() if value is not None}
    shapes = {name: shape for name, shape in summary.modalities.items() if isinstance(shape, tuple)}
    options, classes = dict(model.options), len(summary.class_names)
    if not match or multimodal_parameters(model.name, options, classes, shapes) is not None:
        return {}
    plain = {**options, "match": None}
    own, wanted = (multimodal_parameters(model.name, {**plain, **some}, classes, shapes) for some in ({}, match))
    if own is None or wanted is None:
        return {}  # of a plugin, or told elsewhere
    text = (
        f"model.match: a hidden width of fusion {options['fusion']} makes its {own:,} parameters the {wanted:,} of "
        f"{match} within {TOLERANCE:.0%}; none does"
    )
    return {("model.match", str(options)): text}


def _train_problems(key: str, train: Train, summary: DatasetSummary) -> Iterator[tuple[str, str]]:
    """What of a `train` section does not fit the data, or the processes."""
    augment, shape = train.augment, summary.shape
    unknown = [name for name in augment.photometric or () if name not in summary.modalities]
    if unknown:
        there = ", ".join(summary.modalities)
        yield "photometric", f"{key}.augment.photometric: modalities of the data ({there}), got {unknown}"
    crop = augment.crop
    if augment.scale is None and crop is not None and (crop[0] > shape[0] or crop[1] > shape[1]):
        yield "crop", f"{key}.augment.crop: at most the images' {shape}, got {tuple(crop)}"
    seen = train.seen_of(summary.n_train)
    if train.holdout and summary.n_train - seen < 2:
        held = f"{summary.n_train - seen} of {summary.n_train}"
        yield "holdout", f"{key}.holdout: at least two training samples held out, got {train.holdout:g}, that is {held}"
        return
    if train.holdout and seen < 1:
        text = f"leaves some of the {summary.n_train} training samples on both sides, got {train.holdout:g}"
        yield "holdout", f"{key}.holdout: {text}"
        return
    odd = {name: summary.modalities[name] for name in (train.pictures.modalities if train.pictures else ())}
    if flat := {name: shape for name, shape in odd.items() if not isinstance(shape, tuple) or len(shape) < 3}:
        told = ", ".join(f"{name} of shape {shape}" for name, shape in flat.items())
        yield "pictures", f"{key}.pictures.modalities: pictures, (channels, height, width) or clips of them, got {told}"
    batch = train.batch_of(seen)
    if train.select == "best" and not summary.n_val:
        yield "select", f"{key}.select: the data have no validation split to select on: last, got 'best'"
    if train.accumulate > batch:
        what = "subjects" if summary.task == "volumes" else "images"
        yield "accumulate", f"{key}.accumulate: at most the {batch} {what} of a batch, got {train.accumulate}"
    if train.accumulate % world_size() and summary.task != "volumes":
        yield (
            "processes",
            f"{key}.accumulate: under torchrun a multiple of its {world_size()} processes, each of which takes its "
            f"parts of a batch, got {train.accumulate}",
        )


def check_conditions(study: Study, data: AnyData) -> None:
    """Conditions that the report shall show must be ones of the dataset, if not of the scenes chosen of it."""
    if isinstance(data, VolumeData):
        check_volumes(study, data)
    there = [value for values in axes_of(data, study.recipe).values() for value in values]
    known = {value for values in find("dataset", study.recipe.data.name).conditions.values() for value in values}
    unknown = [name for name in study.recipe.report.conditions if name not in {*there, *known}]
    if unknown:
        raise RecipeError(
            f"report.conditions: conditions of the data ({', '.join(there) or 'they have none'}), got {unknown}"
        )
