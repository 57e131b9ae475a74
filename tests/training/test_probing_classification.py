"""Timing groups of classification: students with and without teachers and focus, joint training, no validation."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from crossmodal_samples import DIGITS, GAUSS, shipped

from mmablate.execution.grouping import group_runs
from mmablate.study import Study
from mmablate.training.building import open_data
from mmablate.training.measuring import measure_modes
from mmablate.training.probing import ProbeTask, probe_group


def studies() -> dict[str, Study]:
    return {
        "digits": shipped("mfeat_focus", *DIGITS, "seeds=[0]"),
        "no validation": shipped(
            "mfeat_focus", *DIGITS, "seeds=[0]", "train.select=last", "data.fractions=[0.7,0,0.3]"
        ),
        "gauss": shipped("gauss_focus", *GAUSS, "seeds=[0]"),
        "gamma": shipped("gauss_gamma", *GAUSS, "seeds=[0]"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def planned() -> dict[str, Study]:
    return studies()


@pytest.mark.parametrize("name", ["digits", "no validation", "gauss", "gamma"])
def test_every_kind_of_group_is_timed(planned: dict[str, Study], tmp_path: Path, name: str) -> None:
    study = planned[name]
    seen: Counter[tuple[str, bool, bool]] = Counter()
    for group in group_runs(study.runs):
        first = group.specs[0]
        kind = first.role, bool(first.settings["teacher"]), "focus" in (first.settings["teacher"] or first.settings)
        seen[kind] += 1
        if seen[kind] > 1:
            continue
        task = ProbeTask(group.specs, study.name, tmp_path, None, "cpu", seconds=0.01)
        found = probe_group(task)
        data = open_data(first.settings["data"], None, seed=0)
        assert len(found.runs) == len(group.specs)
        for costs in found.runs:
            assert 0 < costs.step < 1
            assert 0 < costs.sample < 0.1
            assert costs.build > 0
            assert costs.finish > 0
        assert math.isfinite(found.shared.step)
        assert found.n_val == (len(data.splits["val"]) if "val" in data.splits else 0)
        assert found.n_scored == len(data.splits["test"])
        steps = 20 if name in ("gauss", "gamma") else len(data.splits["train"]) // 64
        assert found.steps_per_epoch == steps
        assert found.memory_mb > 0
    assert {role for role, _, _ in seen} == ({"teacher", "student"} | ({"pair"} if name != "gamma" else set())) - (
        {"teacher"} if name in ("digits", "no validation") else set()
    )
    assert not list(tmp_path.rglob("record.json")), "nothing is kept"


@pytest.mark.parametrize("name", ["digits", "gamma"])
def test_both_modes_are_timed(planned: dict[str, Study], name: str) -> None:
    kinds = set()
    for group in group_runs(planned[name].runs):
        first = group.specs[0]
        if (first.role, bool(first.settings["teacher"])) in kinds:
            continue
        kinds.add((first.role, bool(first.settings["teacher"])))
        twice = [group.specs[0], group.specs[-1]] if len(group.specs) > 1 else list(group.specs)
        data = open_data(first.settings["data"], None, seed=0)
        times = measure_modes(twice, data, torch.device("cpu"), steps=2, warm_up=1)
        assert times.in_turn > 0
        if len(twice) > 1:
            assert times.stacked is not None, times.reason
        else:
            assert times.reason == "no two runs of these can be stacked"
    assert len(kinds) > 1
