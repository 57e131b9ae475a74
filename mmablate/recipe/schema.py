"""The recipe: every key that a user may write, with its rule.

Sections that name a component (`data`, `model`, `teacher`, `method`, one `losses` entry) are flat in YAML:
the component's own options stand beside its name. They are checked against the catalogue in
`mmablate.recipe.components` and land in `options`.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)
from typing_extensions import TypedDict

# Names of weights on the command line and in sweeps -> their symbols.
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eta": "η", "lambda": "λ", "mu": "μ", "tau": "τ",
}  # fmt: skip

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+=\-]*$", max_length=120)]
Seed = Annotated[int, Field(ge=0, lt=2**31, strict=True)]
ChannelNumber = Annotated[int, Field(ge=0)]


def _seed_range(value: Any) -> Any:
    """`0-49`, or `0,1,2`, as on the command line."""
    if not isinstance(value, str):
        return value
    found: list[int] = []
    for part in value.split(","):
        ends = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", part)
        if ends is None or not 0 <= int(ends[2] or ends[1]) - int(ends[1]) < 100_000:
            raise ValueError("seeds such as 0-49 or 0,1,2")
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    return found


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed is given twice")
    return seeds


_Listed = Annotated[list[Seed], Field(min_length=1)]
_Range = Annotated[str, StringConstraints(pattern=r"^\s*\d+\s*(-\s*\d+\s*)?(,\s*\d+\s*(-\s*\d+\s*)?)*$")]
Seeds = Annotated[
    list[Seed],
    Field(min_length=1),
    AfterValidator(_distinct),
    BeforeValidator(_seed_range, json_schema_input_type=_Listed | _Range),
]

# Discriminators: which form of a key a user meant, so that a fault is told for that form only.


def _row_form(value: Any) -> str | None:
    if isinstance(value, (dict, Section)):
        named = "name" in value if isinstance(value, dict) else isinstance(value, RowSpec)
        return "row" if named else "expander"
    return "list" if isinstance(value, (list, tuple)) else None


def _rows_form(value: Any) -> str | None:
    if value is None:
        return "none"
    return "expander" if isinstance(value, (dict, Expander)) else "list"


def _modalities_form(value: Any) -> str:
    if value is None:
        return "none"
    return "mapping" if isinstance(value, dict) else "list"


def _modality_form(value: Any) -> str:
    """What one name of a mapping leads to."""
    return "channels" if isinstance(value, (list, tuple)) else "files"


def _pattern(value: Any) -> Any:
    """`R: rgb/{split}/{id}.png` is short for `R: {files: rgb/{split}/{id}.png}`."""
    return {"files": value} if isinstance(value, str) else value


def _named(value: Any) -> Any:
    """`method: joint` is short for `method: {name: joint}`."""
    return {"name": value} if isinstance(value, str) else value


def number(value: Any) -> Any:
    """YAML reads `1e-3` as a string."""
    is_number = isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value)
    return float(value) if is_number else value


def _saving(value: Any) -> Any:
    """`90s`, `5min`, `200 steps`, or a number of seconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"seconds": value}
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*(s|min|h|steps?)\s*", value) if isinstance(value, str) else None
    if found is None:
        if isinstance(value, str):
            raise ValueError("a time or a number of steps, such as 90s, 5min, 1h or 200 steps")
        return value
    number, unit = float(found[1]), found[2]
    if unit.startswith("step"):
        return {"steps": number}
    return {"seconds": number * {"s": 1, "min": 60, "h": 3600}[unit]}


def _without(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """What a section writes, less the keys that hold these values."""
    return {key: value for key, value in values.items() if key not in defaults or value != defaults[key]}


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys and non-finite numbers refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Augment(Section):
    """Changes of a training batch, drawn from a stream of their own.

    Attributes:
        flip: mirror left-right and, where `vertical` is set, up-down, with probability one half each.
        vertical: see flip; right for views from above, wrong for a driving scene.
        scale: smallest and largest factor by which a sample is resized, drawn evenly, before it is cut to the
            crop (or to its old size); what then lies outside is void.
        crop: height and width of a random crop; None trains on whole images.
        jitter: probability of changed brightness, contrast and saturation.
        blur: probability of a 3x3 Gaussian blur.
        photometric: modalities that are pictures: jitter and blur apply to them, and `scale` interpolates them
            where others take the nearest pixel; None for the first one.
    """

    flip: bool = True
    vertical: bool = False
    scale: tuple[Annotated[float, Field(gt=0, le=8)], Annotated[float, Field(gt=0, le=8)]] | None = None
    crop: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    jitter: float = Field(0, ge=0, le=1)
    blur: float = Field(0, ge=0, le=1)
    photometric: list[Name] | None = None

    @field_validator("scale")
    @classmethod
    def _rising(cls, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        if scale is not None and scale[0] > scale[1]:
            raise ValueError("the smallest factor comes first")
        return scale


class Pictures(Section):
    """Changes of training pictures with one label each (clips of frames among them), one draw a sample.

    Attributes:
        modalities: that are pictures.
        crop: smallest and largest share of the area of a random crop, which is resized to the old size; its aspect
            lies between 3:4 and 4:3. None for no crop.
        flip: mirror left-right with probability one half.
    """

    modalities: Annotated[list[Name], Field(min_length=1)]
    crop: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] | None = (0.08, 1.0)
    flip: bool = True

    @field_validator("crop")
    @classmethod
    def _rising(cls, crop: tuple[float, float] | None) -> tuple[float, float] | None:
        if crop is not None and crop[0] > crop[1]:
            raise ValueError("the smallest share comes first")
        return crop


Edge = Annotated[int, Field(ge=4)]
Box = tuple[Edge, Edge, Edge]


class Patches(Section):
    """What a step sees of 3D scans: boxes at random places, turned, changed in intensity and mirrored.

    Attributes:
        size: voxels of a box along the three axes; None for whole scans, which then must be of one size.
        rotate: largest angle in degrees; a whole number of them from -rotate to rotate - 1, about a random one of the
            three planes, nearest voxel. 0 for none.
        intensity: a; each modality times U(1 - a, 1 + a) plus U(-a, a).
        intensity_per: draws of that for a "volume" and modality, or for each "slice" of the first axis too, as
            released.
        flip: mirror each axis with probability one half.
    """

    size: Box | None = None
    rotate: int = Field(10, ge=0, le=180)
    intensity: float = Field(0.1, ge=0, lt=1)
    intensity_per: Literal["volume", "slice"] = "volume"
    flip: bool = True


class Train(Section):
    """How a run is trained.

    Attributes:
        epochs: passes over the training split.
        steps: optimiser steps of a run, in place of epochs: as many passes as that takes, told as one epoch.
        batch_size: samples a step, or "all"; the last, smaller batch of a pass is left out in training only.
        accumulate: parts into which a step's batch is cut, whose gradients are summed before the optimiser
            moves; under torchrun the parts are dealt to the processes, whose number must divide it. The step is
            that of the whole batch for terms that are means over images or pixels. What sees a part at a time is
            another computation for another number of parts: ohem, released cmd (which mixes images), nce (whose
            strangers are those of the part), unique (a ratio of sums, and covariances), terms of plugins that are no
            such means, batch norm, dropout.
        lr: peak learning rate; warmup: share of all steps in which it rises linearly.
        warmup_start: share of the peak at the first step; None starts one warm-up step above zero.
        schedule: after warm-up: constant, cosine to zero, poly (1 - t)^0.9, or step: a tenth from `step_at` on.
        step_at: of schedule step, the share of the steps after warm-up that are taken at the peak.
        encoder_lr: factor on the learning rate of the encoders of a model that fuses modalities: the control without
            which DGL's α cannot be told from a step size. That is so under SGD, but for weight decay, which the factor
            scales and α does not. Adam divides α out of its steps, not this factor: there 1 is the control.
        holdout: share of the training samples, of every class, that no step sees; probes of a run's own encoders are
            judged on them.
        pictures: changes of training pictures with one label each.
        patches: what a step sees of 3D scans.
        amsgrad: of adam and adamw: steps by the largest second moment so far.
        clip: largest gradient norm of one run, None for no clipping.
        select: "best" takes the epoch with the best validation Mean, "last" the last one.
        precision: "auto" is bf16 autocast on CUDA and float32 elsewhere.
    """

    epochs: int = Field(12, ge=1)
    steps: int | None = Field(None, ge=1)
    batch_size: Annotated[int, Field(ge=1)] | Literal["all"] = 8
    accumulate: int = Field(1, ge=1)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["constant", "cosine", "poly", "step"] = "poly"
    warmup: float = Field(0.05, ge=0, lt=1)
    warmup_start: float | None = Field(None, ge=0, le=1)
    clip: float | None = Field(None, gt=0)
    select: Literal["best", "last"] = "best"
    precision: Literal["auto", "float32", "bf16"] = "auto"
    augment: Augment = Augment()
    step_at: float = Field(0.5, gt=0, lt=1)
    encoder_lr: float = Field(1.0, gt=0)
    holdout: float = Field(0.0, ge=0, lt=1)
    pictures: Pictures | None = None
    patches: Patches | None = None
    amsgrad: bool = False

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings, and with them the ids of runs, know nothing of what few recipes say."""
        rare = {"steps": None, "step_at": 0.5, "encoder_lr": 1, "holdout": 0, "pictures": None, "patches": None}
        return _without(handler(self), {**rare, "amsgrad": False})

    @property
    def passes(self) -> int:
        """Epochs as the history tells them."""
        return self.epochs if self.steps is None else 1

    def seen_of(self, n_train: int) -> int:
        """Training samples that steps see, of so many in the training split; of many, as `holdout` says."""
        return n_train - round(self.holdout * n_train)

    def batch_of(self, n_train: int) -> int:
        """Samples of a step, of so many that steps see."""
        return n_train if self.batch_size == "all" else min(self.batch_size, n_train)

    def total_steps(self, n_train: int) -> int:
        """Optimiser steps of the whole run, of so many samples in the training split."""
        seen = self.seen_of(n_train)
        return self.steps if self.steps is not None else self.epochs * (seen // self.batch_of(seen))


class Masks(Section):
    """Which modalities a training step sees.

    Of 3D scans each subject has modalities of its own, and the modes are of a subject: "permanent" (the default), those
    that the mask list gives it (utd); "dynamic", a non-empty subset of them, drawn anew every time (utd_drop); "free",
    the same of all that there are files of, without a mask list (`data.masks: null`).

    Attributes:
        mode: "dynamic" draws a non-empty subset a step, shared by the batch; "none" shows all, not of 3D scans.
        distribution: "cardinality": the number uniform over 1..M, then the subset (as released);
            "subset": uniform over the 2^M - 1 non-empty subsets (the default for 3D scans, as released there).
    """

    mode: Literal["dynamic", "none", "permanent", "free"] = "dynamic"
    distribution: Literal["cardinality", "subset"] = "cardinality"


class Evaluate(Section):
    """What is measured.

    Attributes:
        metric: "miou" in percent, from confusion counts summed over the split; "accuracy" in percent of the
            samples, where the data have one label each; "dice" in percent, and HD95, of the regions of 3D scans.
        subsets: "all" 2^M - 1 modality subsets, or a list of them, e.g. [F, FEL].
        classes: over which classes IoU is averaged: those present in truth or prediction, those in the truth
            ("in_target"), or all with absent ones counted 0 ("all_zero", as released).
        every: epochs between validations; the last epoch is always validated.
        batch_size: samples a forward pass; of 3D scans windows of one, 1 where it is not said.
        also: what stands beside the accuracy of models that fuse modalities: "probes" (accuracy of each modality by a
            linear probe of its frozen encoder), "own" (that of the model's own unimodal output), "gain" (accuracy less
            the best probe's), "scores" (macro-F1, log-loss, calibration error), "information" (unique, redundant and
            synergistic information of the probes' predictions), "gradients" (what the joint loss leaves of the
            gradient that each encoder would get alone). None: the first four.
        window, stride: of 3D scans: size of the boxes that a scan is read in, and their distance, the last ones flush
            with its end; None for whole scans, and half a window.
        apart: of 3D scans: groups of subsets whose Dice stands in a column of its own: "full", all modalities;
            "single", one; "unseen", those that are no training subject's in the mask list.
        hd95: of 3D scans: the 95th percentile of the surface distance, in mm, on the final model.
        one_empty: its value where truth or prediction alone is empty: the diagonal of the scan, or 1.0 ("released").
        min_et: a predicted enhancing tumour of fewer voxels counts as none (500 as released).
    """

    metric: Literal["miou", "accuracy", "dice"] = "miou"
    subsets: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"
    classes: Literal["present", "in_target", "all_zero"] = "present"
    every: int = Field(1, ge=1)
    batch_size: int = Field(32, ge=1)
    also: list[Literal["probes", "own", "gain", "scores", "information", "gradients"]] | None = None
    window: Box | None = None
    stride: Annotated[int, Field(ge=1)] | None = None
    apart: list[Literal["full", "single", "unseen"]] = Field(default_factory=list)
    hd95: bool = True
    one_empty: Literal["diagonal", "released"] = "diagonal"
    min_et: int = Field(0, ge=0)

    @field_validator("apart")
    @classmethod
    def _once(cls, apart: list[str]) -> list[str]:
        if len(set(apart)) != len(apart):
            raise ValueError("a group is given twice")
        return apart

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings, and with them the ids of runs, know nothing of what few recipes say."""
        volumes: dict[str, Any] = {
            "window": None,
            "stride": None,
            "apart": [],
            "hd95": True,
            "one_empty": "diagonal",
            "min_et": 0,
        }
        return _without(handler(self), {"also": None, **volumes})

    @property
    def extras(self) -> tuple[str, ...]:
        """What `also` comes to."""
        return tuple(self.also) if self.also is not None else ("probes", "own", "gain", "scores")


class Saving(Section):
    """How often the states of unfinished runs are saved: after so many seconds, or so many steps."""

    seconds: float | None = Field(None, gt=0)
    steps: int | None = Field(None, ge=1)


class Component(BaseModel):
    """A section that names a catalogue entry; the other keys are the entry's options."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: Name

    @property
    def options(self) -> dict[str, Any]:
        """The entry's own options."""
        return dict(self.model_extra or {})


class ModalityFiles(Section):
    """Where the images of one modality are.

    Attributes:
        files: pattern of paths below the root, with placeholders such as {split} and {id}.
        channels: which channels of them; None for all.
    """

    files: str
    channels: Annotated[list[ChannelNumber], Field(min_length=1)] | None = None


ModalitySource = Annotated[
    Annotated[list[ChannelNumber], Field(min_length=1), Tag("channels")]
    | Annotated[ModalityFiles, BeforeValidator(_pattern), Tag("files")],
    Discriminator(_modality_form),
]


class Data(Component):
    """The data.

    Attributes:
        modalities: names, in the order of the columns; or name -> channel numbers where the files are one
            stack of channels; or name -> files where each modality has its own.
        root: the user's folder; `--data-root` sets it.
        generate: without a root, a synthetic set of these options, made once in the cache folder; {} for the
            generator's defaults.
    """

    modalities: Annotated[
        Annotated[list[Name], Field(min_length=1, max_length=10), Tag("list")]
        | Annotated[dict[Name, ModalitySource], Field(min_length=1, max_length=10), Tag("mapping")]
        | Annotated[None, Tag("none")],
        Discriminator(_modalities_form),
    ] = None
    root: str | None = None
    generate: dict[str, Any] | None = None


class Model(Component):
    """The student."""


class Method(Component):
    """The update rule."""


class Teacher(Component):
    """The frozen teacher: the student's model unless its name or options say otherwise.

    Attributes:
        seed: "paired": one teacher a seed; "shared": that of the first seed for all; or a number.
        checkpoint: a safetensors file, or a .pt file of plain tensors, in place of training one.
        train: changes to `train` for the teacher.
        row: show the teacher as a reference row.
    """

    seed: Literal["paired", "shared"] | Seed = "paired"
    checkpoint: str | None = None
    train: dict[str, Any] = Field(default_factory=dict)
    row: bool = False


class Pretrain(Section):
    """Encoders that learn from pairs without labels before the model is trained with them.

    Attributes:
        name: "contrastive": symmetric InfoNCE over the batch (as CLIP), between all pairs of modalities.
        dim: of the space in which the modalities are compared.
        then: "tune": the encoders go on learning; "freeze": they stay as they are; "none": no pre-training.
        train: changes to `train` for it.
    """

    name: Literal["contrastive"] = "contrastive"
    dim: int = Field(64, ge=2)
    then: Literal["tune", "freeze", "none"] = "tune"
    train: dict[str, Any] = Field(default_factory=dict)


class Focus(Section):
    """Which channels of the teacher the student learns from (the modality focusing hypothesis).

    A teacher and a student are trained jointly (Algorithm 1) to find how much modality-general decisive information
    each channel of the teacher carries; then some channels are taken away.

    Attributes:
        keep: "all"; "general": the most salient; "specific": what is left without the most salient; "random";
            "known": those that the generator made general, where the data are generated.
        ratio: share of the channels that is taken away, rounded down to whole channels, as published.
        count: in place of ratio, how many channels stay ("general", "random") or go ("specific"): a number,
            "significant" (as many as are found salient, false discovery rate 5 %), or "known" (as many as the
            generator made general: the oracle of the released code).
        replacement: draw "random" channels with replacement, as the released code of the Gaussian data does.
        place: of the teacher's network, e.g. input or fc2.
        removal: "drop" leaves input channels out, and a teacher is trained anew on the others; "zero", "mean" (of
            the training set) or "batch_mean" (of the batch, as released) replaces them in the jointly trained
            teacher.
        distance: between the logits of both: "squared" or "l1", mean over samples and classes.
        permutations: of every channel, M.
        split: whose samples they are permuted over: "train" as published, or "val". No labels are needed for it.
        joint: weight of the distance in the joint training; 0 trains both apart, as for VGGSound.
        train: changes to `train` for the joint training.
        saliency: the user's own vector, a .npy file with one number a channel, in place of the joint training.
    """

    keep: Literal["all", "general", "specific", "random", "known"] = "all"
    ratio: float | None = Field(None, ge=0, lt=1)
    count: Annotated[int, Field(ge=1)] | Literal["significant", "known"] | None = None
    replacement: bool = False
    place: str = "input"
    removal: Literal["drop", "zero", "mean", "batch_mean"] = "mean"
    distance: Literal["squared", "l1"] = "squared"
    permutations: int = Field(10, ge=1)
    split: Literal["train", "val"] = "train"
    joint: float = Field(1.0, ge=0)
    train: dict[str, Any] = Field(default_factory=dict)
    saliency: str | None = None

    @model_validator(mode="after")
    def _sound(self) -> Focus:
        if self.ratio is not None and self.count is not None:
            raise ValueError(f"ratio {self.ratio:g} or count {self.count}, not both")
        if self.removal == "drop" and self.place != "input":
            raise ValueError(f"removal: drop leaves out inputs, place: input, got {self.place}")
        return self

    @property
    def retrains(self) -> bool:
        """Whether a teacher is trained anew on the channels that stay."""
        return self.removal == "drop"

    @property
    def number(self) -> int | float | str:
        """How many channels stay or go: a count, "significant", "known", or a share as a float."""
        return self.ratio if self.ratio is not None else "significant" if self.count is None else self.count


class Loss(BaseModel):
    """A loss term of the recipe.

    Attributes:
        term: entry of the catalogue; by default the key itself.
        weight: factor; 0 means absent.
        symbol: of the weight, as printed.
        label: subscript of L as printed.
        definition: one of the entry's named definitions.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    term: str | None = None
    weight: float = Field(1.0, ge=0)
    symbol: str | None = None
    label: str | None = None
    definition: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The term's own options."""
        return dict(self.model_extra or {})


class RowSpec(Section):
    """One row: a list of losses, overrides, or both."""

    name: Name
    label: str | None = None
    losses: list[str] | None = None
    overrides: dict[str, Any] = Field(default_factory=dict)


Dimensions = list[Name] | Literal["losses"]


class Fractional(Section):
    """A two-level fractional factorial.

    Attributes:
        factors: of two levels each, the first as -1 and the second as +1; or "losses", absent and present.
        generators: `D = A*B*C` (or `D = -A*B*C`): the level of D is the product of the others'.
    """

    factors: Dimensions
    generators: Annotated[list[str], Field(min_length=1)]


# A rule of `require`; a class could not have a field of the name `if`.
Requirement = TypedDict("Requirement", {"if": dict[str, Any], "then": Annotated[dict[str, Any], Field(min_length=1)]})
Requirement.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]


class Expander(Section):
    """Rows made from factors; exactly one of the first six keys.

    Attributes:
        product: every combination of levels (`factorial` is the same by its other name).
        zip: the i-th levels of all factors together.
        leave_one_out: all factors at their last level, then each in turn at its first.
        add_one_in: all at their first level, then each in turn at its last.
        fractional: a fraction of the combinations of two-level factors; the study's notes say what it cannot tell
            apart.
        keep: with "losses" as the factors, terms that every row has.
        exclude: combinations left out, {factor: level, ...}; a list of levels means any of them.
        require: rules {if: {factor: level, ...}, then: {factor: level, ...}}: a combination that answers to `if`
            is a row only if it answers to `then`; levels as in `exclude`.
    """

    product: Dimensions | None = None
    factorial: Dimensions | None = None
    zip: Dimensions | None = None
    leave_one_out: Dimensions | None = None
    add_one_in: Dimensions | None = None
    fractional: Fractional | None = None
    keep: list[str] = Field(default_factory=list)
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    require: list[Requirement] = Field(default_factory=list)


RowItem = Annotated[
    Annotated[list[str], Field(min_length=1), Tag("list")]
    | Annotated[RowSpec, Tag("row")]
    | Annotated[Expander, Tag("expander")],
    Discriminator(
        _row_form,
        custom_error_type="row_form",
        custom_error_message="a row is a list of losses, {name, losses, overrides} or {product: [...]} and its like",
    ),
]
Rows = Annotated[
    Annotated[list[RowItem], Field(min_length=1), Tag("list")]
    | Annotated[Expander, Tag("expander")]
    | Annotated[None, Tag("none")],
    Discriminator(_rows_form),
]


SweepBound = Annotated[float, BeforeValidator(number)]


class SweepParameter(Section):
    """A parameter that `mmablate sweep --param` may name; `values`, `range` or both.

    Attributes:
        path: dotted key or keys that it sets; by default the weight with that symbol.
        values: the grid; a search without `range` chooses among them.
        range: lowest and highest value of a search; a grid without `values` divides it evenly.
        log: the range is logarithmic.
        integer: whole numbers only. Keys of mmablate's own that hold whole numbers (train.epochs) need not say it.
        symbol: as printed.
        row: in which it is varied; None for the first row that contains the term, or for the last one where it is of
            no term.
    """

    path: str | list[str] | None = None
    values: Annotated[
        list[Annotated[float | int | str | bool, BeforeValidator(number)]] | None, Field(min_length=1)
    ] = None
    range: tuple[SweepBound, SweepBound] | None = None
    log: bool = False
    integer: bool = False
    symbol: str | None = None
    row: Name | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> SweepParameter:
        if self.values is None and self.range is None:
            raise ValueError("needs `values` or `range`")
        if self.range is None and (self.log or self.integer):
            raise ValueError("`log` and `integer` are about a `range`")
        if self.range is not None and (fault := range_fault(*self.range, log=self.log, integer=self.integer)):
            raise ValueError(fault)
        return self


def range_fault(low: float, high: float, *, log: bool, integer: bool = False) -> str | None:
    """What makes two bounds no range, or None."""
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        return f"a range is LO < HI, got {low:g} and {high:g}"
    if log and low <= 0:
        return f"a logarithmic range lies above 0, got {low:g}"
    if integer and (low != int(low) or high != int(high)):
        return f"a range of whole numbers ends at whole numbers, got {low:g} and {high:g}"
    return None


class Search(Section):
    """How `mmablate sweep --sampler tpe|random` judges a trial. Only validation scores are looked at.

    Attributes:
        objective: "mean" over seeds, or "lcb": the one-sided bound of that mean by Student's t, which for a column
            where more is better lies below it, else above it.
        confidence: of that bound.
        column: of the table; None for Mean, or for the only column.
        prune: between seeds: "median" stops a trial whose mean over two seeds or more is worse than the median of the
            complete ones after as many, once there are five; "wilcoxon" one that is worse than the best one seed by
            seed, at p < 0.1 (which takes four seeds or more).
        seed: of the sampler.
    """

    objective: Literal["mean", "lcb"] = "mean"
    confidence: float = Field(0.95, gt=0.5, lt=1)
    column: str | None = None
    prune: Literal["none", "median", "wilcoxon"] = "none"
    seed: Seed = 0


class Report(Section):
    """What the page of a study shows beside its table; no run depends on it.

    Attributes:
        conditions: values of the data's conditions, e.g. [night, fog]: each gets the table once more, on the
            samples of that condition alone.
        samples: scenes whose predictions are shown.
        labels: row or column -> as printed, e.g. {F: Kamera}.
        decimal: the decimal sign of printed tables; CSV and JSON keep the point.
        columns: facts of the models that stand beside the scores; None for all that are known.
    """

    conditions: list[str] = Field(default_factory=list)
    samples: int = Field(4, ge=0, le=16)
    labels: dict[str, str] = Field(default_factory=dict)
    decimal: Literal[".", ","] = "."
    columns: list[Literal["parameters", "flops", "time"]] | None = None


class Significance(Section):
    """Which cells are tested together.

    Attributes:
        primary: the column whose p-values form a family of their own.
        family: "table": all other cells are one family; "column": one family a column.
        confidence: of the intervals of Δ.
    """

    primary: str | None = "Mean"
    family: Literal["table", "column"] = "table"
    confidence: float = Field(0.95, gt=0.5, lt=1)


class Recipe(Section):
    """A whole recipe, profile and overrides applied.

    Attributes:
        rows: forms of the table's rows; None is one row of all losses.
        baseline: a row's name, or {factor: level} for one baseline per combination of the other factors.
        smallest_effect: smallest |Δ| worth detecting, in the unit of the columns: tables then say how many seeds
            that takes.
        claims: sentences that `mmablate check` tests (`mmablate.claims` has their forms).
        execution: "stacked" steps runs that allow it as one, "in-turn" one after the other; "auto" measures on CUDA and
            goes in turn on a CPU. --mode says otherwise.
        save_every: how often the states of unfinished runs are saved: `90s`, `5min`, `200 steps`; null for never.
        timeout: seconds without a sign of life after which a run counts as hung and is ended; null for never.
        n_decimals: that tables print.
    """

    name: Name
    title: str = ""
    caption: str = ""
    data: Data
    model: Model
    method: Annotated[Method, BeforeValidator(_named)] = Method(name="anymodal")
    teacher: Teacher | None = None
    train: Train = Train()
    masks: Masks = Masks()
    losses: dict[Name, Loss] = Field(min_length=1)
    focus: Focus | None = None
    pretrain: Pretrain | None = None
    factors: dict[Name, dict[Name, dict[str, Any]]] = Field(default_factory=dict)
    rows: Rows = None
    baseline: str | dict[str, str] | None = None
    seeds: Seeds = Field(default_factory=lambda: [0, 1, 2, 3, 4])
    evaluate: Evaluate = Evaluate()
    sweep: dict[Name, SweepParameter] = Field(default_factory=dict)
    search: Search = Search()
    significance: Significance = Significance()
    smallest_effect: float | None = Field(None, gt=0)
    report: Report = Report()
    claims: list[str] = Field(default_factory=list)
    checkpoints: Literal["teacher", "all"] = "teacher"
    execution: Literal["auto", "in-turn", "stacked"] = "auto"
    save_every: Annotated[Saving | None, BeforeValidator(_saving)] = Saving(seconds=120)
    timeout: float | None = Field(3600, gt=0)
    n_decimals: int = Field(2, ge=0, le=6)
