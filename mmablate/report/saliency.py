"""Saliency of a teacher's channels: as CSV, as figures, as a summary for the terminal, on a study's page."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from rich import box
from rich.table import Table as Grid
from rich.text import Text

from mmablate.analysis.saliency import ERRORS_ABOVE, Profile, SaliencyRow, StudySaliency, profiles
from mmablate.report import canvas, html, labels, numbers, plots
from mmablate.report.canvas import PAGE, Drawing, LegendEntry, Palette
from mmablate.report.csv_format import safe_text

__all__ = ["SaliencyRow", "SaliencyView", "saliency_csv", "saliency_drawings", "saliency_view", "summary"]

HEADING = "Saliency of the teacher's channels"
CSV_COLUMNS = ("run", "seed", "place", "channel", "rank", "score", "standard_error", "saliency", "general", "kept")
_GROUP = "Channels by rank"
_MOST_PANELS = 12
_MOST_SEEDS = 10  # thin lines in a panel
_MOST_RANKS = 400  # steps of a line; more channels are thinned
_MOST_LINES = 40
_TOP = 10


def saliency_csv(rows: Sequence[SaliencyRow], *, synthetic: bool = False) -> str:
    """One line a channel; numbers are not rounded.

    Args:
        rows: of a study, or of one run.
        synthetic: the data were generated; the last column says so.

    Columns are `CSV_COLUMNS` and `synthetic`. Rank 1 is the most salient channel; `general` and `kept` are 1 or 0, and
    empty where nobody knows, or none were chosen.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, "synthetic"])
    for row in rows:
        ranks = {channel: rank for rank, channel in enumerate(row.order(), start=1)}
        sets = [None if some is None else set(some) for some in (row.general, row.kept)]
        for channel in range(len(row.normalised)):
            flags = ["" if some is None else str(int(channel in some)) for some in sets]
            measured = (row.scores[channel], row.standard_errors[channel], row.normalised[channel])
            texts = [repr(float(v)) if math.isfinite(v) else "" for v in measured]
            writer.writerow(
                [safe_text(row.run), row.seed, safe_text(row.place), channel, ranks[channel], *texts, *flags,
                 "true" if synthetic else "false"]
            )  # fmt: skip
    return out.getvalue()


def summary(rows: Sequence[SaliencyRow], *, synthetic: bool = False) -> Grid:
    """A line a run: its channels, how many are salient and kept, and the first ten of them.

    Args:
        rows: the first few are listed, the caption says of how many.
        synthetic: the data were generated; the title says so.
    """
    title = Text(HEADING + (" · SYNTHETIC DATA" if synthetic else ""))
    grid = Grid(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, right in (("run", False), ("seed", True), ("place", False), ("channels", True), ("salient", True),
                        ("kept", True), (f"first {_TOP}", False)):  # fmt: skip
        grid.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows[:_MOST_LINES]:
        kept = numbers.MISSING if row.kept is None else str(len(row.kept))
        first = " ".join(_marked(row, channel) for channel in row.order()[:_TOP])
        texts = (labels.plain(row.run), str(row.seed), labels.clean(row.place), str(len(row.normalised)),
                 str(row.n_salient()), kept, first)  # fmt: skip
        grid.add_row(*map(Text, texts))
    told = ["channels are counted from 0", f"salient: {ERRORS_ABOVE:g} standard errors or more above 0"]
    if any(row.general is not None for row in rows):
        told.append("*: known to be modality-general")
    if len(rows) > _MOST_LINES:
        told.append(f"{_MOST_LINES} of {len(rows)} runs; the CSV holds all")
    grid.caption = Text("; ".join(told))
    grid.caption_justify = "left"
    return grid


def _marked(row: SaliencyRow, channel: int) -> str:
    return f"{channel}{'*' if row.general is not None and channel in row.general else ''}"


# --- figures ----------------------------------------------------------------------------------------------


def saliency_drawings(
    rows: Sequence[SaliencyRow], palette: Palette = PAGE, *, decimal: Literal[".", ","] = "."
) -> list[Drawing]:
    """A figure for each run label and place: sorted saliency, a thin line a seed, their mean as a thick one.

    The area under the mean is coloured by the share of seeds whose channel at that rank is known to be general, or
    was kept where nobody knows.
    """
    found = profiles(rows)
    return [_drawing(profile, palette, decimal, found) for profile in found[:_MOST_PANELS]]


def _drawing(profile: Profile, palette: Palette, decimal: Literal[".", ","], all_of_them: Sequence[Profile]) -> Drawing:
    figure, axes = canvas.new_axes(palette, canvas.PANEL)
    ranks = _thinned(len(profile.mean))
    share = _share(profile)
    mean = [profile.mean[r] for r in ranks]
    edges = [ranks[0] + 0.5, *((a + b) / 2 + 1 for a, b in itertools.pairwise(ranks)), ranks[-1] + 1.5]
    if share is not None:
        below = [m * share[r] for m, r in zip(mean, ranks, strict=True)]
        _area(axes, edges, [0.0] * len(mean), below, _colour(profile, palette))
        _area(axes, edges, below, mean, palette.bars[0])
    else:
        _area(axes, edges, [0.0] * len(mean), mean, palette.bars[0])
    if len(profile.seeds) > 1:
        for seed in profile.seeds[:_MOST_SEEDS]:
            axes.stairs([seed[r] for r in ranks], edges, baseline=None, color=palette.muted, linewidth=0.5, alpha=0.6)
    axes.stairs(mean, edges, baseline=None, color=palette.ink, linewidth=1.8)
    if profile.cut is not None:
        axes.axvline(profile.cut + 0.5, color=palette.base, linewidth=1.2, dashes=(4, 3))
    axes.set_xlim(edges[0], edges[-1])
    top = max((v for seed in profile.seeds for v in seed), default=0.0)
    low = min(0.0, *(v for seed in profile.seeds for v in seed))
    axes.set_ylim(low, top + (0.06 * (top - low) or 1.0))
    n = len(profile.mean)
    ticks = sorted({1, *(round(1 + (n - 1) * part / 4) for part in range(1, 5))})
    canvas.name_ticks(axes, ticks, [str(tick) for tick in ticks])
    canvas.settle(figure, axes, decimal=decimal, n_ticks=4)
    several_places = len({one.place for one in all_of_them}) > 1
    title = f"{profile.run}, {profile.place}" if several_places else profile.run
    return Drawing(
        name=f"saliency_{profile.run}_{profile.place}" if several_places else f"saliency_{profile.run}",
        figure=figure,
        heading=labels.clean(title),
        description=f"Sorted saliency of {n} channels at {labels.clean(profile.place)}, {labels.plain(profile.run)}, "
        f"{len(profile.seeds)} seeds; the numbers stand in saliency.csv.",
        legend=_legend([profile], palette),
        note=_note(all_of_them, len({(p.run, p.place) for p in all_of_them})),
        group=_GROUP,
        axis_names=("rank of the channel", "saliency"),
        further=(LegendEntry(palette.base, "kept: left of it", dash=1),) if profile.cut is not None else (),
    )


def _thinned(n: int) -> list[int]:
    """Ranks that are drawn, from 0; the first and the last are among them."""
    if n <= _MOST_RANKS:
        return list(range(n))
    return [round(i * (n - 1) / (_MOST_RANKS - 1)) for i in range(_MOST_RANKS)]


def _share(profile: Profile) -> tuple[float, ...] | None:
    return profile.general if profile.general is not None else profile.kept


def _colour(profile: Profile, palette: Palette) -> str:
    """Known channels are orange, kept ones blue."""
    return palette.bars[2] if profile.general is not None else palette.bars[1]


def _area(axes: Axes, edges: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> None:
    if any(a != b for a, b in zip(low, high, strict=True)):
        axes.stairs(high, edges, baseline=low, fill=True, color=colour, linewidth=0)


def _legend(all_of_them: Sequence[Profile], palette: Palette) -> tuple[LegendEntry, ...]:
    knows = any(profile.general is not None for profile in all_of_them)
    keeps = any(profile.general is None and profile.kept is not None for profile in all_of_them)
    entries = [LegendEntry(palette.ink, "mean over seeds", dash=0)]
    if any(len(profile.seeds) > 1 for profile in all_of_them):
        entries.append(LegendEntry(palette.muted, "one seed", dash=0))
    if knows:
        entries.append(LegendEntry(palette.bars[2], "known to be modality-general"))
    if keeps:
        entries.append(LegendEntry(palette.bars[1], "kept"))
    return (*entries, LegendEntry(palette.bars[0], "others" if knows or keeps else "channels"))


def _note(all_of_them: Sequence[Profile], n: int) -> str:
    parts = ["channels from the most salient to the least"]
    if any(len(profile.seeds) > 1 for profile in all_of_them):
        if any(_share(profile) is not None for profile in all_of_them):
            parts.append("colour: share of the seeds whose channel at that rank is of that kind")
        if max(len(profile.seeds) for profile in all_of_them) > _MOST_SEEDS:
            parts.append(f"the first {_MOST_SEEDS} seeds are drawn")
    if any(profile.cut is not None for profile in all_of_them):
        parts.append("left of the dashed line: kept")
    if n > _MOST_PANELS:
        parts.append(f"{_MOST_PANELS} of {n} figures")
    return "; ".join(parts)


# --- on the page ------------------------------------------------------------------------------------------


class SaliencyView(NamedTuple):
    """What the template prints.

    Attributes:
        caption: below the heading.
        link: to the CSV, "" for none.
        faults: files that are damaged.
    """

    heading: str
    plots: list[html.PlotView]
    caption: str
    link: str
    faults: list[str]
    synthetic: bool


def saliency_view(found: StudySaliency, *, decimal: Literal[".", ","] = ".", link: str = "") -> SaliencyView:
    """The saliency of a study as the template prints it.

    Args:
        found: in its runs.
        decimal: sign of the figures.
        link: to the CSV, relative to the page.
    """
    drawn = saliency_drawings(found.rows, decimal=decimal)
    legend = _legend(profiles(found.rows), PAGE)  # one for all figures side by side; a file has its own
    made = html.plot_views(plots.cards([one._replace(legend=legend) for one in drawn], "saliency"))
    places = list(dict.fromkeys(labels.clean(row.place) for row in found.rows))
    where = f" at {', '.join(places[:4])}{', …' if len(places) > 4 else ''}" if places else ""
    caption = (
        f"How much further apart teacher and student are when one channel of the teacher{where} is permuted over the "
        "samples, normalised: a salient channel carries what both modalities can decide by."
    )
    return SaliencyView(
        heading=HEADING,
        plots=made,
        caption=caption if found.rows else "",
        link=link if found.rows else "",
        faults=[labels.clean(fault) for fault in found.faults],
        synthetic=found.synthetic,
    )
