"""The heart: what a run computes does not hang on what is trained beside it, how often, or in what order."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_samples import Workshop, numbers, students, teachers

from mmablate.execution.grouping import Group
from mmablate.results import RunRecord, StudyStore
from mmablate.study import RunSpec, Study
from mmablate.training import building
from mmablate.training.trainee import Trainee

ROWS = ["sup", "sup+mad", "sup+mad+umd", "sup+mad+umd+cmd", "wide"]


def same(trained: Any, records: dict[str, RunRecord]) -> bool:
    return all(numbers(record) == numbers(trained.records[row]) for row, record in records.items())


def with_teacher(workshop: Workshop, trained: Any) -> Any:
    """A new results folder that holds the teacher."""
    out = workshop.out()
    run_id = trained.teacher.run_id
    folder = StudyStore(out, "tiny").run_folder(run_id)
    folder.mkdir()
    for file in trained.store.run_folder(run_id).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return out


def test_all_rows_are_trained(trained: Any) -> None:
    assert list(trained.records) == ROWS
    for record in (trained.teacher, *trained.records.values()):
        assert record.status == "ok", record.error
        assert record.steps == 6
        assert len(record.metrics) == 8
        assert record.scored_on == "test"
        assert 0 < record.metrics["Mean"] < 100
    assert len({r.digests["final"] for r in trained.records.values()}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_alone_or_in_company_to_the_bit(workshop: Workshop, study: Study, trained: Any, row: str) -> None:
    records = workshop.train(students(study, rows=[row]), with_teacher(workshop, trained))
    assert list(records) == [row]
    assert same(trained, records)


def test_the_order_of_members_is_irrelevant(workshop: Workshop, study: Study, trained: Any) -> None:
    records = workshop.train(students(study)[::-1], with_teacher(workshop, trained))
    assert len(records) == len(ROWS)
    assert same(trained, records)


def test_a_group_may_be_split(workshop: Workshop, study: Study, trained: Any) -> None:
    out = with_teacher(workshop, trained)
    for part in Group(tuple(students(study)), frozenset()).split(2):
        assert same(trained, workshop.train(part.specs, out))


def test_twice_is_the_same_bytes(workshop: Workshop, study: Study, trained: Any) -> None:
    out = workshop.out()
    torch.manual_seed(1234)  # the state of the global generator is nobody's business
    torch.rand(17)
    teacher = workshop.train(teachers(study), out)["teacher"]
    assert numbers(teacher) == numbers(trained.teacher)
    assert same(trained, workshop.train(students(study), out))
    name = "checkpoint.safetensors"
    again = StudyStore(out, "tiny").run_folder(teacher.run_id) / name
    assert again.read_bytes() == (trained.store.run_folder(teacher.run_id) / name).read_bytes()


def test_rows_of_a_seed_share_initialisation_and_order(trained: Any) -> None:
    alike = [record.digests for row, record in trained.records.items() if row != "wide"]
    assert len({digests["init"] for digests in alike}) == 1
    assert len({record.digests["order"] for record in trained.records.values()}) == 1
    assert trained.records["wide"].digests["init"] not in {d["init"] for d in alike}
    assert trained.teacher.digests["init"] != alike[0]["init"], "the teacher's streams are its own"
    assert trained.teacher.digests["order"] != alike[0]["order"]


def test_another_seed_is_another_run(workshop: Workshop, study: Study, trained: Any) -> None:
    other = workshop.train(students(study, 2, ["sup"]), workshop.out())["sup"]
    ours = trained.records["sup"]
    assert all(other.digests[key] != ours.digests[key] for key in ("init", "order", "final"))


def test_history_has_a_line_an_epoch(trained: Any) -> None:
    for row, record in trained.records.items():
        text = (trained.store.run_folder(record.run_id) / "history.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        assert [line["step"] for line in lines] == [3, 6]
        assert list(lines[0]["losses"]) == (["sup", "mad"] if row == "wide" else row.split("+"))
        assert all(line["val"]["Mean"] > 0 for line in lines)
        assert record.validation == lines[record.selected_epoch - 1]["val"]


# --- failing ------------------------------------------------------------------------------------------------


class SpoilAt:
    """Makes one term of one row NaN at a step, as a diverging run does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, row: str, key: str, step: int) -> None:
        self.weights: list[Tensor] = []
        original = Trainee.backward

        def stepping(trainee: Trainee, *arguments: Any) -> None:
            spoilt = row in trainee.spec.rows and trainee.steps + 1 == step
            if not spoilt:
                original(trainee, *arguments)
                return
            self.weights = [p.detach().clone() for p in trainee.model.parameters()]
            self.model = trainee.model
            for i, term in enumerate(trainee.terms):
                if term.key == key:
                    fields = {**vars(term), "function": lambda seen, **options: seen.logits.sum() * float("nan")}
                    trainee.terms[i] = type(term)(**fields)
            original(trainee, *arguments)

        monkeypatch.setattr(Trainee, "backward", stepping)

    def unmoved(self) -> bool:
        return all(torch.equal(a, b) for a, b in zip(self.weights, self.model.parameters(), strict=True))


@pytest.mark.parametrize(("row", "key", "step"), [("sup+mad+umd", "umd", 3), ("sup", "sup", 5)])
def test_a_run_that_diverges_stops_alone_and_before_the_optimiser_moves(
    workshop: Workshop, study: Study, trained: Any, monkeypatch: pytest.MonkeyPatch, row: str, key: str, step: int
) -> None:
    spoiler = SpoilAt(monkeypatch, row, key, step)
    out = with_teacher(workshop, trained)
    records = workshop.train(students(study), out)
    failed = records.pop(row)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.type == "NonFiniteLoss"
    assert failed.error.step == step
    assert failed.error.message == f"loss term '{key}' became nan at step {step}"
    assert failed.steps == step - 1
    assert failed.metrics == {}
    assert failed.digests["final"] is None
    assert failed.digests["init"] == trained.records[row].digests["init"]
    assert spoiler.unmoved()
    assert same(trained, records)
    assert len(records) == len(ROWS) - 1


def test_a_learning_rate_that_is_far_too_high_is_found(workshop: Workshop) -> None:
    study = workshop.alone("train.lr=1e30", "train.optimizer=sgd")
    record = workshop.train(students(study), workshop.out())["sup"]
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.type == "NonFiniteLoss"
    assert record.error.step == 2


def test_weights_that_the_very_last_step_broke_are_not_scored(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = workshop.alone("train.epochs=1", "train.clip=1.0")
    (spec,) = students(study)
    original = nn.utils.clip_grad_norm_

    def exploding(parameters: Any, limit: float) -> Tensor:
        parameters = list(parameters)
        parameters[0].grad[0] = float("inf")
        return original(parameters, limit)

    monkeypatch.setattr("mmablate.training.trainee.nn.utils.clip_grad_norm_", exploding)
    record = workshop.train([spec], workshop.out())["sup"]
    assert record.status == "failed"
    assert record.error is not None
    assert "after step 1" in record.error.message


def raising(message: str) -> Callable[..., Any]:
    def function(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError(message)

    return function


def test_a_run_that_raises_leaves_its_neighbours_alone(
    workshop: Workshop, study: Study, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainee.backward

    def stepping(trainee: Trainee, *arguments: Any) -> None:
        if "sup+mad" in trainee.spec.rows and trainee.steps == 1:
            raise ValueError("two lines.\nThe second")
        original(trainee, *arguments)

    monkeypatch.setattr(Trainee, "backward", stepping)
    records = workshop.train(students(study), with_teacher(workshop, trained))
    error = records.pop("sup+mad").error
    assert error is not None
    assert (error.type, error.step) == ("ValueError", 2)
    assert error.message == "two lines. The second"
    assert same(trained, records)


def test_a_model_that_cannot_be_built_fails_alone(workshop: Workshop, study: Study, trained: Any) -> None:
    specs = students(study)
    broken = specs[1]
    settings = {**broken.settings, "model": {**broken.settings["model"], "strides": [2, 2, 2]}}
    specs[1] = RunSpec(**{**vars(broken), "settings": settings})
    records = workshop.train(specs, with_teacher(workshop, trained))
    failed = records.pop("sup+mad")
    assert failed.error is not None
    assert "must have equal length" in failed.error.message
    assert len(records) == len(ROWS) - 1
    assert same(trained, records)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_damaged_teacher_fails_those_that_read_it(
    workshop: Workshop, study: Study, trained: Any, damage: str
) -> None:
    out = with_teacher(workshop, trained)
    path = StudyStore(out, "tiny").run_folder(trained.teacher.run_id) / "checkpoint.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    if damage == "foreign":
        wide = trained.store.run_folder(trained.records["wide"].run_id) / path.name
        path.write_bytes(wide.read_bytes())
    records = workshop.train(students(study), out)
    assert same(trained, {"sup": records.pop("sup")}), "it needs no teacher"
    for record in records.values():
        assert record.status == "failed"
        assert record.error is not None
        assert record.error.type == "DataError"
        assert path.name in record.error.message
        if damage == "foreign":
            assert "do not fit the model: 0 missing, 0 unknown, 7 of another shape" in record.error.message


def test_data_that_cannot_be_opened_fail_the_group(workshop: Workshop, study: Study) -> None:
    specs = [
        RunSpec(**{**vars(s), "settings": {**s.settings, "data": {**s.settings["data"], "tile": 64}}})
        for s in students(study)
    ]
    records = workshop.train(specs, workshop.out())
    assert {record.status for record in records.values()} == {"failed"}
    assert all("tile: expected" in str(record.error) for record in records.values())


def test_when_none_is_well_the_group_ends(
    workshop: Workshop, study: Study, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainee, "backward", raising("no"))
    signs: list[int] = []
    records = workshop.train(students(study), with_teacher(workshop, trained), report=lambda p: signs.append(p.steps))
    assert {record.status for record in records.values()} == {"failed"}
    assert len(signs) <= 3 + len(ROWS), "the second epoch would load batches for nobody"


def test_interruption_writes_no_record(workshop: Workshop, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainee, "backward", interrupted)
    out = workshop.out()
    with pytest.raises(KeyboardInterrupt):
        workshop.train(students(study, rows=["sup"]), out)
    assert not list(out.glob("*/runs/*/record.json"))


def test_a_finished_run_is_left_alone_unless_forced(workshop: Workshop, study: Study) -> None:
    out, specs = workshop.out(), students(study, rows=["sup"])
    first = workshop.train(specs, out)
    assert workshop.train(specs, out) == {}
    again = workshop.train(specs, out, force=True)
    assert numbers(again["sup"]) == numbers(first["sup"])
    assert len(list(out.glob("*/runs/*/history.jsonl"))) == 1


def test_progress_counts_every_step_once(workshop: Workshop, study: Study, trained: Any) -> None:
    steps = 0
    finished: list[str] = []

    def hear(progress: Any) -> None:
        nonlocal steps
        steps += progress.steps
        finished.extend(record.row for record in progress.finished)

    records = workshop.train(students(study), with_teacher(workshop, trained), report=hear)
    assert steps == sum(record.steps or 0 for record in records.values())
    assert finished == ROWS


# --- what is kept and selected --------------------------------------------------------------------------------


def test_weights_are_kept_as_asked(workshop: Workshop, study: Study, trained: Any) -> None:
    for record in trained.records.values():  # keep="all"
        assert (trained.store.run_folder(record.run_id) / "checkpoint.safetensors").is_file()
    out = with_teacher(workshop, trained)
    record = workshop.train(students(study, rows=["sup"]), out)["sup"]
    assert not list(StudyStore(out, "tiny").run_folder(record.run_id).glob("checkpoint*"))


def test_a_checkpoint_of_the_user_stands_in_for_the_teacher(workshop: Workshop, study: Study, trained: Any) -> None:
    path = trained.store.run_folder(trained.teacher.run_id) / "checkpoint.safetensors"
    out = workshop.out()
    records = workshop.train(students(study), out, teacher_checkpoint=str(path))
    assert same(trained, records)
    torch.save({"state_dict": building.build_model(study.runs[0].settings["model"], FiveClasses()).state_dict()},
               out / "mine.pt")  # fmt: skip
    records = workshop.train(students(study, 1, ["sup+mad"]), workshop.out(), teacher_checkpoint=str(out / "mine.pt"))
    assert records["sup+mad"].status == "ok"
    assert numbers(records["sup+mad"]) != numbers(trained.records["sup+mad"])


class FiveClasses:
    n_classes = 5
