"""Figures of what the joint loss leaves of each encoder's gradient, and of how weak each modality was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from matplotlib.axes import Axes

from mmablate.analysis.suppression import Interval, Looks, Point, RowLooks, Suppression
from mmablate.report import canvas, labels, numbers
from mmablate.report.canvas import PAGE, PALETTE_SIZE, Drawing, LegendEntry, Palette

GRADIENTS_GROUP = "What the joint loss leaves of each encoder's gradient"
WEAKNESS_GROUP = "How weak each modality was found"
MOST_LINES = PALETTE_SIZE - 1
"""Modalities that are drawn: the first colour is that of baselines."""
_MOST_BANDS = 2  # of so many modalities bands can be told apart
_MOST_LINEAR = 20  # largest over smallest value from which the axis is logarithmic
_MET, _NOT_MET, _UNKNOWN = 0, 1, 2  # indices into `canvas.DASHES`
_ALL_OF_IT = 100.0  # percent of the samples, which is what is claimed


class _Line(NamedTuple):
    """One line of a panel.

    Attributes:
        place: of the modality among all of the study.
        dash: index into `canvas.DASHES`.
        points: in the unit of the axes.
    """

    place: int
    dash: int
    points: tuple[Point, ...]


class _Level(NamedTuple):
    """One of the axes above each other.

    Attributes:
        lines: row by row of those that are drawn.
        rule: value at which a thin line stands, None for none.
        limits: of the values, the same for all rows.
    """

    lines: list[list[_Line]]
    rule: float | None
    limits: Interval
    scale: Literal["linear", "log"] = "linear"


def suppression_drawings(
    found: Suppression, palette: Palette = PAGE, *, decimal: Literal[".", ","] = "."
) -> list[Drawing]:
    """A figure a row of what was looked at in training: gradients first, then what weights were made of.

    Rows side by side have the same axes. Shares are in percent.
    """
    drawn = _gradients(found.gradients, palette, decimal) if found.gradients else []
    return drawn + (_weakness(found.weakness, palette, decimal) if found.weakness else [])


# --- gradients --------------------------------------------------------------------------------------------


def _gradients(looks: Looks, palette: Palette, decimal: Literal[".", ","]) -> list[Drawing]:
    rows = [looks.rows[place] for place in looks.drawn]
    names = looks.modalities[:MOST_LINES]
    left = [_lines(row, names, {"left": _MET}) for row in rows]
    ends = [*_values(left), 1.0]
    logarithmic = min(ends) > 0 and max(ends) / min(ends) > _MOST_LINEAR
    room = (min(ends) / 1.3, max(ends) * 1.3) if logarithmic else (0.0, 1.06 * max(ends))
    levels = [
        _Level([list(_share_lines(row, names)) for row in rows], _ALL_OF_IT, (0.0, 104.0)),
        _Level(left, 1.0, room, "log" if logarithmic else "linear"),
    ]
    note = gradients_note(looks) + ("; logarithmic below" if logarithmic else "")
    return [
        _figure(looks, palette, decimal, levels, index, canvas.TALL_PANEL)._replace(
            name=f"gradients_{row.row}",
            description="Over the epochs, by modality: above the share of samples whose gradient of the modality's own "
            f"loss is larger than that of the joint loss, below the ratio of their sizes; {labels.plain(row.row)}. The "
            "numbers of the last epoch stand in the table below.",
            group=GRADIENTS_GROUP,
            legend=_gradients_legend(looks, levels[0], names, palette),
            note=note,
            axis_names=("epoch", "|g_uni| > |g_multi|, %"),
            lower_name="|g_multi| / |g_uni|",
        )
        for index, row in enumerate(rows)
    ]


def _share_lines(row: RowLooks, names: Sequence[str]) -> Iterator[_Line]:
    """By the condition; where nobody knows it, of all samples."""
    for place, name in enumerate(names):
        about = row.modalities.get(name, {})
        known = {"larger_given": _MET, "larger_otherwise": _NOT_MET}
        for quantity, dash in (known if "positive" in about else {"larger": _UNKNOWN}).items():
            if points := about.get(quantity):
                yield _Line(place, dash, tuple(_in_percent(point) for point in points))


def _in_percent(point: Point) -> Point:
    """A share, and its interval as far as shares go."""
    ends = point.interval
    interval = None if ends is None else (100 * max(0.0, ends[0]), 100 * min(1.0, ends[1]))
    return Point(point.epoch, 100 * point.mean, interval, point.n_seeds)


def _gradients_legend(looks: Looks, above: _Level, names: Sequence[str], palette: Palette) -> tuple[LegendEntry, ...]:
    dashes = {line.dash for some in above.lines for line in some}
    told = {
        _MET: "condition met",
        _NOT_MET: "not met",
        _UNKNOWN: "all samples",
    }
    kinds = [LegendEntry(palette.muted, told[dash], dash) for dash in sorted(dashes)]
    claim = LegendEntry(palette.ink, "claim: 100 %", dash=0)
    return (*_modality_entries(names, palette), *kinds, claim)


def gradients_note(looks: Looks) -> str:
    """What the axes, lines and bands of the gradients are."""
    dotted = ""
    if any("positive" not in about for row in looks.rows for about in row.modalities.values()):
        dotted = "; dotted: of all samples, where the fusion is no sum and the condition cannot be looked at"
    parts = [
        "above: share of samples with |g_uni| > |g_multi| in %, the gradients of the modality's own loss and of the "
        "joint loss at its encoder's features; solid: of those that meet the condition of the claim (the other "
        f"modalities together favour the true class over every other one), dashed: of those that do not{dotted}",
        "below: mean |g_multi| / mean |g_uni|, suppressed below the line at 1",
        f"{_span(*looks.samples)} training samples a look" if looks.samples else "",
    ]
    return "; ".join(part for part in (*parts, *_limits_of(looks)) if part)


# --- weakness ---------------------------------------------------------------------------------------------


def _weakness(looks: Looks, palette: Palette, decimal: Literal[".", ","]) -> list[Drawing]:
    rows = [looks.rows[place] for place in looks.drawn]
    names = looks.modalities[:MOST_LINES]
    levels = []
    for quantities in ({"strength": _MET}, {"unique": _MET, "null": _NOT_MET}, {"beta": _MET}):
        lines = [_lines(row, names, quantities) for row in rows]
        values = [0.0, *_values(lines)]
        room = 0.07 * (max(values) - min(values)) or 1.0
        rule = 0.0 if min(values) < 0 else None
        levels.append(_Level(lines, rule, (min(values) - (room if min(values) < 0 else 0.0), max(values) + room)))
    kinds = (LegendEntry(palette.muted, "found", _MET), LegendEntry(palette.muted, "95 % null", _NOT_MET))
    return [
        _figure(looks, palette, decimal, levels, index, canvas.TALLEST_PANEL)._replace(
            name=f"weakness_{row.row}",
            description="Over the epochs, by modality: strength, unique information with what shuffled labels give, "
            f"and the weight that came of them; {labels.plain(row.row)}. The numbers of the last look stand in the "
            "table below.",
            group=WEAKNESS_GROUP,
            legend=(*_modality_entries(names, palette), *kinds),
            note=weakness_note(looks),
            axis_names=("epoch", "strength"),
            lower_name="unique, bits",
            lowest_name="β",
        )
        for index, row in enumerate(rows)
    ]


def weakness_note(looks: Looks) -> str:
    """What the axes, lines and bands of the weakness are."""
    parts = [
        "above: strength, the share of the labels' entropy that a calibrated linear probe of the encoder explains on "
        "training samples that no step sees",
        "in the middle: unique information of the probe's predictions in bits, and dashed what 95 % of shuffles of the "
        "labels do not exceed",
        "below: the weight β of the modality's term",
    ]
    return "; ".join((*parts, *_limits_of(looks)))


# --- both -------------------------------------------------------------------------------------------------


def _lines(row: RowLooks, names: Sequence[str], quantities: dict[str, int]) -> list[_Line]:
    return [
        _Line(place, dash, points)
        for place, name in enumerate(names)
        for quantity, dash in quantities.items()
        if (points := row.modalities.get(name, {}).get(quantity))
    ]


def _values(lines: Sequence[Sequence[_Line]]) -> list[float]:
    """Means, and ends of intervals that are not much further away than the means are from each other."""
    means = [point.mean for some in lines for line in some for point in line.points]
    if not means:
        return []
    low, high = min(means), max(means)
    ends = [end for some in lines for line in some for point in line.points for end in point.interval or ()]
    room = high - low
    return [*means, *(end for end in ends if low - room <= end <= high + room and (end > 0 or low <= 0))]


def _modality_entries(names: Sequence[str], palette: Palette) -> list[LegendEntry]:
    return [LegendEntry(palette.bars[1 + place], labels.clean(name), 0) for place, name in enumerate(names)]


def _limits_of(looks: Looks) -> Iterator[str]:
    """Seeds, intervals, and what is not shown."""
    least, most = looks.n_seeds
    if most == 1:
        yield "one seed a row"
    else:
        yield f"lines: mean over {_span(least, most)} seeds"
        if len(looks.modalities) <= _MOST_BANDS:
            yield f"bands: {numbers.percent(looks.confidence)} intervals of the mean, cut off at the frame"
    if len(looks.drawn) < len(looks.rows):
        yield f"{len(looks.drawn)} of {len(looks.rows)} rows"
    if looks.n_unread:
        yield f"{numbers.whole(looks.n_unread)} further rows were not looked at"
    if len(looks.modalities) > MOST_LINES:
        yield f"{MOST_LINES} of {len(looks.modalities)} modalities"
    if n := looks.n_left_out:
        entries = "1 entry of the histories is" if n == 1 else f"{numbers.whole(n)} entries of the histories are"
        yield f"{entries} no possible values and left out"


def _span(least: int, most: int) -> str:
    return numbers.whole(least) if least == most else f"{numbers.whole(least)}–{numbers.whole(most)}"


def _epochs(rows: Sequence[RowLooks]) -> tuple[int, int]:
    """The first and the last one that anything is known of, whether or not it is drawn."""
    tracks = [points for row in rows for some in row.modalities.values() for points in some.values()]
    return min(points[0].epoch for points in tracks), max(points[-1].epoch for points in tracks)


def _figure(
    looks: Looks,
    palette: Palette,
    decimal: Literal[".", ","],
    levels: Sequence[_Level],
    index: int,
    size: tuple[float, float],
) -> Drawing:
    """One row: its lines at every level, axes as those of the other rows."""
    figure, stack = canvas.new_stack(palette, size, n=len(levels))
    first, last = _epochs([looks.rows[place] for place in looks.drawn])
    for axes, level in zip(stack, levels, strict=True):
        axes.set_yscale(level.scale)
        axes.set_ylim(*level.limits)
        if level.rule is not None:
            axes.axhline(level.rule, color=palette.ink, linewidth=0.7)
        for line in level.lines[index]:
            _draw(axes, line, palette, len(looks.modalities))
        room = 0.02 * (last - first)
        axes.set_xlim(first - room, last + room) if room else axes.set_xlim(first - 0.5, last + 0.5)
        canvas.name_ticks(axes, [], [])
    canvas.epoch_ticks(stack[-1], first, last)
    shares = (0.5, 0.5) if len(stack) == 2 else (1 / 3, 1 / 3, 1 / 3)
    canvas.settle_stack(
        figure, stack, shares=shares, decimal=decimal, n_ticks=5, scales=[level.scale for level in levels]
    )
    return Drawing("", figure, looks.rows[looks.drawn[index]].row, "")


def _draw(axes: Axes, line: _Line, palette: Palette, n_modalities: int) -> None:
    epochs, colour = [point.epoch for point in line.points], palette.bars[1 + line.place]
    if n_modalities <= _MOST_BANDS and any(point.interval for point in line.points):
        ends = [point.interval or (point.mean, point.mean) for point in line.points]
        low, high = [low for low, _ in ends], [high for _, high in ends]
        axes.fill_between(epochs, low, high, color=colour, alpha=0.14, linewidth=0)
    wider = 0.9 * (1 - line.place / max(1, min(n_modalities, MOST_LINES) - 1))  # where lines meet both can be seen
    axes.plot(
        epochs, [point.mean for point in line.points], color=colour, linewidth=1.4 + wider,
        linestyle=canvas.DASHES[line.dash], marker="o" if len(epochs) == 1 else "", markersize=3.6 + wider,
    )  # fmt: skip
