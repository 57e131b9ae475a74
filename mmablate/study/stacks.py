"""Which runs may be stacked: trained as one model with one more axis (`mmablate.training.stacking` does it).

From settings alone, so that planning can ask.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mmablate.catalog import find
from mmablate.study.plan import RunSpec

# What may differ: how fast each run learns scales its own update, which epoch is kept matters to no step.
_FREE = ("lr", "select")


def linear_key(spec: RunSpec) -> str | None:
    """Runs with equal keys are trained as one, whatever their seed and data; None for a run that is not of the kind.

    They are linear classifiers on data that are drawn in memory for each seed, which learn by plain gradient descent
    on the whole training set (`mmablate.training.linear_group`).
    """
    settings, train = spec.settings, spec.settings["train"]
    if "program" in settings or not find("dataset", settings["data"]["name"]).seeded:
        return None
    model, teacher = settings["model"], settings["teacher"]
    models = [model["teacher"], model["student"]] if model["name"] == "pair" else [model]
    models += [teacher["model"]] if teacher else []
    plain = {
        "optimizer": "sgd", "batch_size": "all", "accumulate": 1, "weight_decay": 0, "schedule": "constant",
        "warmup": 0, "clip": None, "select": "last",
    }  # fmt: skip
    if (
        any(own["name"] != "linear" for own in models)
        or any(train[key] != value for key, value in plain.items())
        or not train.get("steps")
        or train.get("holdout")
        or train["precision"] != "float32"  # "auto" is another one on CUDA, where in turn keeps to it
        or (teacher and ("run" not in teacher or teacher.get("focus")))
        or not all(_is_linear_term(loss) for loss in settings["losses"])
        or (spec.role == "pair" and [loss["weight"] for loss in settings["losses"] if loss["term"] == "sup"] != [1])
    ):
        return None
    return json.dumps([spec.role, train, settings["evaluate"], settings["method"]], sort_keys=True)


def _is_linear_term(loss: Mapping[str, Any]) -> bool:
    return {
        "sup": loss["definition"] == "ce",
        "kd": loss.get("temperature") == 1,
        "dist": loss["definition"] == "squared",
    }.get(loss["term"], False)


def stack_key(spec: RunSpec) -> str:
    """Runs of one group with equal keys share a stack.

    They have one architecture, method and optimiser, all but the learning rate's height, whatever their losses,
    the weights of these and the file that the model starts from. Runs whose every term compares features leave
    the decoder untouched, and share no stack with those that train it. Runs that fuse modalities, and those on
    3D scans, go in turn.
    """
    if (linear := linear_key(spec)) is not None:
        return linear
    settings = spec.settings
    method = find("method", settings["method"]["name"])
    if method.fuses or method.task == "volumes" or spec.role == "pretraining":
        return spec.run_id  # a gradient that differs from part to part of a model is for its own run to route
    model = {key: value for key, value in settings["model"].items() if key != "weights"}
    train = {key: value for key, value in settings["train"].items() if key not in _FREE}
    by_features = all(find("loss", loss["term"]).compares_features for loss in settings["losses"])
    shared = [spec.role, spec.seed, settings["data"], settings["method"], settings["masks"], model, train, by_features]
    return json.dumps(shared, sort_keys=True)


def stacks_of(specs: Sequence[RunSpec], largest: int | None = None) -> list[tuple[RunSpec, ...]]:
    """The runs of one group as stacks, each in the order given; a run that stands alone is a stack of one.

    Args:
        largest: number of runs that a stack may have; more are cut into stacks of nearly equal size.

    Raises:
        ValueError: `largest` below 1.
    """
    if largest is not None and largest < 1:
        raise ValueError(f"a stack holds at least one run, got {largest}")
    alike: dict[str, list[RunSpec]] = defaultdict(list)
    for spec in specs:
        alike[stack_key(spec)].append(spec)
    stacks = []
    for some in alike.values():
        count = 1 if largest is None else -(-len(some) // largest)
        bounds = [len(some) * i // count for i in range(count + 1)]
        stacks += [tuple(some[a:b]) for a, b in pairwise(bounds)]
    return stacks
