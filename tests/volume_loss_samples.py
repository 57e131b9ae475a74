"""Small volumes, and the terms on them in numpy's double precision, written out row by row and voxel by voxel."""

from __future__ import annotations

import numpy as np
import torch

N, K, C = 3, 4, 5
SIZE = (6, 5, 4)
LEVELS = ((6, 5, 4), (3, 3, 2), (2, 1, 2))  # of the deep supervision


def normal(seed, *shape, scale=1.0):
    return torch.tensor(np.random.default_rng([7, seed]).normal(size=shape) * scale)


def labels_of(seed=0):
    """Row 0 has all classes, row 1 lacks class 2, row 2 is background alone."""
    drawn = np.random.default_rng([8, seed]).integers(0, K, size=(N, *SIZE))
    drawn[1][drawn[1] == 2] = 0
    drawn[2] = 0
    return torch.tensor(drawn)


def pyramid(seed, sizes=LEVELS, scale=2.0):
    return [normal(seed + 100 * i, N, K, *size, scale=scale) for i, size in enumerate(sizes)]


def probabilities(row, temperature=1.0):
    """Of the logits (K, *S) of a row."""
    powers = np.exp(np.asarray(row, dtype=np.float64) / temperature)
    return powers / powers.sum(0)


def stretched(row, size):
    """(K, *s) at `size`: piecewise linear along one axis after the other, first and last samples kept."""
    row = np.asarray(row, dtype=np.float64)
    for axis, wanted in enumerate(size, start=1):
        own = row.shape[axis]
        places = np.linspace(0, own - 1, wanted)
        row = np.apply_along_axis(lambda line, at=places, n=own: np.interp(at, np.arange(n), line), axis, row)
    return row


def cross_entropy_of(p, labels, weighted):
    total, n = 0.0, labels.size
    for voxel in np.ndindex(labels.shape):
        c = labels[voxel]
        if weighted:
            total += -(1 - (labels == c).sum() / n) * np.log(min(max(p[(c, *voxel)], 0.005), 1))
        else:
            total += -np.log(p[(c, *voxel)])
    return total / n


def dice_of(p, labels, every_class):
    scores = []
    for c in range(len(p)):
        truth = labels == c
        if every_class:
            scores.append(2 * p[c][truth].sum() / (p[c].sum() + truth.sum() + 1e-7))
        elif truth.any():
            scores.append(2 * p[c][truth].sum() / (p[c].sum() + truth.sum()))
    return 1 - sum(scores) / len(scores)


def supervision_of(p, labels, definition):
    released = definition == "released"
    return cross_entropy_of(p, labels, released) + dice_of(p, labels, released)
