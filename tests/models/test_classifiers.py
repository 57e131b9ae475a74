"""Classifiers with places: published sizes, an independent forward pass, places, faults, and stacking."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from mmablate.catalog import entries, find, load_target
from mmablate.models.classification import linear, mlp, ravdess_net
from mmablate.models.pair import Pair
from mmablate.models.places import PlacedNetwork
from mmablate.models.resnet import resnet3d, resnet18
from mmablate.training.building import initialise

AUDIO = {"kernels": (7, 5, 5)}
SMALL = {"widths": (2, 3, 4), "hidden": (6, 5), "pool": (2, 3)}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def sizes(network, shape):
    x, found = torch.zeros(1, *shape, device="meta"), {}
    for place in network.places:
        found[place] = tuple(network.until(x, place).shape[1:])
    return found


SAMPLES = {
    "linear": (lambda: linear(shape=(5,), n_classes=3), (5,)),
    "flattened": (lambda: linear(shape=(2, 5), n_classes=3), (2, 5)),
    "mlp": (lambda: mlp(shape=(2, 5), n_classes=3, hidden=(7, 4)), (2, 5)),
    "image": (lambda: ravdess_net(shape=(3, 12, 20), n_classes=3, **SMALL), (3, 12, 20)),
    "audio": (lambda: ravdess_net(shape=(1, 22, 30), n_classes=3, **AUDIO, **SMALL), (1, 22, 30)),
    "unhidden": (lambda: ravdess_net(shape=(1, 8, 9), n_classes=3, **{**SMALL, "hidden": ()}), (1, 8, 9)),
    "resnet18": (lambda: resnet18(shape=(1, 33, 40), n_classes=3, widths=(4, 6), depths=(1, 2)), (1, 33, 40)),
    "resnet3d": (lambda: resnet3d(shape=(3, 4, 18, 16), n_classes=3, widths=(4, 6), depths=(1, 1)), (3, 4, 18, 16)),
}


# --- as published -----------------------------------------------------------------------------------------


def test_the_networks_of_ravdess_have_the_published_parameters_and_maps():
    with torch.device("meta"):
        image = ravdess_net(shape=(3, 256, 512), n_classes=8)
        audio = ravdess_net(shape=(1, 40, 256), n_classes=8, **AUDIO)
    assert (count(image), count(audio)) == (13_071_560, 13_236_104)
    after = {"conv3": (128, 7, 14), "fc1": (1024,), "fc2": (128,), "logits": (8,)}
    assert sizes(image, (3, 256, 512)) == {
        "input": (3, 256, 512), "conv1": (32, 128, 256), "conv2": (64, 64, 128), **after
    }  # fmt: skip
    assert sizes(audio, (1, 40, 256)) == {"input": (1, 40, 256), "conv1": (32, 18, 126), "conv2": (64, 8, 62), **after}


def test_the_catalogue_gives_them_their_kernels():
    for name, shape, number in (
        ("ravdess_image", (3, 256, 512), 13_071_560),
        ("ravdess_audio", (1, 40, 256), 13_236_104),
    ):
        entry = find("model", name)
        options = entry.options(modality="m").model_dump(mode="json", exclude={"modality"})
        with torch.device("meta"):
            assert count(load_target(entry)(shape=shape, n_classes=8, **options)) == number


def test_the_pooling_of_the_third_convolution_is_its_own():
    with torch.device("meta"):
        network = ravdess_net(shape=(1, 40, 256), n_classes=8, **AUDIO)
    before = network.stages["conv3"][0](network.until(torch.zeros(1, 1, 40, 256, device="meta"), "conv2"))
    assert tuple(before.shape[1:]) == (128, 6, 60)


def released_ravdess(weights, x, pool):
    """The released forward pass, over the released names: pooling before ReLU, which is the same."""
    for number in (1, 2, 3):
        kernel = weights[f"conv{number}.weight"]
        maps = F.unfold(x, kernel.shape[-2:], padding=1)
        edges = [edge + 3 - kernel.shape[-1] for edge in x.shape[-2:]]
        x = (kernel.flatten(1) @ maps).unflatten(-1, edges) + weights[f"conv{number}.bias"][:, None, None]
        x = F.relu(F.max_pool2d(x, 2) if number < 3 else F.adaptive_max_pool2d(x, pool))
    x = x.reshape(len(x), -1)
    for number in (1, 2):
        x = (x @ weights[f"fc{number}.weight"].T + weights[f"fc{number}.bias"]).clamp(min=0)
    return x @ weights["fc3.weight"].T + weights["fc3.bias"]


@pytest.mark.parametrize(("kernels", "shape"), [((3, 3, 3), (3, 12, 20)), ((7, 5, 5), (1, 22, 31))])
def test_the_forward_pass_is_the_released_one_on_released_weights(kernels, shape):
    stream = torch.Generator().manual_seed(0)
    inner = [(2, shape[0]), (3, 2), (4, 3)]
    weights = {}
    for number, (io, kernel) in enumerate(zip(inner, kernels, strict=True), start=1):
        weights[f"conv{number}.weight"] = torch.randn(*io, kernel, kernel, generator=stream).double()
        weights[f"conv{number}.bias"] = torch.randn(io[0], generator=stream).double()
    for number, (inputs, outputs) in enumerate([(24, 6), (6, 5), (5, 3)], start=1):
        weights[f"fc{number}.weight"] = torch.randn(outputs, inputs, generator=stream).double()
        weights[f"fc{number}.bias"] = torch.randn(outputs, generator=stream).double()
    network = ravdess_net(shape=shape, n_classes=3, kernels=kernels, **SMALL).double()
    assert network.own_names is not None
    network.load_state_dict(network.own_names(weights))
    x = torch.randn(4, *shape, generator=stream).double()
    torch.testing.assert_close(network(x), released_ravdess(weights, x, (2, 3)), rtol=1e-12, atol=1e-12)


def test_the_multilayer_perceptron_written_out():
    network = mlp(shape=(2, 5), n_classes=3, hidden=(7, 4)).double()
    x = torch.randn(6, 2, 5).double()
    h = x.reshape(6, 10)
    for name in ("hidden1", "hidden2"):
        layer = network.stages[name][1]
        h = (h @ layer.weight.T + layer.bias).clamp(min=0)
        torch.testing.assert_close(network.until(x, name), h)
    last = network.stages["logits"]
    torch.testing.assert_close(network(x), h @ last.weight.T + last.bias)


def test_the_linear_classifier_written_out():
    for shape in ((6,), (2, 3)):
        network = linear(shape=shape, n_classes=4)
        weight, bias = network.parameters()
        x = torch.randn(5, *shape)
        torch.testing.assert_close(network(x), x.reshape(5, 6) @ weight.T + bias)


def test_hidden_units_are_dropped_in_training_only():
    torch.manual_seed(0)
    network, x = mlp(shape=(4,), n_classes=2, hidden=(1000,), dropout=0.3), torch.randn(2, 4)
    kept = network.eval().until(x, "hidden1")
    dropped = network.train().until(x, "hidden1")
    gone = (dropped == 0) & (kept > 0)
    assert float(gone.sum() / (kept > 0).sum()) == pytest.approx(0.3, abs=0.05)
    torch.testing.assert_close(dropped[~gone], kept[~gone] / 0.7)
    assert not any(isinstance(module, nn.Dropout) for module in mlp(shape=(4,), n_classes=2).modules())


# --- places -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_every_place_cuts_the_network_in_two(name):
    build, shape = SAMPLES[name]
    network, x = build().eval(), torch.randn(3, *shape)
    assert isinstance(network, PlacedNetwork)
    assert (network.places[0], network.places[-1]) == ("input", "logits")
    assert torch.equal(network.until(x, "input"), x)
    assert network(x).shape == (3, 3)
    for place in network.places:
        torch.testing.assert_close(network.beyond(network.until(x, place), place), network(x))


@pytest.mark.parametrize("method", ["until", "beyond"])
def test_a_place_that_is_not_there_is_told_with_those_that_are(method):
    with pytest.raises(ValueError, match=r"no place is called 'fc2' \(there are: input, hidden1, logits\)"):
        getattr(mlp(shape=(4,), n_classes=2), method)(torch.ones(1, 4), "fc2")


# --- initial weights ----------------------------------------------------------------------------------------


def test_initial_weights_are_those_of_the_seed_and_shared_by_name():
    first, second, wider = (mlp(shape=(5,), n_classes=3, hidden=hidden) for hidden in ((4, 6), (4, 6), (4, 6, 2)))
    for network in (first, second, wider):
        initialise(network, seed=3, role="student")
    same = {name: torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items()}
    assert all(same.values())
    assert torch.equal(first.stages["hidden2"][1].weight, wider.stages["hidden2"][1].weight)
    initialise(second, seed=4, role="student")
    assert not torch.equal(first.stages["hidden2"][1].weight, second.stages["hidden2"][1].weight)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_weight_begins_outside_the_seed(name):
    build, _ = SAMPLES[name]
    networks = [build(), build()]
    for network in networks:
        initialise(network, seed=0, role="teacher")
    ours, theirs = (network.state_dict() for network in networks)
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


# --- stacks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_members_of_a_stack_compute_what_they_compute_alone(name):
    """Batch norm included, with running statistics of its own for each member."""
    build, shape = SAMPLES[name]
    torch.manual_seed(0)
    members, x = [build().double().train() for _ in range(3)], torch.randn(5, *shape).double()
    first = members[0]
    weights = {
        k: torch.stack([dict(m.named_parameters())[k].detach() for m in members]).requires_grad_()
        for k, _ in first.named_parameters()
    }
    buffers = {k: torch.stack([dict(m.named_buffers())[k] for m in members]) for k, _ in first.named_buffers()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that an operator has no batching rule
        found = vmap(lambda w, b: functional_call(first, (w, b), (x,)), randomness="same")(weights, buffers)
        found.square().sum().backward()
    for i, member in enumerate(members):
        out = member(x)
        torch.testing.assert_close(found[i], out)
        out.square().sum().backward()
        for key, own in member.named_parameters():
            torch.testing.assert_close(weights[key].grad[i], own.grad, rtol=1e-8, atol=1e-8)
        for key, own in member.named_buffers():
            torch.testing.assert_close(buffers[key][i], own)


# --- faults -------------------------------------------------------------------------------------------------

FAULTS = {
    "no hidden layer": (lambda: mlp(shape=(4,), n_classes=2, hidden=()), "at least one width"),
    "kernels of two": (
        lambda: ravdess_net(shape=(3, 9, 9), n_classes=2, kernels=(3, 3)),
        r"kernels \[3, 3\] must have one entry a convolution, as widths \[32, 64, 128\]",
    ),
    "no convolution": (lambda: ravdess_net(shape=(3, 9, 9), n_classes=2, kernels=(), widths=()), "one entry"),
    "a vector": (lambda: ravdess_net(shape=(9,), n_classes=2), r"takes samples \(C, H, W\), got \(9,\)"),
    "sound that is too short": (
        lambda: ravdess_net(shape=(1, 40, 9), n_classes=2, kernels=(7, 5, 5)),
        r"samples of \(1, 40, 9\) are too small for the kernels \[7, 5, 5\]",
    ),
    "a clip for pictures": (lambda: resnet18(shape=(3, 8, 9, 9), n_classes=2), r"\(C, H, W\), got \(3, 8, 9, 9\)"),
    "a picture for clips": (lambda: resnet3d(shape=(3, 9, 9), n_classes=2), r"\(C, T, H, W\), got \(3, 9, 9\)"),
    "a spectrogram that is too small": (lambda: resnet18(shape=(1, 4, 9), n_classes=2), "smaller than the kernel"),
    "a stage without depth": (
        lambda: resnet18(shape=(1, 9, 9), n_classes=2, depths=(2, 2)),
        r"depths \[2, 2\] must have one entry a stage, as widths \[64, 128, 256, 512\]",
    ),
    "a stage without blocks": (
        lambda: resnet18(shape=(1, 9, 9), n_classes=2, widths=(4, 4), depths=(1, 0)),
        r"depths must be at least 1, got \[1, 0\]",
    ),
    "a network without stages": (lambda: PlacedNetwork({}), "at least one stage"),
    "a stage called input": (lambda: PlacedNetwork({"input": nn.Identity()}), "none called 'input'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_cannot_be_built_is_told(case):
    build, told = FAULTS[case]
    with pytest.raises(ValueError, match=told):
        build()


@pytest.mark.parametrize("kernels", [(3, 3), (3, 1), (1, 3), (7, 5, 5), (5,)])
def test_samples_are_refused_exactly_where_a_forward_pass_would_fail(kernels):
    settings = {"n_classes": 2, "kernels": kernels, "widths": (2,) * len(kernels), "hidden": (3,), "pool": (1, 2)}
    large = ravdess_net(shape=(1, 99, 99), **settings)
    passed = []
    for edge in range(1, 25):
        x = torch.randn(2, 1, edge, 30)
        try:
            passed.append(large(x).shape == (2, 2))
        except RuntimeError:
            passed.append(False)
        if passed[-1]:
            ravdess_net(shape=(1, edge, 30), **settings)
        else:
            with pytest.raises(ValueError, match="too small for the kernels"):
                ravdess_net(shape=(1, edge, 30), **settings)
    assert any(passed)


def test_every_classifier_must_be_told_its_modality():
    names = [name for name, entry in entries("model").items() if "modality" in entry.options.model_fields]
    assert {"linear", "mlp", "ravdess_image", "ravdess_audio", "resnet18", "resnet3d"} <= set(names)
    for name in names:
        with pytest.raises(ValueError, match="modality"):
            find("model", name).options()
        assert find("model", name).options(modality="audio").modality == "audio"


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("ravdess_audio", {"kernels": [3]}, "one entry a convolution"),
        ("resnet3d", {"depths": [1]}, "one entry a stage"),
        ("mlp", {"hidden": []}, "at least 1 item"),
        ("mlp", {"dropout": 1.0}, "less than 1"),
        ("resnet18", {"widths": [0, 1, 1, 1]}, "greater than or equal to 1"),
    ],
)
def test_options_that_do_not_fit_are_told_before_anything_is_built(name, options, told):
    with pytest.raises(ValueError, match=told):
        find("model", name).options(modality="m", **options)


# --- two as one ---------------------------------------------------------------------------------------------


def test_a_pair_gives_each_network_its_own_input():
    teacher, student = linear(shape=(4,), n_classes=3), mlp(shape=(2, 3), n_classes=3)
    x1, x2 = torch.randn(5, 4), torch.randn(5, 2, 3)
    ours, theirs = Pair(teacher, student)((x1, x2))
    assert torch.equal(ours, teacher(x1))
    assert torch.equal(theirs, student(x2))
    assert count(Pair(teacher, student)) == count(teacher) + count(student)
