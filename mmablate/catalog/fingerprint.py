"""Fingerprints of data on disk: part of a run's identity, so that other data never pass for the same run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from mmablate.errors import DataError

# Up to this total a set is hashed by content, so that a copy elsewhere is recognised as the same data.
CONTENT_LIMIT = 256 * 2**20


def file_hash(path: Path) -> str:
    """SHA-256 of one file, hexadecimal; raises DataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def files_below(folder: Path, endings: Collection[str]) -> list[Path]:
    """Files with these endings (lower case, with the dot) anywhere below a folder, hidden ones left out.

    Links to folders are followed, as the readers do, each real folder once, so that a circle of links ends.
    """
    found = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place, name) for name in names if not name.startswith(".") and Path(name).suffix.lower() in endings
        ]
    return sorted(path for path in found if path.is_file())


def fingerprint(files: Sequence[Path], *, relative_to: Path | None = None) -> str:
    """A string that changes when the files do.

    Args:
        files: in any order.
        relative_to: folder below which names are taken; a moved set keeps its fingerprint.

    Returns:
        "content:<hash>" for sets of at most 256 MiB, else "stat:<hash>" of sizes and modification times.

    Raises:
        DataError: a file that is missing or cannot be read.
    """

    def name(path: Path) -> str:
        return str(path.relative_to(relative_to)) if relative_to else path.name

    try:
        stats = [(name(path), path, path.stat()) for path in sorted(files)]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error
    by_content = sum(stat.st_size for _, _, stat in stats) <= CONTENT_LIMIT
    digest = hashlib.sha256()
    for relative, path, stat in stats:
        mark = file_hash(path) if by_content else f"{stat.st_size}:{stat.st_mtime_ns}"
        digest.update(f"{relative}\0{mark}\n".encode(errors="surrogatepass"))  # names need not be UTF-8
    return f"{'content' if by_content else 'stat'}:{digest.hexdigest()[:32]}"
