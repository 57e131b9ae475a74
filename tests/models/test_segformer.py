"""MiT encoders and the SegFormer decoder: published sizes, any image, and the arithmetic of the authors' code."""

import math
import subprocess
import sys
from itertools import permutations
from typing import Any

import pytest
import segformer_reference as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from mmablate.catalog.models import MIT_MIN_SIZE, MIT_STRIDES, MIT_WIDTHS, check_packages, smallest_image
from mmablate.errors import MissingExtra
from mmablate.models import AnymodalSegmentor, anymodal_segmentor, segformer
from mmablate.models.segformer import MIN_SIZE, SIZES, STRIDES, MixTransformer, SegFormerHead
from mmablate.models.segformer_names import own_names

pytest.importorskip("transformers", reason="MiT backbones need transformers")


def model(backbone: str = "mit_b0", **options: Any) -> AnymodalSegmentor:
    """In evaluation, with weights at which no layer is trivial."""
    net = anymodal_segmentor(**({"n_classes": 5, "backbone": backbone, "decoder_width": 16} | options))
    width, n_classes = net.head.fuse.out_channels, net.head.classifier.out_channels
    encoder = reference.random_weights(reference.encoder_shapes(backbone))
    decoder = reference.random_weights(reference.decoder_shapes(backbone, width, n_classes), 1)
    names = {f"encoder.{k}": v for k, v in encoder.items()} | {f"decoder.{k}": v for k, v in decoder.items()}
    net.load_state_dict(own_names(names))
    return net.eval()


@pytest.fixture(scope="module")
def net() -> AnymodalSegmentor:
    return model()


def images(size: tuple[int, int] = (32, 40), batch: int = 2, names: str = "FEL") -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(0)
    return {name: torch.randn(batch, 3, *size, generator=stream) for name in names}


# --- sizes ----------------------------------------------------------------------------------------------------


def n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("backbone", "released", "last"), [("mit_b0", 6_095_987, 256), ("mit_b2", 27_370_963, 512)])
def test_as_many_parameters_as_the_released_models_without_their_unused_classifier(
    backbone: str, released: int, last: int
) -> None:
    with torch.device("meta"):
        net = anymodal_segmentor(n_classes=19, backbone=backbone)
    assert n_parameters(net) == released - 19 * last
    if backbone == "mit_b0":
        assert (n_parameters(net.encoder), n_parameters(net.head)) == (3_319_392, 2_771_731)


@pytest.mark.parametrize("backbone", SIZES)
def test_every_size_has_the_authors_weights(backbone: str) -> None:
    with torch.device("meta"):
        encoder = MixTransformer(backbone)
        theirs = {name: torch.empty(shape) for name, shape in reference.encoder_shapes(backbone).items()}
    expected = {name.removeprefix("encoder."): value.shape for name, value in own_names(theirs).items()}
    assert {name: value.shape for name, value in encoder.state_dict().items()} == expected
    assert MIT_WIDTHS[backbone] == SIZES[backbone].widths, "the catalogue knows them without torch"


def test_the_catalogue_knows_strides_and_smallest_image(net: AnymodalSegmentor) -> None:
    assert (MIT_STRIDES, MIT_MIN_SIZE) == (STRIDES, MIN_SIZE)
    assert [smallest_image({"backbone": name}) for name in ("conv", "mit_b0")] == [1, 29]
    (stages,) = net.encode(images((64, 96), 1, "F")).values()
    assert [tuple(s.shape) for s in stages] == [(1, 32, 16, 24), (1, 64, 8, 12), (1, 160, 4, 6), (1, 256, 2, 3)]


# --- arithmetic -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 64), (45, 71)])
def test_features_and_logits_are_those_of_the_authors_code(size: tuple[int, int]) -> None:
    encoder = reference.random_weights(reference.encoder_shapes("mit_b0"), 3)
    decoder = reference.random_weights(reference.decoder_shapes("mit_b0", 16, 5), 4)
    net = anymodal_segmentor(n_classes=5, backbone="mit_b0", decoder_width=16).eval()
    theirs = {f"encoder.{k}": v for k, v in encoder.items()} | {f"decoder.{k}": v for k, v in decoder.items()}
    net.load_state_dict(own_names(theirs))
    inputs = images(size, names="FE")
    logits, features = net.double()({name: image.double() for name, image in inputs.items()})
    expected = {name: reference.encode(encoder, "mit_b0", image) for name, image in inputs.items()}
    for name, stages in expected.items():
        for ours, reference_stage in zip(features[name], stages, strict=True):
            torch.testing.assert_close(ours, reference_stage, rtol=1e-9, atol=1e-9)
    means = [(a + b) / 2 for a, b in zip(*expected.values(), strict=True)]
    small = reference.decode(decoder, means)
    assert small.std() > 0.1
    full = F.interpolate(small, size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits, full, rtol=1e-9, atol=1e-9)


def test_the_decoder_is_that_of_transformers() -> None:
    from transformers.models.segformer.configuration_segformer import SegformerConfig
    from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

    torch.manual_seed(0)
    theirs = SegformerDecodeHead(SegformerConfig(decoder_hidden_size=24, num_labels=5)).double()
    ours = SegFormerHead((32, 64, 160, 256), 24, 5).double()
    ours.load_state_dict(
        {k.removeprefix("head."): v for k, v in own_names(
            {f"decode_head.{k}": v for k, v in theirs.state_dict().items()}).items()}
    )  # fmt: skip
    stages = [torch.randn(2, c, s, s + 1).double() for c, s in zip((32, 64, 160, 256), (9, 5, 3, 2), strict=True)]
    for head in (ours, theirs):
        head.dropout.p = 0.0
    for _ in range(2):  # in training, with the batch's statistics, and then with the running ones
        expected = theirs(stages)
        torch.testing.assert_close(ours(stages, (9, 10)), expected)
        ours.eval(), theirs.eval()
    assert expected.std() > 0.01


def test_names_and_numbers_are_the_same_with_an_earlier_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = MixTransformer("mit_b0").eval()
    monkeypatch.setattr(segformer, "_build", lambda size, drop_path: reference.EarlierModel("mit_b0"))
    before = MixTransformer("mit_b0").eval()
    assert "stages.0.blocks.0.attention.self.query.weight" in dict(before.named_parameters()), "it is another tree"
    assert {k: v.shape for k, v in before.state_dict().items()} == {k: v.shape for k, v in now.state_dict().items()}
    assert {name for name, _ in before.initialisers()} == {name for name, _ in now.initialisers()}
    weights = reference.random_weights({k: tuple(v.shape) for k, v in now.state_dict().items()})
    now.load_state_dict(weights)
    before.load_state_dict(weights)
    assert all(torch.equal(v, weights[k]) for k, v in before.state_dict().items())
    image = images()["F"]
    with torch.no_grad():
        for ours, theirs in zip(now(image), before(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


# --- any modalities, any image --------------------------------------------------------------------------------


def test_one_step_at_the_size_of_the_small_muses() -> None:
    torch.manual_seed(0)
    net = anymodal_segmentor(n_classes=19, backbone="mit_b0").train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    logits, features = net(images((108, 192), 1))
    assert logits.shape == (1, 19, 108, 192)
    shapes = [(1, 32, 27, 48), (1, 64, 14, 24), (1, 160, 7, 12), (1, 256, 4, 6)]
    assert all([tuple(s.shape) for s in stages] == shapes for stages in features.values())
    loss = F.cross_entropy(logits, torch.randint(19, (1, 108, 192)))
    assert 2 < loss.item() < 5, "near log 19 at the start"
    loss.backward()
    optimizer.step()
    # Zero gradients are weight decay's, so that biases of a block that drop-path left out for all would stay.
    assert not [name for name, p in net.named_parameters() if torch.equal(p, before[name]) or not p.isfinite().all()]


@given(height=st.integers(29, 70), width=st.integers(29, 70), batch=st.integers(1, 2), train=st.booleans())
@settings(max_examples=12, deadline=None)
def test_any_size(net: AnymodalSegmentor, height: int, width: int, batch: int, train: bool) -> None:
    net.train(train)
    with torch.no_grad():
        logits, features = net(images((height, width), batch, "F" if height % 2 else "FE"))
    assert logits.shape == (batch, 5, height, width)
    assert logits.isfinite().all()
    sizes = [(math.ceil(height / n), math.ceil(width / n)) for n in (4, 8, 16, 32)]
    assert [tuple(s.shape[-2:]) for s in features["F"]] == sizes
    net.eval()


@pytest.mark.parametrize("size", [(28, 64), (64, 28)])
def test_an_image_too_small_for_the_reduction_is_refused(net: AnymodalSegmentor, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"at least 29 x 29 pixels, got \("):
        net(images(size))


@torch.no_grad()
def test_a_modality_has_the_same_features_alone_and_in_company(net: AnymodalSegmentor) -> None:
    inputs = images()
    together = net.encode(inputs)
    for name, image in inputs.items():
        for ours, theirs in zip(net.encode({name: image})[name], together[name], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_order_of_modalities_is_irrelevant(net: AnymodalSegmentor) -> None:
    inputs = images()
    expected, features = net(inputs)
    for names in permutations(inputs):
        logits, again = net({name: inputs[name] for name in names})
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
        for name in names:
            torch.testing.assert_close(again[name], features[name], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_modality_of_one_channel_is_repeated(net: AnymodalSegmentor) -> None:
    single = torch.randn(1, 1, 32, 32)
    expected = net({"L": single.expand(1, 3, 32, 32)})[0]
    torch.testing.assert_close(net({"L": single})[0], expected, rtol=0, atol=0)


def test_bf16(net: AnymodalSegmentor) -> None:
    inputs = images()
    with torch.no_grad():
        expected, _ = net(inputs)
    for train in (False, True):
        net.train(train)
        with torch.autocast("cpu", torch.bfloat16):
            logits, features = net(inputs)
            of_features = features["F"][3].float().softmax(2).mean()
        (logits.float().square().mean() + of_features).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        net.zero_grad()
        if not train:
            assert (logits.float() - expected).abs().max() < 0.1 * expected.abs().max()
    net.eval()


# --- dropout and drop-path --------------------------------------------------------------------------------------


def test_drop_path_rises_linearly_to_its_rate() -> None:
    with torch.device("meta"):
        encoder = MixTransformer("mit_b2", drop_path=0.3)
    blocks: Any = [block for stage in encoder.stages for block in stage.blocks]
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.3 * i / 15 for i in range(16)])


def test_dropout_takes_whole_channels_and_only_in_training() -> None:
    net = model(dropout=0.5, drop_path=0.0)
    seen: list[Tensor] = []
    net.head.dropout.register_forward_hook(lambda module, args, out: seen.append(torch.stack([args[0], out])))
    with torch.no_grad():
        net(images())
        net.train()(images())
    assert torch.equal(*seen[0])
    before, after = seen[1].flatten(3).unbind()
    alive = before.any(2)
    dropped = ~after.any(2) & alive
    torch.testing.assert_close(after[alive & ~dropped], 2 * before[alive & ~dropped])
    assert 0.2 < dropped.float().mean() / alive.float().mean() < 0.8


@torch.no_grad()
def test_rates_of_zero_leave_nothing_to_chance() -> None:
    net = model(dropout=0.0, drop_path=0.0).train()
    torch.testing.assert_close(net(images())[0], net(images())[0], rtol=0, atol=0)
    chancy = model(dropout=0.0, drop_path=0.5).train()
    assert not torch.equal(chancy(images())[0], chancy(images())[0])


# --- options and packages ---------------------------------------------------------------------------------------


def test_what_the_backbone_fixes_is_refused() -> None:
    for options in ({"widths": [4]}, {"depths": [1]}, {"strides": [1]}, {"in_channels": 4}):
        with pytest.raises(ValueError, match="fixed by the backbone 'mit_b0'"):
            anymodal_segmentor(n_classes=2, backbone="mit_b0", **options)
    for option in ("drop_path", "dropout"):
        with pytest.raises(ValueError, match="the conv backbone has no"):
            anymodal_segmentor(n_classes=2, **{option: 0.1})


def test_without_transformers_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers.models.segformer.modeling_segformer", None)
    with pytest.raises(MissingExtra, match=r'pip install "mmablate\[backbones\]"'):
        anymodal_segmentor(n_classes=2, backbone="mit_b0")
    assert anymodal_segmentor(n_classes=2).in_channels == 3
    check_packages({"backbone": "mit_b0"})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_packages({"backbone": "conv"})
    with pytest.raises(MissingExtra, match=r'backbone mit_b0 needs transformers: pip install "mmablate\[backbones\]"'):
        check_packages({"backbone": "mit_b0"})


def test_building_says_nothing_and_models_import_without_transformers() -> None:
    code = (
        "import sys, socket; socket.socket.connect = None\n"
        "from mmablate.models import anymodal_segmentor as build\n"
        "assert 'transformers' not in sys.modules\n"
        "build(n_classes=2, backbone='mit_b0', decoder_width=4)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
