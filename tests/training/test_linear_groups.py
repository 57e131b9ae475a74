"""Linear classifiers trained as one stack are the runs that they are in turn: ids, beginnings, weights, scores."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from crossmodal_samples import GAUSS, Ran, run, shipped
from torch.testing import assert_close

from mmablate.results import StudyStore
from mmablate.results.saliency import read_saliency
from mmablate.study import RunSpec, open_study
from mmablate.training.group import GroupTask, train_group

# What 20 to 60 steps of float32 sums in another order amount to.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}

GAMMA = ("data.n_val=30",)
FOCUS = ("data.n_val=60", "focus.permutations=5", "train.steps=60")
FOCUS_ROWS = [
    f"{gamma}+{teaching}"
    for gamma in ("0.25", "0.75")
    for teaching in ("no_kd", "kd", "kd_random", "kd_known", "kd_general")
]


@pytest.fixture(scope="module")
def gamma(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """The recipe gauss_gamma, both ways."""
    folder = tmp_path_factory.mktemp("gamma")
    study = shipped("gauss_gamma", *GAUSS, *GAMMA)
    return {mode: run(study, folder / mode, mode=mode) for mode in ("in-turn", "stacked")}


@pytest.fixture(scope="module")
def focus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Two gammas of the recipe gauss_focus, both ways."""
    folder = tmp_path_factory.mktemp("focus")
    study = shipped("gauss_focus", *GAUSS, *FOCUS)
    return {mode: run(study, folder / mode, mode=mode, rows=FOCUS_ROWS) for mode in ("in-turn", "stacked")}


@pytest.fixture(params=["gamma", "focus"])
def both(request: pytest.FixtureRequest) -> dict[str, Ran]:
    found: dict[str, Ran] = request.getfixturevalue(request.param)
    return found


def test_the_same_runs_begin_alike_and_are_of_one_size(both: dict[str, Ran]) -> None:
    turn, stacked = both["in-turn"], both["stacked"]
    assert not turn.outcome.failed
    assert not stacked.outcome.failed
    ours = {record.run_id: record for record in turn.outcome.trained}
    theirs = {record.run_id: record for record in stacked.outcome.trained}
    assert ours.keys() == theirs.keys()
    assert len(ours) > 20
    for run_id, record in ours.items():
        other = theirs[run_id]
        assert other.environment["stack"] > 1, "one of a stack"
        assert "stack" not in record.environment
        assert other.digests["init"] == record.digests["init"] is not None
        for name in (
            "role", "seed", "row", "n_parameters", "flops", "steps", "selected_epoch", "scored_on", "synthetic",
            "depends_on", "status",
        ):  # fmt: skip
            assert getattr(other, name) == getattr(record, name), name
        assert record.flops


def test_the_weights_are_equal_and_so_are_the_scores(both: dict[str, Ran]) -> None:
    turn, stacked = both["in-turn"], both["stacked"]
    moved = set()
    for spec in turn.study.runs:
        if turn.store.read_record(spec.run_id) is None:
            continue
        ours, theirs = turn.weights(spec), stacked.weights(spec)
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert_close(theirs[name], value, **TOLERANCE, msg=lambda text, s=spec: f"{s.role} {s.rows}: {text}")
        first, second = turn.record_of(spec), stacked.record_of(spec)
        assert first.metrics.keys() == second.metrics.keys()
        assert second.metrics == pytest.approx(first.metrics, abs=1e-9)
        assert second.validation == pytest.approx(first.validation, abs=1e-9)
        if spec.role != "pair":
            assert first.validation.keys() == {"Acc"}
            moved.add(round(first.validation["Acc"], 3))
    assert len(moved) > 5, "runs differ from one another"


def test_the_history_tells_the_losses_of_the_last_step(both: dict[str, Ran]) -> None:
    """In turn it is the mean over all steps, which lies between those of the first and of the last."""
    turn, stacked = both["in-turn"], both["stacked"]
    for record in stacked.outcome.trained:
        spec = next(s for s in turn.study.runs if s.run_id == record.run_id)
        (ours,), (theirs,) = turn.history(spec), stacked.history(spec)
        assert theirs["losses"].keys() == ours["losses"].keys()
        assert theirs["step"] == ours["step"] == record.steps
        assert theirs["lr"] == ours["lr"]
        assert (theirs["val"] or {}) == pytest.approx(ours["val"] or {}, abs=1e-9) or spec.role == "pair"
        assert all(math.isfinite(value) for value in theirs["losses"].values())


def test_the_saliency_of_pairs_is_equal(focus: dict[str, Ran]) -> None:
    turn, stacked = focus["in-turn"], focus["stacked"]
    pairs = [record for record in turn.outcome.trained if record.role == "pair"]
    assert len(pairs) == 4, "of two gammas and two seeds"
    for record in pairs:
        ours, _ = read_saliency(turn.store.run_folder(record.run_id))
        theirs, _ = read_saliency(stacked.store.run_folder(record.run_id))
        assert ours is not None
        assert theirs is not None
        for name in ("scores", "standard_errors", "normalised"):
            assert getattr(theirs, name) == pytest.approx(getattr(ours, name), rel=1e-3, abs=1e-4), name
        assert theirs.general == ours.general is not None
        assert theirs.info == ours.info


def test_a_retrained_teacher_keeps_the_same_channels(focus: dict[str, Ran]) -> None:
    turn, stacked = focus["in-turn"], focus["stacked"]
    seen = set()
    for row in FOCUS_ROWS:
        if row.endswith(("no_kd", "+kd")):
            continue
        teacher = turn.upstream(row)[0]
        kept = [tuple(ran.weights(teacher)["kept"].tolist()) for ran in (turn, stacked)]
        assert kept[0] == kept[1]
        seen.add(kept[0])
        tags = [ran.record(row).metrics["Tag"] for ran in (turn, stacked)]
        assert tags[0] == tags[1] == turn.record_of(teacher).metrics["Tag"]
    assert len(seen) == 6, "three ways of choosing at two gammas"


FAULTS = {
    "rate": ("train.lr=3e38", "train.steps=6"),
    "kd": ("losses.kd.weight=1e38", "train.steps=6"),
}


def test_a_pair_that_diverges_takes_its_teacher_and_student_along(tmp_path: Path) -> None:
    """The joint training of one row fails, at the same step both ways, and the rows beside it are well."""
    study = shipped("gauss_focus", *GAUSS, *FOCUS, "focus.joint=1e30")
    rows, found = ["0.25+kd", "0.25+kd_general", "0.25+kd_known"], {}
    for mode in ("in-turn", "stacked"):
        ran = run(study, tmp_path / mode, mode=mode, rows=rows)
        found[mode] = {r.run_id: r.error and (r.error.step, r.error.type) for r in ran.outcome.failed}
        kinds = sorted((r.role, r.error.type) for r in ran.outcome.failed if r.error)
        assert kinds == [
            *[("pair", "NonFiniteLoss")] * 2, *[("student", "UpstreamFailed")] * 2, *[("teacher", "UpstreamFailed")] * 2
        ]  # fmt: skip
        assert ran.record("0.25+kd").status == ran.record("0.25+kd_known", 1).status == "ok"
        told = ran.record("0.25+kd_general").error
        assert told is not None
        assert told.message == f"its teacher, run {ran.upstream('0.25+kd_general')[0].run_id}, failed"
    assert found["in-turn"] == found["stacked"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("mode", ["in-turn", "stacked"])
def test_a_run_that_diverges_fails_alone(tmp_path: Path, fault: str, mode: str) -> None:
    study = shipped("gauss_gamma", *GAUSS, *FAULTS[fault])
    ran = run(study, tmp_path, mode=mode, rows=["0+no_kd", "0+kd"])
    failed = {(record.row or record.role, record.seed) for record in ran.outcome.failed}
    if fault == "kd":  # teachers and those without distillation are well
        assert failed == {("0+kd", 0), ("0+kd", 1)}
        assert all(record.status == "ok" for record in ran.outcome.trained)
        assert len(ran.outcome.trained) == 4
    for record in ran.outcome.failed:
        assert record.error is not None
        assert record.metrics == {}
        if record.error.type == "UpstreamFailed":
            continue
        assert record.error.type in ("NonFiniteLoss", "FloatingPointError")
        assert 1 < record.error.step <= 7
        assert str(record.error.step) in record.error.message or "after step" in record.error.message


@pytest.mark.parametrize("fault", FAULTS)
def test_both_ways_name_the_same_first_bad_step(tmp_path: Path, fault: str) -> None:
    study = shipped("gauss_gamma", *GAUSS, *FAULTS[fault])
    found = {}
    for mode in ("in-turn", "stacked"):
        failed = run(study, tmp_path / mode, mode=mode, rows=["0+no_kd", "0+kd"]).outcome.failed
        found[mode] = {r.run_id: (r.error and r.error.type, r.error and r.error.step, r.steps) for r in failed}
    assert found["in-turn"] == found["stacked"]
    assert found["in-turn"]


def test_nothing_that_is_stacked_hangs_on_its_neighbours(tmp_path: Path, gamma: dict[str, Ran]) -> None:
    alone = run(gamma["stacked"].study, tmp_path, mode="stacked", rows=["0.43+kd", "0.43+no_kd"])
    for row in ("0.43+kd", "0.43+no_kd"):
        spec = alone.spec(row, 1)
        for name, value in gamma["stacked"].weights(spec).items():
            assert_close(alone.weights(spec)[name], value, **TOLERANCE)
        assert torch.equal(alone.weights(spec)["stages.logits.bias"].isfinite(), torch.ones(2, dtype=torch.bool))


def test_a_group_of_several_seeds_never_goes_in_turn_as_one(tmp_path: Path) -> None:
    """What is left of two stacks, one of them of a single run, is trained on the data of each seed."""
    study = open_study("gauss_gamma", overrides=["train.steps=30", "data.n_test=200"], seeds=[0, 1])
    teachers = [run for run in study.runs if run.role == "teacher"]
    some = [teachers[0], next(run for run in teachers if run.seed != teachers[0].seed)]

    def trained(name: str, *specs: RunSpec) -> dict[str, dict[str, float]]:
        StudyStore(tmp_path / name, name).prepare()
        task = GroupTask(specs=specs, study=name, out=tmp_path / name, data_root=None, device="cpu")
        return {record.run_id: record.metrics for record in train_group(task, lambda progress: None)}

    alone = {**trained("a", some[0]), **trained("b", some[1])}
    assert trained("together", *some) == alone
    assert len({tuple(metrics.items()) for metrics in alone.values()}) == 2
