"""What the networks of several modalities are built of: names, linear layers, heads, and the form of a fusion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


def module_key(modality: str) -> str:
    """The name under which a ModuleDict holds what belongs to a modality; no two modalities share one.

    The modality's own name wherever torch allows that: a dot, and what a ModuleDict has as an attribute ("type",
    "values"), are written otherwise.
    """
    key = modality.replace("%", "%25").replace(".", "%2e")
    return f"{key}%" if not key or hasattr(nn.ModuleDict, key) or hasattr(nn.ModuleDict(), key) else key


def by_modality(modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Modality -> module, as a ModuleDict whose keys are `module_key(modality)`."""
    return nn.ModuleDict({module_key(modality): module for modality, module in modules.items()})


class XavierLinear(nn.Linear):
    """A linear layer that begins with Xavier-normal weights and no bias.

    Source: `weight_init` of the code released with DGL, and of OGM-GE before it.
    """

    def reset_parameters(self) -> None:
        """Weights of variance 2 / (inputs + outputs), zero bias."""
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def linear(layer: nn.Linear, x: Tensor, detached: bool) -> Tensor:
    """What the layer makes of x (B, inputs); where `detached`, its weight and bias get no gradient from that."""
    if not detached:
        return layer(x)
    return F.linear(x, layer.weight.detach(), None if layer.bias is None else layer.bias.detach())


class Head(nn.Module):
    """Vectors to logits: one linear layer, or two with ReLU between them.

    Args:
        inputs: width D of the vectors.
        n_classes: K.
        hidden: width of the hidden layer; None for none.
    """

    def __init__(self, inputs: int, n_classes: int, hidden: int | None = None) -> None:
        super().__init__()
        self.hidden = None if hidden is None else XavierLinear(inputs, hidden)
        self.out = XavierLinear(inputs if hidden is None else hidden, n_classes)

    def forward(self, x: Tensor, detached: bool = False) -> Tensor:
        """(B, D) -> (B, K); where `detached`, no parameter of the head gets a gradient."""
        if self.hidden is not None:
            x = F.relu(linear(self.hidden, x, detached))
        return linear(self.out, x, detached)


class Fusion(nn.Module, ABC):
    """From the features of all modalities to logits; base of the fusions of vectors and of maps.

    Attributes:
        modalities: in the order in which they are fused.
        own_heads: modality (its `module_key`) -> head that sees that modality alone; empty where the unimodal path
            goes through the fusion itself.
        additive: whether the logits are a sum of what each modality contributes, and a constant, and those of a
            modality alone its contribution and a constant: concat with a linear head, and sum.
        trained_jointly: the multimodal loss trains what the unimodal logits come through; otherwise only a unimodal
            loss does.
    """

    additive = False

    def __init__(self, modalities: Sequence[str], own_heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.own_heads = by_modality(own_heads)
        self.trained_jointly = not own_heads

    @abstractmethod
    def forward(self, features: Mapping[str, Tensor], detached: bool = False) -> Tensor:
        """Modality -> features; returns logits (B, K). Where `detached`, the fusion's parameters get no gradient."""

    @abstractmethod
    def unimodal(self, features: Mapping[str, Tensor], modality: str, *, detach_head: bool = False) -> Tensor:
        """Logits (B, K) of one modality alone.

        Args:
            features: those of all modalities.
            modality: whose are looked at.
            detach_head: keep gradients from parameters that the multimodal logits come through as well; a head of
                the modality's own trains all the same.
        """


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Inside, batch norms use the batch's statistics in training as ever, but do not add them to the running ones.

    For a second pass over the same batch, which must not count twice.
    """
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
