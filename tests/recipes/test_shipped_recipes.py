"""Every recipe that ships is run, at a tiny setting, through the commands that a user types."""

from __future__ import annotations

import json

import pytest
from image_folder_samples import deliver_folder
from project import ROOT, TINY

from mmablate.recipe.reading import read_yaml

RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))


@pytest.fixture
def root_of(sweeps_folder, mini_muses, mini_clips, mini_pairs, mini_brats, tmp_path):
    """The arguments by which a recipe reads data that the test has made, in the recipe's layout."""

    def arguments(path):
        name = read_yaml(path).data["data"]["name"]
        if name in ("landsat", "gaussian", "mfeat"):
            return []
        if name in mini_clips or name in mini_pairs:
            return ["--data-root", {**mini_clips, **mini_pairs}[name]]
        if name == "brats":
            return ["--data-root", mini_brats]
        if name == "muses":
            return ["--data-root", mini_muses]
        if name == "image_folder":
            root = tmp_path / "deliver"
            if not root.exists():
                deliver_folder(root)
            return ["--data-root", root]
        assert name == "range_image"
        return ["train.augment.crop=null", "--data-root", sweeps_folder]

    return arguments


# Of models that fuse modalities: one seed, since the rows are many and their steps not what is tested here.
FUSED = ["seeds=[0]", "train.epochs=1", "evaluate.every=1"]
SHORT = ["data.seconds=0.2", "data.audio_size=[16,16]", "data.size=[16,16]"]  # sounds and frames of mini_pairs


def tiny(path):
    """Overrides that make the recipe's runs as small as they can be."""
    recipe = read_yaml(path).data
    name, model = recipe["data"]["name"], recipe["model"]["name"]
    if name == "gaussian":
        focus = ["focus.permutations=2", "data.n_val=40"] if "focus" in recipe else []
        return ["seeds=[0,1]", "train.steps=10", "data.n_test=40", *focus]
    if name == "brats":
        small = [
            "model.widths=[2,4]",
            "train.patches.size=[16,16,16]",
            "train.batch_size=8",
            "evaluate.window=[24,24,24]",
        ]
        # Surface distances, and the import of what computes them, take longer than all else: in one of the recipes.
        return [*FUSED, *small, f"evaluate.hd95={str(recipe['name'] == 'brats_metadrop').lower()}"]
    if model == "map_fusion_classifier":  # its widths are those at which all numbers of parameters can be matched
        first = ["pretrain.train.epochs=1"] if "pretrain" in recipe else []
        return [*FUSED, "train.batch_size=8", *first]
    if model == "fusion_classifier":
        unique = ["losses.unique.permutations=20", "losses.unique.every=1"] if "unique" in recipe["losses"] else []
        if name == "mfeat":
            return [*FUSED, "model.encoder.hidden=[4]", "data.fractions=[0.15,0.05,0.8]", *unique]
        small = ["train.batch_size=8", "model.encoder.widths=[4]", "model.encoder.depths=[1]"]
        return [*FUSED, *SHORT, *small, *unique]
    if name in ("mfeat", "ravdess", "vggsound"):
        return ["seeds=[0,1]", "train.epochs=1", "focus.permutations=2"]
    return TINY


def profiles(path):
    return [None, *(read_yaml(path).data.get("profiles") or {})]


def columns_of(row, info):
    """Columns in which the row has a number: all but those of a teacher, of modalities that it does not see, and of
    outputs for one modality that nothing trains."""
    columns = [column for column, about in info.items() if not about.get("reference")]
    parts = row["name"].split("+")
    alone = parts[0].removesuffix("_alone")
    if parts[0] != alone:
        return [column for column in columns if column in (alone, "Acc", "F1", "NLL", "ECE")]
    heads = {"gated", "film", "bilinear"} & set(parts) and "dgl" not in parts
    return [column for column in columns if not (heads and column.endswith(" own"))]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_ends_with_a_table(path, mmablate, root_of, tmp_path):
    root = root_of(path)
    done = mmablate("ablate", path, *tiny(path), *root, "-q", "--format", "json")
    assert done.code == 0, done.err
    table = json.loads(done.out)
    study = read_yaml(path).data["name"]
    assert table["study"] == study
    number = 1 if "seeds=[0]" in tiny(path) else 2
    assert [row["n_seeds"] for row in table["rows"]] == [number] * len(table["rows"])
    assert all(row["status"] == "ok" for row in table["rows"])
    for row in table["rows"]:
        assert row["cells"].keys() == set(table["columns"])
        told = columns_of(row, table["column_info"])
        assert all(len(row["cells"][column]["values"]) == number for column in told)
    assert (tmp_path / "results" / study / "index.html").stat().st_size > 5_000
    first = {p: p.stat().st_mtime_ns for p in tmp_path.glob("results/*/runs/*/record.json")}
    again = mmablate("ablate", path, *tiny(path), *root, "-q", "--format", "json")
    assert again.out == done.out
    assert first == {p: p.stat().st_mtime_ns for p in tmp_path.glob("results/*/runs/*/record.json")}


@pytest.mark.parametrize(
    ("path", "profile"),
    [(path, profile) for path in RECIPES for profile in profiles(path)],
    ids=lambda value: getattr(value, "stem", value) or "default",
)
def test_every_profile_plans(path, profile, mmablate, root_of):
    root = root_of(path)
    chosen = ["--profile", profile] if profile else []
    done = mmablate("ablate", path, *chosen, *root, "-n", "--strict", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["runs"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_sweep_of_a_recipe_plans(path, mmablate, root_of):
    root = root_of(path)
    for name in read_yaml(path).data.get("sweep") or {}:
        done = mmablate("sweep", path, "--param", name, *root, "-n", "--format", "json")
        assert done.code == 0, done.err
        plan = json.loads(done.out)
        assert plan["study"].endswith(f"_{name}")
        # The value 0 of a weight is always there; of other parameters one of those that are swept.
        rows = {row for run in plan["runs"] for row in run["rows"]}
        assert f"{name}=0" in rows or "path" in read_yaml(path).data["sweep"][name]
        assert all(row.startswith(f"{name}=") for row in rows)
