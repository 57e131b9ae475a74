"""What figures are drawn on and written with: one style, two palettes, the same bytes every time.

For the page matplotlib draws in placeholder colours, which become CSS variables afterwards, so that one figure
serves the light and the dark theme; text stays text, and legends are HTML. For papers it draws in the colours
of the light theme.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from mmablate.report import numbers

PALETTE_SIZE = 8
FONT_SIZE = 9.5
FONT = "DejaVu Sans"  # comes with matplotlib
CARD, PANEL = (4.2, 2.5), (3.5, 2.1)
"""Sizes of figures in inches: one alone, one of several side by side."""
TALL_CARD, TALL_PANEL = (4.2, 4.3), (3.5, 3.8)
"""The same of two axes above each other."""
TALLEST_PANEL = (3.5, 4.9)
"""Three axes above each other, side by side with others."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)))
"""Line styles in turn, so that lines differ in grey, too."""


class Palette(NamedTuple):
    """Colours of a figure; `bars` for things without an order, `levels` for those that have one."""

    ink: str
    muted: str
    rule: str
    card: str
    curve: str
    base: str
    bars: tuple[str, ...]
    levels: tuple[str, ...]


PAGE = Palette(
    "#0f0f01", "#0f0f02", "#0f0f03", "#0f0f04", "#0f0f05", "#0f0f06",
    tuple(f"#0f0f1{i}" for i in range(PALETTE_SIZE)), tuple(f"#0f0f2{i}" for i in range(PALETTE_SIZE)),
)  # fmt: skip
PAPER = Palette(
    "#17171a", "#4f4f56", "#d9d9de", "#ffffff", "#c2410c", "#4b7396",
    ("#b5b5ba", "#3b82c4", "#c2410c", "#e0a63a", "#5b8c5a", "#8e6bbf", "#2a9d9b", "#6b4f3a"),
    ("#b5b5ba", "#fcd9bd", "#fbb682", "#f58f4a", "#dd6a1f", "#b34a0e", "#843410", "#55240f"),
)  # fmt: skip

VARIABLES = {
    **{getattr(PAGE, name): f"--{name}" for name in ("ink", "muted", "rule", "card", "curve", "base")},
    **{colour: f"--bar{i}" for i, colour in enumerate(PAGE.bars)},
    **{colour: f"--level{i}" for i, colour in enumerate(PAGE.levels)},
}
"""Placeholder colour -> CSS variable."""


class LegendEntry(NamedTuple):
    """One swatch of a legend.

    Attributes:
        colour: of the figure's palette.
        label: may hold `_x` subscripts.
        dash: index into `DASHES` for a line, None for a patch.
        ring: an open circle; in files only, the page says it in words.
    """

    colour: str
    label: str
    dash: int | None = None
    ring: bool = False

    @property
    def variable(self) -> str:
        """CSS variable of its colour on the page."""
        return VARIABLES[self.colour]


class Drawing(NamedTuple):
    """A finished figure.

    Attributes:
        name: stem of its file.
        heading: above it on the page; may hold `_x` subscripts.
        description: what it shows, for those who cannot see it.
        note: below it, as text.
        group: figures of one group stand side by side, under this heading and one legend and note.
        axis_names: (horizontal, vertical), for papers; the page says it in words.
        further: entries of the legend, for papers; the page says them in its note.
        lower_name, lowest_name: vertical names of the second and the third of axes above each other, for papers.
    """

    name: str
    figure: Figure
    heading: str
    description: str
    legend: tuple[LegendEntry, ...] = ()
    note: str = ""
    group: str = ""
    axis_names: tuple[str, str] = ("", "")
    further: tuple[LegendEntry, ...] = ()
    lower_name: str = ""
    lowest_name: str = ""


def line_levels(palette: Palette, n: int) -> tuple[str, ...]:
    """Colours of n lines that have an order, at most 8: the faintest levels, made for areas, are taken last."""
    others = palette.levels[1:]
    skipped = max(0, min(2, len(others) - (n - 1)))
    usable = others[skipped:]
    wanted = max(1, n - 1)
    picked = [usable[round(i * (len(usable) - 1) / max(1, wanted - 1))] for i in range(wanted)]
    return (palette.levels[0], *(picked if n > 2 else [usable[len(usable) // 2]]))


def new_axes(palette: Palette, size: tuple[float, float] = CARD) -> tuple[Figure, Axes]:
    """An empty figure in the page's style: horizontal rules only."""
    figure = Figure(figsize=size, layout=None)
    FigureCanvasSVG(figure)
    figure.set_dpi(72)
    figure.patch.set_visible(False)
    return figure, _add_axes(figure, palette)


def new_stack(palette: Palette, size: tuple[float, float] = TALL_CARD, *, n: int = 2) -> tuple[Figure, list[Axes]]:
    """An empty figure with n axes above each other, from above, to be placed by `settle_stack`."""
    figure, upper = new_axes(palette, size)
    return figure, [upper, *(_add_axes(figure, palette) for _ in range(n - 1))]


def _add_axes(figure: Figure, palette: Palette) -> Axes:
    axes: Axes = figure.add_axes((0.1, 0.12, 0.88, 0.82))
    axes.patch.set_visible(False)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(palette.rule)
    axes.tick_params(length=0, labelsize=FONT_SIZE, colors=palette.muted, pad=6)
    axes.grid(axis="y", color=palette.rule, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def name_ticks(axes: Axes, positions: Sequence[float], texts: Sequence[str], *, rotation: float = 0) -> None:
    """Ticks with texts that are never read as mathematics ("$" in a name is a "$")."""
    axes.set_xticks(list(positions), list(texts), parse_math=False, rotation=rotation)
    axes.set_xticks([], minor=True)


def epoch_ticks(axes: Axes, first: int, last: int) -> None:
    """Whole numbers on the horizontal axis; a single epoch stands in its middle."""
    if first == last:
        axes.set_xlim(first - 0.5, last + 0.5)
        axes.set_xticks([first])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))


def settle(
    figure: Figure,
    axes: Axes,
    *,
    decimal: Literal[".", ","] = ".",
    n_ticks: int = 5,
    scale: Literal["linear", "log"] = "linear",
) -> None:
    """Names the vertical ticks, few of them, and gives their texts the room that they need."""
    if scale == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(n_ticks, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    if scale == "log":
        ticks = ticks[:: max(1, -(-len(ticks) // n_ticks))]
        axes.set_yticks([], minor=True)
    texts = [f"{tick:.6g}".replace("-", numbers.MINUS).replace(".", decimal) for tick in ticks]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: texts[place or 0] if len(texts) else ""))
    width, height = (72 * side for side in figure.get_size_inches())  # in points
    left = (max(map(len, texts), default=1) * FONT_SIZE * 0.62 + 8) / width
    bottom = (FONT_SIZE * 1.3 + 10) / height
    axes.set_position((left, bottom, 0.985 - left, 0.96 - bottom))


def settle_stack(
    figure: Figure,
    stack: Sequence[Axes],
    *,
    shares: Sequence[float] = (0.6, 0.4),
    decimal: Literal[".", ","] = ".",
    n_ticks: int = 5,
    scales: Sequence[Literal["linear", "log"]] = (),
) -> None:
    """What `settle` does for axes above each other: texts of all have room, and their left edges meet.

    Args:
        figure: that holds them.
        stack: the axes, from above.
        shares: of the height that each takes; they sum to one.
        decimal: sign of the ticks.
        n_ticks: of the first; the others, which are lower, have one less.
        scales: of each; none are all linear.
    """
    for place, axes in enumerate(stack):
        scale = scales[place] if scales else "linear"
        settle(figure, axes, decimal=decimal, n_ticks=n_ticks - (place > 0), scale=scale)
    left = max(axes.get_position().x0 for axes in stack)
    bottom = stack[-1].get_position().y0
    gap = FONT_SIZE * 1.6 / (72 * figure.get_size_inches()[1])
    room = 0.97 - bottom - gap * (len(stack) - 1)
    for axes, share in zip(reversed(stack), reversed(shares), strict=True):
        axes.set_position((left, bottom, 0.985 - left, room * share))
        bottom += room * share + gap


def inline_svg(figure: Figure, prefix: str) -> str:
    """The figure as an `<svg>` element for HTML.

    Args:
        figure: finished, in the colours of `PAGE`.
        prefix: of every id in it; ids must be unique on the page.
    """
    text = svg_text(figure, font_type="none")
    text = text[text.index("<svg") :]
    view_box = re.search(r'viewBox="[^"]*"', text)
    root = f'<svg {view_box[0] if view_box else ""} aria-hidden="true">'
    text = root + text[text.index(">") + 1 :]
    text = text.replace("xlink:href", "href").replace(f"'{FONT}'", "inherit").replace(f'"{FONT}"', "inherit")
    text = re.sub(r"font: ([\d.]+px) inherit", r"font-size: \1", text)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return re.sub(r"\n\s*", "\n", text).strip()


def svg_text(
    figure: Figure, *, font_type: Literal["none", "path"], fonts: Sequence[str] = (FONT,), **options: Any
) -> str:
    """The figure as an SVG file without date and generator: the same figure is the same text.

    Args:
        figure: finished.
        font_type: "none" keeps text as text, "path" draws it, which looks the same everywhere.
        fonts: families, the first that has a letter sets it.
        options: of matplotlib's savefig.
    """
    out = io.StringIO()
    style: Any = {"svg.fonttype": font_type, "svg.hashsalt": "mmablate", "font.family": list(fonts)}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(out, format="svg", **options)
    return re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", out.getvalue(), flags=re.DOTALL)
