"""Numbers of parameters told without torch are those of the modules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.catalog import find, load_target
from mmablate.catalog.parameters import matching, n_parameters
from mmablate.models.anymodal import anymodal_segmentor


def complete(**options):
    return find("model", "anymodal_segmentor").options.model_validate(options).model_dump(mode="json")


def built(options, n_classes):
    known = {key: value for key, value in options.items() if key != "weights"}
    with torch.device("meta"):
        model = anymodal_segmentor(n_classes=n_classes, **known)
    return sum(parameter.numel() for parameter in model.parameters())


conv = st.integers(1, 4).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "widths": st.lists(st.integers(1, 20), min_size=n, max_size=n),
            "depths": st.none() | st.lists(st.integers(0, 3), min_size=n, max_size=n),
            "in_channels": st.integers(1, 6),
            "decoder_width": st.integers(1, 20),
        }
    )
)


@settings(max_examples=40, deadline=None)
@given(options=conv, n_classes=st.integers(2, 30))
def test_conv(options, n_classes):
    options = complete(**options)
    assert n_parameters("anymodal_segmentor", options, n_classes) == built(options, n_classes)


@pytest.mark.parametrize("backbone", ["mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"])
def test_mit(backbone):
    pytest.importorskip("transformers")
    for decoder_width in (None, 64):
        options = complete(backbone=backbone, decoder_width=decoder_width)
        assert n_parameters("anymodal_segmentor", options, 19) == built(options, 19)


def test_the_defaults():
    assert n_parameters("anymodal_segmentor", complete(), 5) == built(complete(), 5)


def test_a_model_of_a_plugin_is_not_known():
    assert n_parameters("unet", {"width": 3}, 5) is None


@pytest.mark.parametrize("option", ["decoder_width", "widths"])
def test_the_matching_value_is_the_closest_there_is(option):
    options = complete(widths=[32, 64, 128], decoder_width=16)

    def count(**changes):
        return n_parameters("anymodal_segmentor", {**options, **changes}, 5)

    target = count(decoder_width=40)
    found = matching("anymodal_segmentor", options, target, 5, option)
    assert abs(count(**found) - target) <= 0.02 * target
    if option == "decoder_width":
        assert found == {"decoder_width": 40}
        near = matching("anymodal_segmentor", options, target + 7, 5, option)["decoder_width"]
        assert abs(count(decoder_width=near) - target - 7) == min(
            abs(count(decoder_width=width) - target - 7) for width in range(1, 200)
        )


def test_a_target_below_what_the_rest_has_is_not_matched():
    options = complete(widths=[64, 64], decoder_width=4)
    assert matching("anymodal_segmentor", options, 1000, 5, "decoder_width") is None
    assert matching("anymodal_segmentor", complete(backbone="mit_b0"), 10**6, 5, "widths") is None


# --- classifiers --------------------------------------------------------------------------------------------

widths = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def with_one_each(name, low, high):
    """Widths, and as many entries of that option."""
    return widths.flatmap(
        lambda given: st.fixed_dictionaries(
            {
                "widths": st.just(given),
                name: st.lists(st.integers(low, high), min_size=len(given), max_size=len(given)),
            }
        )
    )


ravdess = st.tuples(
    with_one_each("kernels", 1, 5),
    st.fixed_dictionaries(
        {"hidden": st.lists(st.integers(1, 9), max_size=3), "pool": st.tuples(st.integers(1, 4), st.integers(1, 4))}
    ),
).map(lambda parts: {**parts[0], **parts[1]})
residual = with_one_each("depths", 1, 3)
CLASSIFIERS = st.one_of(
    st.tuples(st.just("linear"), st.just({}), st.sampled_from([(7,), (2, 3)])),
    st.tuples(st.just("mlp"), st.fixed_dictionaries({"hidden": widths}), st.sampled_from([(7,), (2, 3)])),
    st.tuples(
        st.sampled_from(["ravdess_image", "ravdess_audio"]), ravdess, st.sampled_from([(1, 90, 80), (3, 70, 70)])
    ),
    st.tuples(st.just("resnet18"), residual, st.sampled_from([(1, 33, 20), (2, 9, 9)])),
    st.tuples(st.just("resnet3d"), residual, st.sampled_from([(3, 4, 9, 9), (1, 2, 3, 4)])),
)


def classifier(name, n_classes, shape, **options):
    entry = find("model", name)
    known = entry.options(modality="m", **options).model_dump(mode="json")
    with torch.device("meta"):
        model = load_target(entry)(
            shape=shape, n_classes=n_classes, **{k: v for k, v in known.items() if k != "modality"}
        )
    return known, sum(parameter.numel() for parameter in model.parameters())


@settings(max_examples=60, deadline=None)
@given(drawn=CLASSIFIERS, n_classes=st.integers(2, 9))
def test_classifiers(drawn, n_classes):
    name, options, shape = drawn
    known, built_count = classifier(name, n_classes, shape, **options)
    assert n_parameters(name, known, n_classes, shape) == built_count


@pytest.mark.parametrize(
    ("name", "shape", "n_classes"),
    [
        ("linear", (50,), 2), ("mlp", (50,), 2), ("ravdess_image", (3, 256, 512), 8),
        ("ravdess_audio", (1, 40, 256), 8), ("resnet18", (1, 513, 313), 100), ("resnet3d", (3, 32, 256, 256), 100),
    ],
)  # fmt: skip
def test_classifiers_as_they_are_by_default(name, shape, n_classes):
    known, built_count = classifier(name, n_classes, shape)
    assert n_parameters(name, known, n_classes, shape) == built_count


def test_parameters_of_a_classifier_hang_on_its_samples():
    assert n_parameters("linear", {"modality": "m"}, 2) is None
