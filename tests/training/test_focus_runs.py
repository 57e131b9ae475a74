"""Focus in whole runs: which channels stay, what the students see, and what is told of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crossmodal_samples import DIGITS, GAUSS, Ran, inputs, run, shipped
from torch import Tensor

from mmablate.catalog import file_hash
from mmablate.data.loading import BatchReader
from mmablate.data.streams import generator
from mmablate.methods.channels import chosen_channels, kept_count
from mmablate.methods.saliency import Saliency, channel_saliency, rest_of, significant_count
from mmablate.models.places import PlacedNetwork
from mmablate.results import RunRecord, StudyStore
from mmablate.results.saliency import CSV_NAME, read_saliency
from mmablate.study import RunSpec
from mmablate.training.building import build_model
from mmablate.training.focusing import FocusedTeacher, Focusing

CPU = torch.device("cpu")
ROWS = ("pix_fou+kd", "pix_fou+kd_random", "pix_fou+kd_general", "pix_fou+kd_specific")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All ways of teaching on one pair of views."""
    return run(shipped("mfeat_focus", *DIGITS, "seeds=[0]"), tmp_path_factory.mktemp("digits"), rows=ROWS)


def pair_of(ran: Ran, row: str) -> RunSpec:
    """The joint training that a row reads."""
    return next(spec for spec in ran.upstream(row) if spec.role == "pair")


def networks(ran: Ran, pair: RunSpec) -> dict[str, PlacedNetwork]:
    """Teacher and student of a joint training, in eval mode."""
    model = build_model(pair.settings["model"], ran.data(pair))
    model.load_state_dict(ran.weights(pair))
    model.eval()
    return {side: model.get_submodule(side) for side in ("teacher", "student")}  # type: ignore[misc]


def measured(ran: Ran, pair: RunSpec) -> Saliency:
    """As the pair's folder tells it."""
    found, reason = read_saliency(ran.folder(pair))
    assert found is not None, reason
    return Saliency(torch.tensor(found.scores), torch.tensor(found.standard_errors), math.nan)


def by_hand(network: PlacedNetwork, x: Tensor, place: str, kept: set[int], instead: Tensor) -> Tensor:
    """Logits where every channel that is not kept is written over, one by one."""
    hidden = network.until(x, place).clone()
    for channel in range(hidden.shape[1]):
        if channel not in kept:
            hidden[:, channel] = instead[channel]
    return network.beyond(hidden, place)


# --- what the students see ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["hidden1", "input"])
@pytest.mark.parametrize("removal", ["zero", "mean", "batch_mean"])
@pytest.mark.parametrize("row", ["pix_fou+kd_general", "pix_fou+kd_specific", "pix_fou+kd_random"])
def test_the_teacher_as_its_students_see_it(digits: Ran, place: str, removal: str, row: str) -> None:
    pair = pair_of(digits, row)
    data, teacher = digits.data(digits.spec(row)), networks(digits, pair)["teacher"]
    train, focusing = data.splits["train"], Focusing(digits.store, data, {})
    n = 64 if place == "hidden1" else 240
    described = dict(digits.spec(row).settings["teacher"]["focus"])
    described |= {"place": place, "removal": removal}
    pair_id: str | None = pair.run_id
    if place == "input":  # the saliency is that of the hidden layer
        described |= {"keep": "random", "number": 0.75, "replacement": False}
        pair_id = None
    focused, tag = focusing.focused(
        teacher, described, "pix", BatchReader(train), pair=pair_id, seed=0, device=CPU, batch_size=33
    )
    assert tag is None
    assert isinstance(focused, FocusedTeacher)
    kept = set(focused.kept)
    assert len(kept) == n // 4
    whole = torch.from_numpy(inputs(data, "train", "pix")[0])
    x = torch.from_numpy(inputs(data, "test", "pix")[0])[:50]
    with torch.no_grad():
        instead = {
            "zero": torch.zeros(n),
            "mean": teacher.until(whole, place).double().mean(0).float(),
            "batch_mean": teacher.until(x, place).mean(0),
        }[removal]
        expected = by_hand(teacher, x, place, kept, instead)
        torch.testing.assert_close(focused.eval()(x), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(expected, teacher(x), atol=1e-2), "it makes a difference"


def test_the_column_teacher_is_the_accuracy_of_what_was_seen(digits: Ran) -> None:
    found = {}
    for row in ROWS:
        pair = pair_of(digits, row)
        data, teacher = digits.data(digits.spec(row)), networks(digits, pair)["teacher"]
        x, labels = inputs(data, "test", "pix")
        whole = torch.from_numpy(inputs(data, "train", "pix")[0])
        with torch.no_grad():
            mean = teacher.until(whole, "hidden1").mean(0)
            kept = set(expected_channels(digits, row))
            logits = by_hand(teacher, torch.from_numpy(x), "hidden1", kept, mean)
        found[row] = 100 * float((logits.argmax(1).numpy() == labels).mean())
        assert digits.record(row).metrics["Teacher"] == pytest.approx(found[row], abs=1e-9), row
        assert "Tag" not in digits.record(row).metrics, "nobody knows which pixels are general"
    assert len(set(found.values())) == 4
    assert found["pix_fou+kd"] == max(found.values())


def expected_channels(ran: Ran, row: str) -> tuple[int, ...]:
    """Those that stay at ratio 0.75, by the definition and the pair's own file."""
    scores = measured(ran, pair_of(ran, row)).scores.numpy()
    order = np.argsort(-scores, kind="stable")
    if row.endswith("+kd"):
        return tuple(range(64))
    if row.endswith("general"):
        return tuple(sorted(order[:16].tolist()))
    if row.endswith("specific"):
        return tuple(sorted(order[48:].tolist()))
    drawn = torch.randperm(64, generator=generator(0, "focus", "random"))
    return tuple(sorted(drawn[:16].tolist()))


def test_a_saliency_is_that_of_the_networks_it_stands_for(digits: Ran) -> None:
    pair = pair_of(digits, "pix_fou+kd_general")
    data, both = digits.data(pair), networks(digits, pair)
    pix, fou = (torch.from_numpy(inputs(data, "train", name)[0]) for name in ("pix", "fou"))
    with torch.no_grad():
        hidden, student = both["teacher"].until(pix, "hidden1"), both["student"](fou)
    found = channel_saliency(
        rest_of(both["teacher"], "hidden1"), hidden, student, permutations=2,
        generator=generator(0, "focus", "permutations"),
    )  # fmt: skip
    stored, _ = read_saliency(digits.folder(pair))
    assert stored is not None
    assert stored.scores == pytest.approx(found.scores.tolist(), rel=1e-4, abs=1e-8)
    assert stored.standard_errors == pytest.approx(found.standard_errors.tolist(), rel=1e-4, abs=1e-9)
    assert stored.normalised == pytest.approx(found.normalised().tolist(), rel=1e-4, abs=1e-6)
    assert stored.kept is None
    assert stored.info.count == significant_count(found)
    assert stored.general is None
    assert (stored.info.place, stored.info.distance, stored.info.permutations) == ("hidden1", "squared", 2)
    # And of one channel, without any of this: permute, and see how far the logits move from the student's.
    channel = int(np.argmax(stored.scores))
    orders = [torch.randperm(len(pix), generator=(g := generator(0, "focus", "permutations"))) for _ in range(1)]
    orders.append(torch.randperm(len(pix), generator=g))
    with torch.no_grad():
        clean = (both["teacher"](pix) - student).double().square().mean()
        moved = []
        for order in orders:
            tried = hidden.clone()
            tried[:, channel] = hidden[order, channel]
            moved.append((both["teacher"].beyond(tried, "hidden1") - student).double().square().mean())
    assert stored.scores[channel] == pytest.approx(float(torch.stack(moved).mean() - clean), rel=1e-3)


# --- how many, and which -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gauss(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One gamma of the Gaussian data with a joint training of its own, taught well enough to find something."""
    study = shipped(
        "gauss_focus", *GAUSS, "seeds=[0]", "data.n_train=200", "data.n_val=200", "train.steps=300",
        "focus.permutations=10",
    )  # fmt: skip
    return run(study, tmp_path_factory.mktemp("gauss"), rows=["0.50+kd_general"])


def settings(**changes: Any) -> dict[str, Any]:
    return {"place": "input", "removal": "drop", "keep": "general", "number": 10, "replacement": False, **changes}


@pytest.mark.parametrize("number", [0.75, 0.5, 0.0, 7, "significant", "known"])
@pytest.mark.parametrize("keep", ["general", "specific", "random"])
def test_channels_by_keep_and_number(gauss: Ran, keep: str, number: Any) -> None:
    pair = pair_of(gauss, "0.50+kd_general")
    data, saliency = gauss.data(pair), measured(gauss, pair)
    true = data.general["x1"]
    assert true == tuple(range(10)), "of 20 that decide the student sees ten"
    stay = {
        "significant": significant_count(saliency),
        "known": 10,
    }.get(number, number)  # fmt: skip
    assert 3 <= significant_count(saliency) < 40
    if isinstance(stay, float):
        stay = kept_count(50, stay)
    elif keep == "specific":
        stay = 50 - stay
    found = Focusing(gauss.store, data, {}).choose(
        settings(keep=keep, number=number), 50, "x1", pair=pair.run_id, seed=4
    )
    expected = chosen_channels(saliency, 50, keep=keep, count=stay, generator=generator(4, "focus", "random"))
    assert found.kept == expected
    assert len(found.kept) == stay
    right = len(set(found.kept) & set(true))
    assert found.tag == pytest.approx(100 * right / stay)
    if keep == "general" and number == 7:
        assert right >= 6, "what is found is right"
    if keep == "specific" and number == 7:
        assert right <= 5


def test_known_channels_and_random_ones_with_replacement(gauss: Ran) -> None:
    data = gauss.data(pair_of(gauss, "0.50+kd_general"))
    focusing = Focusing(gauss.store, data, {})
    known = focusing.choose(settings(keep="known"), 50, "x1", pair=None, seed=0)
    assert (known.kept, known.tag) == (tuple(range(10)), 100.0)
    drawn = focusing.choose(settings(keep="random", number=40, replacement=True), 50, "x1", pair=None, seed=0)
    assert len(drawn.kept) == 40
    assert len(set(drawn.kept)) < 40, "some stand there twice"
    assert drawn.tag == pytest.approx(100 * len(set(drawn.kept) & set(range(10))) / len(set(drawn.kept)))


def test_a_teacher_trained_anew_sees_its_channels_and_no_others(gauss: Ran) -> None:
    teacher, pair = gauss.upstream("0.50+kd_general")
    assert (teacher.role, pair.role) == ("teacher", "pair")
    weights = gauss.weights(teacher)
    kept = tuple(weights["kept"].tolist())
    assert kept == tuple(sorted(measured(gauss, pair).ranking()[:10]))
    assert weights["inner.stages.logits.weight"].shape == (2, 10)
    data = gauss.data(teacher)
    x, labels = inputs(data, "test", "x1")
    logits = x[:, list(kept)] @ weights["inner.stages.logits.weight"].numpy().T
    logits = logits + weights["inner.stages.logits.bias"].numpy()
    accuracy = 100 * float((logits.argmax(1) == labels).mean())
    record = gauss.record_of(teacher)
    tag = 100 * len(set(kept) & set(range(10))) / 10
    assert record.metrics == pytest.approx({"Acc": accuracy, "Tag": tag})
    assert (record.n_parameters, record.flops) == (22, 40.0)
    student = gauss.record("0.50+kd_general")
    assert {k: student.metrics[k] for k in ("Teacher", "Tag")} == pytest.approx({"Teacher": accuracy, "Tag": tag})


def test_no_channel_or_too_many_is_told_in_the_recipe_s_words(gauss: Ran) -> None:
    pair = pair_of(gauss, "0.50+kd_general")
    focusing = Focusing(gauss.store, gauss.data(pair), {})

    def fault(**changes: Any) -> str:
        with pytest.raises(Exception, match="focus") as caught:
            focusing.choose(settings(**changes), 50, "x1", pair=pair.run_id, seed=0)
        assert type(caught.value).__name__ == "DataError"
        return str(caught.value)

    assert fault(number=51) == "focus.count: 1 to 50 channels at input, got 51"
    assert fault(keep="random", number=51) == "focus.count: 1 to 50 channels at input, got 51"
    assert fault(keep="specific", number=50) == "focus.count: 1 to 49 of the 50 channels at input go, got 50"
    assert fault(number=1.0) == "focus.ratio: at least one of the 50 channels at input must stay, got 1"


# --- what can be wrong ---------------------------------------------------------------------------------------------


def damaged(path: Path, how: str) -> None:
    """Does something to a saliency.csv."""
    lines = path.read_text().splitlines()
    if how == "missing":
        path.unlink()
        return
    if how == "short":
        lines = lines[:-14]
    elif how == "a word":
        lines[3] = lines[3].replace(lines[3].split(",")[1], "many")
    elif how == "not a number":
        lines[3] = lines[3].replace(lines[3].split(",")[1], "nan")
    elif how == "empty":
        lines = []
    path.write_text("\n".join(lines) + "\n")


FAULTS = {
    "missing": "no saliency",
    "short": "the saliency of 64 channels expected, found 50",
    "a word": "score of channel 2 is 'many'",
    "not a number": "score of channel 2 is 'nan'",
    "empty": "no saliency",
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_damaged_saliency_fails_what_reads_it(tmp_path: Path, how: str) -> None:
    study = shipped("mfeat_focus", *DIGITS, "seeds=[0]", "train.epochs=1")
    first = run(study, tmp_path, rows=["pix_fou+kd"])
    damaged(first.folder(pair_of(first, "pix_fou+kd")) / CSV_NAME, how)
    ran = run(study, tmp_path, rows=["pix_fou+no_kd", "pix_fou+kd", "pix_fou+kd_random", "pix_fou+kd_general"])
    assert {record.row: record.status for record in ran.outcome.trained} == {
        "pix_fou+no_kd": "ok", "pix_fou+kd_random": "ok"
    }  # fmt: skip
    (record,) = ran.outcome.failed
    one_clear_message(record, "pix_fou+kd_general", FAULTS[how])


def one_clear_message(record: RunRecord, row: str, text: str) -> None:
    assert record.row == row
    assert record.error is not None
    assert record.error.type == "DataError"
    assert text in record.error.message
    assert "\n" not in record.error.message
    assert record.metrics == {}


def vector(path: Path, how: str) -> Path:
    """A .npy file that holds something else than 64 finite numbers."""
    if how == "2-D":
        np.save(path, np.zeros((64, 1)))
    elif how == "pickled":
        np.save(path, np.array([{"a": 1}] * 64, dtype=object), allow_pickle=True)
    elif how == "NaN":
        np.save(path, np.full(64, np.nan))
    elif how == "words":
        np.save(path, np.array(["a"] * 64))
    elif how == "another number":
        np.save(path, np.arange(63.0))
    elif how == "text":
        path.write_text("1 2 3")
    elif how == "cut":
        np.save(path, np.arange(64.0))
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        np.save(path, np.arange(64.0))
    return path


VECTORS = {
    "2-D": "expected one number a channel, found float64 (64, 1)",
    "pickled": "expected one number a channel (.npy), found",
    "NaN": "expected finite numbers, found NaN or infinities",
    "words": "expected one number a channel, found <U1 (64,)",
    "another number": "the saliency of 64 channels expected, found 63",
    "text": "expected one number a channel (.npy), found",
    "cut": "expected one number a channel (.npy), found",
    "empty": "expected one number a channel (.npy), found",
    "changed": "the file has changed since the study was planned",
    "gone": "focus.saliency: no such file",
}


@pytest.mark.parametrize("how", VECTORS)
def test_a_vector_that_is_none_fails_what_reads_it(tmp_path: Path, how: str) -> None:
    path = vector(tmp_path / "own.npy", how)
    study = shipped("mfeat_focus", *DIGITS, "seeds=[0]", "train.epochs=1", f"focus.saliency={path}")
    if how == "changed":
        np.save(path, np.arange(64.0)[::-1])
    elif how == "gone":
        path.unlink()
    ran = run(study, tmp_path / "out", rows=["pix_fou+no_kd", "pix_fou+kd", "pix_fou+kd_general"])
    assert {r.row or r.role for r in ran.outcome.trained} == {"pix_fou+no_kd", "pix_fou+kd", "pair"}
    (record,) = ran.outcome.failed
    one_clear_message(record, "pix_fou+kd_general", VECTORS[how])
    assert path.name in (record.error.message if record.error else "")


def test_the_same_with_a_teacher_trained_anew(tmp_path: Path) -> None:
    """Both ways: its own run fails with the reason, its students for want of it, the others are well."""
    path = tmp_path / "own.npy"
    np.save(path, np.arange(49.0))
    study = shipped("gauss_focus", *GAUSS, "seeds=[0]", f"focus.saliency={path}")
    for mode in ("in-turn", "stacked"):
        ran = run(study, tmp_path / mode, rows=["0.25+no_kd", "0.25+kd", "0.25+kd_general", "0.25+kd_known"], mode=mode)
        assert sorted(r.row or r.role for r in ran.outcome.trained) == [
            "0.25+kd", "0.25+kd_known", "0.25+no_kd", "teacher", "teacher"
        ]  # fmt: skip
        failed = {record.role: record.error for record in ran.outcome.failed}
        assert failed.keys() == {"teacher", "student"}
        assert failed["teacher"] is not None
        assert failed["student"] is not None
        assert "the saliency of 50 channels expected, found 49" in failed["teacher"].message
        assert failed["student"].type == "UpstreamFailed"


def test_a_vector_of_one_s_own_takes_the_place_of_what_is_measured(tmp_path: Path) -> None:
    """Float and whole numbers of any kind; the highest are the general ones."""
    scores = np.random.default_rng(0).permutation(50)
    for dtype in (np.int16, np.float32):
        np.save(tmp_path / f"{np.dtype(dtype).name}.npy", scores.astype(dtype))
        study = shipped("gauss_focus", *GAUSS, "seeds=[0]", f"focus.saliency={tmp_path / np.dtype(dtype).name}.npy")
        ran = run(study, tmp_path / np.dtype(dtype).name, rows=["0.50+kd_general"])
        (teacher,) = ran.upstream("0.50+kd_general")
        assert teacher.role == "teacher", "no pair is trained"
        kept = ran.weights(teacher)["kept"].tolist()
        assert kept == sorted(np.argsort(-scores)[:10].tolist())


def test_a_saliency_of_a_vector_has_no_significant_channels(tmp_path: Path) -> None:
    study_store = StudyStore(tmp_path, "none")
    path = tmp_path / "own.npy"
    np.save(path, np.arange(50.0))
    data = shipped("gauss_focus", *GAUSS)
    spec = next(s for s in data.runs if s.role == "pair")
    opened = Ran(data, study_store, None).data(spec)  # type: ignore[arg-type]
    focusing = Focusing(study_store, replace(opened), {file_hash(path): str(path)})
    with pytest.raises(ValueError, match="scores without standard errors"):  # a recipe is told before
        focusing.choose(settings(number="significant", saliency=file_hash(path)), 50, "x1", pair=None, seed=0)
