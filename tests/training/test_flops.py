"""Floating point operations against a count by hand."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mmablate.models import anymodal_segmentor
from mmablate.training.flops import forward_flops

SHAPES = {"V": (1, 3, 32, 48), "N": (1, 1, 32, 48)}


class OneSample:
    """A split of one sample."""

    def batch(self, indices):
        assert list(indices) == [0]
        return {name: np.ones(shape, dtype=np.float32) for name, shape in SHAPES.items()}, np.zeros((1, 32, 48))


def by_hand(model: nn.Module) -> int:
    """Two operations a multiply-add of every convolution, from the sizes that pass through it."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        height, width = layer.kernel_size
        total += 2 * output.numel() * layer.in_channels // layer.groups * height * width

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        model({name: torch.zeros(shape) for name, shape in SHAPES.items()})
    for hook in hooks:
        hook.remove()
    return total


def test_the_count_is_that_of_the_convolutions():
    model = anymodal_segmentor(n_classes=5, widths=[4, 8], strides=[2, 2], decoder_width=4).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = forward_flops(model, OneSample(), torch.device("cpu"))
    assert found == by_hand(model) > 10_000
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_in_training_learns_nothing_from_it():
    model = anymodal_segmentor(n_classes=5, widths=[4, 8], strides=[2, 2], decoder_width=4).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert forward_flops(model, OneSample(), torch.device("cpu")) == by_hand(model.eval())
    model.train()
    forward_flops(model, OneSample(), torch.device("cpu"))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_cannot_be_counted_is_not_there():
    class Broken(nn.Module):
        def forward(self, inputs):
            raise RuntimeError("no room")

    assert forward_flops(Broken(), OneSample(), torch.device("cpu")) is None
