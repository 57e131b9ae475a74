"""Rows of unequal size: optimiser steps and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from mmablate.catalog import find
from mmablate.catalog.multimodal import MapMatch, VectorMatch
from mmablate.catalog.parameters import matching, n_parameters
from mmablate.recipe.merging import merge
from mmablate.recipe.schema import Data, Model, Train
from mmablate.study.linting.sharing import Texts, grouped
from mmablate.study.plan import Row
from mmablate.study.rows import listed

CLASSES = {"landsat": 5, "muses": 19}
# Where only the data know: it shifts all counts of one decoder width alike.
SOME_CLASSES = 19
SAME_SIZE = 0.01  # relative


def unequal_steps(rows: Sequence[Row]) -> Iterator[str]:
    """Rows whose epochs and batches make other numbers of steps: epochs / batch_size is what must be equal.

    A row without pre-training that is trained as long as another one with its pre-training is the control of that
    one, and left out.
    """
    together = {length for row in rows if (length := _with_pretraining(row)) is not None}
    compared = [row for row in rows if _pretrains(row) or _amount(row.sections.train) not in together]
    groups = grouped(compared, lambda row: _steps(row.sections.train))
    if len({_length(*group) for group in groups}) > 1:
        told = "; ".join(
            f"{listed(names, 4)} {epochs} in batches of {batch}" for (epochs, batch), names in groups.items()
        )
        yield f"rows are trained for unequal numbers of steps ({told}): equal epochs / batch_size makes them equal"


def _steps(train: Train) -> tuple[str, int | str]:
    return f"{train.steps} steps" if train.steps is not None else f"{train.epochs} epochs", train.batch_size


def _pretrains(row: Row) -> bool:
    pretrain = row.sections.pretrain
    return pretrain is not None and pretrain.then != "none"


def _amount(train: Train) -> tuple[str, Fraction] | None:
    """Unit and number of steps, in samples of the data where epochs are given; None where that is not a number."""
    if train.steps is not None:
        return "steps", Fraction(train.steps)
    return None if train.batch_size == "all" else ("epochs", Fraction(train.epochs, train.batch_size))


def _with_pretraining(row: Row) -> tuple[str, Fraction] | None:
    """Steps of a row and its pre-training together; None for a row without one, or where they are not told alike."""
    pretrain, own = row.sections.pretrain, row.sections.train
    if pretrain is None or pretrain.then == "none":
        return None
    first = _amount(Train.model_validate(merge(own.model_dump(mode="json"), pretrain.train)))
    second = _amount(own)
    if first is None or second is None or first[0] != second[0]:
        return None
    return first[0], first[1] + second[1]


def _length(told: str, batch: int | str) -> Fraction | tuple[str, int | str]:
    """What is equal where rows take equal numbers of steps."""
    count, unit = told.split()
    if unit == "steps":
        return told, ""
    return Fraction(int(count), batch) if isinstance(batch, int) else (told, batch)


def unequal_parameters(rows: Sequence[Row], baseline: Mapping[str, str], texts: Texts) -> Iterator[str]:
    """Rows that have more or fewer parameters than their baseline, by over 1 %, with an arm of equal size.

    One line for all rows that differ alike. Models of plugins are not known, nor are those that fuse modalities whose
    shapes only the files tell. Where these see other modalities, they are no arms of one size; where they have a
    `match`, or a row beside them has, they are looked at.
    """
    known: dict[str, int | None] = {}

    def size(row: Row) -> int | None:
        text = texts.of(row.sections.model)
        if text not in known:
            known[text] = count(row.sections.model, row.sections.data)
        return known[text]

    by_name = {row.name: row for row in rows}
    pairs: dict[tuple[str, str], list[str]] = {}
    examples: dict[tuple[str, str], tuple[Row, Row]] = {}
    for row in rows:
        base = by_name[baseline[row.name]]
        if row.sections.model is not base.sections.model and not _looked_at(row, base, rows):
            key = texts.of(row.sections.model), texts.of(base.sections.model)
            pairs.setdefault(key, []).append(row.name)
            examples.setdefault(key, (row, base))
    for key, names in pairs.items():
        row, base = examples[key]
        own, theirs = size(row), size(base)
        if own is not None and theirs is not None and abs(own - theirs) > SAME_SIZE * theirs:
            s = "s" if len(names) > 1 else ""
            yield (
                f"the row{s} {listed(names, 4)} {'have' if s else 'has'} {own:,} parameters, the baseline {base.name} "
                f"{theirs:,} ({own / theirs - 1:+.0%}): {'their' if s else 'its'} Δ may be one of size"
                f"{_arm(row, base, theirs)}"
            )


def count(model: Model, data: Data) -> int | None:
    """Parameters of a recipe's model."""
    return n_parameters(model.name, model.options, n_classes(data), shapes=_shapes(data))


def _shapes(data: Data) -> dict[str, Any] | None:
    """Modality -> shape of one sample; None where the files must tell."""
    known, names = find("dataset", data.name).shapes(data.options), list(data.modalities or ())
    return {name: known[name] for name in names} if names and known.keys() >= set(names) else None


def _looked_at(row: Row, base: Row, rows: Sequence[Row]) -> bool:
    """Whether the sizes of a model that fuses modalities are a matter of the study already."""
    model, other = row.sections.model, base.sections.model
    if not (find("model", model.name).multimodal and find("model", other.name).multimodal):
        return False
    if model.options.get("modalities") != other.options.get("modalities") or model.options.get("match") is not None:
        return True

    def alike(one: Model) -> bool:
        return one.options.get("match") is not None and {**one.options, "match": None} == model.options

    return any(one.sections.model.name == model.name and alike(one.sections.model) for one in rows)


def n_classes(data: Data) -> int:
    """Of the data, where the recipe says so."""
    if (known := find("dataset", data.name).n_classes) is not None:
        return int(known)
    options: Mapping[str, Any] = data.options
    names = options.get("class_names") or (options.get("labels") or {}).get("colours")
    return len(names) if names else int(options.get("n_classes") or CLASSES.get(data.name, SOME_CLASSES))


def _arm(row: Row, base: Row, target: int) -> str:
    """The row at the baseline's size, by an option in which the two agree.

    The widths of stages are not offered where their features are compared with a teacher's.
    """
    model, classes = row.sections.model, n_classes(row.sections.data)
    if find("model", model.name).multimodal:
        return _matched_arm(row, base)
    compared = any(find("loss", str(loss.term)).compares_features for loss in row.losses.values())
    for option in ("decoder_width",) if compared else ("decoder_width", "widths"):
        if model.options.get(option) != base.sections.model.options.get(option):
            continue
        found = matching(model.name, model.options, target, classes, option)
        if found is not None:
            of = n_parameters(model.name, {**model.options, **found}, classes)
            return f"; a parameter-matched arm has model.{option}: {found[option]} ({of:,})"
    return "; no width of it alone makes them equal"


def _matched_arm(row: Row, base: Row) -> str:
    """The arm of a model that fuses modalities: what its `match` says, where a hidden width can make it so."""
    model, other = row.sections.model, base.sections.model
    differing = {key: value for key, value in other.options.items() if model.options.get(key) != value}
    fields = VectorMatch.model_fields if model.name == "fusion_classifier" else MapMatch.model_fields
    if model.name == other.name and differing and differing.keys() <= fields.keys() and None not in differing.values():
        matched = model.model_copy(update={"match": differing})
        if count(matched, row.sections.data) is not None:
            return f"; a parameter-matched arm has model.match: {differing}"
    return "; no width of it alone makes them equal"
