"""Test scenes on a study's page: inputs, truth, and what each row predicts from each subset."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from mmablate.analysis.scenes import Prediction, Scene, Scenes
from mmablate.report import images, labels, numbers
from mmablate.report.html import label_html

MOST_BYTES = 2_500_000
"""Of all pictures of a page; further scenes are left out, and the page says so."""
_CELL, _INPUT = 128, 256
_SLICE = 208  # of a scan, so that four sequences and the truth stand in one line


class PictureView(NamedTuple):
    """A picture as printed.

    Attributes:
        name: above or below it.
        uri: data URI.
        width: on the page, in CSS pixels.
        wide: much wider than high; on a narrow screen it takes a line of its own.
        crisp: its pixels are larger than the page's and stay sharp.
        alt: what it shows, for those who cannot see it.
    """

    name: str
    uri: str
    width: int
    wide: bool
    crisp: bool
    alt: str


class PredictionView(NamedTuple):
    """One cell of a scene's grid.

    Attributes:
        classes: the class map.
        errors: data URI of the same map as right and wrong pixels.
        score: below it; empty where nothing is labelled.
        hover: the same with pixel accuracy.
    """

    classes: PictureView
    errors: str
    score: str
    hover: str


class SceneView(NamedTuple):
    """One scene: title, conditions, inputs with the truth last, and the grid row by row."""

    title: str
    conditions: list[str]
    inputs: list[PictureView]
    rows: list[tuple[Markup, list[PredictionView | None]]]


class ScenesView(NamedTuple):
    """Everything the template prints of a study's scenes.

    Attributes:
        legend: CSS colour and name of each class that occurs.
        void: some pixels may have no label.
        word: what a scene is.
        notes: below the grids, among them how many scenes did not fit on the page.
    """

    anchor: str
    split: str
    synthetic: bool
    subsets: list[str]
    scenes: list[SceneView]
    legend: list[tuple[str, str]]
    seeds: str
    void: bool
    word: str
    notes: list[str]


def css_colour(colour: images.Colour) -> str:
    """ "#rrggbb"; channels outside 0-255 never reach a style."""
    return "#" + "".join(f"{min(max(int(channel), 0), 255):02x}" for channel in colour)


def _is_wide(shape: tuple[int, int]) -> bool:
    return shape[1] > 4 * shape[0]


def display_width(shape: tuple[int, int], room: int) -> tuple[int, bool]:
    """Width in CSS pixels of a picture (h, w) in a square of side `room`, and whether its pixels are enlarged.

    Small pictures grow by whole factors; pictures much wider than high may be twice as wide as the room.
    """
    height, width = shape
    if _is_wide(shape):
        room *= 2
    if max(height, width) * 2 <= room:
        return width * (room // max(height, width)), True
    return round(width * room / max(height, width)), max(height, width) < room


def picture(name: str, uri: str, shape: tuple[int, int], room: int, alt: str) -> PictureView:
    """A picture (h, w) set into a room."""
    width, crisp = display_width(shape, room)
    return PictureView(labels.clean(name), uri, width, _is_wide(shape), crisp, labels.clean(alt))


def scenes_view(scenes: Scenes, anchor: str) -> ScenesView:
    """The scenes as the template prints them, as many as fit.

    Args:
        scenes: of a study.
        anchor: id of the section, unique on the page.
    """
    views: list[SceneView] = []
    room = MOST_BYTES
    for scene in scenes.scenes:
        view, size = _scene_view(scenes, scene)
        room -= size
        if views and room < 0:
            break
        views.append(view)
    occurring = sorted({int(value) for scene in scenes.scenes for value in np.unique(scene.labels)})
    said = {
        int(value)
        for scene in scenes.scenes
        for row in scene.predictions
        for cell in row
        if cell is not None
        for value in np.unique(cell.classes)
    }
    named = sorted({*occurring, *said} & set(range(len(scenes.class_names))))
    return ScenesView(
        anchor=anchor,
        split={"test": "test", "val": "validation"}.get(scenes.split, labels.clean(scenes.split)),
        synthetic=scenes.synthetic,
        subsets=[labels.clean(subset) for subset in scenes.subsets],
        scenes=views,
        legend=[(css_colour(scenes.colours[k]), labels.clean(scenes.class_names[k])) for k in named],
        seeds=f"seed{'s' if len(scenes.seeds) > 1 else ''} {', '.join(map(str, scenes.seeds))}",
        void=not scenes.scans,
        word="scan" if scenes.scans else "scene",
        notes=_notes(scenes, len(scenes.scenes) - len(views)),
    )


def _scene_view(scenes: Scenes, scene: Scene) -> tuple[SceneView, int]:
    """The view and the bytes of its pictures."""
    void = scene.labels == scenes.ignore_label
    shape = (scene.labels.shape[0], scene.labels.shape[1])
    room = _SLICE if scenes.scans else _INPUT
    inputs = [
        picture(name, images.picture_uri(pixels), shape, room, f"modality {name}")
        for name, pixels in scene.pictures.items()
    ]
    truth = images.classes_uri(scene.labels, scenes.colours, void)
    inputs.append(picture("truth", truth, shape, room, "labels"))
    size = sum(len(view.uri) for view in inputs)
    rows = []
    for label, predictions in zip(scenes.rows, scene.predictions, strict=True):
        cells: list[PredictionView | None] = []
        for subset, prediction in zip(scenes.subsets, predictions, strict=True):
            view = None if prediction is None else _prediction_view(scenes, scene, label, subset, prediction, void)
            cells.append(view)
            size += len(view.classes.uri) + len(view.errors) if view else 0
        rows.append((label_html(label), cells))
    conditions = [labels.clean(value) for value in scene.conditions.values()]
    return SceneView(labels.clean(scene.id), conditions, inputs, rows), size


def told_score(prediction: Prediction) -> tuple[str, str]:
    """The score of a prediction as printed below it, and what hovering tells; both empty where there is none."""
    if prediction.score is None:
        return "", ""
    score = numbers.fixed(prediction.score, 1)
    if prediction.accuracy is not None:
        return score, f"mIoU {score} %, {numbers.fixed(prediction.accuracy, 1)} % of the pixels right"
    regions = ", ".join(f"{labels.clean(name)} {numbers.fixed(own, 1)}" for name, own in prediction.regions.items())
    return score, f"Dice of the whole scan {score} %" + (f" ({regions})" if regions else "")


def _notes(scenes: Scenes, left_out: int) -> list[str]:
    """What the numbers below the pictures are."""
    if scenes.scans:
        found = [
            "Shown is the slice of each scan with most tumour. Under a picture: Dice of the whole scan in percent, "
            "mean over the regions; a table averages it over the subjects."
        ]
    else:
        found = [
            "Under a picture: mIoU in percent over the classes of that one scene. A table pools the pixels of all "
            "scenes, so these numbers do not average to it.",
            "Pixels without a label are hatched in the predictions, too: they count nowhere.",
        ]
    if left_out:
        some = "scene is" if left_out == 1 else "scenes are"
        found.append(f"{left_out} further {some} left out to keep this page small.")
    return found


def _prediction_view(
    scenes: Scenes, scene: Scene, label: str, subset: str, prediction: Prediction, void: np.ndarray
) -> PredictionView:
    shape = (void.shape[0], void.shape[1])
    classes = images.classes_uri(prediction.classes, scenes.colours, void)
    score, about = told_score(prediction)
    alt = f"{labels.plain(label)} from {subset}: {about}"
    return PredictionView(
        classes=picture("", classes, shape, _CELL, alt),
        errors=images.errors_uri(prediction.classes, scene.labels, void),
        score=score,
        hover=about,
    )
