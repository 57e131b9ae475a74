"""OGM-GE: the gradient of the encoder that is ahead is scaled down, and noise is added to it.

Source: Peng et al., "Balanced multimodal learning via on-the-fly gradient modulation", CVPR 2022, arXiv:2203.15332.
The form here (ratio of the summed probabilities of the true class; k = 1 - tanh(alpha rho) where rho > 1, else 1; its
equation 10) was checked against several public ports of the released code, which agree on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

DEFINITIONS = ("principled", "released")


def discrepancy(logits: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """How far each modality is ahead of the others in a batch.

    rho_m = sum over samples of p_m(true class) / mean over the other modalities of their such sums; of two
    modalities, as published, the ratio of one to the other, so that their product is 1.

    Args:
        logits: modality -> (B, K) from that modality alone; detached here. In a concat fusion the product of its
            features with its part of the head, plus half the bias.
        labels: (B,) int64, each 0..K-1.

    Returns:
        Modality -> scalar, float64, on the device of the logits: nothing waits for it.

    Raises:
        ValueError: fewer than two modalities, or shapes that do not belong together.

    For more than two modalities the paper says nothing; a port that divides by the sum of the others instead hardly
    ever finds one above 1.
    """
    return discrepancy_of(true_class_sums(logits, labels))


def true_class_sums(logits: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """Modality -> sum over samples of p_m(true class), float64; those of a batch's parts add up to the batch's.

    Raises:
        ValueError: shapes that do not belong together.
    """
    sums = {}
    for name, own in logits.items():
        if own.ndim != 2 or labels.shape != own.shape[:1] or len(labels) == 0:
            raise ValueError(
                f"{name}: logits (B, K) and labels (B,) expected, got {tuple(own.shape)} and {tuple(labels.shape)}"
            )
        chosen = torch.log_softmax(own.detach().double(), 1).gather(1, labels.unsqueeze(1))
        sums[name] = chosen.exp().sum()
    return sums


def discrepancy_of(sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`discrepancy` from the sums of `true_class_sums`.

    Raises:
        ValueError: fewer than two modalities.
    """
    if len(sums) < 2:
        raise ValueError(f"two modalities at least can be compared, got {sorted(sums)}")
    kept = {name: own.clamp(min=torch.finfo(torch.float64).tiny) for name, own in sums.items()}
    return {
        name: own / (torch.stack([kept[other] for other in kept if other != name]).mean()) for name, own in kept.items()
    }


def coefficients(rho: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Factors of the encoders' gradients: 1 - tanh(alpha rho) where rho > 1, else 1.

    Args:
        rho: modality -> scalar, as `discrepancy` gives it.
        alpha: strength >= 0; 0 leaves every gradient as it is. A port reports 0.8 for CREMA-D and 0.1 for
            VGGSound; the released default is to modulate during the first 50 epochs.

    Returns:
        Modality -> scalar in (0, 1]. It jumps at rho = 1, from 1 to 1 - tanh(alpha): as published.

    Raises:
        ValueError: alpha < 0.
    """
    if not alpha >= 0:
        raise ValueError(f"alpha must be at least 0, got {alpha}")
    return {name: torch.where(own > 1, 1 - torch.tanh(alpha * own), torch.ones_like(own)) for name, own in rho.items()}


def modulate_(
    parameters: Iterable[nn.Parameter],
    k: Tensor | float,
    generator: torch.Generator,
    *,
    noise: bool,
    definition: str = "principled",
) -> None:
    """Scale the gradients of an encoder and add noise to them, in place.

    grad <- k grad + n with n normal, of mean 0 and, in every tensor, of the standard deviation that the entries of
    its gradient had before scaling. Parameters without a gradient are left out.

    Args:
        parameters: of one encoder; their order is that of the draws.
        k: factor in [0, 1].
        generator: of the CPU, whatever the parameters' device, so that noise does not depend on it.
        noise: False is OGM without GE; nothing is drawn then. The released code adds noise to all encoders, whether
            they were scaled or not.
        definition: one of

            - ``principled``: every parameter.
            - ``released``: weights of convolutions only, that is gradients of four dimensions (an encoder without
              them is not modulated at all), and 1e-8 more noise.

    Raises:
        ValueError: unknown definition, or a generator of another device.

    The paper asks for noise with the covariance of the gradient over batches; the spread over entries is what the
    released code takes for it, here too.
    """
    if definition not in DEFINITIONS:
        raise ValueError(f"definition must be one of {DEFINITIONS}, got {definition!r}")
    if generator.device.type != "cpu":
        raise ValueError(f"a generator of the CPU is needed, got one of {generator.device}")
    released = definition == "released"
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None or (released and gradient.ndim != 4):
            continue
        if not noise:
            gradient.mul_(k)
            continue
        deviation = gradient.float().std() if gradient.numel() > 1 else torch.zeros((), device=gradient.device)
        drawn = torch.randn(gradient.shape, generator=generator).to(gradient.device)
        drawn *= deviation + 1e-8 if released else deviation
        gradient.mul_(k).add_(drawn)
