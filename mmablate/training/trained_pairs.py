"""The saliency of pairs that are trained already: at any place, by any distance, on any split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmablate.catalog import find, fingerprint
from mmablate.catalog.entries import DatasetEntry
from mmablate.data.base import ClassificationData
from mmablate.data.loading import BatchReader
from mmablate.data.streams import generator
from mmablate.errors import DataError, StoreError, UsageError
from mmablate.methods.channels import recovery
from mmablate.methods.saliency import Saliency, significant_count
from mmablate.models.places import PlacedNetwork
from mmablate.results import RunRecord, StudyStore
from mmablate.results.files import read_json
from mmablate.results.store import CHECKPOINT
from mmablate.training.building import build_model, open_data
from mmablate.training.checkpoint import load_into
from mmablate.training.device import placed, prepare_threads
from mmablate.training.focusing import load_classifier, measure_saliency


@dataclass(frozen=True)
class Wanted:
    """What is to be measured.

    Attributes:
        place: of the teachers.
        permutations: of every channel.
        distance: "squared" or "l1".
        split: whose samples are permuted.
    """

    place: str
    permutations: int
    distance: str
    split: str


@dataclass(frozen=True)
class Measured:
    """The saliency of one pair.

    Attributes:
        record: of the run that holds the pair, or of a student whose teacher is the other one.
        saliency: of the teacher's channels.
        count: how many of them are significant.
        general: those that are general in truth; None where nobody knows.
        tag: share of as many of the most salient as are general that are so, in percent; None likewise.
    """

    record: RunRecord
    saliency: Saliency
    count: int
    general: tuple[int, ...] | None
    tag: float | None


def measure_pairs(
    store: StudyStore, wanted: Wanted, data_root: str | None, device: torch.device, *, only: str | None = None
) -> Iterator[Measured]:
    """Measures every pair of a study whose weights are there: those trained jointly, else students with a teacher.

    Raises:
        UsageError: no such pair, or no such place.
        DataError: weights that cannot be read, or a split that the data do not have.
    """
    prepare_threads(device, 1)
    aside = {entry["run_id"] for entry in store.read_study().get("superseded", ())}
    good = [r for r in store.records()[0] if r.status == "ok" and r.run_id not in aside and only in (None, r.run_id)]
    pairs = [record for record in good if record.role == "pair" and store.has_weights(record.run_id)]
    found = pairs or [r for r in good if r.role == "student" and store.has_weights(r.run_id) and _taught(store, r)]
    if not found:
        raise UsageError(
            f"{store.folder}: no pair of teacher and student whose weights are kept; "
            "a recipe with a focus trains some, and one with `checkpoints: all` keeps those of students"
        )
    for record in sorted(found, key=lambda record: (record.row or "", record.seed)):
        yield _measure(store, record, wanted, data_root, device)


def _taught(store: StudyStore, record: RunRecord) -> bool:
    teacher = _settings(store, record)["teacher"]
    return bool(teacher and teacher.get("run") and store.has_weights(teacher["run"]))


def _settings(store: StudyStore, record: RunRecord) -> dict[str, Any]:
    path = store.run_folder(record.run_id) / "config.json"
    settings = read_json(path)
    wanted = ("data", "model", "teacher", "evaluate")
    if not isinstance(settings, dict) or any(key not in settings for key in wanted):
        raise StoreError(f"{path}: not the settings of a run")
    return settings


def _measure(
    store: StudyStore, record: RunRecord, wanted: Wanted, data_root: str | None, device: torch.device
) -> Measured:
    settings = _settings(store, record)
    _check_data(settings["data"], data_root)
    data = open_data(settings["data"], data_root, seed=record.seed)
    if not isinstance(data, ClassificationData):
        raise UsageError(f"{store.folder}: saliency is of classifiers, the study's data are {data.name}")
    if wanted.split not in data.splits:
        raise DataError(f"--split {wanted.split}: the data have the splits {', '.join(data.splits)}")
    teacher, student, modalities = _networks(store, record, settings, data, device)
    if not isinstance(teacher, PlacedNetwork):
        raise UsageError(f"{record.run_id}: the teacher sees chosen channels of its input alone, and has no places")
    if wanted.place not in teacher.places[:-1]:
        raise UsageError(f"--place {wanted.place}: the teacher has the places {', '.join(teacher.places[:-1])}")
    saliency = measure_saliency(
        teacher, student, BatchReader(data.splits[wanted.split]), modalities=modalities, place=wanted.place,
        permutations=wanted.permutations, distance=wanted.distance, device=device,
        generator=generator(record.seed, "focus", "permutations"), batch_size=settings["evaluate"]["batch_size"],
    )  # fmt: skip
    general = data.general.get(modalities[0]) if wanted.place == "input" else None
    top = recovery(saliency.ranking()[: len(general)], general).precision if general else None
    return Measured(record, saliency, significant_count(saliency), general, None if top is None else 100 * top)


def _check_data(settings: Mapping[str, Any], data_root: str | None) -> None:
    """The data are those that the pair was trained on.

    Raises:
        DataError: they are others, or are not there.
    """
    entry: DatasetEntry = find("dataset", settings["name"])
    root = Path(data_root).expanduser() if data_root and entry.needs_root else None
    if entry.needs_root and root is None:
        raise DataError(f"--data-root: {entry.name} reads a folder of yours; say which")
    found = fingerprint(entry.files(root, settings), relative_to=root)
    if found != settings["fingerprint"]:
        raise DataError(
            f"{root or entry.name}: these are not the data that the pairs were trained on; --data-root DIR names others"
        )


def _networks(
    store: StudyStore, record: RunRecord, settings: Mapping[str, Any], data: ClassificationData, device: torch.device
) -> tuple[nn.Module, nn.Module, tuple[str, str]]:
    """Teacher, student and the modalities that they see."""
    path = store.run_folder(record.run_id) / CHECKPOINT
    if record.role == "pair":
        pair = build_model(settings["model"], data)
        load_into(pair, path)
        networks = pair.get_submodule("teacher"), pair.get_submodule("student")
        models = settings["model"]["teacher"], settings["model"]["student"]
    else:
        described = settings["teacher"]
        upstream = store.run_folder(described["run"]) / CHECKPOINT
        student = build_model(settings["model"], data)
        load_into(student, path)
        networks = load_classifier(described["model"], data, upstream, described.get("part")), student
        models = described["model"], settings["model"]
    ready = [placed(network, device).eval().requires_grad_(False) for network in networks]
    return ready[0], ready[1], (models[0]["modality"], models[1]["modality"])
