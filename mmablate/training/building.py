"""From a run's settings to its objects. Only here does training read a recipe; components take flat arguments."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from mmablate.catalog import file_hash, find, load_target
from mmablate.data.base import AnyData, ClassificationData, VolumeData
from mmablate.data.streams import stream_key
from mmablate.errors import DataError
from mmablate.methods import (
    AnymodalDistillation,
    Contrastive,
    CrossModalDistillation,
    FusingRule,
    IncompleteTraining,
    JointPair,
    Term,
)
from mmablate.models.pair import Pair
from mmablate.models.places import Selected
from mmablate.recipe.schema import Evaluate
from mmablate.study.datasets import open_dataset
from mmablate.training.checkpoint import load_encoder

AnyMethod = AnymodalDistillation | CrossModalDistillation | JointPair | FusingRule | Contrastive | IncompleteTraining

NO_FILES: Mapping[str, str] = MappingProxyType({})


def open_data(settings: Mapping[str, Any], root: str | None, *, seed: int = 0) -> AnyData:
    """The dataset of a run's settings; opened once a process.

    Args:
        seed: of the run, which data that are drawn anew for every seed depend on.

    Raises:
        DataError: files that are missing or of the wrong form.
    """
    seeded = find("dataset", settings["name"]).seeded
    return _open_data(json.dumps(settings, sort_keys=True), root, seed if seeded else None)


@lru_cache(maxsize=3)
def _open_data(settings: str, root: str | None, seed: int | None) -> AnyData:
    data: AnyData = open_dataset(json.loads(settings), root, seed=seed)
    return data


def build_model(
    settings: Mapping[str, Any], data: AnyData, kept: Sequence[int] | None = None, experts: int | None = None
) -> nn.Module:
    """An uninitialised model for the data's classes; weights that it starts from are for `initial_model`.

    Args:
        kept: of a model that sees some channels of its input alone, which.
        experts: width of the experts beside the encoders, of a model that fuses modalities; None for no experts.
    """
    if isinstance(data, ClassificationData) and (settings["name"] == "contrastive_encoders" or _fuses(settings)):
        return _build_fusing(settings, data, experts)
    options = {key: value for key, value in settings.items() if key not in ("name", "weights", "modality")}
    if isinstance(data, VolumeData):
        volumes: nn.Module = load_target(find("model", settings["name"]))(
            n_classes=data.n_classes, modalities=tuple(data.modalities), **options
        )
        return volumes
    if settings["name"] == "pair":
        return Pair(build_model(settings["teacher"], data), build_model(settings["student"], data))
    if isinstance(data, ClassificationData):
        shape = data.modalities[settings["modality"]]
        options["shape"] = shape if kept is None else (len(kept), *shape[1:])
    model: nn.Module = load_target(find("model", settings["name"]))(n_classes=data.n_classes, **options)
    return model if kept is None else Selected(model, kept)


def _fuses(settings: Mapping[str, Any]) -> bool:
    # A pair is no entry of the catalogue: no recipe asks for one by that name.
    return settings["name"] != "pair" and bool(find("model", settings["name"]).multimodal)


def _build_fusing(settings: Mapping[str, Any], data: ClassificationData, experts: int | None) -> nn.Module:
    """A model of several modalities, or encoders of theirs to be pre-trained."""
    seen = seen_modalities(settings, data)
    options = {key: value for key, value in settings.items() if key not in ("name", "modalities", "weights")}
    options["shapes"] = {name: data.modalities[name] for name in seen}
    if "encoders" in options:  # a row that leaves a modality out has no use for its encoder
        options["encoders"] = {name: own for name, own in options["encoders"].items() if name in seen}
    if settings["name"] == "contrastive_encoders":
        model: nn.Module = load_target(find("model", settings["name"]))(**options)
        return model
    made: nn.Module = load_target(find("model", settings["name"]))(n_classes=data.n_classes, experts=experts, **options)
    return made


def seen_modalities(settings: Mapping[str, Any], data: ClassificationData) -> tuple[str, ...]:
    """The modalities that a model of several sees, in the order in which they are fused."""
    return tuple(settings.get("modalities") or data.modalities)


def expert_width(settings: Mapping[str, Any]) -> int | None:
    """Width of the experts that a run's terms train; None where none does."""
    widths = [loss["width"] for loss in settings["losses"] if find("loss", loss["term"]).experts]
    return max(widths) if widths else None


def build_method(settings: Mapping[str, Any], data: AnyData) -> AnyMethod:
    """The update rule of a run."""
    rule = load_target(find("method", settings["method"]["name"]))
    if isinstance(data, VolumeData):
        presence = data.splits["train"].presence
        options = {key: value for key, value in settings["method"].items() if key != "name"}
        made_of_volumes: IncompleteTraining = rule(
            modalities=tuple(data.modalities), masks=settings["masks"],
            terms=[loss["term"] for loss in settings["losses"]], counts=presence.sum(axis=0).tolist(),
            n_train=len(presence), **options,
        )  # fmt: skip
        return made_of_volumes
    if isinstance(data, ClassificationData) and (
        settings["model"]["name"] == "contrastive_encoders" or _fuses(settings["model"])
    ):
        options = {key: value for key, value in settings["method"].items() if key != "name"}
        fuses = find("method", settings["method"]["name"]).fuses
        if fuses:
            options["trains_unimodal"] = any(loss["term"] == "uni" for loss in settings["losses"])
        made = rule(modalities=seen_modalities(settings["model"], data), ignore_label=data.ignore_label, **options)
        if fuses:
            made.scores_own = "own" in beside_accuracy(settings["evaluate"])
        return made
    if isinstance(data, ClassificationData):
        model, teacher = settings["model"], (settings["teacher"] or {}).get("model")
        if model["name"] == "pair":
            model, teacher = model["student"], model["teacher"]
        return rule(
            modality=model["modality"],
            teacher_modality=teacher and teacher["modality"],
            ignore_label=data.ignore_label,
        )
    return rule(modalities=tuple(data.modalities), ignore_label=data.ignore_label, masks=settings["masks"])


def beside_accuracy(evaluate: Mapping[str, Any]) -> tuple[str, ...]:
    """What stands beside the accuracy of a model that fuses modalities, of a run's settings of `evaluate`."""
    return Evaluate.model_validate(evaluate).extras


def build_terms(settings: Mapping[str, Any]) -> list[Term]:
    """The loss terms of a run, in the order of the recipe."""
    terms = []
    for loss in settings["losses"]:
        options = {k: v for k, v in loss.items() if k not in ("key", "term", "weight", "definition")}
        entry = find("loss", loss["term"])
        unit = entry.unit(loss["definition"])
        function = load_target(entry)
        terms.append(
            Term(
                loss["key"], loss["weight"], function, loss["definition"], options, unit, entry.joins,
                experts=entry.experts, key_term=entry.name,
            )
        )  # fmt: skip
    return terms


def initial_model(
    settings: Mapping[str, Any],
    data: AnyData,
    *,
    seed: int,
    role: str,
    weight_files: Mapping[str, str] = NO_FILES,
    kept: Sequence[int] | None = None,
    experts: int | None = None,
) -> nn.Module:
    """A model with the initial weights of that seed, whatever the state of the global generator.

    Weights that a module draws in its constructor and has no `reset_parameters` for (an attention's, a bare
    parameter's) come from a stream of the whole model. Where the settings name a file for the encoder to start
    from, it is read after that.

    Args:
        weight_files: hash of a file, as settings name it -> where the file is.
        kept, experts: as for `build_model`.

    Raises:
        DataError: a file that is not there, has changed, or does not fit the encoder.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_key(seed, role, "build"))
        model = build_model(settings, data, kept, experts)
    initialise(model, seed=seed, role=role)
    if settings.get("weights") is not None:
        load_encoder(model, _checked_file(settings["weights"], weight_files))
    return model


def _checked_file(wanted: str, weight_files: Mapping[str, str]) -> Path:
    """The file of that hash; the run's identity is its content, so it must be that still."""
    if wanted not in weight_files:
        raise DataError(f"model.weights: where the file of hash {wanted} is, is not known here")
    path = Path(weight_files[wanted]).expanduser()
    if not path.is_file():
        raise DataError(f"model.weights: no such file, got {str(path)!r}")
    if file_hash(path) != wanted:
        raise DataError(f"{path}: the file has changed since the study was planned")
    return path


def initialise(model: nn.Module, *, seed: int, role: str) -> None:
    """Draws every module's initial weights from a stream of its own, keyed by the module's name.

    Models that share part of their architecture then share its initial weights, and one more layer shifts
    nobody else's draws (definitions, section 10). A module that has `initialisers()`, pairs of a name and a
    function, says itself how all that is inside it begins.
    """
    with torch.random.fork_rng(devices=[]):
        for name, draw in _initialisers(model):
            torch.default_generator.manual_seed(stream_key(seed, role, "init", name))
            draw()


def _initialisers(model: nn.Module) -> Iterator[tuple[str, Callable[[], None]]]:
    speaking: list[str] = []  # modules that speak for what is inside them
    for name, module in model.named_modules():
        if any(name.startswith(outer) for outer in speaking):
            continue
        own = getattr(module, "initialisers", None)
        reset = getattr(module, "reset_parameters", None)
        if callable(own):
            prefix = f"{name}." if name else ""
            speaking.append(prefix)
            yield from ((prefix + inner, draw) for inner, draw in own())
        elif callable(reset):
            yield name, reset
