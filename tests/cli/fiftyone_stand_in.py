"""The few calls of FiftyOne that `view` makes, with the checks that FiftyOne 1.22 makes (read in its source).

The library itself needs a MongoDB, which a test run has not. Field names are checked as by
`fiftyone.core.odm.utils.validate_field_name`; group datasets want a group and a slice in every sample; datasets that
are not persistent would go with the session.
"""

from __future__ import annotations

import itertools
from typing import Any

_IDS = itertools.count()


class Group:
    def __init__(self, id: str | None = None, name: str | None = None) -> None:
        self.id, self.name = id or f"g{next(_IDS)}", name

    def element(self, name: str) -> Group:
        return Group(self.id, name)


class Classification:
    def __init__(self, label: str | None = None, confidence: float | None = None, logits: Any = None) -> None:
        assert isinstance(label, str)
        assert confidence is None or isinstance(confidence, float)
        self.label, self.confidence = label, confidence


class Sample:
    RESERVED = ("id", "filepath", "tags", "metadata", "created_at", "last_modified_at")

    def __init__(self, filepath: str | None = None, tags: list[str] | None = None, metadata: Any = None, **fields: Any):
        assert isinstance(filepath, str)
        self.filepath, self.tags, self.fields = filepath, tags or [], dict(fields)

    def __setitem__(self, name: str, value: Any) -> None:
        if not name or name.startswith("_") or "$" in name or "." in name or name in self.RESERVED:
            raise ValueError(f"Invalid field name {name!r}")
        self.fields[name] = value


class Dataset:
    def __init__(self, module: Any, name: str, persistent: bool, overwrite: bool) -> None:
        if name in module.datasets and not overwrite:
            raise ValueError(f"Dataset name {name!r} is not available")
        self.name, self.persistent, self.info, self.samples = name, persistent, {}, []
        self.group_field: str | None = None
        self.default: str | None = None
        module.datasets[name] = self

    def add_group_field(self, field_name: str, default: str | None = None) -> None:
        self.group_field, self.default = field_name, default

    def add_samples(self, samples: list[Sample]) -> list[str]:
        kinds: dict[str, type] = {}
        for sample in samples:
            if self.group_field is not None:
                assert isinstance(sample.fields.get(self.group_field), Group)
                assert sample.fields[self.group_field].name
            for name, value in sample.fields.items():
                if kinds.setdefault(name, type(value)) is not type(value):
                    raise ValueError(f"Field {name!r} has two types")
        self.samples.extend(samples)
        return [str(next(_IDS)) for _ in samples]

    def save(self) -> None:
        pass


class Session:
    def __init__(self, module: Any) -> None:
        self.module = module

    def wait(self, wait: float = 3) -> None:
        self.module.waited += 1


class FiftyOne:
    """In the place of the module.

    Attributes:
        datasets: by name.
        broken: what every call to the database raises.
        opened: names of datasets that the app was opened with; waited: how often it was waited for.
    """

    Group, Classification, Sample = Group, Classification, Sample

    def __init__(self, broken: Exception | None = None) -> None:
        self.datasets: dict[str, Dataset] = {}
        self.broken = broken
        self.opened: list[str] = []
        self.waited = 0

    def dataset_exists(self, name: str) -> bool:
        if self.broken is not None:
            raise self.broken
        return name in self.datasets

    def load_dataset(self, name: str) -> Dataset:
        return self.datasets[name]

    def delete_dataset(self, name: str, verbose: bool = False) -> None:
        del self.datasets[name]

    def Dataset(self, name: str, persistent: bool = False, overwrite: bool = False) -> Dataset:
        return Dataset(self, name, persistent, overwrite)

    def launch_app(self, dataset: Dataset) -> Session:
        self.opened.append(dataset.name)
        return Session(self)
