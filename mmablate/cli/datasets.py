"""`data check` and `data info`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmablate.catalog import entries
from mmablate.cli.volume_info import SPLIT_NAMES, Conditions, conditions_of_splits, volume_info, write_page
from mmablate.data.base import SampleData, VolumeData
from mmablate.data.pictures import class_colours, sample_info, sample_pictures, spread
from mmablate.data.summary import DatasetSummary, labels_of, summarise
from mmablate.errors import DataError, UsageError
from mmablate.recipe import load_recipe, shipped_recipes
from mmablate.study.datasets import check_dataset, data_files, dataset_settings, open_dataset
from mmablate.study.generating import with_data

# The smallest recipe around a dataset's own defaults, so that `data info landsat` needs no file.
DEFAULTS: dict[str, Any] = {"model": {"name": "anymodal_segmentor"}, "losses": {"sup": {}}}

MOST_SAMPLES = 12


def check(name: str, root: str | None) -> int:
    """Reads every file; exit 2 with all faults, otherwise one line of what was read."""
    settings, place = data_settings(name, root)
    problems = check_dataset(settings, place, thorough=True)
    if problems:
        raise DataError(problems)
    data = open_dataset(settings, place)
    summary = summarise(data)
    counts = f"{summary.n_train} train, {summary.n_val} validation, {summary.n_test} test"
    mark = " SYNTHETIC data," if summary.synthetic else ""
    volumes = summary.task == "volumes"
    sizes = f"subjects of at most {_size(summary)} voxels" if volumes else f"samples of {_size(summary)}"
    print(f"{summary.name}:{mark} no faults found ({counts} {sizes})")
    for note in data.notes if volumes else ():  # what is missing is no fault, and worth a look
        print(note)
    return 0


def info(name: str, root: str | None, format: str, page: Path | None = None) -> int:
    """Prints the card of a dataset, or writes a page with the card and samples."""
    settings, place = data_settings(name, root)
    problems = check_dataset(settings, place, thorough=False)
    if problems:
        raise DataError(problems)
    data = open_dataset(settings, place)
    if isinstance(data, VolumeData):
        return volume_info(data, format, page)
    summary = summarise(data)
    conditions = conditions_of_splits(data)
    if page is not None:
        write_page(_card(data, summary, conditions), page)
    if format == "json":
        card = {**summary.to_json(), "conditions": conditions, "notes": list(data.notes)}
        print(json.dumps(card, ensure_ascii=False, indent=1))
    elif page is None:
        _print_card(summary, conditions, data.notes)
    return 0


def data_settings(name: str, root: str | None) -> tuple[dict[str, Any], str | None]:
    """The data section that NAME means: a recipe's, or a dataset with its defaults."""
    known = entries("dataset")
    if name in known:
        entry = known[name]
        required = [key for key, field in entry.options.model_fields.items() if field.is_required()]
        if required or entry.modalities is None:
            of_it = [r for r in shipped_recipes() if load_recipe(r).data.name == name]
            raise UsageError(
                f"{name}: a recipe must say how its files are read; name one, e.g. "
                f"`mmablate data check {of_it[0] if of_it else 'my_recipe.yaml'} DIR`"
            )
        settings = {"name": name, "modalities": list(entry.modalities), **entry.options().model_dump(mode="json")}
        return settings, root
    recipe = with_data(load_recipe(name, data_root=root), lambda text: print(text, file=sys.stderr))
    data_files(recipe)  # a missing folder is told before anything is imported
    return dataset_settings(recipe), recipe.data.root


def _size(summary: DatasetSummary) -> str:
    """ "32 x 32", or "audio 1 x 40 x 64, image 3 x 32 x 64"."""
    if summary.task != "classification":
        return " x ".join(map(str, summary.shape))
    return ", ".join(f"{name} {_shape(shape)}" for name, shape in summary.modalities.items())


def _shape(channels: int | tuple[int, ...]) -> str:
    """ "3 channels", or "3 x 32 x 64"."""
    if isinstance(channels, tuple):
        return " x ".join(map(str, channels))
    return f"{channels} channel{'s' if channels > 1 else ''}"


def _facts(summary: DatasetSummary) -> list[tuple[str, str]]:
    modalities = (f"{name} ({_shape(shape)})" for name, shape in summary.modalities.items())
    facts = [("modalities", ", ".join(modalities))]
    if summary.task == "segmentation":
        facts.append(("size of a sample", f"{_size(summary)} pixels"))
    facts.append(("scored on", f"the {SPLIT_NAMES.get(summary.scored_split, summary.scored_split)} split"))
    if summary.majority is not None:
        score, metric = summary.majority
        facts.append((f"always {summary.majority_class}", f"{score:.2f} % {metric} on that split"))
    return facts


def _card(data: SampleData, summary: DatasetSummary, conditions: Conditions) -> Any:
    """The card as the page takes it."""
    from mmablate.report.data_page import DataCard, ShownSample

    each = max(1, MOST_SAMPLES // len(data.splits))
    samples = [
        ShownSample(
            split=SPLIT_NAMES.get(name, name),
            id=(about := sample_info(split, index)).id,
            conditions=about.conditions,
            pictures=sample_pictures(split, index),
            labels=np.asarray(labels_of(split, [index])[0]),
        )
        for name, split in data.splits.items()
        for index in spread(split, each)
    ]
    totals = {name: max(1, sum(counts)) for name, counts in summary.class_pixels.items()}
    return DataCard(
        name=summary.name,
        synthetic=summary.synthetic,
        attribution=summary.attribution,
        notes=data.notes,
        facts=_facts(summary),
        splits={name: SPLIT_NAMES.get(name, name) for name in data.splits},
        sizes={name: len(split) for name, split in data.splits.items()},
        class_names=summary.class_names,
        colours=class_colours(data),
        ignore_label=data.ignore_label,
        class_pixels=summary.class_pixels,
        class_shares={name: [n / totals[name] for n in counts] for name, counts in summary.class_pixels.items()},
        labelled=summary.valid_fraction,
        conditions=conditions,
        samples=samples,
        counted="samples" if summary.task == "classification" else "pixels",
    )


def _print_card(summary: DatasetSummary, conditions: Conditions, notes: Sequence[str]) -> None:
    console = Console(highlight=False)
    console.print(Text(summary.name, style="bold"), "(synthetic)" if summary.synthetic else "")
    whole = summary.task == "classification"
    size = "one class a sample" if whole else f"{_size(summary)} pixels a sample"
    console.print(f"{size}; scored on {summary.scored_split}")
    modalities = ", ".join(
        f"{name} ({_shape(shape) if isinstance(shape, tuple) else f'{shape} channels'})"
        for name, shape in summary.modalities.items()
    )
    console.print(Text(f"modalities: {modalities}"))
    grid = Grid()
    grid.add_column("class")
    for split in summary.class_pixels:
        grid.add_column(f"{split}, {summary.unit}", justify="right")
    for index, label in enumerate(summary.class_names):
        grid.add_row(Text(label), *(f"{counts[index]:,}" for counts in summary.class_pixels.values()))
    sizes = {"train": summary.n_train, "val": summary.n_val, "test": summary.n_test}
    grid.add_section()
    grid.add_row("samples", *(f"{sizes[split]:,}" for split in summary.class_pixels))
    for values in conditions.values():
        for value, counts in values.items():
            grid.add_row(Text(f"  {value}"), *(f"{counts[split]:,}" for split in summary.class_pixels))
    if not whole:
        grid.add_row("labelled", *(f"{100 * summary.valid_fraction[split]:.1f} %" for split in summary.class_pixels))
    console.print(grid)
    if summary.majority is not None:
        score, metric = summary.majority
        console.print(Text(f"always {summary.majority_class}: {score:.2f} % {metric} on {summary.scored_split}"))
    for note in notes:
        console.print(Text(note))
    if summary.attribution:
        console.print(Text(f"source: {summary.attribution}"))
