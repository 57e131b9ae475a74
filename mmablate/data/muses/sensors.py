"""The raw sensor files of MUSES: events in HDF5, LiDAR points as rows of six doubles."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmablate.data.faults import FileFault
from mmablate.data.muses.projection import in_window
from mmablate.data.untrusted import BROKEN

POINT_BYTES = 48
"""x, y, z, intensity, ring and time in s, float64 each."""
FIELDS = ("x", "y", "t", "p")
FARTHEST = 1e6  # m; no LiDAR sees so far
MOST_EVENTS = 1 << 25
"""Of a file of 30 ms: as if every pixel of the sensor had fired 36 times."""
ITEM_BYTES = {"x": (2, 4), "y": (2, 4), "t": (1, 8), "p": (1, 1)}
"""Least and most bytes of one number of each dataset; the files of MUSES have 2, 2, 4 and 1."""
LATEST_US = 1 << 62  # times beyond leave no room to subtract a window
PLUGIN_HINT = 'pip install "mmablate[muses]"'


class Events(NamedTuple):
    """Events of a window: pixel of the event camera and polarity, (N,) each."""

    x: np.ndarray
    y: np.ndarray
    polarity: np.ndarray


def check_lidar_size(path: Path) -> None:
    """Raises FileFault where the size of a LiDAR file is not that of whole points."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise FileFault(path, f"expected LiDAR points, found {error.strerror}", "LiDAR unreadable") from error
    if size == 0 or size % POINT_BYTES:
        wanted = f"LiDAR points of {POINT_BYTES} bytes each"
        raise FileFault(path, f"expected {wanted}, found {size} bytes", "LiDAR truncated")


def read_lidar(path: Path) -> NDArray[np.float64]:
    """LiDAR points, (N, 6): x, y, z in m in the sensor's frame, intensity, ring, time in s. Raises FileFault."""
    check_lidar_size(path)
    try:
        points = np.fromfile(path, dtype="<f8").reshape(-1, 6)
    except BROKEN as error:
        raise FileFault(path, f"expected LiDAR points, found {error}", "LiDAR unreadable") from error
    sound = (np.abs(points[:, :4]) < FARTHEST).all(axis=1)  # False for NaN
    if not sound.all():
        wanted = f"finite coordinates and intensities below {FARTHEST:.0e}"
        raise FileFault(path, f"expected {wanted}, found {int((~sound).sum())} points without", "LiDAR not finite")
    return points


def check_events(path: Path) -> None:
    """Raises FileFault where an event file cannot be opened, lacks a dataset, is empty or needs a plugin."""
    with _opened(path) as file:
        _datasets(path, file)


def read_events(path: Path, window_us: int) -> Events:
    """The events of the last `window_us` microseconds, at least the last one. Raises FileFault."""
    with _opened(path) as file:
        datasets = _datasets(path, file)
        try:
            t = np.asarray(datasets["t"][:])
            x, y, p = (np.asarray(datasets[name][:]) for name in ("x", "y", "p"))
        except BROKEN as error:
            raise FileFault(path, f"expected events, found damaged data ({_short(error)})", "events damaged") from error
    if p.max() > 1 or p.min() < 0:
        raise FileFault(path, f"expected polarities 0 and 1, found {p.min()} to {p.max()}", "events polarity")
    if t.max() > LATEST_US or t.min() < -LATEST_US:
        raise FileFault(path, f"expected times in microseconds, found {t.min()} to {t.max()}", "events time")
    kept = in_window(t, window_us)
    return Events(x[kept], y[kept], p[kept])


def _opened(path: Path) -> Any:
    import h5py

    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401 - importing it registers the filters
    try:
        return h5py.File(path, "r", locking=False)
    except BROKEN as error:
        raise FileFault(path, f"expected events in HDF5, found {_short(error)}", "events unreadable") from error


def _datasets(path: Path, file: Any) -> dict[str, Any]:
    """The four datasets after a look at their shapes, types and filters."""
    found = {}
    for name in FIELDS:
        try:
            dataset = file[f"events/{name}"]
        except BROKEN as error:
            raise FileFault(path, f"expected the dataset events/{name}, found none", "events dataset") from error
        try:
            _check_dataset(path, file, name, dataset)
        except BROKEN as error:  # h5py raises a TypeError for types that numpy lacks, as that of times
            line = f"expected events/{name} as (N,) integers, found {_short(error)}"
            raise FileFault(path, line, "events dataset") from error
        found[name] = dataset
    lengths = {name: dataset.shape[0] for name, dataset in found.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise FileFault(path, f"expected datasets of one length, found {shown}", "events length")
    if not lengths["t"]:
        raise FileFault(path, "expected events, found a file without any, in the window or before", "events none")
    return found


def _check_dataset(path: Path, file: Any, name: str, dataset: Any) -> None:
    """One of the four; raises FileFault, or what h5py does of a damaged file."""
    import h5py

    least, most = ITEM_BYTES[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.dtype.kind not in "iub":
        shown = f"{dataset.shape} of {dataset.dtype}" if isinstance(dataset, h5py.Dataset) else "a group"
        raise FileFault(path, f"expected events/{name} as (N,) integers, found {shown}", "events dataset")
    if not least <= dataset.dtype.itemsize <= most:
        wanted = f"{least} to {most} bytes" if least < most else f"{most} byte"
        line = f"expected events/{name} as integers of {wanted}, found {dataset.dtype}"
        raise FileFault(path, line, "events dataset")
    if dataset.file != file or dataset.external or dataset.is_virtual:
        raise FileFault(path, f"expected events/{name} in the file itself, found a link", "events dataset")
    if dataset.shape[0] > MOST_EVENTS:
        raise FileFault(path, f"expected at most {MOST_EVENTS} events, found {dataset.shape[0]}", "events length")
    if dataset.chunks and dataset.chunks[0] > MOST_EVENTS:  # a chunk is unpacked whole, whatever the length
        line = f"expected chunks of at most {MOST_EVENTS} events, found {dataset.chunks[0]}"
        raise FileFault(path, line, "events length")
    filters = dataset.id.get_create_plist()
    for index in range(filters.get_nfilters()):
        code, _, _, label = filters.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            said = repr(label.decode(errors="replace") or f"filter {code}")
            raise FileFault(path, f"expected a filter that is installed, found {said}: {PLUGIN_HINT}", "events filter")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
