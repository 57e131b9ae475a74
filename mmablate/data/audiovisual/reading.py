"""How a set is read: its options with the defaults that are published for it, and the description of a layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmablate.data.audiovisual.listing import AUDIO, VISUAL, Listing
from mmablate.data.audiovisual.media import Frames, Size, Spectrogram
from mmablate.data.clips import MediaReader


@dataclass(frozen=True)
class Reading:
    """The options of `open_set`.

    Attributes:
        sample_rate: Hz that sounds are brought to.
        seconds, crop: length of the stretch that is read, and whether it is the "centre" or the "start".
        n_fft, hop: window and step of the spectrogram, samples.
        audio_size: rows and columns that spectrograms are resized to, or None.
        frames: of a clip.
        size: height and width of a frame.
        standardise: sound and frames to mean 0 and deviation 1 per channel over (at most 1,000) training clips;
            otherwise spectrograms stay as they are and frames are scaled by ImageNet's mean and deviation.
        lists: folder of the lists, below the root or a path of its own; None: the set's own folder, or the root.
        split: "published", or "speakers" (CREMA-D alone).
        val_fraction: share of train that validates where the set has no such split: of source videos, or of the
            speakers who do not test; 0 for none.
        test_fraction: share of the speakers who test, of a split by speaker.
        split_seed: draws both.
        missing: "refuse" clips without a file of a modality, "drop" them, or "mask" what is missing: the clip stays
            and the modality is zeros (after scaling). The latter two with a note of the numbers.
        on_fault: "refuse" unreadable files, or "drop" their clips with a note, for which every file is read once.
    """

    sample_rate: int
    seconds: float
    n_fft: int
    hop: int
    frames: int
    crop: str = "centre"
    audio_size: Sequence[int] | None = None
    size: Sequence[int] = (224, 224)
    standardise: bool = False
    lists: str | None = None
    split: str = "published"
    val_fraction: float = 0.1
    test_fraction: float = 0.2
    split_seed: int = 0
    missing: str = "refuse"
    on_fault: str = "refuse"

    def reader(self, modality: str) -> MediaReader:
        """Of the values before scaling."""
        if modality == AUDIO:
            size = None if self.audio_size is None else _pair(self.audio_size)
            return Spectrogram(self.sample_rate, self.seconds, self.n_fft, self.hop, self.crop, size)
        return Frames(self.frames, _pair(self.size))


def _pair(size: Sequence[int]) -> Size:
    return int(size[0]), int(size[1])


@dataclass(frozen=True)
class Layout:
    """One set.

    Attributes:
        name: of the dataset in the catalogue.
        attribution: whom it comes from.
        defaults: options as published for it.
        find: root, options and modalities -> what lists and folders tell.
    """

    name: str
    attribution: str
    defaults: Mapping[str, Any]
    find: Callable[[Path, Reading, Sequence[str]], Listing]

    def reading(self, options: Mapping[str, Any]) -> Reading:
        """The options over the published defaults. Raises TypeError where there is no such option."""
        return Reading(**{**self.defaults, **options})


MODALITIES = (AUDIO, VISUAL)
