"""What a run reads that sees one modality alone: the very samples and values of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from test_arrays import write_csv
from test_class_folders import write_set

from mmablate.catalog import find
from mmablate.data.rgb_lidar.mini import make_rgb_lidar
from mmablate.study.datasets import check_dataset, open_dataset
from mmablate.study.reading import restricted


def settings_of(name, modalities, **given):
    return {"name": name, "modalities": modalities, **find("dataset", name).options(**given).model_dump(mode="json")}


def case(name, root):
    if name == "mfeat":
        return settings_of(name, ["mor", "fou"], fou={"noise": 1.0, "keep": 9}), None
    if name == "rgb_lidar":
        make_rgb_lidar(root / "set", samples=30, size=8)
        return settings_of(name, ["rgb", "lidar"], rgb={"normalise": "unit"}), str(root / "set")
    if name == "class_folders":
        pairs = [["rgb", {"files": "{class}/rgb/{id}.png"}], ["depth", {"files": "{class}/depth/{id}.npy"}]]
        return settings_of(name, pairs), str(write_set(root / "set"))
    stream = np.random.default_rng(0)
    np.save(root / "a.npy", stream.normal(size=(30, 3)))
    write_csv(root / "b.csv", ["b0", "b1"], stream.normal(size=(30, 2)).tolist())
    write_csv(root / "y.csv", ["kind"], [["xyz"[i % 3]] for i in range(30)])
    pairs = [["a", {"files": "a.npy", "channels": None}], ["b", {"files": "b.csv", "channels": None}]]
    return settings_of(name, pairs, labels="y.csv"), str(root)


@pytest.mark.parametrize("name", ["mfeat", "rgb_lidar", "class_folders", "arrays"])
def test_one_modality_is_that_of_the_whole(tmp_path, name):
    settings, root = case(name, tmp_path)
    assert check_dataset(settings, root, thorough=True) == []
    whole = open_dataset(settings, root)
    for modality in whole.modalities:
        alone = open_dataset(restricted(settings, (modality,)), root)
        assert alone.modalities == {modality: whole.modalities[modality]}
        assert (alone.class_names, alone.synthetic) == (whole.class_names, whole.synthetic)
        for part, split in whole.splits.items():
            rows = range(len(split))
            (values, labels), (wanted, expected) = alone.splits[part].batch(rows), split.batch(rows)
            np.testing.assert_array_equal(labels, expected)
            np.testing.assert_array_equal(values[modality], wanted[modality])
            assert [alone.splits[part].describe(i) for i in rows] == [split.describe(i) for i in rows]
