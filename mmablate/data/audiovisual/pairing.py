"""Sound and pictures brought together by the clip's id, and what to do with clips that lack one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmablate.data.audiovisual.listing import AUDIO, TEST, TRAIN, VAL, VISUAL, Listed, Listing, is_bare
from mmablate.data.clips import Clip
from mmablate.data.faults import Fault, counted, told
from mmablate.errors import DataError

WHAT = {AUDIO: "the sound", VISUAL: "frames or a video"}
ADVICE = "the option `missing` can `drop` such clips or `mask` what they lack"


def pair(listing: Listing, modalities: Sequence[str], missing: str) -> list[tuple[Listed, Clip]]:
    """The clips with their files, in the order of the lists.

    A folder without a frame counts as none. Faults and notes go to the listing.

    Args:
        listing: of the set.
        modalities: to read.
        missing: "refuse": a clip without a file of a modality is a fault; "drop": it is left out; "mask": it stays
            as long as it has another modality. Of the last two, a note tells the numbers.
    """
    numbers = {key: k for k, key in enumerate(listing.classes)}
    pairs = []
    lost: Counter[tuple[str, str]] = Counter()
    dropped: Counter[str] = Counter()
    for row in listing.clips:
        files = {name: path for name in modalities if (path := _file(listing, name, row.key)) is not None}
        lacking = [name for name in modalities if name not in files]
        lost.update((row.split, name) for name in lacking)
        if missing == "refuse":
            listing.faults.extend(_fault(listing, row, name) for name in lacking)
        elif (lacking and missing == "drop") or not files:
            dropped[row.split] += 1
            continue
        pairs.append((row, Clip(row.id, numbers[row.label], files, row.group)))
    if lost and missing != "refuse":
        listing.notes.append(_note(lost, dropped, missing))
    _extra(listing, modalities)
    return pairs


def check_modalities(listing: Listing, modalities: Sequence[str]) -> None:
    """Refuses a class that has clips and no file of a modality, as a folder under another name leaves behind.

    Masked, the absence of the modality would tell the class; dropped, nothing of the class would be left.

    Raises:
        DataError: all of them, and the faults of the lists, which may be why.
    """
    keys: dict[str, list[str]] = {}
    for row in listing.clips:
        keys.setdefault(row.label, []).append(row.key)
    bare = [
        f"{listing.home}: expected {WHAT[modality]} of every class, found none of {name!r} in "
        f"{listing.looked[modality].replace('CLASS', name)}"
        for label, name in listing.classes.items()
        for modality in modalities
        if label in keys and all(_file(listing, modality, key) is None for key in keys[label])
    ]
    if bare:
        raise DataError([*bare, *told(listing.faults)])


def _file(listing: Listing, modality: str, key: str) -> Path | None:
    path = listing.files[modality].get(key)
    return None if path is None or is_bare(path) else path


def _fault(listing: Listing, row: Listed, modality: str) -> Fault:
    text = f"{row.place}: expected {WHAT[modality]} of {row.id} in {listing.looked[modality]}, found none ({ADVICE})"
    return Fault(text, f"clips without {modality}")


def _note(lost: Counter[tuple[str, str]], dropped: Counter[str], missing: str) -> str:
    def counts(split: str) -> str:
        own = [f"{n} without {name}" for (at, name), n in sorted(lost.items()) if at == split]
        return f"{split} {', '.join(own)}"

    parts = "; ".join(counts(split) for split in (TRAIN, VAL, TEST) if any(at == split for at, _ in lost))
    total = sum(dropped.values())
    if missing == "drop":
        return f"{counted(total, 'clip', 'was', 'were')} dropped for a missing modality ({parts})."
    more = f", and {counted(total, 'clip')} without any {'was' if total == 1 else 'were'} dropped" if total else ""
    return f"Missing modalities are zeros ({parts}){more}."


def _extra(listing: Listing, modalities: Sequence[str]) -> None:
    """Notes how many files belong to no clip of the lists."""
    known = {row.key for row in listing.clips}
    extra = {name: sum(key not in known for key in listing.files[name]) for name in modalities}
    if any(extra.values()):
        parts = ", ".join(f"{name} {n}" for name, n in extra.items() if n)
        listing.notes.append(f"Files of clips that no list names were left out ({parts}).")
