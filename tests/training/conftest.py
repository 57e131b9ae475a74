"""What the tests of training share: one tiny study, trained once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from project import ROOT
from stacking_samples import Rig
from training_samples import Workshop, students, teachers

from mmablate.data.base import SegmentationData
from mmablate.results import RunRecord, StudyStore
from mmablate.study import Study, open_study
from mmablate.training.building import open_data


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="session")
def study(workshop: Workshop) -> Study:
    return workshop.study()


@pytest.fixture(scope="session")
def data(study: Study) -> SegmentationData:
    return open_data(study.runs[0].settings["data"], None)


@dataclass(frozen=True)
class Trained:
    """Seed 0 of the study: the teacher, then all rows as one group."""

    out: Path
    store: StudyStore
    teacher: RunRecord
    records: dict[str, RunRecord]


@pytest.fixture(scope="session")
def trained(workshop: Workshop, study: Study) -> Trained:
    out = workshop.out()
    teacher = workshop.train(teachers(study), out)["teacher"]
    records = workshop.train(students(study), out, keep="all")
    return Trained(out, StudyStore(out, "tiny"), teacher, records)


@pytest.fixture(scope="session")
def landsat(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Rig]:
    """The shipped Landsat recipe on smaller tiles, with KEY=VALUE; free of what names its own rows."""
    recipe = yaml.safe_load((ROOT / "recipes/landsat_losses.yaml").read_text())
    path = tmp_path_factory.mktemp("stacking") / "recipe.yaml"
    path.write_text(
        yaml.safe_dump({k: v for k, v in recipe.items() if k not in ("baseline", "sweep")}, sort_keys=False)
    )

    def rig(*overrides: str, seed: int = 1) -> Rig:
        return Rig(open_study(str(path), overrides=["seeds=[1]", "data.tile=32", *overrides]), seed=seed)

    return rig
