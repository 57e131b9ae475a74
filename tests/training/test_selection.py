"""Which epoch is scored, and on what."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_samples import Workshop, students

from mmablate.data.base import SegmentationData
from mmablate.results import RunRecord, StudyStore
from mmablate.training.building import initial_model
from mmablate.training.checkpoint import load_into
from mmablate.training.device import autocast
from mmablate.training.evaluation import score


def train(
    workshop: Workshop, *overrides: str, data_root: str | None = None
) -> tuple[RunRecord, list[dict[str, Any]], Any]:
    study = workshop.alone(*overrides, data_root=data_root)
    out = workshop.out()
    record = workshop.train(students(study), out, keep="all", data_root=data_root)["sup"]
    assert record.status == "ok", record.error
    folder = StudyStore(out, "tiny").run_folder(record.run_id)
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return record, lines, (study, folder)


def rescored(place: Any, data: SegmentationData, split: str) -> dict[str, float]:
    study, folder = place
    settings = students(study)[0].settings
    model: Any = initial_model(settings["model"], data, seed=9, role="other")
    load_into(model, folder / "checkpoint.safetensors")
    device = torch.device("cpu")
    (found,) = score([model.eval()], data.splits[split], data, settings["evaluate"], device=device,
                      precision=lambda: autocast(device, "float32"))  # fmt: skip
    assert found is not None
    return found.scores


def test_best_on_validation_scored_on_test(workshop: Workshop, data: SegmentationData) -> None:
    record, lines, place = train(workshop)
    means = [line["val"]["Mean"] for line in lines]
    best = max(range(5), key=lambda i: means[i])
    assert record.selected_epoch == best + 1
    assert best != 4, "a run whose best epoch is the last could not tell best from last"
    assert record.validation == lines[best]["val"] == rescored(place, data, "val")
    assert record.metrics == rescored(place, data, "test")
    assert record.metrics != record.validation


def test_last(workshop: Workshop, data: SegmentationData) -> None:
    record, lines, place = train(workshop, "train.select=last")
    assert record.selected_epoch == 5
    assert record.validation == lines[-1]["val"]
    assert record.metrics == rescored(place, data, "test")


def test_validation_every_few_epochs_and_always_the_last(workshop: Workshop) -> None:
    record, lines, _ = train(workshop, "evaluate.every=2")
    assert [line["epoch"] for line in lines if line["val"] is not None] == [2, 4, 5]
    assert record.selected_epoch in (2, 4, 5)


@pytest.fixture
def unlabelled_test(tmp_path: Path) -> str:
    """A folder of range images with train and val only."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4)):
        (tmp_path / split).mkdir()
        for i in range(count):
            labels = draw.integers(0, 3, size=(8, 8))
            channels = [labels + draw.normal(size=(8, 8)), draw.normal(size=(8, 8)), labels]
            np.save(tmp_path / split / f"{i}.npy", np.stack(channels, -1).astype(np.float32))
    return str(tmp_path)


@pytest.mark.parametrize("select", ["best", "last"])
def test_without_test_labels_the_last_epoch_is_scored_on_validation(
    workshop: Workshop, unlabelled_test: str, select: str
) -> None:
    data = "data={name: range_image, modalities: {A: [0], B: [1]}, label_channel: 2, n_classes: 3}"
    options = ("train.batch_size=3", "evaluate.batch_size=3", f"train.select={select}")
    record, lines, _ = train(workshop, data, *options, data_root=unlabelled_test)
    means = [line["val"]["Mean"] for line in lines]
    assert max(means[:-1]) > means[-1], "otherwise the last epoch may have been selected"
    assert record.selected_epoch == 5
    assert record.scored_on == "val"
    assert record.metrics == record.validation == lines[-1]["val"]
