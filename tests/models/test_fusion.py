"""Classifiers of several modalities: values against numpy, zeroed features, names, sizes, faults."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmablate.models.fusion.building import (
    contrastive_encoders,
    fusion_classifier,
    map_fusion_classifier,
)
from mmablate.models.fusion.maps import MAP_FUSIONS, map_fusion
from mmablate.models.fusion.vectors import VECTOR_FUSIONS, vector_fusion
from mmablate.training.building import initialise

TWO = {"audio": (5,), "video": (2, 3)}
THREE = {"audio": (5,), "text": (4,), "video": (2, 3)}
MLP = {"kind": "mlp", "hidden": (4,)}
OF_ANY = ("concat", "sum", "late")
OF_TWO = ("gated", "film", "bilinear")
PICTURES = {"lidar": (4, 8, 8), "rgb": (3, 8, 8)}
SMALL = {"widths": (3, 4), "hidden": 6}


def batch(shapes, n=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(n, *shape, generator=generator) for name, shape in shapes.items()}


def double(module, seed=0):
    """The module in float64, every parameter drawn, so that biases and norms are not at 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def vectors(widths, n=6, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(n, width, generator=generator, dtype=torch.float64) for name, width in widths.items()}


def affine(layer, x):
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# --- what a batch comes to ----------------------------------------------------------------------------------


@pytest.mark.parametrize("unimodal", ["principled", "released"])
@pytest.mark.parametrize(
    ("fusion", "shapes"),
    [(fusion, shapes) for fusion in VECTOR_FUSIONS for shapes in (TWO, THREE) if shapes is TWO or fusion in OF_ANY],
)
def test_shapes_of_what_vectors_come_to(fusion, shapes, unimodal):
    model = fusion_classifier(n_classes=3, shapes=shapes, encoder=MLP, fusion=fusion, unimodal=unimodal, experts=2)
    assert model.modalities == tuple(shapes)
    fused = model(batch(shapes))
    assert fused.logits.shape == (7, 3)
    assert {name: tuple(z.shape) for name, z in fused.features.items()} == dict.fromkeys(shapes, (7, 4))
    assert fused.unimodal == {}
    assert fused.experts == {}
    fused = model(batch(shapes), unimodal=True, truncate=True, detach_head=True, experts=True)
    assert {name: tuple(z.shape) for name, z in fused.unimodal.items()} == dict.fromkeys(shapes, (7, 3))
    told = {name: (tuple(u.shape), tuple(z.shape)) for name, (u, z) in fused.experts.items()}
    assert told == dict.fromkeys(shapes, ((7, 2), (7, 3)))


@pytest.mark.parametrize("downsampling", ["max", "strided"])
@pytest.mark.parametrize(
    ("fusion", "n_modalities"),
    [(fusion, n) for fusion in MAP_FUSIONS for n in (2, 3) if n == 2 or not fusion.startswith("matmul")],
)
def test_shapes_of_what_maps_come_to(fusion, n_modalities, downsampling):
    shapes = dict(list({**PICTURES, "depth": (1, 8, 8)}.items())[:n_modalities])
    model = map_fusion_classifier(n_classes=3, shapes=shapes, fusion=fusion, downsampling=downsampling, **SMALL)
    features = model.encode(batch(shapes))
    assert {tuple(z.shape) for z in features.values()} == {(7, 4, 2, 2)}
    fused = model(batch(shapes), unimodal=True)
    assert fused.logits.shape == (7, 3)
    assert {name: tuple(z.shape) for name, z in fused.features.items()} == dict.fromkeys(shapes, (7, 4))
    assert {name: tuple(z.shape) for name, z in fused.unimodal.items()} == dict.fromkeys(shapes, (7, 3))


def test_one_modality_with_concat_is_a_plain_network():
    model = fusion_classifier(n_classes=3, shapes={"audio": (5,)}, encoder=MLP)
    fused = model(batch({"audio": (5,)}), unimodal=True)
    torch.testing.assert_close(fused.unimodal["audio"], fused.logits, rtol=0, atol=0)
    torch.testing.assert_close(fused.logits, model.fusion.head.out(fused.features["audio"]), rtol=0, atol=0)


def test_the_model_sees_what_it_names_in_that_order():
    model = fusion_classifier(n_classes=2, shapes=THREE, modalities=("video", "audio"), encoder=MLP)
    assert model.modalities == ("video", "audio")
    assert set(model(batch(THREE)).features) == {"video", "audio"}


# --- values against numpy -----------------------------------------------------------------------------------


def test_gated_fusion_by_hand():
    fusion, z = double(vector_fusion("gated", {"a": 4, "v": 5}, 3)), vectors({"a": 4, "v": 5})
    x, y = z["a"].numpy(), z["v"].numpy()
    expected = affine(fusion.fc_out, sigmoid(affine(fusion.fc_x, x)) * affine(fusion.fc_y, y))
    np.testing.assert_allclose(fusion(z).detach().numpy(), expected, rtol=1e-12)
    assert fusion.fc_x.out_features == 5
    released = double(vector_fusion("gated", {"a": 4, "v": 5}, 3, hidden=2, unimodal="released"))
    h = affine(released.fc_y, y)
    expected = affine(released.fc_out, sigmoid(h) * h)
    np.testing.assert_allclose(released.unimodal(z, "v").detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("hidden", [None, 2])
def test_film_is_affine_in_what_it_modulates_and_not_in_what_conditions_it_twice(hidden):
    widths = {"a": 4, "v": 5}
    fusion, z, w = double(vector_fusion("film", widths, 3, hidden=hidden)), vectors(widths), vectors(widths, seed=4)

    def logits(v):
        return fusion({"a": z["a"], "v": v}).detach()

    middle = logits(0.3 * z["v"] + 0.7 * w["v"])
    torch.testing.assert_close(middle, 0.3 * logits(z["v"]) + 0.7 * logits(w["v"]), rtol=1e-10, atol=1e-10)
    x, y = z["a"].numpy(), z["v"].numpy()
    gamma, beta = np.split(affine(fusion.fc_x, x), 2, axis=1)
    y = y if hidden is None else affine(fusion.fc_y, y)
    np.testing.assert_allclose(fusion(z).detach().numpy(), affine(fusion.fc_out, gamma * y + beta), rtol=1e-10)


def test_the_second_modality_conditions_where_it_is_told_to():
    widths = {"a": 4, "v": 5}
    fusion = double(vector_fusion("film", widths, 3, conditions="v"))
    assert (fusion.fc_x.in_features, fusion.fc_x.out_features, fusion.fc_out.in_features) == (5, 8, 4)
    other, z = double(vector_fusion("film", {"v": 5, "a": 4}, 3)), vectors(widths)
    torch.testing.assert_close(fusion(z), other(z))


def test_bilinear_fusion_is_the_outer_product():
    widths = {"a": 3, "v": 4}
    fusion, z = double(vector_fusion("bilinear", widths, 2, hidden=5)), vectors(widths)
    outer = np.stack([np.outer(x, y).ravel() for x, y in zip(z["a"].numpy(), z["v"].numpy(), strict=True)])
    np.testing.assert_allclose(fusion(z).detach().numpy(), affine(fusion.fc_out, affine(fusion.fc, outer)), rtol=1e-10)


@pytest.mark.parametrize("name", ["film", "bilinear"])
def test_released_film_and_bilinear_fuse_a_modality_with_itself(name):
    widths = {"a": 4, "v": 4}
    fusion, z = double(vector_fusion(name, widths, 3, unimodal="released")), vectors(widths)
    torch.testing.assert_close(fusion.unimodal(z, "v"), fusion({"a": z["v"], "v": z["v"]}), rtol=0, atol=0)
    assert len(fusion.own_heads) == 0


@pytest.mark.parametrize("hidden", [None, 3])
@pytest.mark.parametrize("name", ["concat", "sum"])
def test_one_modality_alone_is_the_fusion_of_literal_zeros(name, hidden):
    widths = {"a": 4, "t": 2, "v": 5}
    fusion, z = double(vector_fusion(name, widths, 3, hidden=hidden)), vectors(widths)
    alone = fusion({"a": torch.zeros_like(z["a"]), "t": z["t"], "v": torch.zeros_like(z["v"])})
    torch.testing.assert_close(fusion.unimodal(z, "t"), alone, rtol=0, atol=0)


def test_sum_keeps_all_biases_and_the_released_one_its_own():
    widths = {"a": 4, "v": 5}
    z = vectors(widths)
    principled, released = (double(vector_fusion("sum", widths, 3, unimodal=u)) for u in ("principled", "released"))
    both = released.branches["v"].out.bias
    torch.testing.assert_close(principled.unimodal(z, "a"), released.unimodal(z, "a") + both)
    own = affine(released.branches["a"].out, z["a"].numpy())
    np.testing.assert_allclose(released.unimodal(z, "a").detach().numpy(), own, rtol=1e-12)


@pytest.mark.parametrize("unimodal", ["principled", "released"])
@pytest.mark.parametrize(
    ("fusion", "hidden"), [*((fusion, hidden) for fusion in VECTOR_FUSIONS for hidden in (None, 3))]
)
def test_additive_is_what_adds_up(fusion, hidden, unimodal):
    """What a change of one modality does to the logits does not depend on the other, and the unimodal path tells it."""
    shapes = {"audio": (5,), "video": (5,)}
    model = double(
        fusion_classifier(n_classes=3, shapes=shapes, encoder=MLP, fusion=fusion, hidden=hidden, unimodal=unimodal)
    )
    one, two = ({name: x.double() for name, x in batch(shapes, seed=s).items()} for s in (0, 1))
    before, after = model(one, unimodal=True), model({**one, "video": two["video"]}, unimodal=True)
    other = model({**two, "audio": two["audio"]}).logits - model({**two, "video": one["video"]}).logits
    alone = after.unimodal["video"] - before.unimodal["video"]
    adds_up = all(torch.allclose(after.logits - before.logits, change) for change in (other, alone))
    assert before.additive == model.additive == adds_up


@pytest.mark.parametrize("hidden", [None, 3])
def test_late_fusion_is_the_mean_of_what_each_says(hidden):
    widths = {"a": 4, "t": 2, "v": 5}
    fusion, z = double(vector_fusion("late", widths, 3, hidden=hidden)), vectors(widths)
    mean = sum(fusion.unimodal(z, name) for name in widths) / 3
    torch.testing.assert_close(fusion(z), mean)
    maps = double(map_fusion("late", {"a": (2, 4, 4), "v": (3, 2, 6)}, 3, hidden=4)).eval()
    z = {"a": torch.randn(5, 2, 4, 4).double(), "v": torch.randn(5, 3, 2, 6).double()}
    torch.testing.assert_close(maps(z), (maps.unimodal(z, "a") + maps.unimodal(z, "v")) / 2)


@pytest.mark.parametrize("join", ["concat", "add", "matmul", "matmul_unscaled", "hadamard"])
def test_what_the_embedder_sees_of_two_maps(join):
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 5, 3, 4, 4))
    fusion = map_fusion(join, {"a": (3, 4, 4), "v": (3, 4, 4)}, 2, hidden=4).double()
    caught = []
    fusion.embedder.register_forward_pre_hook(lambda module, args: caught.append(args[0].numpy()))
    fusion({"a": torch.from_numpy(x), "v": torch.from_numpy(y)})
    expected = {
        "concat": np.concatenate([x, y], 1),
        "add": x + y,
        "matmul": np.einsum("bchk,bckw->bchw", x, y) / 2,
        "matmul_unscaled": np.einsum("bchk,bckw->bchw", x, y),
        "hadamard": x * y,
    }[join]
    np.testing.assert_allclose(caught[0], expected, rtol=1e-12, atol=1e-14)


def test_the_product_of_maps_keeps_their_variance():
    x, y = torch.randn(2, 40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    fusion = map_fusion("matmul", {"a": (3, 32, 32), "v": (3, 32, 32)}, 2, hidden=4)
    caught = []
    fusion.embedder.register_forward_pre_hook(lambda module, args: caught.append(args[0]))
    fusion({"a": x, "v": y})
    assert 0.95 < caught[0].var().item() < 1.05


# --- faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shapes": THREE, "fusion": "gated"}, "gated joins exactly two modalities, got audio, text, video"),
        ({"shapes": {"audio": (5,)}, "fusion": "film"}, "film joins exactly two modalities, got audio"),
        ({"fusion": "sideways"}, "no fusion of vectors is called 'sideways'"),
        ({"unimodal": "both"}, "principled or released, got 'both'"),
        ({"modalities": ("audio", "smell")}, "the data have no 'smell' \\(there are: audio, video\\)"),
        ({"modalities": ("audio", "audio")}, "name each once"),
        ({"modalities": ("audio",), "encoders": {"video": MLP}}, "sees no 'video'"),
        ({"fusion": "film", "conditions": "smell"}, "'smell' is none of the modalities"),
        ({"encoder": {"kind": "resnet18"}}, "modality audio: encoder resnet18 takes samples"),
        ({"encoder": {"kind": "nose"}}, "no encoder is of kind 'nose'"),
        ({"shapes": {}}, "at least one modality"),
        (
            {"fusion": "bilinear", "unimodal": "released", "encoders": {"video": {"kind": "linear", "dim": 3}}},
            "vectors must be of one width",
        ),
        ({"fusion": "bilinear", "match": {"fusion": "concat"}, "encoder": {"kind": "mlp", "hidden": (40,)}}, "match: "),
    ],
)
def test_faults_of_a_fusion_of_vectors(options, told):
    with pytest.raises(ValueError, match=told):
        fusion_classifier(n_classes=2, **{"shapes": TWO, "encoder": MLP, **options})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fusion": "matmul", "shapes": {**PICTURES, "depth": (1, 8, 8)}}, "matmul joins exactly two"),
        ({"fusion": "matmul", "shapes": {"a": (1, 8, 4), "b": (1, 8, 4)}}, "square feature maps"),
        ({"fusion": "add", "shapes": {"a": (1, 8, 8), "b": (1, 12, 8)}}, "maps of one shape"),
        ({"fusion": "sideways"}, "no fusion of maps is called 'sideways'"),
        ({"shapes": {"a": (5,)}}, "samples \\(C, H, W\\)"),
        ({"norm": "layer"}, "norm must be batch or none"),
        ({"downsampling": "none"}, "max or strided"),
        ({"shapes": {}, "fusion": "late"}, "at least one modality"),
        ({"match": {"hidden": 1, "widths": (2, 2)}}, "match: no hidden width"),
    ],
)
def test_faults_of_a_fusion_of_maps(options, told):
    with pytest.raises(ValueError, match=told):
        map_fusion_classifier(n_classes=2, **{"shapes": PICTURES, **SMALL, **options})


def test_experts_must_be_there_to_be_asked():
    with pytest.raises(ValueError, match="built without experts"):
        fusion_classifier(n_classes=2, shapes=TWO, encoder=MLP)(batch(TWO), experts=True)


# --- contrastive pre-training -------------------------------------------------------------------------------


def test_contrastive_encoders():
    model = contrastive_encoders(shapes=THREE, encoder=MLP, dim=5)
    initialise(model, seed=0, role="student")
    projected, scale = model(batch(THREE))
    assert {name: tuple(z.shape) for name, z in projected.items()} == dict.fromkeys(THREE, (7, 5))
    assert scale.item() == pytest.approx(np.log(1 / 0.07))
    assert scale is not model.log_scale  # DistributedDataParallel takes no parameter as an output
    scale.backward()
    assert model.log_scale.grad == 1
    assert all(layer.bias is None for layer in model.projections.values())
    with pytest.raises(ValueError, match="at least two modalities, got audio"):
        contrastive_encoders(shapes=TWO, modalities=("audio",), encoder=MLP)
