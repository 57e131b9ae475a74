"""Lockstep groups of runs on 3D scans: going on after a stop or a lack of memory, and the parts of second batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mmablate.data.brats.mini import make_brats
from mmablate.data.loading import Ahead
from mmablate.results import StudyStore
from mmablate.results.store import STATE
from mmablate.study import RunSpec, Study, open_study
from mmablate.training.bilevel import VolumeTrainee
from mmablate.training.group import GroupTask, train_group
from mmablate.training.lockstep import Group
from mmablate.training.memory import GroupTooLarge
from mmablate.training.probing import ProbeTask, probe_group
from mmablate.training.saving import Interval
from mmablate.training.state import read_state
from mmablate.training.trainee import Piece
from mmablate.training.volume_scores import score_volumes

RECIPE = """
name: scans
data: {name: brats, modalities: [flair, t1ce, t1, t2], masks: mr2468}
model: {name: incomplete_segmentor, widths: [2, 4]}
method: {name: incomplete}
train: {epochs: 2, batch_size: 2, lr: 1e-2, schedule: poly, warmup: 0, select: last, patches: {size: [8, 8, 8]}}
losses: {fuse: {weight: 1}, pixel: {weight: 1}}
rows:
  - {name: balanced, overrides: {method.balance: preference}}
  - {name: matched, overrides: {method.second: step}}
  - {name: meta, overrides: {method: {name: metadrop, balance: meta}}}
baseline: balanced
seeds: [0]
evaluate: {subsets: [flair, t2], hd95: false}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("scans")
    make_brats(folder / "mini", train=6, val=1, test=1, size=24, raw=False)
    (folder / "scans.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    found = open_study(str(root / "scans.yaml"), data_root=str(root / "mini"))
    assert isinstance(found, Study)
    return found


def task(study: Study, root: Path, out: Path, specs: Sequence[RunSpec] | None = None, **options: Any) -> GroupTask:
    StudyStore(out, "scans").prepare()
    chosen = tuple(study.runs if specs is None else specs)
    return GroupTask(chosen, "scans", out, str(root / "mini"), "cpu", keep="all", **options)


def everything(out: Path, study: Study) -> dict[str, Any]:
    """Row -> all that must come out the same to the bit wherever a run was interrupted."""
    store = StudyStore(out, "scans")
    records, bad = store.records()
    assert not bad
    found = {}
    for record in records:
        assert record.error is None, record.error
        lines = (store.run_folder(record.run_id) / "history.jsonl").read_text().splitlines()
        history = [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]
        found[record.row] = record.digests, record.metrics, record.conditions, history
    assert len(found) == len(study.runs)
    return found


@pytest.fixture(scope="module")
def undisturbed(root: Path, study: Study) -> dict[str, Any]:
    out = root / "whole"
    train_group(task(study, root, out), lambda progress: None)
    return everything(out, study)


def test_processes_that_read_ahead_change_nothing(
    root: Path, study: Study, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def ahead(dataset: Any, workers: int, **named: Any) -> Ahead:
        read.append(workers)
        return Ahead(dataset, workers, **named)

    monkeypatch.setattr("mmablate.data.volume_batches.Ahead", ahead)
    train_group(task(study, root, root / "ahead", workers=1), lambda progress: None)
    assert read == [1]
    assert everything(root / "ahead", study) == undisturbed


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("at", [2, 3, 4])
def test_a_group_that_was_killed_goes_on_as_if_it_had_not_been(
    root: Path, study: Study, undisturbed: dict[str, Any], at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an epoch, between its last step and its end, and in the next one; 3 steps an epoch."""
    out = root / f"killed{at}"
    original = Group._end_epoch if at == 3 else VolumeTrainee.take

    def kill(own: Any, *args: Any, **named: Any) -> None:
        if at == 3 or own.steps == at:
            raise Killed
        original(own, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(*((Group, "_end_epoch") if at == 3 else (VolumeTrainee, "take")), kill)
        with pytest.raises(Killed):
            train_group(task(study, root, out, save_every=Interval(steps=1)), lambda progress: None)
    store = StudyStore(out, "scans")
    states = [read_state(store.run_folder(spec.run_id) / STATE) for spec in study.runs]
    assert [state is not None and state.about["steps"] for state in states] == [at] * 3
    train_group(task(study, root, out), lambda progress: None)
    assert everything(out, study) == undisturbed


@pytest.mark.parametrize(("row", "piece", "at"), [("meta", 1, 2), ("matched", 1, 3), ("balanced", 0, 4)])
def test_memory_that_runs_out_within_a_step_leaves_no_half_of_it(
    root: Path, study: Study, undisturbed: dict[str, Any], row: str, piece: int, at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In the second batch of a step, whose first has moved the weights, or after the balance has heard of the first."""
    out = root / f"full-{row}"
    original = VolumeTrainee.backward

    def backward(trainee: VolumeTrainee, part: Piece) -> None:
        original(trainee, part)
        if (trainee.steps, trainee.spec.rows[0], part.index) == (at, row, piece):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(VolumeTrainee, "backward", backward)
        with pytest.raises(GroupTooLarge, match="out of memory"):
            train_group(task(study, root, out, save_every=Interval(steps=2)), lambda progress: None)
    for spec in study.runs:
        train_group(task(study, root, out, [spec]), lambda progress: None)
    assert everything(out, study) == undisturbed


def test_second_batches_are_cut_as_training_batches_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train.accumulate` bounds the memory of a pass; the sum over the parts is the whole batch's."""
    found = {}
    original = VolumeTrainee.backward
    for parts in (1, 2):
        seen: list[tuple[str, int, int]] = []

        def backward(trainee: VolumeTrainee, part: Piece, seen: list[tuple[str, int, int]] = seen) -> None:
            original(trainee, part)
            seen.append((trainee.spec.rows[0], part.index, len(part.batch)))

        overrides = [f"train.accumulate={parts}", "train.batch_size=3", "train.epochs=1"]
        cut = open_study(str(root / "scans.yaml"), data_root=str(root / "mini"), overrides=overrides)
        assert isinstance(cut, Study)
        out = root / f"parts{parts}"
        with monkeypatch.context() as patch:
            patch.setattr(VolumeTrainee, "backward", backward)
            train_group(task(cut, root, out), lambda progress: None)
        sizes = [size for row, _, size in seen if row == "meta"]
        assert sizes == ([3, 3] if parts == 1 else [1, 2, 1, 2]) * 2
        assert [index for row, index, _ in seen if row == "meta"] == list(range(2 * parts)) * 2
        found[parts] = everything(out, cut)
    for row in ("matched", "meta"):
        whole, cut_up = (found[parts][row][3][0]["losses"] for parts in (1, 2))
        assert cut_up == pytest.approx(whole, rel=1e-4), row


def test_a_probe_times_the_surface_distance_too(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validations go without it, the final scores with it; both are part of an estimate."""
    pytest.importorskip("monai")
    overrides = ["evaluate.hd95=true"]
    measured = open_study(str(root / "scans.yaml"), data_root=str(root / "mini"), overrides=overrides)
    assert isinstance(measured, Study)
    seen: list[bool] = []

    def scored(*args: Any, surface: bool, **named: Any) -> Any:
        seen.append(surface)
        return score_volumes(*args, surface=surface, **named)

    monkeypatch.setattr("mmablate.training.volume_group.score_volumes", scored)
    out = root / "probed"
    StudyStore(out, "scans").prepare()
    probed = probe_group(ProbeTask(measured.runs[:1], "scans", out, str(root / "mini"), "cpu", keep="all", seconds=0.0))
    assert seen == [False, True]
    assert (probed.n_val, probed.n_scored, probed.steps_per_epoch) == (1, 1, 3)
    assert all(run.step > 0 and run.sample > 0 and run.finish > 0 for run in probed.runs)


def test_the_identities_hold_for_whole_runs(root: Path, tmp_path: Path) -> None:
    """From recipe to record: α = 1 without an outer step ends with the weights of single-level training, to the bit."""
    text = (
        RECIPE[: RECIPE.index("rows:")]
        + """
rows:
  - {name: single, overrides: {}}
  - {name: same, overrides: {method: {name: metadrop, eta_out: 0, alpha: 1}}}
  - {name: other, overrides: {method: {name: metadrop, eta_out: 0.1, alpha: 1}}}
seeds: [0]
evaluate: {subsets: [flair, t2], hd95: false}
"""
    )
    (tmp_path / "scans.yaml").write_text(text)
    planned: Any = open_study(str(tmp_path / "scans.yaml"), data_root=str(root / "mini"))
    train_group(task(planned, root, tmp_path / "out"), lambda progress: None)
    found = everything(tmp_path / "out", planned)
    assert found["single"][:3] == found["same"][:3]  # digests of weights and batches, scores
    assert found["single"][3] == found["same"][3]  # the history
    assert found["single"][0]["order"] == found["other"][0]["order"]
    assert found["single"][0]["final"] != found["other"][0]["final"]
