"""Tiny studies for the tests of training: the shipped Landsat scene, cut into few small tiles."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmablate.results import RunRecord, StudyStore
from mmablate.study import RunSpec, Study, open_study
from mmablate.training.group import GroupTask, Progress, train_group

RECIPE = """
name: tiny
data: {name: landsat, modalities: [V, N, S], tile: 16, block: 32, train_stride: 32}
model: {name: anymodal_segmentor, widths: [4, 8], strides: [2, 2], decoder_width: 4}
teacher: {name: anymodal_segmentor}
train: {epochs: 2, batch_size: 15, lr: 1e-2, select: last, augment: {flip: true, vertical: true}}
losses:
  sup: {weight: 1}
  mad: {weight: 13, symbol: λ}
  umd: {weight: 2, symbol: α}
  cmd: {weight: 10, symbol: β}
rows:
  - [sup]
  - [sup, mad]
  - [sup, mad, umd]
  - [sup, mad, umd, cmd]
  - {name: wide, losses: [sup, mad], overrides: {model.decoder_width: 6}}
baseline: sup
seeds: [1, 2]   # in the six steps of seed 1 all sizes of subsets occur
evaluate: {subsets: all, batch_size: 64}
"""

ALONE = """
name: tiny
data: {name: landsat, modalities: [V, N, S], tile: 16, block: 32, train_stride: 32}
model: {name: anymodal_segmentor, widths: [4, 8], strides: [2, 2], decoder_width: 4}
train: {epochs: 5, batch_size: 45, lr: 0.05, schedule: constant}
losses: {sup: {weight: 1}}
seeds: [1]
evaluate: {subsets: all, batch_size: 64}
"""


class Workshop:
    """Plans and trains tiny studies, each in a results folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        (folder / "tiny.yaml").write_text(RECIPE)
        (folder / "alone.yaml").write_text(ALONE)

    def study(self, *overrides: str) -> Study:
        """The recipe of a teacher and five rows, with KEY=VALUE."""
        return open_study(str(self.folder / "tiny.yaml"), overrides=list(overrides))

    def alone(self, *overrides: str, data_root: str | None = None) -> Study:
        """The recipe of one row without a teacher, with KEY=VALUE."""
        return open_study(str(self.folder / "alone.yaml"), overrides=list(overrides), data_root=data_root)

    def out(self) -> Path:
        """A new results folder."""
        self.count += 1
        path = self.folder / f"out{self.count}"
        StudyStore(path, "tiny").prepare()
        return path

    def train(
        self,
        specs: Sequence[RunSpec],
        out: Path,
        *,
        report: Callable[[Progress], None] = lambda progress: None,
        data_root: str | None = None,
        **options: Any,
    ) -> dict[str, RunRecord]:
        """Trains these as one group; records by row (a teacher's row is None, shown as "teacher")."""
        task = GroupTask(tuple(specs), "tiny", out, data_root, "cpu", **options)
        return {record.row or "teacher": record for record in train_group(task, report)}


def students(study: Study, seed: int = 1, rows: Sequence[str] | None = None) -> list[RunSpec]:
    """Students of a seed, in the order of the rows."""
    own = [s for s in study.runs if s.role == "student" and s.seed == seed]
    return [s for s in own if rows is None or set(rows) & set(s.rows)]


def teachers(study: Study, seed: int = 1) -> list[RunSpec]:
    """The teacher of a seed."""
    return [s for s in study.runs if s.role == "teacher" and s.seed == seed]


def numbers(record: RunRecord) -> dict[str, Any]:
    """All of a record that must be the same to the bit whenever the run is trained."""
    whole = record.model_dump(mode="json")
    varying = {"seconds", "environment"}
    return {key: value for key, value in whole.items() if key not in varying}
