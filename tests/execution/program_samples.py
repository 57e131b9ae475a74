"""Small programs for the tests, and running them as a study. Texts that the README shows stand here, too."""

from pathlib import Path
from typing import Any

import yaml

from mmablate.execution import Options, Outcome, run_study, wanted_runs
from mmablate.results import RunRecord, StudyStore
from mmablate.study import AnyStudy, open_study

README_TRAIN = """\
import numpy as np


def main(settings, reporter):
    rng = np.random.default_rng(reporter.seed)
    labels = rng.integers(0, 2, 600)
    image = rng.normal(size=(600, 4)) + 0.4 * labels[:, None]
    sound = rng.normal(size=(600, 4)) - 0.4 * labels[:, None]
    fused = np.hstack([image, sound]) if settings["fusion"] == "concat" else image + sound
    inputs = np.hstack([fused, np.ones((600, 1))])
    weights = np.zeros(inputs.shape[1])
    for step in range(settings["steps"]):
        p = 1 / (1 + np.exp(-inputs[:400] @ weights))
        loss = -np.log(np.where(labels[:400] == 1, p, 1 - p)).mean()
        weights -= settings["lr"] * inputs[:400].T @ (p - labels[:400]) / 400
        if step % 50 == 0:
            reporter.report(step, loss=loss)
    right = (inputs[400:] @ weights > 0) == labels[400:]
    return {"accuracy": 100 * right.mean(), "loss": loss}
"""
README_RECIPE = """\
name: fusion
title: Two ways to fuse
run: {call: train:main}                  # train.py beside this file
settings: {lr: 1e-1, steps: 300, fusion: concat}
metrics: {accuracy: {unit: "%", direction: max}, loss: min}
significance: {primary: accuracy}
synthetic: true                          # made-up data: the tables say so
factors:
  fusion: {sum: {fusion: sum}, concat: {fusion: concat}}
  lr: {slow: {lr: 1e-2}, fast: {lr: 1e-1}}
rows: {product: [fusion, lr]}
baseline: {fusion: sum}
seeds: [0, 1, 2, 3, 4]
sweep: {lr: {values: [0.01, 0.1, 1]}}
claims: ["concat+fast > sum+fast by 5 on accuracy"]
"""

RECIPE: dict[str, Any] = {
    "name": "own",
    "run": {"call": "train:main"},
    "settings": {"lr": 0.5, "fault": None},
    "metrics": {"accuracy": {"unit": "%", "direction": "max"}, "loss": "min"},
    "rows": [{"name": "low"}, {"name": "high", "overrides": {"lr": 1.5}}],
    "seeds": [1, 2],
}
CALLABLE = """\
def main(settings, reporter):
    reporter.report(1, loss=2.0)
    with open(reporter.folder / "tries", "a") as file:
        file.write("x")
    print("hello")
    return {"accuracy": 10 * settings["lr"] + reporter.seed, "loss": 1.0}
"""
SCRIPT = """\
import argparse, json, os, pathlib, sys
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float); p.add_argument("--seed", type=int); p.add_argument("--out", type=pathlib.Path)
a = p.parse_args()
assert os.environ["MMABLATE_SEED"] == str(a.seed) and os.environ["MMABLATE_FOLDER"] == str(a.out)
assert json.loads(pathlib.Path(os.environ["MMABLATE_SETTINGS"]).read_text()) == {"lr": a.lr, "fault": None}
assert os.environ["MMABLATE_DEVICE"] == "cpu" and pathlib.Path("train.py").is_file()
(a.out / "tries").open("a").write("x")
print("hello"); print('{"step": 1, "loss": 2.0}'); print('{"metrics": {"accuracy": 0}}')
print(json.dumps({"metrics": {"accuracy": 10 * a.lr + a.seed, "loss": 1.0}, "n_parameters": 7})); print("{bye")
"""
COMMAND = {"command": "{python} train.py --lr {lr} --seed {seed} --out {folder}"}


def program_study(folder: Path, program: str = CALLABLE, *overrides: str, **changes: Any) -> AnyStudy:
    """The recipe with top-level keys replaced, beside train.py with this text."""
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(program)
    (folder / "own.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}, sort_keys=False))
    return open_study(str(folder / "own.yaml"), overrides=list(overrides))


def run(study: AnyStudy, out: Path, *, jobs: int = 1, **options: Any) -> Outcome:
    """Runs all of a study without a word."""
    wanted = wanted_runs(study, [row.name for row in study.rows], study.seeds)
    return run_study(study, wanted, Options(out, "cpu", jobs, quiet=True, **options), None, None)


def only(outcome: Outcome) -> RunRecord:
    """The one record of an outcome."""
    (record,) = [*outcome.trained, *outcome.failed]
    return record


def folder_of(out: Path, record: RunRecord) -> Path:
    """Of a run."""
    return StudyStore(out, record.study).run_folder(record.run_id)
