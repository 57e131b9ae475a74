"""Saliency of a study: which runs it is of, its CSV, figures, summary, and its section of the page."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import classification_samples as samples
import numpy as np
import pytest
from report_samples import HOSTILE
from rich.console import Console
from test_study_page import Page, assert_self_contained

from mmablate.analysis.saliency import SaliencyRow, StudySaliency, load_saliency, profiles
from mmablate.cli.tables import write_study_page
from mmablate.errors import StoreError
from mmablate.report import canvas, figures
from mmablate.report.saliency import saliency_csv, saliency_drawings, saliency_view, summary
from mmablate.results import StudyStore
from mmablate.results.saliency import SaliencyInfo, write_saliency

LINK = ' href="figures/saliency.csv"'  # the one thing outside of the page, which it names and does not load


def row(seed: int = 0, n: int = 20, **changes: Any) -> SaliencyRow:
    """Random saliency; the known channels are the five most salient ones."""
    stream = np.random.default_rng(seed)
    scores = stream.normal(size=n)
    general = tuple(sorted(int(c) for c in np.argsort(-scores)[:5]))
    low, high = scores.min(), scores.max()
    fields: dict[str, Any] = {
        "run": "1 + focus", "seed": seed, "place": "input", "scores": scores, "normalised": (scores - low) /
        max(high - low, 1e-9), "standard_errors": np.full(n, 0.2), "general": general, "kept": (0, 1), "count": 2,
    }  # fmt: skip
    return SaliencyRow(**{**fields, **changes})


def put(store: StudyStore, run_id: str, seed: int = 0, *, place: str = "input", n: int = 12) -> None:
    stream = np.random.default_rng([seed, n])
    scores = stream.random(n)
    write_saliency(
        store.run_folder(run_id), scores=scores, standard_errors=scores / 10, normalised=scores / scores.max(),
        kept=np.argsort(-scores)[:3], general=[0, 1, 2], durable=False,
        info=SaliencyInfo(place=place, distance="l1", permutations=10, count=3, synthetic=True),
    )  # fmt: skip


def test_csv_has_every_channel_with_its_rank() -> None:
    one, other = row(0), row(1, general=None, kept=None, count=0)
    lines = list(csv.DictReader(io.StringIO(saliency_csv([one, other], synthetic=True))))
    assert len(lines) == 40
    assert list(lines[0]) == ["run", "seed", "place", "channel", "rank", "score", "standard_error", "saliency",
                              "general", "kept", "synthetic"]  # fmt: skip
    assert {line["synthetic"] for line in lines} == {"true"}
    for some, of in ((lines[:20], one), (lines[20:], other)):
        assert [int(line["channel"]) for line in some] == list(range(20))
        assert [float(line["score"]) for line in some] == list(of.scores)
        assert [float(line["saliency"]) for line in some] == list(of.normalised)
        by_rank = sorted(some, key=lambda line: int(line["rank"]))
        assert [int(line["rank"]) for line in by_rank] == list(range(1, 21))
        assert [int(line["channel"]) for line in by_rank] == list(np.argsort(-of.normalised, kind="stable"))
    assert {int(line["channel"]) for line in lines[:20] if line["general"] == "1"} == set(one.general)
    assert [line["kept"] for line in lines[:20]] == ["1", "1", *["0"] * 18]
    assert {(line["general"], line["kept"]) for line in lines[20:]} == {("", "")}


def test_equal_saliency_is_ranked_by_channel_and_unknown_errors_are_empty() -> None:
    flat = row(n=3, scores=[1.0] * 3, normalised=[0.5] * 3, standard_errors=[math.nan] * 3, general=(), kept=None)
    lines = list(csv.DictReader(io.StringIO(saliency_csv([flat]))))
    assert [line["rank"] for line in lines] == ["1", "2", "3"]
    assert [line["standard_error"] for line in lines] == [""] * 3
    assert [line["synthetic"] for line in lines] == ["false"] * 3
    assert flat.n_salient() == 0


def test_no_spreadsheet_executes_a_name() -> None:
    (line, *_) = csv.DictReader(io.StringIO(saliency_csv([row(run="=cmd()", place="+x")])))
    assert (line["run"], line["place"]) == ("'=cmd()", "'+x")


def test_salient_channels_lie_two_standard_errors_above_zero() -> None:
    one = row(n=5, scores=[0.4, 0.39, 0.0, -3.0, 5.0], normalised=[0.0] * 5, standard_errors=[0.2, 0.2, 0.0, 0.1, 9.0],
              general=None)  # fmt: skip
    assert one.n_salient() == 1


def test_a_profile_is_over_ranks() -> None:
    some = [row(seed) for seed in range(4)]
    (profile,) = profiles(some)
    by_rank = np.array([sorted(one.normalised, reverse=True) for one in some])
    np.testing.assert_allclose(profile.mean, by_rank.mean(0))
    np.testing.assert_array_equal(profile.seeds, by_rank)
    assert profile.general == (1.0,) * 5 + (0.0,) * 15
    expected = [np.mean([int(np.argsort(-one.normalised)[rank]) in (0, 1) for one in some]) for rank in range(20)]
    assert profile.kept == pytest.approx(expected)
    assert profile.cut is None


def test_the_cut_is_where_the_first_ranks_are_kept() -> None:
    def kept(seed: int, n: int) -> SaliencyRow:
        one = row(seed)
        return row(seed, kept=tuple(sorted(one.order()[:n])), count=n)

    assert profiles([kept(0, 4), kept(1, 4)])[0].cut == 4
    assert profiles([kept(0, 4), kept(1, 5)])[0].cut is None
    assert profiles([kept(0, 20)])[0].cut is None
    assert profiles([row(0, general=None), row(1)])[0].general is None


def test_places_and_runs_have_a_figure_each() -> None:
    rows = [row(0), row(1), row(0, place="fc"), row(0, run="0 + focus"), row(0, run="0 + focus", n=9)]
    found = saliency_drawings(rows)
    assert [d.heading for d in found] == ["1 + focus, input", "1 + focus, fc", "0 + focus, input", "0 + focus, input"]
    assert len(saliency_drawings([row(0, run=f"r{i}") for i in range(30)])) == 12
    assert "12 of 30 figures" in saliency_drawings([row(0, run=f"r{i}") for i in range(30)])[0].note


@pytest.mark.parametrize("n", [1, 2, 20, 512, 3000])
def test_figures_draw_the_sorted_saliency(n: int) -> None:
    some = [row(s, n=n, general=(0,), kept=None, normalised=np.random.default_rng(s).random(n)) for s in (0, 1)]
    (drawing,) = saliency_drawings(some)
    svg = canvas.inline_svg(drawing.figure, "t")
    assert svg == canvas.inline_svg(saliency_drawings(some)[0].figure, "t")
    found = set(re.findall(r"(?:fill|stroke): ?([^;\"]+)", svg))
    assert found <= {"none"} | {f"var({v})" for v in canvas.VARIABLES.values()}
    assert len(svg) < 120_000
    (axes,) = drawing.figure.axes
    thick = max(axes.patches, key=lambda patch: patch.get_linewidth())
    values, edges, _ = thick.get_data()
    assert (edges[0], edges[-1]) == (0.5, n + 0.5)
    expected = np.mean([sorted(one.normalised, reverse=True) for one in some], axis=0)
    assert values[0] == pytest.approx(expected[0])
    assert values[-1] == pytest.approx(expected[-1])
    if n <= 400:
        np.testing.assert_allclose(values, expected)


def test_known_channels_and_kept_ones_have_their_colour() -> None:
    def fills(one: SaliencyRow) -> set[str]:
        (drawing,) = saliency_drawings([one])
        return set(re.findall(r"fill: var\((--bar\d)\)", canvas.inline_svg(drawing.figure, "t")))

    assert fills(row()) == {"--bar0", "--bar2"}
    assert fills(row(general=None)) == {"--bar0", "--bar1"}
    assert fills(row(general=None, kept=None)) == {"--bar0"}
    labels = [entry.label for entry in saliency_drawings([row()])[0].legend]
    assert labels == ["mean over seeds", "known to be modality-general", "others"]


def test_zero_and_negative_saliency_draw() -> None:
    for values in ([0.0] * 4, [-1.0, 0.0, 2.0, 1.0]):
        (drawing,) = saliency_drawings([row(n=4, scores=values, normalised=values, standard_errors=[0.1] * 4,
                                            general=(1,))])  # fmt: skip
        assert canvas.inline_svg(drawing.figure, "t")


def test_the_summary_tells_channels_and_the_first_ten() -> None:
    one = row(3)
    out = io.StringIO()
    console = Console(file=out, width=80, color_system=None)
    console.print(summary([one, row(4, kept=None, run="[red]x[/red]")], synthetic=True))
    text = out.getvalue()
    assert "SYNTHETIC DATA" in text
    assert "[red]x[/red]" in text
    line = next(line for line in text.splitlines() if line.startswith(" 1 + focus"))
    assert line.split()[3:8] == ["3", "input", "20", str(one.n_salient()), "2"]
    assert max(map(len, text.splitlines())) <= 80
    words = re.findall(r"\d+\*?", text.split("input", 1)[1].split("[red]")[0])
    expected = [f"{c}*" if c in one.general else str(c) for c in np.argsort(-one.normalised)[:10]]
    assert words[3:13] == expected


def test_a_long_summary_says_of_how_many() -> None:
    out = io.StringIO()
    Console(file=out, width=120, color_system=None).print(summary([row(seed) for seed in range(60)]))
    assert "40 of 60 runs" in out.getvalue()


# --- of a study -------------------------------------------------------------------------------------------


def test_a_pair_is_named_by_the_rows_that_depend_on_it(tmp_path) -> None:
    store = samples.write(tmp_path, methods=("no_kd", "kd", "focus", "other"), metrics=_any_method)
    put(store, "pair-0.5-1", 1)
    put(store, "1+focus-2", 2)
    put(store, "pair-1-2", 3)  # stands for its student's own already
    found = load_saliency(store)
    assert [(r.run, r.seed, r.place, r.count) for r in found.rows] == [
        ("gamma 0.5", 1, "input", 3), ("1 + focus", 2, "input", 3),
    ]  # fmt: skip
    assert found.synthetic
    assert found.faults == ()


def test_a_pair_of_one_row_has_its_name(tmp_path) -> None:
    store = samples.write(tmp_path)
    put(store, "pair-0.5-1", 1)
    assert [r.run for r in load_saliency(store).rows] == ["0.5 + focus"]


def _any_method(gamma: str, method: str, seed: int) -> dict[str, float]:
    return samples.scores(gamma, method if method in samples.METHODS else "focus", seed)


def test_failed_and_superseded_runs_are_not_looked_into(tmp_path) -> None:
    lame = samples.record("1+focus-2", 2, row="1+focus", status="failed")
    store = samples.write(tmp_path, replaced=[lame])
    put(store, "1+focus-2", 2)
    assert load_saliency(store) is None


def test_a_damaged_file_takes_away_itself_alone(tmp_path) -> None:
    store = samples.write(tmp_path)
    put(store, "1+focus-0")
    put(store, "1+focus-1", 1)
    (store.run_folder("1+focus-1") / "saliency.csv").write_text("<script>alert(1)</script>")
    found = load_saliency(store)
    assert [r.seed for r in found.rows] == [0]
    assert len(found.faults) == 1
    assert found.faults[0].startswith("1+focus-1/saliency.csv: ")


def test_the_page_shows_it_and_links_to_the_csv(tmp_path) -> None:
    store = samples.write(tmp_path)
    for seed in (0, 1):
        put(store, f"1+focus-{seed}", seed)
    put(store, "1+focus-2", 2)
    (store.run_folder("1+focus-2") / "saliency.csv").write_text("x")
    _, path = write_study_page(store)
    text = path.read_text()
    assert_self_contained(Page(text.replace(LINK, "")))
    section = text.partition('<section id="saliency">')[2].partition("</section>")[0]
    assert "SYNTHETIC DATA" in section
    assert "Left out: 1+focus-2/saliency.csv" in section
    assert '<a href="figures/saliency.csv">' in section
    assert ("#saliency") in [a.get("href") for a in Page(text).all("a")]
    lines = list(csv.DictReader((store.folder / "figures" / "saliency.csv").read_text().splitlines()))
    assert len(lines) == 24
    assert {line["run"] for line in lines} == {"1 + focus"}
    assert (store.folder / "figures" / "saliency_1_focus.svg").is_file()


def test_a_page_without_saliency_has_no_section(tmp_path) -> None:
    store = samples.write(tmp_path)
    _, path = write_study_page(store)
    assert 'id="saliency"' not in path.read_text()
    assert not (store.folder / "figures" / "saliency.csv").exists()


def test_hostile_names_are_text(tmp_path) -> None:
    layout = samples.study([0])["table"]
    rows = [{**spec, "label": HOSTILE} for spec in layout["rows"]]
    store = samples.write(tmp_path, [0], table={"rows": rows})
    put(store, "1+focus-0", place=HOSTILE)
    _, path = write_study_page(store)
    text = path.read_text()
    assert_self_contained(Page(text.replace(LINK, "")))
    assert "<script>alert" not in text
    view = saliency_view(load_saliency(store))
    assert "\x1b" not in view.caption


def test_files_say_that_data_are_synthetic(tmp_path: Path) -> None:
    found = saliency_drawings([row()], canvas.PAPER)
    paths = figures.write_drawings(found, tmp_path, synthetic=True)
    assert [path.name for path in paths] == ["saliency_1_focus.svg", "saliency_1_focus.pdf"]
    assert found[0].figure.axes[0].get_title(loc="right") == "SYNTHETIC DATA"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda study: study["plan"][0].update(rows=None), "plan.0.rows"),
        (lambda study: study["table"]["rows"][0].update(levels=[1]), "table.rows.0.levels"),
        (lambda study: study["plan"][0].update(depends_on=7), None),
        (lambda study: study["plan"][-1].update(depends_on=[None, {}]), None),
    ],
)
def test_a_damaged_study_is_told_by_its_key(tmp_path, change, told) -> None:
    store = samples.write(tmp_path)
    put(store, "pair-1-2")
    path = store.folder / "study.json"
    study = json.loads(path.read_text())
    change(study)
    path.write_text(json.dumps(study))
    if told is None:
        assert len(load_saliency(store).rows) == 1
        return
    with pytest.raises(StoreError, match=told):
        load_saliency(store)


def test_a_file_explains_its_own_colours_and_the_page_all_of_them(tmp_path) -> None:
    rows = (row(), row(run="0 + focus", general=None))
    known, kept = saliency_drawings(rows)
    assert [e.label for e in known.legend][1:] == ["known to be modality-general", "others"]
    assert [e.label for e in kept.legend][1:] == ["kept", "others"]
    view = saliency_view(StudySaliency(rows, (), False))
    assert [str(e.label) for e in view.plots[0].legend][1:] == ["known to be modality-general", "kept", "others"]
