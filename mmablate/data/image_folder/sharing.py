"""Files that serve twice where they must not: labels as an input, one file in two splits."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mmablate.data.image_folder.faults import Fault
from mmablate.data.image_folder.images import Header
from mmablate.data.image_folder.layout import LABELS, FolderLayout
from mmablate.data.image_folder.reading import Headers
from mmablate.data.image_folder.samples import Sample

CONTENT_NAME = re.compile(r"[0-9a-fA-F]{30,}")  # a hash in the name of a file


class Places:
    """Where files really lie; folders are looked up once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: Path) -> str:
        """The path of a file with all links followed, save one: the link of a file into a store by content.

        Such stores (git-annex, DVC and others) hold files under a hash of what is in them and equal ones once.
        Two empty masks are then one file, and yet no mistake.
        """
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        here = os.path.join(self._folders[folder], name)
        if not os.path.islink(path):
            return here
        target = os.path.realpath(path)
        kept = os.path.basename(target)
        return here if kept != name and CONTENT_NAME.search(kept) else target


def sharing_faults(layout: FolderLayout, samples: Sequence[Sample], headers: Headers) -> list[Fault]:
    """Labels among inputs, and files in two splits; both mislead silently, so that no sample can be dropped for it.

    Args:
        layout: a sound one.
        samples: complete ones, of all splits.
        headers: of their files; files without one are passed over when inputs are looked at.
    """
    places = Places()
    known = [{role: places.of(path) for role, path in sample.files.items()} for sample in samples]
    faults = [
        fault
        for sample, at in zip(samples, known, strict=True)
        for name in layout.channels
        if at[name] == at[LABELS]
        for fault in _label_input(layout, sample, name, headers)
    ]
    return faults + _in_two_splits(layout, samples, known)


def _label_input(layout: FolderLayout, sample: Sample, name: str, headers: Headers) -> list[Fault]:
    """The fault of a modality whose file is that of the labels, where a channel of labels is among its own."""
    own = headers.get((sample.split, sample.name, LABELS))
    header = headers.get((sample.split, sample.name, name))
    if own is None or header is None:
        return []
    wanted = layout.channels[name]
    used = set(range(header.usual) if wanted is None else wanted)
    labels = _label_channels(layout, own, header)
    shared = ", ".join(map(str, sorted(used & labels)))
    if not shared:
        return []
    advice = ""
    if used - labels:
        advice = f" (name the channels without {shared})" if wanted is None else f" (take {shared} out of the channels)"
    line = (
        f"{sample.files[name]}: expected inputs of {name} without the labels, found the file of the labels: "
        f"channel {shared} holds the labels{advice}"
    )
    return [Fault(f"label files among the inputs of {name}", line)]


def _label_channels(layout: FolderLayout, own: Header, header: Header) -> set[int]:
    """Channels, as the modality counts them, by which labels are known."""
    if layout.rule.colours is not None:
        return {0, 1, 2}
    if own.bands != header.bands:  # a palette: numbers as labels, colours as an input
        return set(range(header.bands))
    return {layout.rule.channel}


def _in_two_splits(layout: FolderLayout, samples: Sequence[Sample], known: Sequence[dict[str, str]]) -> list[Fault]:
    owners: dict[str, tuple[Sample, Path]] = {}
    faults = []
    for sample, places in zip(samples, known, strict=True):
        for role, place in places.items():
            path = sample.files[role]
            owner, first = owners.setdefault(place, (sample, path))
            told = bool(layout.lists) and owner.name == sample.name  # a sample in two lists is a fault already
            if owner.split != sample.split and not told:
                line = f"{path}: expected a file of {sample.split} only, found {first}, which is in {owner.split} too"
                faults.append(Fault("files in two splits", line))
    return faults
