"""What only the scans, and the masks of their subjects, can tell of a recipe: told before anything is written."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mmablate.data.base import SampleInfo, VolumeData
from mmablate.data.summary import summarise
from mmablate.errors import MissingExtra, RecipeError, UsageError
from mmablate.execution import run_study
from mmablate.execution.conditions import axes_of, notes_of
from mmablate.execution.fitting import check_conditions, check_sizes
from mmablate.execution.options import Options
from mmablate.study import Study, open_study, opening

NAMES = ("flair", "t1ce", "t1", "t2")
VOLUMES: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "brats", "modalities": list(NAMES), "masks": "mr2468"},
    "model": {"name": "incomplete_segmentor", "widths": [4, 8], "stem_stride": 2},
    "train": {"epochs": 1, "batch_size": 2, "select": "last", "patches": {"size": [16, 16, 16]}},
    "evaluate": {"window": [16, 16, 16]},
    "losses": {"fuse": {}},
    "seeds": [0],
}


@dataclass
class Split:
    """Subjects of these sizes that have these sequences; nothing of them is read."""

    name: str
    sizes: list[tuple[int, int, int]]
    has: list[tuple[int, int, int, int]]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def presence(self) -> np.ndarray:
        return np.array(self.has, dtype=bool).reshape(-1, 4)

    def size(self, index: int) -> tuple[int, int, int]:
        return self.sizes[index]

    def read(self, index: int, corner: Any = (0, 0, 0), size: Any = None) -> Any:
        raise AssertionError("voxels are not looked at")

    def describe(self, index: int) -> SampleInfo:
        return SampleInfo(f"{self.name}{index}")


CUBE, ALL = (24, 24, 24), (1, 1, 1, 1)
HAS = [ALL, ALL, (1, 0, 0, 0), (0, 1, 1, 0), (0, 0, 0, 1)]


def data_of(train: Any = None, test: Any = None, has: Any = None) -> VolumeData:
    sizes = {"train": train or [CUBE] * 5, "val": [CUBE], "test": test or [CUBE] * 2}
    splits: dict[str, Any] = {
        name: Split(name, some, (has or HAS)[: len(some)] if name == "train" else [ALL] * len(some))
        for name, some in sizes.items()
    }
    return VolumeData("brats", dict.fromkeys(NAMES, 1), ("none", "a", "b", "c"), {"WT": (1, 2, 3)}, (1.0, 1.0, 1.0),
                      splits, synthetic=True, attribution=None, content=(Path("made"),))  # fmt: skip


@pytest.fixture
def study_of(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "data_fingerprint", lambda recipe: "of the data")

    def make(*overrides: str, **changes: Any) -> Study:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump({**VOLUMES, **changes}, sort_keys=False, allow_unicode=True))
        study = open_study(str(path), overrides=list(overrides))
        assert isinstance(study, Study)
        return study

    return make


def told(study: Study, data: VolumeData) -> list[str]:
    with pytest.raises(RecipeError) as error:
        check_conditions(study, data)
    return list(error.value.problems)


def rows(**named: Any) -> list[dict[str, Any]]:
    return [{"name": name, "losses": ["fuse"], "overrides": overrides} for name, overrides in named.items()]


STEP = {"method.second": "step"}
META = {"method": {"name": "metadrop"}}
EDGES = "each edge at least 5, for the 2 stages of the model"
NONE_LEFT = "training subjects, of whom the second batch of a step has others than the first"


def test_what_fits_is_let_pass(study_of):
    study = study_of(rows=rows(one={}, step=STEP, meta=META), evaluate={"window": [99, 16, 16], "apart": ["unseen"]})
    check_sizes(study, summarise(data_of()))
    check_conditions(study, data_of())


@pytest.mark.parametrize(
    ("overrides", "sizes", "text"),
    [
        (["train.patches.size=[16, 25, 16]"], {"train": [CUBE, (30, 30, 30), (16, 24, 99)]},
         "train.patches.size: at most the size of every training scan; smaller are train0 (24 x 24 x 24), train2 "
         "(16 x 24 x 99), got [16, 25, 16]"),
        (["train.patches.size=[40, 40, 40]"], {},
         "train.patches.size: at most the size of every training scan; smaller are train0 (24 x 24 x 24), train1 "
         "(24 x 24 x 24), train2 (24 x 24 x 24) and 2 more, got [40, 40, 40]"),
        (["train.patches=null"], {"train": [CUBE, CUBE, (24, 30, 24)]},
         "train.patches.size: null takes whole scans, and those of a batch must be of one size: give a size, or "
         "train.batch_size 1; other than train0 (24 x 24 x 24) are train2 (24 x 30 x 24), got null"),
        (["train.patches.size=[8, 4, 8]"], {}, f"train.patches.size: {EDGES}, got [8, 4, 8]"),
        (["evaluate.window=[8, 8, 4]"], {}, f"evaluate.window: {EDGES}, got [8, 8, 4]"),
        ([], {"test": [CUBE, (24, 4, 24)]},
         f"model.widths: scans of the test split with {EDGES}; smaller are test1 (24 x 4 x 24), got [4, 8]"),
        (["evaluate.apart=[single]", "evaluate.subsets=[flair+t1]"], {},
         "evaluate.apart: of the 1 subsets that are evaluated none is single: leave it out, got 'single'"),
        (["evaluate.apart=[unseen]", "evaluate.subsets=[flair, t2]"], {},
         "evaluate.apart: of the 2 subsets that are evaluated every one occurs in the mask list: leave it out, got "
         "'unseen'"),
        (["train.batch_size=5", "method={name: incomplete, second: step}"], {},
         f"train.batch_size: below the 5 {NONE_LEFT}, got 5"),
        (["train.batch_size=9", "method={name: metadrop}"], {}, f"train.batch_size: below the 5 {NONE_LEFT}, got 9"),
    ],
)  # fmt: skip
def test_a_recipe_that_does_not_fit_its_scans(study_of, overrides, sizes, text):
    assert told(study_of(*overrides), data_of(**sizes)) == [text]


@pytest.mark.parametrize(
    "overrides",
    [["train.batch_size=9"], ["train.batch_size=5", "method={name: metadrop, eta_out: 0, meta: {masks: full}}"],
     ["train.patches=null", "train.batch_size=1"]],
)  # fmt: skip
def test_what_a_run_does_not_need_is_not_asked_for(study_of, overrides):
    check_conditions(study_of(*overrides), data_of(train=[CUBE, CUBE, (24, 30, 24), CUBE, CUBE]))


def test_complete_subjects_that_there_are_not(study_of):
    full = {"method": {"name": "metadrop", "meta": {"masks": "full"}}}
    study = study_of(rows=rows(one={}, full=full))
    check_conditions(study, data_of())
    assert told(study, data_of(has=[ALL, *HAS[2:], (0, 1, 0, 0)])) == [
        "method.meta.masks: full draws the training subjects that have all modalities, of whom there are 1: two at "
        "least, got 'full'"
    ]  # fmt: skip


def test_every_row_is_looked_at_and_one_of_other_masks_for_its_sizes(study_of):
    full = {"method": {"name": "metadrop", "meta": {"masks": "full"}}}
    large = {"train.patches.size": [40, 16, 16]}
    study = study_of(rows=rows(one={}, a=large, b={"data.masks": None, **large, **full}))
    (one,) = told(study, data_of(has=HAS[2:] + [(0, 1, 0, 0)] * 2))
    assert one.endswith("got [40, 16, 16]")
    other = study_of(rows=rows(one={}, b={"data.layout": "nifti", **large}))
    check_conditions(other, data_of())  # of other files its run tells what does not fit


def test_problems_are_told_together(study_of):
    study = study_of("train.patches.size=[40, 4, 40]", "evaluate.apart=[single]", "evaluate.subsets=[flair+t1]")
    assert [text.partition(":")[0] for text in told(study, data_of())] == [
        "evaluate.apart", "train.patches.size", "train.patches.size",
    ]  # fmt: skip


def test_a_part_of_a_batch_is_of_subjects(study_of):
    with pytest.raises(RecipeError, match=r"train\.accumulate: at most the 2 subjects of a batch, got 3"):
        check_sizes(study_of("train.accumulate=3"), summarise(data_of()))


def test_without_the_package_that_measures_surfaces(study_of, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "monai" else found(name, *rest)
    )
    with pytest.raises(MissingExtra, match=r'evaluate.hd95 needs monai: pip install "mmablate\[medical\]", or '):
        check_conditions(study_of(), data_of())
    check_conditions(study_of("evaluate.hd95=false"), data_of())


def test_several_processes_are_refused_before_anything_is_written(study_of, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    study = study_of()
    with pytest.raises(UsageError, match=r"tiny: runs on 3D scans take one process each: .* got 2 processes"):
        run_study(study, study.runs, Options(out=tmp_path / "out"), data_of(), None)
    assert not (tmp_path / "out").exists()


def test_conditions_are_subsets_and_groups_of_those_that_are_evaluated(study_of):
    every = study_of("evaluate.apart=[unseen]")
    (values,) = axes_of(data_of(), every.recipe).values()
    assert len(values) == 15 + 3
    assert values[-3:] == ["full", "single", "unseen"]
    given, note = notes_of(data_of(), every.recipe)
    assert given.startswith("Of ")
    unseen = note.removeprefix("Unseen are the subsets that no training subject has in the recipe's mask list: ")
    seen = {"flair", "t2", "t1ce+t1", "flair+t1ce+t1+t2"}
    assert unseen.removesuffix(".").split(", ") == [name for name in values[:15] if name not in seen]
    some = study_of("evaluate.subsets=[t2, flair]").recipe
    assert axes_of(data_of(), some) == {"modalities": ["t2", "flair", "single"]}
    assert len(notes_of(data_of(), some)) == 1  # where nothing unseen is told apart
    report = replace(every, recipe=every.recipe.model_copy(update={"report": study_of(
        "report.conditions=[t2, unseen, dusk]").recipe.report}))  # fmt: skip
    assert "got ['dusk']" in told(report, data_of())[0]
