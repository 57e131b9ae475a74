"""The residual networks against a forward pass over released names, and against transformers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmablate.models.resnet import resnet3d, resnet18

EPS = 1e-5


def norm(weights, name, x):
    shape = (1, -1, *[1] * (x.ndim - 2))
    mean, var, scale, shift = (
        weights[f"{name}.{part}"].view(shape) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + EPS).sqrt() * scale + shift


def released(weights, x, depths, names, conv, max_pool, stem):
    """A residual network of basic blocks in eval mode, over a state dict of other names."""
    stem_conv, stem_norm, inner, head = names
    x = conv(x, weights[f"{stem_conv}.weight"], stride=2, padding=stem)
    x = max_pool(norm(weights, stem_norm, x).clamp(min=0), 3, stride=2, padding=1)
    for stage, depth in enumerate(depths, start=1):
        for number in range(depth):
            block = f"layer{stage}.{number}"
            stride = 2 if stage > 1 and number == 0 else 1
            first, first_norm, second, second_norm = (f"{block}.{part}" for part in inner)
            y = norm(weights, first_norm, conv(x, weights[f"{first}.weight"], stride=stride, padding=1)).clamp(min=0)
            y = norm(weights, second_norm, conv(y, weights[f"{second}.weight"], padding=1))
            if f"{block}.downsample.0.weight" in weights:
                shortcut = conv(x, weights[f"{block}.downsample.0.weight"], stride=stride)
                x = norm(weights, f"{block}.downsample.1", shortcut)
            x = (x + y).clamp(min=0)
    return x.flatten(2).mean(2) @ weights[f"{head}.weight"].T + weights[f"{head}.bias"]


def state(depths, widths, names, in_channels, stem_kernel, kernel, n_classes):
    """Random weights under those names, the norms' counters included."""
    stream = torch.Generator().manual_seed(1)
    weights = {}

    def conv(name, outputs, inputs, size):
        weights[f"{name}.weight"] = torch.randn(outputs, inputs, *size, generator=stream).double() * 0.3

    def bn(name, channels):
        for part in ("weight", "bias", "running_mean"):
            weights[f"{name}.{part}"] = torch.randn(channels, generator=stream).double()
        weights[f"{name}.running_var"] = torch.rand(channels, generator=stream).double() + 0.5
        weights[f"{name}.num_batches_tracked"] = torch.tensor(7)

    stem_conv, stem_norm, inner, head = names
    conv(stem_conv, widths[0], in_channels, stem_kernel)
    bn(stem_norm, widths[0])
    inputs = widths[0]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
        for number in range(depth):
            block = f"layer{stage}.{number}"
            conv(f"{block}.{inner[0]}", width, inputs, kernel)
            conv(f"{block}.{inner[2]}", width, width, kernel)
            bn(f"{block}.{inner[1]}", width)
            bn(f"{block}.{inner[3]}", width)
            if number == 0 and stage > 1:
                conv(f"{block}.downsample.0", width, inputs, [1] * len(kernel))
                bn(f"{block}.downsample.1", width)
            inputs = width
    weights[f"{head}.weight"] = torch.randn(n_classes, inputs, generator=stream).double()
    weights[f"{head}.bias"] = torch.randn(n_classes, generator=stream).double()
    return weights


BLOCK = ("conv1", "bn1", "conv2", "bn2")
TORCHVISION = ("conv1", "bn1", BLOCK, "fc")
AUDIO_MODEL = ("inconv.0", "inconv.1", BLOCK, "fc_avg")
VIDEO_MODEL = ("inconv.0", "inconv.1", ("conv.0", "conv.1", "conv.3", "conv.4"), "proj")


@pytest.mark.parametrize("names", [TORCHVISION, AUDIO_MODEL])
@pytest.mark.parametrize(("padding", "shape"), [(1, (1, 37, 30)), (3, (2, 33, 24))])
def test_resnet18_is_the_released_network_on_its_weights(names, padding, shape):
    depths, widths = (2, 1, 2), (4, 6, 5)
    weights = state(depths, widths, names, shape[0], (7, 7), (3, 3), 3)
    net = resnet18(shape=shape, n_classes=3, widths=widths, depths=depths, stem_padding=padding).double().eval()
    assert net.own_names is not None
    net.load_state_dict(net.own_names(weights))
    x = torch.randn(2, *shape).double()
    expected = released(weights, x, depths, names, F.conv2d, F.max_pool2d, padding)
    torch.testing.assert_close(net(x), expected, rtol=1e-11, atol=1e-11)


def test_resnet3d_is_the_released_network_on_its_weights():
    depths, widths, shape = (3, 2), (4, 5), (3, 6, 20, 24)
    weights = state(depths, widths, VIDEO_MODEL, 3, (3, 7, 7), (3, 3, 3), 4)
    net = resnet3d(shape=shape, n_classes=4, widths=widths, depths=depths).double().eval()
    assert net.own_names is not None
    net.load_state_dict(net.own_names(weights))
    x = torch.randn(2, *shape).double()
    expected = released(weights, x, depths, VIDEO_MODEL, F.conv3d, F.max_pool3d, (1, 3, 3))
    torch.testing.assert_close(net(x), expected, rtol=1e-11, atol=1e-11)


def in_torchvision(name):
    """Of transformers' ResNet -> of torchvision's."""
    name = name.replace("classifier.1.", "fc.").replace("resnet.embedder.embedder.convolution", "conv1")
    name = name.replace("resnet.embedder.embedder.normalization", "bn1")
    parts = name.split(".")
    if parts[:3] != ["resnet", "encoder", "stages"]:
        return name
    block = f"layer{int(parts[3]) + 1}.{parts[5]}"
    if parts[6] == "shortcut":
        return f"{block}.downsample.{0 if parts[7] == 'convolution' else 1}.{parts[8]}"
    return f"{block}.{'conv' if parts[8] == 'convolution' else 'bn'}{int(parts[7]) + 1}.{parts[9]}"


@pytest.mark.parametrize("training", [False, True])
def test_resnet18_is_that_of_transformers(training):
    """Of torchvision's padding, full size; in training mode the statistics of the batch, and their running mean."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        num_channels=3, embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2],
        layer_type="basic", hidden_act="relu", downsample_in_first_stage=False, num_labels=10,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.ResNetForImageClassification(config).double().train(training)
    ours = resnet18(shape=(3, 64, 48), n_classes=10, stem_padding=3).double().train(training)
    assert ours.own_names is not None
    ours.load_state_dict(ours.own_names({in_torchvision(name): value for name, value in theirs.state_dict().items()}))
    x = torch.randn(4, 3, 64, 48).double()
    torch.testing.assert_close(ours(x), theirs(x).logits, rtol=1e-9, atol=1e-9)
    after = ours.own_names({in_torchvision(name): value for name, value in theirs.state_dict().items()})
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, after[name])


def test_published_sizes():
    with torch.device("meta"):
        audio = resnet18(shape=(1, 513, 313), n_classes=100)
        video = resnet3d(shape=(3, 32, 256, 256), n_classes=100)
        imagenet = resnet18(shape=(3, 224, 224), n_classes=1000, stem_padding=3)
    total = {name: sum(p.numel() for p in net.parameters()) for name, net in [("a", audio), ("i", imagenet)]}
    assert total["i"] == 11_689_512  # as torchvision documents it
    assert total["a"] == 11_689_512 - 2 * 64 * 49 - 900 * 513
    heard, seen = torch.zeros(1, 1, 513, 313, device="meta"), torch.zeros(1, 3, 32, 256, 256, device="meta")
    assert audio.until(heard, "stem").shape == (1, 64, 128, 78)
    assert audio.until(heard, "pool").shape == video.until(seen, "pool").shape == (1, 512)
    assert video.until(seen, "stem").shape == (1, 64, 8, 64, 64)
    assert video.until(seen, "layer4").shape == (1, 512, 1, 8, 8)
    assert [len(video.stages[f"layer{i}"]) for i in range(1, 5)] == [3, 3, 3, 3]


def test_residual_convolutions_begin_as_those_of_torchvision():
    torch.manual_seed(0)
    net = resnet18(shape=(1, 64, 64), n_classes=10)
    convs = [module for name, module in net.named_modules() if isinstance(module, nn.Conv2d) and "layer" in name]
    assert len(convs) == 19
    for conv in convs:
        expected = (2 / (conv.out_channels * conv.kernel_size[0] ** 2)) ** 0.5
        assert float(conv.weight.detach().std()) == pytest.approx(expected, rel=0.05)
    stem = net.stages["stem"][0].weight.detach()
    assert float(stem.abs().max()) <= 1 / 49**0.5 + 1e-6
