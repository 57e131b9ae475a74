"""Contact sheets: well-formed, self-contained, everything escaped, each picture once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import HOSTILE
from test_study_page import COLOURS, VOID, Page, assert_self_contained, opened, shown

from mmablate.analysis.class_samples import ClassRow, ClassSample, ClassSheet, Said, SampleKey, Vote
from mmablate.analysis.ranked_scenes import RankedRow, RankedScenes
from mmablate.report import confusion, sheet_pictures
from mmablate.report.contact_sheet import DrawnSample, SheetAbout, percent, render_contact_sheet
from mmablate.report.scene_sheet import render_scene_sheet

NAMES = ("cat", "dog", "owl")
ABOUT = SheetAbout("A study", dataset="made", attribution="From a test.")


def sample(place: int, truth: int = 0, predicted: int = 1, *, text: str = "", seed: int | None = None) -> ClassSample:
    right = truth == predicted
    said = (Said(0, predicted, 0.9, 0.9 if right else 0.05, right), Said(3, truth, 0.6, 0.6, True))
    votes = {"unimodal/audio": Vote(truth, 0.7, 2, 2), "extra": Vote(2, 0.4, 1, 2)}
    key = SampleKey(place, text or f"clip{place}", truth, seed)
    return ClassSample(key, said, Vote(predicted, 0.9, 1, 2), 0.3, 0.0 if right else 0.5, votes)


def row(name: str = "L_sup", k: int = 3, text: str = "", **changes: object) -> ClassRow:
    counts = np.full((k, k), 1) + 8 * np.eye(k, dtype=int)
    worst = (sample(0, text=text), sample(1, 1, 2))
    made = ClassRow(name, text or name, (0, 3), (80.0, 82.5), 40, 30, 2, worst, (sample(1, 1, 2), sample(2)),
                    (sample(3, 2, 2),), counts)  # fmt: skip
    return replace(made, **changes)


def sheet(rows: tuple[ClassRow, ...] | None = None, **changes: object) -> ClassSheet:
    return replace(ClassSheet(rows or (row(), row("L_kd")), NAMES, (), (), True), **changes)


def drawn(made: ClassSheet, text: str = "") -> dict[SampleKey, DrawnSample]:
    stream = np.random.default_rng(0)
    found = {}
    for key in made.samples():
        sound = stream.integers(0, 256, (12, 20, 3)).astype(np.uint8)
        strip = stream.integers(0, 256, (2, 64, 3)).astype(np.uint8)
        found[key] = DrawnSample({"audio": sound, text or "video": strip}, {"weather": text or "fog"})
    return found


def styles(page: str) -> dict[str, str]:
    return dict(re.findall(r'\.(p\d+) \{ background-image: url\("(data:image/png;base64,[^"]+)"\); \}', page))


def test_the_sheet_is_one_page_that_asks_for_nothing() -> None:
    made = sheet()
    text = render_contact_sheet(ABOUT, made, drawn(made))
    page = Page(text)
    assert_self_contained(page)
    assert "SYNTHETIC DATA" in page.text
    assert "81.25 %" in page.text
    assert [a["href"] for a in page.all("a")][:2] == ["#r1", "#r2"]
    assert "cat taken for dog (90 %)" in re.sub(r"\s+", " ", page.text)
    assert "1 of the 2 most confident errors stands above." in page.text
    titles = {attributes.get("title") for attributes in page.all("span")}
    assert {"seed 0: dog (90 %); the true class 5 %", "seed 3: cat (60 %)"} <= titles
    assert "extra: owl (40 %)" in page.text  # no picture is called so
    assert "fog" in page.text
    assert "SYNTHETIC" not in render_contact_sheet(ABOUT, replace(made, synthetic=False), {})


def test_each_picture_stands_there_once() -> None:
    made = sheet()
    text = render_contact_sheet(ABOUT, made, drawn(made))
    uris = styles(text)
    assert len(made.samples()) == 4
    assert len(uris) == len(set(uris.values())) == 4 * 2
    used = re.findall(r'class="pic (p\d+)', text)
    assert len(used) == 2 * 2 * 4  # rows, modalities; two worst, one further error and one best
    assert set(used) == set(uris)
    assert opened(uris["p0"]).shape == (12, 20, 3)
    labelled = [s for s in Page(text).all("span") if s.get("class", "").startswith("pic")]
    assert all(s["role"] == "img" and s["aria-label"] for s in labelled)


def test_samples_without_pictures_are_listed_all_the_same() -> None:
    text = render_contact_sheet(replace(ABOUT, warnings=("No data.",)), sheet(), {})
    page = Page(text)
    assert styles(text) == {}
    assert "No data." in page.text
    assert "clip3" in page.text
    assert "unimodal/audio: owl (70 %)" in page.text


def test_a_sheet_has_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    made = sheet()
    most = len(render_contact_sheet(ABOUT, made, drawn(made)))
    monkeypatch.setattr(sheet_pictures.SheetPictures.__init__, "__defaults__", (3000,))
    text = render_contact_sheet(ABOUT, made, drawn(made))
    assert 0 < sum(map(len, styles(text).values())) <= 3000
    assert len(text) < most
    assert "further pictures are left out" in Page(text).text


def test_hostile_names_stay_text() -> None:
    made = sheet((row(text=HOSTILE),), class_names=(HOSTILE, "dog", "owl"), missing=(HOSTILE,), faults=(HOSTILE,))
    about = SheetAbout(HOSTILE, HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), (HOSTILE,))
    text = render_contact_sheet(about, made, drawn(made, HOSTILE))
    page = Page(text)
    assert_self_contained(page)
    assert "<script>" not in text
    assert page.scripts == []
    assert page.text.count("<script>alert('x')</script>") > 10
    assert "\x1b" not in text


@given(st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=25, deadline=None)
def test_any_text_gives_a_page(name: str, ident: str) -> None:
    made = sheet((row(text=ident),), class_names=(name, "dog", "owl"))
    assert_self_contained(Page(render_contact_sheet(replace(ABOUT, title=name), made, drawn(made, name))))


def test_matrices_of_few_classes_are_drawn_and_of_many_are_pictures() -> None:
    svg = str(confusion.matrix_svg(np.array([[9, 1], [0, 4]]), ("cat", "<dog>"), "t"))
    assert svg.count("<rect") == 3 + 1  # empty cells are not drawn; the frame is
    assert "cat, predicted &lt;dog&gt;: 1 of 10 (10 %)" in svg
    assert svg.count('class="right"') == 2
    big = row(k=30)
    text = render_contact_sheet(ABOUT, sheet((big,), class_names=tuple(f"c{i}" for i in range(30))), {})
    assert "<svg" not in text
    assert len(styles(text)) == 1


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_matrix_pixels(k: int, start: int) -> None:
    counts = np.random.default_rng(start).integers(0, 4, (k, k))
    pixels = confusion.matrix_pixels(counts)
    assert ((pixels[..., 3] > 0) == (counts > 0)).all()
    for i in range(k):
        assert tuple(pixels[i, i, :3]) == confusion.RIGHT
        strong = pixels[i, :, 3].astype(int)
        assert (np.diff(strong[np.argsort(counts[i], kind="stable")]) >= 0).all()
    assert confusion.shares(counts).sum(axis=1) == pytest.approx([float(row.sum() > 0) for row in counts])


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0"), (1, "100"), (0.004, "<1"), (0.5, "50"), (0.9951, "99.5"), (0.99999, "99.9")]
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def ranked(text: str = "", n_left_out: int = 1) -> RankedScenes:
    scenes = shown(2)
    label = text or "L_sup"
    one = replace(scenes, rows=(label,), scenes=tuple(replace(s, predictions=s.predictions[:1]) for s in scenes.scenes))
    rows = [RankedRow(n, label, (0, 1), one, (10.0, None), ({0: 5.0, 1: 15.0}, {0: None}), n_left_out) for n in "ab"]
    return RankedScenes(tuple(rows), (text,) if text else (), True)


def test_the_sheet_of_scenes() -> None:
    text = render_scene_sheet(ABOUT, ranked())
    page = Page(text)
    assert_self_contained(page)
    assert "SYNTHETIC DATA" in page.text
    assert "mIoU 10.0 %" in page.text
    assert "no labels" in page.text
    assert "--samples shows more" in page.text
    uris = styles(text)
    # Two scenes of one input, truth, two predictions and their errors; the second row shows them again.
    assert len(uris) == len(set(uris.values())) == 2 * (2 + 2 * 2)
    assert len(re.findall(r'class="pic (p\d+)', text)) == 2 * len(uris)
    pixels = opened(uris["p1"])
    labels = shown(2).scenes[0].labels
    assert tuple(pixels[3, 3]) == COLOURS[labels[3, 3]]
    assert labels[0, 0] == VOID
    assert tuple(pixels[0, 0]) in {(0, 0, 0), (92, 92, 96)}


def test_hostile_scenes_stay_text() -> None:
    text = render_scene_sheet(SheetAbout(HOSTILE), ranked(HOSTILE))
    assert_self_contained(Page(text))
    assert "<script>" not in text


def test_no_machine_path_in_the_page() -> None:
    made = sheet()
    assert str(Path.cwd()) not in render_contact_sheet(ABOUT, made, drawn(made))
