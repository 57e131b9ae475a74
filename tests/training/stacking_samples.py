"""Runs, batches and a teacher for tests that step trainees by hand, stacked and in turn."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmablate.data.augment import Augmentation
from mmablate.data.batches import Batch, TrainingBatches
from mmablate.study import RunSpec, Study
from mmablate.training.building import build_method, initial_model, open_data
from mmablate.training.trainee import Piece, Trainee

CPU = torch.device("cpu")


class Rig:
    """One seed of a study: fresh trainees of its rows, and pieces of batches with a frozen teacher's view.

    Attributes:
        specs: students by the name of their row.
    """

    def __init__(self, study: Study, *, data_root: str | None = None, seed: int = 1, size: int = 4) -> None:
        own = [s for s in study.runs if s.role == "student" and s.seed == seed]
        self.specs = {row: spec for spec in own for row in spec.rows}
        self.first = own[0].settings
        self.data = open_data(self.first["data"], data_root)
        self.seed, self.size = seed, size
        self.method = build_method(self.first, self.data)
        # Any weights will do for a teacher, as long as they are not the student's own.
        self.teacher: nn.Module = initial_model(self.first["model"], self.data, seed=seed, role="teacher")
        self.teacher.eval().requires_grad_(False)

    def trainees(self, rows: Sequence[str] | None = None, total: int = 50) -> list[Trainee]:
        """Runs at their very beginning, in the order of `rows`."""
        return [self.trainee(self.specs[row], total) for row in rows or self.specs]

    def trainee(self, spec: RunSpec, total: int = 50) -> Trainee:
        return Trainee(spec, self.data, CPU, total)

    def steps(self, count: int, *, parts: int = 1, present: Sequence[str] | None = None) -> list[list[Piece]]:
        """The pieces of the first steps."""
        batches = TrainingBatches(
            self.data.splits["train"], batch_size=self.size, seed=self.seed, role="student", device=CPU,
            augmentation=Augmentation(flip=True, ignore_label=self.data.ignore_label), parts=parts,
        )  # fmt: skip
        found: list[list[Piece]] = []
        epoch = 0
        while len(found) < count:
            for batch in batches.epoch(epoch):
                shown = self.method.present(self.seed, len(found)) if present is None else tuple(present)
                found.append(self.pieces(batch, shown))
            epoch += 1
        return found[:count]

    def pieces(self, batch: Batch, present: tuple[str, ...]) -> list[Piece]:
        parts, made = batch.parts(), []
        void = self.data.ignore_label
        pixels = [int((part.labels != void).sum()) for part in parts]
        for index, part in enumerate(parts):
            shares = None
            if len(parts) > 1:
                shares = {"images": len(part) / len(batch), "pixels": pixels[index] / max(1, sum(pixels))}
            with torch.no_grad():
                reference = self.method.reference(self.teacher, part)
            made.append(Piece(part, present, reference, index, index == len(parts) - 1, shares))
        return made


def weights(trainee: Trainee) -> dict[str, Tensor]:
    """Copies of weights, buffers and the optimiser's state."""
    found = {name: value.detach().clone() for name, value in trainee.model.state_dict().items()}
    for name, weight in trainee.model.named_parameters():
        for key, value in trainee.optimizer.state.get(weight, {}).items():
            if isinstance(value, Tensor):
                found[f"{name}/{key}"] = value.detach().clone()
    return found


def distance(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """Norm of the difference relative to the norm, over all tensors together."""
    assert ours.keys() == theirs.keys()
    apart = sum(float((ours[name] - theirs[name]).double().square().sum()) for name in ours)
    whole = sum(float(theirs[name].double().square().sum()) for name in ours)
    return float((apart / whole) ** 0.5)
