"""Weights on disk: safetensors, never pickled code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mmablate.errors import DataError
from mmablate.results.files import write_atomic


def save_weights(path: Path, weights: Mapping[str, Tensor], *, durable: bool = True) -> None:
    """Writes weights atomically; `durable` as in `write_atomic`."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomic(path, safetensors.torch.save(tensors), durable=durable)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file, or a .pt/.pth file of plain tensors (nothing else is unpickled).

    Raises:
        DataError: missing, damaged, or not a flat mapping of names to tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError) as error:
        raise DataError(f"{path}: the checkpoint cannot be read ({error})") from error
    except Exception as error:  # torch raises pickle.UnpicklingError for anything but plain tensors
        raise DataError(f"{path}: not a checkpoint of plain tensors ({type(error).__name__})") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"{path}: expected a mapping of names to tensors")
    return content


def load_into(model: nn.Module, path: Path) -> None:
    """Loads weights that must fit the model exactly, under its own names or those that its `own_names` knows.

    Raises:
        DataError: names or shapes that differ; says how many and gives the first.
    """
    _fit(model, _read_for(model, path), path, "the model")


def weights_for(model: nn.Module, path: Path, *, part: str | None = None) -> dict[str, Tensor]:
    """The weights of a file under the model's names.

    Args:
        part: of a file that holds several models, the one whose names begin so.

    Raises:
        DataError: the file cannot be read.
    """
    if part is None:
        return _read_for(model, path)
    weights = load_weights(path)
    return {name.removeprefix(f"{part}."): x for name, x in weights.items() if name.startswith(f"{part}.")}


def fit(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Loads weights of `weights_for`; raises as `load_into`."""
    _fit(model, weights, path, "the model")


def load_encoder(model: nn.Module, path: Path) -> None:
    """Loads the weights of the model's `encoder` from a file of it alone or of a whole model; the rest stays.

    Raises:
        DataError: as `load_into`, for the encoder.
    """
    encoder = model.get_submodule("encoder")
    others = tuple(f"{name}." for name, _ in model.named_children() if name != "encoder")
    weights = {k: v for k, v in _read_for(model, path).items() if not k.startswith(others)}
    _fit(encoder, {k.removeprefix("encoder."): v for k, v in weights.items()}, path, "the encoder")


def load_part(model: nn.Module, part: str, path: Path) -> None:
    """Loads one part of a model from a file of a model that has that part too; the rest stays.

    Raises:
        DataError: as `load_into`, for the part.
    """
    _fit(model.get_submodule(part), weights_for(model, path, part=part), path, f"the {part}")


def _read_for(model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The file's weights under the model's names; what DataParallel puts before a name is taken off."""
    weights = {re.sub(r"^(module\.)+", "", name): value for name, value in load_weights(path).items()}
    own_names = getattr(model, "own_names", None)
    return own_names(weights) if own_names is not None else weights


def _fit(module: nn.Module, weights: Mapping[str, Tensor], path: Path, what: str) -> None:
    own = module.state_dict()
    missing, foreign = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [k for k in own if k in weights and own[k].shape != weights[k].shape]
    if missing or foreign or shapes:
        first = (missing or foreign or shapes)[0]
        raise DataError(
            f"{path}: the weights do not fit {what}: {len(missing)} missing, {len(foreign)} unknown, "
            f"{len(shapes)} of another shape (first: {first})"
        )
    module.load_state_dict(weights)


def digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of the weights."""
    total = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        total.update(f"{name}:{value.dtype}:{tuple(value.shape)}\n".encode())
        total.update(value.view(torch.uint8).numpy().tobytes() if value.ndim else value.numpy().tobytes())
    return total.hexdigest()
