"""A study that was really trained: its notes about pairing are those that its recipe gives reason for."""

from __future__ import annotations

import json

from mmablate.results import StudyStore

RECIPE = """
name: switches
data: {name: landsat, modalities: [V, N]}
model: {name: anymodal_segmentor, widths: [4, 8], strides: [2, 2], decoder_width: 4}
train: {epochs: 1, batch_size: 8, optimizer: adamw}
losses: {sup: {weight: 1}}
rows:
  - {name: base}
  - {name: momentum, overrides: {train.momentum: 0.5}}
  - {name: batches, overrides: {train.batch_size: 4}}
  - {name: wider, overrides: {model.decoder_width: 6}}
  - {name: again, overrides: {train.lr: 0.002}}
baseline: base
seeds: [0, 1]
"""


def test_a_trained_study_says_what_its_recipe_gives_reason_for(mmablate, tmp_path):
    (tmp_path / "switches.yaml").write_text(RECIPE)
    done = mmablate("ablate", tmp_path / "switches.yaml", "--out", tmp_path / "out", "-q")
    assert done.code == 0, done.err
    store = StudyStore(tmp_path / "out", "switches")

    def notes():
        told = json.loads(mmablate("table", store.folder, "--format", "json").out)["notes"]
        words = ("bit for bit", "same runs", "by design", "is not paired", "same scores")
        return [note for note in told if any(word in note for word in words)]

    told = notes()
    assert len(told) == 3, told
    idle, same, design = told  # AdamW has no momentum
    assert idle.startswith("The switch does nothing: row momentum ends with the same weights as base, bit for bit")
    assert same == "The rows base, again are the same runs: their settings resolve to the same."
    assert design.startswith("Batches or masks differ from the baseline's by design (train.batch_size: batches): ")
    # A run of the row that started elsewhere and saw other batches, whatever its settings say.
    study = store.read_study()
    (run_id,) = [e["run_id"] for e in study["plan"] if e["rows"] == ["momentum"] and e["seed"] == 1]
    record = store.read_record(run_id)
    other = {"init": "0" * 64, "order": "1" * 64, "final": "2" * 64}
    store.finish_run(record.model_copy(update={"digests": other}))
    (fault,) = [note for note in notes() if "is not paired" in note]
    assert fault == (
        "Row momentum has other batches or masks on seed 1 and other initial weights on seed 1 than its baseline base, "
        "though nothing in their settings says so: its Δ is not paired."
    )
