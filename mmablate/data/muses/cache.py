"""A folder of projected scenes, so that each is decoded and projected once.

One file a scene and kind of array, named after all that it depends on: path, size and time of the file
read, the options, and the version of this code. Several processes may fill it at once. A file that is
damaged is made again; a folder that cannot be written only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import struct
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from mmablate.data.cache import cache_folder
from mmablate.data.muses.scenes import RETURN, SceneReader
from mmablate.data.muses.tree import Scene


def default_folder() -> Path:
    """The folder "projected" of the user's cache."""
    return cache_folder() / "projected"


class DiskCache:
    """Compact arrays, from the folder where they are there and sound, and otherwise from the files.

    Args:
        reader: makes the arrays.
        folder: need not exist.
    """

    def __init__(self, reader: SceneReader, folder: Path) -> None:
        self.reader, self.folder = reader, Path(folder)
        self._settings: dict[str, str] = {}
        self._sound: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        # Another process looks at each file once itself.
        return {**self.__dict__, "_sound": set()}

    def key(self, scene: Scene, kind: str) -> str:
        """Name of the array in the folder; changes with the file, the options and the code."""
        path = scene.files[kind]
        if kind not in self._settings:
            self._settings[kind] = self.reader.settings(kind)
        try:
            stat = path.stat()
            mark = f"{stat.st_size}:{stat.st_mtime_ns}"
        except OSError:
            mark = "none"
        return hashlib.sha256(f"{os.path.abspath(path)}\0{mark}\0{self._settings[kind]}".encode()).hexdigest()[:40]

    def get(self, scene: Scene, kind: str) -> np.ndarray:
        """As `SceneReader.read`; perhaps not writeable."""
        key = self.key(scene, kind)
        path = self.folder / key[:2] / f"{key}.npy"
        kept = self._kept(path, key, kind)
        if kept is not None:
            return kept
        array = self.reader.read(scene, kind)
        _write(path, _packed(array))
        return array

    def _kept(self, path: Path, key: str, kind: str) -> np.ndarray | None:
        """The array of a file of the folder, None where there is none or it is damaged."""
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if key not in self._sound:
            if len(content) < 4 or zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
                return None
            self._sound.add(key)
        try:
            array = _unpacked(content)
        except (ValueError, EOFError):
            return None
        return array if self._fits(array, kind) else None

    def _fits(self, array: np.ndarray, kind: str) -> bool:
        height, width = self.reader.shape
        if kind == "L":
            return array.dtype == RETURN and array.ndim == 1
        planes = {"F": (3,), "E": (2,)}.get(kind, ())
        dtypes = ("uint8", "uint16") if kind == "E" else ("uint8",)
        return array.shape == (*planes, height, width) and array.dtype.name in dtypes

    def moments(self, scenes: Sequence[Scene], kind: str) -> tuple[str, list[list[float]] | None]:
        """Name of the mean and deviation over these scenes, and what the folder holds of them."""
        text = "\n".join(["moments", *(self.key(scene, kind) for scene in scenes)])
        key = hashlib.sha256(text.encode()).hexdigest()[:40]
        try:
            content = json.loads((self.folder / key[:2] / f"{key}.json").read_text(encoding="utf-8"))
            values = np.asarray(content, dtype=np.float64)
        except (OSError, ValueError, TypeError, RecursionError):
            return key, None
        sound = values.shape == (2, 3) and np.isfinite(values).all() and (values[1] > 0).all()
        return key, (values.tolist() if sound else None)

    def keep_moments(self, key: str, values: list[list[float]]) -> None:
        """Keeps mean and deviation under the name that `moments` gave."""
        _write(self.folder / key[:2] / f"{key}.json", json.dumps(values).encode())


def _packed(array: np.ndarray) -> bytes:
    """A .npy file and the CRC-32 of it."""
    stream = io.BytesIO()
    npy_format.write_array(stream, array, allow_pickle=False)
    content = stream.getvalue()
    return content + struct.pack("<I", zlib.crc32(content))


def _unpacked(content: bytes) -> np.ndarray:
    """The array over the bytes, without a copy. Raises ValueError where it is not whole."""
    stream = io.BytesIO(content)
    if npy_format.read_magic(stream) != (1, 0):
        raise ValueError("not of version 1.0")
    shape, fortran, dtype = npy_format.read_array_header_1_0(stream)
    if fortran or dtype.hasobject:
        raise ValueError("not an array of this cache")
    count = int(np.prod(shape, dtype=np.int64))
    if stream.tell() + count * dtype.itemsize + 4 != len(content):
        raise ValueError("cut off")
    return np.frombuffer(content, dtype=dtype, count=count, offset=stream.tell()).reshape(shape)


def _write(path: Path, content: bytes) -> None:
    """Into a file of its own first, then under its name at once; nothing where the folder cannot be written."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
