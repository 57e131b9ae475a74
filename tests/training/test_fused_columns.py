"""The columns beside the accuracy of models that fuse modalities, their history, and their predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fusion_samples import Bench, Trained, of_row
from scipy.optimize import minimize
from torch import Tensor

from mmablate.data.base import ClassificationData, LabelledSplit, SampleInfo
from mmablate.data.holdout import hold_out
from mmablate.metrics import decompose_predictions
from mmablate.results.class_predictions import read_class_predictions
from mmablate.study import RunSpec, Study
from mmablate.training import lockstep as group
from mmablate.training import watching
from mmablate.training.building import initial_model

ALL = "evaluate.also=[probes, own, gain, scores, information, gradients]"
ROWS = ("joint", "dgl", "alone")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("columns") / "set")


@pytest.fixture(scope="module")
def study(bench: Bench) -> Study:
    return bench.study(ALL, "train.epochs=3", "evaluate.every=2", rows=ROWS)


@pytest.fixture(scope="module")
def ran(bench: Bench, study: Study) -> Trained:
    return bench.train([of_row(study, row) for row in ROWS])


def model_of(bench: Bench, ran: Trained, spec: RunSpec) -> Any:
    model = initial_model(spec.settings["model"], bench.data(spec), seed=0, role="student")
    model.load_state_dict(ran.weights(spec))
    return model.eval()


def seen(bench: Bench, model: Any, spec: RunSpec, split: str) -> tuple[Any, np.ndarray]:
    """What the model gives for a whole split, "train" without what is held back, and the labels."""
    own = bench.data(spec).splits[split]
    inputs, labels = own.batch(range(len(own)))
    if split == "train":
        kept, _ = hold_out(labels, 0.2, 0)
        inputs, labels = {name: x[kept] for name, x in inputs.items()}, labels[kept]
    with torch.no_grad():
        out = model({name: torch.from_numpy(x) for name, x in inputs.items()}, unimodal=True)
    return out, labels


def fitted(train: Tensor, labels: np.ndarray, scored: Tensor) -> np.ndarray:
    """Classes by multinomial logistic regression on standardised features, by scipy; ridge 0.01, bias 1e-6."""
    x, z = train.double().numpy(), scored.double().numpy()
    mean, deviation = x.mean(0), x.std(0)
    deviation = np.where(deviation > 1e-12, deviation, 1)
    x, z = (x - mean) / deviation, (z - mean) / deviation
    wanted = np.eye(3)[labels]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = flat[:-3].reshape(-1, 3), flat[-3:]
        logits = x @ weight + bias
        logits -= logits.max(1, keepdims=True)
        p = np.exp(logits)
        p /= p.sum(1, keepdims=True)
        loss = -np.log(p[np.arange(len(x)), labels]).mean() + 0.005 * (weight**2).sum() + 0.5e-6 * (bias**2).sum()
        error = (p - wanted) / len(x)
        return loss, np.concatenate([(x.T @ error + 0.01 * weight).ravel(), error.sum(0) + 1e-6 * bias])

    found = minimize(objective, np.zeros(3 * x.shape[1] + 3), jac=True, method="BFGS", options={"gtol": 1e-9})
    return np.argmax(z @ found.x[:-3].reshape(-1, 3) + found.x[-3:], 1)


@pytest.mark.parametrize("row", ROWS)
def test_probes_gain_and_information_are_those_of_an_independent_fit(
    bench: Bench, study: Study, ran: Trained, row: str
) -> None:
    spec = of_row(study, row)
    model, metrics = model_of(bench, ran, spec), ran.record(spec).metrics
    (train, labels), (test, truth) = (seen(bench, model, spec, split) for split in ("train", "test"))
    guesses = {name: fitted(train.features[name], labels, test.features[name]) for name in model.modalities}
    right = {name: 100 * float((guess == truth).mean()) for name, guess in guesses.items()}
    assert {name: metrics[name] for name in right} == pytest.approx(right)
    accuracy = 100 * float((test.logits.argmax(1).numpy() == truth).mean())
    assert metrics["Acc"] == pytest.approx(accuracy)
    if row == "alone":
        assert set(metrics) == {"Acc", "a", "F1", "NLL", "ECE"}, "no cell for what it does not see"
        return
    assert metrics["Gain"] == pytest.approx(accuracy - max(right.values()))
    assert {name: metrics[f"{name} own"] for name in right} == pytest.approx(
        {name: 100 * float((x.argmax(1).numpy() == truth).mean()) for name, x in test.unimodal.items()}
    )
    first, second = (torch.from_numpy(guess) for guess in guesses.values())
    parts = decompose_predictions(first, second, torch.from_numpy(truth), 3)
    told = {"U a": parts.unique1, "U b": parts.unique2, "R": parts.redundant, "S": parts.synergistic}
    assert {name: metrics[name] for name in told} == pytest.approx(told, abs=1e-9)


@pytest.mark.parametrize("row", ROWS)
def test_scores_from_the_definitions(bench: Bench, study: Study, ran: Trained, row: str) -> None:
    """Macro-F1, log-loss, and the calibration error of 15 equal bins of confidence, written anew."""
    spec = of_row(study, row)
    metrics = ran.record(spec).metrics
    out, truth = seen(bench, model_of(bench, ran, spec), spec, "test")
    p = out.logits.double().softmax(1).numpy()
    guess, sure = p.argmax(1), p.max(1)
    f1 = []
    for k in range(3):
        hits, named, there = ((guess == k) & (truth == k)).sum(), (guess == k).sum(), (truth == k).sum()
        f1.append(2 * hits / (named + there))
    assert metrics["F1"] == pytest.approx(100 * np.mean(f1))
    assert metrics["NLL"] == pytest.approx(-np.log(p[np.arange(len(p)), truth]).mean())
    bins = np.ceil(sure * 15).astype(int)
    error = sum(
        abs((guess == truth)[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean() for b in set(bins)
    )
    assert metrics["ECE"] == pytest.approx(100 * error)


def test_gradients_are_told_where_there_is_something_to_tell(study: Study, ran: Trained) -> None:
    """Lines of epochs that are validated (every second one, and the last); columns of the scored weights."""
    for row in ("joint", "dgl"):
        spec = of_row(study, row)
        lines = ran.history(spec)
        assert ["gradients" in line for line in lines] == [False, True, True]
        assert all(set(line["gradients"]) == {"a", "b"} for line in lines[1:])
        metrics, last = ran.record(spec).metrics, lines[-1]["gradients"]
        larger = [last[name]["larger"] for name in ("a", "b")]
        assert metrics["Shrunk"] == pytest.approx(100 * sum(larger) / 2, abs=1e-3)
        easier, other = ("a", "b") if metrics["a"] >= metrics["b"] else ("b", "a")
        assert metrics["Skew"] == pytest.approx(100 * (last[easier]["left"] - last[other]["left"]), abs=1e-3)
    assert all("gradients" not in line for line in ran.history(of_row(study, "alone")))


def test_without_columns_there_is_the_accuracy_alone(bench: Bench) -> None:
    """Nor are the modalities' own outputs computed; the accuracy is the same."""
    found = {}
    for also in ("[]", "[own]", "[scores]"):
        spec = of_row(bench.study(f"evaluate.also={also}", rows=["dgl"]), "dgl")
        ran = bench.train([spec])
        found[also] = ran.record(spec).metrics
        expected = {"Acc", "a own", "b own"} if also == "[own]" else {"Acc"}
        assert all(set(line["val"]) == expected for line in ran.history(spec))
    assert set(found["[]"]) == {"Acc"}
    assert set(found["[own]"]) == {"Acc", "a own", "b own"}
    assert set(found["[scores]"]) == {"Acc", "F1", "NLL", "ECE"}
    assert len({own["Acc"] for own in found.values()}) == 1


@pytest.mark.parametrize("row", ROWS)
def test_predictions_are_those_of_the_scored_weights(bench: Bench, study: Study, ran: Trained, row: str) -> None:
    spec = of_row(study, row)
    found, reason = read_class_predictions(ran.store.run_folder(spec.run_id))
    assert found is not None, reason
    out, truth = seen(bench, model_of(bench, ran, spec), spec, "test")
    assert found.labels.tolist() == truth.tolist()
    expected = {"Acc": out.logits}
    if row != "alone":
        expected |= {f"unimodal/{name}": logits for name, logits in out.unimodal.items()}
    assert list(found.outputs) == list(expected)
    for name, logits in expected.items():
        own = found.outputs[name]
        assert own.predicted.tolist() == logits.argmax(1).tolist()
        assert own.nll == pytest.approx(
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(truth), reduction="none").numpy(),
            rel=1e-4,
            abs=1e-6,
        )
        assert own.probability is not None
        assert own.probability == pytest.approx(logits.softmax(1).numpy(), abs=1e-3)


def test_a_head_that_nothing_trained_is_shown_to_nobody(bench: Bench) -> None:
    """A gate's modalities have heads of their own, which joint training leaves as they began."""
    spec = bench.spec("joint", "model.fusion=gated")
    ran = bench.train([spec])
    assert "a own" not in ran.record(spec).metrics
    found, _ = read_class_predictions(ran.store.run_folder(spec.run_id))
    assert found is not None
    assert list(found.outputs) == ["Acc"]


def test_a_look_that_fails_is_the_failure_of_one_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that train together."""
    planned = bench.study(ALL, rows=["dgl", "unique"])
    specs = [of_row(planned, row) for row in ("dgl", "unique")]
    original = watching.suppression

    def failing(model: Any, method: Any, batch: Any) -> Any:
        if model.experts is not None:
            raise RuntimeError("a gradient that cannot be had")
        return original(model, method, batch)

    monkeypatch.setattr(watching, "suppression", failing)
    ran = bench.train(specs)
    assert ran.record(specs[0]).status == "ok"
    error = ran.record(specs[1]).error
    assert error is not None
    assert (error.type, error.message) == ("RuntimeError", "a gradient that cannot be had")


def test_scores_by_condition(bench: Bench, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused accuracy and those of each modality's own output, on the samples of each condition apart."""
    spec = of_row(study, "dgl")
    data = bench.data(spec)
    test = data.splits["test"]
    inputs, labels = test.batch(range(len(test)))
    infos = [SampleInfo(str(i), {"light": "day" if i % 3 else "night"}) for i in range(len(labels))]
    splits = {**data.splits, "test": LabelledSplit(inputs, labels, infos)}
    told = ClassificationData(**{**data.__dict__, "splits": splits})
    monkeypatch.setattr(group, "open_data", lambda *args, **options: told)
    ran = bench.train([spec])
    record = ran.record(spec)
    out, truth = seen(bench, model_of(bench, ran, spec), spec, "test")
    chosen = {"day": np.arange(len(truth)) % 3 > 0, "night": np.arange(len(truth)) % 3 == 0}
    outputs = {"Acc": out.logits, **{f"{m} own": x for m, x in out.unimodal.items()}}
    assert record.conditions.keys() == chosen.keys()
    for name, some in chosen.items():
        expected = {c: 100 * float((x.argmax(1).numpy() == truth)[some].mean()) for c, x in outputs.items()}
        assert record.conditions[name] == pytest.approx(expected)
