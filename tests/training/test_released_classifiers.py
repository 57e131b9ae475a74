"""Checkpoints of the released classifiers: .pkl state dicts, from one GPU or several."""

from __future__ import annotations

import collections
import pickle

import pytest
import torch

from mmablate.errors import DataError
from mmablate.models.classification import ravdess_net
from mmablate.models.resnet import resnet3d, resnet18
from mmablate.training.checkpoint import load_into, save_weights

KERNELS = {"kernels": (7, 5, 5)}
NETWORKS = {
    "ravdess": lambda: ravdess_net(shape=(1, 22, 30), n_classes=3, **KERNELS, widths=(2, 3, 4), hidden=(6, 5)),
    "resnet18": lambda: resnet18(shape=(1, 33, 40), n_classes=3, widths=(4, 6), depths=(1, 2)),
    "resnet3d": lambda: resnet3d(shape=(3, 4, 16, 16), n_classes=3, widths=(4, 6), depths=(1, 1)),
}
BLOCK_3D = {"conv1": "conv.0", "bn1": "conv.1", "conv2": "conv.3", "bn2": "conv.4"}


def released_name(network, name):
    """Our name -> that of the released class, independently of `own_names`."""
    _, stage, *rest = name.split(".")
    if network == "ravdess":
        return f"{'fc3' if stage == 'logits' else stage}.{rest[-1]}"
    if stage in ("stem", "logits"):
        head = "fc_avg" if network == "resnet18" else "proj"
        return ".".join([*(["inconv", rest[0]] if stage == "stem" else [head]), rest[-1]])
    inner = BLOCK_3D.get(rest[1], rest[1]) if network == "resnet3d" else rest[1]
    return ".".join([stage, rest[0], inner, *rest[2:]])


def released_state(network, model, prefix=""):
    names = {name: prefix + released_name(network, name) for name in model.state_dict()}
    assert len(set(names.values())) == len(names)
    return collections.OrderedDict((names[name], value.clone()) for name, value in model.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("ending", [".pkl", ".pt"])
def test_released_files_load(network, prefix, ending, tmp_path):
    theirs, ours = NETWORKS[network](), NETWORKS[network]()
    with torch.no_grad():
        for buffer in theirs.buffers():
            buffer.add_(2)
    path = tmp_path / f"teacher_mod_1_overlap{ending}"
    torch.save(released_state(network, theirs, prefix), path)
    load_into(ours, path)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


@pytest.mark.parametrize("network", NETWORKS)
def test_our_own_files_load_too(network, tmp_path):
    theirs, ours = NETWORKS[network](), NETWORKS[network]()
    save_weights(tmp_path / "own.safetensors", theirs.state_dict())
    load_into(ours, tmp_path / "own.safetensors")
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items())


def test_a_file_of_the_other_network_is_told(tmp_path):
    path = tmp_path / "image.pkl"
    image = ravdess_net(shape=(3, 22, 30), n_classes=3, widths=(2, 3, 4), hidden=(6, 5))
    torch.save(released_state("ravdess", image), path)
    with pytest.raises(DataError, match=r"image\.pkl: .* 3 of another shape \(first: stages\.conv1\.0\.weight\)"):
        load_into(NETWORKS["ravdess"](), path)


def test_what_is_not_a_plain_state_dict_is_never_unpickled(tmp_path):
    whole, code = tmp_path / "whole.pkl", tmp_path / "code.pkl"
    torch.save(NETWORKS["ravdess"](), whole)
    code.write_bytes(pickle.dumps(collections.Counter))
    for path in (whole, code):
        with pytest.raises(DataError, match=rf"{path.name}: .*checkpoint"):
            load_into(NETWORKS["ravdess"](), path)
