"""Features and pictures of a user's own, and RGB-LiDAR pairs, through the commands that a user types."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

RECIPE = """
name: mine
data: {name: NAME, root: set, modalities: {a: A, b: B}OPTIONS}
model: {name: mlp, modality: a, hidden: [4]}
losses: {sup: {weight: 1}}
rows: [[sup]]
baseline: sup
seeds: [0]
"""


def write_recipe(folder, name, a, b, options=""):
    text = RECIPE.replace("NAME", name).replace("A,", f'"{a}",').replace("B}", f'"{b}"}}').replace("OPTIONS", options)
    (folder / "mine.yaml").write_text(text)


def test_make_check_and_info_of_pairs(mmablate):
    done = mmablate("data", "make", "rgb_lidar", "set", "samples=40", "size=16")
    assert done.code == 0, done.err
    assert "set: synthetic rgb_lidar data, 28 train, 4 val, 8 test samples" in done.err
    done = mmablate("data", "check", "rgb_lidar", "set")
    assert done.code == 0, done.err
    counts = "28 train, 4 validation, 8 test samples of rgb 3 x 16 x 16, lidar 4 x 16 x 16"
    assert done.out == f"rgb_lidar: SYNTHETIC data, no faults found ({counts})\n"
    card = json.loads(mmablate("data", "info", "rgb_lidar", "set", "--format", "json").out)
    assert card["synthetic"] is True
    assert card["class_samples"]["train"] == [14, 14]
    done = mmablate("data", "make", "rgb_lidar", "other", "hidden_rgb=2")
    assert done.code == 2
    assert "hidden_rgb: should be less than or equal to 1, got 2" in done.err


def test_features_by_recipe(mmablate, tmp_path):
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set" / "a.npy", np.random.default_rng(0).normal(size=(40, 3)))
    lines = ["b0,kind", *(f"{i / 7},{'xyz'[i % 2]}" for i in range(40))]
    (tmp_path / "set" / "b.csv").write_text("\n".join(lines))
    write_recipe(tmp_path, "arrays", "a.npy", "b.csv", ", labels: kind")
    done = mmablate("data", "check", "mine.yaml")
    assert done.code == 0, done.err
    assert done.out == "arrays: no faults found (24 train, 8 validation, 8 test samples of a 3, b 1)\n"
    done = mmablate("ablate", "mine.yaml", "train.epochs=1", "--out", "results")
    assert done.code == 0, done.err
    (tmp_path / "set" / "a.npy").unlink()
    for command in (("data", "check", "mine.yaml"), ("ablate", "mine.yaml", "--dry-run")):
        done = mmablate(*command)
        assert done.code == 2
        assert "a.npy: expected a file of a, found none" in " ".join(done.err.split())
        assert "Traceback" not in done.err


def test_pictures_by_recipe(mmablate, tmp_path):
    for label in ("x", "y"):
        for name in ("a", "b"):
            (tmp_path / "set" / label / name).mkdir(parents=True)
            for i in range(10):
                pixels = np.random.default_rng(i).integers(0, 256, size=(4, 4, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "set" / label / name / f"{i}.png")
    write_recipe(tmp_path, "class_folders", "{class}/a/{id}.png", "{class}/b/{id}.png")
    done = mmablate("data", "check", "mine.yaml")
    assert done.code == 0, done.err
    counts = "12 train, 4 validation, 4 test samples of a 3 x 4 x 4, b 3 x 4 x 4"
    assert done.out == f"class_folders: no faults found ({counts})\n"
    (tmp_path / "set" / "x" / "b" / "3.png").unlink()
    done = mmablate("data", "check", "mine.yaml")
    assert done.code == 2
    assert "x/a/3.png: expected its partner of b, x/b/3.png, found none" in " ".join(done.err.split())
