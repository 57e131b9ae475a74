"""A brain without its skull: cerebrum with sulci, cerebellum, stem, ventricles, deep grey matter, lesions, vessels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from mmablate.data.brats.mini.fields import (
    UNITS,
    Field,
    capsule,
    ellipsoid,
    grid,
    ripples,
    rotation,
    smooth,
    step,
    turned,
)

CALLOSUM = (0.0, -1.0, 2.0), (1.0, 10.0, 6.5)
"""Centre and half axes of what joins the hemispheres: within, there is no fissure."""


@dataclass(frozen=True, eq=False)
class Head:
    """Shape of a subject's brain, before anything pushes its inside away.

    Attributes:
        place: (3, S, S, S), each voxel in the brain's own coordinates.
        mask: (S, S, S), where the brain is.
        depth: distance from its surface, 0 outside.
        folds: band-limited noise; the sulci run along its zero level set.
    """

    place: Field
    mask: NDArray[np.bool_]
    depth: Field
    folds: Field


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Shares of each voxel that are CSF and grey matter (the rest is white), and what lies about in it.

    Attributes:
        csf, grey: shares 0-1.
        lesions: share of harmless white-matter lesions.
        vessels: share of blood in vessels, and of enhancing plexus.
    """

    csf: Field
    grey: Field
    lesions: Field
    vessels: Field


def draw_head(rng: np.random.Generator, size: int) -> Head:
    """Size, position and outline of a brain."""
    place = grid(size) - rng.uniform(-1.2, 1.2, 3).astype(np.float32).reshape(3, 1, 1, 1)
    place = turned(rotation(tuple(rng.uniform(-0.12, 0.12, 3))), place)
    place += np.stack([0.6 * smooth(rng, size, 6.0) for _ in range(3)])
    place /= np.float32(rng.uniform(0.92, 1.05))
    x, y, z = place / rng.uniform(0.95, 1.05, 3).astype(np.float32).reshape(3, 1, 1, 1)
    wide = 17.5 * (1 - 0.010 * y)  # narrower at the forehead
    low = np.where(z < 0, 12.5, 17.0).astype(np.float32)
    rho = (np.abs(x / wide) ** 2.3 + np.abs(y / 21.0) ** 2.3 + np.abs((z - 1) / low) ** 2.3) ** (1 / 2.3)
    cerebrum = (1 - rho) * 17
    cerebellum = np.maximum(
        ellipsoid(place, (5.5, -11.5, -11.0), (7.0, 7.0, 5.5)), ellipsoid(place, (-5.5, -11.5, -11.0), (7.0, 7.0, 5.5))
    )
    stem = 3.2 - capsule(place, (0, -2.5, -8), (0, -5.5, -17.5))
    inside = np.maximum.reduce([cerebrum, cerebellum, stem]) + 0.35 * smooth(rng, size, 2.5)
    mask = gaussian_filter((inside > 0).astype(np.float32), 0.6) > 0.5
    depth = distance_transform_edt(mask).astype(np.float32) * np.float32(UNITS / size)
    return Head(place, mask, gaussian_filter(depth, 0.5), ripples(rng, size, 1.9))


def draw_anatomy(rng: np.random.Generator, head: Head, place: Field) -> Anatomy:
    """What is inside.

    Args:
        rng: of the subject.
        head: its shape.
        place: (3, S, S, S), the brain's coordinates of what lies at each voxel now, pushed away by a tumour or not.
    """
    size = place.shape[1]
    cortical = _from_surface(rng, head, place)
    ventricles = _ventricles(rng, place)
    csf = np.maximum(step(0.75 - cortical, 0.25), step(ventricles, 0.35))
    thick = 2.5 + 0.35 * smooth(rng, size, 3.0)
    grey = np.maximum(step(thick - cortical, 0.4), 0.8 * step(_nuclei(place), 0.5))
    grey *= 1 - csf
    white = 1 - csf - grey
    lesions = _lesions(rng, head, ventricles, white)
    return Anatomy(csf, grey, lesions, _vessels(rng, head, place, ventricles))


def _from_surface(rng: np.random.Generator, head: Head, place: Field) -> Field:
    """Distance from the nearest CSF of the brain's outside: its surface, the fissure, the sulci."""
    size = place.shape[1]
    middle = np.abs(place[0] + 0.4 * smooth(rng, size, 4.0))
    joined = np.maximum(ellipsoid(place, *CALLOSUM), 0)
    below = np.maximum(-4.0 - place[2], 0)  # hemispheres meet in the stem
    fissure = middle + 6 * (joined > 0) + 3 * below
    slope = np.sqrt(sum(np.square(np.gradient(head.folds, UNITS / size, axis=k)) for k in range(3)))
    sulci = 0.45 + np.abs(head.folds) / (slope + 0.15) + np.maximum(head.depth - rng.uniform(4.0, 5.5), 0)
    return np.minimum.reduce([head.depth, fissure, sulci]).astype(np.float32)


def _ventricles(rng: np.random.Generator, place: Field) -> Field:
    """Distance inwards from the surface of the ventricles."""
    wide = rng.uniform(1.1, 2.3)
    parts = []
    for side in (-1, 1):
        body = [(2.2, 8.5, 1.5), (2.6, 1.0, 4.0), (3.6, -7.0, 3.5), (6.5, -11.5, 0.5)]
        points = [(side * (x + 0.3 * wide), y, z) for x, y, z in body]
        radius = wide * rng.uniform(0.9, 1.1)
        parts += [radius - capsule(place, a, b) for a, b in pairwise(points)]
        parts.append(0.5 * radius - capsule(place, points[-1], (side * 9.5, -3.0, -5.5)))
    parts.append(0.7 - capsule(place, (0, 2.5, -2.5), (0, -4.0, -1.5)))
    parts.append(1.1 - capsule(place, (0, -7.0, -8.0), (0, -7.5, -11.0)))
    return np.maximum.reduce(parts)


def _nuclei(place: Field) -> Field:
    """Thalamus, putamen and head of the caudate nucleus of both sides: distance inwards."""
    mirrored = np.stack([np.abs(place[0]), place[1], place[2]])
    thalamus = ellipsoid(mirrored, (3.6, -3.0, -0.5), (2.6, 3.8, 2.6))
    putamen = ellipsoid(mirrored, (8.2, 2.0, -1.0), (1.7, 4.8, 3.2))
    caudate = ellipsoid(mirrored, (4.6, 7.0, 0.5), (1.6, 2.6, 2.6))
    return np.maximum.reduce([thalamus, putamen, caudate])


def _lesions(rng: np.random.Generator, head: Head, ventricles: Field, white: Field) -> Field:
    """Small round spots in white matter, most of them near the ventricles, and bright caps of the horns."""
    found = np.zeros_like(white)
    near = np.flatnonzero((white > 0.9) & (ventricles > -6) & (ventricles < -1) & (head.place[2] > -3))
    for _ in range(int(rng.integers(1, 6)) if len(near) else 0):
        centre = np.unravel_index(int(rng.choice(near)), white.shape)
        axes = rng.uniform(0.9, 2.2, 3)
        there = tuple(float(head.place[k][centre]) for k in range(3))
        spot = step(ellipsoid(head.place, there, tuple(axes)), 0.3)  # type: ignore[arg-type]
        found = np.maximum(found, spot)
    rim = step(ventricles + rng.uniform(0.4, 1.3), 0.4) * rng.uniform(0.2, 0.7)
    return np.asarray(np.maximum(found, rim) * white, dtype=np.float32)


def _vessels(rng: np.random.Generator, head: Head, place: Field, ventricles: Field) -> Field:
    """The sinus along the top of the fissure, arteries at the base, veins on the cortex, plexus in the ventricles."""
    size = place.shape[1]
    sinus = step(0.9 - np.abs(place[0]), 0.3) * step(1.7 - head.depth, 0.3) * (place[2] > 2)
    arteries = [0.6 - capsule(place, (0, 8, -6.5), (s * 11, 5, -6)) for s in (-1, 1)]
    arteries.append(0.7 - capsule(place, (0, 1, -10), (0, -1, -16)))
    strand = np.hypot(ripples(rng, size, 1.6), ripples(rng, size, 1.6))  # where two sheets meet: curves
    shallow = step(2.2 - np.abs(head.depth - 2.0), 0.3)
    veins = step((rng.uniform(0.12, 0.22) - strand).astype(np.float32), 0.04) * shallow
    plexus = step(0.9 - np.minimum.reduce([capsule(place, (s * 4, -6, 3), (s * 7, -10.5, 0.5)) for s in (-1, 1)]), 0.3)
    inner = [step(np.maximum.reduce(arteries).astype(np.float32), 0.25), plexus * (ventricles > 0.2)]
    return np.asarray(np.maximum.reduce([sinus, veins, *inner]) * head.mask, dtype=np.float32)
