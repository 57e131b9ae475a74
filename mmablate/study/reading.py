"""Which of the data a run reads: data of one label a sample are read one modality at a time.

An option of the data that is called as a modality concerns that modality alone, unless the dataset says that they
hang together (`DatasetEntry.together`). A run that does not read it does
not have it among its settings: a student without a teacher is the same run whatever the teacher's modality.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmablate.catalog import entries, find
from mmablate.catalog.entries import DatasetEntry
from mmablate.recipe.schema import Component, Data


def modalities_read(data: Data, *models: Component) -> tuple[str, ...] | None:
    """The modalities that these models see, in the order of the data; None where every run reads all."""
    entry: DatasetEntry = find("dataset", data.name)
    if entry.task != "classification" or entry.together(data.options):
        return None
    names = tuple(data.modalities or ())
    seen = [own for model in models for own in _seen(model, names)]
    return None if None in seen else tuple(name for name in names if name in seen)


def _seen(model: Component, names: tuple[str, ...]) -> Sequence[str | None]:
    """What one model sees; [None] where nothing is known of it."""
    if model.name in entries("model") and find("model", model.name).multimodal:
        return model.options.get("modalities") or names
    return [model.options.get("modality")]


def restricted(settings: Mapping[str, Any], modalities: Collection[str] | None) -> dict[str, Any]:
    """The settings of the data without what concerns other modalities alone."""
    if modalities is None or find("dataset", settings["name"]).together(settings):
        return dict(settings)
    # A mapping of modalities is a list of pairs here (see `datasets.data_settings`).
    named = [(one if isinstance(one, str) else one[0], one) for one in settings["modalities"]]
    others = {name for name, _ in named if name not in modalities}
    kept = {key: value for key, value in settings.items() if key not in others}
    return {**kept, "modalities": [one for name, one in named if name in modalities]}
