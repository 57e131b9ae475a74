"""The page of a dataset: its card, how often each class occurs, and samples to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from mmablate.report import images, labels, scenes, script, templating

_ROOM, _SLICE_ROOM = 272, 208


@dataclass(frozen=True, eq=False)
class ShownSample:
    """One sample of a split.

    Attributes:
        split, id, conditions: where it comes from.
        pictures: modality -> uint8 RGB (h, w, 3); their sizes may differ where a sample has one label.
        labels: integers (h, w), or one of no dimension where a sample has one label; class, or the ignored label.
    """

    split: str
    id: str
    conditions: Mapping[str, str]
    pictures: Mapping[str, np.ndarray]
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class DataCard:
    """What a page says of a dataset.

    Attributes:
        name, synthetic, attribution, notes: as in the data.
        facts: name and value, in the order of print.
        splits: split -> its name as printed; sizes: split -> samples.
        class_names, colours, ignore_label: of the labels.
        class_pixels: split -> pixels or voxels of each class, or samples of it where a sample has one label.
        class_shares: split -> share of each class among the labelled ones, 0-1.
        labelled: split -> share of them that carry a class, 0-1.
        conditions: axis -> value -> split -> samples.
        samples: to show, in the order of print.
        counted: what carries a class.
        sample_word: what a split holds.
    """

    name: str
    synthetic: bool
    attribution: str | None
    notes: Sequence[str]
    facts: Sequence[tuple[str, str]]
    splits: Mapping[str, str]
    sizes: Mapping[str, int]
    class_names: Sequence[str]
    colours: Sequence[images.Colour]
    ignore_label: int
    class_pixels: Mapping[str, Sequence[int]]
    class_shares: Mapping[str, Sequence[float]]
    labelled: Mapping[str, float]
    conditions: Mapping[str, Mapping[str, Mapping[str, int]]]
    samples: Sequence[ShownSample]
    counted: Literal["pixels", "voxels", "samples"] = "pixels"
    sample_word: Literal["samples", "subjects"] = "samples"


class BarView(NamedTuple):
    """Share of a class in a split: printed number, length of the bar in percent of the longest, hover text."""

    number: str
    length: str
    hover: str


class ClassView(NamedTuple):
    """One class with a bar a split."""

    colour: str
    name: str
    bars: list[BarView]


class SampleView(NamedTuple):
    """One sample: split, id, conditions behind the one label that it may have, modalities with a label map last."""

    split: str
    id: str
    conditions: list[str]
    pictures: list[scenes.PictureView]


def render_data_page(card: DataCard) -> str:
    """One HTML page; opened from disk it needs nothing else."""
    splits = list(card.splits)
    return templating.fill(
        "data.html.j2",
        heading=labels.clean(card.name),
        heats=[],
        policy=script.POLICY,
        script="",
        synthetic=card.synthetic,
        counted=card.counted,
        sample_word=card.sample_word,
        void=card.counted != "voxels",
        facts=[(labels.clean(name), labels.clean(value)) for name, value in card.facts],
        splits=[(card.splits[s], f"{card.sizes[s]:,}", _percent(card.labelled[s])) for s in splits],
        classes=_class_views(card, splits),
        conditions=[
            (_words(axis), [(labels.clean(v), [f"{n.get(s, 0):,}" for s in splits]) for v, n in values.items()])
            for axis, values in card.conditions.items()
        ],
        samples=_sample_views(card),
        notes=[labels.clean(note) for note in card.notes],
        attribution=labels.clean(card.attribution or ""),
    )


def _words(axis: str) -> str:
    return labels.clean(axis).replace("_", " ")


def _percent(share: float) -> str:
    """Two significant places where there is little: "0.04 %", "3.1 %", "52 %"."""
    value = 100 * share
    digits = 0 if value >= 99.95 or value == 0 else 1 if value >= 1 else 2
    if 0 < value < 0.005:
        return "<0.01 %"
    return f"{value:.{digits}f} %"


def _class_views(card: DataCard, splits: Sequence[str]) -> list[ClassView]:
    longest = max((share for shares in card.class_shares.values() for share in shares), default=0.0) or 1.0
    found = []
    for k, name in enumerate(card.class_names):
        bars = [
            BarView(
                number=_percent(card.class_shares[split][k]),
                length=f"{100 * card.class_shares[split][k] / longest:.2f}",
                hover=f"{card.class_pixels[split][k]:,} {card.counted}",
            )
            for split in splits
        ]
        found.append(ClassView(scenes.css_colour(card.colours[k]), labels.clean(name), bars))
    return found


def _sample_views(card: DataCard) -> list[SampleView]:
    """Samples as long as the page stays small; the first of all is always there."""
    found: list[SampleView] = []
    room = scenes.MOST_BYTES
    side = _SLICE_ROOM if card.counted == "voxels" else _ROOM  # four sequences and the labels stand in one line
    for sample in card.samples:
        pictures = [
            scenes.picture(name, images.picture_uri(pixels), _shape(sample, pixels), side, f"modality {name}")
            for name, pixels in sample.pictures.items()
        ]
        words = list(sample.conditions.values())
        if sample.labels.ndim:
            void = sample.labels == card.ignore_label
            truth = images.classes_uri(sample.labels, card.colours, void)
            pictures.append(scenes.picture("labels", truth, _shape(sample, void), side, "labels"))
        else:
            words.insert(0, _class_of(card, int(sample.labels)))
        room -= sum(len(view.uri) for view in pictures)
        if found and room < 0:
            break
        chips = [labels.clean(word) for word in words]
        found.append(SampleView(labels.clean(sample.split), labels.clean(sample.id), chips, pictures))
    return found


def _shape(sample: ShownSample, picture: np.ndarray) -> tuple[int, int]:
    """Of a picture on the page: that of the label map, which all modalities share, or its own."""
    whole = sample.labels if sample.labels.ndim else picture
    return whole.shape[0], whole.shape[1]


def _class_of(card: DataCard, label: int) -> str:
    return card.class_names[label] if 0 <= label < len(card.class_names) else "no label"
