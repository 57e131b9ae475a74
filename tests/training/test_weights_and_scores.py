"""Initial weights, weights on disk, and the factorised evaluation."""

import contextlib
import pickle
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassJaccardIndex

from mmablate.data.base import SegmentationData
from mmablate.errors import DataError
from mmablate.models import AnymodalSegmentor, anymodal_segmentor
from mmablate.training import building
from mmablate.training.building import initial_model, initialise
from mmablate.training.checkpoint import digest, load_into, load_weights, save_weights
from mmablate.training.device import autocast
from mmablate.training.evaluation import Evaluated, score

CPU = torch.device("cpu")
MODEL = {"name": "anymodal_segmentor", "widths": [4, 8], "decoder_width": 4}


# --- initial weights ------------------------------------------------------------------------------------------


def initial(data: SegmentationData, seed: int = 0, role: str = "student", **options: Any) -> dict[str, Tensor]:
    return initial_model(MODEL | options, data, seed=seed, role=role).state_dict()


def test_initial_weights_hang_on_seed_role_and_name(data: SegmentationData) -> None:
    ours = initial(data)
    torch.manual_seed(99)
    assert digest(initial(data)) == digest(ours)
    assert digest(initial(data, seed=1)) != digest(ours)
    assert digest(initial(data, role="teacher")) != digest(ours)


def test_another_architecture_shares_what_it_has_in_common(data: SegmentationData) -> None:
    ours, deeper = initial(data), initial(data, widths=[4, 8, 6], depths=[1, 1, 2])
    alike = [name for name in ours if name in deeper and ours[name].shape == deeper[name].shape]
    assert sum(name.startswith("encoder.stages") for name in alike) >= 10
    assert all(torch.equal(ours[name], deeper[name]) for name in alike)
    convolutions = [w for name, w in ours.items() if w.ndim == 4]
    flat = [w.flatten()[:20] for w in convolutions if w.numel() >= 20]
    assert all(not torch.equal(a, b) for a, b in combinations(flat, 2)), "each layer has a stream of its own"


def test_initialising_leaves_the_global_generator_alone(data: SegmentationData) -> None:
    before = torch.random.get_rng_state()
    initial(data)
    assert torch.equal(before, torch.random.get_rng_state())


class Attention(nn.Module):
    """Parts that torch initialises in their constructor, with no `reset_parameters`."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(8))
        self.attention = nn.MultiheadAttention(8, 2)
        self.out = nn.Linear(8, 2)


def test_weights_drawn_in_a_constructor_are_keyed_too(data: SegmentationData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "build_model", lambda settings, data, *more: Attention())
    digests = []
    for seed in (0, 0, 1):
        torch.rand(7)
        weights = initial_model({}, data, seed=seed, role="student").state_dict()
        digests.append([digest({name: weights[name]}) for name in ("token", "attention.in_proj_weight")])
    assert digests[0] == digests[1]
    assert all(a != b for a, b in zip(digests[1], digests[2], strict=True))


def test_initial_weights_have_the_scale_of_torch() -> None:
    model = anymodal_segmentor(n_classes=5, widths=[32, 32])
    drawn = [p.std() for p in model.parameters() if p.ndim == 4 and p.numel() > 500]
    initialise(model, seed=0, role="student")
    again = [p.std() for p in model.parameters() if p.ndim == 4 and p.numel() > 500]
    assert len(drawn) > 3
    torch.testing.assert_close(torch.stack(again), torch.stack(drawn), rtol=0.1, atol=0)


# --- weights on disk ------------------------------------------------------------------------------------------


def weights() -> dict[str, Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.0, -2.0])}


def linear() -> nn.Module:
    module = nn.Module()
    module.a = nn.Linear(3, 2)
    return module


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_weights(path, {name: value.t() if value.ndim == 2 else value for name, value in weights().items()})
    read = load_weights(path)
    assert torch.equal(read["a.weight"], weights()["a.weight"].t())
    save_weights(path, weights())
    model = linear()
    load_into(model, path)
    assert digest(model.state_dict()) == digest(weights())
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"state_dict": w, "epoch": 3}, lambda w: {"model": w}])
def test_files_of_torch_are_read(tmp_path: Path, wrap: Any) -> None:
    torch.save(wrap(weights()), tmp_path / "mine.pt")
    assert digest(load_weights(tmp_path / "mine.pt")) == digest(weights())


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_pickled_code_is_refused_and_never_run(tmp_path: Path, suffix: str) -> None:
    path, mark = tmp_path / f"evil{suffix}", tmp_path / "mark"
    torch.save({"a.weight": torch.zeros(2, 3), "trap": Trap(mark)}, path)
    with pytest.raises(DataError, match=r"evil.*not a checkpoint of plain tensors"):
        load_weights(path)
    path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(DataError, match="evil"):
        load_weights(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.safetensors", b"\x40\0\0\0\0\0\0\0{"),
        ("empty.safetensors", b""),
        ("empty.pt", b""),
        ("text.pt", b"no weights"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_weights(tmp_path / name)


@pytest.mark.parametrize("name", ["gone.safetensors", "gone.pt"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        load_weights(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, torch.zeros(3)])
def test_other_content_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(DataError, match="expected a mapping of names to tensors"):
        load_weights(tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("a.bias"), r"1 missing, 0 unknown, 0 of another shape \(first: a.bias\)"),
        (lambda w: w.update(b=torch.zeros(1)), r"0 missing, 1 unknown, 0 of another shape \(first: b\)"),
        (lambda w: w.update({"a.bias": torch.zeros(3)}), r"0 missing, 0 unknown, 1 of another shape"),
    ],
)
def test_weights_must_fit_exactly(tmp_path: Path, change: Any, message: str) -> None:
    path, content, model = tmp_path / "w.safetensors", weights(), linear()
    change(content)
    save_weights(path, content)
    before = digest(model.state_dict())
    with pytest.raises(DataError, match=message):
        load_into(model, path)
    assert digest(model.state_dict()) == before


def test_the_digest_sees_names_types_shapes_and_values() -> None:
    base = weights()
    variants = [
        {"b.weight": base["a.weight"], "a.bias": base["a.bias"]},
        base | {"a.weight": base["a.weight"].reshape(3, 2)},
        base | {"a.weight": base["a.weight"].double()},
        base | {"a.bias": torch.tensor([1.0, -2.0000002])},
        base | {"a.bias": torch.tensor(1.0)},
        base | {"a.bias": base["a.bias"].bfloat16()},
    ]
    assert len({digest(w) for w in [base, *variants]}) == len(variants) + 1
    assert digest(dict(reversed(base.items()))) == digest(base)
    assert digest(base | {"a.weight": base["a.weight"].t().contiguous().t()}) == digest(base)


def test_a_checkpoint_is_plain_safetensors(trained: Any) -> None:
    path = trained.store.run_folder(trained.teacher.run_id) / "checkpoint.safetensors"
    read = safetensors.torch.load_file(path)
    assert digest(read) == trained.teacher.digests["final"]


# --- factorised evaluation --------------------------------------------------------------------------------------


def models(data: SegmentationData) -> list[Any]:
    built: list[Any] = []
    for seed in range(2):
        model = initial_model(MODEL, data, seed=seed, role="student").eval()
        for parameter in model.parameters():  # as drawn, nearly all pixels would be of one class
            if parameter.ndim == 4:
                nn.init.normal_(parameter, std=0.4, generator=torch.Generator().manual_seed(seed))
        built.append(model)
    return built


def scored(nets: list[Any], data: SegmentationData, split: str = "val", **options: Any) -> list[dict[str, float]]:
    settings = {"subsets": "all", "classes": "present", "batch_size": 16} | options
    found = score(nets, data.splits[split], data, settings, device=CPU, precision=lambda: autocast(CPU, "float32"))
    assert all(one is not None and not one.conditions for one in found), "tiles have no conditions"
    return [one.scores for one in found if one is not None]


def test_the_factorised_score_is_that_of_running_every_subset_anew(data: SegmentationData) -> None:
    nets = models(data)
    found = scored(nets, data)
    arrays, labels = data.splits["val"].batch(range(len(data.splits["val"])))
    names = list(data.modalities)
    for net, scores in zip(nets, found, strict=True):
        expected = {}
        for k in range(1, len(names) + 1):
            for subset in combinations(names, k):
                metric = MulticlassJaccardIndex(
                    data.n_classes, average="macro", ignore_index=data.ignore_label, validate_args=False
                )
                with torch.no_grad():
                    logits, _ = net({name: torch.from_numpy(arrays[name]) for name in subset})
                metric.update(logits.argmax(1), torch.from_numpy(labels))
                expected["".join(subset)] = 100 * float(metric.compute())
        assert list(scores) == [*expected, "Mean"]
        for name, value in expected.items():
            assert scores[name] == pytest.approx(value, abs=0.02), name
        assert scores["Mean"] == pytest.approx(sum(expected.values()) / 7, abs=0.02)
        assert len({round(value, 3) for value in expected.values()}) == 7


def test_the_batch_size_of_evaluation_is_irrelevant(data: SegmentationData) -> None:
    nets = models(data)
    whole = scored(nets, data, batch_size=500)
    for batch_size in (1, 7, 64):
        for ours, theirs in zip(scored(nets, data, batch_size=batch_size), whole, strict=True):
            assert ours == pytest.approx(theirs, abs=0.02)


def test_some_subsets_cost_the_same_as_all(data: SegmentationData) -> None:
    nets = models(data)
    some, all_of_them = scored(nets, data, subsets=["N", "VNS"]), scored(nets, data)
    for ours, theirs in zip(some, all_of_them, strict=True):
        assert list(ours) == ["N", "VNS", "Mean"]
        assert (ours["N"], ours["VNS"]) == (theirs["N"], theirs["VNS"])
        assert ours["Mean"] == pytest.approx((theirs["N"] + theirs["VNS"]) / 2)
    (one,) = scored(nets[:1], data, subsets=["VN"])
    assert list(one) == ["VN"]


def test_a_model_is_scored_alike_alone_and_in_company(data: SegmentationData) -> None:
    nets = models(data)
    together = scored(nets, data)
    assert [scored([net], data)[0] for net in nets] == together
    assert together[0] != together[1]


def test_evaluation_needs_no_gradient_and_changes_no_weight(data: SegmentationData) -> None:
    (net, _) = models(data)
    before = digest(net.state_dict())
    scored([net], data)
    assert digest(net.state_dict()) == before
    assert all(p.grad is None for p in net.parameters())


def test_a_model_that_fails_in_scoring_drops_out_alone(data: SegmentationData) -> None:
    class Broken(AnymodalSegmentor):
        def encode(self, inputs: Any) -> Any:
            raise MemoryError("no room")

    fine = models(data)[0]
    broken = Broken(fine.encoder, fine.head, fine.in_channels)
    caught = []

    @contextlib.contextmanager
    def guard(index: int) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            caught.append(index)

    settings = {"subsets": "all", "classes": "present", "batch_size": 16}
    both = score(
        [broken, fine],
        data.splits["val"],
        data,
        settings,
        device=CPU,
        precision=lambda: autocast(CPU, "float32"),
        guard=guard,
    )
    assert both == [None, Evaluated(scored([fine], data)[0])]
    assert caught == [0]
