"""What a surface looks like to a camera and to a LiDAR: colour, glow and reflectivity at every hit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmablate.data.muses.mini.raycast import GROUND, SKY, Hits
from mmablate.data.muses.mini.world import CLASS_ID, Floats, Ground, Ints, Material, World

_GAMMA = 2.2

# Mean LiDAR reflectivity (0-1) of each material and its spread from one solid to the next: they overlap.
_REFLECTIVITY = {
    Material.PLAIN: (0.22, 0.10), Material.FACADE: (0.38, 0.14), Material.BRICK: (0.34, 0.12),
    Material.BARS: (0.30, 0.12), Material.PAINT: (0.34, 0.22), Material.COACH: (0.36, 0.18),
    Material.LEAVES: (0.42, 0.10), Material.METAL: (0.35, 0.15), Material.SIGN: (0.88, 0.10),
    Material.SIGNAL: (0.25, 0.10), Material.CLOTH: (0.35, 0.18), Material.RUBBER: (0.07, 0.03),
    Material.LAMP: (0.35, 0.10), Material.GLASS: (0.22, 0.12),
}  # fmt: skip
_GROUND_REFLECTIVITY = {"road": 0.14, "sidewalk": 0.27, "terrain": 0.36}


@dataclass(frozen=True)
class Surface:
    """Appearance of N hits.

    Attributes:
        albedo: linear RGB 0-1 (N, 3); 0 for the sky.
        glow: linear RGB that it sends out at night, (N, 3).
        signal: linear RGB that it sends out at any time, (N, 3).
        reflectivity: for the LiDAR's light, 0-1 (N,); 0 for the sky.
        tracks: 0-1, where wheels keep snow off the road (N,).
    """

    albedo: Floats
    glow: Floats
    signal: Floats
    reflectivity: Floats
    tracks: Floats


def scatter(seed: int, *cells: Ints) -> Floats:
    """A number in [0, 1) for each cell of integers: the same cell, the same number (32-bit mixing)."""
    mixed = np.full(cells[0].shape, (seed * 2654435761) & 0xFFFFFFFF, dtype=np.uint32)
    for cell in cells:
        mixed ^= cell.astype(np.int64).astype(np.uint32)
        mixed *= np.uint32(0x9E3779B1)
        mixed ^= mixed >> np.uint32(15)
        mixed *= np.uint32(0x85EBCA77)
        mixed ^= mixed >> np.uint32(13)
    return mixed.astype(np.float64) / 2**32


def _grain(world: World, hits: Hits, cell: float, salt: int) -> Floats:
    """-1 to 1, constant over cells of a surface."""
    steps = np.floor(hits.local / cell + 0.013).astype(np.int64)
    return 2 * scatter(world.noise + salt, steps[:, 0], steps[:, 1], steps[:, 2], hits.solid) - 1


def describe(world: World, hits: Hits) -> Surface:
    """Appearance of every hit, before light and weather."""
    n_solids = len(world.solids)
    row = np.where(hits.solid >= 0, hits.solid, n_solids)
    colour = world.columns.colour[row]
    material = np.where(hits.solid >= 0, world.columns.material[row], -1)
    glow, signal = np.zeros_like(colour), np.zeros_like(colour)
    coarse, fine = _grain(world, hits, 0.45, 1), _grain(world, hits, 0.11, 2)
    rough = np.where(material == Material.LEAVES, 0.30, np.where(material == Material.PAINT, 0.02, 0.08))
    colour = colour * (1 + rough * (0.6 * coarse + 0.6 * fine))[:, None]
    for kind, paint in _PAINTERS.items():
        rows = np.flatnonzero(material == kind)
        if len(rows):
            paint(world, hits, rows, colour, glow, signal)
    tracks = np.zeros(len(row))
    rows = np.flatnonzero(hits.solid == GROUND)
    colour[rows], tracks[rows] = _ground(world.ground, hits, rows, coarse, fine)
    colour[hits.solid == SKY] = 0.0
    albedo = np.power(np.clip(colour, 0, 1), _GAMMA)
    return Surface(albedo, glow, signal, _reflectivity(world, hits, row, material, colour, fine), tracks)


def _reflectivity(world: World, hits: Hits, row: Ints, material: Ints, colour: Floats, fine: Floats) -> Floats:
    """LiDAR reflectivity: by material, by solid, a little by how bright the paint is."""
    mean, spread = np.zeros(len(row)), np.zeros(len(row))
    for kind, (middle, wide) in _REFLECTIVITY.items():
        mean[material == kind], spread[material == kind] = middle, wide
    for name, middle in _GROUND_REFLECTIVITY.items():
        on = (hits.solid == GROUND) & (hits.label == CLASS_ID[name])
        mean[on], spread[on] = middle, 0.05
    paint = (hits.solid == GROUND) & (hits.label == CLASS_ID["road"]) & (colour[:, 0] > 0.7)
    mean[paint] = 0.55
    own = 2 * scatter(world.noise + 7, row) - 1
    value = mean + spread * (0.8 * own + 0.4 * fine)
    return np.where(hits.solid == SKY, 0.0, np.clip(value, 0.02, 1.0))


def _ground(ground: Ground, hits: Hits, rows: Ints, coarse: Floats, fine: Floats) -> tuple[Floats, Floats]:
    """sRGB of the ground, and where wheels run."""
    x, y, label = hits.point[rows, 0], hits.point[rows, 1], hits.label[rows]
    s = y - np.asarray(ground.middle(x))
    road, walk = label == CLASS_ID["road"], label == CLASS_ID["sidewalk"]
    base = np.where(
        road[:, None], ground.colours[0], np.where(walk[:, None], ground.colours[1], np.array(ground.colours[2]))
    )
    rough = np.where(road, 0.05, np.where(walk, 0.06, 0.28))
    colour = base * (1 + rough * (0.6 * coarse[rows] + 0.8 * fine[rows]))[:, None]
    slabs = walk & ((np.mod(x, 0.8) < 0.07) | (np.mod(s, 0.8) < 0.07))
    colour[slabs] *= 0.8
    kerb = walk & (np.abs(np.abs(s) - ground.half_road) < 0.15)
    colour[kerb] *= 1.2
    line = np.zeros(len(rows), dtype=bool)
    for mark in ground.marks:
        line |= (np.abs(s - mark) < 0.09) & (np.mod(x, 6.0) < 3.0)
    if ground.edge_lines:
        line |= np.abs(np.abs(s) - ground.half_road + 0.3) < 0.07
    colour[line & road] = (0.80, 0.80, 0.77)
    if ground.rails is not None:
        bed = ~road & (np.abs(s - ground.rails) < 1.5)
        colour[bed] = 0.5 * colour[bed] + 0.5 * np.array([0.38, 0.35, 0.32])
        colour[np.abs(np.abs(s - ground.rails) - 0.72) < 0.06] = (0.55, 0.53, 0.50)
    lanes = np.abs(np.abs(s) - ground.half_road / 2)
    tracks = road * np.clip(1.2 - 1.6 * np.abs(lanes - 0.75), 0, 1)
    return colour, tracks


def _facade(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """Rows of windows, some lit at night."""
    flat = np.abs(hits.normal[rows, 2]) < 0.5
    half = world.columns.half[hits.solid[rows]]
    across = np.where(np.abs(hits.local[rows, 0]) > half[:, 0] - 0.01, hits.local[rows, 1], hits.local[rows, 0])
    up = hits.point[rows, 2]
    column, storey = np.floor(across / 1.7), np.floor(up / 2.9)
    inside = (np.abs(np.mod(across, 1.7) - 0.85) < 0.45) & (np.abs(np.mod(up, 2.9) - 1.7) < 0.65) & flat
    window = rows[inside]
    own = scatter(world.noise + 11, column.astype(np.int64), storey.astype(np.int64), hits.solid[rows])[inside]
    colour[window] = np.array([0.20, 0.23, 0.27]) * (0.7 + 0.6 * own)[:, None]
    lit = own < 0.3
    glow[window[lit]] = np.array([0.30, 0.21, 0.10]) * (0.4 + 2 * own[lit])[:, None]


def _brick(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """Courses of stone: darker joints and a lighter top."""
    up = hits.local[rows, 2] + world.columns.half[hits.solid[rows], 2]
    colour[rows[np.mod(up, 0.4) < 0.06]] *= 0.75
    colour[rows[np.mod(hits.local[rows, 0] + 0.4 * (np.floor(up / 0.4) % 2), 0.8) < 0.06]] *= 0.75


def _bars(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """Upright bars before a dark gap."""
    gap = np.mod(hits.local[rows, 0], 0.36) > 0.2
    high = np.abs(hits.local[rows, 2]) > world.columns.half[hits.solid[rows], 2] - 0.12
    colour[rows[gap & ~high]] *= 0.45


def _lights(world: World, hits: Hits, rows: Ints, glow: Floats) -> None:
    """Head and tail lights of a vehicle: at the sides of its front and of its back."""
    half, local = world.columns.half[hits.solid[rows]], hits.local[rows]
    aside = (np.abs(local[:, 1]) > 0.6 * half[:, 1]) & (np.abs(local[:, 2]) < 0.45 * half[:, 2])
    front = aside & (local[:, 0] > half[:, 0] - 0.02)
    back = aside & (local[:, 0] < -half[:, 0] + 0.02)
    glow[rows[front]] = (2.2, 2.1, 1.8)
    glow[rows[back]] = (0.7, 0.03, 0.02)


def _paint(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """Bodywork: its lights, and a darker sill."""
    low = hits.local[rows, 2] < -0.7 * world.columns.half[hits.solid[rows], 2]
    colour[rows[low]] *= 0.5
    _lights(world, hits, rows, glow)


def _glass(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """A cabin: windows all round, a roof of the body's colour."""
    half = world.columns.half[hits.solid[rows]]
    pane = (np.abs(hits.normal[rows, 2]) < 0.5) & (hits.local[rows, 2] > -0.3 * half[:, 2])
    pane &= hits.local[rows, 2] < 0.8 * half[:, 2]
    colour[rows[pane]] = (0.10, 0.12, 0.15)


def _coach(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """A bus or a tram: a band of windows, lit inside at night; trams also a stripe below it."""
    half, local = world.columns.half[hits.solid[rows]], hits.local[rows]
    up = local[:, 2] / half[:, 2]
    band = (up > 0.05) & (up < 0.65) & (np.abs(hits.normal[rows, 2]) < 0.5)
    frame = np.mod(local[:, 0], 1.5) < 0.18
    pane = band & ~frame
    colour[rows[pane]] = (0.13, 0.15, 0.18)
    glow[rows[pane]] = (0.16, 0.15, 0.12)
    tram = hits.label[rows] == CLASS_ID["train"]
    colour[rows[tram & (up < -0.25) & (up > -0.5)]] = (0.85, 0.84, 0.80)
    colour[rows[up < -0.8]] *= 0.4
    low = up < -0.5
    _lights(world, hits, rows[low], glow)


def _leaves(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """Darker towards the ground, as leaves shade each other."""
    height = hits.local[rows, 2] / world.columns.half[hits.solid[rows], 2]
    colour[rows] *= (0.85 + 0.2 * height)[:, None]


def _sign(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """A pale or dark field inside a coloured border."""
    half, local = world.columns.half[hits.solid[rows]], hits.local[rows]
    inner = np.maximum(np.abs(local[:, 1] / half[:, 1]), np.abs(local[:, 2] / half[:, 2])) < 0.5
    bright = scatter(world.noise + 13, hits.solid[rows]) < 0.6
    colour[rows[inner & bright]] = (0.85, 0.85, 0.82)
    colour[rows[(local[:, 0] > 0) & (np.abs(hits.normal[rows, 0]) > 0.3)]] *= 1.0


def _signal(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """Three lamps one above the other, one of them on."""
    half, local = world.columns.half[hits.solid[rows]], hits.local[rows]
    third = np.clip(np.floor((local[:, 2] / half[:, 2] + 1) * 1.5), 0, 2)
    on = np.floor(3 * scatter(world.noise + 17, hits.solid[rows]))
    middle = np.abs(np.mod((local[:, 2] / half[:, 2] + 1) * 1.5, 1) - 0.5) < 0.4
    lamp = middle & (np.abs(local[:, 1]) < 0.7 * half[:, 1]) & (third == on)
    shades = np.array([(0.05, 0.9, 0.35), (1.0, 0.55, 0.03), (1.0, 0.06, 0.04)])
    signal[rows[lamp]] = shades[third[lamp].astype(np.int64)]


def _lamp(world: World, hits: Hits, rows: Ints, colour: Floats, glow: Floats, signal: Floats) -> None:
    """A street lamp."""
    glow[rows] = (2.5, 1.9, 1.1)


_PAINTERS = {
    Material.FACADE: _facade,
    Material.BRICK: _brick,
    Material.BARS: _bars,
    Material.PAINT: _paint,
    Material.GLASS: _glass,
    Material.COACH: _coach,
    Material.LEAVES: _leaves,
    Material.SIGN: _sign,
    Material.SIGNAL: _signal,
    Material.LAMP: _lamp,
}
