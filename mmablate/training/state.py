"""The whole state of a run in the middle of training, as one safetensors file: tensors, and JSON in its header.

    runs/<run_id>/state.safetensors     model/..., best/..., sum/..., optimizer/<parameter>/<name>

It goes when the run is over. Batch order, masks, augmentation and dropout draw from streams that are keyed by the
step, so no generator is part of the state: a run that goes on from here computes the bits of one never interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from mmablate.results.files import sync_folder, telling, write_atomic

_FORMAT = 1


@dataclass(frozen=True)
class State:
    """A run at a step boundary.

    Attributes:
        tensors: on the CPU, by the names above.
        about: everything else, JSON-able.
    """

    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any]


def write_state(path: Path, state: State) -> None:
    """Writes the state atomically and durably.

    Raises:
        StoreError: it cannot be written.
    """
    tensors = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.tensors.items()}
    about = json.dumps({**state.about, "format": _FORMAT}, allow_nan=False)
    write_atomic(path, safetensors.torch.save(tensors, {"about": about}))
    with telling(path):
        sync_folder(path.parent.parent)  # of which the run's folder is an entry, new perhaps


def read_state(path: Path) -> State | None:
    """The state; None where there is none, or none that can be read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            if about["format"] != _FORMAT:
                return None
            return State({name: file.get_tensor(name) for name in file.keys()}, about)  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        return None


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start so, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """An optimiser's `state_dict` as named tensors; what is None there (momentum before the first step) is left out."""
    return {
        f"optimizer/{index}/{key}": value
        for index, own in state["state"].items()
        for key, value in own.items()
        if isinstance(value, Tensor)
    }


def optimizer_state(tensors: Mapping[str, Tensor], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """The `state_dict` for an optimiser of the same parameters.

    Args:
        fresh: the `state_dict` of the optimiser as built.
    """
    found: dict[int, dict[str, Any]] = {}
    for name, value in below(tensors, "optimizer/").items():
        index, _, key = name.partition("/")
        found.setdefault(int(index), {})[key] = value
    return {"state": found, "param_groups": fresh["param_groups"]}
