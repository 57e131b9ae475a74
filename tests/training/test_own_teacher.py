"""A teacher of one's own, under the released names, and its saliency: no joint training, all arms of the study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from crossmodal_samples import Ran, inputs, run, shipped
from torch import nn

from mmablate.data.mini_clips import make_ravdess
from mmablate.data.streams import generator
from mmablate.study import Study
from mmablate.study.datasets import open_dataset

SMALL = (
    "train.epochs=2", "seeds=[0]", "checkpoints=all", "model.widths=[2,2,3]", "model.hidden=[5,6]", "model.pool=[1,2]",
    "teacher.widths=[2,3,4]", "teacher.hidden=[10,8]", "teacher.pool=[2,3]", "data.val_actors=1", "data.test_actors=1",
)  # fmt: skip
ROWS = ("no_kd", "kd", "kd_random", "kd_general", "kd_specific")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest synthetic RAVDESS, as arrays."""
    root = tmp_path_factory.mktemp("ravdess") / "set"
    make_ravdess(root, actors=5, clips=3, size=(16, 16), audio_size=(32, 32), difficulty=0.3, speaker=0.1)
    return root


class AudioNet(nn.Module):
    """As the released code has it, of other widths: the names of its weights are what matters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 7, padding=1)
        self.conv2 = nn.Conv2d(2, 3, 5, padding=1)
        self.conv3 = nn.Conv2d(3, 4, 5, padding=1)
        self.fc1, self.fc2, self.fc3 = nn.Linear(4 * 2 * 3, 10), nn.Linear(10, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, instead: dict[int, float] | None = None) -> torch.Tensor:
        """With values that stand in for channels behind fc2."""
        x = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        x = nn.functional.adaptive_max_pool2d(self.conv3(x).relu(), (2, 3)).flatten(1)
        x = self.fc2(self.fc1(x).relu()).relu()
        for channel, value in (instead or {}).items():
            x[:, channel] = value
        return self.fc3(x)

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        """Behind fc2."""
        kept = {}
        handle = self.fc2.register_forward_hook(lambda module, given, out: kept.update(found=out.relu()))
        self(x)
        handle.remove()
        return kept["found"]


@pytest.fixture(scope="module")
def teacher(clips: Path) -> AudioNet:
    """Taught a little, so that its channels matter."""
    study = shipped("ravdess_focus", *SMALL, data_root=str(clips))
    spec = next(spec for spec in study.runs if spec.role == "pair")
    settings = {key: value for key, value in spec.settings["data"].items() if key != "fingerprint"}
    x, y = map(torch.from_numpy, inputs(open_dataset(settings, str(clips)), "train", "audio"))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = AudioNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


SCORES = np.array([3.0, 9.0, 1.0, 7.0, 5.0, 2.0, 8.0, 4.0])


def planned(clips: Path, folder: Path, teacher: AudioNet, *overrides: str) -> Study:
    torch.save(teacher.state_dict(), folder / "mine.pkl")
    np.save(folder / "mine.npy", SCORES)
    own = [f"teacher.checkpoint={folder / 'mine.pkl'}", f"focus.saliency={folder / 'mine.npy'}"]
    return shipped("ravdess_focus", *SMALL, *own, *overrides, data_root=str(clips))


@pytest.fixture(scope="module")
def ran(clips: Path, teacher: AudioNet, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("own")
    return run(planned(clips, folder, teacher, "losses.kd.weight=5", "train.lr=0.05"), folder / "out", rows=ROWS)


def test_all_arms_learn_from_it_and_nothing_else_is_trained(ran: Ran) -> None:
    assert not ran.outcome.failed
    assert sorted(record.row or record.role for record in ran.outcome.trained) == sorted(ROWS)
    assert {spec.role for spec in ran.study.runs} == {"student"}
    assert all(record.depends_on == [] for record in ran.outcome.trained)
    final = {ran.record(row).digests["final"] for row in ROWS}
    assert len(final) == 5, "five ways of teaching, five students"


def test_its_accuracy_is_that_of_the_channels_that_stay(ran: Ran, teacher: AudioNet) -> None:
    """By the vector: 1 and 6 are the most salient of eight, 2 and 5 the least."""
    drawn = torch.randperm(8, generator=generator(0, "focus", "random"))[:2].tolist()
    choices = {"kd": list(range(8)), "kd_general": [1, 6], "kd_specific": [2, 5], "kd_random": drawn}
    found = {}
    for row, kept in choices.items():
        data = ran.data(ran.spec(row))
        x, labels = inputs(data, "test", "audio")
        mean = teacher.hidden(torch.from_numpy(inputs(data, "train", "audio")[0])).mean(0)
        instead = {channel: float(mean[channel]) for channel in range(8) if channel not in kept}
        found[row] = 100 * float((teacher(torch.from_numpy(x), instead).argmax(1).numpy() == labels).mean())
        assert ran.record(row).metrics["Teacher"] == pytest.approx(found[row], abs=1e-9), row
    assert len(set(found.values())) > 2, found


def test_another_file_is_another_teacher(clips: Path, teacher: AudioNet, ran: Ran, tmp_path: Path) -> None:
    torch.manual_seed(6)
    again = planned(clips, tmp_path, AudioNet(), "losses.kd.weight=5", "train.lr=0.05")
    ours = {row: next(s.run_id for s in again.runs if row in s.rows) for row in ROWS}
    theirs = {row: ran.spec(row).run_id for row in ROWS}
    assert [row for row in ROWS if ours[row] == theirs[row]] == ["no_kd"]
    np.save(tmp_path / "mine.npy", SCORES[::-1])
    torch.save(teacher.state_dict(), tmp_path / "mine.pkl")
    own = [f"teacher.checkpoint={tmp_path / 'mine.pkl'}", f"focus.saliency={tmp_path / 'mine.npy'}"]
    other = shipped("ravdess_focus", *SMALL, *own, "losses.kd.weight=5", "train.lr=0.05", data_root=str(clips))
    changed = [row for row in ROWS if next(s.run_id for s in other.runs if row in s.rows) != theirs[row]]
    # Random channels need no saliency, but the recipe names one: what a run might read is part of its name.
    assert set(changed) - {"kd_random"} == {"kd_general", "kd_specific"}


class Foreign(nn.Module):
    """A whole module, pickled with its code."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("module", "mine.pkl: not a checkpoint of plain tensors (UnpicklingError)"),
        ("text", "mine.pkl: not a checkpoint of plain tensors"),
        ("cut", "mine.pkl: the checkpoint cannot be read"),
        ("other", "mine.pkl: the weights do not fit the model: 2 missing, 0 unknown, 0 of another shape"),
        ("shape", "mine.pkl: the weights do not fit the model: 0 missing, 0 unknown, 1 of another shape"),
        ("gone", "mine.pkl: the checkpoint cannot be read"),
    ],
)
def test_a_file_that_is_no_teacher_fails_its_students_alone(
    clips: Path, teacher: AudioNet, tmp_path: Path, how: str, text: str
) -> None:
    planned(clips, tmp_path, teacher)
    path, state = tmp_path / "mine.pkl", teacher.state_dict()
    if how == "module":
        torch.save(teacher, path)
    elif how == "text":
        path.write_text("weights, honestly")
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-300])
    elif how == "other":
        torch.save({name: value for name, value in state.items() if not name.startswith("fc3")}, path)
    elif how == "shape":
        torch.save({**state, "fc2.bias": torch.zeros(9)}, path)
    own = [f"teacher.checkpoint={path}", f"focus.saliency={tmp_path / 'mine.npy'}", "train.epochs=1"]
    study = shipped("ravdess_focus", *SMALL, *own, data_root=str(clips))
    if how == "gone":
        path.unlink()
    ran = run(study, tmp_path / "out", rows=ROWS)
    assert [record.row for record in ran.outcome.trained] == ["no_kd"]
    assert sorted(record.row or "" for record in ran.outcome.failed) == sorted(set(ROWS) - {"no_kd"})
    for record in ran.outcome.failed:
        assert record.error is not None
        assert record.error.type == "DataError"
        assert text in record.error.message
        assert len(record.error.message) < 500


def test_a_teacher_that_has_changed_since_planning_is_not_taken(clips: Path, teacher: AudioNet, tmp_path: Path) -> None:
    """The name of a run says which file it learned from."""
    study = planned(clips, tmp_path, teacher, "train.epochs=1")
    torch.manual_seed(7)
    torch.save(AudioNet().state_dict(), tmp_path / "mine.pkl")
    ran = run(study, tmp_path / "out", rows=["kd", "no_kd"])
    assert [record.row for record in ran.outcome.trained] == ["no_kd"]
    (record,) = ran.outcome.failed
    assert record.error is not None
    assert record.error.message.endswith("mine.pkl: the file has changed since the study was planned")


def test_a_teacher_of_one_s_own_needs_its_saliency(clips: Path, teacher: AudioNet, tmp_path: Path) -> None:
    planned(clips, tmp_path, teacher)
    with pytest.raises(Exception, match=r"focus\.keep") as caught:
        shipped("ravdess_focus", *SMALL, f"teacher.checkpoint={tmp_path / 'mine.pkl'}", data_root=str(clips))
    assert "of teacher.checkpoint: give its own with saliency, got 'general'" in str(caught.value)
