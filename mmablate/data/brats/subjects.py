"""Subjects of BraTS and their names."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmablate.data.faults import FileFault

PREFIX = re.compile(r"(HG|LG)G?_(?=.)")
NUMBERED = re.compile(r"BraTS20_Training_(\d{3})", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
GRADES = {"HG": "HGG", "LG": "LGG"}
LABELS = "seg"
STORED = "vol"


@dataclass(frozen=True)
class Subject:
    """A subject and its files.

    Attributes:
        name: without the prefix of its grade, e.g. "BraTS20_Training_001".
        grade: "HGG" or "LGG", None where neither folder, prefix nor number tells.
        files: sequence or "seg" -> NIfTI file; of the pre-processed layout "vol" and "seg".
    """

    name: str
    grade: str | None
    files: Mapping[str, Path]

    @property
    def listed(self) -> str:
        """The name as the published lists have it: those of 2020 begin with HG_ or LG_."""
        return f"{self.grade[:2]}_{self.name}" if self.grade and self.name.startswith("BraTS20_") else self.name

    @property
    def place(self) -> Path:
        """What a fault of the subject as a whole is told of."""
        first = next(iter(self.files.values()))
        return first if STORED in self.files else first.parent


def bare(name: str) -> str:
    """A name without the prefix of a grade, by which lists, volumes and folders are matched."""
    return PREFIX.sub("", name, count=1) if PREFIX.match(name) else name


def grade_of(name: str, folder: str = "") -> str | None:
    """The grade that a prefix, a folder HGG or LGG, or a number of 2020 tells.

    Source: the published lists of BraTS 2020, in which numbers up to 259 and from 336 on are of high grade.
    """
    if (prefix := PREFIX.match(name)) is not None:
        return GRADES[prefix[1]]
    if folder.upper() in GRADES.values():
        return folder.upper()
    number = NUMBERED.fullmatch(name)
    if number is None:
        return None
    return "HGG" if int(number[1]) <= 259 or int(number[1]) >= 336 else "LGG"


class Home:
    """The root of a set, out of which no file of it may lead.

    Args:
        root: a folder; it may itself be a link.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root)

    def holds(self, path: Path) -> bool:
        """Whether a path, its links followed, lies in the root."""
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real.rstrip(os.sep) + os.sep)

    def check(self, path: Path) -> Path:
        """The path. Raises FileFault where it leads out of the root."""
        if not self.holds(path):
            raise FileFault(path, f"expected a path within {self.root}, found one that leads out of it", "ways out")
        return path
