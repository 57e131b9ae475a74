"""Figures of the training: each loss term, and the score on validation, over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes

from mmablate.analysis.courses import Course, Panel, Training
from mmablate.report import canvas, labels
from mmablate.report.canvas import PAGE, Drawing, LegendEntry, Palette

GROUP = "Training, by loss term"
_MOST_TERMS = 12
_MOST_LINEAR = 20  # largest over smallest loss from which the axis is logarithmic


def training_drawings(
    training: Training, palette: Palette = PAGE, *, decimal: Literal[".", ","] = "."
) -> list[Drawing]:
    """One small figure a loss term, and one of the validation score with the epochs that were chosen."""
    found = [_figure(training, panel, palette, decimal, False) for panel in training.terms[:_MOST_TERMS]]
    if training.validation is not None:
        found.append(_figure(training, training.validation, palette, decimal, True))
    legend = _legend(training, palette)
    return [drawing._replace(legend=legend, note=note_of(training)) for drawing in found]


def note_of(training: Training) -> str:
    """What lines, bands and dots are."""
    parts = ["lines: mean over seeds" + (", bands: smallest to largest" if training.n_seeds > 1 else "")]
    if training.n_seeds == 1:
        parts = ["one seed a row"]
    if training.terms:
        parts.append("loss terms as recorded: mean over the steps of an epoch, without their weights")
    if training.validation is not None and any(course.selected for course in training.validation.courses):
        parts.append("dots: the epoch whose weights were scored, one a seed")
    if len(training.rows) < training.n_rows:
        parts.append(f"{len(training.rows)} of {training.n_rows} rows")
    return "; ".join(parts)


def _colours(training: Training, palette: Palette) -> tuple[str, ...]:
    return canvas.line_levels(palette, len(training.rows)) if training.ordered else palette.bars


def _legend(training: Training, palette: Palette) -> tuple[LegendEntry, ...]:
    colours = _colours(training, palette)
    return tuple(LegendEntry(colours[i], row, i % len(canvas.DASHES)) for i, row in enumerate(training.rows))


def _figure(
    training: Training, panel: Panel, palette: Palette, decimal: Literal[".", ","], validation: bool
) -> Drawing:
    figure, axes = canvas.new_axes(palette, canvas.PANEL)
    colours = _colours(training, palette)
    for course in panel.courses:
        _course(axes, course, colours[course.place])
    values = [value for course in panel.courses for p in course.points for value in (p.low, p.high)]
    logarithmic = not validation and min(values) > 0 and max(values) / min(values) > _MOST_LINEAR
    if logarithmic:
        axes.set_yscale("log")
    axes.margins(x=0.02, y=0.06)
    axes.autoscale_view()
    epochs = [point.epoch for course in panel.courses for point in course.points]
    canvas.epoch_ticks(axes, min(epochs), max(epochs))
    canvas.settle(figure, axes, decimal=decimal, n_ticks=4, scale="log" if logarithmic else "linear")
    name = f"validation {panel.label}" if validation else panel.label
    return Drawing(
        name="validation" if validation else f"training_{panel.name}",
        figure=figure,
        heading=f"{name}{' (logarithmic)' if logarithmic else ''}",
        description=f"{labels.plain(name)} over the epochs, {len(panel.courses)} rows.",
        group=GROUP if training.terms else "Training",
        axis_names=("epoch", name),
    )


def _course(axes: Axes, course: Course, colour: str) -> None:
    epochs = [point.epoch for point in course.points]
    if any(point.low < point.high for point in course.points):
        low, high = [p.low for p in course.points], [p.high for p in course.points]
        axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
    marker = "o" if len(epochs) == 1 else ""
    dash = canvas.DASHES[course.place % len(canvas.DASHES)]
    means = [point.mean for point in course.points]
    axes.plot(epochs, means, color=colour, linewidth=1.4, linestyle=dash, marker=marker, markersize=3)
    chosen: Sequence[tuple[int, float]] = course.selected
    axes.plot(
        [e for e, _ in chosen], [v for _, v in chosen], linestyle="none", marker="o", markersize=3.6, color=colour
    )
