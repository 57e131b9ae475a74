"""Classifiers of several modalities: their encoders, initial weights, names of modules, and numbers of parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmablate.models.fusion.building import (
    contrastive_encoders,
    fusion_classifier,
    map_fusion_classifier,
    n_parameters,
)
from mmablate.models.fusion.encoders import ResNetEncoder, vector_encoder
from mmablate.models.fusion.layers import by_modality, module_key
from mmablate.models.fusion.maps import MAP_FUSIONS
from mmablate.models.fusion.vectors import VECTOR_FUSIONS
from mmablate.training.building import initialise

TWO = {"audio": (5,), "video": (2, 3)}
MLP = {"kind": "mlp", "hidden": (4,)}
OF_TWO = ("gated", "film", "bilinear")
PICTURES = {"lidar": (4, 8, 8), "rgb": (3, 8, 8)}
SMALL = {"widths": (3, 4), "hidden": 6}


def batch(shapes, n=7):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(n, *shape, generator=generator) for name, shape in shapes.items()}


# --- encoders -----------------------------------------------------------------------------------------------


def test_the_published_backbones_have_the_published_parameters():
    with torch.device("meta"):
        assert n_parameters(ResNetEncoder(shape=(1, 257, 188))) == 11_170_240
        assert n_parameters(ResNetEncoder(shape=(3, 1, 224, 224))) == 11_176_512
        model = fusion_classifier(n_classes=6, shapes={"audio": (1, 257, 188), "video": (3, 1, 224, 224)})
        assert n_parameters(model) == 11_170_240 + 11_176_512 + 1024 * 6 + 6
        hundred = fusion_classifier(
            n_classes=6, shapes={"audio": (1, 257, 188), "video": (3, 1, 224, 224)}, fusion="bilinear"
        )
        assert sum(p.numel() for p in hundred.parts()["fusion"]) == 512**3 + 512 + 512 * 6 + 6


@pytest.mark.parametrize("options", [{"kind": "resnet18", "widths": (4, 6), "depths": (1, 1)}, {"kind": "conv"}])
def test_the_frames_of_a_clip_are_seen_one_by_one_and_averaged(options):
    encoder = vector_encoder(options, (3, 4, 16, 20)).eval()
    clip = torch.randn(2, 3, 4, 16, 20)
    frames = torch.stack([encoder(clip[:, :, t]) for t in range(4)]).mean(0)
    torch.testing.assert_close(encoder(clip), frames, rtol=1e-5, atol=1e-6)


def test_weights_of_torchvisions_network_fit_by_name():
    encoder = ResNetEncoder(shape=(3, 32, 32), widths=(4, 6), depths=(1, 1))
    theirs = {"conv1.weight": torch.ones(4, 3, 7, 7), "layer2.0.downsample.0.weight": torch.ones(6, 4, 1, 1)}
    assert set(encoder.own_names(theirs)) <= set(encoder.state_dict())


@pytest.mark.parametrize("edge", [1, 2, 7, 8])
def test_both_kinds_of_down_sampling_give_maps_of_one_size(edge):
    models = [
        map_fusion_classifier(n_classes=2, shapes={"a": (1, edge, edge)}, downsampling=kind, **SMALL)
        for kind in ("max", "strided")
    ]
    shapes = {tuple(model.eval().encode(batch({"a": (1, edge, edge)}))["a"].shape[1:]) for model in models}
    assert shapes == {models[0].encoders["a"].map_shape}


def test_strided_convolutions_cost_about_a_third_more():
    shapes = {"lidar": (4, 64, 64), "rgb": (3, 64, 64)}
    with torch.device("meta"):
        pooled, strided = (
            n_parameters(map_fusion_classifier(n_classes=2, shapes=shapes, downsampling=d)) for d in ("max", "strided")
        )
    assert 1.30 < strided / pooled < 1.36


def test_a_modality_may_have_an_encoder_of_its_own():
    model = fusion_classifier(n_classes=2, shapes=TWO, encoder=MLP, encoders={"video": {"kind": "identity"}})
    assert {name: z.shape[1] for name, z in model(batch(TWO)).features.items()} == {"audio": 4, "video": 6}


# --- weights and names --------------------------------------------------------------------------------------


def initial(model):
    initialise(model, seed=3, role="student")
    return model.state_dict()


def of_encoders(weights):
    return {name: value for name, value in weights.items() if name.startswith("encoders.")}


def test_models_with_the_same_encoders_begin_with_the_same_encoders():
    shapes = {"audio": (1, 16, 16), "video": (3, 2, 16, 16)}
    encoder = {"kind": "resnet18", "widths": (2, 3), "depths": (1, 1)}
    models = [
        *(fusion_classifier(n_classes=3, shapes=shapes, encoder=encoder, fusion=f, experts=2) for f in VECTOR_FUSIONS),
        contrastive_encoders(shapes=shapes, encoder=encoder),
        fusion_classifier(n_classes=3, shapes={"audio": (1, 16, 16)}, encoder=encoder),
    ]
    first, *others = [initial(model) for model in models]
    names = set(of_encoders(first))
    assert any(name.endswith("running_var") for name in names)
    for other in others:
        shared = set(of_encoders(other))
        assert shared == names or shared == {name for name in names if name.startswith("encoders.audio.")}
        assert all(torch.equal(first[name], other[name]) for name in shared)
    assert torch.equal(first["experts.audio.embed.weight"], others[0]["experts.audio.embed.weight"])


def test_encoders_of_maps_begin_alike_and_take_what_contrastive_pre_training_gave():
    models = [map_fusion_classifier(n_classes=3, shapes=PICTURES, fusion=f, **SMALL) for f in MAP_FUSIONS]
    pair = contrastive_encoders(shapes=PICTURES, encoder={"kind": "conv", "widths": (3, 4)}, dim=5)
    first, *others = [of_encoders(initial(model)) for model in (*models, pair)]
    for other in others:
        assert first.keys() == other.keys()
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_initial_weights_as_published():
    model = fusion_classifier(n_classes=40, shapes={"audio": (1, 32, 32)}, encoder={"kind": "resnet18"})
    initialise(model, seed=0, role="student")
    conv = model.encoders["audio"].stages["layer4"][0].conv2.weight
    assert conv.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    head = model.fusion.head.out
    assert head.weight.std().item() == pytest.approx((2 / (512 + 40)) ** 0.5, rel=0.03)
    assert not head.bias.any()
    norm = model.encoders["audio"].stages["stem"][1]
    assert bool((norm.weight == 1).all())
    assert not norm.bias.any()


@pytest.mark.parametrize("modality", ["type", "a.b", "values", "training", "_modules", "a%2eb", "", "0", "left eye"])
def test_modalities_may_be_called_anything(modality):
    model = fusion_classifier(n_classes=2, shapes={modality: (3,), "other": (2,)}, encoder=MLP, fusion="gated")
    fused = model(batch({modality: (3,), "other": (2,)}), unimodal=True)
    assert set(fused.unimodal) == {modality, "other"}
    assert f"encoder.{modality}" in model.parts()


def test_no_two_modalities_share_a_module():
    names = ["a.b", "a%2eb", "a%252eb", "a%b", "type", "type%", "type%25", "", "%", "%25"]
    assert len({module_key(name) for name in names}) == len(names)
    assert len(by_modality({name: nn.Identity() for name in names})) == len(names)


@pytest.mark.parametrize("fusion", VECTOR_FUSIONS)
@pytest.mark.parametrize("unimodal", ["principled", "released"])
def test_every_parameter_is_in_exactly_one_part(fusion, unimodal):
    model = fusion_classifier(n_classes=3, shapes=TWO, encoder=MLP, fusion=fusion, unimodal=unimodal, experts=2)
    parts = model.parts()
    assert set(parts) == {"encoder.audio", "encoder.video", "fusion", "own_heads", "experts"}
    listed = [id(parameter) for part in parts.values() for parameter in part]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters())
    empty = {name for name, part in parts.items() if not part}
    own = fusion == "late" or (fusion in OF_TWO and unimodal == "principled")
    assert empty == ({"fusion"} if fusion == "late" else set() if own else {"own_heads"})


def test_running_statistics_are_part_of_the_state_and_count_a_batch_once():
    model = map_fusion_classifier(n_classes=2, shapes=PICTURES, fusion="late", **SMALL)
    initialise(model, seed=0, role="student")
    twin = map_fusion_classifier(n_classes=2, shapes=PICTURES, fusion="late", **SMALL)
    twin.load_state_dict(model.state_dict())
    inputs = batch(PICTURES)
    model(inputs, unimodal=True, truncate=True, detach_head=True)
    twin(inputs)
    ours, theirs = model.state_dict(), twin.state_dict()
    counted = [name for name in ours if name.endswith("num_batches_tracked")]
    assert len(counted) == 6
    assert all(ours[name].item() == 1 for name in counted)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(part.track_running_stats for part in model.modules() if isinstance(part, nn.BatchNorm2d))


# --- sizes --------------------------------------------------------------------------------------------------


def test_parameter_matched_vectors():
    shapes = {"audio": (1, 257, 188), "video": (3, 1, 224, 224)}
    with torch.device("meta"):
        target = n_parameters(fusion_classifier(n_classes=6, shapes=shapes))
        for fusion in VECTOR_FUSIONS:
            model = fusion_classifier(n_classes=6, shapes=shapes, fusion=fusion, match={"fusion": "concat"})
            assert abs(n_parameters(model) - target) <= 0.02 * target


@pytest.mark.parametrize("fusion", [name for name in VECTOR_FUSIONS if name != "bilinear"])
def test_parameter_matched_small_vectors(fusion):
    shapes = {"pixels": (240,), "shapes": (216,)}
    encoder = {"kind": "mlp", "hidden": (32,)}
    with torch.device("meta"):
        target = n_parameters(fusion_classifier(n_classes=10, shapes=shapes, encoder=encoder, hidden=24))
        for match in ({"fusion": "concat"}, {"fusion": "concat", "hidden": 24}):
            model = fusion_classifier(
                n_classes=10, shapes=shapes, encoder=encoder, fusion=fusion, hidden=24, match=match, experts=3
            )
            experts = sum(parameter.numel() for parameter in model.parts()["experts"])
            assert abs(n_parameters(model) - experts - target) <= 0.02 * target


def test_a_model_that_matches_as_it_is_stays_as_it_is():
    shapes = {"pixels": (240,), "shapes": (216,)}
    model = fusion_classifier(n_classes=10, shapes=shapes, encoder=MLP, fusion="sum", match={"fusion": "concat"})
    assert all(branch.hidden is None for branch in model.fusion.branches.values())


@pytest.mark.parametrize("downsampling", ["max", "strided"])
@pytest.mark.parametrize("fusion", MAP_FUSIONS)
def test_parameter_matched_maps(fusion, downsampling):
    shapes = {"lidar": (4, 64, 64), "rgb": (3, 64, 64)}
    with torch.device("meta"):
        for own in ({}, {"widths": (4, 8, 16), "hidden": 48}):
            target = n_parameters(map_fusion_classifier(n_classes=2, shapes=shapes, **own))
            match = {"fusion": "concat", "downsampling": "max"}
            model = map_fusion_classifier(
                n_classes=2, shapes=shapes, fusion=fusion, downsampling=downsampling, match=match, **own
            )
            assert abs(n_parameters(model) - target) <= 0.02 * target
