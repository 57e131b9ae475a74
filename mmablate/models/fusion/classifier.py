"""A classifier of several modalities whose gradients can be kept from parts of it, as DGL needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from mmablate.models.fusion.layers import Fusion, XavierLinear, by_modality, module_key, statistics_kept


class Fused(NamedTuple):
    """What a classifier of several modalities gives for a batch.

    A named tuple of tensors and dicts, since that is what DistributedDataParallel looks into for tensors.

    Attributes:
        logits: (B, K), of all modalities together.
        unimodal: modality -> logits (B, K) of it alone; empty unless asked for.
        features: modality -> pooled features (B, D_m) as the encoders gave them, not detached.
        experts: modality -> embedding (B, d) and logits (B, K) of its expert; empty unless asked for.
        additive: whether the logits are a sum of what each modality contributes, and a constant. Those of a modality
            alone are then its contribution and a constant, so that `logits` less them is what the others contribute.
    """

    logits: Tensor
    unimodal: dict[str, Tensor]
    features: dict[str, Tensor]
    experts: dict[str, tuple[Tensor, Tensor]]
    additive: bool = False


class Expert(nn.Module):
    """What one modality alone can say: a narrow embedding with logits of its own.

    Args:
        inputs: width D of the features.
        width: d of the embedding.
        n_classes: K.

    The embedding is linear in the features, since the redundancy of two experts is measured as that of Gaussian
    vectors, and without dead units; the features behind it are rectified already.
    """

    def __init__(self, inputs: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.embed, self.out = XavierLinear(inputs, width), XavierLinear(width, n_classes)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> embedding u (B, d), logits (B, K)."""
        u = self.embed(z)
        return u, self.out(u)


class MultimodalClassifier(nn.Module):
    """One encoder a modality, a fusion of what they give, and, on request, one expert a modality.

    Args:
        encoders: modality -> encoder to vectors (B, D) or maps (B, C, H, W), with `dim`, D or C.
        fusion: of the same modalities.
        n_classes: K.
        experts: width d of the experts; None for none.

    Modules are called `encoders.<modality>`, `fusion`, `experts.<modality>`, whatever the fusion, so that models
    with the same encoders begin with the same encoders (`module_key` says how odd names of modalities are written).
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], fusion: Fusion, n_classes: int, experts: int | None = None
    ) -> None:
        super().__init__()
        self.modalities = fusion.modalities
        if set(encoders) != set(self.modalities):
            raise ValueError(f"encoders of {', '.join(encoders)} for a fusion of {', '.join(self.modalities)}")
        self.encoders = by_modality({name: encoders[name] for name in self.modalities})
        self.fusion = fusion
        self.experts: nn.ModuleDict | None = None
        if experts is not None:
            dims = {name: int(encoders[name].dim) for name in self.modalities}  # type: ignore[arg-type]
            self.experts = by_modality({name: Expert(dim, experts, n_classes) for name, dim in dims.items()})

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        *,
        unimodal: bool = False,
        truncate: bool = False,
        detach_head: bool = False,
        experts: bool = False,
    ) -> Fused:
        """Modality -> inputs (B, *shape).

        Args:
            inputs: of every modality of the model; others are not looked at.
            unimodal: also give the logits of each modality alone.
            truncate: the fusion sees detached features: the encoders get no gradient of the multimodal logits.
            detach_head: a head that the modalities share gets no gradient of the unimodal logits; own heads do.
            experts: also ask the experts, which see the features undetached.

        DGL trains on `unimodal`, `truncate` and `detach_head` together: one backward of alpha sum L_m + L_multi is
        then, to the bit, the published two passes.

        Raises:
            ValueError: experts of a model that has none.
        """
        features = self.encode(inputs)
        pooled = self.pooled(features)
        seen = {name: z.detach() for name, z in features.items()} if truncate else features
        logits = self.fuse(seen)
        alone: dict[str, Tensor] = {}
        if unimodal:
            with statistics_kept(self.fusion):  # the fusion has counted this batch
                alone = {
                    name: self.unimodal_logits(features, name, detach_head=detach_head) for name in self.modalities
                }
        return Fused(logits, alone, pooled, self.ask_experts(pooled) if experts else {}, self.additive)

    @property
    def additive(self) -> bool:
        """As of `Fused`."""
        return self.fusion.additive

    def encode(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the fusion takes: modality -> vectors (B, D) or maps (B, C, H, W)."""
        return {name: self.encoders[module_key(name)](inputs[name]) for name in self.modalities}

    def fuse(self, features: Mapping[str, Tensor]) -> Tensor:
        """Multimodal logits (B, K) of what `encode` gave."""
        logits: Tensor = self.fusion(features)
        return logits

    def unimodal_logits(self, features: Mapping[str, Tensor], modality: str, *, detach_head: bool = False) -> Tensor:
        """Logits (B, K) of one modality alone, by the fusion's unimodal path; `detach_head` as in `forward`."""
        return self.fusion.unimodal(features, modality, detach_head=detach_head)

    def pooled(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Modality -> vectors (B, D): what `encode` gave, maps averaged over rows and columns."""
        return {name: z.mean((2, 3)) if z.ndim == 4 else z for name, z in features.items()}

    def ask_experts(self, pooled: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Modality -> embedding (B, d) and logits (B, K) of its expert, of what `pooled` gave.

        Raises:
            ValueError: the model has no experts.
        """
        if self.experts is None:
            raise ValueError("the model was built without experts")
        return {name: self.experts[module_key(name)](pooled[name]) for name in self.modalities}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Every parameter in exactly one of "encoder.<modality>", "fusion", "own_heads" and "experts".

        A part may be empty: concat and sum have no own heads, late has nothing else.
        """
        parts = {f"encoder.{name}": list(self.encoders[module_key(name)].parameters()) for name in self.modalities}
        own = list(self.fusion.own_heads.parameters())
        known = {id(parameter) for parameter in own}
        parts["fusion"] = [parameter for parameter in self.fusion.parameters() if id(parameter) not in known]
        parts["own_heads"] = own
        parts["experts"] = [] if self.experts is None else list(self.experts.parameters())
        return parts
