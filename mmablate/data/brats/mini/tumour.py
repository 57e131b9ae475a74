"""A glioma: oedema around an enhancing rim around a core, of irregular outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmablate.data.brats.mini.anatomy import Anatomy, Head
from mmablate.data.brats.mini.fields import Field, rotation, smooth, step, turned

CORE, OEDEMA, ENHANCING = 1, 2, 4
"""Labels as in the raw files."""


@dataclass(frozen=True)
class Kind:
    """What a tumour is like.

    Attributes:
        low_grade: solid core, little swelling.
        enhances: it takes up contrast agent anywhere.
    """

    low_grade: bool
    enhances: bool


@dataclass(frozen=True, eq=False)
class Tumour:
    """Signed distances from the surfaces of the tumour, positive within, and what the rim takes up.

    Attributes:
        core: of everything but oedema.
        inner: of the part that the rim encloses.
        oedema: of the whole tumour, before anatomy stops the oedema.
        patchy: positive where the rim enhances.
        push: (3, S, S, S), places that tissue at each voxel came from.
        concentration: of contrast agent in the rim (mmol/l).
        texture: smooth noise, mean 0, standard deviation 1.
    """

    core: Field
    inner: Field
    oedema: Field
    patchy: Field
    push: Field
    concentration: Field
    texture: Field


def draw_tumour(rng: np.random.Generator, head: Head, kind: Kind) -> Tumour:
    """Place, size and shape."""
    size = head.mask.shape[0]
    radius = float(np.clip(6.1 * np.exp(0.22 * rng.standard_normal()), 4.2, 8.2))
    if kind.low_grade:
        radius *= 0.9
    swelling = rng.uniform(1.8, 3.5) if kind.low_grade else rng.uniform(2.0, 5.0)
    centre = _centre(rng, head, radius)
    way = head.place - centre
    turn = rotation(tuple(rng.uniform(-np.pi, np.pi, 3)))
    stretch = np.exp(rng.uniform(-0.22, 0.22, 3)).astype(np.float32).reshape(3, 1, 1, 1)
    reach = np.sqrt(np.square(turned(turn, way) / stretch).sum(axis=0))
    far = np.sqrt(np.square(turned(turn, way) / stretch[::-1]).sum(axis=0))
    bumpy = smooth(rng, size, 2.6)
    core = radius - reach + 0.17 * radius * bumpy
    thick = rng.uniform(1.6, 3.1) if rng.random() < 0.8 else 0.9 * radius  # some are solid throughout
    rim = np.maximum(thick * (1 + 0.35 * smooth(rng, size, 2.2)), 0.9)
    around = np.maximum(core, radius + swelling - 0.5 * (reach + far) + 0.12 * radius * bumpy)
    oedema = around + 0.8 * smooth(rng, size, 2.4)
    bare = 0.9 if kind.low_grade else -0.9  # how much of the rim takes up no agent
    patchy = smooth(rng, size, 2.5) - bare if kind.enhances else np.full_like(core, -9.0)
    squeeze = rng.uniform(0.1, 0.4) * np.exp(-np.square(reach / (1.6 * radius)))
    amount = rng.uniform(0.12, 0.3) if kind.low_grade else rng.uniform(0.15, 0.55)
    return Tumour(
        core=core.astype(np.float32),
        inner=(core - rim).astype(np.float32),
        oedema=oedema.astype(np.float32),
        patchy=patchy.astype(np.float32),
        push=(head.place - way * squeeze).astype(np.float32),
        concentration=(amount * np.exp(0.3 * smooth(rng, size, 1.5))).astype(np.float32),
        texture=smooth(rng, size, 1.5),
    )


def _centre(rng: np.random.Generator, head: Head, radius: float) -> Field:
    """A place in a hemisphere, deep enough for most of the tumour to lie in the brain."""
    x, y, z = head.place
    for deep in (0.75, 0.55, 0.3, 0.0):
        fits = head.mask & (head.depth > deep * radius + 1) & (np.abs(x) > 4) & (z > -5) & (np.abs(y) < 15)
        if fits.any():
            break
    chosen = rng.choice(np.flatnonzero(fits))
    return head.place.reshape(3, -1)[:, chosen].reshape(3, 1, 1, 1)


@dataclass(frozen=True, eq=False)
class Regions:
    """Shares of each voxel that each region takes, and the labels.

    Attributes:
        core, enhancing, oedema: shares 0-1; what remains is healthy.
        labels: uint8 (S, S, S), 0, 1, 2, 4.
    """

    core: Field
    enhancing: Field
    oedema: Field
    labels: NDArray[np.uint8]


def regions(rng: np.random.Generator, tumour: Tumour, anatomy: Anatomy, head: Head) -> Regions:
    """The tumour in its brain: oedema follows white matter, stops at the cortex and at CSF.

    Labels are not quite what is seen: smooth noise, a third of a voxel, moves their outlines as annotators would.
    """
    size = head.mask.shape[0]
    stopped = tumour.oedema - 1.6 * anatomy.grey - 6.0 * anatomy.csf
    ring = np.minimum(np.minimum(tumour.core, -tumour.inner), 2.0 * tumour.patchy)
    seen_core = step(tumour.core, 0.35)
    seen_ring = step(ring, 0.3) * seen_core
    oedema = step(stopped, 0.45) * (1 - seen_core)
    drawn = 0.35 * smooth(rng, size, 2.0)
    labels = np.zeros(head.mask.shape, dtype=np.uint8)
    labels[stopped + drawn > 0] = OEDEMA
    labels[tumour.core + drawn > 0] = CORE
    labels[(ring + 0.5 * drawn > 0) & (tumour.core + drawn > 0)] = ENHANCING
    labels[~head.mask] = 0
    return Regions(seen_core - seen_ring, seen_ring, oedema, labels)
