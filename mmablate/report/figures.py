"""Figures as files for papers: each as SVG and PDF, in the colours of the light theme, the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import os
import re
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

import mmablate
from mmablate.analysis.details import StudyDetails
from mmablate.analysis.saliency import SaliencyRow, StudySaliency
from mmablate.analysis.table import Table
from mmablate.report import canvas, labels
from mmablate.report.canvas import PAPER, Drawing, LegendEntry
from mmablate.report.gradient_plots import suppression_drawings
from mmablate.report.plots import drawings
from mmablate.report.saliency import saliency_csv, saliency_drawings
from mmablate.report.training_plots import training_drawings
from mmablate.results.files import telling, write_atomic

# What may be set as a subscript by matplotlib's mathematics without any of it being read as a command.
_PLAIN = re.compile(r"[A-Za-z0-9À-ɏΑ-Ωα-ω ,.+:/()=−-]+")
# Fonts for letters that matplotlib's own lacks, as far as the machine has them.
_FURTHER_FONTS = (
    "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Droid Sans Fallback", "Arial Unicode MS",
    "WenQuanYi Micro Hei", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic",
    "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji",
)  # fmt: skip
SALIENCY_CSV = "saliency.csv"
_AMBER = "#8a5a00"
_MARGIN = 0.04  # in inches, around a figure
_ROOM = 62  # letters of a legend that stand in one line


def write_figures(
    table: Table,
    details: StudyDetails | None,
    folder: Path,
    *,
    effects: Sequence[Table] = (),
    saliency: StudySaliency | None = None,
) -> list[Path]:
    """Writes every figure of a study's page as SVG and PDF.

    Args:
        table: of the study.
        details: for the curves of the training; None leaves them out.
        folder: is made where it is not there; files of an earlier, different figure are replaced.
        effects: further tables, whose figures are written, too.
        saliency: of the teachers' channels; its CSV is written beside its figures, as "saliency.csv".

    Returns:
        The files, in the order of the page: "sensitivity.svg", "sensitivity.pdf", "subsets.svg", ...; a CSV last.

    Raises:
        StoreError: names the file that cannot be written.
    """
    found = [drawing for one in (table, *effects) for drawing in drawings(one, PAPER)]
    if details is not None and details.training is not None:
        found += training_drawings(details.training, PAPER, decimal=table.decimal)
    if details is not None and details.suppression is not None:
        found += suppression_drawings(details.suppression, PAPER, decimal=table.decimal)
    rows = saliency.rows if saliency is not None else ()
    found += saliency_drawings(rows, PAPER, decimal=table.decimal)
    synthetic = table.dataset.synthetic or (saliency is not None and saliency.synthetic)
    written = write_drawings(found, folder, synthetic=synthetic)
    return written + (write_saliency_csv(rows, folder, synthetic=synthetic) if rows else [])


def write_saliency_csv(rows: Sequence[SaliencyRow], folder: Path, *, synthetic: bool) -> list[Path]:
    """Writes "saliency.csv" and returns its path.

    Raises:
        StoreError: it cannot be written.
    """
    path = folder / SALIENCY_CSV
    with telling(folder, "created"):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, saliency_csv(rows, synthetic=synthetic).encode())
    return [path]


def write_drawings(found: Sequence[Drawing], folder: Path, *, synthetic: bool) -> list[Path]:
    """Writes figures as SVG and PDF.

    Args:
        found: in the colours of `PAPER`.
        folder: is made where it is not there and there is a figure.
        synthetic: each of them says so.

    Raises:
        StoreError: names the file that cannot be written.
    """
    if synthetic:
        for drawing in found:  # a file leaves its page behind
            drawing.figure.axes[0].set_title("SYNTHETIC DATA", loc="right", fontsize=7, color=_AMBER, pad=3)
    if found:
        with telling(folder, "created"):
            folder.mkdir(parents=True, exist_ok=True)
    written = []
    for stem, drawing in zip(_stems(found), found, strict=True):
        svg, pdf = folder / f"{stem}.svg", folder / f"{stem}.pdf"
        written += [svg, pdf]
        mark = _mark(drawing)
        if not (pdf.is_file() and _ends_with(svg, mark)):
            # The SVG comes last: its mark says that both are there.
            as_svg, as_pdf = _files(drawing)
            write_atomic(pdf, as_pdf)
            write_atomic(svg, as_svg + mark)
    return written


def _mark(drawing: Drawing) -> bytes:
    """What a figure's SVG ends with, by its content: embedding fonts is slow, and most figures are there already."""
    plain = canvas.svg_text(drawing.figure, font_type="none")
    words = (*drawing.axis_names, *(name for name in (drawing.lower_name, drawing.lowest_name) if name))
    made = (mmablate.__version__, mpl.__version__, plain, words, drawing.legend, drawing.further)
    return f"<!-- {hashlib.sha256(repr(made).encode()).hexdigest()} -->\n".encode()


def _ends_with(path: Path, mark: bytes) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(mark), os.SEEK_END)
            return file.read() == mark
    except OSError:  # not there, or shorter than a mark
        return False


def _stems(found: Sequence[Drawing]) -> list[str]:
    """File names that every system can hold, each once: letters, digits, "_" and "-"."""
    taken: set[str] = set()
    stems = []
    for drawing in found:
        plain = unicodedata.normalize("NFKD", drawing.name).encode("ascii", "ignore").decode()
        base = re.sub(r"[^a-z0-9_-]+", "_", plain.lower()).strip("_")[:60] or "figure"
        stem, number = base, 2
        while stem in taken:
            stem, number = f"{base}_{number}", number + 1
        taken.add(stem)
        stems.append(stem)
    return stems


def _files(drawing: Drawing) -> tuple[bytes, bytes]:
    """SVG with its text drawn as paths, so that it looks the same everywhere, and PDF with its fonts embedded."""
    fonts = _fonts(drawing)
    style: Any = {"font.family": fonts, "pdf.fonttype": 42, "pdf.compression": 6}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _complete(drawing)
        for text in drawing.figure.findobj(Text):
            text.set_fontfamily(fonts)
        # Measured once: "tight" would draw the figure once more for each file.
        room = drawing.figure.get_tightbbox().padded(_MARGIN)
        svg = canvas.svg_text(drawing.figure, font_type="path", fonts=fonts, bbox_inches=room)
        out = io.BytesIO()
        no_date = {"CreationDate": None, "Creator": None, "Producer": None}
        drawing.figure.savefig(out, format="pdf", metadata=no_date, bbox_inches=room)
    return svg.encode(), out.getvalue()


def _texts(drawing: Drawing) -> list[str]:
    """Every text that the figure will hold."""
    ticks = [tick.get_text() for axes in drawing.figure.axes for tick in axes.get_xticklabels()]
    return [
        *ticks,
        *drawing.axis_names,
        drawing.lower_name,
        drawing.lowest_name,
        *(entry.label for entry in (*drawing.legend, *drawing.further)),
    ]


def _fonts(drawing: Drawing) -> list[str]:
    """Matplotlib's own font, and for letters that it lacks those of `_FURTHER_FONTS` that the machine has."""
    own = font_manager.get_font(font_manager.findfont(canvas.FONT)).get_charmap()
    if all(ord(letter) in own for text in _texts(drawing) for letter in labels.clean(text)):
        return [canvas.FONT]
    there = {entry.name for entry in font_manager.fontManager.ttflist}
    return [canvas.FONT, *(name for name in _FURTHER_FONTS if name in there)]


def _complete(drawing: Drawing) -> None:
    """Names of the axes and the legend, which the page says in HTML."""
    figure = drawing.figure
    FigureCanvasAgg(figure)
    axes = figure.axes[-1]  # the lowest
    horizontal, vertical = drawing.axis_names
    size: Any = {"fontsize": canvas.FONT_SIZE - 0.5, "color": PAPER.muted}
    axes.set_xlabel(_label_text(horizontal), parse_math=_has_safe_subscripts(horizontal), **size)
    for one, name in zip(figure.axes, (vertical, drawing.lower_name, drawing.lowest_name), strict=False):
        one.set_ylabel(_label_text(name), parse_math=_has_safe_subscripts(name), **size)
    if len(figure.axes) > 1:
        figure.align_ylabels(figure.axes)
    entries = (*drawing.legend, *drawing.further)
    if not entries:
        return
    longest = max(len(labels.plain(entry.label)) for entry in entries) + 6
    drop = (-34 if horizontal else -20) / (72 * figure.get_size_inches()[1] * axes.get_position().height)
    legend = axes.legend(
        [_handle(entry) for entry in entries],
        [_label_text(entry.label) for entry in entries],
        loc="upper center", bbox_to_anchor=(0.5, drop), ncols=max(1, min(len(entries), _ROOM // longest)),
        frameon=False, fontsize=canvas.FONT_SIZE - 1, handlelength=1.8, handleheight=0.8, columnspacing=1.4,
        labelcolor=PAPER.ink,
    )  # fmt: skip
    for text, entry in zip(legend.get_texts(), entries, strict=True):
        text.set_parse_math(_has_safe_subscripts(entry.label))


def _handle(entry: LegendEntry) -> Artist:
    """The swatch of an entry: a patch, a line or a ring."""
    if entry.ring:
        return Line2D(
            [], [], linestyle="none", marker="o", markersize=6, markerfacecolor=PAPER.card,
            markeredgecolor=entry.colour, markeredgewidth=1.8,
        )  # fmt: skip
    if entry.dash is None:
        return Patch(facecolor=entry.colour)
    return Line2D([], [], color=entry.colour, linewidth=1.6, linestyle=canvas.DASHES[entry.dash])


def _has_safe_subscripts(label: str) -> bool:
    runs = labels.runs(label)
    return any(run.subscript for run in runs) and all(_PLAIN.fullmatch(run.text) for run in runs)


def _label_text(label: str) -> str:
    """The label with real subscripts where every letter of it is harmless, else as plain text."""
    if not _has_safe_subscripts(label):
        return labels.plain(label)
    return "".join(
        f"$_{{\\mathregular{{{run.text.replace(' ', chr(92) + ' ')}}}}}$" if run.subscript else run.text
        for run in labels.runs(label)
    )
