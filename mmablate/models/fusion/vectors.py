"""Fusions of vectors: concatenation, sum, gate, FiLM, outer product, and the mean of separate heads.

Every fusion says what one modality alone gives through it (its unimodal path), in two variants:

- "principled" (methods note of DGL, section 5 of the definitions): concat and sum with the other modalities
  literally zero, all biases kept; gated, film and bilinear, where zeros would leave biases only, a linear head of
  each modality's own.
- "released", as the code published with DGL: sum the modality's branch alone, without the others' biases; gated,
  film and bilinear the modality fused with itself. The released gated fusion also cuts the gradient behind its two
  input layers, which then never train; here it is cut before them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mmablate.models.fusion.layers import Fusion, Head, XavierLinear, by_modality, linear, module_key

Widths = Mapping[str, int]  # modality -> D of its vectors, in the order in which they are fused


def _alone(features: Mapping[str, Tensor], modality: str) -> dict[str, Tensor]:
    """The same with zeros for every other modality."""
    return {name: z if name == modality else torch.zeros_like(z) for name, z in features.items()}


class Concat(Fusion):
    """Head of the concatenated vectors.

    Args:
        widths: modality -> D; any number of modalities.
        n_classes: K.
        hidden: width of the head's hidden layer; None (published) for a linear head.
    """

    def __init__(self, widths: Widths, n_classes: int, hidden: int | None = None) -> None:
        super().__init__(tuple(widths), {})
        self.additive = hidden is None
        self.head = Head(sum(widths.values()), n_classes, hidden)

    def forward(self, features: Mapping[str, Tensor], detached: bool = False) -> Tensor:
        """As `Fusion`."""
        return self.head(torch.cat([features[name] for name in self.modalities], 1), detached)

    def unimodal(self, features: Mapping[str, Tensor], modality: str, *, detach_head: bool = False) -> Tensor:
        """The other modalities are zero; the bias stays."""
        return self(_alone(features, modality), detach_head)


class Sum(Fusion):
    """Sum of the logits of one head a modality.

    Args:
        widths, n_classes: as `Concat`.
        hidden: width of every head's hidden layer; None (published) for linear heads.
        released: the unimodal path is the modality's own branch, not the sum at zeros.
    """

    def __init__(self, widths: Widths, n_classes: int, hidden: int | None = None, released: bool = False) -> None:
        super().__init__(tuple(widths), {})
        self.released, self.additive = released, True
        self.branches = by_modality({name: Head(width, n_classes, hidden) for name, width in widths.items()})

    def forward(self, features: Mapping[str, Tensor], detached: bool = False) -> Tensor:
        """As `Fusion`."""
        logits = [self.branches[module_key(name)](features[name], detached) for name in self.modalities]
        return torch.stack(logits).sum(0)

    def unimodal(self, features: Mapping[str, Tensor], modality: str, *, detach_head: bool = False) -> Tensor:
        """The other modalities are zero, all biases stay; released: the modality's branch."""
        if self.released:
            return self.branches[module_key(modality)](features[modality], detach_head)
        return self(_alone(features, modality), detach_head)


class Late(Fusion):
    """Mean of the logits of one head a modality; the heads are the modalities' own.

    Args: as `Concat`; `hidden` is that of every head.
    """

    def __init__(self, widths: Widths, n_classes: int, hidden: int | None = None) -> None:
        super().__init__(tuple(widths), {name: Head(width, n_classes, hidden) for name, width in widths.items()})
        self.trained_jointly = True

    def forward(self, features: Mapping[str, Tensor], detached: bool = False) -> Tensor:
        """As `Fusion`."""
        logits = [self.own_heads[module_key(name)](features[name], detached) for name in self.modalities]
        return torch.stack(logits).mean(0)

    def unimodal(self, features: Mapping[str, Tensor], modality: str, *, detach_head: bool = False) -> Tensor:
        """Logits of the modality's own head, which is never detached."""
        return self.own_heads[module_key(modality)](features[modality])


class _OfTwo(Fusion):
    """Base of the fusions in which a first vector x acts upon a second one, y.

    Args:
        widths: modality -> D, of exactly two.
        n_classes: K.
        hidden: width of what comes of the two; None: see the subclass.
        released: the unimodal path is the modality fused with itself; otherwise a linear head of its own.
        first: the modality that is x; None for the first one of `widths`.
        alike: whether fusing a modality with itself needs vectors of one width.

    Raises:
        ValueError: another number of modalities, a `first` that is none of them, or vectors of unlike width where
            each is to be fused with itself.
    """

    kind = ""
    alike = True

    def __init__(
        self,
        widths: Widths,
        n_classes: int,
        hidden: int | None = None,
        released: bool = False,
        first: str | None = None,
    ) -> None:
        if len(widths) != 2:
            raise ValueError(f"fusion {self.kind} joins exactly two modalities, got {', '.join(widths) or 'none'}")
        if first is not None and first not in widths:
            raise ValueError(f"conditions: {first!r} is none of the modalities {', '.join(widths)}")
        if released and self.alike and len(set(widths.values())) > 1:
            raise ValueError(f"fusion {self.kind}, unimodal released: vectors must be of one width, got {dict(widths)}")
        own = {} if released else {name: Head(width, n_classes) for name, width in widths.items()}
        super().__init__(tuple(widths), own)
        self.released = released
        self.first = next(iter(widths)) if first is None else first
        self.second = next(name for name in widths if name != self.first)
        self.build(widths[self.first], widths[self.second], n_classes, hidden)

    @abstractmethod
    def build(self, x: int, y: int, n_classes: int, hidden: int | None) -> None:
        """Makes the layers for vectors of widths x and y."""

    @abstractmethod
    def combine(self, x: Tensor, y: Tensor, detached: bool) -> Tensor:
        """Logits (B, K) of x (B, D_x) and y (B, D_y)."""

    def forward(self, features: Mapping[str, Tensor], detached: bool = False) -> Tensor:
        """As `Fusion`."""
        return self.combine(features[self.first], features[self.second], detached)

    def unimodal(self, features: Mapping[str, Tensor], modality: str, *, detach_head: bool = False) -> Tensor:
        """Logits of the modality's own head; released: of the modality fused with itself."""
        if not self.released:
            return self.own_heads[module_key(modality)](features[modality])
        return self.with_itself(features[modality], modality, detach_head)

    def with_itself(self, z: Tensor, modality: str, detached: bool) -> Tensor:
        """Logits of a modality in both places."""
        return self.combine(z, z, detached)


class Gated(_OfTwo):
    """fc_out(sigmoid(fc_x x) * fc_y y); `hidden` is the gate's width, None for that of y (published 512).

    Source: Kiela et al. 2018, arXiv:1802.02892, as in the code of OGM-GE and DGL.
    """

    kind = "gated"
    alike = False

    def build(self, x: int, y: int, n_classes: int, hidden: int | None) -> None:
        """As `_OfTwo`."""
        width = y if hidden is None else hidden
        self.fc_x, self.fc_y = XavierLinear(x, width), XavierLinear(y, width)
        self.fc_out = XavierLinear(width, n_classes)

    def combine(self, x: Tensor, y: Tensor, detached: bool) -> Tensor:
        """As `_OfTwo`."""
        return linear(self.fc_out, linear(self.fc_x, x, detached).sigmoid() * linear(self.fc_y, y, detached), detached)

    def with_itself(self, z: Tensor, modality: str, detached: bool) -> Tensor:
        """fc_out(sigmoid(h) * h) with the modality's own h, fc_x z or fc_y z."""
        h = linear(self.fc_x if modality == self.first else self.fc_y, z, detached)
        return linear(self.fc_out, h.sigmoid() * h, detached)


class Film(_OfTwo):
    """fc_out(gamma * y + beta) with gamma, beta = fc_x x: feature-wise linear modulation.

    `hidden`: y is first projected to that many features by a linear layer; None modulates y itself. Either way the
    logits are affine in y.

    Source: Perez et al. 2018, arXiv:1709.07871, equations 1 and 2, without the networks around it. The fusion that
    the code of DGL calls "film" is an outer product: see `Bilinear`.
    """

    kind = "film"

    def build(self, x: int, y: int, n_classes: int, hidden: int | None) -> None:
        """As `_OfTwo`."""
        width = y if hidden is None else hidden
        self.fc_x = XavierLinear(x, 2 * width)
        self.fc_y = None if hidden is None else XavierLinear(y, width)
        self.fc_out = XavierLinear(width, n_classes)

    def combine(self, x: Tensor, y: Tensor, detached: bool) -> Tensor:
        """As `_OfTwo`."""
        gamma, beta = linear(self.fc_x, x, detached).chunk(2, 1)
        if self.fc_y is not None:
            y = linear(self.fc_y, y, detached)
        return linear(self.fc_out, gamma * y + beta, detached)


class Bilinear(_OfTwo):
    """fc_out(fc(outer product of x and y)); `hidden` is the width between, None for that of y (published 512).

    With vectors of 512 its first layer has 134 million weights. Source: the fusion that the code of DGL calls
    "film"; it has no activation between its two layers.
    """

    kind = "bilinear"

    def build(self, x: int, y: int, n_classes: int, hidden: int | None) -> None:
        """As `_OfTwo`."""
        width = y if hidden is None else hidden
        self.fc, self.fc_out = XavierLinear(x * y, width), XavierLinear(width, n_classes)

    def combine(self, x: Tensor, y: Tensor, detached: bool) -> Tensor:
        """As `_OfTwo`."""
        outer = (x.unsqueeze(2) * y.unsqueeze(1)).flatten(1)
        return linear(self.fc_out, linear(self.fc, outer, detached), detached)


_OF_TWO: Mapping[str, type[_OfTwo]] = {"gated": Gated, "film": Film, "bilinear": Bilinear}
VECTOR_FUSIONS = ("concat", "sum", "late", *_OF_TWO)


def vector_fusion(
    fusion: str,
    widths: Widths,
    n_classes: int,
    *,
    hidden: int | None = None,
    unimodal: str = "principled",
    conditions: str | None = None,
) -> Fusion:
    """The fusion of that name.

    Args:
        fusion: one of `VECTOR_FUSIONS`.
        widths: modality -> D, in the order in which they are fused.
        n_classes: K.
        hidden: see the classes.
        unimodal: "principled" or "released".
        conditions: of gated and film, the modality that gates or modulates the other; None for the first.

    Raises:
        ValueError: no such fusion or variant, or one that does not exist for these modalities.
    """
    if unimodal not in ("principled", "released"):
        raise ValueError(f"unimodal must be principled or released, got {unimodal!r}")
    if not widths:
        raise ValueError("a classifier needs at least one modality")
    released = unimodal == "released"
    if fusion in _OF_TWO:
        return _OF_TWO[fusion](widths, n_classes, hidden, released, conditions)
    of_any: dict[str, Callable[[], Any]] = {
        "concat": lambda: Concat(widths, n_classes, hidden),
        "sum": lambda: Sum(widths, n_classes, hidden, released),
        "late": lambda: Late(widths, n_classes, hidden),
    }
    if fusion not in of_any:
        raise ValueError(f"no fusion of vectors is called {fusion!r} (there are: {', '.join(VECTOR_FUSIONS)})")
    made: Fusion = of_any[fusion]()
    return made
