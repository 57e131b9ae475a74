"""LaTeX: a booktabs fragment for `\\input`, or a document that pdflatex compiles as it is.

What limits the numbers stands in the caption (synthetic data, few seeds, failed rows); the key to the marks,
the colour scale, the evidence and the notes stand below the tabular, so that they travel with it. A table
taller than a page becomes several floats, and its notes ordinary text behind them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from mmablate.analysis.table import HeatScale, Table
from mmablate.report import colours, evidence, latex_grid, latex_text, marks

PACKAGES = (
    r"\usepackage[T1]{fontenc}",
    r"\usepackage[utf8]{inputenc}",
    r"\usepackage{textcomp}",
    r"\usepackage{booktabs}",
    r"\usepackage{xcolor}",
    r"\usepackage{colortbl}",
    r"\usepackage{graphicx}",
)
_TWO_COLUMNS = 240.0  # points: the column of a two-column page
_PAGE_HEIGHT = 560.0
_CAPTION_HEIGHT = 40.0
_NOTE_LINE, _NOTE_LENGTH = 9.5, 95  # points; characters in a line of a note
_FLOATS_AT_ONCE = 8  # TeX holds only so many floats that have no page yet


def _swatches(side: Sequence[str], bounds: Sequence[str]) -> list[str]:
    """Coloured boxes with the size of Δ at which each begins."""
    found = []
    for colour, bound in zip(side, bounds, strict=False):
        if colours.is_colour(colour):
            ink = colours.ink_on(colour)[1:].upper()
            text = rf"\textcolor[HTML]{{{ink}}}{{\strut {latex_text.escape(bound)}}}"
            found.append(rf"\colorbox[HTML]{{{colour[1:].upper()}}}{{{text}}}")
    return found


def _scale(scale: HeatScale, decimal: str) -> str:
    """The colour scale of the columns of one metric, worst to best."""
    bounds = marks.scale_bounds(scale, decimal)
    worse, better = _swatches(scale.loss, bounds)[::-1], _swatches(scale.gain, bounds)
    boxes = rf"\fboxsep=2pt\relax worse {''.join(worse)} {''.join(better)} better"
    return rf"{{{boxes}}}, $|$Δ$|$ in {latex_text.escape(marks.scale_unit(scale))}"


def _notes(table: Table, *, extras_shown: bool) -> list[str]:
    """Everything below the tabular, one paragraph each, as LaTeX."""
    plain = [latex_text.label(chip.text) for chip in marks.chips(table) if chip.kind == "plain"]
    facts = " · ".join(part for part in (latex_text.escape(marks.measured(table)), *plain) if part)
    key = marks.key(table, best="bold", delta="with a sign", pale=" (pale)")
    found = [facts, latex_text.escape(key)]
    found += [_scale(scale, table.decimal) for scale in table.heat_scales] if marks.has_heat(table) else []
    found += [] if extras_shown else map(latex_text.label, marks.extra_sentences(table))
    found += [latex_text.escape(evidence.key(table)), *map(latex_text.label, evidence.lines(table))]
    found += [
        rf"\textbf{{failed}}: {latex_text.label(label)}: {latex_text.escape(error)}"
        for label, error in marks.failures(table)
    ]
    found += [latex_text.escape(note) for note in table.notes]
    return [note for note in (*found, latex_text.escape(table.dataset.attribution or "")) if note]


def _caption(table: Table) -> str:
    """Title, caption and, in bold, what limits the numbers."""
    warnings = "; ".join(latex_text.label(chip.text) for chip in marks.chips(table) if chip.kind != "plain")
    title = latex_text.escape(marks.title(table))
    parts = [f"{title}{'' if title.endswith(('.', '!', '?')) else '.'}", latex_text.label(table.caption)]
    parts.append(rf"\textbf{{{warnings[:1].upper()}{warnings[1:]}.}}" if warnings else "")
    return " ".join(part for part in parts if part)


def _anchor(table: Table) -> str:
    """A name for `\\ref`: ASCII letters, digits and hyphens."""
    parts = (table.study, table.condition, table.subset, "effects" if marks.is_effects(table) else None)
    text = "-".join(part for part in parts if part)
    return "tab:" + (re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-") or "table")


def _float(environment: str, size: str, heading: Sequence[str], tabulars: Sequence[str], notes: Sequence[str]) -> str:
    """One float: heading, tabulars one below the other, notes."""
    place = r"\centering" if len(tabulars) == 1 else r"\raggedright"  # row labels of a folded table stand alike
    lines = [rf"\begin{{{environment}}}", *heading, rf"\par\smallskip{place}{size}", r"\setlength{\tabcolsep}{3pt}"]
    if any(r"\ablmark" in tabular for tabular in tabulars):
        lines.append(r"\newcommand{\ablmark}[1]{\makebox[13pt][l]{\scriptsize#1}}% room for marks behind a number")
    lines.append("\n\\par\\medskip\n".join(tabulars))
    if notes:
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright", *_paragraphs(notes)]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, rf"\end{{{environment}}}"])


def _paragraphs(notes: Sequence[str]) -> list[str]:
    return [rf"{note}\par" for note in notes]


def _fragment(table: Table, anchor: str) -> str:
    """The floats of one table and, where they do not fit in with it, its notes as text."""
    grid = latex_grid.grid(table)
    notes = _notes(table, extras_shown=grid.extras)
    environment = "table*" if grid.width > _TWO_COLUMNS else "table"
    caption = _caption(table)
    height = sum(_NOTE_LINE * (1 + len(note) // _NOTE_LENGTH) for note in notes) + _CAPTION_HEIGHT
    inside = len(grid.pages) == 1 and grid.height + height <= _PAGE_HEIGHT
    title = latex_text.escape(marks.title(table))
    first = [rf"\caption[{{{title}}}]{{{caption}}}", rf"\label{{{anchor}}}"]
    # \thetable is the number of the last caption, known in the first pass, where a reference would need two.
    further = [rf"{{\centering\small\tablename~\thetable, continued. {caption}\par}}", r"\medskip"]
    parts = []
    for index, tabulars in enumerate(grid.pages):
        if index and index % _FLOATS_AT_ONCE == 0:
            parts.append(r"\clearpage")
        heading = further if index else first
        parts.append(_float(environment, grid.size.command, heading, tabulars, notes if inside else ()))
    if not inside:
        text = [r"Notes to \tablename~\thetable.", *notes]
        parts.append("\n".join([r"{\footnotesize\raggedright\parindent=0pt\relax", *_paragraphs(text), "}"]))
    return "\n".join(parts)


def _document(body: str) -> str:
    """A whole document around the fragment."""
    return "\n".join(
        [
            r"\documentclass[10pt]{article}",
            *PACKAGES,
            r"\usepackage[a4paper,margin=2cm]{geometry}",
            r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}",
            r"\makeatletter\setlength{\@fptop}{0pt}\makeatother % pages of tables begin at the top",
            r"\begin{document}",
            body,
            r"\end{document}",
            "",
        ]
    )


def render(tables: Sequence[Table], *, single: bool, standalone: bool = False) -> str:
    """The tables one after another; `single` makes no difference here.

    Args:
        tables: in the order of print.
        single: see `report.render`.
        standalone: a document instead of a fragment.
    """
    taken: set[str] = set()
    fragments = []
    for table in tables:
        wanted = _anchor(table)
        further = (f"{wanted}-{n}" for n in itertools.count(2))
        anchor = wanted if wanted not in taken else next(name for name in further if name not in taken)
        taken.add(anchor)
        fragments.append(_fragment(table, anchor))
    body, replaced = latex_text.encode("\n\n".join(fragments))
    comments = [f"% Character without a LaTeX command: {line}" for line in latex_text.names_of(replaced)]
    if standalone:
        return _document("\n".join([*comments, body]))
    return "\n".join(["% Needs in the preamble:", *(f"%   {line}" for line in PACKAGES), *comments, body, ""])
