"""Figures of a search: its objective over each parameter, and how much each parameter matters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from mmablate.analysis.search import Search, SearchParameter, SearchTrial
from mmablate.analysis.table import Table
from mmablate.report import canvas, labels, marks, numbers
from mmablate.report.canvas import PAGE, Drawing, LegendEntry, Palette
from mmablate.report.sensitivity import readable, ring

_MOST_PANELS = 12
_LONGEST_NAMES = 46  # letters of upright choices below a panel


def search_drawings(table: Table, palette: Palette = PAGE) -> list[Drawing]:
    """The figures of the search that made the table's rows; none for any other table."""
    search = table.search
    if search is None:
        return []
    found = [slice_plot(table, search, parameter, palette) for parameter in search.parameters[:_MOST_PANELS]]
    return [drawing for drawing in (*found, importance_bars(table, search, palette)) if drawing is not None]


def objective_name(search: Search) -> str:
    """ "mean of validation Mean"."""
    what = "mean" if search.objective == "mean" else "confidence bound"
    return f"{what} of validation {labels.clean(search.column)}"


def slice_plot(table: Table, search: Search, parameter: SearchParameter, palette: Palette = PAGE) -> Drawing | None:
    """The objective of the complete trials over one parameter, None below two of them."""
    good = [t for t in search.trials if t.objective is not None and parameter.name in t.values]
    if len(good) < 2:
        return None
    figure, axes = canvas.new_axes(palette, canvas.PANEL)
    places = [(_place(parameter, trial), trial.objective or 0.0) for trial in good]
    if numbers.is_number(search.baseline_objective):
        axes.axhline(search.baseline_objective, color=palette.base, linewidth=1.2, dashes=(4, 3))
    axes.plot(
        [x for x, _ in places], [y for _, y in places],
        color=palette.curve, linestyle="none", marker="o", markersize=4.5, alpha=0.75, markeredgewidth=0,
    )  # fmt: skip
    chosen = next((trial for trial in good if trial.row == search.chosen), None)
    if chosen is not None:
        ring(axes, [(_place(parameter, chosen), chosen.objective or 0.0)], palette, 7)
    _horizontal(figure, axes, table, parameter)
    symbol = labels.clean(parameter.symbol)
    about = table.column_info.get(search.column)
    unit = f" in {about.unit}" if about is not None and about.unit else ""
    notes = [
        "dashed: baseline" if numbers.is_number(search.baseline_objective) else "",
        "ring: chosen" if chosen is not None else "",
        _left_out(search),
    ]
    return Drawing(
        name=f"slice_{parameter.name}",
        figure=figure,
        heading=symbol,
        description=f"Objective of {len(good)} trials over {symbol}.",
        legend=(LegendEntry(palette.curve, f"a trial: {objective_name(search)}{unit}"),),
        note="; ".join(note for note in notes if note),
        group="Search: objective over each parameter",
        axis_names=(symbol, f"{objective_name(search)}{unit}"),
        further=(
            *([LegendEntry(palette.base, "baseline", dash=1)] if numbers.is_number(search.baseline_objective) else []),
            *([LegendEntry(palette.curve, "chosen", ring=True)] if chosen is not None else []),
        ),
    )


def _left_out(search: Search) -> str:
    counts = ((state, sum(t.state == state for t in search.trials)) for state in ("pruned", "failed"))
    found = [f"{count} {state}" for state, count in counts if count]
    return f"{' and '.join(found)} left out" if found else ""


def _place(parameter: SearchParameter, trial: SearchTrial) -> float:
    """Where a trial's value stands: the number itself, or the place of a choice."""
    value = trial.values[parameter.name]
    if parameter.kind == "choice":
        return float(next((i for i, choice in enumerate(parameter.choices) if choice == value), -1))
    return float(value)


def _horizontal(figure: Figure, axes: Axes, table: Table, parameter: SearchParameter) -> None:
    """Scale, limits and ticks of the parameter; vertical ticks by the way."""
    axes.margins(y=0.12)
    if parameter.kind == "choice":
        axes.set_xlim(-0.6, len(parameter.choices) - 0.4)
        axes.autoscale_view(scalex=False)
        canvas.settle(figure, axes, decimal=table.decimal, n_ticks=4)
        _name_choices(axes, table, parameter)
        return
    low, high = parameter.low or 0.0, parameter.high or 0.0
    if parameter.log:
        axes.set_xscale("log")
        room = (high / low) ** 0.04
        axes.set_xlim(low / room, high * room)
    else:
        room = 0.04 * (high - low)
        axes.set_xlim(low - room, high + room)
    axes.autoscale_view(scalex=False)
    canvas.settle(figure, axes, decimal=table.decimal, n_ticks=4)
    places = sorted({low, high, *(tick for tick in _ticks(parameter, low, high) if low < tick < high)})
    shown = readable(axes, [marks.SweepPoint(x, None, None, False, False) for x in places])
    canvas.name_ticks(axes, [p.value for p in shown], [numbers.level(p.value, table.decimal) for p in shown])


def _ticks(parameter: SearchParameter, low: float, high: float) -> Sequence[float]:
    whole = parameter.kind == "integer"
    locator = LogLocator(base=10) if parameter.log else MaxNLocator(5, integer=whole)
    return [float(f"{tick:.6g}") for tick in locator.tick_values(low, high)]


def _name_choices(axes: Axes, table: Table, parameter: SearchParameter) -> None:
    """The choices below their places; of many or long ones only as many as have room."""
    names = [
        labels.clean(str(c)) if isinstance(c, str | bool) else numbers.level(c, table.decimal)
        for c in parameter.choices
    ]
    step = max(1, math.ceil(sum(len(name) + 2 for name in names) / _LONGEST_NAMES))
    canvas.name_ticks(axes, range(0, len(names), step), [name[:24] for name in names[::step]])


def importance_bars(table: Table, search: Search, palette: Palette = PAGE) -> Drawing | None:
    """The share of each parameter, the largest first; None where the search names none."""
    symbols = {parameter.name: labels.clean(parameter.symbol) for parameter in search.parameters}
    shares = [(symbols.get(name, name), share) for name, share in search.importance.items()][:_MOST_PANELS]
    if len(shares) < 2:
        return None
    figure, axes = canvas.new_axes(palette)
    axes.bar(range(len(shares)), [100 * share for _, share in shares], width=0.5, color=palette.curve)
    axes.set_xlim(-0.6, len(shares) - 0.4)
    axes.set_ylim(0, 105)
    canvas.settle(figure, axes, decimal=table.decimal)
    canvas.name_ticks(axes, range(len(shares)), [name[:24] for name, _ in shares])
    n = sum(trial.state == "complete" for trial in search.trials)
    return Drawing(
        name="importance",
        figure=figure,
        heading="Search: importance of the parameters",
        description=f"Bars of the importance of {len(shares)} parameters in percent; together they are 100.",
        legend=(LegendEntry(palette.curve, "importance in %"),),
        note=f"PED-ANOVA of {n} complete trials: how far the best of them differ from all in a parameter; not an "
        "effect size, and unsure for few trials",
        axis_names=("", "importance in %"),
    )
