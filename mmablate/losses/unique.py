"""Terms of an expert that learns what only its modality tells of the label.

Unique information of X1 against X2 is I(X1; Y) - [I(X1; X2) - I(X1; X2 | Y)] less its synergistic part
(arXiv:2306.05268, which splits I(X1; Y | X2) so). `unique_cross_entropy` raises the first term where the other
modality fails, `redundancy` is the bracket, to be made small; both are surrogates, not estimators.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmablate.losses.divergence import at_least_float32
from mmablate.losses.supervised import cross_entropy

LEAST_SHARE = 0.05
LEAST_SHRINKAGE = 1e-3

Shrinkage = float | str
"""``"analytic"``, or a share in (0, 1]."""


def unique_cross_entropy(logits: Tensor, other_true_probability: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of an expert, weighted by how far the other modality is from the truth.

    sum(w CE) / max(sum(w), 0.05 B) with w = 1 - p_other(y), not differentiated.

    Args:
        logits: (B, K) of the expert.
        other_true_probability: (B,) in 0..1, what the other modalities give the true class; detached here.
        labels: (B,) int64, each 0..K-1.

    Returns:
        Scalar, nats, at least float32. Where the other modality knows every answer the term goes to 0 with the
        weights: divided by their sum alone it would amplify the few samples that are left.

    Raises:
        ValueError: shapes that do not belong together, or labels that are not int64.

    Source: our own; a heuristic, not an estimate of unique information.
    """
    if other_true_probability.shape != labels.shape:
        raise ValueError(
            f"one probability a label expected, got {tuple(other_true_probability.shape)} and {tuple(labels.shape)}"
        )
    losses = _sample_losses(logits, labels)
    weights = 1 - other_true_probability.detach().to(losses.dtype)
    return (weights * losses).sum() / weights.sum().clamp(min=LEAST_SHARE * labels.shape[0])


def residual_cross_entropy(logits: Tensor, other_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the sum of logits, of which only those of one modality learn.

    The obvious unique-information expert, and a trap: through a shared linear head on concatenated features, its
    gradient in the encoder is that of the multimodal loss, so that it brings back the very coupling which gradient
    truncation cuts. Kept as an arm of the ablation.

    Args:
        logits: (B, K) of the modality.
        other_logits: (B, K) of the others; detached here.
        labels: (B,) int64, each 0..K-1.

    Returns:
        Scalar, nats per sample, at least float32.

    Raises:
        ValueError: shapes that do not belong together, or labels that are not int64.
    """
    if logits.shape != other_logits.shape:
        raise ValueError(f"logits differ in shape: {tuple(logits.shape)} and {tuple(other_logits.shape)}")
    joint = at_least_float32(logits) + at_least_float32(other_logits.detach())
    return cross_entropy(joint, labels, ignore_label=None)


def gaussian_information(u: Tensor, z: Tensor, *, shrinkage: Shrinkage = "analytic") -> Tensor:
    """Mutual information of two vectors, as if they were jointly Gaussian.

    (log det R_u + log det R_z - log det R) / 2 with R the correlation matrix of all d + e variables, its entries off
    the diagonal shrunk towards 0: (1 - s) r.

    Args:
        u: (B, d).
        z: (B, e) of the same samples; differentiated too, so detach it where it is to stand still.
        shrinkage: s, in (0, 1], or ``"analytic"``: the estimate of Schaefer and Strimmer of the share with least
            squared error, kept within [0.001, 1] and not differentiated. It goes to 0 as B grows.

    Returns:
        Scalar >= 0 up to rounding, nats, at least float32. Finite for any B >= 1, also below d + e, since no
        eigenvalue is below s. Unchanged by any shift and (other than 0) scale of a variable; a constant variable
        counts as independent of the others and gets no gradient. Linear dependence is all it sees.

    Raises:
        ValueError: not (B, d) and (B, e), no sample, or a shrinkage that is neither.

    Source: Schaefer and Strimmer 2005, Stat. Appl. Genet. Mol. Biol. 4:32, target D with unit variances ("shrinking
    correlations").
    """
    _check(u, z, shrinkage)
    return _information(_centred(u), _centred(z), shrinkage)


def gaussian_conditional_information(
    u: Tensor, z: Tensor, labels: Tensor, *, shrinkage: Shrinkage = "analytic"
) -> Tensor:
    """I(u; z | Y), as if u and z were jointly Gaussian in each class, with one covariance for all classes.

    `gaussian_information` of what is left of u and z after subtracting the mean of the class.

    Args:
        u, z, shrinkage: as there.
        labels: (B,) integer classes. The only sample of a class leaves nothing: it counts as a zero.

    Returns:
        Scalar, nats. Means of classes cost degrees of freedom, which is not corrected: where classes have few samples
        in the batch, it lies higher than `gaussian_information` would of as many samples.

    Raises:
        ValueError: as there, or another number of labels.
    """
    _check(u, z, shrinkage)
    if labels.shape != u.shape[:1]:
        raise ValueError(f"labels ({u.shape[0]},) expected, got {tuple(labels.shape)}")
    # A matrix of who is of one's class: no number of classes to be known, and no scatter.
    alike = (labels[:, None] == labels[None]).to(torch.promote_types(u.dtype, torch.float32))
    averaging = alike / alike.sum(1, keepdim=True)
    with torch.autocast(u.device.type, enabled=False):
        within_u, within_z = (_centred(x - averaging.to(x.dtype) @ x, x) for x in map(at_least_float32, (u, z)))
    return _information(within_u, within_z, shrinkage)


def redundancy(u: Tensor, z: Tensor, labels: Tensor, *, shrinkage: Shrinkage = "analytic") -> Tensor:
    """I(u; z) - I(u; z | Y), both Gaussian: what u and z share because of the label.

    Args:
        u, z, labels, shrinkage: as in `gaussian_conditional_information`.

    Returns:
        Scalar, nats. Negative where u and z are more dependent within classes than overall: it estimates redundant
        minus synergistic information, of which the latter may be larger.

    Raises:
        ValueError: as there.

    Source: the interaction information; FactorCL, arXiv:2306.05268, equation 3.
    """
    overall = gaussian_information(u, z, shrinkage=shrinkage)
    return overall - gaussian_conditional_information(u, z, labels, shrinkage=shrinkage)


def _sample_losses(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits (B, K) and labels (B,) expected, got {tuple(logits.shape)}, {tuple(labels.shape)}")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64, got {labels.dtype}")
    return torch.nn.functional.cross_entropy(at_least_float32(logits), labels, reduction="none")


def _check(u: Tensor, z: Tensor, shrinkage: Shrinkage) -> None:
    if u.ndim != 2 or z.ndim != 2 or u.shape[0] != z.shape[0] or u.shape[0] == 0:
        raise ValueError(f"(B, d) and (B, e) of the same samples expected, got {tuple(u.shape)} and {tuple(z.shape)}")
    if isinstance(shrinkage, str):
        if shrinkage != "analytic":
            raise ValueError(f"shrinkage must be 'analytic' or a number, got {shrinkage!r}")
    elif not 0 < shrinkage <= 1:
        raise ValueError(f"shrinkage must lie in (0, 1], got {shrinkage}")


def _centred(values: Tensor, given: Tensor | None = None) -> Tensor:
    """Columns of mean 0 and variance 1, at least float32; zeros where a column is constant up to rounding.

    Args:
        given: what `values` were before an earlier centring, by whose size rounding is judged.
    """
    values = at_least_float32(values)
    size = (values if given is None else at_least_float32(given)).detach().square().mean(0)
    centred = values - values.mean(0)
    variance = centred.square().mean(0)
    constant = variance.detach() <= (8 * torch.finfo(values.dtype).eps) ** 2 * size
    # The inner `where` keeps the gradient of the root finite, which a product with 0 alone would not.
    return torch.where(constant, 0, centred) * torch.where(constant, 1, variance).rsqrt()


def _information(u: Tensor, z: Tensor, shrinkage: Shrinkage) -> Tensor:
    """Of standardised variables (B, d) and (B, e)."""
    n = u.shape[0]
    dtype = torch.promote_types(u.dtype, z.dtype)
    variables = torch.cat([u.to(dtype), z.to(dtype)], 1)
    with torch.autocast(u.device.type, enabled=False):
        correlation = variables.mT @ variables / n
        share = _analytic(variables.detach(), correlation.detach()) if isinstance(shrinkage, str) else shrinkage
        own = torch.eye(variables.shape[1], dtype=variables.dtype, device=variables.device)
        shrunk = own + (1 - share) * correlation * (1 - own)
        d = u.shape[1]
        separate = _log_determinant(shrunk[:d, :d]) + _log_determinant(shrunk[d:, d:])
        return (separate - _log_determinant(shrunk)) / 2


def _analytic(variables: Tensor, correlation: Tensor) -> Tensor:
    """Sum of the variances of the correlations off the diagonal over that of their squares, in [0.001, 1]."""
    n = variables.shape[0]
    if n < 2:
        return torch.ones((), dtype=variables.dtype, device=variables.device)
    squares = variables.square()
    spread = squares.mT @ squares / n - correlation.square()  # of the products, biased
    off = 1 - torch.eye(len(correlation), dtype=correlation.dtype, device=correlation.device)
    total, uncertain = (off * correlation.square()).sum(), (off * spread).sum() / (n - 1)
    return (uncertain / total.clamp(min=torch.finfo(total.dtype).tiny)).clamp(LEAST_SHRINKAGE, 1)


def _log_determinant(matrix: Tensor) -> Tensor:
    """Of a positive definite matrix; NaN, not an exception, where entries are NaN."""
    factor = torch.linalg.cholesky_ex(matrix).L
    return 2 * factor.diagonal().log().sum()
