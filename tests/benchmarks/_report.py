"""What every benchmark writes: figure, baseline, ratio, machine and versions, as results/benchmarks/NAME.json."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

import mmablate

FOLDER = Path(__file__).parents[2] / "results" / "benchmarks"


def write(name: str, content: dict[str, Any]) -> Path:
    """Writes the figures of one script, the machine's description beside them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    machine = {"processor": _processor(), "cores": os.cpu_count(), "gpu": cuda, "system": platform.system()}
    versions = {"mmablate": mmablate.__version__, "python": platform.python_version(), "torch": torch.__version__}
    path.write_text(json.dumps({**content, "machine": machine, "versions": versions}, indent=1) + "\n")
    print(path.read_text())
    return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
