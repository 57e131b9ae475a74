"""MUSES as a dataset: driving scenes by frame camera (F), event camera (E) and LiDAR (L) in four weathers.

Broedermann et al. 2024, "MUSES: The Multi-Sensor Semantic Perception Dataset for Driving under
Uncertainty". The raw tree and the trees that the dataset's tool or AnySeg project from it are read; where the
published code has a fault this reader departs from it: void stays void, 16-bit files keep both bytes and
their order of channels, points behind the camera are dropped, and so on; each place says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmablate.data.base import SegmentationData, Split
from mmablate.data.faults import Fault, counted, told
from mmablate.data.muses.cache import DiskCache, default_folder
from mmablate.data.muses.checking import Reading, Survey, every, survey, value_faults
from mmablate.data.muses.classes import CLASS_NAMES, COLOURS, SPLITS, VOID
from mmablate.data.muses.meta import WITHOUT_FILES
from mmablate.data.muses.mini.mark import is_synthetic
from mmablate.data.muses.projection import Calibration
from mmablate.data.muses.scaling import Scaling, fixed_scaling, measured_scaling
from mmablate.data.muses.scenes import Files, Remembered, SceneReader, Source
from mmablate.data.muses.split import KeptSplit, SceneSplit
from mmablate.data.muses.tree import LABELS, Scene
from mmablate.errors import DataError

ATTRIBUTION = "MUSES (Broedermann et al. 2024)"
SYNTHETIC = "synthetic scenes by mmablate data make muses"


def check_muses(
    root: Path,
    *,
    modalities: Sequence[str],
    layout: str = "auto",
    size: Sequence[int] | None = None,
    normalise: str = "standard",
    dilate_events: int = 1,
    dilate_lidar: int = 1,
    event_window_us: int = 30_000,
    min_range: float = 1.0,
    weather: Sequence[str] | None = None,
    time_of_day: Sequence[str] | None = None,
    on_fault: str = "refuse",
    thorough: bool = False,
) -> list[str]:
    """All faults of a tree at once, one line each, many alike with their number; [] where all is well.

    Args:
        root, modalities and the options: as in `open_muses`; `on_fault` makes no difference here.
        thorough: read every file; otherwise names, sizes and headers only.

    Returns:
        Lines that name the path, what was expected and what was found.
    """
    reading = _reading(
        modalities, layout, size, dilate_events, dilate_lidar, event_window_us, min_range, weather, time_of_day
    )
    found = survey(Path(root), reading)
    faults = list(found.faults)
    if thorough and found.reader is not None:
        faults += _unseen(found, Files(_complete(found.reader)), every(found.tree), reading)
    return told(faults)


def open_muses(
    root: Path,
    *,
    modalities: Sequence[str],
    layout: str = "auto",
    size: Sequence[int] | None = None,
    normalise: str = "standard",
    dilate_events: int = 1,
    dilate_lidar: int = 1,
    event_window_us: int = 30_000,
    min_range: float = 1.0,
    weather: Sequence[str] | None = None,
    time_of_day: Sequence[str] | None = None,
    on_fault: str = "refuse",
    cache_bytes: int = 1 << 31,
    cache_folder: Path | None = None,
    stats_samples: int = 300,
) -> SegmentationData:
    """MUSES, or a mini set in its layout, as a dataset of 19 classes with 255 for void.

    Inputs are F (R, G, B), E (positive count, negative count, 0) and L (range in m, intensity, z in m of the
    sensor's frame); a pixel without event or return is 0 in all channels, after every normalisation.

    Args:
        root: the set's folder, its `projected_to_rgb`, or a tree of AnySeg.
        modalities: some of "F", "E", "L", in the order wanted; files of others are not needed.
        layout: "raw" sensor files, "projected" ones, or "auto": whichever are there, a fault if both.
        size: height and width; frames bilinearly, labels and projected files by the nearest pixel, raw
            sensors projected to it directly. None: the size of the images, which must be one.
        normalise: "standard": mean 0 and deviation 1 by channel over train; else see `fixed_scaling`.
        dilate_events, dilate_lidar: edge of the square that widens events and returns; 1 for none.
        event_window_us: raw events up to so many microseconds before the last one count, so one always does.
        min_range: raw LiDAR points nearer than this (m) are dropped. Projected files of a sensor have neither
            choice: another value than the default is a fault.
        weather, time_of_day: only scenes of these; None for all.
        on_fault: "refuse" any faulty scene, or "drop" it with a note. To drop, every file is read once,
            from the cache where it was before.
        cache_bytes: a split that takes at most so many bytes as float32 inputs and int64 labels is kept in
            memory; a larger one is projected once into `cache_folder` and read from there.
        cache_folder: see `mmablate.data.muses.cache.default_folder`.
        stats_samples: at most so many training scenes, evenly spaced, give mean and deviation.

    Raises:
        DataError: all faults found, one line each, as `check_muses` words them. A fault in the values of a
            split not kept in memory may show only when the scene is read.
    """
    reading = _reading(
        modalities, layout, size, dilate_events, dilate_lidar, event_window_us, min_range, weather, time_of_day
    )
    found = survey(Path(root), reading)
    if found.fatal:
        raise DataError(told(found.faults))
    assert found.reader is not None
    folder = default_folder() if cache_folder is None else Path(cache_folder)
    sources = _sources(found, reading, cache_bytes, folder)
    scenes, notes = _sound(found, sources, reading, drop=on_fault == "drop")
    scalings = _scalings(found, scenes["train"], sources["train"], reading, normalise, stats_samples)
    splits: dict[str, Split] = {}
    for name, chosen in scenes.items():
        split = SceneSplit(chosen, sources[name], scalings)
        splits[name] = KeptSplit(split) if isinstance(sources[name], Remembered) else split
    synthetic = is_synthetic(found.tree.home)
    return SegmentationData(
        name="muses",
        modalities=dict.fromkeys(reading.modalities, 3),
        class_names=CLASS_NAMES,
        ignore_label=VOID,
        splits=splits,
        synthetic=synthetic,
        attribution=SYNTHETIC if synthetic else ATTRIBUTION,
        content=found.content,
        colours=COLOURS,
        notes=(*found.tree.notes, *notes),
    )


def _reading(
    modalities: Sequence[str],
    layout: str,
    size: Sequence[int] | None,
    dilate_events: int,
    dilate_lidar: int,
    event_window_us: int,
    min_range: float,
    weather: Sequence[str] | None,
    time_of_day: Sequence[str] | None,
) -> Reading:
    """The options in one, sequences as tuples: recipes hold lists."""
    return Reading(
        modalities=tuple(modalities),
        layout=layout,
        size=None if size is None else (int(size[0]), int(size[1])),
        dilate_events=dilate_events,
        dilate_lidar=dilate_lidar,
        event_window_us=event_window_us,
        min_range=min_range,
        weather=None if weather is None else tuple(weather),
        time_of_day=None if time_of_day is None else tuple(time_of_day),
    )


def _complete(reader: SceneReader) -> SceneReader:
    """The reader with identities for matrices that calib.json lacks, so that the sensor files can be read at all."""
    if reader.calibration is None:
        return reader
    matrices = {"rgb.K": np.eye(3), "event.K": np.eye(3), "lidar2rgb": np.eye(4), "event2rgb": np.eye(4)}
    return replace(reader, calibration=Calibration({**matrices, **reader.calibration.matrices}))


def _sources(found: Survey, reading: Reading, cache_bytes: int, folder: Path) -> dict[str, Source]:
    """Memory for small splits, the folder of projected scenes for large ones."""
    assert found.reader is not None
    pixels = found.reader.shape[0] * found.reader.shape[1]
    sources: dict[str, Source] = {}
    for split in SPLITS:
        if split in found.tree.scenes:
            nbytes = len(found.tree.scenes[split]) * pixels * (4 * 3 * len(reading.modalities) + 8)
            small = nbytes <= cache_bytes
            sources[split] = Remembered(Files(found.reader)) if small else DiskCache(found.reader, folder)
    return sources


def _unseen(found: Survey, source: Source, scenes: Sequence[Scene], reading: Reading) -> list[Fault]:
    """Faults of values that the headers had not shown."""
    known = {fault.line for fault in found.faults}
    faults = value_faults(scenes, source, (*reading.modalities, LABELS))
    return [fault for fault in faults if fault.line not in known]


def _sound(
    found: Survey, sources: dict[str, Source], reading: Reading, *, drop: bool
) -> tuple[dict[str, list[Scene]], list[str]]:
    """The scenes to use, and a note of those left out; a DataError unless they may be, or where none is left."""
    faults = list(found.faults)
    for split, source in sources.items():
        if drop or isinstance(source, Remembered):
            faults += _unseen(found, source, found.tree.scenes[split], reading)
    if faults and not drop:
        raise DataError(told(faults))
    faulty = {fault.scene for fault in faults}
    scenes = {split: [scene for scene in found.tree.scenes[split] if scene.key.id not in faulty] for split in sources}
    empty = [split for split, left in scenes.items() if not left]
    if empty:
        lines = [f"{found.tree.home}: expected a sound scene of the split {split}, found none" for split in empty]
        raise DataError(lines + told(faults))
    return scenes, _dropped_notes(found, scenes, faults)


def _dropped_notes(found: Survey, scenes: dict[str, list[Scene]], faults: Sequence[Fault]) -> list[str]:
    """How many scenes were left out, and of which splits."""
    notes = []
    dropped = {split: len(found.tree.scenes[split]) - len(left) for split, left in scenes.items()}
    if any(dropped.values()):
        parts = ", ".join(f"{split} {number}" for split, number in dropped.items() if number)
        lost, total = sum(dropped.values()), sum(len(found.tree.scenes[split]) for split in scenes)
        notes.append(f"{lost} of {total} scenes {'was' if lost == 1 else 'were'} dropped for faulty files ({parts})")
    absent = sum(fault.kind == WITHOUT_FILES for fault in faults)
    if absent:
        has, are = ("has", "is") if absent == 1 else ("have", "are")
        notes.append(f"{counted(absent, 'scene')} of meta.json {has} no files and {are} left out")
    return notes


def _scalings(
    found: Survey, train: Sequence[Scene], source: Source, reading: Reading, normalise: str, stats_samples: int
) -> dict[str, Scaling]:
    """The scaling of each modality; measured ones are kept in the folder of projected scenes."""
    if normalise != "standard":
        return {modality: fixed_scaling(normalise, modality) for modality in reading.modalities}
    at = np.linspace(0, len(train) - 1, min(len(train), max(1, stats_samples))).round().astype(int)
    sampled = [train[i] for i in at]
    faults = value_faults(sampled, source, reading.modalities)
    scalings = {}
    for modality in reading.modalities if not faults else ():
        scaling = _measured(sampled, source, modality)
        if scaling is None:
            what = "events inside the image" if modality == "E" else "LiDAR returns inside the image"
            faults.append(Fault(f"{found.tree.home}: expected {what} to standardise by, found none", "empty input"))
        else:
            scalings[modality] = scaling
    if faults:
        raise DataError(told(faults))
    return scalings


def _measured(scenes: Sequence[Scene], source: Source, modality: str) -> Scaling | None:
    if not isinstance(source, DiskCache):
        return measured_scaling(scenes, source, modality)
    key, kept = source.moments(scenes, modality)
    if kept is not None:
        return Scaling(tuple(kept[0]), tuple(kept[1]))
    scaling = measured_scaling(scenes, source, modality)
    if scaling is not None:
        source.keep_moments(key, [list(scaling.mean), list(scaling.std)])
    return scaling
