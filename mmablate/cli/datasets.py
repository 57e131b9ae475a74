"""`data check` and `data info`."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmablate.catalog import entries
from mmablate.data.summary import DatasetSummary, summarise
from mmablate.errors import DataError, UsageError
from mmablate.recipe import load_recipe, shipped_recipes
from mmablate.study.datasets import check_dataset, data_files, dataset_settings, open_dataset

# The smallest recipe around a dataset's own defaults, so that `data info landsat` needs no file.
DEFAULTS: dict[str, Any] = {"model": {"name": "anymodal_segmentor"}, "losses": {"sup": {}}}


def check(name: str, root: str | None) -> int:
    """Reads every file; exit 2 with all faults, otherwise one line of what was read."""
    settings, place = _settings(name, root)
    problems = check_dataset(settings, place, thorough=True)
    if problems:
        raise DataError(problems)
    summary = summarise(open_dataset(settings, place))
    counts = f"{summary.n_train} train, {summary.n_val} validation, {summary.n_test} test"
    print(f"{summary.name}: no faults found ({counts} samples of {summary.shape[0]} x {summary.shape[1]})")
    return 0


def info(name: str, root: str | None, format: str) -> int:
    """Prints the card of a dataset."""
    settings, place = _settings(name, root)
    problems = check_dataset(settings, place, thorough=False)
    if problems:
        raise DataError(problems)
    summary = summarise(open_dataset(settings, place))
    if format == "json":
        print(json.dumps(summary.to_json(), ensure_ascii=False, indent=1))
    else:
        _print_card(summary)
    return 0


def _settings(name: str, root: str | None) -> tuple[dict[str, Any], str | None]:
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
    recipe = load_recipe(name, data_root=root)
    data_files(recipe)  # a missing folder is told before anything is imported
    return dataset_settings(recipe), recipe.data.root


def _print_card(summary: DatasetSummary) -> None:
    console = Console(highlight=False)
    console.print(Text(summary.name, style="bold"), "(synthetic)" if summary.synthetic else "")
    height, width = summary.shape
    console.print(f"{height} x {width} pixels a sample; scored on {summary.scored_split}")
    modalities = ", ".join(f"{name} ({channels} channels)" for name, channels in summary.modalities.items())
    console.print(Text(f"modalities: {modalities}"))
    grid = Grid()
    grid.add_column("class")
    for split in summary.class_pixels:
        grid.add_column(f"{split}, pixels", justify="right")
    for index, label in enumerate(summary.class_names):
        grid.add_row(Text(label), *(f"{counts[index]:,}" for counts in summary.class_pixels.values()))
    sizes = {"train": summary.n_train, "val": summary.n_val, "test": summary.n_test}
    grid.add_section()
    grid.add_row("samples", *(f"{sizes[split]:,}" for split in summary.class_pixels))
    grid.add_row("labelled", *(f"{100 * summary.valid_fraction[split]:.1f} %" for split in summary.class_pixels))
    console.print(grid)
    if summary.majority_miou is not None:
        console.print(f"always {summary.majority_class}: {summary.majority_miou:.2f} % mIoU on {summary.scored_split}")
    if summary.attribution:
        console.print(Text(f"source: {summary.attribution}"))
