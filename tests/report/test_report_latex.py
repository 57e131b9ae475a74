"""LaTeX: what the fragment says, that no text escapes into it, and that pdflatex compiles it as it is."""

from __future__ import annotations

import re
import shutil
import string
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_readers import latex_rows
from report_samples import (
    HOSTILE,
    SAMPLES,
    cell,
    effects,
    five_seeds,
    grown,
    losses,
    per_row_baselines,
    sweep,
    wide,
    with_failures,
)

from mmablate.analysis.table import Table
from mmablate.errors import UsageError
from mmablate.report import FORMATS, labels, latex_text, render

needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def fragment(*tables: Table) -> str:
    return render(tables, "latex", single=False)


def document(*tables: Table) -> str:
    return render(tables, "latex", single=False, standalone=True)


def compiled(text: str, folder: Path, name: str = "t") -> str:
    """Two runs of pdflatex that stop at the first error; the log of the second."""
    (folder / f"{name}.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / f"{name}.log").read_text(errors="replace")


def test_a_fragment_names_its_packages_and_is_a_float_with_booktabs_rules() -> None:
    text = fragment(losses())
    assert text.startswith("% Needs in the preamble:\n%   \\usepackage[T1]{fontenc}\n")
    for package in ("booktabs", "xcolor", "colortbl", "graphicx"):
        assert rf"%   \usepackage{{{package}}}" in text
    body = text.split("\n\\begin{", 1)[1]
    assert body.startswith("table*}\n\\caption[{Loss combinations on MUSES}]{Loss combinations on MUSES. Every subset")
    assert text.rstrip().endswith(r"\end{table*}")
    assert r"\label{tab:muses-losses}" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert "documentclass" not in text


def test_cells_carry_value_spread_delta_heat_and_marks() -> None:
    text = fragment(losses())
    assert r"\cellcolor[HTML]{FF4500}\textbf{46.01}" in text
    assert r"\cellcolor[HTML]{FF4500}\scriptsize $+$2.32" in text
    assert r"\scriptsize \ensuremath{\pm}0.37" in text
    assert r"40.11\ablmark{\textsuperscript{\dag{}}}" in text
    quiet = re.search(r"\\cellcolor\[HTML\]\{(\w+)\}\\scriptsize \$\+\$0\.02\\ablmark\{\\,n\.s\.\}", text)
    assert quiet is not None
    assert quiet[1] not in ("FFD580", "FFA07A", "FF6347", "FF4500")  # pale
    assert r"$L_{\mathrm{sup}}$ + $\lambda L_{\mathrm{mad}}$" in text
    assert r"\ensuremath{-}3.09" in text
    welch = fragment(per_row_baselines())
    assert r"\ablmark{\textsuperscript{w}}" in welch
    assert "Welch's test" in welch


def test_dark_heat_gets_light_ink() -> None:
    table = losses(make=lambda mean, base, **k: five_seeds(mean, base, **{**k, "heat": base and "#202080"}))
    assert r"\cellcolor[HTML]{202080}\color[HTML]{FFFFFF}" in fragment(table)
    assert r"\color[HTML]" not in fragment(losses()).replace(r"\textcolor[HTML]", "")


def test_what_limits_the_numbers_travels_with_the_fragment() -> None:
    text = fragment(with_failures())
    caption = re.search(r"\\caption\[.*", text)
    assert caption is not None
    for words in ("SYNTHETIC DATA", "1 row failed", "1 row with missing seeds"):
        assert words in caption[0]
    assert r"\textbf{failed}: $L_{\mathrm{sup}}$" in text
    assert "became nan at step 17" in text
    assert "4 seeds only" in text
    assert "One teacher a seed." in text
    assert "one seed: no spread, no test" in fragment(losses(make=cell))
    assert "Holm's correction within its family (pale)" in text
    assert r"\colorbox[HTML]{FF4500}" in text  # the scale
    assert r"{[}+0.44, +1.44{]}, p = 0.005 (adjusted 0.019)" in text


def test_effects_print_their_delta_as_the_value() -> None:
    text = fragment(effects())
    assert r"$+$2,50" in text
    assert "the effect of a factor" in text
    assert "failed" not in text
    assert "best" not in text
    assert r"\textbf" not in text
    assert r"\label{tab:fx-effects}" in text


def test_parameters_and_time_stand_beside_or_below() -> None:
    assert "Parameters: $L_{" in fragment(losses())
    assert r"\multicolumn{1}{c}{Parameters} & \multicolumn{1}{c}{Time}" in fragment(
        losses(columns=("F", "Mean"), extras=None)
    )
    assert "Time" not in fragment(losses(columns=("F", "Mean"), extras=("n_parameters",)))


def test_many_columns_fold_and_many_rows_break_over_pages() -> None:
    folded = fragment(wide(20))
    assert [n for _, n in latex_rows(folded)] == [7, 7, 6]
    assert folded.count(r"\begin{table*}") == 1
    long = fragment(grown(200, 4))
    assert long.count(r"\begin{table*}") == long.count(r"\end{table*}") > 5
    assert long.count(r"\caption") == 1
    assert r"\tablename~\thetable, continued." in long
    assert sum(len(rows) for rows, _ in latex_rows(long)) == 200


def test_labels_of_several_tables_differ() -> None:
    found = re.findall(r"\\label\{(.*?)\}", fragment(losses(), losses(), losses(condition="night"), sweep()))
    assert len(set(found)) == len(found) == 4


def test_only_latex_stands_alone() -> None:
    assert document(losses()).startswith("\\documentclass")
    for fmt in set(FORMATS) - {"latex"}:
        with pytest.raises(UsageError, match=r"--standalone.*latex"):
            render([losses()], fmt, single=True, standalone=True)


_BACK = {command: c for c, command in latex_text.ASCII.items()}
_TOKEN = re.compile("|".join([*map(re.escape, sorted(_BACK, key=len, reverse=True)), r"[^\\{}$&#_%~^<>|`\"]"]))


@given(st.text(st.characters(max_codepoint=126), max_size=40))
def test_ascii_text_reads_back_and_leaves_no_special_character(text: str) -> None:
    latex = latex_text.escape(text)
    assert "".join(_TOKEN.findall(latex)) == latex
    assert "".join(_BACK.get(token, token) for token in _TOKEN.findall(latex)) == labels.clean(text)
    assert not re.search(r"--|,,|''", latex)
    assert latex_text.encode(latex) == (latex, {})


@given(st.text(max_size=40))
def test_what_is_not_latex_is_replaced_and_named(text: str) -> None:
    latex, replaced = latex_text.encode(latex_text.label(text))
    assert all(c.isascii() or c in latex_text.READ for c in latex)
    assert latex.count("{") - latex.count(r"\{") == latex.count("}") - latex.count(r"\}")
    for line in latex_text.names_of(replaced):
        assert line.isascii()
        assert "\n" not in line


def test_the_comment_names_what_was_replaced() -> None:
    text = fragment(losses(title="漢 Größe"))
    assert "% Character without a LaTeX command: U+6F22 CJK UNIFIED IDEOGRAPH-6F22 as '?'" in text
    assert "? Größe" in text


@needs_tex
def test_samples_compile_as_one_document_and_nothing_leaves_the_page(tmp_path: Path) -> None:
    tables = [*SAMPLES.values(), effects(), grown(60, 3), wide(40)]
    log = compiled(document(*tables), tmp_path)
    assert "Overfull" not in log
    assert "LaTeX Warning" not in log
    if shutil.which("pdftotext"):
        subprocess.run(["pdftotext", "-layout", "t.pdf"], cwd=tmp_path, check=True)
        text = (tmp_path / "t.txt").read_text()
        assert "46.01" in text
        assert "SYNTHETIC DATA" in text


@needs_tex
@pytest.mark.parametrize("head", [r"\documentclass{article}", r"\documentclass[twocolumn]{article}"])
def test_a_fragment_compiles_with_the_packages_that_it_names(tmp_path: Path, head: str) -> None:
    text = fragment(losses(), losses(title="Größe β", condition="night"), effects())
    (tmp_path / "tables.tex").write_text(text, encoding="utf-8")
    packages = [line.removeprefix("%   ") for line in text.splitlines() if line.startswith(r"%   \usepackage")]
    log = compiled("\n".join([head, *packages, r"\begin{document}", r"\input{tables}", r"\end{document}"]), tmp_path)
    assert "Overfull" not in log


def _attacks() -> Sequence[str]:
    """Every pair of printable ASCII characters, every character that has a command, and known attacks."""
    ascii_letters = string.digits[:1] + string.ascii_letters[:1] + string.punctuation + " "
    pairs = [" ".join(a + b for b in ascii_letters) for a in ascii_letters]
    known = "".join(latex_text.COMMANDS) + "".join(sorted(latex_text.READ))
    return (
        *pairs,
        known,
        HOSTILE,
        r"\input{/etc/passwd}",
        "%",
        r"\end{document}",
        "}",
        "{",
        r"\\[9cm]",
        "&",
        "漢字 👩‍🔬",
    )


@needs_tex
def test_attacks_compile_and_print_as_text(tmp_path: Path) -> None:
    texts = _attacks()
    rows = losses().rows
    parts = []
    for text in texts:
        subscript = rows[1].model_copy(update={"label": f"λL_{{{text.replace('}', '')}}} + β_x", "errors": (text,)})
        first = rows[0].model_copy(update={"label": text})
        info = {"F": losses().column_info["F"].model_copy(update={"label": text, "metric": text, "unit": text})}
        parts.append(
            losses(
                title=text,
                caption=text,
                row_header=text,
                columns=("F",),
                column_info=info,
                notes=(text,),
                rows=(first, subscript),
                study=text,
            )
        )
    compiled(document(*parts), tmp_path)
    if shutil.which("pdftotext"):
        subprocess.run(["pdftotext", "t.pdf"], cwd=tmp_path, check=True)
        printed = (tmp_path / "t.txt").read_text()
        assert r"\input{/etc/passwd}" in printed
        assert r"\end{document}" in printed
        assert "root:" not in printed


@needs_tex
@given(st.lists(st.text(max_size=30), min_size=20, max_size=60))
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_compiles(tmp_path: Path, texts: list[str]) -> None:
    base, further = losses().rows[:2]
    rows = (base, *(further.model_copy(update={"label": text, "name": f"r{i}"}) for i, text in enumerate(texts)))
    compiled(document(losses(rows=rows, notes=tuple(texts), title=texts[0], columns=("F", "Mean"))), tmp_path)
