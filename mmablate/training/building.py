"""From a run's settings to its objects. Only here does training read a recipe; components take flat arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from mmablate.catalog import find, load_target
from mmablate.data.base import SegmentationData
from mmablate.data.streams import stream_key
from mmablate.methods import AnymodalDistillation, Term
from mmablate.study.datasets import open_dataset


def open_data(settings: Mapping[str, Any], root: str | None) -> SegmentationData:
    """The dataset of a run's settings; opened once a process.

    Raises:
        DataError: files that are missing or of the wrong form.
    """
    return _open_data(json.dumps(settings, sort_keys=True), root)


@lru_cache(maxsize=2)
def _open_data(settings: str, root: str | None) -> SegmentationData:
    data: SegmentationData = open_dataset(json.loads(settings), root)
    return data


def build_model(settings: Mapping[str, Any], data: SegmentationData) -> nn.Module:
    """An uninitialised model for the data's classes."""
    options = {key: value for key, value in settings.items() if key != "name"}
    model: nn.Module = load_target(find("model", settings["name"]))(n_classes=data.n_classes, **options)
    return model


def build_method(settings: Mapping[str, Any], data: SegmentationData) -> AnymodalDistillation:
    """The update rule of a run."""
    method: AnymodalDistillation = load_target(find("method", settings["method"]["name"]))(
        modalities=tuple(data.modalities), ignore_label=data.ignore_label, masks=settings["masks"]
    )
    return method


def build_terms(settings: Mapping[str, Any]) -> list[Term]:
    """The loss terms of a run, in the order of the recipe."""
    terms = []
    for loss in settings["losses"]:
        options = {k: v for k, v in loss.items() if k not in ("key", "term", "weight", "definition")}
        function = load_target(find("loss", loss["term"]))
        terms.append(Term(loss["key"], loss["weight"], function, loss["definition"], options))
    return terms


def initial_model(settings: Mapping[str, Any], data: SegmentationData, *, seed: int, role: str) -> nn.Module:
    """A model with the initial weights of that seed, whatever the state of the global generator.

    Weights that a module draws in its constructor and has no `reset_parameters` for (an attention's, a bare
    parameter's) come from a stream of the whole model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_key(seed, role, "build"))
        model = build_model(settings, data)
    initialise(model, seed=seed, role=role)
    return model


def initialise(model: nn.Module, *, seed: int, role: str) -> None:
    """Draws every module's initial weights from a stream of its own, keyed by the module's name.

    Models that share part of their architecture then share its initial weights, and one more layer shifts
    nobody else's draws (definitions, section 10).
    """
    with torch.random.fork_rng(devices=[]):
        for name, module in model.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                torch.default_generator.manual_seed(stream_key(seed, role, "init", name))
                reset()
