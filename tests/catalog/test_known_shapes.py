"""Shapes and classes that the catalogue knows without the files are those of the data."""

from __future__ import annotations

import pytest

from mmablate.catalog import entries
from mmablate.catalog.classification import MFEAT_VIEWS
from mmablate.data.summary import summarise
from mmablate.study.datasets import open_dataset


@pytest.mark.parametrize("changes", [{}, {"fou": {"noise": 0.0, "keep": 5}}, {"mor": {"noise": 2.0, "keep": None}}])
def test_the_digits(changes):
    entry = entries("dataset")["mfeat"]
    options = {**entry.options().model_dump(mode="json"), **changes}
    data = open_dataset({"name": "mfeat", "modalities": list(MFEAT_VIEWS), **options}, None)
    card = summarise(data)
    assert dict(entry.shapes(options)) == dict(card.modalities)
    assert entry.n_classes == len(card.class_names)
