"""Figures as files: each as SVG and PDF, the same bytes every time, real colours, embedded fonts, text as text."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pytest
from report_samples import HOSTILE, SAMPLES, hostile, losses, sweep

from mmablate.analysis.courses import Course, Panel, Point, Training
from mmablate.analysis.details import StudyDetails
from mmablate.analysis.table import Table
from mmablate.report import canvas, figures, templating
from mmablate.report.figures import write_figures


def told(*, rows: tuple[str, ...] = ("L_sup", "L_sup + λL_mad"), term: str = "mad") -> StudyDetails:
    """Details with curves and nothing else."""

    def course(place: int, scale: float) -> Course:
        points = tuple(Point(e, scale / e, 0.8 * scale / e, 1.3 * scale / e) for e in range(1, 9))
        return Course(rows[place], place, points, ((8, scale / 8),))

    drawn = tuple(course(place, 1.0 + place) for place in range(len(rows)))
    training = Training((Panel(term, f"L_{{{term}}}", drawn),), Panel("Mean", "Mean", drawn), rows, len(rows), False, 3)
    return StudyDetails(training, {}, (), 0, (), (), 0, 0, 0.0, {}, "", "")


def written(table: Table, details: StudyDetails | None, folder: Path) -> dict[str, bytes]:
    paths = write_figures(table, details, folder)
    assert sorted(paths) == sorted(folder.iterdir())
    return {path.name: path.read_bytes() for path in paths}


def test_every_figure_of_the_page_is_written_twice(tmp_path: Path) -> None:
    names = written(sweep(), told(), tmp_path / "a" / "b")
    stems = [
        "sensitivity",
        "subsets",
        "sensitivity_f",
        "sensitivity_e",
        "sensitivity_mean",
        "training_mad",
        "validation",
    ]
    assert sorted(names) == sorted(f"{stem}.{kind}" for stem in stems for kind in ("svg", "pdf"))
    for name, content in names.items():
        if name.endswith("svg"):
            root = ET.fromstring(content)
            assert root.tag.endswith("svg")
            assert root.get("viewBox")
        else:
            assert content.startswith(b"%PDF-")
            assert content.rstrip().endswith(b"%%EOF")


def test_the_same_figure_is_the_same_bytes_and_holds_no_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(losses(), told(), tmp_path / "first")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert written(losses(), told(), tmp_path / "second") == first
    for content in first.values():
        assert b"CreationDate" not in content
        assert b"dc:date" not in content
    for setting in ("pdf.fonttype", "svg.fonttype", "font.family", "svg.hashsalt"):
        assert mpl.rcParams[setting] == mpl.rcParamsDefault[setting]  # nothing global is left changed


def test_figures_that_are_there_are_not_drawn_again_and_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    files = figures._files
    monkeypatch.setattr(figures, "_files", lambda drawing: drawn.append(drawing.name) or files(drawing))
    first = written(losses(), told(), tmp_path)
    n_figures = len(drawn)
    assert written(losses(), told(), tmp_path) == first
    assert len(drawn) == n_figures
    (tmp_path / "delta.pdf").unlink()
    (tmp_path / "subsets.svg").write_text("cut off")
    assert written(losses(), told(), tmp_path) == first
    assert drawn[n_figures:] == ["subsets", "delta"]
    table = losses()
    other = table.model_copy(update={"rows": (table.rows[0].model_copy(update={"label": "new"}), *table.rows[1:])})
    assert written(other, told(), tmp_path)["subsets.svg"] != first["subsets.svg"]
    assert drawn[n_figures + 2 :] == ["subsets"]


def test_colours_are_those_of_the_light_page(tmp_path: Path) -> None:
    style = templating.fill("style.css.j2", heats=[])
    light = style.partition("@media screen and (prefers-color-scheme: dark)")[0]
    variables = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", light))
    named = {f"bar{i}": colour for i, colour in enumerate(canvas.PAPER.bars)}
    named |= {f"level{i}": colour for i, colour in enumerate(canvas.PAPER.levels)}
    named |= {name: getattr(canvas.PAPER, name) for name in ("ink", "rule", "curve", "base")}
    assert {name: variables[name] for name in named} == named
    svg = written(losses(), None, tmp_path)["subsets.svg"].decode()
    assert "var(" not in svg
    assert "#0f0f" not in svg
    for colour in canvas.PAPER.bars[:4]:
        assert colour in svg


def test_fonts_are_embedded_and_svg_needs_none(tmp_path: Path) -> None:
    names = written(losses(), None, tmp_path)
    assert b"/FontFile2" in names["subsets.pdf"]
    assert b"/Type3" not in names["subsets.pdf"]
    assert b"<text" not in names["subsets.svg"]


def test_axes_and_legend_say_what_the_page_says_in_html(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    complete = figures._complete

    def spy(drawing: canvas.Drawing) -> None:
        complete(drawing)
        axes = drawing.figure.axes[0]
        legend = axes.get_legend()
        assert legend is not None
        seen.append([axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in legend.get_texts())])

    monkeypatch.setattr(figures, "_complete", spy)
    write_figures(sweep(), told(), tmp_path)
    assert seen[0] == ["β", "mIoU, Mean in %", "mean over seeds ± std", "baseline", "value used"]
    assert seen[1][1] == "mIoU in %"
    assert seen[-2] == ["epoch", r"L$_{\mathregular{mad}}$", r"L$_{\mathregular{sup}}$",
                        r"L$_{\mathregular{sup}}$ + λL$_{\mathregular{mad}}$"]  # fmt: skip


@pytest.mark.parametrize(
    "label", [HOSTILE, "$\\frac{1}{", "L_{a$b}", "$x$ L_sup", "漢字 L_sup", "مرحبا", "🧪", "", "\\", "^_{}"]
)
def test_any_label_is_drawn_as_text(label: str, tmp_path: Path) -> None:
    table = losses()
    rows = tuple(row.model_copy(update={"label": label}) for row in table.rows)
    info = {c: i.model_copy(update={"label": label, "metric": label or "m"}) for c, i in table.column_info.items()}
    odd = table.model_copy(update={"rows": rows, "column_info": info})
    names = written(odd, told(rows=(label, label), term=label), tmp_path)
    for name in names:
        assert re.fullmatch(r"[a-z0-9_-]+\.(svg|pdf)", name)
        if name.endswith("svg"):
            ET.fromstring(names[name])


def test_names_that_fall_together_are_numbered(tmp_path: Path) -> None:
    table = sweep()
    columns = ("F", "f", "Ü/../x")
    rows = tuple(r.model_copy(update={"cells": dict.fromkeys(columns, r.cells["F"])}) for r in table.rows)
    info = dict.fromkeys(columns, table.column_info["F"])
    names = written(table.model_copy(update={"columns": columns, "rows": rows, "column_info": info}), None, tmp_path)
    assert {n for n in names if n.startswith("sensitivity_") and n.endswith("pdf")} == {
        "sensitivity_f.pdf", "sensitivity_f_2.pdf", "sensitivity_u_x.pdf"
    }  # fmt: skip


@pytest.mark.parametrize("name", [*SAMPLES, "hostile"])
def test_every_sample_can_be_written(name: str, tmp_path: Path) -> None:
    table = hostile() if name == "hostile" else SAMPLES[name]
    write_figures(table, None, tmp_path)


def test_no_figure_no_folder(tmp_path: Path) -> None:
    assert write_figures(Table(study="s"), None, tmp_path / "figures") == []
    assert not (tmp_path / "figures").exists()


def test_formats_of_text_need_no_matplotlib() -> None:
    code = (
        "import sys; sys.path[:0] = ['tests/report']\n"
        "from report_samples import losses\n"
        "from mmablate.report import FORMATS, render\n"
        "[render([losses()], fmt, single=True) for fmt in FORMATS if fmt != 'html']\n"
        "print('matplotlib' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False"


def test_figures_of_synthetic_data_say_so_on_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    files = figures._files

    def spy(drawing: canvas.Drawing) -> tuple[bytes, bytes]:
        titles.append(drawing.figure.axes[0].get_title(loc="right"))
        return files(drawing)

    monkeypatch.setattr(figures, "_files", spy)
    table = losses()
    write_figures(table, told(), tmp_path)
    assert set(titles) == {"SYNTHETIC DATA"}
    titles.clear()
    measured = table.model_copy(update={"dataset": table.dataset.model_copy(update={"synthetic": False})})
    write_figures(measured, told(), tmp_path)
    assert len(titles) == 4  # the earlier ones do not stand for these
    assert set(titles) == {""}
