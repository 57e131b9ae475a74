"""Whether files say of themselves that they were generated."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmablate.data.image_folder.images import UnreadableImage, read_comment

GENERATED = "SYNTHETIC.json"  # what a generator leaves in a folder that it wrote
COMMENT = "synthetic"  # how the text chunk `Comment` of a generated PNG begins


def marked(root: Path, samples: Iterable[Mapping[str, Path]]) -> bool:
    """Whether a folder or an image says that the data were generated.

    A file SYNTHETIC.json is looked for in the root and in every folder below it on the way to a file of a sample;
    where a folder is a link, on the way to what it is linked to. A comment is looked for in the first image of
    each role in each folder: the mark of a tree goes lost where only a part of it is copied, and generated images
    may lie beside others.

    Args:
        root: the folder of the recipe.
        samples: role -> file, of each.
    """
    first: dict[tuple[str, str], Path] = {}
    for sample in samples:
        for role, path in sample.items():
            first.setdefault((os.path.dirname(path), role), path)
    folders: set[Path] = set()
    home = Path(os.path.realpath(root))
    for parent in {path.parent for path in first.values()}:
        folders.update(folder for folder in (parent, *parent.parents) if folder.is_relative_to(root))
        folders.update(_linked(home, parent))
    return any((folder / GENERATED).is_file() for folder in folders) or any(map(_commented, first.values()))


def _linked(home: Path, folder: Path) -> list[Path]:
    """The folders on the way to where a folder really lies; below the root, where it lies in it."""
    real = Path(os.path.realpath(folder))
    way = [real, *real.parents]
    return [place for place in way if place.is_relative_to(home)] if real.is_relative_to(home) else way


def _commented(path: Path) -> bool:
    try:
        return path.suffix.lower() in (".png", ".jpg") and read_comment(path).startswith(COMMENT)
    except UnreadableImage:  # told elsewhere
        return False
