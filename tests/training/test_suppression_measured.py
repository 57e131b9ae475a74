"""What the joint loss leaves of each encoder's gradient: against a loop over samples, closed forms, and theorems."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings

from mmablate.data.batches import Batch
from mmablate.methods.fusing import JointFusion
from mmablate.models.fusion import MultimodalClassifier
from mmablate.models.fusion.building import fusion_classifier, map_fusion_classifier
from mmablate.training import routed_gradients
from mmablate.training.building import initialise
from mmablate.training.routed_gradients import as_history, suppression

SHAPES = {"a": (4,), "v": (3,)}
MAPS = {"a": (1, 8, 8), "v": (3, 8, 8)}


def method_of(model: MultimodalClassifier) -> Any:
    return JointFusion(modalities=model.modalities, ignore_label=-1, trains_unimodal=True, clip="joint")


def model_of(
    fusion: str, k: int = 3, *, seed: int = 0, maps: bool = False, scale: float = 1.0, hidden: int | None = None
) -> MultimodalClassifier:
    if maps:
        model = map_fusion_classifier(n_classes=k, shapes=MAPS, fusion=fusion, widths=(3, 4), hidden=5)
    else:
        encoder = {"kind": "mlp", "hidden": [5]}
        model = fusion_classifier(n_classes=k, shapes=SHAPES, fusion=fusion, encoder=encoder, hidden=hidden)
    initialise(model, seed=seed, role="student")
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * scale * torch.randn(parameter.shape, generator=stream))
    return model.eval()


def batch_for(k: int, *, seed: int = 0, maps: bool = False, samples: int = 40) -> Batch:
    stream = torch.Generator().manual_seed(100 + seed)
    shapes = MAPS if maps else SHAPES
    inputs = {name: torch.randn(samples, *shape, generator=stream) for name, shape in shapes.items()}
    return Batch(inputs, torch.randint(0, k, (samples,), generator=stream), tuple(range(samples)))


def one_by_one(model: MultimodalClassifier, batch: Batch, modality: str) -> dict[str, float | None]:
    """The definitions, a sample at a time in float64, each with a backward pass of its own."""
    whole: Any = model.double()
    rows = []
    for i in range(len(batch)):
        label = batch.labels[i : i + 1]
        with torch.no_grad():
            z = whole.encode({name: x[i : i + 1].double() for name, x in batch.inputs.items()})
        norms, logits = [], []
        for joint in (False, True):
            leaf = {name: value.clone().requires_grad_() for name, value in z.items()}
            out = whole.fuse(leaf) if joint else whole.unimodal_logits(leaf, modality)
            F.cross_entropy(out, label).backward()
            norms.append(float(leaf[modality].grad.norm()))
            logits.append(out.detach()[0])
        own, fused = logits
        rest = fused - own
        y = int(label)
        favoured = all(rest[y] > rest[k] for k in range(len(rest)) if k != y)
        rows.append((norms[0] > norms[1], favoured, float(fused.softmax(0)[y]) > float(own.softmax(0)[y]), norms))
    model.float()

    def share(values: list[bool]) -> float | None:
        return sum(values) / len(values) if values else None

    return {
        "larger": share([larger for larger, _, _, _ in rows]),
        "positive": share([given for _, given, _, _ in rows]),
        "larger_given": share([larger for larger, given, _, _ in rows if given]),
        "larger_otherwise": share([larger for larger, given, _, _ in rows if not given]),
        "surer_given": share([surer for _, given, surer, _ in rows if given]),
        "left": sum(n[1] for *_, n in rows) / sum(n[0] for *_, n in rows),
        "samples": len(rows),
    }  # fmt: skip


@pytest.mark.parametrize("fusion", ["concat", "sum", "gated", "late"])
def test_as_a_loop_over_samples_finds(fusion: str) -> None:
    model, batch = model_of(fusion), batch_for(3)
    found = suppression(model, method_of(model), batch)
    assert list(found) == ["a", "v"]
    for name, own in found.items():
        expected = one_by_one(model, batch, name)
        if fusion not in ("concat", "sum"):  # the fused logits are no sum of what each alone gives
            expected |= dict.fromkeys(("positive", "larger_given", "larger_otherwise", "surer_given"))
        assert own.__dict__ == pytest.approx(expected)
        assert 0 < own.left != 1


@pytest.mark.parametrize("fusion", ["concat", "matmul", "late"])
def test_maps_and_batch_norm_as_a_loop_over_samples(fusion: str) -> None:
    """In eval mode: no sample touches another's gradient, though a batch norm stands between."""
    model, batch = model_of(fusion, maps=True), batch_for(3, maps=True, samples=12)
    found = suppression(model, method_of(model), batch)
    for name, own in found.items():
        expected = one_by_one(model, batch, name)
        assert (own.larger, own.left) == pytest.approx((expected["larger"], expected["left"]))
        assert own.positive is None


def test_the_closed_form_of_concatenation() -> None:
    """g_m = Σ_k (p_k - 1[k = y]) W_k: every row of the head counts, not that of the true class alone."""
    k = 4
    model, batch = model_of("concat", k), batch_for(k)
    head = model.fusion.head.out
    z = {name: x.detach().double() for name, x in model.encode(batch.inputs).items()}
    weights = dict(zip(("a", "v"), head.weight.detach().double().split(5, 1), strict=True))
    bias, wanted = head.bias.detach().double(), F.one_hot(batch.labels, k).double()
    parts = {name: z[name] @ weights[name].T for name in z}
    together = (parts["a"] + parts["v"] + bias).softmax(1) - wanted
    found = suppression(model, method_of(model), batch)
    for name in z:
        alone = ((parts[name] + bias).softmax(1) - wanted) @ weights[name]
        joint = together @ weights[name]
        assert found[name].larger == float((alone.norm(dim=1) > joint.norm(dim=1)).double().mean())
        assert found[name].left == pytest.approx(float(joint.norm(dim=1).mean() / alone.norm(dim=1).mean()))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(2, 6), st.sampled_from([0.2, 1.0, 5.0, 15.0]), st.sampled_from(["concat", "sum"])
)
def test_where_the_others_favour_the_truth_it_is_surer(seed: int, k: int, scale: float, fusion: str) -> None:
    """Exactly 1, however sure both are already; with two classes the gradient is smaller, too."""
    model, batch = model_of(fusion, k, seed=seed, scale=scale), batch_for(k, seed=seed)
    for own in suppression(model, method_of(model), batch).values():
        assert own.positive is not None
        if own.positive:
            assert own.surer_given == 1
            assert own.larger_given is not None
            if k == 2 and scale < 10:  # of samples that are wrong beyond doubt both gradients are 1 up to rounding
                assert own.larger_given == 1
        if k == 2 and own.larger_otherwise is not None:
            assert own.larger_otherwise == 0


def test_a_condition_that_no_sample_meets_is_no_share() -> None:
    model, batch = model_of("concat"), batch_for(3)
    with torch.no_grad():
        model.fusion.head.out.weight[:, 5:] = 0  # v says nothing: its contribution favours none
    own = suppression(model, method_of(model), batch)["a"]
    assert (own.positive, own.larger_given, own.surer_given) == (0, None, None)
    assert own.left == pytest.approx(1)


def test_nothing_to_take_a_ratio_of() -> None:
    model, batch = model_of("concat"), batch_for(3)
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            parameter.zero_()
    assert {own.left for own in suppression(model, method_of(model), batch).values()} == {1.0}


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_the_model_is_as_it_was(maps: bool, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights and buffers to the bit, in the same tensors, with the gradients that lay there, frozen or not."""
    if large:
        monkeypatch.setattr(routed_gradients, "LARGE", 0)
    model, batch = model_of("concat", maps=maps), batch_for(3, maps=maps)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    model.encoders.requires_grad_(False)
    before = {name: (value, value.clone()) for name, value in model.state_dict(keep_vars=True).items()}
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    asked = {name: p.requires_grad for name, p in model.named_parameters()}
    found = suppression(model, method_of(model), batch)
    after: dict[str, Any] = model.state_dict(keep_vars=True)
    for name, (tensor, value) in before.items():
        assert after[name] is tensor, name  # others hold on to the running statistics of its batch norms
        assert after[name].dtype == value.dtype, name
        assert torch.equal(after[name], value), name
    assert asked == {name: p.requires_grad for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        assert p.grad is not None
        assert p.grad.dtype == torch.float32
        assert torch.equal(p.grad, grads[name]), name
    assert found["a"].samples == 40


def test_one_modality_has_no_others() -> None:
    model = fusion_classifier(n_classes=3, shapes=SHAPES, modalities=["a"], encoder={"kind": "mlp", "hidden": [5]})
    assert suppression(model.eval(), method_of(model), batch_for(3)) == {}


def test_no_gradient_of_chance() -> None:
    """A gate's own heads that nothing trains: what comes through them says nothing."""
    model = model_of("gated")
    method = JointFusion(modalities=("a", "v"), ignore_label=-1, trains_unimodal=False, clip="joint")
    assert suppression(model, method, batch_for(3)) == {}


def test_for_the_history() -> None:
    model, batch = model_of("gated"), batch_for(3)
    told = as_history(suppression(model, method_of(model), batch))
    assert told["a"]["positive"] is None
    assert told["a"]["samples"] == 40
    assert told["a"]["left"] == round(told["a"]["left"], 6)
