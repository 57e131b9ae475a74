"""What the time of a step depends on: runs of one shape take equally long, whatever their seed and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmablate.execution.grouping import Group
from mmablate.study import RunSpec
from mmablate.study.plan import content_id


def run_shape(spec: RunSpec) -> str:
    """Of a run's own work: its model, terms, optimiser and evaluation, on the batches of its data."""
    settings = spec.settings
    losses = [
        {key: value for key, value in loss.items() if key not in ("key", "weight")} for loss in settings["losses"]
    ]
    train = {key: settings["train"][key] for key in ("optimizer", "clip")}
    own = {"model": settings["model"], "losses": losses, "train": {**train, "clip": train["clip"] is not None}}
    return content_id({"kind": "run", **own, "batches": _batches(settings)})


def shared_shape(group: Group) -> str:
    """Of a group's common work: reading, augmenting, and the frozen teacher."""
    settings = group.specs[0].settings
    teachers = [spec.settings["teacher"]["model"] for spec in group.specs if spec.settings["teacher"]]
    return content_id({"kind": "shared", "teacher": teachers[:1], "batches": _batches(settings)})


def _batches(settings: Mapping[str, Any]) -> dict[str, Any]:
    train = {key: settings["train"][key] for key in ("batch_size", "accumulate", "augment", "precision")}
    train["steps"] = settings["train"].get("steps")
    if patches := settings["train"].get("patches"):
        train["patches"] = patches["size"]
    kept = {key: settings[key] for key in ("role", "data", "evaluate", "method", "masks")}
    evaluate = {key: value for key, value in settings["evaluate"].items() if key != "every"}
    return {**kept, "evaluate": evaluate, "train": train}
