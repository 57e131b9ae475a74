"""The types of catalogue entries.

An entry names a thing, describes its options as a pydantic model and says where its code is
(`target`, "package.module:attribute"), so that a recipe can be checked, and help printed, without
importing torch. A plugin offers entries of the same types (see `registry`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of all option models: unknown keys, NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoOptions(Options):
    """No options."""


@dataclass(frozen=True)
class Entry:
    """Something that a recipe can name.

    Attributes:
        name: as written in a recipe.
        summary: one line for `mmablate list`.
        options: the keys that a recipe may give beside the name.
        target: "package.module:attribute", imported when a run needs it.
        source: paper or origin.
    """

    name: str
    summary: str
    options: type[Options]
    target: str
    source: str = ""

    kind = "entry"


# A label for every pixel, one a sample, or a label for every voxel of scans whose modalities may be missing.
Task = Literal["segmentation", "classification", "volumes"]


@dataclass(frozen=True)
class DatasetEntry(Entry):
    """A dataset.

    Attributes:
        modalities: names that the data have; None where the recipe maps channels to names.
        needs_root: whether the user must say where the files are.
        files: root and settings (modalities and options) -> the files whose content the numbers depend on.
        synthetic: data made by a generator, said so in every table.
        check_target: function of the same arguments that lists problems of the files.
        attribution: who is to be named with the data.
        maps: what a recipe's mapping of modalities leads to: "channels" of one file, or "files".
        make_target: function (root, **options) that writes a small synthetic set in the real layout.
        make_options: its options.
        prepare_target: function (root, out, *, tell, progress) that brings the set as downloaded into the form that
            is read fastest; `tell` is given sentences, `progress` the numbers of what is done and of all.
        conditions: axis -> values that samples are described by.
        task: what is predicted.
        seeded: the data are drawn anew for every seed of a run, which `target` takes as `seed`.
        together: options -> whether what is read of one modality hangs on the others, so that every run reads all.
        known_general: it is known which channels carry modality-general decisive information.
        shapes: options -> modality -> shape of one sample, where no file need be read to know it.
        n_classes: likewise, None where the data must say.
        hides: options that say which modalities of the same samples a training does not see.
    """

    modalities: tuple[str, ...] | None = None
    needs_root: bool = False
    files: Callable[[Path | None, Mapping[str, Any]], list[Path]] = lambda root, settings: []
    synthetic: bool = False
    check_target: str = ""
    attribution: str = ""
    maps: Literal["channels", "files"] = "channels"
    make_target: str = ""
    make_options: type[Options] | None = None
    prepare_target: str = ""
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    task: Task = "segmentation"
    seeded: bool = False
    together: Callable[[Mapping[str, Any]], bool] = lambda options: False
    known_general: bool = False
    shapes: Callable[[Mapping[str, Any]], Mapping[str, Sequence[int]]] = lambda options: {}
    n_classes: int | None = None
    hides: tuple[str, ...] = ()

    kind = "dataset"


@dataclass(frozen=True)
class ModelEntry(Entry):
    """A model; `target` builds an nn.Module from flat arguments.

    A model of classification is given `shape`, that of one sample of the modality that its option `modality` names.
    One without that option sees several modalities, and is given `shapes`, modality -> shape of one sample.

    Attributes:
        task: what it predicts.
        places: options -> names of the places between its stages, the last one that of the logits; () where its
            channels cannot be looked at.
        widths: options -> place -> its channels, for places of which the options say so.
        multimodal: it fuses several modalities: those of its option `modalities`, or all of the data.
        encoders: options of a multimodal model -> those of `contrastive_encoders` whose encoders fit it; models that
            are alike in these start from the same pre-trained encoders.
        faults: options, modalities of the data -> what does not fit, each as "option: what is wrong"; checked before
            anything is built.
    """

    task: Task = "segmentation"
    places: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda options: ()
    widths: Callable[[Mapping[str, Any]], Mapping[str, int]] = lambda options: {}
    multimodal: bool = False
    encoders: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda options: {}
    faults: Callable[[Mapping[str, Any], Sequence[str]], list[str]] = lambda options, modalities: []

    kind = "model"


@dataclass(frozen=True)
class LossEntry(Entry):
    """A loss term.

    Attributes:
        symbol: symbol of its weight, "" for a term of weight 1 that prints none.
        label: subscript in "L_label".
        definitions: name -> what it computes; the first is the default.
        needs_teacher: whether the term compares with a frozen teacher.
        compares_features: whether it does so stage by stage, which needs stages of one shape.
        averages: what each definition is a mean over, "pixels" (those with a class) or "images"; says how the
            values of a batch's parts make up that of the batch.
        joins: it compares two networks that are trained jointly, not a student with a frozen teacher.
        experts: it trains an expert beside the encoder of each modality, as wide as its option `width` says, by
            weights that probes of held-out training samples find.
    """

    symbol: str = ""
    label: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)
    needs_teacher: bool = False
    compares_features: bool = False
    averages: Mapping[str, Literal["pixels", "images"]] = field(default_factory=dict)
    joins: bool = False
    experts: bool = False

    def unit(self, definition: str) -> Literal["pixels", "images"]:
        """What this definition is a mean over; images where nothing is said."""
        return self.averages.get(definition, "images")

    kind = "loss"


@dataclass(frozen=True)
class MethodEntry(Entry):
    """An update rule.

    Attributes:
        terms: loss terms that it can compute.
        task: of data and models.
        teacher: the update rule that trains its teacher.
        fuses: it trains models that fuse several modalities.
        reads: options -> those of them that a run reads: runs that differ in the others alone are one.
        about: option -> terms that it weighs or gates; without any of them it comes to nothing.
    """

    terms: tuple[str, ...] = ()
    task: Task = "segmentation"
    teacher: str = "joint"
    fuses: bool = False
    reads: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda options: options
    about: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    kind = "method"


def describe_options(options: type[Options]) -> list[dict[str, Any]]:
    """Name, type, default and description of every option, for listings."""
    rows = []
    for name, spec in options.model_fields.items():
        annotation = spec.annotation
        shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        default = "required" if spec.is_required() else spec.get_default(call_default_factory=True)
        default = default.model_dump(mode="json") if isinstance(default, BaseModel) else default
        text = spec.description or ""
        rows.append({"name": name, "type": shown, "default": default, "description": text})
    return rows
