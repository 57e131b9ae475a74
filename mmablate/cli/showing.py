"""The samples of a contact sheet as the data have them: opened by the recipe of the study, and no others read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmablate.analysis.class_samples import SampleKey
from mmablate.catalog import find, fingerprint, load_target
from mmablate.catalog.entries import DatasetEntry
from mmablate.data.base import AnyData, Split, VolumeData
from mmablate.data.pictures import sample_info, sample_pictures
from mmablate.data.summary import labels_of
from mmablate.errors import MmablateError, StoreError
from mmablate.recipe.schema import Data
from mmablate.report.contact_sheet import DrawnSample
from mmablate.results import StudyStore
from mmablate.results.files import read_json
from mmablate.study.datasets import data_settings, open_dataset
from mmablate.study.generating import Tell, generated_root

NOT_THERE = "The data were not at hand when this sheet was made: its samples are shown without their pictures."


@dataclass
class Drawn:
    """What the data say of samples.

    Attributes:
        samples: those that could be read.
        warnings: for the sheet, without paths.
        told: for the terminal: the same with paths and reasons.
    """

    samples: dict[SampleKey, DrawnSample] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def draw_samples(
    store: StudyStore, study: Mapping[str, Any], keys: Sequence[SampleKey], root: str | None, tell: Tell
) -> Drawn:
    """Reads the samples from the study's data.

    A sample whose id or class is another one in the data is not shown: they are not the data of the study then. What
    cannot be opened or read leaves samples without pictures, and is told.

    Args:
        root: folder of the data, where they are the user's.
        tell: hears what takes time.
    """
    drawn = Drawn()
    try:
        source = _Source(study, root, tell)
        drawn.warnings += source.differences(store, study)
        for seed in dict.fromkeys(key.seed for key in keys):
            split = source.split(seed)
            _draw(drawn, split, [key for key in keys if key.seed == seed])
    except (MmablateError, OSError) as error:
        first = str(error).splitlines()[0]
        drawn.warnings = [NOT_THERE]
        drawn.told.append(f"pictures left out, the study's data cannot be opened: {first}")
    drawn.told += [text for text in drawn.warnings if text != NOT_THERE]
    return drawn


class _Source:
    """The data of a study."""

    def __init__(self, study: Mapping[str, Any], root: str | None, tell: Tell) -> None:
        try:
            data = Data.model_validate((study.get("recipe") or {}).get("data"))
        except ValidationError as error:
            raise StoreError(f"study.json: recipe.data: {error.errors()[0]['msg']}") from error
        if root is None and data.generate is not None:
            root = str(generated_root(data.name, data.generate, tell))
        self.entry: DatasetEntry = find("dataset", data.name)
        self.settings, self.root = data_settings(data), root
        # What is kept in memory would be read whole; a few samples are not worth that.
        if "cache_bytes" in inspect.signature(load_target(self.entry)).parameters:
            self.settings["cache_bytes"] = 0

    def split(self, seed: int | None) -> Split:
        """The scored split; of data that are drawn for each seed, that seed's."""
        data: AnyData = open_dataset(self.settings, self.root, seed=seed)
        if isinstance(data, VolumeData):  # whose runs keep no predictions of single samples
            raise StoreError(f"{data.name}: 3D scans are not shown sample by sample")
        return data.splits[data.scored_split]

    def differences(self, store: StudyStore, study: Mapping[str, Any]) -> list[str]:
        """What tells these data from those that runs have read, by one run a row; a sentence each."""
        place = Path(self.root).expanduser() if self.root is not None and self.entry.needs_root else None
        if self.entry.needs_root and place is None:
            return []
        settings = {key: value for key, value in self.settings.items() if key != "cache_bytes"}
        first = {row: entry["run_id"] for entry in reversed(study["plan"]) for row in entry["rows"]}
        read = [_data_of(store, run_id) for run_id in dict.fromkeys(first.values())]
        found = []
        known = next((own["fingerprint"] for own in read if isinstance(own.get("fingerprint"), str)), None)
        if known is not None and fingerprint(self.entry.files(place, settings), relative_to=place) != known:
            found.append("The files of the data have changed since the study was trained (size or time).")
        # A run has among its settings only those that concern what it reads.
        apart = ("name", "modalities", "fingerprint", "root")
        if any(value != settings.get(key) for own in read for key, value in own.items() if key not in apart):
            found.append("Some rows read the data with settings of their own; the pictures are by those of the recipe.")
        return found


def _data_of(store: StudyStore, run_id: str) -> dict[str, Any]:
    """Settings of the data that a run has read; {} where it does not say."""
    try:
        config = read_json(store.run_folder(run_id) / "config.json")
    except StoreError:
        return {}
    own = config.get("data") if isinstance(config, dict) else None
    return own if isinstance(own, dict) else {}


def _draw(drawn: Drawn, split: Split, keys: Sequence[SampleKey]) -> None:
    n_others, faults = 0, []
    for key in keys:
        if key.place >= len(split):
            n_others += 1
            continue
        try:
            info = sample_info(split, key.place)
            if info.id != key.id or int(labels_of(split, [key.place])[0]) != key.truth:
                n_others += 1
                continue
            drawn.samples[key] = DrawnSample(sample_pictures(split, key.place), dict(info.conditions))
        except (MmablateError, OSError) as error:
            faults.append(str(error).splitlines()[0])
    if n_others:
        drawn.warnings.append(
            f"{n_others} of {len(keys)} samples have another id or class in the data at hand: they are not those that "
            "the study was scored on, and no picture is shown of them."
        )
    if faults:
        some = "sample" if len(faults) == 1 else "samples"
        drawn.warnings.append(f"The files of {len(faults)} {some} cannot be read: no picture is shown of them.")
        drawn.told.append(f"e.g. {faults[0]}")
