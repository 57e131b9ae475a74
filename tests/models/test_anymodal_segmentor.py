"""The anymodal segmentor: modalities in any number, order and size; nothing that belongs to one of them."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from mmablate.models import AnymodalSegmentor, anymodal_segmentor
from mmablate.models.conv import ChannelNorm, ConvEncoder

CHANNELS = {"V": 3, "N": 1, "S": 2}


def model(**options: Any) -> AnymodalSegmentor:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"n_classes": 5, "widths": [4, 8], "decoder_width": 6}
    return anymodal_segmentor(**(arguments | options)).eval()


def images(size: tuple[int, int] = (12, 10), batch: int = 2, seed: int = 0) -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    return {name: torch.randn(batch, c, *size, generator=stream) for name, c in CHANNELS.items()}


def test_a_modality_has_the_same_features_alone_and_in_company() -> None:
    net, inputs = model(), images()
    together = net.encode(inputs)
    for name, image in inputs.items():
        alone = net.encode({name: image})[name]
        assert len(alone) == 2
        for ours, theirs in zip(alone, together[name], strict=True):
            torch.testing.assert_close(ours, theirs)


def test_decoding_takes_the_mean_over_those_present() -> None:
    net, inputs = model(), images()
    features = net.encode(inputs)
    for present in (["V"], ["N", "S"], ["V", "N", "S"]):
        means = [torch.stack([features[m][i] for m in present]).mean(0) for i in range(2)]
        logits = net.decode({m: features[m] for m in present}, (12, 10))
        torch.testing.assert_close(logits, net.head(means, (12, 10)))
        torch.testing.assert_close(logits, net({m: inputs[m] for m in present})[0])


def test_missing_is_absent_and_not_black() -> None:
    net, inputs = model(), images()
    absent = net({"V": inputs["V"]})[0]
    black = net({**inputs, "N": torch.zeros_like(inputs["N"]), "S": torch.zeros_like(inputs["S"])})[0]
    assert (absent - black).abs().max() > 1e-3


def test_the_order_of_modalities_is_irrelevant() -> None:
    net, inputs = model(), images()
    expected, features = net(inputs)
    for names in permutations(inputs):
        logits, again = net({name: inputs[name] for name in names})
        torch.testing.assert_close(logits, expected)
        for name in names:
            torch.testing.assert_close(again[name], features[name])


@given(height=st.integers(1, 21), width=st.integers(1, 21), batch=st.integers(1, 3), deep=st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_size(height: int, width: int, batch: int, deep: bool) -> None:
    net = model(widths=[4, 6, 8], strides=[2, 2, 3]) if deep else model()
    logits, features = net(images((height, width), batch))
    assert logits.shape == (batch, 5, height, width)
    assert logits.isfinite().all()
    assert [f.shape[1] for f in features["N"]] == ([4, 6, 8] if deep else [4, 8])
    assert all(f.shape[0] == batch for f in features["S"])


def test_one_sample_is_the_same_in_any_batch() -> None:
    net, inputs = model(), images(batch=3)
    logits, _ = net(inputs)
    alone, _ = net({name: image[1:2] for name, image in inputs.items()})
    torch.testing.assert_close(alone, logits[1:2])


def test_few_channels_are_repeated_cyclically() -> None:
    net = model(in_channels=5)
    image = torch.randn(2, 2, 8, 8)
    repeated = image[:, [0, 1, 0, 1, 0]]
    torch.testing.assert_close(net({"A": image})[0], net({"A": repeated})[0], rtol=0, atol=0)
    single = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(net({"A": single})[0], net({"A": single.expand(2, 5, 8, 8)})[0], rtol=0, atol=0)


def test_too_many_channels_and_no_modality_are_refused() -> None:
    with pytest.raises(ValueError, match="'thermal' has 4 channels, the model takes 3"):
        model()({"thermal": torch.zeros(1, 4, 8, 8)})
    with pytest.raises(ValueError, match="at least one modality"):
        model().encode({})


def test_no_weight_belongs_to_a_modality() -> None:
    net = model()
    names = {name for name, _ in net.named_parameters()}
    assert not any(m in name.split(".") for m in CHANNELS for name in names)
    for subset in (["N"], ["V", "S"], ["V", "N", "S"]):
        net.zero_grad()
        inputs = images()
        net({m: inputs[m] for m in subset})[0].square().sum().backward()
        reached = {name for name, p in net.named_parameters() if p.grad is not None}
        assert reached == names


def test_the_features_that_losses_see_are_normed() -> None:
    for stages in model().encode(images()).values():
        for stage in stages:
            assert stage.mean(1).abs().max() < 1e-4
            torch.testing.assert_close(stage.var(1, unbiased=False), torch.ones_like(stage[:, 0]), atol=2e-2, rtol=0)


def test_channel_norm_is_layer_norm_of_each_pixel() -> None:
    norm = ChannelNorm(6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 6, 3, 4)
    mean, variance = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
    expected = (x - mean) / (variance + norm.eps).sqrt()
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)
    assert norm(x.bfloat16()).dtype == torch.float32


def test_the_head_is_one_linear_map_of_the_concatenated_stages() -> None:
    """The sum of projections equals a projection of the stages brought to one size and concatenated."""
    head = model().head
    stages = [torch.randn(2, 4, 9, 9), torch.randn(2, 8, 5, 5)]
    seen: list[Tensor] = []
    handle = head.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    head(stages, (9, 9))
    handle.remove()
    raised = [stages[0], F.interpolate(stages[1], size=(9, 9), mode="bilinear", align_corners=False)]
    weight = torch.cat([p.weight for p in head.projections], dim=1)
    bias = torch.stack([p.bias for p in head.projections]).sum(0)
    torch.testing.assert_close(seen[0], F.conv2d(torch.cat(raised, 1), weight, bias), rtol=1e-4, atol=1e-5)


def test_lists_of_different_length_and_unknown_backbones_are_refused() -> None:
    with pytest.raises(ValueError, match="equal length"):
        ConvEncoder(3, [4, 8], [1], [1, 2])
    with pytest.raises(ValueError, match="equal length"):
        model(strides=[2])
    with pytest.raises(ValueError, match="'vit'"):
        model(backbone="vit")


def test_defaults_of_depths_and_strides() -> None:
    net = anymodal_segmentor(n_classes=2, widths=[4, 6, 8])
    (stages,) = net.encode({"A": torch.zeros(1, 3, 16, 12)}).values()
    assert [tuple(s.shape) for s in stages] == [(1, 4, 16, 12), (1, 6, 8, 6), (1, 8, 4, 3)]


def test_students_stack_under_vmap() -> None:
    nets = [model() for _ in range(3)]
    for i, net in enumerate(nets):
        torch.manual_seed(i)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    params, buffers = torch.func.stack_module_state(nets)  # type: ignore[arg-type]
    inputs = images()

    def loss(weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Tensor:
        logits, features = torch.func.functional_call(nets[0], (weights, state), (inputs,))  # type: ignore[arg-type]
        return logits.square().mean() + features["N"][1].abs().mean()

    values = torch.func.vmap(loss)(params, buffers)
    gradients = torch.func.vmap(torch.func.grad(loss))(params, buffers)
    for i, net in enumerate(nets):
        logits, features = net(inputs)
        own = logits.square().mean() + features["N"][1].abs().mean()
        torch.testing.assert_close(values[i], own.detach(), rtol=1e-4, atol=1e-5)
        own.backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None
            torch.testing.assert_close(gradients[name][i], parameter.grad, rtol=1e-3, atol=1e-4)
