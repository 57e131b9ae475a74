"""RGB and LiDAR pairs as a dataset: which kind of object is it, seen in colour and in depth.

The layout is that of the public set of cubes and spheres:
`<root>/{cubes,spheres}/{rgb/*.png, lidar/*.npy, azimuth.npy, zenith.npy}`; folders of classes may be called anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmablate.data.base import ClassificationData
from mmablate.data.class_folders.assembling import Plan, Scalers, assemble, faults_of, survey
from mmablate.data.class_folders.reading import Picture, picture_reader, scaled
from mmablate.data.class_splits import SPLITS, Rule
from mmablate.data.clips import MediaReader
from mmablate.data.rgb_lidar.lidar import AZIMUTH, ZENITH, Lidar, lidar_reader, standardised
from mmablate.errors import DataError

RGB, LIDAR = "rgb", "lidar"
PATTERNS = {RGB: "{class}/rgb/{id}.png", LIDAR: "{class}/lidar/{id}.npy"}
COLOURS = (0, 1, 2)
MAX_RANGE = 50.0
FRACTIONS = (0.7, 0.1, 0.2)
Options = Mapping[str, Any]


def open_rgb_lidar(
    root: Path,
    *,
    modalities: Sequence[str],
    rgb: Options | None = None,
    lidar: Options | None = None,
    fractions: Sequence[float] = FRACTIONS,
    split_seed: int = 0,
    missing: str = "refuse",
    on_fault: str = "refuse",
    cache_bytes: int = 1 << 30,
) -> ClassificationData:
    """Pairs of pictures and depth maps, or a mini set in their layout.

    Args:
        root: folder of the classes' folders.
        modalities: some of "rgb" (3, H, W), transparency left out, and "lidar" (4, H, W): x, y, z and the mask of
            returns; in the order wanted.
        rgb: `size`, height and width that pictures are brought to (None: all have one size), and `normalise`, as of
            `class_folders.reading.scaled`.
        lidar: `max_range`, from which on a depth is no return; `upright`, whether to swap the axes so that azimuth runs
            along the columns, as in a picture; `normalise`, "standard" for mean 0 and deviation 1 of x, y and z
            over the training returns (no return stays 0), or "none".
        fractions: of train, val and test in every class; 0 for val or test: no such split.
        split_seed: of the draw.
        missing: "refuse" samples that lack a modality, "drop" them, or "mask" what they lack, which is then read as
            zeros; the latter two with a note of the numbers.
        on_fault: "refuse" samples with a file that cannot be used, or "drop" them with a note; to drop, every
            file is read once.
        cache_bytes: a split that takes at most so many bytes is kept in memory.

    Raises:
        DataError: all faults of the names of the files, or of the files.
    """
    plan = _plan(Path(root), modalities, fractions, split_seed, missing, on_fault)
    return assemble(
        plan,
        survey(plan),
        partial(_readers, rgb or {}, lidar or {}),
        _scaler(rgb or {}, lidar or {}),
        attribution=None,
        synthetic=False,
        cache_bytes=cache_bytes,
    )


def check_rgb_lidar(
    root: Path,
    *,
    modalities: Sequence[str],
    rgb: Options | None = None,
    lidar: Options | None = None,
    fractions: Sequence[float] = FRACTIONS,
    split_seed: int = 0,
    missing: str = "refuse",
    on_fault: str = "refuse",
    thorough: bool = False,
) -> list[str]:
    """All faults of a folder, one line each; [] where all is well. Arguments as of `open_rgb_lidar`.

    Args:
        thorough: read every file; otherwise names only, and whether the angles are there.
    """
    plan = _plan(Path(root), modalities, fractions, split_seed, missing, on_fault)
    try:
        found = survey(plan)
    except DataError as error:
        return error.problems
    problems = []
    if LIDAR in modalities:
        folders = sorted({path.parent.parent for path in found.paths()[LIDAR]})
        places = [folder / name for folder in folders for name in (AZIMUTH, ZENITH)]
        problems = [f"{path}: expected the angles of its depth maps, found no such file" for path in places
                    if not path.is_file()]  # fmt: skip
    if problems:
        return problems
    return faults_of(plan, found, partial(_readers, rgb or {}, lidar or {}), thorough=thorough)


def _plan(
    root: Path, modalities: Sequence[str], fractions: Sequence[float], split_seed: int, missing: str, on_fault: str
) -> Plan:
    return Plan(
        name="rgb_lidar",
        root=root,
        patterns={name: PATTERNS[name] for name in modalities},
        rule=Rule(tuple(fractions), 0.0, split_seed),
        splits={split: split for split in SPLITS},
        missing=missing,
        drop_faulty=on_fault == "drop",
    )


def _readers(rgb: Options, lidar: Options, paths: Mapping[str, Sequence[Path]]) -> dict[str, MediaReader]:
    readers: dict[str, MediaReader] = {}
    for name, files in paths.items():
        if name == RGB:
            size = rgb.get("size")
            wanted = None if size is None else (int(size[0]), int(size[1]))
            readers[name] = picture_reader(name, files, size=wanted, channels=COLOURS)
        else:
            far, upright = lidar.get("max_range", MAX_RANGE), lidar.get("upright", False)
            readers[name] = lidar_reader(files, max_range=far, upright=upright)
    return readers


def _scaler(rgb: Options, lidar: Options) -> Scalers:
    def scale(name: str, reader: MediaReader, train: Sequence[Path]) -> MediaReader:
        if isinstance(reader, Picture):
            return scaled(reader, rgb.get("normalise", "standard"), train)
        assert isinstance(reader, Lidar)
        return standardised(reader, train) if lidar.get("normalise", "standard") == "standard" else reader

    return scale
