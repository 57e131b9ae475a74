"""The names of RAVDESS: seven two-digit fields that tell what a clip is and who speaks."""

from __future__ import annotations

import re
from dataclasses import dataclass

FIELDS = "modality-channel-emotion-intensity-statement-repetition-actor"
MOST = (3, 2, 8, 2, 2, 2, 24)  # each counts from 1
CHANNELS = {"speech": 1, "song": 2}
AUDIO_VIDEO, VIDEO_ONLY, AUDIO_ONLY = 1, 2, 3
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

_SEVEN = re.compile(r"[0-9]{2}(?:-[0-9]{2}){6}(?![0-9-])")


@dataclass(frozen=True, order=True)
class ClipName:
    """What a name tells; the fields as their numbers."""

    modality: int
    channel: int
    emotion: int
    intensity: int
    statement: int
    repetition: int
    actor: int

    @property
    def key(self) -> str:
        """All fields but the modality: what sound and picture of one clip have in common."""
        return str(self)[3:]

    @property
    def label(self) -> int:
        """Class number of the emotion, 0..7."""
        return self.emotion - 1

    def __str__(self) -> str:
        fields = (self.modality, self.channel, self.emotion, self.intensity, self.statement, self.repetition)
        return "-".join(f"{number:02d}" for number in (*fields, self.actor))


def read_name(stem: str, *, whole: bool = True) -> ClipName | None:
    """What the stem of a file's name tells; None where it has no seven fields, or one that is out of its range.

    Args:
        whole: nothing may follow; otherwise the stem need only begin so, as names of features often do.
    """
    found = _SEVEN.match(stem)
    if found is None or (whole and found.end() != len(stem)):
        return None
    numbers = tuple(int(field) for field in found.group().split("-"))
    if any(not 1 <= number <= most for number, most in zip(numbers, MOST, strict=True)):
        return None
    return ClipName(*numbers)
