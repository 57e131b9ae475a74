"""Lockstep groups of runs on 3D scans: patches, second batches, scores by subset of the modalities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, cast

import numpy as np

from mmablate.data.base import VolumeData, VolumeSplit
from mmablate.data.batches import ALL
from mmablate.data.volume_augment import VolumeAugmentation
from mmablate.data.volume_batches import MetaBatches, VolumeBatch, VolumeBatches
from mmablate.errors import DataError
from mmablate.recipe.volumes import DICE, HD95, REGIONS, apart_column
from mmablate.results.shown import write_predictions
from mmablate.results.subject_scores import write_subject_scores
from mmablate.study.volume_columns import evaluated_subsets, groups_of_subsets, patterns
from mmablate.training import distributed
from mmablate.training.bilevel import BiLevel, VolumeTrainee
from mmablate.training.evaluation import Evaluated, Scores
from mmablate.training.flops import volume_flops
from mmablate.training.lockstep import Group
from mmablate.training.trainee import Trainee
from mmablate.training.volume_scores import Box, SubsetScores, Windows, score_volumes
from mmablate.training.volume_slices import shown_subsets, slice_predictions


class VolumeGroup(Group):
    """Runs on 3D scans whose modalities may be missing; each steps in turn, whatever it does with a second batch."""

    trainee_type = VolumeTrainee
    data: VolumeData  # type: ignore[assignment]
    batches: VolumeBatches  # type: ignore[assignment]

    def _batches(self, data: Any) -> Any:
        if distributed.share().world > 1:
            raise DataError("runs on 3D scans take one process each: without torchrun")
        self.stepper = BiLevel(self._second)
        self._meta: dict[int, MetaBatches] = {}
        self._final: dict[str, SubsetScores] = {}
        split = data.splits["train"]
        return VolumeBatches(
            split, batch_size=self._batch_size(), parts=self.train_settings["accumulate"],
            steps=self.train_settings.get("steps"), workers=self.task.workers, **self._common(),
        )  # fmt: skip

    def _common(self) -> dict[str, Any]:
        patches = self.train_settings["patches"]
        augmentation = VolumeAugmentation(
            patch=None if patches["size"] is None else tuple(patches["size"]),
            **{key: value for key, value in patches.items() if key != "size"},
        )
        return {
            "seed": self.specs[0].seed, "role": self.specs[0].role, "device": self.device,
            "augmentation": augmentation, "modalities": tuple(self.data.modalities),
        }  # fmt: skip

    def _batch_size(self) -> int:
        return min(int(self.train_settings["batch_size"]), len(self.data.splits["train"]))

    def _second(self, trainee: Trainee) -> Sequence[VolumeBatch]:
        """The run's second batch of the step at hand; drawn once for all runs that want the same."""
        rule = trainee.method
        eligible = "complete" if rule.meta["masks"] == "full" else "all"
        size = rule.meta["batch_size"] or self._batch_size()
        if size not in self._meta:
            split = cast(Any, self.data.splits["train"])
            self._meta[size] = MetaBatches(split, batch_size=size, **self._common())
        key = size, eligible
        step, drawn = self._now
        if key not in drawn:
            exclude = self.batches.subjects(step)
            drawn[key] = self._cut(self._meta[size].batch(step, exclude, cast(Any, eligible)))
        found = drawn[key]
        return () if found is None else found.parts()

    def _cut(self, batch: VolumeBatch | None) -> VolumeBatch | None:
        """Into parts no larger than those of a training batch, so that no more samples go through the model at once."""
        if batch is None:
            return None
        most = -(-self._batch_size() // int(self.train_settings["accumulate"]))
        _, cuts = ALL.of(len(batch), -(-len(batch) // most))
        return replace(batch, cuts=cuts)

    def _count_masks(self, step: int) -> tuple[str, ...]:
        """Masks are a matter of the subjects, whose order the digest holds."""
        self._now: tuple[int, dict[tuple[int, str], VolumeBatch | None]] = (step, {})
        return ()

    def _reader(self, split: str) -> Any:
        return self.data.splits[split]

    # --- scores -------------------------------------------------------------------------------------------------

    def _subsets(self) -> dict[str, tuple[str, ...]]:
        return evaluated_subsets(list(self.data.modalities), self.settings["evaluate"]["subsets"])

    def _evaluate(
        self,
        trainees: Sequence[Trainee],
        reader: Any,
        guard: Callable[[int], AbstractContextManager[object]],
        *,
        by_condition: bool = False,
    ) -> list[Evaluated | None]:
        """Scores on every subset of the modalities; on the final model those of every subset apart, and HD95."""
        settings = self.settings["evaluate"]
        subsets = self._subsets()
        found = score_volumes(
            [trainee.model for trainee in trainees], reader, self.data,
            patch=_box(settings), stride=settings.get("stride"), subsets=subsets,
            device=self.device, precision=self._precision, guard=guard,
            surface=by_condition and settings.get("hd95", True), min_et=settings.get("min_et", 0),
            one_empty=settings.get("one_empty", "diagonal"), windows_at_once=settings["batch_size"],
        )  # fmt: skip
        names = list(self.data.modalities)
        groups = groups_of_subsets(subsets, names, patterns(names, self.data.splits["train"].presence))
        apart = settings.get("apart", [])
        if by_condition:
            self._final = {t.spec.run_id: own for t, own in zip(trainees, found, strict=True) if own is not None}
        return [None if own is None else evaluated(own, groups, apart, by_subset=by_condition) for own in found]

    def _flops(self, trainee: Trainee) -> float | None:
        """Of one window of the first scan that is scored."""
        whole = self.data.splits[self.data.scored_split].size(0)
        window = self.settings["evaluate"].get("window") or whole
        return volume_flops(trainee.model, [min(a, b) for a, b in zip(window, whole, strict=True)], self.device)

    def _keep_predictions(self, trainee: Trainee) -> None:
        """Scores of single subjects, and for a few of them what is seen in a slice."""
        own = self._final.pop(trainee.spec.run_id, None)
        if not self.lead:
            return
        folder, split = self.store.run_folder(trainee.spec.run_id), self.data.splits[self.data.scored_split]
        try:
            if own is not None:
                write_subject_scores(folder, [split.describe(i).id for i in range(len(split))], own.subsets, own.values)
            if self.task.samples:
                write_predictions(folder, self.task.samples, self._slices(trainee, split))
        except Exception:  # a device or a disk that is full now: the score stands without them
            return

    def _slices(self, trainee: Trainee, split: VolumeSplit) -> dict[str, np.ndarray]:
        settings = self.settings["evaluate"]
        shown = shown_subsets(self._subsets(), len(self.data.modalities))
        windows = Windows(_box(settings), settings.get("stride"), settings["batch_size"])
        return slice_predictions(
            trainee.model, split, self.data, self.task.samples, shown, windows,
            device=self.device, precision=self._precision,
        )  # fmt: skip


def _box(settings: Mapping[str, Any]) -> Box | None:
    """The window of an evaluation; None for whole scans."""
    window = settings.get("window")
    return None if window is None else (int(window[0]), int(window[1]), int(window[2]))


def evaluated(
    found: SubsetScores, groups: Mapping[str, Sequence[str]], apart: Sequence[str], *, by_subset: bool
) -> Evaluated:
    """Means over the subsets, as columns; and the columns of every subset and group of them alone.

    Args:
        found: subset -> column -> score; a subset that no subject could be scored on is left out.
        groups: group -> its subsets.
        apart: groups that have a column of their own.
        by_subset: whether the scores of subsets and groups are wanted beside the columns.
    """
    by_name = found.columns
    scores = _mean(by_name)
    for group in apart:
        some = [by_name[name][DICE] for name in groups[group] if name in by_name]
        if some:
            scores[apart_column(group)] = math.fsum(some) / len(some)
    # Selection looks at the first column that is no mean over subsets: Dice stands first.
    ordered = {name: scores[name] for name in (DICE, *REGIONS, *scores) if name in scores}
    if not by_subset:
        return Evaluated(ordered)
    conditions = dict(by_name)
    for group, names in groups.items():
        some_scores = {name: by_name[name] for name in names if name in by_name}
        if some_scores and group not in conditions:
            conditions[group] = _mean(some_scores)
    return Evaluated(ordered, {name: dict(own) for name, own in conditions.items()})


def _mean(by_name: Mapping[str, Scores]) -> Scores:
    """Unweighted over the subsets, column by column."""
    if not by_name:
        return {}
    columns = [column for column in (*REGIONS, DICE, HD95) if column in next(iter(by_name.values()))]
    return {column: math.fsum(own[column] for own in by_name.values()) / len(by_name) for column in columns}
