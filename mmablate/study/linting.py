"""Warnings about a study before it is trained: rows that cannot mean what they look like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mmablate.study.datasets import dataset_settings
from mmablate.study.plan import Row, content_id


def lint(rows: Sequence[Row]) -> list[str]:
    """One line a warning; under --strict they are errors."""
    warnings = []
    same: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        settings = row.recipe.model_dump(mode="json", include={"data", "model", "method", "teacher", "train", "masks"})
        losses = {key: loss.model_dump(mode="json") for key, loss in row.losses.items()}
        same[content_id({**settings, "losses": losses})].append(row.name)
    warnings += [
        f"the rows {', '.join(names)} resolve to the same settings: their Δ is 0 by design"
        for names in same.values()
        if len(names) > 1
    ]
    if len({content_id(dataset_settings(row.recipe)) for row in rows}) > 1:
        warnings.append("rows read the data with different options: they may be trained and scored on other samples")
    lengths = {row.recipe.train.epochs for row in rows}
    if len(lengths) > 1:
        warnings.append(f"rows are trained for different numbers of epochs ({', '.join(map(str, sorted(lengths)))})")
    return warnings
