"""The contact sheet of a segmentation study: its kept scenes, row by row, from the worst to the best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from mmablate.analysis.ranked_scenes import RankedRow, RankedScenes
from mmablate.analysis.ranked_subjects import RankedSubjects
from mmablate.analysis.scenes import SURFACE, Prediction, Scene, Scenes
from mmablate.report import images, labels, numbers, templating
from mmablate.report.contact_sheet import SheetAbout, page_values
from mmablate.report.html import label_html
from mmablate.report.scenes import css_colour, told_score
from mmablate.report.sheet_pictures import SheetPicture, SheetPictures

_INPUT, _CELL = 200, 168

_SCENE_NOTES = (
    "The scenes are those that the study has kept, not its whole split. They are ordered by mIoU in percent over "
    "the classes of that one scene, mean over subsets and seeds; a table pools the pixels of all scenes.",
    "The pictures are those of the first seed. Pixels without a label are hatched: they count nowhere.",
)
_SCAN_NOTES = (
    "The scans are those that the study has kept, not its whole split, each shown by the slice with most tumour. They "
    "are ordered by Dice of the whole scan in percent, mean over the regions, the subsets shown and the seeds.",
    "The pictures are those of the first seed.",
    "Scores of all subjects are means over all subsets scored and over seeds.",
)


class PredictionView(NamedTuple):
    """What a row says from one subset: class map, the same as right and wrong pixels, score and hover text."""

    subset: str
    classes: SheetPicture | None
    errors: SheetPicture | None
    score: str
    hover: str


class SceneView(NamedTuple):
    """A scene: where it comes from, its score of this row, inputs with the truth last, and predictions."""

    title: str
    conditions: list[str]
    score: str
    hover: str
    inputs: list[SheetPicture]
    predictions: list[PredictionView]


class SubjectView(NamedTuple):
    """A subject: id, scores, the subset it is worst from, and Dice by seed."""

    id: str
    scores: list[str]
    lowest: str
    hover: str


class RowView(NamedTuple):
    """A row of the table."""

    anchor: str
    label: Markup
    facts: list[str]
    scenes: list[SceneView]
    summary: list[str]
    columns: list[str]
    subjects: list[SubjectView]
    of_subjects: str


def render_scene_sheet(about: SheetAbout, ranked: RankedScenes) -> str:
    """One HTML page; opened from disk it needs nothing else."""
    pictures = SheetPictures()
    rows = [_row_view(row, place, pictures) for place, row in enumerate(ranked.rows, start=1)]
    word = "scan" if _of_scans(ranked) else "scene"
    first = ranked.rows[0].scenes if ranked.rows else None
    notes = [*about.notes, *_notes(ranked, pictures)]
    return templating.fill(
        "scene_sheet.html.j2",
        **page_values(about, synthetic=ranked.synthetic, notes=notes),
        rows=rows,
        word=word,
        columns=(f"{word}s", f"worst {word}", f"best {word}", "seeds"),
        styles=[(name, Markup(uri)) for name, uri in pictures.styles],
        legend=_legend(first, ranked) if first else [],
    )


def _notes(ranked: RankedScenes, pictures: SheetPictures) -> list[str]:
    scans = _of_scans(ranked)
    found = list(_SCAN_NOTES if scans else _SCENE_NOTES)
    left_out = sum(row.n_left_out for row in ranked.rows)
    if left_out:
        found.append(
            f"{'Scans' if scans else 'Scenes'} between the worst and the best are left out; --samples shows more."
        )
    if ranked.missing:
        found.append(f"No predictions are kept of: {', '.join(labels.plain(label) for label in ranked.missing)}.")
    if pictures.n_left_out:
        some = "picture is" if pictures.n_left_out == 1 else "pictures are"
        found.append(f"{pictures.n_left_out} further {some} left out to keep this page small.")
    return found


def _of_scans(ranked: RankedScenes) -> bool:
    return any(row.scenes.scans for row in ranked.rows)


def _legend(scenes: Scenes, ranked: RankedScenes) -> list[tuple[str, str]]:
    """Colour and name of the classes that occur."""
    there: set[int] = set()
    for row in ranked.rows:
        for scene in row.scenes.scenes:
            there.update(int(k) for k in np.unique(scene.labels))
            for cells in scene.predictions:
                there.update(int(k) for cell in cells if cell is not None for k in np.unique(cell.classes))
    named = sorted(there & set(range(len(scenes.class_names))))
    return [(css_colour(scenes.colours[k]), labels.clean(scenes.class_names[k])) for k in named]


def _row_view(row: RankedRow, place: int, pictures: SheetPictures) -> RowView:
    scored = [score for score in row.scores if score is not None]
    ends = [f"{numbers.fixed(end(scored), 1)} %" if scored else numbers.MISSING for end in (min, max)]
    many = len(row.seeds) > 1
    return RowView(
        anchor=f"r{place}",
        label=label_html(row.label),
        facts=[
            f"seed{'s' if many else ''} {', '.join(map(str, row.seeds))}",
            f"worst {'scan' if row.scenes.scans else 'scene'} first",
        ],
        scenes=[_scene_view(row, i, scene, pictures) for i, scene in enumerate(row.scenes.scenes)],
        summary=[str(len(row.scenes.scenes) + row.n_left_out), *ends, str(len(row.seeds))],
        columns=[f"{labels.clean(name)}, {_unit(name)}" for name in row.subjects.columns] if row.subjects else [],
        subjects=_subject_views(row.subjects) if row.subjects else [],
        of_subjects=_of_subjects(row.subjects) if row.subjects else "",
    )


def _unit(column: str) -> str:
    return "mm" if column.startswith(SURFACE) else "%"


def _of_subjects(ranked: RankedSubjects) -> str:
    """Which subjects the table has."""
    shown = len(ranked.subjects)
    if shown == ranked.n:
        return f"All {shown} subjects, the lowest Dice first" if shown > 1 else "The one subject"
    return f"The {shown - shown // 2} worst and {shown // 2} best of {ranked.n} subjects by Dice, the lowest first"


def _subject_views(ranked: RankedSubjects) -> list[SubjectView]:
    return [
        SubjectView(
            id=labels.clean(own.id),
            scores=[numbers.fixed(own.scores[name], 1) if name in own.scores else numbers.MISSING
                    for name in ranked.columns],
            lowest=f"{labels.clean(own.lowest[0])} ({numbers.fixed(own.lowest[1], 1)} %)",
            hover=", ".join(f"seed {seed}: {numbers.fixed(value, 1)}" for seed, value in own.by_seed.items()),
        )
        for own in ranked.subjects
    ]  # fmt: skip


def _scene_view(row: RankedRow, place: int, scene: Scene, pictures: SheetPictures) -> SceneView:
    scenes = row.scenes
    void = scene.labels == scenes.ignore_label
    shape = (void.shape[0], void.shape[1])
    given = [(name, images.picture_uri(pixels), f"modality {name}") for name, pixels in scene.pictures.items()]
    given.append(("truth", images.classes_uri(scene.labels, scenes.colours, void), "labels"))
    inputs = [pictures.add(name, uri, shape, _INPUT, f"{alt} of {scene.id}") for name, uri, alt in given]
    cells = zip(scenes.subsets, scene.predictions[0], strict=True)
    score, none = row.scores[place], "not scored" if scenes.scans else "no labels"
    return SceneView(
        title=labels.clean(scene.id),
        conditions=[labels.clean(value) for value in scene.conditions.values()],
        score=f"{'Dice' if scenes.scans else 'mIoU'} {numbers.fixed(score, 1)} %" if score is not None else none,
        hover=", ".join(f"seed {seed}: {numbers.fixed(value, 1)}" for seed, value in row.by_seed[place].items()),
        inputs=[picture for picture in inputs if picture is not None],
        predictions=[
            _prediction_view(scenes, scene, row.label, subset, cell, void, pictures)
            for subset, cell in cells
            if cell is not None
        ],
    )


def _prediction_view(
    scenes: Scenes, scene: Scene, label: str, subset: str, cell: Prediction, void: np.ndarray, pictures: SheetPictures
) -> PredictionView:
    shape = (void.shape[0], void.shape[1])
    score, about = told_score(cell)
    alt = f"{labels.plain(label)} from {subset}: {about}"
    classes = pictures.add("", images.classes_uri(cell.classes, scenes.colours, void), shape, _CELL, alt)
    errors = pictures.add("", images.errors_uri(cell.classes, scene.labels, void), shape, _CELL, f"errors of {alt}")
    return PredictionView(labels.clean(subset), classes, errors, score, about)
