"""Four MiT-B0 students on synthetic driving scenes: one lockstep group against four runs one after the other.

    python tests/benchmarks/lockstep.py                  # on a GPU: 512 x 512
    python tests/benchmarks/lockstep.py --device cpu     # 96 x 96, one or two minutes

Both sides train the rows of `muses_losses` through the same trainer, from loading to scores, in one process: the
group loads each batch and runs the teacher once, in turn and stacked; a run by itself does both for itself. The
teacher's weights are a file of random ones, so that its training is on neither side.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _report
import torch

from mmablate.data.muses.mini import make_muses
from mmablate.results import RunRecord, StudyStore
from mmablate.study import RunSpec, open_study
from mmablate.training.building import initial_model, open_data
from mmablate.training.checkpoint import save_weights
from mmablate.training.device import choose_device
from mmablate.training.group import GroupTask, InTurn, Stepper, train_group
from mmablate.training.stacking import Stacked

RECIPE = Path(__file__).parents[2] / "recipes" / "muses_losses.yaml"


class Bench:
    """The four students of one seed, their scenes and their teacher."""

    def __init__(self, work: Path, device: torch.device, size: int, scenes: int, epochs: int, batch: int) -> None:
        self.work, self.device, self.root = work, device, work / "scenes"
        make_muses(self.root, train=scenes, val=4, test=4, seed=0)
        model = (
            "model={backbone: mit_b0, decoder_width: 256, drop_path: 0.1, dropout: 0.1, widths: null, strides: null}"
        )
        settings = [model, f"data.size=[{size},{size}]", f"train.epochs={epochs}", f"train.batch_size={batch}",
                    f"evaluate.every={epochs}", f"evaluate.batch_size={batch}", "seeds=[0]"]  # fmt: skip
        study = open_study(str(RECIPE), profile="mini", overrides=settings, data_root=str(self.root))
        self.name = study.name
        self.specs = [spec for spec in study.runs if spec.role == "student"]
        data = open_data(self.specs[0].settings["data"], str(self.root))
        teacher = initial_model(self.specs[0].settings["model"], data, seed=0, role="teacher")
        save_weights(work / "teacher.safetensors", teacher.state_dict())

    def train(self, name: str, groups: Sequence[Sequence[RunSpec]], stepper: type[Stepper]) -> dict[str, Any]:
        """Seconds of training these groups one after the other, and their scores."""
        out = self.work / name
        StudyStore(out, self.name).prepare()
        records: list[RunRecord] = []
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        started = time.perf_counter()
        for specs in groups:
            task = GroupTask(
                tuple(specs), self.name, out, str(self.root), str(self.device),
                teacher_checkpoint=str(self.work / "teacher.safetensors"),
                workers=4 if self.device.type == "cuda" else 0,
            )  # fmt: skip
            records += train_group(task, lambda progress: None, stepper())
        seconds = time.perf_counter() - started
        broken = [record.error for record in records if record.status != "ok"]
        if broken:
            raise RuntimeError(str(broken[0]))
        peak = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None
        print(f"{name}: {seconds:.1f} s", flush=True)
        return {"seconds": seconds, "peak_bytes": peak, "Mean": {str(r.row): r.metrics["Mean"] for r in records}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=None)
    options = parser.parse_args()
    device = choose_device(options.device)
    cuda = device.type == "cuda"
    size, epochs = options.size or (512 if cuda else 96), options.epochs or (6 if cuda else 8)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), device, size, scenes=64 if cuda else 12, epochs=epochs, batch=4)
        bench.train("warm-up", [bench.specs[:1]], InTurn)  # a process's first steps are slower
        alone = bench.train("one after the other", [[spec] for spec in bench.specs], InTurn)
        in_turn = bench.train("lockstep, in turn", [bench.specs], InTurn)
        stacked = bench.train("lockstep, stacked", [bench.specs], Stacked)
    best = min(in_turn["seconds"], stacked["seconds"])
    _report.write(
        "lockstep",
        {
            "figure": f"seconds of four MiT-B0 students at {size} x {size} as one group, in its faster mode",
            "baseline": "the four runs one after the other, each loading its data and running the teacher itself",
            "ratio": alone["seconds"] / best,
            "ratio_in_turn": alone["seconds"] / in_turn["seconds"],
            "ratio_stacked": alone["seconds"] / stacked["seconds"],
            "device": str(device),
            "precision": "bf16" if cuda else "float32",
            "note": None if cuda else "measured on a CPU core at a small size, where in turn is the default",
            "students": len(bench.specs),
            "epochs": epochs,
            "metrics_equal_to_the_bit": alone["Mean"] == in_turn["Mean"],
            "ways": {"one after the other": alone, "lockstep, in turn": in_turn, "lockstep, stacked": stacked},
        },
    )


if __name__ == "__main__":
    main()
