"""Autocast inside `vmap`.

There the batching rules come before torch's autocast: an operator is taken apart first, and autocast sees only
its parts, of which it knows few (on a CPU a convolution stays in float32; everywhere a softmax or a norm keeps
its half-precision input). So what autocast would do is done here, one level up, where the operators are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

# By the name of the function or method, of the operators that networks and losses are made of; as autocast on CUDA
# sorts them ("Autocast Op Reference" of torch's documentation). What is in neither list keeps the type of its input.
LOWER = frozenset([
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear", "matmul",
    "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv", "addr", "einsum",
    "bilinear", "prelu", "scaled_dot_product_attention",
])  # fmt: skip
FLOAT32 = frozenset([
    "softmax", "log_softmax", "softmin", "layer_norm", "group_norm", "instance_norm", "rms_norm", "norm",
    "cosine_similarity", "cosine_embedding_loss", "cross_entropy", "nll_loss", "kl_div", "mse_loss", "l1_loss",
    "smooth_l1_loss", "huber_loss", "soft_margin_loss", "triplet_margin_loss", "exp", "expm1", "log", "log10",
    "log1p", "log2", "pow", "__pow__", "__rpow__", "reciprocal", "rsqrt", "sinh", "cosh", "tan", "acos", "asin",
    "erfinv", "softplus", "sum", "prod", "cumsum", "cumprod", "logsumexp", "dist", "pdist", "cdist", "renorm",
])  # fmt: skip


class WholeOperators(TorchFunctionMode):
    """Casts the arguments of whole operators as autocast would, wherever it is on.

    Args:
        device: whose autocast is meant.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device_type = device.type

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The function's result on arguments of the type that autocast prescribes."""
        name, options = getattr(func, "__name__", ""), dict(kwargs or {})
        if (name in LOWER or name in FLOAT32) and torch.is_autocast_enabled(self.device_type):
            wanted = torch.get_autocast_dtype(self.device_type) if name in LOWER else torch.float32
            args, options = tree_map(lambda x: _cast(x, wanted), (tuple(args), options))
        return func(*args, **options)


def _cast(x: Any, wanted: torch.dtype) -> Any:
    if isinstance(x, Tensor) and x.is_floating_point() and x.dtype not in (wanted, torch.float64):
        return x.to(wanted)
    return x


def whole_operators(device: torch.device) -> AbstractContextManager[Any]:
    """`WholeOperators` where autocast is on."""
    return WholeOperators(device) if torch.is_autocast_enabled(device.type) else nullcontext()
