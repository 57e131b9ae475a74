"""Meta-Drop: a bi-level step, inner on one batch and outer by the loss on another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from mmablate.data.volume_batches import VolumeBatch
from mmablate.methods.incomplete import IncompleteTraining
from mmablate.methods.terms import Term
from mmablate.methods.volume_terms import VolumeStep, pixel_values
from mmablate.models.volumes import Segmented


class MetaDrop(IncompleteTraining):
    """φ ← φ0 + α(φ̃ − φ0) − η_out ∇L_meta(φ̃), with φ̃ the weights after the inner step from φ0.

    The inner step is that of `train`: its learning rate is η_in, its optimiser may be AdamW. The outer step is plain
    gradient descent; the moments of the inner optimiser know nothing of it, and the next inner step starts from φ.

    Args:
        alpha: share of the inner step that is kept; 0 is first-order MAML with one inner step, and η_out = 0 with
            α < 1 the Lookahead of one step.
        eta_out: step size of the outer step.
        schedule_outer: it follows the schedule of the learning rate.
        order: "second" differentiates through the inner step; what losses and model hold fixed (teachers, gates) stays
            fixed there.
        others: as for `IncompleteTraining`.

    Source: PRISM documentation, Meta-Drop, sections 1 and 2. The script of that name released later differs: α = 0, an
    outer step with Adam's moments, complete subjects as the meta batch (`meta.masks: full`), no distillation.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        eta_out: float = 1e-2,
        schedule_outer: bool = True,
        order: str = "first",
        **others: Any,
    ) -> None:
        super().__init__(**{**others, "second": "outer"})
        self.alpha, self.eta_out, self.schedule_outer, self.order = alpha, eta_out, schedule_outer, order

    @property
    def looks_ahead(self) -> bool:
        """Whether a step has any use for a meta batch; without, it ends with the interpolation."""
        return self.eta_out > 0 or self.balance == "meta"

    def weigh(self, gradient: Tensor) -> None:
        """Changes β against the gradient (M,) of the meta loss, at every step.

        The gradient is taken at unit length: its own is proportional to η_in, and no rule was published. Bounds and
        norm are those of the balance by relative preference.
        """
        length = float(gradient.norm())
        if not (length > 0 and length < float("inf")):
            return
        moved = self.beta - self.balance_rate * gradient.double().cpu() / length
        moved = moved.clamp(self.balance_low, self.balance_high)
        self.beta = 2 * moved / moved.norm()

    def slopes(
        self,
        model: nn.Module,
        start: Mapping[str, Tensor],
        direction: Mapping[str, Tensor],
        batch: VolumeBatch,
        terms: Sequence[Term],
    ) -> Tensor:
        """⟨∇_φ ∂L_train/∂β_m, direction⟩ at φ0 for every modality m, (M,), by forward-mode differentiation.

        Args:
            start: φ0 by parameter name.
            direction: of the same shapes.
            batch: that of the inner step.
        """
        mask = self.hidden(batch)

        def by_modality(parameters: dict[str, Tensor]) -> Tensor:
            forward: Callable[..., Segmented] = lambda *args, **named: functional_call(  # noqa: E731
                model, parameters, args, named
            )
            return self._by_modality(self.step(forward, batch, mask, record=False), terms)

        with warnings.catch_warnings():  # torch 2.13 scripts its own rules of differentiation, which it deprecates
            warnings.filterwarnings("ignore", message=r".*torch\.jit\.", category=DeprecationWarning)
            slopes: Tensor = jvp(by_modality, (dict(start),), (dict(direction),))[1]
        return slopes

    def _by_modality(self, step: VolumeStep, terms: Sequence[Term]) -> Tensor:
        """∂L_train/∂β, (M,): the pixel term's part of each modality."""
        columns = step.output.pairs[:, 1].to(step.labels.device)  # pairs lie where the masks do, on the CPU
        total = torch.zeros(len(self.modalities), device=step.labels.device, dtype=step.logits.dtype)
        for term in [term for term in terms if term.key_term == "pixel"]:
            values = pixel_values(step, definition=term.definition, **term.options) * step.rate  # type: ignore[arg-type]
            total = total.index_add(0, columns, (values * (term.weight / len(step.labels))).to(total.dtype))
        return total


def outer_step(
    parameters: Sequence[Tensor],
    start: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    *,
    alpha: float,
    eta: float,
) -> None:
    """φ ← φ0 + α(φ̃ − φ0) − η g, in place.

    `torch.lerp` gives φ̃ to the bit for α = 1 and φ0 for α = 0, which the literal form does not.

    Args:
        parameters: φ̃, which become φ.
        start: φ0.
        gradients: g, None for a parameter that the loss does not depend on.
        alpha: share of the inner step that is kept.
        eta: at 0 the gradients are not looked at.
    """
    with torch.no_grad():
        for p, p0, g in zip(parameters, start, gradients, strict=True):
            p.copy_(torch.lerp(p0, p, alpha))
            if eta and g is not None:
                p.sub_(eta * g)


def through_inner_step(
    meta: Sequence[Tensor | None],
    inner: Sequence[Tensor | None],
    parameters: Sequence[Tensor],
    *,
    eta: float,
    decays: Sequence[float],
) -> list[Tensor | None]:
    """(I − η_in (H + w)) g: the meta gradient g at φ̃ = φ0 − η_in (∇L_train + w φ0), with respect to φ0.

    Args:
        meta: g by parameter, at φ̃.
        inner: ∇L_train at φ0, with the graph that it was computed by.
        parameters: φ0, the leaves of that graph.
        eta: η_in.
        decays: weight decay w of every parameter.

    Source: Finn et al. 2017, arXiv:1703.03400, section 2.2.
    """
    used = [(g, v) for g, v in zip(inner, meta, strict=True) if g is not None and g.requires_grad and v is not None]
    outputs, vectors = [g for g, _ in used], [v for _, v in used]
    products = (
        torch.autograd.grad(outputs, list(parameters), vectors, allow_unused=True) if used else [None] * len(meta)
    )
    found: list[Tensor | None] = []
    for v, product, decay in zip(meta, products, decays, strict=True):
        if v is None and product is None:
            found.append(None)
            continue
        own = torch.zeros_like(product) if v is None else v  # type: ignore[arg-type]
        curved = decay * own if product is None else product + decay * own
        found.append(own - eta * curved)
    return found
