"""Weights that the user has: ImageNet files for the encoder, teachers of other programs, and a run's identity."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import segformer_reference as reference
import torch
from torch import Tensor
from training_samples import students, teachers

from mmablate.catalog import file_hash
from mmablate.data.base import SegmentationData
from mmablate.errors import DataError, RecipeError
from mmablate.models import AnymodalSegmentor, anymodal_segmentor
from mmablate.models.segformer import HEADS
from mmablate.study import Study, open_study
from mmablate.training.building import initial_model
from mmablate.training.checkpoint import digest, load_encoder, load_into, save_weights

pytest.importorskip("transformers", reason="MiT backbones need transformers")

MIT: dict[str, Any] = {"name": "anymodal_segmentor", "backbone": "mit_b0", "decoder_width": 8}


@pytest.fixture
def net() -> AnymodalSegmentor:
    return anymodal_segmentor(n_classes=5, backbone="mit_b0", decoder_width=8)


@pytest.fixture(scope="module")
def encoder() -> dict[str, Tensor]:
    """As in the authors' mit_b0.pth."""
    return reference.random_weights(reference.encoder_shapes("mit_b0"))


@pytest.fixture(scope="module")
def decoder() -> dict[str, Tensor]:
    return reference.random_weights(reference.decoder_shapes("mit_b0", 8, 5), 1)


HEAD = {"head.weight": torch.ones(1000, 256), "head.bias": torch.ones(1000)}


def in_transformers(encoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' encoder as transformers 4 named it, and as its files on the hub are named."""
    renamed = {}
    for name, value in encoder.items():
        parts = name.split(".")
        i = int(parts[0][-1]) - 1
        if name.startswith("patch_embed"):
            renamed[f"patch_embeddings.{i}.{parts[1].replace('norm', 'layer_norm')}.{parts[2]}"] = value
        elif name.startswith("norm"):
            renamed[f"layer_norm.{i}.{parts[1]}"] = value
        else:
            where, part, kind = f"block.{i}.{parts[1]}", ".".join(parts[2:-1]), parts[-1]
            names = {
                "norm1": "layer_norm_1", "norm2": "layer_norm_2", "attn.q": "attention.self.query",
                "attn.sr": "attention.self.sr", "attn.norm": "attention.self.layer_norm",
                "attn.proj": "attention.output.dense", "mlp.fc1": "mlp.dense1", "mlp.fc2": "mlp.dense2",
                "mlp.dwconv.dwconv": "mlp.dwconv.dwconv",
            }  # fmt: skip
            if part == "attn.kv":
                half = len(value) // 2
                renamed[f"{where}.attention.self.key.{kind}"] = value[:half].clone()
                renamed[f"{where}.attention.self.value.{kind}"] = value[half:].clone()
            else:
                renamed[f"{where}.{names[part]}.{kind}"] = value
    return renamed


def stored(folder: Path, weights: Any, name: str = "file.pth") -> Path:
    path = folder / name
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(weights, path)
    return path


@torch.no_grad()
def encodes(net: AnymodalSegmentor, encoder: dict[str, Tensor]) -> bool:
    image = torch.randn(1, 3, 40, 48)
    expected = reference.encode(encoder, "mit_b0", image)
    ours = net.eval().encode({"F": image})["F"]
    return all(torch.allclose(a.double(), b, rtol=1e-3, atol=1e-3) for a, b in zip(ours, expected, strict=True))


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["authors", "authors, classifier", "hub", "hub, classifier", "bare", "now", "ours", "segmentor", "parallel"]
)
def test_an_encoder_of_any_naming(
    tmp_path: Path, net: AnymodalSegmentor, encoder: dict[str, Tensor], decoder: dict[str, Tensor], form: str
) -> None:
    other = anymodal_segmentor(n_classes=9, backbone="mit_b0", decoder_width=4)
    load_encoder(other, stored(tmp_path, encoder))
    ours = other.state_dict()
    earlier = in_transformers(encoder)
    hub = {f"segformer.encoder.{k}": v for k, v in earlier.items()}
    weights, name = {
        "authors": (encoder, "mit_b0.pth"),
        "authors, classifier": ({"state_dict": encoder | HEAD}, "mit_b0.pth"),
        "hub": (hub, "model.safetensors"),
        "hub, classifier": (hub | {"classifier.weight": HEAD["head.weight"]}, "pytorch_model.bin"),
        "bare": ({f"encoder.{k}": v for k, v in earlier.items()}, "model.safetensors"),
        "now": ({f"segformer.{k[8:]}": v for k, v in ours.items() if k.startswith("encoder.")}, "model.safetensors"),
        "ours": (ours, "checkpoint.safetensors"),
        "segmentor": (
            {f"backbone.{k}": v for k, v in encoder.items()} | {f"decode_head.{k}": v for k, v in decoder.items()},
            "segformer.b0.pth",
        ),
        "parallel": ({f"module.{k}": v for k, v in encoder.items()}, "mit_b0.pth"),
    }[form]  # fmt: skip
    head = {k: v.clone() for k, v in net.head.state_dict().items()}
    assert not encodes(net, encoder)
    load_encoder(net, stored(tmp_path, weights, name))
    assert encodes(net, encoder)
    assert all(torch.equal(v, head[k]) for k, v in net.head.state_dict().items()), "the decoder stays"


def test_keys_come_before_values(tmp_path: Path, net: AnymodalSegmentor, encoder: dict[str, Tensor]) -> None:
    load_encoder(net, stored(tmp_path, encoder))
    own = net.state_dict()
    for stage, block in ((0, 1), (3, 0)):
        kv, width = encoder[f"block{stage + 1}.{block}.attn.kv.weight"], 32 * HEADS[stage]
        attention = f"encoder.stages.{stage}.blocks.{block}.attention"
        assert torch.equal(own[f"{attention}.k_proj.weight"], kv[:width])
        assert torch.equal(own[f"{attention}.v_proj.weight"], kv[width:])


@pytest.mark.parametrize("form", ["anyseg", "authors", "hub", "parallel", "short fuse"])
def test_a_teacher_of_another_program(
    tmp_path: Path, net: AnymodalSegmentor, encoder: dict[str, Tensor], decoder: dict[str, Tensor], form: str
) -> None:
    anyseg = {f"encoder.{k}": v for k, v in encoder.items()} | {f"decoder.{k}": v for k, v in decoder.items()}
    authors = {f"backbone.{k}": v for k, v in encoder.items()} | {f"decode_head.{k}": v for k, v in decoder.items()}
    earlier = {
        k.replace("linear_fuse.conv", "linear_fuse").replace("linear_fuse.bn", "batch_norm")
        .replace("linear_pred", "classifier"): v
        for k, v in decoder.items()
    }  # fmt: skip
    for i in range(4):
        earlier = {k.replace(f"linear_c{i + 1}.", f"linear_c.{i}."): v for k, v in earlier.items()}
    weights = {
        "anyseg": anyseg | {"classifier.weight": torch.ones(5, 256, 1, 1)},
        "authors": authors | {"decode_head.conv_seg.weight": HEAD["head.weight"]},
        "hub": {f"segformer.encoder.{k}": v for k, v in in_transformers(encoder).items()}
        | {f"decode_head.{k}": v for k, v in earlier.items()},
        "parallel": {"epoch": 3, "model_state_dict": {f"module.{k}": v for k, v in anyseg.items()}},
        "short fuse": {k.replace("linear_fuse.conv.", "linear_fuse."): v for k, v in anyseg.items()},
    }[form]  # fmt: skip
    load_into(net, stored(tmp_path, weights))
    assert encodes(net, encoder)
    stages = [torch.randn(1, c, s, s) for c, s in zip((32, 64, 160, 256), (12, 6, 3, 2), strict=True)]
    with torch.no_grad():
        logits = net.eval().head(stages, (12, 12))
    torch.testing.assert_close(logits.double(), reference.decode(decoder, stages), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"norm1.weight": None}, "1 missing, 0 unknown, 0 of another shape (first: stages.0.layer_norm.weight)"),
        ({"block1.0.attn.kv.bias": None}, "2 missing, 0 unknown, 0 of another shape (first: stages.0.blocks.0."),
        ({"pos_embed1": torch.ones(1)}, "0 missing, 1 unknown, 0 of another shape (first: pos_embed1)"),
        ({"block1.2.norm1.bias": torch.ones(32)}, "0 missing, 1 unknown, 0 of another shape (first: stages.0.blocks.2"),
        ({"patch_embed1.proj.weight": torch.ones(32, 4, 7, 7)}, "0 missing, 0 unknown, 1 of another shape"),
        ({"block4.1.attn.kv.weight": torch.ones(511, 256)}, "0 missing, 0 unknown, 1 of another shape"),
    ],
)  # fmt: skip
def test_an_encoder_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, net: AnymodalSegmentor, encoder: dict[str, Tensor], change: dict[str, Any], counts: str
) -> None:
    weights = {k: v for k, v in (encoder | change).items() if v is not None}
    before = digest(net.state_dict())
    with pytest.raises(DataError) as caught:
        load_encoder(net, stored(tmp_path, weights))
    assert len(caught.value.problems) == 1
    assert f"file.pth: the weights do not fit the encoder: {counts}" in caught.value.problems[0]
    assert digest(net.state_dict()) == before, "nothing is loaded by halves"


def test_weights_of_another_size_are_refused(tmp_path: Path, net: AnymodalSegmentor) -> None:
    larger = reference.random_weights(reference.encoder_shapes("mit_b1"))
    with pytest.raises(DataError, match="0 missing, 0 unknown, 192 of another shape"):
        load_encoder(net, stored(tmp_path, larger))
    ours = anymodal_segmentor(n_classes=5, backbone="mit_b0", decoder_width=9).state_dict()
    with pytest.raises(DataError, match="the weights do not fit the model: 0 missing, 0 unknown, 1"):
        load_into(net, stored(tmp_path, ours))


class Evil:
    def __reduce__(self) -> Any:
        return (os.system, ("true",))


def test_only_tensors_are_read(tmp_path: Path, net: AnymodalSegmentor, encoder: dict[str, Tensor]) -> None:
    for content in ({"head": Evil(), **encoder}, [1, 2], {"state_dict": {"norm1.weight": 3}}):
        with pytest.raises(DataError, match=r"not a checkpoint|expected a mapping"):
            load_encoder(net, stored(tmp_path, content))


def test_a_conv_encoder_starts_from_a_checkpoint_of_ours_too(tmp_path: Path) -> None:
    one, other = (anymodal_segmentor(n_classes=n, widths=[4, 8]) for n in (3, 5))
    save_weights(tmp_path / "one.safetensors", one.state_dict())
    load_encoder(other, tmp_path / "one.safetensors")
    assert digest(other.encoder.state_dict()) == digest(one.encoder.state_dict())


# --- initial weights ----------------------------------------------------------------------------------------------


def test_initial_weights_hang_on_the_seed_alone(data: SegmentationData) -> None:
    def initial(seed: int = 0, **options: Any) -> dict[str, Tensor]:
        return initial_model(MIT | options, data, seed=seed, role="student").state_dict()

    ours = initial()
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    assert digest(initial()) == digest(ours)
    assert torch.equal(before, torch.random.get_rng_state())
    assert digest(initial(1)) != digest(ours)
    wider = initial(decoder_width=12, drop_path=0.5)
    assert all(torch.equal(v, wider[k]) for k, v in ours.items() if k.startswith("encoder."))


def test_every_layer_begins_as_in_the_authors_code(data: SegmentationData) -> None:
    net = initial_model(MIT | {"decoder_width": 64}, data, seed=0, role="student")
    flat = []
    for name, module in net.named_modules():
        if isinstance(module, torch.nn.LayerNorm | torch.nn.BatchNorm2d):
            assert bool((module.weight == 1).all() and (module.bias == 0).all()), name
        if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            continue
        flat.append(module.weight.detach().flatten()[:50])
        std, n = module.weight.detach().std().item(), module.weight.numel()
        expected = 0.02
        if isinstance(module, torch.nn.Conv2d):
            assert module.kernel_size[0] == module.kernel_size[1]
            expected = (2 * module.groups / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5
        if name.startswith("head.") and name != "head.fuse":
            expected = (3 * module.in_channels if name == "head.classifier" else 3 * module.in_features) ** -0.5
        elif module.bias is not None:
            assert not module.bias.any(), name
        assert std == pytest.approx(expected, rel=4 / n**0.5), name
    assert all(not torch.equal(a, b) for i, a in enumerate(flat) for b in flat[:i]), "each layer has its own stream"
    assert not net.head.norm.running_mean.any()
    assert int(net.head.norm.num_batches_tracked) == 0


# --- model.weights ------------------------------------------------------------------------------------------------

RECIPE = """
name: tiny
data: {name: landsat, modalities: [V, N], tile: 32, block: 32, train_stride: 32}
model: {name: anymodal_segmentor, backbone: mit_b0, decoder_width: 8}
teacher: {name: anymodal_segmentor}
train: {epochs: 1, batch_size: 15}
losses: {sup: {weight: 1}, mad: {weight: 13}}
rows: [[sup], [sup, mad]]
seeds: [1]
"""


def planned(folder: Path, *overrides: str) -> Study:
    (folder / "mit.yaml").write_text(RECIPE)
    return open_study(str(folder / "mit.yaml"), overrides=list(overrides))


def test_a_run_starts_from_the_file_and_the_decoder_from_its_seed(
    tmp_path: Path, data: SegmentationData, encoder: dict[str, Tensor]
) -> None:
    path = stored(tmp_path, encoder | HEAD, "mit_b0.pth")
    known = {file_hash(path): str(path)}
    settings = MIT | {"weights": file_hash(path)}
    plain = initial_model(MIT, data, seed=0, role="student")
    net = initial_model(settings, data, seed=0, role="student", weight_files=known)
    assert isinstance(net, AnymodalSegmentor)
    assert encodes(net, encoder)
    assert digest(net.head.state_dict()) == digest(plain.head.state_dict())
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(DataError, match=r"mit_b0\.pth: the file has changed since the study was planned"):
        initial_model(settings, data, seed=0, role="student", weight_files=known)
    path.unlink()
    with pytest.raises(DataError, match=r"model\.weights: no such file"):
        initial_model(settings, data, seed=0, role="student", weight_files=known)
    with pytest.raises(DataError, match="is not known here"):
        initial_model(settings, data, seed=0, role="student")


def test_a_run_is_named_by_the_files_content_and_not_by_its_place(tmp_path: Path, encoder: dict[str, Tensor]) -> None:
    path = stored(tmp_path, encoder)
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "b.pth"
    moved.write_bytes(path.read_bytes())
    changed = stored(tmp_path, encoder | {"norm1.bias": torch.zeros(32)}, "other.pth")
    plain, one, two, three = (
        planned(tmp_path, *options) for options in ((), *([f"model.weights={name}"] for name in (path, moved, changed)))
    )
    ids = [[run.run_id for run in study.runs] for study in (plain, one, two, three)]
    assert ids[1] == ids[2]
    assert len({tuple(i) for i in ids}) == 3
    assert not set(ids[0]) & set(ids[1]), "the teacher copies the student's model, with what it starts from"
    assert one.weight_files == {file_hash(path): str(path)}
    assert two.weight_files == {file_hash(path): str(moved)}
    assert plain.weight_files == {}
    settings = json.dumps([run.settings for run in one.runs])
    assert str(tmp_path) not in settings
    assert all(run.settings["model"]["weights"] == file_hash(path) for run in one.runs)
    alone = planned(tmp_path, f"model.weights={path}", "teacher.weights=null")
    assert "weights" not in teachers(alone)[0].settings["model"]
    assert students(alone, rows=["sup"])[0].run_id == students(one, rows=["sup"])[0].run_id


def test_a_file_that_is_missing_is_told_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"^model.weights: no such file, got 'nowhere.pth'$"):
        planned(tmp_path, "model.weights=nowhere.pth")
    with pytest.raises(RecipeError, match=r"^teacher.weights: no such file, got 'nowhere.pth'$"):
        planned(tmp_path, "teacher.weights=nowhere.pth")


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["model.widths=[4]"], "model.widths: fixed by the backbone mit_b0"),
        (["model.depths=[2,2,2,2]"], "model.depths: fixed by the backbone mit_b0"),
        (["model.strides=[4]"], "model.strides: fixed by the backbone mit_b0"),
        (["model.in_channels=4"], "model.in_channels: fixed at 3 by the backbone mit_b0, got 4"),
        (["model.backbone=conv", "model.drop_path=0.1"], "model.drop_path: the backbone conv has none"),
        (["model.dropout=1"], "model.dropout: should be less than 1"),
        (["model.backbone=mit_b9"], "model.backbone: should be 'conv', 'mit_b0'"),
    ],
)
def test_options_that_the_backbone_has_not_are_told(tmp_path: Path, overrides: list[str], problem: str) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(tmp_path, *overrides)
    assert any(problem in line for line in caught.value.problems), caught.value.problems


def test_defaults_follow_the_backbone(tmp_path: Path) -> None:
    mit = planned(tmp_path).runs[-1].settings["model"]
    assert mit == {
        "name": "anymodal_segmentor", "backbone": "mit_b0", "in_channels": 3, "widths": None, "depths": None,
        "strides": None, "decoder_width": 8, "drop_path": 0.1, "dropout": 0.1,
    }  # fmt: skip
    plain = ["model.backbone=conv", "model.decoder_width=null"]
    conv = planned(tmp_path, *plain).runs[-1].settings["model"]
    assert conv == {
        "name": "anymodal_segmentor", "backbone": "conv", "in_channels": 3, "widths": [32, 64, 128], "depths": None,
        "strides": None, "decoder_width": 64,
    }  # fmt: skip


def test_features_are_compared_between_backbones_of_one_shape(tmp_path: Path) -> None:
    compared = ["losses.umd.weight=1", "rows=[[sup, umd]]"]
    with pytest.raises(
        RecipeError, match=r"teacher.widths is \[64, 128, 320, 512\], model.widths \[32, 64, 160, 256\]"
    ):
        planned(tmp_path, *compared, "teacher.backbone=mit_b2")
    planned(tmp_path, *compared, "model.backbone=mit_b1", "teacher.backbone=mit_b2")
    planned(tmp_path, "teacher.backbone=mit_b2")
    with pytest.raises(RecipeError, match=r"teacher.strides is \[4, 2, 2, 2\], model.strides \[1, 2, 2, 2\]"):
        planned(
            tmp_path, *compared, "model.backbone=conv", "model.widths=[32, 64, 160, 256]",
            "teacher.backbone=mit_b0", "teacher.widths=null",
        )  # fmt: skip
