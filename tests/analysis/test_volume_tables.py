"""Tables of 3D scans, from hand-made records of every subset of the modalities, against numpy."""

from __future__ import annotations

import csv
import io
import json
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import yaml
from analysis_samples import Made, add

from mmablate.analysis import Table, build_table, condition_tables
from mmablate.analysis.claims import check_study
from mmablate.analysis.comparing import compare
from mmablate.cli.tables import write_study_page
from mmablate.errors import UsageError
from mmablate.report import FORMATS, render
from mmablate.study import open_study, opening
from mmablate.study.layout import table_layout

NAMES = ("flair", "t1ce", "t1", "t2")
SUBSETS = ["+".join(some) for size in range(1, 5) for some in combinations(NAMES, size)]
GROUPS = {"full": ["flair+t1ce+t1+t2"], "single": list(NAMES), "unseen": ["t1", "flair+t1", "t1+t2"]}
MEASURED = ("WT", "TC", "ET", "Dice", "HD95")
COLUMNS = ("WT", "TC", "ET", "Dice", "Dice full", "Dice unseen", "HD95")
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "brats", "modalities": list(NAMES)},
    "model": {"name": "incomplete_segmentor", "widths": [4, 8]},
    "train": {"patches": {"size": [16, 16, 16]}},
    "evaluate": {"apart": ["full", "unseen"]},
    "losses": {"fuse": {}, "pixel": {"symbol": "β"}},
    "factors": {
        "masking": {"utd": {"masks.mode": "permanent"}, "utd_drop": {"masks.mode": "dynamic"}},
        "update": {
            "single": {"method": {"name": "incomplete"}},
            "matched": {"method": {"name": "incomplete", "second": "step"}},
            "meta": {"method": {"name": "metadrop"}},
        },
    },
    "rows": {"product": ["masking", "update"]},
    "baseline": {"update": "matched"},
    "report": {"conditions": ["full", "t2", "gone"]},
    "claims": [
        "utd_drop+meta > utd+single on Dice unseen", "utd+meta > utd+matched on Dice", "utd+meta < utd+matched on HD95",
    ],
}  # fmt: skip
ROWS = [f"{masking}+{update}" for masking in ("utd", "utd_drop") for update in ("single", "matched", "meta")]
SEEDS = (0, 1, 2)


def scores_of(row: str, seed: int) -> dict[str, dict[str, float]]:
    """Subset -> column -> score: Meta-Drop is better throughout, and its surfaces are nearer."""
    stream = np.random.default_rng([ROWS.index(row), seed])
    found = {}
    for place, subset in enumerate(SUBSETS):
        regions = 40 + place + 10 * ("meta" in row) + stream.uniform(0, 1, 3)
        surface = 30 - place - 8 * ("meta" in row) + stream.uniform(0, 1)
        values = [*regions, np.mean(regions), surface]
        found[subset] = dict(zip(MEASURED, map(float, values), strict=True))
    return found


def mean_of(found: dict[str, dict[str, float]], names: Any) -> dict[str, float]:
    return {column: float(np.mean([found[name][column] for name in names])) for column in MEASURED}


def record_of(made: Made, row: str, seed: int, *, unseen: bool = True) -> Any:
    found = scores_of(row, seed)
    metrics = mean_of(found, SUBSETS)
    metrics["Dice full"] = mean_of(found, GROUPS["full"])["Dice"]
    conditions = {**found, **{group: mean_of(found, names) for group, names in GROUPS.items()}}
    if unseen:
        metrics["Dice unseen"] = mean_of(found, GROUPS["unseen"])["Dice"]
    else:
        del conditions["unseen"]
    values = {"metrics": metrics, "conditions": conditions, "scored_on": "test"}
    return made.record(row, seed, ()).model_copy(update=values)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the study; runs of `seen` rows have no unseen subset among their data."""
    monkeypatch.setattr(opening, "data_fingerprint", lambda recipe: "of the data")

    def write(*, name: str = "made", seen: Any = (), **changes: Any) -> Any:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump({**RECIPE, **changes}, sort_keys=False, allow_unicode=True))
        layout = table_layout(open_study(str(path)), scored_on="test")
        layout["conditions"] = {"modalities": [*SUBSETS, *GROUPS]}
        layout["show_conditions"] = RECIPE["report"]["conditions"]
        made = Made({row: dict.fromkeys(SEEDS, ()) for row in ROWS}, baseline={row: row for row in ROWS},
                    columns=(), dataset={"name": "brats", "synthetic": True, "n_train": 8, "n_val": 2, "n_test": 3},
                    further={"recipe": {"claims": RECIPE["claims"]}})  # fmt: skip
        records = [record_of(made, row, seed, unseen=row not in seen) for row in ROWS for seed in SEEDS]
        store = made.write(tmp_path / "out", name, records=[])
        for record in records:
            add(store, record)
        study = {**made.study(), "table": layout}
        (store.folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
        return store

    return write


def column(row: str, name: str, names: Any = SUBSETS) -> list[float]:
    return [mean_of(scores_of(row, seed), names)[name] for seed in SEEDS]


def assert_cell(cell: Any, own: list[float], base: list[float] | None) -> None:
    assert cell.mean == pytest.approx(np.mean(own))
    assert cell.std == pytest.approx(np.std(own, ddof=1))
    assert (cell.delta is None) == (base is None)
    if base is not None:
        assert cell.delta == pytest.approx(np.mean(own) - np.mean(base))


def base_of(row: str) -> str:
    return row.partition("+")[0] + "+matched"


def test_the_columns_are_means_over_subsets(written):
    table = build_table(written())
    assert table.columns == COLUMNS
    assert (table.primary, table.baseline, table.given) == ("Dice", None, None)
    assert [row.name for row in table.rows] == ROWS
    for row in table.rows:
        base = base_of(row.name)
        for name in MEASURED:
            own = column(row.name, name)
            assert_cell(row.cells[name], own, None if row.name == base else column(base, name))
        for group in ("full", "unseen"):
            own = column(row.name, "Dice", GROUPS[group])
            other = None if row.name == base else column(base, "Dice", GROUPS[group])
            assert_cell(row.cells[f"Dice {group}"], own, other)
    assert table.families[0].columns == ("Dice",)


def test_a_smaller_distance_is_the_better_one(written):
    table = build_table(written())
    means = {row.name: row.cells["HD95"].mean for row in table.rows}
    assert [row.name for row in table.rows if row.cells["HD95"].best] == [min(means, key=lambda name: means[name])]
    assert [row.name for row in table.rows if row.cells["Dice"].best] == [
        max(ROWS, key=lambda name: float(np.mean(column(name, "Dice"))))
    ]
    scales = {scale.metric: scale for scale in table.heat_scales}
    assert scales["HD95"].unit == "mm"
    cells = table.rows[ROWS.index("utd+meta")].cells
    assert cells["HD95"].delta < 0 < cells["Dice"].delta
    assert all(cells[name].heat in scales[name].gain for name in ("Dice", "HD95"))  # colour is of better, not of more


@pytest.mark.parametrize("condition", ["t2", "flair+t1ce", "full", "single", "unseen"])
def test_a_table_of_some_modalities(written, condition):
    table = build_table(written(), condition=condition)
    names = GROUPS.get(condition, [condition])
    assert table.columns == MEASURED  # means over groups of subsets are none of one subset
    for row in table.rows:
        base = base_of(row.name)
        for name in MEASURED:
            other = None if row.name == base else column(base, name, names)
            assert_cell(row.cells[name], column(row.name, name, names), other)
    text = " ".join(render([table], "terminal", single=True).split())
    assert "8 training and 3 test samples" in text
    for wrong in ("scored on", "15 subsets", "table of all samples", "no value for", "only"):
        assert wrong not in text
    said = {"full": "with all modalities", "single": "over the single modalities",
            "unseen": "over the subsets that are no training subject's in the mask list"}  # fmt: skip
    assert str(table.given).startswith(said.get(condition, f"from {condition} alone"))
    assert table.caption.count(str(table.given)) == 1
    assert f"Scores {table.given}; those of the study's table are means over all subsets" in text


def test_what_is_over_a_group_reads_as_a_sentence(written):
    store = written()
    captions = {name: build_table(store, condition=name).caption.partition(";")[0] for name in ("t2", "full", "single")}
    start = "WT, TC, ET: Dice in percent on the test split, mean over the subjects"
    assert captions == {
        "t2": f"{start}, from t2 alone", "full": f"{start}, with all modalities",
        "single": f"{start} and then over the single modalities",
    }  # fmt: skip


def test_the_report_has_the_tables_that_the_recipe_names(written):
    store = written()
    assert [(table.condition, table.title) for table in condition_tables(store)] == [
        ("full", "Made: with all modalities"), ("t2", "Made: from t2 alone"),
    ]  # fmt: skip
    _, page = write_study_page(store)
    text = page.read_text(encoding="utf-8")
    assert "Made: from t2 alone" in text
    assert "SYNTHETIC DATA" in text


@pytest.mark.parametrize("subset", ["Dice", "HD95"])
def test_one_column_by_modalities(written, subset):
    table = build_table(written(), subset=subset)
    assert table.columns == ("all subsets", *SUBSETS, *GROUPS)
    for row in table.rows:
        for name in table.columns:
            names = SUBSETS if name == "all subsets" else GROUPS.get(name, [name])
            assert row.cells[name].mean == pytest.approx(np.mean(column(row.name, subset, names)))
    assert table.title == f"Made: {subset} by modalities"
    assert "from each of them alone" in table.caption
    assert not any("A sample counts" in note for note in table.notes)
    with pytest.raises(UsageError, match=r"--subset Dice unseen: a mean over some subsets already"):
        build_table(written(), subset="Dice unseen")


def test_a_row_whose_data_have_no_unseen_subset(written):
    store = written(seen=["utd+single", "utd+matched"])
    table = build_table(store)
    cells = {row.name: row.cells["Dice unseen"] for row in table.rows}
    assert cells["utd+single"].mean is cells["utd+matched"].mean is cells["utd+meta"].delta is None
    assert cells["utd+meta"].mean == pytest.approx(np.mean(column("utd+meta", "Dice", GROUPS["unseen"])))
    assert "Rows with no value for Dice unseen: utd+single, utd+matched." in table.notes
    assert table.rows[0].status == "ok"
    for fmt in FORMATS:
        text = render([table], fmt, single=True)
        assert "nan" not in text.lower().replace("provenance", "")
        assert text
    alone = build_table(store, condition="unseen")
    assert alone.rows[0].cells["Dice"].mean is None
    assert alone.rows[2].cells["Dice"].mean is not None


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_has_the_columns(written, fmt):
    table = build_table(written())
    text = render([table], fmt, single=True)
    value = f"{table.rows[0].cells['Dice unseen'].mean:.2f}"
    assert value in text or fmt == "json"
    if fmt == "csv":
        first = next(csv.DictReader(io.StringIO(text)))
        assert (first["Dice unseen"], float(first["HD95"])) == (value, round(table.rows[0].cells["HD95"].mean, 2))
    elif fmt == "json":
        assert Table.model_validate(json.loads(text)) == table
        assert "given" not in json.loads(text)
    else:
        assert "Dice unseen" in " ".join(text.split())
        assert "mm" in text


def test_claims_on_columns_with_a_space_and_on_distances(written):
    verdicts = check_study(written()).verdicts
    assert [verdict.outcome for verdict in verdicts] == ["holds"] * 3
    wanted = np.mean(column("utd_drop+meta", "Dice", GROUPS["unseen"])) - np.mean(
        column("utd+single", "Dice", GROUPS["unseen"])
    )
    assert verdicts[0].estimate == pytest.approx(wanted)


def test_two_studies_compare_column_by_column(written):
    store = written()
    a, b = build_table(store), build_table(store, condition="t2")
    assert {pair.column for pair in compare(a, a).pairs} == set(COLUMNS)
    assert {pair.column for pair in compare(a, b).pairs} == set(MEASURED)


def test_a_study_that_does_not_say_what_is_given_is_still_shown(written):
    store = written()
    study = json.loads((store.folder / "study.json").read_text())
    for odd in (None, [], {"groups": 3, "apart": "Dice full", "caption": None}):
        study["table"]["given"] = odd
        (store.folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
        table = build_table(store, condition="unseen")
        assert (table.columns, table.given) == (COLUMNS, "from unseen alone")
        assert table.rows[0].cells["Dice"].mean is not None


def test_the_command(written, mmablate):
    store = written()
    done = mmablate("table", store.folder, "--condition", "flair+t1ce")
    assert done.code == 0, done.err
    assert "from flair+t1ce alone" in done.out
    refused = mmablate("table", store.folder, "--condition", "t1ce+flair")
    assert refused.code == 2
    assert "no such condition (there are: flair, t1ce" in " ".join(refused.err.split())
