"""What a group took of its device: memory at its peak, and how busy the device was."""

from __future__ import annotations

import resource
import sys
import threading
import time
from typing import Any

import torch

SAMPLE_SECONDS = 0.5


class Usage:
    """Measures from its making until `figures` is asked.

    Args:
        device: of the group.
        threads: that a CPU group computes with.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        self.device, self.threads = device, threads
        self.wall, self.busy = time.perf_counter(), time.process_time()
        self._samples: list[float] = []
        self._over = threading.Event()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            threading.Thread(target=self._sample, name="utilisation", daemon=True).start()

    def figures(self) -> dict[str, Any]:
        """`peak_memory_mb`: of tensors on CUDA, of the whole process on a CPU; `utilisation`: 0-1, None if unknown.

        On CUDA the share of time in which some kernel ran, as the driver samples it (needs nvidia-ml-py); on a CPU
        the processor time per thread and second.
        """
        self._over.set()
        wall = time.perf_counter() - self.wall
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device) / 2**20
            used = sum(self._samples) / len(self._samples) if self._samples else None
        else:
            unit = 1 if sys.platform == "darwin" else 1024
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
            used = min(1.0, (time.process_time() - self.busy) / max(wall, 1e-9) / self.threads)
        return {"peak_memory_mb": round(peak, 1), "utilisation": None if used is None else round(used, 3)}

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            try:
                self._samples.append(torch.cuda.utilization(self.device) / 100)
            except Exception:  # no nvidia-ml-py, or a device that does not tell
                return
