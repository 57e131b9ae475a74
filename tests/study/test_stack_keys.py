"""Which runs may be stacked, from settings alone."""

import subprocess
import sys
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project import ROOT

from mmablate.study import RunSpec, open_study
from mmablate.study.stacks import stack_key, stacks_of

LANDSAT = str(ROOT / "recipes/landsat_losses.yaml")


def students(*overrides: str) -> dict[str, RunSpec]:
    study = open_study(LANDSAT, overrides=["seeds=[0]", *overrides])
    return {spec.rows[0]: spec for spec in study.runs if spec.role == "student"}


def row(name: str, override: str, losses: str = "[sup, mad]") -> str:
    return f"{{name: {name}, losses: {losses}, overrides: {{{override}}}}}"


@pytest.mark.parametrize("override", ["train.lr: 0.5", "losses.mad.weight: 1", "losses.mad.definition: released",
                                      "losses.mad.temperature: 2", "losses.sup.definition: ohem",
                                      "train.select: last"])  # fmt: skip
def test_what_may_differ(override: str) -> None:
    specs = students(f"rows=[[sup], [sup, mad], {row('other', override)}]")
    assert len({stack_key(spec) for spec in specs.values()}) == 1


@pytest.mark.parametrize("override", ["model.decoder_width: 8", "train.weight_decay: 0.5", "train.optimizer: sgd",
                                      "train.clip: 1", "train.schedule: cosine", "train.warmup: 0.5",
                                      "train.epochs: 3", "train.batch_size: 4", "train.precision: bf16",
                                      "train.accumulate: 2", "masks.mode: none", "train.momentum: 0.5"])  # fmt: skip
def test_what_must_not(override: str) -> None:
    specs = students(f"rows=[[sup], {row('other', override)}]")
    assert stack_key(specs["sup"]) != stack_key(specs["other"])


def test_runs_without_a_decoder_stand_apart() -> None:
    specs = students("rows=[[sup], [sup, umd], [umd], [umd, cmd]]", "baseline=sup")
    keys = {name: stack_key(spec) for name, spec in specs.items()}
    assert keys["sup"] == keys["sup+umd"] != keys["umd"] == keys["umd+cmd"]


def test_seeds_and_teachers_are_not_mixed() -> None:
    study = open_study(LANDSAT, overrides=["seeds=[0,1]"])
    keys = Counter(stack_key(spec) for spec in study.runs)
    assert sorted(keys.values()) == [1, 1, 4, 4]


@given(st.lists(st.sampled_from(["sup", "mad", "wide", "slow"]), max_size=30), st.none() | st.integers(1, 9))
@settings(deadline=None)
def test_stacks_hold_every_run_once(names: list[str], largest: int | None) -> None:
    kinds = kinds_of_runs()
    specs = [RunSpec(str(i), "student", 0, kinds[name].settings) for i, name in enumerate(names)]
    stacks = stacks_of(specs, largest)
    assert sorted(spec.run_id for stack in stacks for spec in stack) == sorted(spec.run_id for spec in specs)
    for stack in stacks:
        assert 0 < len(stack) <= (largest or len(specs))
        assert len({stack_key(spec) for spec in stack}) == 1
        assert [int(s.run_id) for s in stack] == sorted(int(s.run_id) for s in stack)
    sizes = Counter(stack_key(spec) for spec in specs)
    assert len(stacks) == sum(-(-count // (largest or count)) for count in sizes.values())


@cache
def kinds_of_runs() -> dict[str, RunSpec]:
    wide, slow = row("wide", "model.decoder_width: 8"), row("slow", "train.epochs: 3")
    found = students(f"rows=[[sup], [sup, mad], {wide}, {slow}]")
    return {"sup": found["sup"], "mad": found["sup+mad"], "wide": found["wide"], "slow": found["slow"]}


def test_a_stack_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run, got 0"):
        stacks_of([], 0)


def test_planning_stacks_needs_no_torch() -> None:
    code = "import sys, mmablate.study.stacks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
