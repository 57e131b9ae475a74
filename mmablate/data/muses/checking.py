"""What is wrong with a MUSES tree: by names, sizes and headers, and by reading everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmablate.data.faults import Fault, FileFault
from mmablate.data.muses.classes import MODALITIES
from mmablate.data.muses.files import frame_size, label_size, projected_size
from mmablate.data.muses.meta import meta_faults
from mmablate.data.muses.projection import Calibration, read_calibration
from mmablate.data.muses.scenes import SceneReader, Source
from mmablate.data.muses.sensors import check_events, check_lidar_size
from mmablate.data.muses.tree import LABELS, Scene, Tree, read_tree

Size = tuple[int, int]


@dataclass(frozen=True)
class Reading:
    """The options that say what arrays a scene becomes; as in `open_muses`."""

    modalities: tuple[str, ...]
    layout: str = "auto"
    size: Size | None = None
    dilate_events: int = 1
    dilate_lidar: int = 1
    event_window_us: int = 30_000
    min_range: float = 1.0
    weather: tuple[str, ...] | None = None
    time_of_day: tuple[str, ...] | None = None


RAW_OPTIONS = {"E": "event_window_us", "L": "min_range"}
"""Options that choose among events and points, which projected files have no more."""


@dataclass
class Survey:
    """A tree after a look at every name and header.

    Attributes:
        tree: its scenes.
        faults: those of the tree among them.
        reader: of its scenes; None where not even their size is known.
    """

    tree: Tree
    faults: list[Fault]
    reader: SceneReader | None

    @property
    def fatal(self) -> bool:
        """Whether leaving scenes out does not help."""
        return self.reader is None or any(fault.scene is None for fault in self.faults)

    @property
    def content(self) -> tuple[Path, ...]:
        """Every file that a number may depend on."""
        extra = [path for name in ("calib.json", "meta.json") if (path := self.tree.home / name).is_file()]
        return (*(path for scene in every(self.tree) for path in scene.files.values()), *extra)


def every(tree: Tree) -> list[Scene]:
    """The scenes of all splits."""
    return [scene for scenes in tree.scenes.values() for scene in scenes]


def survey(root: Path, reading: Reading) -> Survey:
    """Looks at names, sizes and headers of everything that the options ask for; reads no values."""
    unknown = [modality for modality in reading.modalities if modality not in MODALITIES]
    if unknown or not reading.modalities:
        line = f"modalities: expected some of {', '.join(MODALITIES)}, found {', '.join(unknown) or 'none'}"
        return Survey(Tree(root, reading.layout), [Fault(line, "modalities")], None)
    if not root.is_dir():
        return Survey(Tree(root, reading.layout), [Fault(f"{root}: expected a folder, found none", "root")], None)
    tree = read_tree(root, reading.modalities, reading.layout, reading.weather, reading.time_of_day)
    faults = [*tree.faults, *_unused_options(tree, reading)]
    keys = [scene.key for scene in every(tree)]
    faults += meta_faults(tree.home / "meta.json", keys, reading.weather, reading.time_of_day)
    calibration, found = _calibration(tree, reading)
    faults += [Fault.of(error) for error in found]
    sizes, header_faults = _headers(tree)
    faults += header_faults
    shape = reading.size or _common(sizes)
    if reading.size is None and shape is not None:
        faults += _off_size(tree, sizes, shape)
    reader = None if shape is None else _reader(tree, reading, shape, calibration)
    return Survey(tree, faults, reader)


def _unused_options(tree: Tree, reading: Reading) -> list[Fault]:
    """Options of raw sensors that were given for projected ones, where they would change nothing."""
    if tree.layout != "projected":
        return []
    return [
        Fault(
            f"layout projected: {name} belongs to raw files and was settled when they were projected: "
            f"expected none (or {default}), found {value}",
            "option of raw files",
        )
        for modality, name in RAW_OPTIONS.items()
        if modality in reading.modalities and (value := getattr(reading, name)) != (default := getattr(Reading, name))
    ]


def _calibration(tree: Tree, reading: Reading) -> tuple[Calibration | None, list[FileFault]]:
    """calib.json where it is needed: for raw events and LiDAR."""
    if tree.layout == "projected" or not {"E", "L"} & set(reading.modalities):
        return None, []
    return read_calibration(tree.home / "calib.json", reading.modalities)


def _reader(tree: Tree, reading: Reading, shape: Size, calibration: Calibration | None) -> SceneReader:
    return SceneReader(
        layout=tree.layout,
        shape=(int(shape[0]), int(shape[1])),
        dilate_events=reading.dilate_events,
        dilate_lidar=reading.dilate_lidar,
        event_window_us=reading.event_window_us,
        min_range=reading.min_range,
        calibration=calibration,
    )


def _headers(tree: Tree) -> tuple[dict[Path, Size], list[Fault]]:
    """Height and width of every image, and what the headers of all files have wrong."""
    sizes: dict[Path, Size] = {}
    faults = []
    for scene in every(tree):
        for kind, path in scene.files.items():
            try:
                size = _header(kind, path, tree.layout)
            except FileFault as error:
                faults.append(Fault.of(error, scene.key.id))
                continue
            if size is not None:
                sizes[path] = size
    return sizes, faults


def _header(kind: str, path: Path, layout: str) -> Size | None:
    if kind == "F":
        return frame_size(path)
    if kind == LABELS:
        return label_size(path)
    if layout == "projected":
        return projected_size(path, kind)
    if kind == "E":
        check_events(path)
    else:
        check_lidar_size(path)
    return None


def _common(sizes: dict[Path, Size]) -> Size | None:
    return Counter(sizes.values()).most_common(1)[0][0] if sizes else None


def _off_size(tree: Tree, sizes: dict[Path, Size], shape: Size) -> list[Fault]:
    """Without `size` nothing is resized, so every image must be as most are."""
    return [
        Fault(
            f"{path}: expected {shape[0]} x {shape[1]} pixels as most images (or give size), "
            f"found {size[0]} x {size[1]}",
            "size",
            scene.key.id,
        )
        for scene in every(tree)
        for path in scene.files.values()
        if (size := sizes.get(path, shape)) != shape
    ]


def value_faults(scenes: Iterable[Scene], source: Source, kinds: Sequence[str]) -> list[Fault]:
    """What the values of these scenes have wrong; every file of theirs is read."""
    faults = []
    for scene in scenes:
        for kind in kinds:
            if kind not in scene.files:
                continue
            try:
                source.get(scene, kind)
            except FileFault as error:
                faults.append(Fault.of(error, scene.key.id))
    return faults
