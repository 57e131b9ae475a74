"""The folders of MUSES: which scenes there are, and where the files of each lie.

    <home>/<sensor>/{train,val,test}/{clear,fog,rain,snow}/{day,night}/<scene>_<suffix>
    <home>/projected_to_rgb/<sensor>/...     event and LiDAR projected to the RGB plane by the dataset's tool

The trees of AnySeg hold the projected files in <home>/<sensor>/... itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mmablate.data.base import SampleInfo
from mmablate.data.faults import Fault, within
from mmablate.data.muses.classes import MODALITIES, SPLITS, TIMES, WEATHERS

PROJECTED = "projected_to_rgb"
LABELS = "labels"
FOLDERS = {**MODALITIES, LABELS: "gt_semantic"}
RAW_SUFFIX = {
    "F": "_frame_camera.png",
    "E": "_event_camera.h5",
    "L": "_lidar.bin",
    LABELS: "_gt_labelTrainIds.png",
}
PROJECTED_SUFFIXES = {
    modality: tuple(f"_{MODALITIES[modality]}{ending}" for ending in (".npz", ".npy", ".png")) for modality in "EL"
}
WHAT = {"F": "frame", "E": "events", "L": "LiDAR", LABELS: "label image"}


class Key(NamedTuple):
    """What names a scene; keys sort as the files of the tree do."""

    split: str
    weather: str
    time_of_day: str
    name: str

    @property
    def id(self) -> str:
        """As in `SampleInfo`."""
        return "/".join(self)


@dataclass(frozen=True)
class Scene:
    """One recording with its files: "F", "E", "L" (those asked for) and "labels" -> path; some may be missing."""

    key: Key
    files: Mapping[str, Path]

    @property
    def info(self) -> SampleInfo:
        """Id and conditions."""
        return SampleInfo(self.key.id, {"weather": self.key.weather, "time_of_day": self.key.time_of_day})


Listing = dict[Key, list[Path]]


@dataclass
class Tree:
    """What the folders hold; faults of names and missing files are collected here.

    Attributes:
        home: folder of labels, frames, calib.json and meta.json.
        layout: "raw" or "projected".
        scenes: split -> scenes in order; those that lack a file have a fault.
        faults: what is missing or double, and folders of unknown names.
        notes: sentences for tables.
    """

    home: Path
    layout: str
    scenes: dict[str, list[Scene]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_home(root: Path) -> tuple[Path, bool]:
    """The folder of labels and frames, and whether `root` is the folder of projections inside it."""
    inside = root.resolve().name == PROJECTED and not (root / FOLDERS[LABELS]).is_dir()
    return (root.resolve().parent if inside else root), inside


def read_tree(
    root: Path,
    modalities: Sequence[str],
    layout: str = "auto",
    weather: Sequence[str] | None = None,
    time_of_day: Sequence[str] | None = None,
) -> Tree:
    """The scenes below `root`, the folder itself or its `projected_to_rgb`.

    Only the files of the modalities asked for count; a set without frames serves "E" and "L". A test
    split without any label image is left out, with a note: its labels are withheld.
    """
    home, inside = find_home(root)
    tree = Tree(home, layout)
    listings = {LABELS: _listed(tree, home / FOLDERS[LABELS], (RAW_SUFFIX[LABELS],))}
    if "F" in modalities:
        listings["F"] = _listed(tree, home / FOLDERS["F"], (RAW_SUFFIX["F"],))
    sensors = [modality for modality in modalities if modality in PROJECTED_SUFFIXES]
    tree.layout = _list_sensors(tree, sensors, listings, "projected" if inside and layout == "auto" else layout)
    keys = {key for listing in listings.values() for key in listing}
    if not any(key.split == "test" for key in listings[LABELS]):
        _without_test(tree, keys)
    everything = sorted(keys)
    wanted = [key for key in everything if _passes(key, weather, time_of_day)]
    _assemble(tree, wanted, listings)
    _in_two_splits(tree, wanted)
    _empty_splits(tree, everything, wanted)
    return tree


def _passes(key: Key, weather: Sequence[str] | None, time_of_day: Sequence[str] | None) -> bool:
    return (weather is None or key.weather in weather) and (time_of_day is None or key.time_of_day in time_of_day)


def _listed(tree: Tree, folder: Path, suffixes: Sequence[str]) -> Listing:
    """The files with one of the suffixes, by scene; unknown conditions become faults."""
    found: Listing = {}
    strange: set[Path] = set()
    for split in SPLITS:
        for path in sorted((folder / split).glob("*/*/*")):
            suffix = next((suffix for suffix in suffixes if path.name.endswith(suffix)), None)
            if suffix is None or path.name.startswith("."):
                continue
            weather, time = path.parent.parent.name, path.parent.name
            if weather not in WEATHERS or time not in TIMES:
                strange.add(path.parent)
                continue
            found.setdefault(Key(split, weather, time, path.name.removesuffix(suffix)), []).append(path)
    wanted = f"{'|'.join(WEATHERS)}/{'|'.join(TIMES)}"
    for path in sorted(strange):
        place = "/".join(path.parts[-2:])
        tree.faults.append(Fault(f"{path}: expected a folder {wanted}, found {place}", "unknown folder"))
    return found


def _list_sensors(tree: Tree, sensors: Sequence[str], listings: dict[str, Listing], layout: str) -> str:
    """Adds events and LiDAR to the listings, raw or projected, and says which."""
    raw = {m: _listed(tree, tree.home / FOLDERS[m], (RAW_SUFFIX[m],)) for m in sensors}
    projected = {m: _projections(tree, m) for m in sensors}
    if layout == "auto":
        found = {name: _examples(tree.home, kind.values()) for name, kind in (("raw", raw), ("projected", projected))}
        if found["raw"] and found["projected"]:
            line = (
                f"{tree.home}: expected raw or projected sensors, found projected and raw mixed: raw {found['raw']}; "
                f"projected {found['projected']}; say layout: raw or layout: projected"
            )
            tree.faults.append(Fault(line, "mixed"))
        layout = "projected" if found["projected"] and not found["raw"] else "raw"
    listings.update(projected if layout == "projected" else raw)
    return layout


def _projections(tree: Tree, modality: str) -> Listing:
    """Projected files of both places; a folder of projections inside the tree comes first."""
    found: Listing = {}
    for folder in (tree.home / PROJECTED, tree.home):
        for key, paths in _listed(tree, folder / FOLDERS[modality], PROJECTED_SUFFIXES[modality]).items():
            found.setdefault(key, []).extend(paths)
    return found


def _examples(home: Path, listings: Iterable[Listing]) -> str:
    """Number and first file of each sensor that has some, "" where none has."""
    parts = []
    for listing in listings:
        if listing:
            first = next(iter(listing.values()))[0]
            parts.append(f"{len(listing)} ({within(home, first)}{', ...' if len(listing) > 1 else ''})")
    return " and ".join(parts)


def _without_test(tree: Tree, keys: set[Key]) -> None:
    withheld = {key for key in keys if key.split == "test"}
    keys -= withheld
    if withheld:
        tree.notes.append(
            f"the test split ({len(withheld)} scenes) has no label images and is left out; scores are of val"
        )


def _assemble(tree: Tree, keys: Sequence[Key], listings: Mapping[str, Listing]) -> None:
    """Scenes with their files; what is missing or double becomes a fault of its scene."""
    for key in keys:
        files: dict[str, Path] = {}
        for kind, listing in listings.items():
            paths = listing.get(key, [])
            if len(paths) == 1:
                files[kind] = paths[0]
            elif paths:
                names = ", ".join(within(tree.home, path) for path in paths)
                line = f"{paths[0].parent}: expected one {WHAT[kind]} file of {key.name}, found {names}"
                tree.faults.append(Fault(line, f"double {kind}", key.id))
            else:
                line = f"{_expected(tree, kind, key)}: expected the {WHAT[kind]} of {key.id}, found no file"
                tree.faults.append(Fault(line, f"missing {kind}", key.id))
        tree.scenes.setdefault(key.split, []).append(Scene(key, files))


def _in_two_splits(tree: Tree, keys: Sequence[Key]) -> None:
    """The name of a recording is unique in MUSES: under two splits, scenes of one were copied into another.

    A fault that no dropping helps against: which of both splits is right, the tree cannot tell.
    """
    places: dict[str, list[Key]] = {}
    for key in keys:
        places.setdefault(key.name, []).append(key)
    for name, found in places.items():
        if len({key.split for key in found}) > 1:
            shown = " and ".join(key.id for key in found)
            tree.faults.append(
                Fault(f"{tree.home}: expected {name} in one split, found {shown}", "scene in two splits")
            )


def _expected(tree: Tree, kind: str, key: Key) -> Path:
    """Where a file is looked for."""
    folder = Path(FOLDERS[kind], *key[:3])
    if tree.layout == "projected" and kind in PROJECTED_SUFFIXES:
        place = tree.home / PROJECTED if (tree.home / PROJECTED).is_dir() else tree.home
        return place / folder / f"{key.name}_{FOLDERS[kind]}.npz|.npy|.png"
    return tree.home / folder / f"{key.name}{RAW_SUFFIX[kind]}"


def _empty_splits(tree: Tree, everything: Sequence[Key], wanted: Sequence[Key]) -> None:
    for split in SPLITS:
        before = sum(key.split == split for key in everything)
        if any(key.split == split for key in wanted) or (split == "test" and not before):
            continue
        found = f"none of {before} scenes of the weather and time of day asked for" if before else "no scene"
        line = f"{tree.home}: expected scenes of the split {split}, found {found}"
        tree.faults.append(Fault(line, f"empty {split}"))
