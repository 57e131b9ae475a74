"""Names of SegFormer weights, as others save them, to ours.

Known are the files of the authors (NVlabs/SegFormer: `patch_embed1`, `block1.0.attn.kv`, ... with a decoder of
`linear_c1.proj`, `linear_fuse`, `linear_pred`), of AnySeg, which has the same encoder and decoder as `encoder`
and `decoder`, and of transformers, before and since its version 5 (`segformer.encoder.block.0.0...`,
`stages.0.blocks.0...`). Ours for the encoder are those of transformers 5, whichever version is installed.

Where the authors keep keys and values in one matrix, `kv`, the keys come first (`Attention.forward` of
NVlabs/SegFormer; `read_in_k_v` of transformers' converter).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_ENCODER = ("segformer.encoder.", "segformer.", "backbone.", "encoder.")
_DECODER = ("decode_head.", "decoder.", "head.")
# An encoder that was saved by itself has no prefix.
_BARE = re.compile(r"(patch_embed\d|block\d|norm\d)\.|(patch_embeddings|block|layer_norm|stages)\.\d+\.")
# Layers for classifying images or of an auxiliary loss, which no segmentation reads.
_UNUSED = re.compile(r"head\.(weight|bias)|classifier\.(weight|bias)|decode_head\.conv_seg\.(weight|bias)")

# Parts of a block: of the authors, of transformers before 5, and ours.
_BLOCK_PARTS = (
    ("norm1", "layer_norm_1", "layernorm_before"),
    ("attn.q", "attention.self.query", "attention.q_proj"),
    ("attn.kv", None, "attention.kv"),
    (None, "attention.self.key", "attention.k_proj"),
    (None, "attention.self.value", "attention.v_proj"),
    ("attn.proj", "attention.output.dense", "attention.o_proj"),
    ("attn.sr", "attention.self.sr", "attention.sequence_reduction.sequence_reduction"),
    ("attn.norm", "attention.self.layer_norm", "attention.sequence_reduction.layer_norm"),
    ("norm2", "layer_norm_2", "layernorm_after"),
    ("mlp.fc1", "mlp.dense1", "mlp.fc1"),
    ("mlp.fc2", "mlp.dense2", "mlp.fc2"),
)
_AUTHORS = {theirs: ours for theirs, _, ours in _BLOCK_PARTS if theirs}
_EARLIER = {theirs: ours for _, theirs, ours in _BLOCK_PARTS if theirs}
_DECODER_PARTS = {
    "linear_fuse": "fuse", "linear_fuse.conv": "fuse", "linear_fuse.bn": "norm", "batch_norm": "norm",
    "linear_pred": "classifier",
}  # fmt: skip


def own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a SegFormer, whole or its encoder, under the names of an `AnymodalSegmentor` with a MiT.

    Layers that no segmentation reads are left out; a name that is not understood stays as it is, for the caller
    to tell.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if _UNUSED.fullmatch(name):
            continue
        own = _own_name(name)
        if ".attention.kv." in own:
            keys, values = value.chunk(2)
            renamed[own.replace(".kv.", ".k_proj.")] = keys.clone()
            renamed[own.replace(".kv.", ".v_proj.")] = values.clone()
        else:
            renamed[own] = value
    return renamed


def _own_name(name: str) -> str:
    for prefix in _ENCODER:
        if name.startswith(prefix) and _known(local := encoder_name(name.removeprefix(prefix))):
            return f"encoder.{local}"
    if _BARE.match(name):
        return f"encoder.{encoder_name(name)}"
    for prefix in _DECODER:
        if name.startswith(prefix):
            return f"head.{_decoder_name(name.removeprefix(prefix))}"
    return name


def _known(local: str) -> bool:
    return local.startswith("stages.")


def encoder_name(name: str) -> str:
    """Our name of a module or weight of the encoder, given without prefix; unknown ones stay."""
    if match := re.fullmatch(r"patch_embed(\d)\.(proj|norm)(.*)", name):
        part = {"norm": "layer_norm"}.get(match[2], match[2])
        return f"stages.{int(match[1]) - 1}.patch_embeddings.{part}{match[3]}"
    if match := re.fullmatch(r"norm(\d)(\..*)?", name):
        return f"stages.{int(match[1]) - 1}.layer_norm{match[2] or ''}"
    if match := re.fullmatch(r"block(\d)\.(\d+)\.(.*)", name):
        return f"stages.{int(match[1]) - 1}.blocks.{match[2]}.{_part(match[3], _AUTHORS)}"
    if match := re.fullmatch(r"(patch_embeddings|layer_norm)\.(\d+)(\..*)?", name):
        return f"stages.{match[2]}.{match[1]}{match[3] or ''}"
    if match := re.fullmatch(r"block\.(\d+)\.(\d+)\.(.*)", name):
        return f"stages.{match[1]}.blocks.{match[2]}.{_part(match[3], _EARLIER)}"
    return name


def block_name(name: str) -> str:
    """Our name of a module or weight inside a block of whichever transformers is installed."""
    return _part(name, _EARLIER)


def _part(name: str, table: Mapping[str, str]) -> str:
    """The longest known beginning of the name, at a dot, replaced."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        head = ".".join(parts[:count])
        if head in table:
            return ".".join([table[head], *parts[count:]])
    return name


def _decoder_name(name: str) -> str:
    """Our name of a weight of the decoder, given without prefix; unknown ones stay."""
    if match := re.fullmatch(r"linear_c(\d)\.proj\.(.*)", name):
        return f"projections.{int(match[1]) - 1}.{match[2]}"
    if match := re.fullmatch(r"(?:linear_c|linear_projections)\.(\d)\.proj\.(.*)", name):
        return f"projections.{match[1]}.{match[2]}"
    return _part(name, _DECODER_PARTS)
