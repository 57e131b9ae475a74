"""The contact sheet of a classification study: the worst and the best samples of every row, modality by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from mmablate.analysis.class_samples import ClassRow, ClassSample, ClassSheet, Said, SampleKey, Vote
from mmablate.report import confusion, images, labels, numbers, script, templating
from mmablate.report.html import label_html
from mmablate.report.sheet_pictures import SheetPicture, SheetPictures

_ROOM = 132
_MATRIX, _WIDEST_MATRIX = 240, 380


@dataclass(frozen=True, eq=False)
class DrawnSample:
    """What the data say of a sample.

    Attributes:
        pictures: modality -> uint8 RGB (h, w, 3), in the order of print.
        conditions: axis -> value.
    """

    pictures: Mapping[str, np.ndarray]
    conditions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SheetAbout:
    """What a sheet is of.

    Attributes:
        title: of the study.
        split: that is scored, e.g. "test".
        dataset, attribution: of the data.
        notes: sentences below everything.
        warnings: sentences above everything: what a reader must know to read the rest rightly.
    """

    title: str
    split: str = "test"
    dataset: str = ""
    attribution: str = ""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


class FigureView(NamedTuple):
    """A modality of a sample: its picture, and what an output that sees it alone said, "" where there is none."""

    picture: SheetPicture
    alone: str
    right: bool


class HitView(NamedTuple):
    """What one seed said: a dot with a hover text."""

    right: bool
    hover: str


class SampleView(NamedTuple):
    """A sample as printed.

    Attributes:
        id, conditions: where it comes from.
        truth, predicted, probability: texts.
        right: whether most seeds are.
        hits: one a seed; hit_text says the same in words.
        figures: modalities that have a picture.
        others: what further outputs said, as texts, where no picture stands for them.
        mean_true: text.
    """

    id: str
    conditions: list[str]
    truth: str
    predicted: str
    probability: str
    right: bool
    hits: list[HitView]
    hit_text: str
    figures: list[FigureView]
    others: list[str]
    mean_true: str


class GroupView(NamedTuple):
    """Samples of one kind with a heading, and what to know of them."""

    anchor: str
    heading: str
    note: str
    samples: list[SampleView]


class RowView(NamedTuple):
    """A row of the table.

    Attributes:
        facts: small words under the label.
        matrix: the confusion matrix as SVG, or empty; matrix_picture where it is too large for that.
        confusions: the most frequent errors in words.
        summary: cells of the table of contents.
    """

    anchor: str
    label: Markup
    facts: list[str]
    matrix: Markup
    matrix_picture: SheetPicture | None
    confusions: list[str]
    groups: list[GroupView]
    summary: list[str]


def render_contact_sheet(about: SheetAbout, sheet: ClassSheet, drawn: Mapping[SampleKey, DrawnSample]) -> str:
    """One HTML page; opened from disk it needs nothing else.

    Args:
        drawn: what the data say of the samples of the sheet; those that are missing are listed without a picture.
    """
    pictures = SheetPictures()
    rows = [_row_view(row, place, sheet, drawn, pictures) for place, row in enumerate(sheet.rows, start=1)]
    notes = [*about.notes, *_notes(sheet, pictures)]
    return templating.fill(
        "contact_sheet.html.j2",
        **page_values(about, synthetic=sheet.synthetic, notes=notes, faults=sheet.faults),
        rows=rows,
        columns=("accuracy", "samples", "always right", "never right", "seeds"),
        styles=[(name, Markup(uri)) for name, uri in pictures.styles],
        matrix_words=_matrix_words(len(sheet.class_names)),
    )


def page_values(
    about: SheetAbout, *, synthetic: bool, notes: Sequence[str], faults: Sequence[str] = ()
) -> dict[str, object]:
    """What the templates of both kinds of sheet print around the rows."""
    return {
        "heading": labels.clean(about.title),
        "heats": [],
        "policy": script.POLICY,
        "script": "",
        "split": {"val": "validation"}.get(about.split, labels.clean(about.split)),
        "dataset": labels.clean(about.dataset),
        "synthetic": synthetic,
        "warnings": [labels.clean(text) for text in about.warnings],
        "faults": [labels.clean(text) for text in faults],
        "notes": [labels.clean(text) for text in notes],
        "attribution": labels.clean(about.attribution),
    }


def percent(share: float) -> str:
    """A share 0-1 in percent without the sign; the ends only where they are reached: "<1", "99.9"."""
    value = 100 * share
    if 0 < value < 0.5:
        return "<1"
    return f"{min(value, 99.9):.1f}" if 99.5 <= value < 100 else f"{value:.0f}"


def _notes(sheet: ClassSheet, pictures: SheetPictures) -> list[str]:
    found = [
        "Worst and best are by the probability that a row gives the true class, mean over its seeds. "
        "What was predicted is what most seeds predicted, with the mean of their probabilities."
    ]
    if any(sample.key.seed is not None for row in sheet.rows for sample in row.worst):
        found.append("The data are drawn anew for every seed: a sample is seen by the run of its own seed alone.")
    if sheet.missing:
        names = ", ".join(labels.plain(label) for label in sheet.missing)
        found.append(f"No predictions are kept of: {names}.")
    if pictures.n_left_out:
        some = "picture is" if pictures.n_left_out == 1 else "pictures are"
        found.append(f"{pictures.n_left_out} further {some} left out to keep this page small.")
    return found


def _matrix_words(n_classes: int) -> str:
    numbered = " Numbers are percent of the true class." if n_classes <= confusion.MOST_NUMBERED else ""
    return f"Rows are true classes, columns predicted ones; right ones are blue, wrong ones orange.{numbered}"


def _row_view(
    row: ClassRow, place: int, sheet: ClassSheet, drawn: Mapping[SampleKey, DrawnSample], pictures: SheetPictures
) -> RowView:
    anchor, names = f"r{place}", sheet.class_names
    seeds = f"seed{'s' if len(row.seeds) > 1 else ''} {', '.join(map(str, row.seeds))}"
    mean = sum(row.accuracy) / len(row.accuracy)
    title = f"confusion of {labels.plain(row.label)}"
    small = len(names) <= confusion.MOST_DRAWN
    # Where every seed draws its own data, no sample is seen by two of them.
    drawn_anew = any(sample.key.seed is not None for sample in row.worst)
    over_seeds = [numbers.MISSING] * 2 if drawn_anew else [f"{row.n_always:,}", f"{row.n_never:,}"]
    picture = None
    if not small:
        uri, shape = images.cells_uri(confusion.matrix_pixels(row.confusion)), row.confusion.shape
        room = min(max(_MATRIX, shape[0]), _WIDEST_MATRIX)  # no class smaller than a pixel, where there is room
        picture = pictures.add("", uri, (shape[0], shape[1]), room, title)
    return RowView(
        anchor=anchor,
        label=label_html(row.label),
        facts=[seeds, *([f"accuracy by seed: {_by_seed(row)}"] if len(row.seeds) > 1 else [])],
        matrix=confusion.matrix_svg(row.confusion, names, title) if small else Markup(""),
        matrix_picture=picture,
        confusions=[
            f"{_name(names, t)} → {_name(names, p)}: {percent(count / size)} % ({count:,} of {size:,})"
            for t, p, count, size in row.confusions()
        ],
        groups=_groups(row, anchor, names, drawn, pictures),
        summary=[f"{numbers.fixed(mean, 2)} %", f"{row.n_samples:,}", *over_seeds, str(len(row.seeds))],
    )


def _by_seed(row: ClassRow) -> str:
    return ", ".join(f"{numbers.fixed(value, 2)}" for value in row.accuracy)


def _groups(
    row: ClassRow, anchor: str, names: Sequence[str], drawn: Mapping[SampleKey, DrawnSample], pictures: SheetPictures
) -> list[GroupView]:
    """Worst, most confident errors that are not among them, best."""
    shown = {sample.key for sample in row.worst}
    further = [sample for sample in row.confident if sample.key not in shown]
    above = len(row.confident) - len(further)
    note = f"{above} of the {len(row.confident)} most confident errors stand{'s' if above == 1 else ''} above."
    kinds = [
        ("worst", "Worst", "The lowest probability of the true class.", row.worst),
        ("errors", "Most confident errors", note if above else "", further),
        ("best", "Best", "The highest probability of the true class.", row.best),
    ]
    return [
        GroupView(f"{anchor}-{key}", heading, note, [_sample_view(s, names, drawn, pictures) for s in some])
        for key, heading, note, some in kinds
        if some or (key == "errors" and above)
    ]


def _name(names: Sequence[str], k: int) -> str:
    return (labels.clean(names[k]) if 0 <= k < len(names) else "") or str(k)


def _sample_view(
    sample: ClassSample, names: Sequence[str], drawn: Mapping[SampleKey, DrawnSample], pictures: SheetPictures
) -> SampleView:
    known = drawn.get(sample.key)
    rest = dict(sample.others)
    figures = []
    for modality, pixels in (known.pictures if known else {}).items():
        height, width = pixels.shape[:2]
        alt = f"modality {modality} of {sample.key.id}"
        picture = pictures.add(modality, images.picture_uri(pixels), (height, width), _ROOM, alt)
        if picture is not None:
            output = _output_of(modality, rest)
            vote = rest.pop(output) if output is not None else None
            right = vote is not None and vote.predicted == sample.key.truth
            figures.append(FigureView(picture, _vote_text(vote, names) if vote else "", right))
    n, n_right = len(sample.said), sum(said.right for said in sample.said)
    origin = f"{sample.key.id} (seed {sample.key.seed})" if sample.key.seed is not None else sample.key.id
    return SampleView(
        id=labels.clean(origin),
        conditions=[labels.clean(value) for value in (known.conditions if known else {}).values()],
        truth=_name(names, sample.key.truth),
        predicted=_name(names, sample.vote.predicted),
        probability=f"{percent(sample.vote.probability)} %",
        right=sample.vote.predicted == sample.key.truth,
        hits=[HitView(said.right, _hover(said, names)) for said in sample.said],
        hit_text=f"{n_right} of {n} seed{'s' if n != 1 else ''} right",
        figures=figures,
        others=[f"{labels.clean(name)}: {_vote_text(vote, names)}" for name, vote in rest.items()],
        mean_true=f"{percent(sample.mean_true)} %",
    )


def _output_of(modality: str, outputs: Mapping[str, Vote]) -> str | None:
    """The output that sees this modality alone, by its name: "unimodal/audio"."""
    return next((name for name in outputs if name.rpartition("/")[2] == modality), None)


def _vote_text(vote: Vote, names: Sequence[str]) -> str:
    return f"{_name(names, vote.predicted)} ({percent(vote.probability)} %)"


def _hover(said: Said, names: Sequence[str]) -> str:
    told = f"seed {said.seed}: {_name(names, said.predicted)} ({percent(said.probability)} %)"
    return told if said.right else f"{told}; the true class {percent(said.true_probability)} %"
