"""`doctor`: what this machine can run, and why not."""

from __future__ import annotations

import importlib
import platform
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

import mmablate
from mmablate.catalog import entries
from mmablate.data.cache import cache_folder
from mmablate.recipe import shipped_recipes
from mmablate.results.machine import available_cores

PACKAGES = ("torch", "typer", "pydantic", "pandas", "rich", "optuna", "pyyaml", "numpy", "scipy", "jinja2",
            "matplotlib", "safetensors", "filelock", "pillow", "h5py")  # fmt: skip
OPTIONAL = {
    "hdf5plugin": ("muses", "the compressed event files of MUSES itself"),
    "transformers": ("backbones", "MiT-B0 ... B5"),
    "ray": ("ray", "--backend ray"),
    "submitit": ("slurm", "--backend slurm"),
    "wandb": ("tracking", "--track wandb"),
    "mlflow-skinny": ("tracking", "--track mlflow"),
    "tensorboard": ("tracking", "--track tensorboard"),
    "nibabel": ("medical", "NIfTI files of BraTS"),
    "monai": ("medical", "HD95 of 3D scans"),
}
"""Package -> the extra that brings it, and what it is for."""


def examine() -> int:
    """Prints a line for each question; exit 1 where something that every command needs is wrong."""
    rows: list[tuple[bool | None, str, str]] = [
        (None, "mmablate", f"{mmablate.__version__}, Python {platform.python_version()}, {platform.platform()}"),
        (None, "processors", f"{available_cores()} (default for -j on a CPU, one thread a group)"),
    ]
    rows += [_package(name) for name in PACKAGES]
    rows += [_optional(name) for name in OPTIONAL]
    rows += _devices()
    rows.append((None, "cache", f"{cache_folder()} (generated and projected data; MMABLATE_CACHE moves it)"))
    rows.append(_writable(Path("results")))
    rows.append((None, "recipes", ", ".join(shipped_recipes())))
    plugins = [e.name for kind in ("dataset", "model", "loss", "method") for e in entries(kind).values()
               if not e.target.startswith("mmablate.")]  # fmt: skip
    rows.append((None, "plugins", ", ".join(plugins) or "none"))
    grid = Grid(show_header=False, box=None)
    for fine, name, text in rows:
        mark = {True: "ok", False: "FAULT", None: ""}[fine]
        grid.add_row(Text(mark, style="bold red" if fine is False else "green"), name, Text(text))
    Console().print(grid)
    return 1 if any(fine is False for fine, _, _ in rows) else 0


def _package(name: str) -> tuple[bool, str, str]:
    module = {"pyyaml": "yaml", "pillow": "PIL"}.get(name, name)
    try:
        found = version(name)
        importlib.import_module(module)
    except PackageNotFoundError:
        return False, name, f"not installed: pip install {name}"
    except Exception as error:  # a broken native library raises anything
        return False, name, f"cannot be imported: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return True, name, found


def _optional(name: str) -> tuple[bool | None, str, str]:
    extra, purpose = OPTIONAL[name]
    try:
        return None, name, f"{version(name)}, for {purpose}"
    except PackageNotFoundError:
        return None, name, f'not installed, needed for {purpose}: pip install "mmablate[{extra}]"'


def _devices() -> list[tuple[bool | None, str, str]]:
    try:
        import torch
    except Exception:  # told above, by name
        return []
    if not torch.cuda.is_available():
        built = f"this torch was built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build of torch"
        return [(None, "CUDA", f"none ({built}); runs use the CPU in float32")]
    rows: list[tuple[bool | None, str, str]] = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        rows.append((True, f"cuda:{index}", f"{about.name}, {about.total_memory / 2**30:.0f} GiB, {bf16}"))
    return rows


def _writable(folder: Path) -> tuple[bool, str, str]:
    existing = folder if folder.exists() else Path()
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return False, "results", f"{existing.absolute()} cannot be written: {error.strerror}"
    free = shutil.disk_usage(existing).free / 2**30
    return True, "results", f"{folder.absolute()} can be written, {free:.1f} GiB free"
