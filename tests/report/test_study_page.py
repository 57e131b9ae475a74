"""Pages with pictures: the study's predictions, tables of single conditions, and the page of a dataset."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from report_samples import HOSTILE, effects, losses

from mmablate.analysis.scenes import Prediction, Scene, Scenes
from mmablate.report import images, scenes, script
from mmablate.report.data_page import DataCard, ShownSample, render_data_page
from mmablate.report.study_page import render_study

COLOURS = ((10, 20, 200), (20, 160, 40), (128, 64, 128))
VOID = 255


def scene(number: int, shape: tuple[int, int] = (6, 8), *, rows: int = 2, subsets: int = 2, text: str = "") -> Scene:
    stream = np.random.default_rng(number)
    labels = stream.integers(0, 3, size=shape)
    labels[0, :3] = VOID
    cells = tuple(
        tuple(Prediction(stream.integers(0, 3, size=shape), 12.34, 56.78) for _ in range(subsets)) for _ in range(rows)
    )
    picture = stream.integers(0, 256, size=(*shape, 3)).astype(np.uint8)
    return Scene(text or f"scene{number}", {"weather": text or "fog"}, {text or "F": picture}, labels, cells)


def shown(n: int = 2, **changes: object) -> Scenes:
    made = Scenes(
        split="test",
        rows=("L_sup", "L_sup + λL_mad"),
        seeds=(0,),
        subsets=("F", "FEL"),
        scenes=tuple(scene(i) for i in range(n)),
        class_names=("water", "forest", "road"),
        colours=COLOURS,
        ignore_label=VOID,
        synthetic=True,
    )
    return replace(made, **changes)


def card(**changes: object) -> DataCard:
    labels = np.array([[0, 1, VOID], [2, 2, 1]])
    picture = np.zeros((2, 3, 3), dtype=np.uint8)
    made = DataCard(
        name="made",
        synthetic=True,
        attribution="From a test.",
        notes=("7 samples were dropped.",),
        facts=(("modalities", "F (3 channels)"),),
        splits={"train": "training", "test": "test"},
        sizes={"train": 1234, "test": 5},
        class_names=("water", "forest", "road"),
        colours=COLOURS,
        ignore_label=VOID,
        class_pixels={"train": (1000, 3, 0), "test": (5, 5, 10)},
        class_shares={"train": (0.997, 0.003, 0.0), "test": (0.25, 0.25, 0.5)},
        labelled={"train": 0.9, "test": 1.0},
        conditions={"time_of_day": {"day": {"train": 1234, "test": 2}, "night": {"test": 3}}},
        samples=(ShownSample("training", "a/b", {"time_of_day": "day"}, {"F": picture}, labels),),
    )
    return replace(made, **changes)


class Page(HTMLParser):
    """Tags, attributes and text; fails on an end tag that closes nothing."""

    VOIDS = ("meta", "img", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOIDS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


def opened(uri: str) -> np.ndarray:
    """The RGB pixels of a data URI."""
    head, _, code = uri.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(code))) as image:
        assert image.mode == "P"
        return np.asarray(image.convert("RGB"))


def assert_self_contained(page: Page) -> None:
    assert {tag for tag, _ in page.found}.isdisjoint({"link", "iframe", "object", "form", "base"})
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.found:
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            if name == "src":
                assert value.startswith("data:image/png;base64,")
            if name == "href":
                assert value[1:] in ids
            if name in ("for", "headers"):
                assert value in ids
    for image in page.all("img"):
        assert image["alt"]
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    start = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    assert page.scripts == ([] if policy == start else [script.page_script()])  # which the policy knows by its hash
    for code in page.scripts:
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert policy == f"{start}; script-src 'sha256-{digest}'"


# --- pictures ---------------------------------------------------------------------------------------------


def test_a_class_map_has_the_colours_of_its_classes_and_a_hatch_where_void() -> None:
    labels = np.array([[0, 1, 2], [VOID, -1, 77]])
    pixels = opened(images.classes_uri(labels, COLOURS, labels == VOID))
    assert [tuple(p) for p in pixels[0]] == list(COLOURS)
    assert {tuple(p) for p in pixels[1]} <= {(0, 0, 0), (92, 92, 96)}
    assert {tuple(p) for p in opened(images.classes_uri(np.zeros((9, 9), int), COLOURS, np.ones((9, 9), bool)))[0]} == {
        (0, 0, 0),
        (92, 92, 96),
    }


def test_errors_are_red_where_the_map_is_wrong() -> None:
    labels, said = np.array([[0, 1, 2, VOID]]), np.array([[0, 2, 2, 0]])
    right, wrong, also, void = (
        tuple(int(c) for c in p) for p in opened(images.errors_uri(said, labels, labels == 255))[0]
    )
    assert right == also != wrong
    assert wrong[0] > 2 * wrong[1]
    assert void in ((0, 0, 0), (92, 92, 96))


@given(st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=30, deadline=None)
def test_pictures_stay_small_and_class_maps_as_large_as_they(height: int, width: int) -> None:
    picture = opened(images.picture_uri(np.zeros((height, width, 3), dtype=np.uint8)))
    classes = np.zeros((height, width), dtype=int)
    assert max(picture.shape) <= images.LONGEST
    assert max(picture.shape) <= images.LARGEST or width > 4 * height
    assert opened(images.classes_uri(classes, COLOURS, classes == VOID)).shape == picture.shape
    assert opened(images.errors_uri(classes, classes, classes == VOID)).shape == picture.shape


def test_a_picture_keeps_its_colours() -> None:
    ramp = np.zeros((16, 16, 3), dtype=np.uint8)
    ramp[..., 0] = np.arange(16) * 16
    ramp[..., 2] = 200
    assert np.abs(opened(images.picture_uri(ramp)).astype(int) - ramp).max() <= 16


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(100, 300))
def test_a_picture_on_the_page_fits_its_room(height: int, width: int, room: int) -> None:
    shown_width, crisp = scenes.display_width((height, width), room)
    wide = width > 4 * height
    assert 0 <= shown_width <= room * (2 if wide else 1)
    if max(height, width) * 2 <= room:
        assert crisp
        assert shown_width % width == 0


# --- the study's page -------------------------------------------------------------------------------------


def test_the_page_shows_inputs_truth_and_each_rows_predictions() -> None:
    made = shown()
    text = render_study(losses(), [], made)
    page = Page(text)
    assert_self_contained(page)
    pictures = page.all("img")
    per_scene = 2 + 2 * (2 * 2)  # F and truth; classes and errors of two rows by two subsets
    assert len(pictures) == 2 * per_scene
    first = made.scenes[0]
    void = first.labels == VOID
    assert pictures[1]["src"] == images.classes_uri(first.labels, COLOURS, void)
    assert pictures[2]["src"] == images.classes_uri(first.predictions[0][0].classes, COLOURS, void)
    assert pictures[3]["src"] == images.errors_uri(first.predictions[0][0].classes, first.labels, void)
    assert pictures[4]["src"] == images.classes_uri(first.predictions[0][1].classes, COLOURS, void)
    assert pictures[2]["alt"] == "L_sup from F: mIoU 12.3 %, 56.8 % of the pixels right"
    assert "as-classes" in pictures[2]["class"]
    assert "as-errors" in pictures[3]["class"]
    details = [attributes for attributes in page.all("details") if "block" not in attributes.get("class", "")]
    assert ["open" in attributes for attributes in details] == [True, False]
    for word in ("scene0", "fog", "truth", "FEL", "water", "forest", "road", "no label", "seed 0 of each row", "12.3"):
        assert word in page.text


def test_synthetic_scenes_are_marked_in_their_own_section_and_only_they() -> None:
    plain = losses()
    plain = plain.model_copy(update={"dataset": plain.dataset.model_copy(update={"synthetic": False})})
    section = render_study(plain, [], shown()).partition('<section id="scenes"')[2]
    assert "SYNTHETIC DATA" in section
    assert "SYNTHETIC DATA" not in render_study(plain, [], shown(synthetic=False))


def test_a_prediction_that_is_missing_or_without_labels_has_a_place_without_a_number() -> None:
    one = scene(0)
    nothing = Prediction(one.labels, None, None)
    odd = replace(one, predictions=((None, nothing), one.predictions[1]))
    page = Page(render_study(losses(), [], shown(scenes=(odd,))))
    assert len(page.all("img")) == 2 + 2 * 3
    assert "None" not in page.text
    assert "nan" not in page.text.lower()


def test_scenes_that_do_not_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = render_study(losses(), [], shown(4))
    assert "left out" not in whole
    monkeypatch.setattr(scenes, "MOST_BYTES", 1)
    page = Page(render_study(losses(), [], shown(4)))
    assert len([d for d in page.all("details") if "class" not in d]) == 1
    assert "3 further scenes are left out" in page.text


def test_large_scenes_make_no_large_page() -> None:
    big = shown(scenes=tuple(scene(i, (540, 960), rows=4, subsets=4) for i in range(3)), rows=tuple("abcd"))
    assert len(render_study(losses(), [], replace(big, subsets=tuple("FELX")))) < 4_000_000


def test_tables_of_conditions_stand_below_and_do_not_repeat_the_notes() -> None:
    main = losses()
    night = main.model_copy(
        update={"condition": "night", "title": f"{main.title}: night only", "notes": ("Only night.", *main.notes)}
    )
    text = render_study(main, [night], shown())
    page = Page(text)
    assert_self_contained(page)
    assert len(page.all("h1")) == 1
    assert text.count("One teacher a seed.") == 1
    assert text.count("Only night.") == 1
    section = text.partition('<section id="t2"')[2].partition("<section")[0]
    assert "SYNTHETIC DATA" in section
    assert "night only" in section
    assert [link["href"] for link in page.all("a")] == ["#t2", "#scenes"]
    assert Page(render_study(main)).all("a") == []


def test_hostile_text_stays_text_on_both_pages() -> None:
    odd = shown(
        rows=(HOSTILE, HOSTILE),
        subsets=(HOSTILE, "FEL"),
        class_names=(HOSTILE, "b", "c"),
        split=HOSTILE,
        scenes=(scene(0, text=HOSTILE),),
    )
    data = card(
        name=HOSTILE,
        attribution=HOSTILE,
        notes=(HOSTILE,),
        facts=((HOSTILE, HOSTILE),),
        class_names=(HOSTILE, "b", "c"),
        conditions={HOSTILE: {HOSTILE: {"train": 1}}},
        samples=(replace(card().samples[0], id=HOSTILE, split=HOSTILE, conditions={"w": HOSTILE}),),
    )
    for text in (render_study(losses(), [], odd), render_data_page(data)):
        page = Page(text)
        assert_self_contained(page)
        assert len(page.scripts) <= 1  # ours
        assert "<script>alert('x')</script>" in page.text
        assert "\x1b" not in text


def test_links_leave_out_the_title_that_stands_above_them() -> None:
    main = losses()
    own = [effects().model_copy(update={"title": f"{main.title}: main effects"}), effects()]
    text = render_study(main, effects=own)
    assert re.findall(r'<a href="#t\d">([^<]*)</a>', text) == ["main effects", "Main effects and interaction"]
    assert f"<h2>{main.title}: main effects</h2>" in text


# --- the page of a dataset --------------------------------------------------------------------------------


def test_the_page_of_a_dataset_says_what_the_card_says() -> None:
    text = render_data_page(card())
    page = Page(text)
    assert_self_contained(page)
    for word in ("made", "1,234 training samples", "5 test samples", "From a test.", "7 samples were dropped.",
                 "99.7 %", "0.30 %", "50.0 %", "0 %", "time of day", "night", "a/b"):  # fmt: skip
        assert word in page.text, word
    assert "1,000 pixels" in text
    lengths = [float(x) for x in re.findall(r"<i style=\"width: ([\d.]+)%", text)]
    assert lengths == pytest.approx([100, 25.08, 0.3, 25.08, 0, 50.15], abs=0.01)
    assert len(page.all("img")) == 2
    colours = set(re.findall(r"background: (#[0-9a-f]{6})\"", text))
    assert colours == {"#0a14c8", "#14a028", "#804080"}


def test_generated_data_are_marked_at_the_top_and_measured_ones_not() -> None:
    marked = Page(render_data_page(card())).text
    assert marked.index("SYNTHETIC DATA") < marked.index("Classes")
    assert "generated, not measured" in marked
    plain = Page(render_data_page(card(synthetic=False))).text.lower()
    assert "synthetic" not in plain
    assert "generated" not in plain


def test_the_command_writes_the_page(tmp_path, mmablate) -> None:
    done = mmablate("data", "info", "landsat", "--html", "pages/landsat.html")
    assert done.code == 0, done.err
    assert done.out == ""
    page = Page((tmp_path / "pages/landsat.html").read_text(encoding="utf-8"))
    assert_self_contained(page)
    assert len(page.all("img")) == 12 * 4
    assert "CC BY-SA 3.0" in page.text
    assert "126 training samples" in page.text


def test_the_terminal_card_keeps_its_form(mmablate) -> None:
    done = mmablate("data", "info", "landsat")
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    assert "always forest" in done.out


def test_data_of_one_label_a_sample_are_counted_in_samples() -> None:
    pictures = {"audio": np.zeros((40, 60, 3), np.uint8), "video": np.zeros((24, 24, 3), np.uint8)}
    some = [
        ShownSample("training", f"clip{k}", {"sex": "female"}, pictures, np.array(label))
        for k, label in enumerate((1, VOID))
    ]
    text = render_data_page(card(counted="samples", samples=tuple(some)))
    page = Page(text)
    assert_self_contained(page)
    assert "share of the labelled samples" in page.text
    assert "samples that carry a class" in page.text
    assert "pixel" not in page.text
    assert "1,000 samples" in text
    chips = re.findall(r'class="chip">([^<]+)<', text)
    assert chips[-4:] == ["forest", "female", "no label", "female"]
    assert [image["alt"] for image in page.all("img")] == ["modality audio", "modality video"] * 2
