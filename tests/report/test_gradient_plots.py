"""Figures of the modalities in training: what lines stand where, captions, page and files, names that attack."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import suppression_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import HOSTILE, losses
from test_study_page import Page, assert_self_contained

from mmablate.analysis.building import build_table
from mmablate.analysis.details import load_details
from mmablate.analysis.suppression import GRADIENTS, WEAKNESS, Looks, Point, RowLooks, Suppression
from mmablate.cli.tables import write_study_page
from mmablate.report import canvas
from mmablate.report.canvas import PAGE, PAPER
from mmablate.report.figures import write_drawings
from mmablate.report.gradient_plots import GRADIENTS_GROUP, MOST_LINES, WEAKNESS_GROUP, suppression_drawings
from mmablate.report.study_page import render_study
from mmablate.report.suppression_view import suppression_view
from mmablate.results import RunError


def found(tmp_path: Path, **changes: Any) -> Suppression:
    suppression = load_details(samples.write(tmp_path, **changes)).suppression
    assert suppression is not None
    return suppression


def track(*values: float, interval: float | None = None) -> tuple[Point, ...]:
    return tuple(
        Point(
            2 * i, value, None if interval is None else (value - interval, value + interval), 1 if not interval else 3
        )
        for i, value in enumerate(values, start=1)
    )


def looks(*modalities: str, left: tuple[float, ...] = (0.5, 0.7), **changes: Any) -> Looks:
    """One row; every modality has the same values."""
    about = {
        "larger": track(0.6, 0.7), "positive": track(0.2, 0.3), "larger_given": track(1.0, 1.0),
        "larger_otherwise": track(0.5, 0.6), "surer_given": track(1.0, 1.0), "left": track(*left),
    }  # fmt: skip
    row = RowLooks("joint", dict.fromkeys(modalities, about))
    fields: dict[str, Any] = {
        "rows": (row,), "drawn": (0,), "n_unread": 0, "n_seeds": (1, 1), "samples": (256, 256), "confidence": 0.95,
    }  # fmt: skip
    return Looks(**(fields | changes))


def test_lines_stand_where_the_numbers_are(tmp_path: Path) -> None:
    suppression = found(tmp_path)
    drawn = suppression_drawings(suppression)
    assert [d.group for d in drawn] == [GRADIENTS_GROUP] * 6 + [WEAKNESS_GROUP] * 2
    upper, lower = drawn[0].figure.axes
    rule, *lines = upper.get_lines()
    assert set(rule.get_ydata()) == {100.0}
    assert suppression.gradients is not None
    row = suppression.gradients.rows[0]
    expected = [
        ("audio", "larger_given", "-"), ("audio", "larger_otherwise", "--"),
        ("video", "larger_given", "-"), ("video", "larger_otherwise", "--"),
    ]  # fmt: skip
    assert len(lines) == 4
    for line, (modality, quantity, style) in zip(lines, expected, strict=True):
        points = row.modalities[modality][quantity]
        assert list(line.get_xdata()) == [p.epoch for p in points]
        assert np.asarray(line.get_ydata()) == pytest.approx([100 * p.mean for p in points])
        assert line.get_linestyle() == style
        assert line.get_color() == PAGE.bars[1 + ("audio", "video").index(modality)]
    rule, *lines = lower.get_lines()
    assert set(rule.get_ydata()) == {1.0}
    assert [np.asarray(line.get_ydata()) for line in lines] == [
        pytest.approx([p.mean for p in row.modalities[m]["left"]]) for m in ("audio", "video")
    ]


def test_where_nobody_knows_the_condition_all_samples_are_drawn(tmp_path: Path) -> None:
    suppression = found(tmp_path, rows=("joint", "dgl_film"))
    drawn = suppression_drawings(suppression)
    _, *lines = drawn[1].figure.axes[0].get_lines()
    assert suppression.gradients is not None
    row = suppression.gradients.rows[1]
    assert [np.asarray(line.get_ydata()) for line in lines] == [
        pytest.approx([100 * p.mean for p in row.modalities[m]["larger"]]) for m in ("audio", "video")
    ]
    assert [entry.dash for entry in drawn[0].legend if entry.label == "all samples"] == [2]
    assert "dotted: of all samples" in drawn[0].note
    only = suppression_drawings(found(tmp_path / "joint", rows=("joint",)))
    assert "dotted" not in only[0].note
    assert "all samples" not in [entry.label for entry in only[0].legend]


def test_weakness_has_three_axes_with_the_null_dashed(tmp_path: Path) -> None:
    drawn = suppression_drawings(found(tmp_path, rows=samples.UNIQUE_ROWS))[2:]
    assert len(drawn) == 2
    strength, unique, beta = drawn[0].figure.axes
    assert [line.get_linestyle() for line in unique.get_lines()] == ["-", "--", "-", "--"]
    assert (len(strength.get_lines()), len(beta.get_lines())) == (2, 2)
    assert [axes.get_ylim() for axes in drawn[0].figure.axes] == [axes.get_ylim() for axes in drawn[1].figure.axes]
    heights = [axes.get_position() for axes in drawn[0].figure.axes]
    assert heights[0].y0 > heights[1].y1 > heights[1].y0 > heights[2].y1 > heights[2].y0 > 0
    assert heights[0].y1 <= 1
    assert "95 % of shuffles" in drawn[0].note


def test_captions_tell_condition_samples_seeds_and_what_is_left_out(tmp_path: Path) -> None:
    (drawing,) = suppression_drawings(found(tmp_path, rows=("joint",)))
    for text in ("condition of the claim", "256 training samples a look", "mean over 5 seeds", "95 % intervals"):
        assert text in drawing.note, text
    assert "left out" not in drawing.note
    (drawing,) = suppression_drawings(Suppression(looks("a", samples=None), None))
    assert "one seed a row" in drawing.note
    assert "training samples" not in drawing.note
    many = looks(*(f"m{i}" for i in range(9)), n_seeds=(2, 5), n_left_out=3, n_unread=4, samples=(7, 256))
    (drawing,) = suppression_drawings(Suppression(many, None))
    for text in ("mean over 2–5 seeds", "7–256 training samples", "3 entries of the histories are no possible values",
                 "4 further rows were not looked at", f"{MOST_LINES} of 9 modalities"):  # fmt: skip
        assert text in drawing.note, text
    assert "bands" not in drawing.note
    assert len(drawing.figure.axes[1].get_lines()) == 1 + MOST_LINES
    three = looks("a", rows=looks("a").rows * 8, drawn=(0, 7), n_left_out=1)
    drawn = suppression_drawings(Suppression(three, None))
    assert len(drawn) == 2
    assert "2 of 8 rows" in drawn[0].note
    assert "1 entry of the histories is no" in drawn[0].note


def test_bands_of_shares_end_where_shares_do() -> None:
    about = {"larger": track(0.98, interval=0.1), "left": track(0.5, interval=0.1)}
    row = RowLooks("film", {"a": about})
    (drawing,) = suppression_drawings(Suppression(looks("a", rows=(row,), n_seeds=(3, 3)), None))
    (band,) = drawing.figure.axes[0].collections
    ys = np.concatenate([path.vertices[:, 1] for path in band.get_paths()])
    assert (ys.min(), ys.max()) == (pytest.approx(88.0), 100.0)


@pytest.mark.parametrize(
    ("left", "scale"), [((0.5, 0.7), "linear"), ((0.01, 0.7), "log"), ((0.0, 0.7), "linear"), ((5e4, 1e-3), "log")]
)
def test_ratios_far_apart_stand_on_a_logarithmic_axis(left: tuple[float, ...], scale: str) -> None:
    (drawing,) = suppression_drawings(Suppression(looks("a", "b", left=left), None))
    lower = drawing.figure.axes[1]
    assert lower.get_yscale() == scale
    low, high = lower.get_ylim()
    assert low <= min(left)
    assert high >= max(1.0, *left)
    assert ("logarithmic" in drawing.note) == (scale == "log")
    canvas.inline_svg(drawing.figure, "p")


def test_one_epoch_is_a_dot() -> None:
    about = {"larger": track(0.6), "left": track(0.5)}
    one = looks("a", rows=(RowLooks("r", {"a": about}),))
    for drawing in suppression_drawings(Suppression(one, None)):
        for axes in drawing.figure.axes:
            assert axes.get_lines()[-1].get_marker() == "o"
            low, high = axes.get_xlim()
            assert low < 2 < high


def test_a_row_without_a_quantity_has_empty_axes() -> None:
    rows = (RowLooks("r", {"a": {"strength": track(-0.4, 0.1)}}), RowLooks("s", {"b": {"beta": track(0.1)}}))
    drawn = suppression_drawings(Suppression(None, looks("a", rows=rows, drawn=(0, 1))))
    assert [[len(axes.get_lines()) for axes in d.figure.axes] for d in drawn] == [[2, 0, 0], [1, 0, 1]]
    assert drawn[0].figure.axes[0].get_ylim()[0] < -0.4


def test_figures_are_the_same_bytes_and_never_complain(tmp_path: Path) -> None:
    suppression = found(tmp_path, rows=("joint", "dgl+unique"))
    texts = [
        [canvas.inline_svg(d.figure, "p") for d in suppression_drawings(suppression, decimal=decimal)]
        for decimal in (".", ".", ",")
    ]
    assert texts[0] == texts[1] != texts[2]


def test_the_page_shows_figures_and_numbers(tmp_path: Path) -> None:
    store = samples.write(tmp_path, rows=("dgl+unique",), seeds=(0, 1))
    table, path = write_study_page(store)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert_self_contained(page)
    assert "modalities" in [s.get("id") for s in page.all("section")]
    anchors = [a["href"] for a in page.all("a")]
    assert anchors[:2] == ["#training", "#modalities"]
    section = text.partition('<section id="modalities">')[2].partition("</section>")[0]
    assert "SYNTHETIC DATA" in section
    assert section.index(GRADIENTS_GROUP.replace("'", "&#39;")) < section.index(WEAKNESS_GROUP)
    assert section.count('role="img"') == 2
    rows = re.findall(r"<tr><th.*?</tr>", section, flags=re.DOTALL)
    assert len(rows) == 2 * (1 + 1)  # a line a row and modality
    names = {p.name for p in (store.folder / "figures").iterdir()}
    stems = ("gradients_dgl_unique", "weakness_dgl_unique")
    assert {f"{stem}.{kind}" for stem in stems for kind in ("svg", "pdf")} <= names
    marked = suppression_drawings(load_details(store).suppression, PAPER)[0]  # type: ignore[arg-type]
    write_drawings([marked], tmp_path / "again", synthetic=True)
    files = [folder / "gradients_dgl_unique.svg" for folder in (tmp_path / "again", store.folder / "figures")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert marked.figure.axes[0].get_title(loc="right") == "SYNTHETIC DATA"
    assert table.dataset.synthetic


def test_the_numbers_are_those_of_the_last_epoch(tmp_path: Path) -> None:
    store = samples.write(tmp_path)
    suppression, table = load_details(store).suppression, build_table(store)
    assert suppression is not None
    view = suppression_view(suppression, table.model_copy(update={"decimal": ","}))
    first, second = view.tables[0].lines[:2]
    assert (str(first.row), first.modality, first.epoch, first.seeds) == ("joint", "audio", "8", "5")
    assert second.modality == "video"
    larger = [100 * samples.gradients("joint", seed, 8)["audio"]["larger"] for seed in range(5)]
    assert first.cells[0].text == f"{np.mean(larger):.1f}".replace(".", ",")
    assert re.fullmatch(r"\[\d+,\d; \d+,\d\]", first.cells[0].interval)
    film = next(line for line in view.tables[0].lines if str(line.row) == "dgl_film")
    assert [cell.text == "–" for cell in film.cells] == [False, True, True, True, True, False]
    assert float(first.cells[5].key) == pytest.approx(
        np.mean([samples.gradients("joint", seed, 8)["audio"]["left"] for seed in range(5)])
    )
    assert view.synthetic
    assert len(view.tables[1].lines) == 4


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    hostile = looks(
        HOSTILE, "\ud800", "$x_1$", rows=(RowLooks(HOSTILE, looks(HOSTILE, "\ud800", "$x_1$").rows[0].modalities),)
    )
    store = samples.write(tmp_path, rows=("joint",), seeds=(0,))
    details = load_details(store)
    odd = details.__class__(**{**vars(details), "suppression": Suppression(hostile, hostile)})
    text = render_study(losses(), details=odd)
    page = Page(text)
    assert_self_contained(page)
    assert len(page.scripts) == 1
    assert "\x1b" not in text
    text.encode()
    assert page.text.count("<script>alert('x')</script>") >= 4
    drawn = suppression_drawings(Suppression(hostile, None), PAPER)
    written = write_drawings(drawn, tmp_path / "figures", synthetic=True)
    assert [p.parent for p in written] == [tmp_path / "figures"] * 2
    assert all(re.fullmatch(r"[a-z0-9_-]+\.(svg|pdf)", p.name) for p in written)


QUANTITIES = st.dictionaries(st.sampled_from([*GRADIENTS, *WEAKNESS]), st.none() | st.floats(0, 1e90), max_size=4)
EPOCHS = st.integers(0, 10**9)


LOOKS = st.dictionaries(st.text(max_size=3), QUANTITIES, max_size=9)


@given(st.lists(st.fixed_dictionaries({"epoch": EPOCHS, "gradients": LOOKS, "unique": LOOKS}), max_size=3))
@settings(max_examples=12, deadline=None)
def test_whatever_can_be_read_can_be_drawn(tmp_path_factory: pytest.TempPathFactory, lines: list[Any]) -> None:
    store = samples.write(tmp_path_factory.mktemp("any"), rows=("joint",), seeds=(0,))
    (store.run_folder("joint-0") / "history.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    suppression = load_details(store).suppression
    if suppression is not None:
        view = suppression_view(suppression, losses())
        assert view.plots
        assert sum(len(one.lines) for one in view.tables) >= 1


def test_a_page_of_a_study_without_looks_has_no_such_section(tmp_path: Path) -> None:
    store = samples.write(tmp_path, rows=("video_only",))
    text = render_study(build_table(store), details=load_details(store))
    assert 'id="modalities"' not in text


def test_the_section_is_linked_behind_training_whatever_stands_before(tmp_path: Path) -> None:
    store = samples.write(tmp_path, rows=("joint",), seeds=(0, 1))
    error = RunError(type="Boom", message="it broke", step=3)
    broken = samples.record("joint-1", "joint", 1, status="failed", error=error, metrics={})
    (store.run_folder("joint-1") / "record.json").write_text(broken.model_dump_json(), encoding="utf-8")
    page = Page(render_study(build_table(store), details=load_details(store)))
    linked = [a["href"] for a in page.all("a")]
    assert linked[:3] == ["#failures", "#training", "#modalities"]
    assert [f"#{s['id']}" for s in page.all("section")][1:4] == linked[:3]
