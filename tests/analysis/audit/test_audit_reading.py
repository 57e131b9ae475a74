"""Reading: notations of numbers, formats, spans, what mmablate prints itself, and hostile files."""

from __future__ import annotations

import contextlib
import random
import sys
import time
from decimal import Decimal

import pytest
from audit_samples import audited, short
from project import ROOT

from mmablate.analysis.audit import audit_file
from mmablate.analysis.audit.model import Cell, Run
from mmablate.analysis.audit.numbers import read_entry
from mmablate.errors import DataError
from mmablate.report import render

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
sys.path.insert(0, str(ROOT / "tests" / "report"))
import _tables
from report_samples import SAMPLES


@pytest.mark.parametrize(
    ("text", "value", "delta"),
    [
        ("43.71", "43.71", None),
        ("−0.21", "-0.21", None),
        ("45.82 (+2.13)", "45.82", "2.13"),
        ("45.82 +2.13", "45.82", "2.13"),
        ("45.82±0.3 (−2.13)", "45.82", "-2.13"),
        ("45.82 ↓0.4", "45.82", "-0.4"),
        ("43.71 ± 0.52 (+0.02ʷ n.s.)†", "43.71", "0.02"),
        ("43.7 %", "43.7", None),
        ("45.1 (44.0, 46.3)", "45.1", None),
        ("12\u2009345.6", "12345.6", None),
    ],
)
def test_notations_of_numbers(text, value, delta):
    entry = read_entry(Cell((Run(text),)))
    assert entry.value is not None
    assert entry.value.value == Decimal(value)
    assert (entry.delta and entry.delta.value) == (delta and Decimal(delta))


@pytest.mark.parametrize("text", ["ResNet-50", "< 0.1", "12 / 15", "45-50", "2 seeds", "1.2.3", "±0.3"])
def test_what_is_no_number_is_not_read_as_one(text):
    assert not read_entry(Cell((Run(text),))).readable


@pytest.mark.parametrize("text", ["", "-", "–", "n/a", "failed"])
def test_missing_is_not_unread(text):
    entry = read_entry(Cell((Run(text),)))
    assert entry.missing
    assert entry.readable


@pytest.mark.parametrize("form", _tables.FORMATS)
def test_clean_tables_of_every_style_are_read_whole_and_accused_of_nothing(form, tmp_path):
    stream = random.Random(form)
    for _ in range(25):
        made = _tables.make(stream, form)
        audit = audited(tmp_path, _tables.to_text(made, form), "t" + _tables.ENDINGS[form])
        assert audit.faults == 0, made.style
        (table,) = audit.tables
        rows = {row.label: i for i, row in enumerate(table.rows)}
        columns = {column.header: column.index for column in table.columns}
        for (row, column), cell in made.cells.items():
            read = table.value(rows[row], columns[column])
            assert read is not None
            assert read.value == cell.value
            assert read.bold == cell.bold


@pytest.mark.parametrize("form", _tables.FORMATS)
@pytest.mark.parametrize("kind", _tables.KINDS)
def test_a_planted_fault_is_found_if_and_only_if_it_can_be_proven(kind, form, tmp_path):
    if form == "csv" and kind in _tables.KINDS[2:]:
        pytest.skip("CSV has neither bold nor colours")
    stream = random.Random(f"{kind} {form}")
    planted = 0
    while planted < 12:
        made = _tables.make(stream, form)
        if not _tables.plant(stream, made, kind):
            continue
        planted += 1
        audit = audited(tmp_path, _tables.to_text(made, form), "t" + _tables.ENDINGS[form])
        names = {column.name: column.header for column in audit.tables[0].columns}
        found = {(k, f.row, names[f.column]) for k in _tables.KINDS for f in getattr(audit, k)}
        assert found == {(k, row, column) for k, row, column, sure in made.planted if sure}, made.style


@pytest.mark.parametrize("form", ["html", "markdown", "csv", "latex"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_what_mmablate_prints_is_accused_of_nothing(sample, form, tmp_path):
    text = render([SAMPLES[sample]], form, single=True)
    audit = audited(tmp_path, text, {"html": "t.html", "markdown": "t.md", "csv": "t.csv", "latex": "t.tex"}[form])
    assert audit.faults == 0
    if sample == "losses":
        assert audit.tables[0].n_read >= 32
        assert len(audit.tables[0].series) == 8


LATEX = r"""
\definecolor{good}{HTML}{FF6347}\colorlet{bad}{blue!20}
\newcommand{\best}[1]{\textbf{#1}}\newcommand{\up}[1]{\cellcolor{good}$\uparrow$#1}
\newcommand\down[1]{\cellcolor{bad}{$\downarrow$#1}}
\begin{table}\caption{Two $\Delta$}\begin{tabular}{ll cc cc|c}\hline
\multirow{2}{*}{Backbone} & \multirow{2}{*}{Method}
 & \multicolumn{2}{c}{BraTS} & \multicolumn{2}{c|}{MUSES} & Avg. \\ \cline{3-6}
 & & WT & $\Delta$ & WT & $\Delta$ & \\ \hline
\multirow{2}{*}{ResNet} & base~\cite{x} & 80.10 & -- & 70.00 & -- & 75.05\\
 & ours & \best{81.20} & \up{1.10} & 69.50 & \down{0.50} & 75.35 \\ \hline % a & remark
\multirow{2}{*}{MiT} & base & 82.10 & -- & 72.00 & -- & 77.05\\
 & ours & \best{83.20} & \up{1.10} & \best{72.50} & \down{0.50} & 77.95 \\ \hline
\end{tabular}\end{table}
"""


def test_latex_with_macros_spans_and_two_header_rows(tmp_path):
    audit = audited(tmp_path, LATEX, "t.tex")
    assert audit.tables[0].caption == "Two Δ"
    assert short(audit, "wrong_delta") == [("MiT, ours", "MUSES / WT", "-0.50", "0.50")]
    assert short(audit, "wrong_mean") == [("MiT, ours", "Avg.", "77.95", "77.85")]
    assert audit.bold_not_best == ()


def test_html_without_end_tags_and_with_a_style_sheet(tmp_path):
    text = (
        "<style>.best b{font-weight:bold} td b{font-weight:normal}</style><table><tr><td>m<td>Acc<td>Gain"
        "<tr><td>x<td><b>1.00</b><td>-<tr><td>y<td class=best><b>2.50</b><td>+1.60<tr><td>z"
        "<td><b>2.0</b><td>+1.0</table>"
    )
    audit = audited(tmp_path, text, "t.html")
    assert short(audit, "wrong_delta") == [("y", "Acc", "1.60", "1.50")]
    assert audit.checked["bold"] == 1


def test_tables_in_code_are_examples(tmp_path):
    with pytest.raises(DataError, match="no table in it"):
        audited(tmp_path, "text\n\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n```\n")


HOSTILE = {
    "nested groups": (".tex", "\\begin{tabular}{ll}a&" + "{" * 4000 + "b\\\\ \\end{tabular}"),
    "macro bomb": (
        ".tex",
        "\\def\\a{\\b\\b\\b\\b}\\def\\b{\\a\\a\\a\\a}\\begin{tabular}{ll}x & \\a \\\\ \\end{tabular}",
    ),
    "nested tables": (".tex", "\\begin{tabular}{ll}" * 500 + "a&b" + "\\end{tabular}" * 500),
    "nested elements": (".html", "<table><tr><td>" + "<div>" * 20000 + "1</table>"),
    "spans": (".html", "<table>" + ("<tr>" + "<td rowspan=1000 colspan=1000>1</td>" * 9 + "</tr>") * 2 + "</table>"),
    "entities": (".html", "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><table><tr><td>&b;<td>1</table>"),
    "brackets": (".md", "| a | b |\n|-|-|\n| x | " + "[" * 5000 + "*" * 5000 + " |\n"),
    "digits": (".csv", "a,b,Δ\nx," + "9" * 5000 + ",1\ny,1e999999999,+2\n"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_end_in_an_audit_or_in_one_message(case, tmp_path):
    ending, text = HOSTILE[case]
    message = ""
    try:
        audited(tmp_path, text, "t" + ending)
    except DataError as error:
        message = str(error)
    assert not message or str(tmp_path) in message


@pytest.mark.parametrize("content", [b"\x00\x01table", b"m\xe9thode;b\n1;2\n", b"", b"only words\n"])
def test_what_is_no_table_is_named(content, tmp_path):
    path = tmp_path / "x.md"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.md"):
        audit_file(path)


COLOURS = [
    r"\cellcolor{red!nan}",
    r"\cellcolor{red!inf}",
    r"\cellcolor{red!1e400}",
    r"\cellcolor[rgb]{nan,1,1}",
    r"\cellcolor[rgb]{1e999,1,1}",
    r"\cellcolor[hsb]{1e300,1e300,1}",
    "color:rgb(nan 1 1)",
    "color:rgb(1e999,1,1)",
    "color:rgb(inf% 1% 1%)",
    "color:hsl(1e308 1e308 1e308)",
    "font-weight:" + "9" * 5000,
]


@pytest.mark.parametrize("colour", COLOURS, ids=range(len(COLOURS)))
def test_a_colour_that_is_none_is_ignored(colour, tmp_path):
    latex = colour.startswith("\\")
    if latex:
        text = f"\\begin{{tabular}}{{ll}} m & F \\\\ a & 1.0 \\\\ b & {colour} 2.0 \\\\ \\end{{tabular}}"
    else:
        text = f"<table><tr><td>m<td>F<tr><td>a<td>1.0<tr><td>b<td style='{colour}'>2.0</table>"
    audit = audited(tmp_path, text, "t.tex" if latex else "t.html")
    value = audit.tables[0].value(1, 1)
    assert value is not None
    assert value.value == 2
    assert value.colour is None


TABLE = "| m | F |\n|-|-|\n| a | 1 |\n| b | 2 |\n\n"
TABULAR = r"\begin{tabular}{ll} m & F \\ a & 1 \\ b & 2 \\ \end{tabular}"


def _long(part: str, length: int = 300_000) -> str:
    return part * (length // len(part))


# Each took time with the square of its length or more, most of them more than twelve seconds at this one.
LONG = {
    "colours": (".tex", _long(r"\definecolor{a}{rgb}{") + TABULAR),
    "macros": (".tex", _long(r"\newcommand{\a}{") + TABULAR),
    "macros with blanks": (".tex", _long(r"\newcommand\a" + " " * 2000) + TABULAR),
    "definitions": (".tex", _long(r"\def\a{") + TABULAR),
    "verbatim": (".tex", _long(r"\begin{verbatim}") + TABULAR),
    "iffalse": (".tex", _long(r"\iffalse ") + TABULAR),
    "html in markdown": (".md", TABLE + _long("<table>")),
    "brackets in markdown": (".md", TABLE + _long("![")),
    "footnotes": (
        ".html",
        "<table><tr><td>m<td>F" + _long("<tr><td>a<td>3<sup>1" + " " * 700 + "!</sup>") + "</table>",
    ),
    "signs in a header": (".csv", "m," + "±" * 130_000 + "x\na,1\nb,2\n"),
    "rows of means": (".csv", "m,F,E\n" + _long("a,1,2\nMean,1,2\n", 80_000)),
    "rows of differences": (".csv", "m,F,E\n" + _long("x,1,2\nΔ,+1,+1\n", 80_000)),
    "bold": (".csv", "m,F\n" + _long("a,**1**\n", 80_000) + "b,2\n"),
    "kinds": (".csv", "m,kind,F,Δ\n" + _long("a,k,1,-\nb,k,2,+3\n", 80_000)),
}


@pytest.mark.parametrize("case", LONG)
def test_a_long_file_takes_no_more_than_its_length(case, tmp_path):
    ending, text = LONG[case]
    seconds = time.process_time()
    with contextlib.suppress(DataError):  # too large is an answer too
        audited(tmp_path, text, "t" + ending)
    assert time.process_time() - seconds < 12


@pytest.mark.parametrize(
    "text",
    [
        "a,1\n" * 1600 + ",".join("1" * 1600) + "\n",
        ("a," + ",".join("1" * 1000) + "\n") * 40 + ("\n" + ("b," + ",".join("1" * 1000) + "\n") * 40) * 6,
        ("study,row," + ",".join(f"c{i}" for i in range(900)) + "\n") + "a,b,1\n" * 300 + "a,b" + ",1" * 900 + "\n",
        "a,b\n" * 130_000,
        (",".join("1" * 3000) + "\n") * 2,
    ],
    ids=["ragged", "many tables", "studies", "long", "wide"],
)
def test_tables_that_are_too_large_are_named(text, tmp_path):
    with pytest.raises(DataError, match=r"t\.csv: .*more than"):
        audited(tmp_path, text, "t.csv")


def test_the_places_of_all_tables_of_a_page_are_counted_together(tmp_path):
    table = "<table><tr><td>m<td colspan=999>F<tr><td>a<td>1" + "<tr><td>b<td>2" * 100 + "</table>"
    with pytest.raises(DataError, match=r"t\.html: .*more than"):
        audited(tmp_path, table * 3, "t.html")


def test_large_tables_are_read(tmp_path):
    wide = "m," + ",".join(f"c{i}" for i in range(1000)) + "\n" + ("a," + ",".join(["1.5"] * 1000) + "\n") * 20
    assert audited(tmp_path, wide, "t.csv").tables[0].n_read == 20_000
    long = "m,F,E,L\n" + "".join(f"row{i},1.5,2.5,3.5\n" for i in range(10_000))
    assert audited(tmp_path, long, "t.csv").tables[0].n_read == 30_000
