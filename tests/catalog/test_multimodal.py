"""Models of several modalities in the catalogue: options, faults told before anything is built, parameter counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.catalog import entries, find, load_target
from mmablate.catalog.multimodal_parameters import multimodal_parameters
from mmablate.catalog.parameters import n_parameters

TWO = ("audio", "video")
SHAPES = {"audio": (1, 20, 12), "depth": (2, 16, 16), "video": (3, 16, 16)}


def options_of(model, **given):
    return find("model", model).options(**given).model_dump(mode="json")


def built(model, options, n_classes, shapes, **extra):
    """Parameters of what the catalogue's target makes of the options; None where it cannot be made."""
    with torch.device("meta"):
        try:
            network = load_target(find("model", model))(n_classes=n_classes, shapes=shapes, **extra, **options)
        except ValueError as error:
            if "match" not in str(error):
                raise
            return None
    return sum(parameter.numel() for parameter in network.parameters())


width = st.integers(1, 6)
widths = st.lists(width, min_size=1, max_size=3)
hidden = st.none() | st.integers(1, 9)
ENCODERS = st.one_of(
    st.lists(st.tuples(width, st.integers(1, 2)), min_size=1, max_size=3).map(
        lambda some: {"kind": "resnet18", "widths": [w for w, _ in some], "depths": [d for _, d in some]}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("conv"),
            "widths": widths,
            "downsampling": st.sampled_from(["max", "strided"]),
            "norm": st.sampled_from(["batch", "none"]),
        }
    ),
    st.fixed_dictionaries({"kind": st.just("mlp"), "hidden": widths}),
    st.fixed_dictionaries({"kind": st.just("linear"), "dim": width}),
)
FUSIONS = st.fixed_dictionaries(
    {
        "encoder": ENCODERS,
        "encoders": st.dictionaries(st.sampled_from(TWO), ENCODERS, max_size=2),
        "fusion": st.sampled_from(["concat", "sum", "late", "gated", "film", "bilinear"]),
        "hidden": hidden,
        "conditions": st.sampled_from([None, *TWO]),
        "match": st.none() | st.fixed_dictionaries({"fusion": st.sampled_from(["concat", "gated"]), "hidden": hidden}),
        "modalities": st.sampled_from([TWO, TWO[::-1]]),
    }
)
MAPS = st.fixed_dictionaries(
    {
        "fusion": st.sampled_from(["late", "concat", "add", "hadamard"]),
        "downsampling": st.sampled_from(["max", "strided"]),
        "widths": widths,
        "norm": st.sampled_from(["batch", "none"]),
        "hidden": st.integers(1, 30),
        "match": st.none() | st.just({"fusion": "concat", "downsampling": "max"}),
    }
)


@settings(max_examples=25, deadline=None)
@given(given_options=FUSIONS, n_classes=st.integers(2, 5), experts=st.none() | width)
def test_parameters_of_fusions_of_vectors(given_options, n_classes, experts):
    options = options_of("fusion_classifier", **given_options)
    counted = multimodal_parameters("fusion_classifier", options, n_classes, SHAPES, experts=experts)
    assert counted == built("fusion_classifier", options, n_classes, SHAPES, experts=experts)


@settings(max_examples=15, deadline=None)
@given(given_options=MAPS, n_modalities=st.integers(1, 3), n_classes=st.integers(2, 5), experts=st.none() | width)
def test_parameters_of_fusions_of_maps(given_options, n_modalities, n_classes, experts):
    shapes = dict(list({"lidar": (4, 8, 8), "rgb": (3, 8, 8), "depth": (1, 8, 8)}.items())[:n_modalities])
    options = options_of("map_fusion_classifier", **given_options)
    counted = multimodal_parameters("map_fusion_classifier", options, n_classes, shapes, experts=experts)
    assert counted == built("map_fusion_classifier", options, n_classes, shapes, experts=experts)


@settings(max_examples=20, deadline=None)
@given(encoder=ENCODERS, dim=width)
def test_parameters_of_contrastive_encoders(encoder, dim):
    options = options_of("contrastive_encoders", encoder=encoder, dim=dim)
    assert multimodal_parameters("contrastive_encoders", options, 2, SHAPES) == built(
        "contrastive_encoders", options, 2, SHAPES
    )


@pytest.mark.parametrize("fusion", ["concat", "sum", "late", "gated", "film", "bilinear"])
@pytest.mark.parametrize("match", [None, {"fusion": "concat"}])
def test_parameters_at_full_size(fusion, match):
    shapes = {"audio": (1, 257, 188), "video": (3, 1, 224, 224)}
    options = options_of("fusion_classifier", fusion=fusion, match=match)
    assert n_parameters("fusion_classifier", options, 6, shapes=shapes) == built(
        "fusion_classifier", options, 6, shapes
    )


@pytest.mark.parametrize("unimodal", ["principled", "released"])
def test_parameters_without_encoders_and_of_the_released_variant(unimodal):
    shapes = {"a": (4,), "v": (2, 2)}
    for fusion in ("sum", "gated", "bilinear"):
        options = options_of(
            "fusion_classifier", encoder={"kind": "identity"}, fusion=fusion, unimodal=unimodal, hidden=3
        )
        assert multimodal_parameters("fusion_classifier", options, 2, shapes) == built(
            "fusion_classifier", options, 2, shapes
        )


def test_parameters_hang_on_what_is_known():
    options = options_of("fusion_classifier")
    assert n_parameters("fusion_classifier", options, 2) is None
    assert multimodal_parameters("resnet18", options, 2, SHAPES) is None
    chosen = options_of("fusion_classifier", modalities=["audio", "smell"])
    assert multimodal_parameters("fusion_classifier", chosen, 2, SHAPES) is None


# --- options and faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given_options", "told"),
    [
        ("fusion_classifier", {"fusion": "matmul"}, "'concat', 'sum', 'gated'"),
        ("fusion_classifier", {"encoder": {"kind": "nose"}}, "'resnet18', 'conv', 'mlp', 'linear', 'identity'"),
        ("fusion_classifier", {"encoder": {"kind": "linear", "hidden": [3]}}, "hidden"),
        ("fusion_classifier", {"encoder": {"kind": "resnet18", "widths": [3]}}, "one entry a stage"),
        ("fusion_classifier", {"modalities": ["a", "a"]}, "name each once, got a, a"),
        ("fusion_classifier", {"modalities": []}, "at least 1 item"),
        ("fusion_classifier", {"match": {}}, "match must give at least one of fusion, hidden"),
        ("map_fusion_classifier", {"fusion": "gated"}, "'matmul'"),
        ("map_fusion_classifier", {"match": {"colour": "red"}}, "colour"),
        ("map_fusion_classifier", {"hidden": 0}, "greater than or equal to 1"),
        ("contrastive_encoders", {"fusion": "concat"}, "fusion"),
    ],
)
def test_options_that_do_not_exist(model, given_options, told):
    with pytest.raises(ValueError, match=told):
        find("model", model).options(**given_options)


@pytest.mark.parametrize(
    ("model", "given_options", "modalities", "told"),
    [
        ("fusion_classifier", {"fusion": "gated"}, TWO, []),
        ("fusion_classifier", {"fusion": "gated"}, ("a", "t", "v"), ["fusion: gated joins exactly two modalities, the"
            " model sees 3 (a, t, v)"]),
        ("fusion_classifier", {"fusion": "film", "modalities": ["v", "a"]}, ("a", "t", "v"), []),
        ("fusion_classifier", {"fusion": "bilinear", "modalities": ["v"]}, (*TWO, "v"), ["fusion: bilinear joins "
            "exactly two modalities, the model sees 1 (v)"]),
        ("fusion_classifier", {"match": {"fusion": "film"}}, ("a",), ["match.fusion: film joins exactly two "
            "modalities, the model sees 1 (a)"]),
        ("fusion_classifier", {"modalities": ["smell"]}, TWO, ["modalities: the data have no 'smell' (there are: audio,"
            " video)"]),
        ("fusion_classifier", {"conditions": "video", "modalities": ["audio"]}, TWO, ["conditions: the model sees no "
            "'video' (it sees: audio)"]),
        ("map_fusion_classifier", {"fusion": "matmul"}, ("a", "b", "c"), ["fusion: matmul joins exactly two "
            "modalities, the model sees 3 (a, b, c)"]),
        ("map_fusion_classifier", {"fusion": "hadamard"}, ("a", "b", "c"), []),
        ("contrastive_encoders", {}, ("a",), ["modalities: contrastive encoders need at least two, the model sees a"]),
        ("contrastive_encoders", {}, TWO, []),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_is_told_before_anything_is_built(model, given_options, modalities, told):
    assert find("model", model).faults(options_of(model, **given_options), modalities) == told


def test_an_encoder_of_what_the_data_do_not_have():
    options = options_of("fusion_classifier", encoders={"smell": {"kind": "mlp"}})
    (told,) = find("model", "fusion_classifier").faults(options, TWO)
    assert told.startswith("encoders: ")
    assert "'smell'" in told


def test_other_models_have_no_faults():
    assert all(
        entry.faults({}, TWO) == [] for entry in entries("model").values() if "modality" in entry.options.model_fields
    )
