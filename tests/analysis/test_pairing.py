"""What the digests in the records say: which rows are paired, which switches do nothing, which rows are one."""

from __future__ import annotations

import json

import pytest
from analysis_samples import Made

from mmablate.analysis import pairing
from mmablate.analysis.building import build_table, condition_tables
from mmablate.analysis.effects import view_tables
from mmablate.report import render

SCORES = {"r0": {0: (1, 2, 3), 1: (3, 4, 8), 2: (2, 2, 2)}, "r1": {0: (2, 2, 2), 1: (5, 6, 7), 2: (1, 1, 1)}}
CONFIG = {
    "data": {"name": "made", "fingerprint": "x"}, "model": {"name": "m", "width": 8}, "masks": {"mode": "dynamic"},
    "method": {"name": "anymodal"}, "train": {"epochs": 3, "batch_size": 8, "lr": 0.1}, "seed": 0,
}  # fmt: skip


def digests(**changes):
    """Digests by row and seed: the seed's order and start, weights of each row's own."""

    def of(row, seed):
        plain = {"init": f"i{seed}", "order": f"o{seed}", "final": f"f{row}{seed}"}
        return {**plain, **{name: of(row, seed) for name, of in changes.items()}}

    return of


def write(tmp_path, of, scores=SCORES, configs=None, **further):
    """A study whose runs have these digests; `configs` are changes to the settings of a row, None for no file."""
    made = Made(scores, **further)
    records = [
        made.record(row, seed, values, digests=of(row, seed))
        for row, some in scores.items()
        for seed, values in some.items()
    ]
    store = made.write(tmp_path, records=records)
    for record in records:
        changes = (configs or {}).get(record.row, {})
        if changes is not None:
            config = {**CONFIG, "run_id": record.run_id, "seed": record.seed, **changes}
            (store.run_folder(record.run_id) / "config.json").write_text(json.dumps(config))
    return store


def said(store, **options):
    """The notes about pairing."""
    words = ("Row ", "The switch", "The rows", "Batches or", "The same holds", "So do", "more rows", "same to")
    return [note for note in build_table(store, **options).notes if any(w in note for w in words)]


def only_r1(value, seeds=(0, 1, 2)):
    return lambda row, seed: f"{value}{seed}" if row == "r1" and seed in seeds else f"same{seed}"


def test_runs_that_are_paired_are_not_talked_about(tmp_path):
    assert said(write(tmp_path, digests())) == []


@pytest.mark.parametrize(("name", "words"), [("order", "other batches or masks"), ("init", "other initial weights")])
def test_a_row_that_should_be_paired_and_is_not_is_told_with_its_seeds(tmp_path, name, words):
    store = write(tmp_path, digests(**{name: only_r1("odd", (0, 2))}), configs={"r1": {"losses": [1]}})
    (note,) = said(store)
    assert note == (
        f"Row r1 has {words} on seeds 0, 2 than its baseline r0, though nothing in their settings says so: "
        "its Δ is not paired."
    )


def test_both_faults_of_a_row_are_one_line(tmp_path):
    store = write(tmp_path, digests(order=only_r1("odd", (1,)), init=only_r1("odd")))
    (note,) = said(store)
    assert "other batches or masks on seed 1 and other initial weights on seeds 0, 1, 2 than" in note


def test_changed_files_are_no_design(tmp_path):
    changed = {"r1": {"data": {"name": "made", "fingerprint": "y"}}}
    (note,) = said(write(tmp_path, digests(order=only_r1("odd")), configs=changed))
    assert "its Δ is not paired" in note


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"train": {**CONFIG["train"], "batch_size": 4}}, "train.batch_size"),
        ({"train": {**CONFIG["train"], "epochs": 9}}, "train.epochs"),
        ({"masks": {"mode": "none"}}, "masks"),
        ({"method": {"name": "joint"}}, "method"),
        ({"data": {"name": "made", "fingerprint": "x", "limit": 9}}, "data"),
    ],
)
def test_other_batches_by_design_are_said_and_called_no_fault(tmp_path, change, key):
    (note,) = said(write(tmp_path, digests(order=only_r1("odd")), configs={"r1": change}))
    assert note.startswith(f"Batches or masks differ from the baseline's by design ({key}: r1)")


def reading(names, seen=None, **data):
    """Settings of a run that reads these modalities; a mapping gives named files."""
    listed = [[name, {"files": place}] for name, place in names.items()] if isinstance(names, dict) else list(names)
    model = {"name": "m", "width": 8, "modalities": seen}
    return {"data": {"name": "made", "modalities": listed, "fingerprint": "x", **data}, "model": model}


@pytest.mark.parametrize(
    ("base", "row"),
    [
        (reading("ab", noise=1), reading("a", ["a"], noise=1)),
        (reading("ab", b={"noise": 2}), reading("a", ["a"])),
        (reading("b", ["b"], b={"noise": 2}), reading("a", ["a"])),
        (reading({"a": "a.npy", "b": "b.npy"}), reading({"b": "b.npy"}, ["b"])),
        (reading("ab", missing="drop"), reading("ab", ["a"], missing="drop")),  # where all have to be read
    ],
)
def test_a_model_that_sees_fewer_modalities_sees_the_same_batches(tmp_path, base, row):
    configs = {"r0": base, "r1": row}
    assert said(write(tmp_path, digests(order=only_r1("odd")), configs=configs)) == []
    other = {**row, "train": {**CONFIG["train"], "batch_size": 4}}
    (note,) = said(write(tmp_path / "b", digests(order=only_r1("odd")), configs={"r0": base, "r1": other}))
    assert "by design (train.batch_size: r1)" in note


@pytest.mark.parametrize(
    ("base", "row"),
    [
        (reading("ab"), reading("a")),  # left out of the data: samples that lack b may be in
        (reading("ab"), reading("a", ["a"], limit=9)),
        (reading("ab", a={"noise": 1}), reading("a", ["a"], a={"noise": 2})),
        (reading({"a": "a.npy", "b": "b.npy"}), reading({"a": "c.npy"}, ["a"])),
        (reading("abc", ["a", "b"]), reading("a", ["a"], limit=3)),
    ],
)
def test_other_data_are_still_said_where_a_model_sees_fewer_modalities(tmp_path, base, row):
    (note,) = said(write(tmp_path, digests(order=only_r1("odd")), configs={"r0": base, "r1": row}))
    assert "by design (data: r1)" in note


def test_another_learning_rate_explains_no_other_batches(tmp_path):
    change = {"r1": {"train": {**CONFIG["train"], "lr": 1.0}}}
    (note,) = said(write(tmp_path, digests(order=only_r1("odd")), configs=change))
    assert "nothing in their settings says so" in note


def test_another_model_may_start_elsewhere(tmp_path):
    wider = {"r1": {"model": {"name": "m", "width": 16}}}
    assert said(write(tmp_path, digests(init=only_r1("odd")), configs=wider)) == []
    # It does not explain other batches, though.
    (note,) = said(write(tmp_path / "b", digests(init=only_r1("odd"), order=only_r1("odd")), configs=wider))
    assert "has other batches or masks on seeds 0, 1, 2 than" in note
    assert "initial" not in note


@pytest.mark.parametrize(
    "odd", [None, {"run_id": "another"}, {"train": "fast"}, {"data": None, "model": None, "train": None}]
)
def test_settings_that_cannot_be_read_are_said_not_to_tell(tmp_path, odd):
    (note,) = said(write(tmp_path, digests(order=only_r1("odd")), configs={"r1": odd}))
    assert "no config.json says whether by design: its Δ may not be paired" in note


@pytest.mark.parametrize("nothing", [None, ""])
def test_missing_digests_are_no_evidence(tmp_path, nothing):
    def lacks(row, seed):
        return nothing if row == "r1" else "some"

    assert said(write(tmp_path / "a", digests(order=lacks, init=lacks, final=lacks))) == []
    assert said(write(tmp_path / "b", lambda row, seed: {})) == []
    # Nor is one seed without them evidence that the others are alike everywhere.
    none = digests(final=lambda row, seed: nothing if seed == 1 else f"f{seed}")
    assert said(write(tmp_path / "c", none)) == []


def test_failed_runs_and_seeds_of_one_row_alone_are_not_compared(tmp_path):
    scores = {"r0": {0: (1, 2, 3), 1: (3, 4, 8)}, "r1": {0: (2, 2, 2), 1: None, 7: (1, 1, 1)}}
    assert said(write(tmp_path, digests(order=only_r1("odd", (1, 7))), scores=scores)) == []


EQUAL = {"r0": SCORES["r0"], "r1": SCORES["r0"], "r2": SCORES["r1"]}


def test_a_switch_that_does_nothing_is_told_once(tmp_path):
    store = write(tmp_path, digests(final=lambda row, seed: f"f{seed}" if row != "r2" else f"g{seed}"), scores=EQUAL)
    (note,) = said(store)
    assert note == (
        "The switch does nothing: row r1 ends with the same weights as r0, bit for bit, on all 3 common seeds."
    )


def test_equal_weights_on_some_seeds_are_not_told(tmp_path):
    store = write(tmp_path, digests(final=lambda row, seed: f"f{seed}" if row != "r1" or seed else "own"))
    assert said(store) == []


def test_one_common_seed_is_called_so(tmp_path):
    scores = {"r0": {0: (1, 2, 3)}, "r1": {0: (1, 2, 3)}}
    (note,) = said(write(tmp_path, digests(final=lambda row, seed: "f"), scores=scores))
    assert "on their one common seed." in note


def test_equal_weights_with_other_scores_are_another_scoring(tmp_path):
    (note,) = said(write(tmp_path, digests(final=lambda row, seed: f"f{seed}")))
    assert note == (
        "Row r1 ends with the same weights as r0, bit for bit, on all 3 common seeds: "
        "they differ in how they are scored, not in training."
    )


def test_equal_scores_of_other_weights_are_still_told(tmp_path):
    (note,) = said(write(tmp_path, digests(), scores=EQUAL))
    assert "The rows r0, r1 have the same scores to the last digit" in note


def test_rows_that_share_their_runs_are_said_to_be_one(tmp_path):
    store = write(tmp_path, digests(), scores={"r0": SCORES["r0"]})
    study = Made({"r0": SCORES["r0"], "r1": {}}).study()
    study["plan"] = [{**entry, "rows": ["r0", "r1"]} for entry in study["plan"]]
    (store.folder / "study.json").write_text(json.dumps(study))
    assert said(store) == ["The rows r0, r1 are the same runs: their settings resolve to the same."]


def test_the_baseline_of_the_command_line_is_the_one_compared_with(tmp_path):
    scores = {**SCORES, "r2": SCORES["r0"]}
    store = write(tmp_path, digests(order=lambda row, seed: (row == "r0" and "odd") or "same"), scores=scores)
    assert len([note for note in said(store) if note.startswith("Row r")]) == 2
    (note,) = [note for note in said(store, baseline="r1") if note.startswith("Row r")]
    assert note.startswith("Row r0 has other batches or masks on seeds 0, 1, 2 than its baseline r1")


def many(n):
    return {f"r{i}": {0: (1, 2, i), 1: (2, 1, i + 0.5)} for i in range(n)}


def test_many_rows_are_a_few_lines(tmp_path):
    store = write(tmp_path, digests(order=lambda row, seed: row), scores=many(40))
    notes = said(store)
    assert len([note for note in notes if note.startswith("Row r")]) == 8
    assert notes[-1] == "The same holds for 31 more rows: r9, r10, r11, r12, r13, r14, r15, r16 and 23 more."
    idle = write(tmp_path / "idle", digests(final=lambda row, seed: "f"), scores=dict.fromkeys(many(40), SCORES["r0"]))
    notes = said(idle)
    assert [note.startswith("The switch does nothing: row") for note in notes] == [True] * 8 + [False]
    assert notes[-1].startswith("The switch does nothing in 31 more rows: r9, ")


def test_settings_are_read_of_so_many_rows_and_no_more(tmp_path, monkeypatch):
    read = []
    real = pairing.read_json
    monkeypatch.setattr(pairing, "read_json", lambda path: read.append(path.parent.name) or real(path))
    write(tmp_path, digests(), scores=many(12))
    assert said(write(tmp_path / "paired", digests(), scores=many(12))) == []
    assert read == []  # nothing differs, so nothing is read
    monkeypatch.setattr(pairing, "MOST_READ", 5)
    notes = said(write(tmp_path / "odd", digests(order=lambda row, seed: row), scores=many(12)))
    assert sorted(read) == ["r0-0", *(f"r{i}-0" for i in range(1, 6))]
    assert notes[-1].startswith("6 more rows have other batches, masks or initial weights than their baseline")


def test_every_format_and_every_table_of_the_runs_says_it(tmp_path):
    store = write(tmp_path, digests(order=only_r1("odd")))
    study = json.loads((store.folder / "study.json").read_text())
    study["table"] |= {"conditions": {"time": ["night"]}, "show_conditions": ["night"]}
    for row in study["table"]["rows"]:
        row["levels"] = {"switch": "on" if row["name"] == "r1" else "off"}
    (store.folder / "study.json").write_text(json.dumps(study))
    table = build_table(store)
    for format in ("terminal", "html", "markdown", "latex", "json"):
        assert "nothing in their settings says so" in " ".join(render([table], format, single=True).split())
    further = [*condition_tables(store), *view_tables(table, "effects")]
    assert len(further) >= 2
    assert all(any("nothing in their settings" in note for note in one.notes) for one in further)
