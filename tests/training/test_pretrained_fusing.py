"""Encoders that are pre-trained by contrast and then frozen or tuned; samples that no step sees; pictures changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fusion_samples import NAME, RECIPE, Bench, Trained, of_row
from torch import Tensor

from mmablate.data.clip_augment import CROP_DRAWS, FLIP_DRAWS, flip, random_resized_crop
from mmablate.data.holdout import hold_out
from mmablate.data.streams import generator
from mmablate.results import StudyStore
from mmablate.results.store import CHECKPOINT
from mmablate.study import RunSpec, Study
from mmablate.training.building import initial_model
from mmablate.training.checkpoint import load_weights, save_weights
from mmablate.training.trainee import Piece, Trainee

VECTORS = {"name": "fusion_classifier", "encoder": {"kind": "conv", "widths": [3, 4]}, "fusion": "concat"}
MAPS = {"name": "map_fusion_classifier", "widths": [3, 4], "hidden": 5}
ROWS: list[dict[str, Any]] = [
    {"name": "none", "overrides": {"pretrain.then": "none"}},
    {"name": "frozen", "overrides": {"pretrain.then": "freeze"}},
    {"name": "tuned", "overrides": {"pretrain.then": "tune"}},
    {"name": "frozen_maps", "overrides": {"pretrain.then": "freeze", "model": MAPS}},
    {"name": "tuned_maps", "overrides": {"pretrain.then": "tune", "model": MAPS}},
]


def pictures(folder: Path, samples: int = 120) -> None:
    """Two views, patterns of 8 x 8 with two channels and with one, which tell the class."""
    stream, labels = np.random.default_rng(0), np.arange(samples) % 3
    for name, shape in (("a", (2, 8, 8)), ("b", (1, 8, 8))):
        codes, drawn = stream.normal(size=(3, *shape)), stream.normal(size=(samples, *shape))
        np.save(folder / f"{name}.npy", (codes[labels] + drawn).astype(np.float32))
    np.save(folder / "labels.npy", labels)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Joint training of picture encoders with batch norm, one epoch of three steps."""
    changes: dict[str, Any] = {
        "model": VECTORS, "method": "joint_fusion", "losses": {"sup": {"weight": 1}}, "rows": ROWS, "baseline": "none",
        "pretrain": {"then": "none", "dim": 4, "train": {"epochs": 2, "batch_size": 12}},
        "train": {**RECIPE["train"], "epochs": 1, "batch_size": 18},
        "evaluate": {"metric": "accuracy", "every": 1, "also": []},
    }  # fmt: skip
    bench = Bench(tmp_path_factory.mktemp("pretrained") / "set", **changes)
    pictures(bench.folder)
    return bench


@pytest.fixture(scope="module")
def study(bench: Bench) -> Study:
    return bench.study("seeds=[0]")


@pytest.fixture(scope="module")
def ran(bench: Bench, study: Study) -> Trained:
    out, records = bench.out(), {}
    for role in ("pretraining", "student"):
        records |= bench.train([spec for spec in study.runs if spec.role == role], out).records
    return Trained(StudyStore(out, NAME), records)


def upstream(study: Study, spec: RunSpec) -> RunSpec:
    return next(own for own in study.runs if own.run_id in spec.depends_on)


def encoders(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name.startswith("encoders.")}


# --- pre-training -------------------------------------------------------------------------------------------------


def test_one_pre_training_serves_all_rows_of_equal_encoders(study: Study) -> None:
    specs = {row["name"]: of_row(study, row["name"]) for row in ROWS}
    assert specs["none"].depends_on == ()
    needs = {spec.depends_on for row, spec in specs.items() if row != "none"}
    assert len(needs) == 1, "encoders of vectors and of maps are the same ones"
    first = upstream(study, specs["tuned"])
    assert (first.role, first.settings["model"]["dim"]) == ("pretraining", 4)


def test_pre_training_is_a_run_of_its_own(ran: Trained, study: Study) -> None:
    first = upstream(study, of_row(study, "tuned"))
    record = ran.record(first)
    assert record.status == "ok"
    assert record.metrics == {}
    assert record.steps == 2 * (58 // 12), "its own epochs and batches; of the row the held-out samples"
    losses = [line["losses"]["nce"] for line in ran.history(first)]
    assert losses[1] < losses[0]
    assert {name.split(".")[0] for name in ran.weights(first)} == {"encoders", "projections", "log_scale"}


@pytest.mark.parametrize("row", ["frozen", "frozen_maps"])
def test_frozen_encoders_are_the_pre_trained_ones_to_the_bit(ran: Trained, study: Study, row: str) -> None:
    """Batch norm's running statistics among them, which no step of the classifier moved."""
    spec = of_row(study, row)
    ours, theirs = encoders(ran.weights(spec)), encoders(ran.weights(upstream(study, spec)))
    assert ours.keys() == theirs.keys()
    assert any(name.endswith("running_var") for name in ours)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert ran.record(spec).status == "ok"


@pytest.mark.parametrize("row", ["tuned", "tuned_maps"])
def test_tuned_encoders_go_on(ran: Trained, study: Study, row: str) -> None:
    spec = of_row(study, row)
    ours, theirs = encoders(ran.weights(spec)), encoders(ran.weights(upstream(study, spec)))
    assert not any(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_network_has_as_many_parameters_frozen_or_not(ran: Trained, study: Study) -> None:
    found = {row["name"]: ran.record(of_row(study, row["name"])).n_parameters for row in ROWS}
    assert found["none"] == found["frozen"] == found["tuned"]
    assert found["frozen_maps"] == found["tuned_maps"]


def test_a_row_without_pre_training_begins_where_it_always_did(bench: Bench, study: Study) -> None:
    """Whatever stands in the section `pretrain`: it is the run of a recipe that has none."""
    spec = of_row(study, "none")
    plain = {key: value for key, value in bench.recipe.items() if key != "pretrain"}
    other = Bench(bench.folder, pretrain=None)
    other.recipe = {**plain, "rows": [{"name": "none"}]}
    pictures(other.folder)
    assert of_row(other.study("seeds=[0]"), "none").run_id == spec.run_id


def test_the_rest_of_the_model_begins_as_without_pre_training(bench: Bench, study: Study, ran: Trained) -> None:
    spec = of_row(study, "frozen")
    data = bench.data(spec)
    file = ran.store.run_folder(upstream(study, spec).run_id) / CHECKPOINT
    begun = Trainee(spec, data, torch.device("cpu"), 3, encoders=file).model.state_dict()
    plain = initial_model(spec.settings["model"], data, seed=0, role="student").state_dict()
    assert all(torch.equal(begun[n], x) == (not n.startswith("encoders.")) for n, x in plain.items() if x.any())


@pytest.mark.parametrize("damage", ["truncated", "of other encoders", "gone"])
def test_a_pre_training_that_cannot_be_read_fails_the_runs_that_need_it(
    bench: Bench, study: Study, ran: Trained, damage: str
) -> None:
    """Each with the file and what is wrong with it; the row without goes on."""
    first, out = upstream(study, of_row(study, "tuned")), bench.out()
    folder = StudyStore(out, NAME).run_folder(first.run_id)
    folder.mkdir(parents=True)
    source = ran.store.run_folder(first.run_id)
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    file = folder / CHECKPOINT
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-40])
    elif damage == "gone":
        file.unlink()
    else:
        weights = load_weights(file)
        save_weights(file, {n: x for n, x in weights.items() if not n.startswith("encoders.b.")})
    specs = [of_row(study, row) for row in ("none", "frozen", "tuned")]
    found = bench.train(specs, out)
    assert found.record(specs[0]).status == "ok"
    for spec in specs[1:]:
        error = found.record(spec).error
        assert error is not None
        assert error.type == "DataError"
        assert CHECKPOINT in error.message
        told = {"truncated": "", "gone": "", "of other encoders": "do not fit the encoders: 12 missing"}[damage]
        assert told in error.message


# --- samples that no step sees ------------------------------------------------------------------------------------


def taken(monkeypatch: pytest.MonkeyPatch, bench: Bench, specs: list[RunSpec]) -> dict[str, list[bytes]]:
    """Run -> the samples of its steps, each as the bytes of its input."""
    seen: dict[str, list[bytes]] = {spec.run_id: [] for spec in specs}
    original = Trainee.backward

    def backward(run: Trainee, piece: Piece) -> None:
        seen[run.spec.run_id] += [x.numpy().tobytes() for x in piece.batch.inputs["a"]]
        original(run, piece)

    monkeypatch.setattr(Trainee, "backward", backward)
    bench.train(specs)
    monkeypatch.setattr(Trainee, "backward", original)
    return seen


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("held") / "set")


def test_held_out_samples_are_in_no_step(plain: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor others than those of the training split; the same for all rows of a seed, whatever their method."""
    study = plain.study("train.epochs=5", "evaluate.also=[]", rows=["joint", "ogm", "unique"])
    everything = {}
    for seed in (0, 1):
        specs = [of_row(study, row, seed) for row in ("joint", "ogm", "unique")]
        split = plain.data(specs[0]).splits["train"]
        inputs, labels = split.batch(range(len(split)))
        names = {x.tobytes(): i for i, x in enumerate(inputs["a"])}
        kept, held = hold_out(labels, 0.2, seed)
        seen = taken(monkeypatch, plain, specs)
        for spec in specs:
            numbers = [names[x] for x in seen[spec.run_id]]
            assert not set(numbers) & set(held.tolist())
            assert set(numbers) <= set(kept.tolist())
            assert len(numbers) == 15 * spec_steps(spec, len(split))
            everything[seed, spec.rows[0]] = numbers
        assert everything[seed, "joint"] == everything[seed, "ogm"] == everything[seed, "unique"]
    assert everything[0, "joint"] != everything[1, "joint"]
    assert set(everything[0, "joint"]) != set(everything[1, "joint"])


def spec_steps(spec: RunSpec, n_train: int) -> int:
    """Epochs times whole batches of what is left of the split."""
    return 5 * ((n_train - round(0.2 * n_train)) // 15)


@pytest.mark.parametrize(
    "options", [(), ("train.holdout=0.5",), ("train.batch_size=all",), ("train.steps=7", "losses.unique.weight=0")]
)
def test_the_number_of_steps_is_told_before(plain: Bench, options: tuple[str, ...]) -> None:
    study = plain.study(*options, "evaluate.also=[]", rows=["dgl"])
    spec = of_row(study, "dgl")
    record = plain.train([spec]).record(spec)
    assert record.status == "ok"
    assert record.steps == study.recipe.train.total_steps(len(plain.data(spec).splits["train"]))


# --- pictures ------------------------------------------------------------------------------------------------------


def test_pictures_are_cropped_and_mirrored_alike_for_all_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyed by seed and step; nothing is done to the other view, nor to what is scored."""
    changed = "train.pictures={modalities: [a], crop: [0.3, 0.8], flip: true}"
    found = {}
    for name, options in {"plain": (), "changed": (changed,)}.items():
        study = bench.study("seeds=[0]", *options, rows=["none"])
        spec = of_row(study, "none")
        batches: list[Any] = []
        original = Trainee.backward

        def backward(run: Trainee, piece: Piece, to: Any = batches, call: Any = original) -> None:
            to.append(piece.batch)
            call(run, piece)

        monkeypatch.setattr(Trainee, "backward", backward)
        record = bench.train([spec]).record(spec)
        monkeypatch.setattr(Trainee, "backward", original)
        assert record.status == "ok"
        found[name] = batches
    assert len(found["plain"]) == len(found["changed"]) == 3
    for step, (before, after) in enumerate(zip(found["plain"], found["changed"], strict=True)):
        assert before.indices == after.indices
        assert torch.equal(before.inputs["b"], after.inputs["b"])
        draws = torch.rand(18, CROP_DRAWS + FLIP_DRAWS, generator=generator(0, "student", "pictures", step))
        expected = flip(
            random_resized_crop(before.inputs["a"], draws[:, :CROP_DRAWS], (0.3, 0.8)), draws[:, CROP_DRAWS:]
        )
        assert torch.equal(after.inputs["a"], expected)
        assert not torch.equal(after.inputs["a"], before.inputs["a"])


def test_what_is_scored_is_not_changed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A learning rate of nothing but rounding: with changed pictures the scores are those of the first weights."""
    scores = []
    for options in ((), ("train.pictures={modalities: [a], crop: [0.3, 0.8]}",)):
        still = "train.lr=1e-30"
        spec = of_row(
            bench.study(
                "seeds=[0]", still, "model.encoder={kind: conv, widths: [3], norm: none}", *options, rows=["none"]
            ),
            "none",
        )
        scores.append(bench.train([spec]).record(spec).metrics)
    assert scores[0] == scores[1]
