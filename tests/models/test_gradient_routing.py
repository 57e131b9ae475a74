"""Which parameter gets which gradient, to the bit: truncated features, detached heads, DGL's two passes, experts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from mmablate.models.fusion.building import fusion_classifier, map_fusion_classifier
from mmablate.models.fusion.maps import MAP_FUSIONS
from mmablate.models.fusion.vectors import VECTOR_FUSIONS
from mmablate.training.building import initialise

TWO = {"audio": (1, 8, 8), "video": (3, 8, 8)}
THREE = {**TWO, "depth": (2, 8, 8)}
CONV = {"kind": "conv", "widths": (3, 4)}
LABELS = torch.tensor([0, 2, 1, 1, 0, 2, 0])

VARIANTS = [
    *(("vectors", fusion, variant, None) for fusion in VECTOR_FUSIONS for variant in ("principled", "released")),
    *(("vectors", fusion, "principled", 5) for fusion in VECTOR_FUSIONS),
    *(("three", fusion, "principled", None) for fusion in ("concat", "sum", "late")),
    *(("maps", fusion, "principled", 5) for fusion in MAP_FUSIONS),
]
every_fusion = pytest.mark.parametrize(("kind", "fusion", "variant", "hidden"), VARIANTS)


def model_of(kind, fusion, variant, hidden, experts=None):
    shapes = THREE if kind == "three" else TWO
    if kind == "maps":
        model = map_fusion_classifier(
            n_classes=3, shapes=shapes, fusion=fusion, hidden=hidden, widths=(3, 4), experts=experts
        )
    else:
        model = fusion_classifier(
            n_classes=3, shapes=shapes, fusion=fusion, unimodal=variant, hidden=hidden, encoder=CONV, experts=experts
        )
    initialise(model, seed=1, role="student")
    with torch.no_grad():  # biases of zero would hide what they do
        generator = torch.Generator().manual_seed(9)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def inputs_of(model):
    generator = torch.Generator().manual_seed(2)
    return {name: torch.randn(7, *THREE[name], generator=generator) for name in model.modalities}


def gradients(model):
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def reached(model):
    """Parts of which every parameter has a gradient that is not zero, parts of which none has; the rest are told."""
    told = {}
    for part, parameters in model.parts().items():
        some = {parameter.grad is not None and bool(parameter.grad.any()) for parameter in parameters}
        told[part] = some.pop() if len(some) == 1 else some
    return told


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        other = theirs[name]
        assert (gradient is None) == (other is None), name
        assert gradient is None or torch.equal(gradient, other), name


@every_fusion
def test_one_backward_is_the_published_two(kind, fusion, variant, hidden):
    """alpha sum L_m backward through everything, the fusion's gradients thrown away, then L_multi on detached z."""
    alpha = 4.0
    one, two = (model_of(kind, fusion, variant, hidden) for _ in range(2))
    inputs = inputs_of(one)

    fused = one(inputs, unimodal=True, truncate=True, detach_head=True)
    unimodal = sum(F.cross_entropy(logits, LABELS) for logits in fused.unimodal.values())
    (alpha * unimodal + F.cross_entropy(fused.logits, LABELS)).backward()

    features = two.encode(inputs)
    logits = {name: two.unimodal_logits(features, name) for name in two.modalities}
    (alpha * sum(F.cross_entropy(z, LABELS) for z in logits.values())).backward()
    for parameter in two.parts()["fusion"]:
        parameter.grad = None
    F.cross_entropy(two.fuse({name: z.detach() for name, z in features.items()}), LABELS).backward()

    assert_same(gradients(one), gradients(two))


@every_fusion
def test_truncated_the_encoders_get_nothing_of_the_multimodal_loss(kind, fusion, variant, hidden):
    model = model_of(kind, fusion, variant, hidden)
    F.cross_entropy(model(inputs_of(model), truncate=True).logits, LABELS).backward()
    told = reached(model)
    for name in model.modalities:
        assert all(parameter.grad is None for parameter in model.parts()[f"encoder.{name}"])
    heads = "own_heads" if fusion == "late" else "fusion"
    assert told[heads] is True  # every parameter: both input layers of a gate too
    if fusion != "late":
        assert all(parameter.grad is None for parameter in model.parts()["own_heads"])
    model.zero_grad()
    F.cross_entropy(model(inputs_of(model)).logits, LABELS).backward()
    assert all(reached(model)[f"encoder.{name}"] is True for name in model.modalities)


@every_fusion
def test_detached_a_shared_head_gets_nothing_of_the_unimodal_losses(kind, fusion, variant, hidden):
    model = model_of(kind, fusion, variant, hidden)
    for name in model.modalities:
        model.zero_grad()
        fused = model(inputs_of(model), unimodal=True, truncate=True, detach_head=True)
        F.cross_entropy(fused.unimodal[name], LABELS).backward()
        parts = model.parts()
        assert all(parameter.grad is None for parameter in parts["fusion"])
        trained = {id(parameter) for parameter in parts["own_heads"] if parameter.grad is not None}
        own = model.fusion.own_heads[name] if len(model.fusion.own_heads) else nn.Module()
        assert trained == {id(parameter) for parameter in own.parameters()}
        told = reached(model)
        assert {m: told[f"encoder.{m}"] for m in model.modalities} == {m: m == name for m in model.modalities}


def test_without_detaching_a_shared_head_learns_from_one_modality_alone():
    for fusion in ("concat", "sum"):
        model = model_of("vectors", fusion, "principled", None)
        F.cross_entropy(model(inputs_of(model), unimodal=True).unimodal["audio"], LABELS).backward()
        assert any(parameter.grad is not None for parameter in model.parts()["fusion"])


@every_fusion
def test_what_is_asked_beside_the_logits_changes_no_bit_of_them(kind, fusion, variant, hidden):
    plain, asked = model_of(kind, fusion, variant, hidden), model_of(kind, fusion, variant, hidden, experts=2)
    inputs = inputs_of(plain)
    logits = plain(inputs).logits
    fused = asked(inputs, unimodal=True, truncate=True, detach_head=True, experts=True)
    ours, theirs = plain.state_dict(), asked.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())  # running statistics too
    assert torch.equal(logits, fused.logits)


def test_experts_see_the_features_undetached_and_reach_their_encoder_alone():
    model = model_of("vectors", "concat", "principled", None, experts=2)
    fused = model(inputs_of(model), unimodal=True, truncate=True, detach_head=True, experts=True)
    u, logits = fused.experts["audio"]
    (F.cross_entropy(logits, LABELS) + u.square().mean()).backward()
    with_gradient = {name for name, gradient in gradients(model).items() if gradient is not None}
    assert {name.split(".")[0] + "." + name.split(".")[1] for name in with_gradient} == {
        "encoders.audio", "experts.audio"
    }  # fmt: skip


@every_fusion
def test_experts_that_weigh_nothing_change_no_gradient(kind, fusion, variant, hidden):
    with_experts, without = (model_of(kind, fusion, variant, hidden, experts=2) for _ in range(2))
    inputs = inputs_of(without)
    for model in (with_experts, without):
        asked = model is with_experts
        fused = model(inputs, unimodal=True, truncate=True, detach_head=True, experts=asked)
        loss = 2 * sum(F.cross_entropy(z, LABELS) for z in fused.unimodal.values())
        loss = loss + F.cross_entropy(fused.logits, LABELS)
        if asked:
            loss = loss + 0.0 * sum(F.cross_entropy(z, LABELS) for _, z in fused.experts.values())
        loss.backward()
    ours, theirs = gradients(with_experts), gradients(without)
    assert_same(
        {name: value for name, value in ours.items() if not name.startswith("experts.")},
        {name: value for name, value in theirs.items() if not name.startswith("experts.")},
    )


@every_fusion
def test_features_are_given_as_the_encoders_made_them(kind, fusion, variant, hidden):
    model = model_of(kind, fusion, variant, hidden)
    fused = model(inputs_of(model), truncate=True)
    assert all(z.requires_grad and z.ndim == 2 for z in fused.features.values())


@pytest.mark.parametrize("fusion", VECTOR_FUSIONS)
def test_stacked_models_get_the_gradients_of_each(fusion):
    """torch.func and vmap over the parameters of two models without batch norm, as a stacked group trains."""
    models = [
        fusion_classifier(n_classes=3, shapes=TWO, encoder={"kind": "mlp", "hidden": (4,)}, fusion=fusion)
        for _ in range(2)
    ]
    for seed, model in enumerate(models):
        initialise(model, seed=seed, role="student")
    inputs = inputs_of(models[0])

    def loss(weights):
        fused = functional_call(
            models[0], weights, (inputs,), {"unimodal": True, "truncate": True, "detach_head": True}
        )
        own = sum(F.cross_entropy(logits, LABELS) for logits in fused.unimodal.values())
        return 4 * own + F.cross_entropy(fused.logits, LABELS)

    stacked, _ = stack_module_state(models)
    together = vmap(grad(loss))(stacked)
    for index, model in enumerate(models):
        fused = model(inputs, unimodal=True, truncate=True, detach_head=True)
        own = sum(F.cross_entropy(logits, LABELS) for logits in fused.unimodal.values())
        (4 * own + F.cross_entropy(fused.logits, LABELS)).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(together[name][index], parameter.grad, rtol=1e-4, atol=1e-6)
