"""Which epoch is scored, and on what."""

import json
from typing import Any

import pytest
import torch
from training_samples import Workshop, students

from mmablate.data.base import SegmentationData
from mmablate.results import RunRecord, StudyStore
from mmablate.training.building import initial_model
from mmablate.training.checkpoint import load_into
from mmablate.training.device import autocast
from mmablate.training.evaluation import score

PLAIN = ("teacher=null", "rows=[[sup]]", "losses={sup: {}}", "train.epochs=5", "train.lr=0.05",
         "train.schedule=constant", "train.batch_size=45")  # fmt: skip


def train(workshop: Workshop, *overrides: str) -> tuple[RunRecord, list[dict[str, Any]], Any]:
    study = workshop.study(*PLAIN, *overrides)
    out = workshop.out()
    record = workshop.train(students(study), out, keep="all")["sup"]
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
    (scores,) = score([model.eval()], data.splits[split], data, settings["evaluate"], device=device,
                      precision=lambda: autocast(device, "float32"))  # fmt: skip
    return scores


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


def test_without_test_labels_the_last_epoch_is_scored_on_validation(workshop: Workshop) -> None:
    record, lines, _ = train(workshop, "data.fractions=[0.7, 0.3]") if FRACTIONS else pytest.skip("no option")
    assert record.selected_epoch == 5


FRACTIONS = False
