"""Studies of models that fuse modalities as a user meets them before they are trained: plan, list, schema, compare."""

from __future__ import annotations

import json

import pytest
import yaml

RECIPE = {
    "name": "mine",
    "data": {"name": "mfeat", "modalities": ["pix", "fou"]},
    "model": {"name": "fusion_classifier", "encoder": {"kind": "mlp", "hidden": [8]}},
    "method": "joint_fusion",
    "train": {"epochs": 1},
    "losses": {"sup": {}},
    "pretrain": {"then": "none"},
    "factors": {"first": {"none": {"pretrain.then": "none"}, "frozen": {"pretrain.then": "freeze"},
                          "tuned": {"pretrain.then": "tune"}}},
    "rows": {"product": ["first"]},
    "seeds": [0, 1],
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    return path


def test_a_plan_shows_pre_trainings(mmablate, recipe):
    done = mmablate("ablate", recipe, "-n", COLUMNS="120")
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if "(pretraining)" in line]
    assert [cell.strip() for cell in line.strip("│ ").split("│")] == ["(pretraining)", "", "", "2", "0"]
    assert "2 pre-trainings" in done.out
    plan = json.loads(mmablate("ablate", recipe, "-n", "--format", "json").out)
    roles = [run["role"] for run in plan["runs"]]
    assert roles == ["pretraining"] * 2 + ["student"] * 6
    alone = json.loads(mmablate("ablate", recipe, "-n", "--only", "none", "--format", "json").out)
    assert [run["role"] for run in alone["runs"]] == ["student"] * 2


def test_lists_know_the_entries(mmablate):
    wanted = {
        "methods": ("joint_fusion", "dgl", "ogm_ge"),
        "models": ("fusion_classifier", "map_fusion_classifier"),
        "losses": ("uni", "unique"),
        "datasets": ("cremad", "kinetics_sounds", "vggsound_av", "ave", "rgb_lidar", "arrays"),
        "published": ("balancebenchmark_cremad", "balancebenchmark_ks", "balancebenchmark_vggsound"),
        "recipes": ("cremad_dgl", "cremad_unique", "rgb_lidar_fusion", "mfeat_dgl"),
    }
    for kind, names in wanted.items():
        done = mmablate("list", kind, COLUMNS="200")
        assert done.code == 0, done.err
        assert all(name in done.out for name in names), kind


def test_the_schema_knows_the_keys(mmablate):
    schema = json.loads(mmablate("schema").out)
    text = json.dumps(schema)
    for key in ("pretrain", "encoder_lr", "holdout", "pictures", "also", "step_at"):
        assert f'"{key}"' in text, key


def test_a_table_stands_beside_a_published_one(mmablate, tmp_path):
    mine = "row,seed,Acc\n" + "".join(
        f"{row}+concat,{seed},{value + seed}\n"
        for row, value in (("joint", 60.0), ("ogm_ge", 63.0), ("audio_alone", 55.0))
        for seed in (0, 1, 2)
    )
    (tmp_path / "mine.csv").write_text(mine)
    done = mmablate("compare", "mine.csv", "balancebenchmark_cremad", "--format", "json")
    assert done.code == 0, done.err
    compared = json.loads(done.out)
    deltas = {cell["row"]: (cell["delta_a"], cell["delta_b"]) for cell in compared["cells"]}
    assert deltas["ogm_ge+concat"] == pytest.approx((3.0, 2.26))
    assert deltas["audio_alone+concat"] == pytest.approx((-5.0, -6.12))
    assert compared["summary"]["same_sign"] == {"yes": 2, "of": 2}
    assert "README of BalanceBenchmark" in compared["b"]
