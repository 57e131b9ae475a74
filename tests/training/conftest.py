"""What the tests of training share: one tiny study, trained once."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from training_samples import Workshop, students, teachers

from mmablate.data.base import SegmentationData
from mmablate.results import RunRecord, StudyStore
from mmablate.study import Study
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
