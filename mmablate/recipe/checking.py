"""From a parsed document to a `Recipe`: every problem is found and told together, with file and line.

Three looks, each at what the look before left standing: pydantic at every section, the catalogue at every
component's options, and the sections at one another.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mmablate.catalog import entries, find
from mmablate.catalog.entries import DatasetEntry, LossEntry, MethodEntry, ModelEntry
from mmablate.claims import parse_claim
from mmablate.errors import RecipeError
from mmablate.recipe.merging import merge
from mmablate.recipe.programs import GIVEN, ProgramRecipe, leaves, names_a_program, unknown_placeholders
from mmablate.recipe.reading import KeyPath, Source, dotted
from mmablate.recipe.schema import (
    GREEK,
    Augment,
    Component,
    Data,
    Evaluate,
    Focus,
    Loss,
    Masks,
    Method,
    Model,
    Pretrain,
    Recipe,
    Teacher,
    Train,
)  # fmt: skip
from mmablate.recipe.volumes import check_volumes, check_without_volumes, fill_for_volumes


@dataclass
class Draft:
    """A recipe under inspection.

    Attributes:
        source: the document, profile and overrides applied.
        sections: name -> section, for those that are sound so far.
        problems: lines for the user.
        reports: the same as path and text, without the place.
        terms: the losses in use, where that is known: those of one row; None for all of them.
        form: what the document is to become.
    """

    source: Source
    sections: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    reports: list[tuple[KeyPath, str]] = field(default_factory=list)
    terms: Collection[str] | None = None
    form: type[Recipe] | type[ProgramRecipe] = Recipe

    def report(self, path: KeyPath, text: str) -> None:
        """Notes a problem of the key at `path`."""
        key = dotted(path)
        self.reports.append((path, text))
        self.problems.append(f"{self.source.place(path)}: {key}{': ' if key else ''}{text}")

    def has(self, *names: str) -> bool:
        """Whether these sections are sound."""
        return all(name in self.sections for name in names)

    def used(self) -> dict[str, Loss]:
        """The sound losses that are in use."""
        losses: Mapping[str, Loss] = self.sections["losses"]
        return {key: loss for key, loss in losses.items() if self.terms is None or key in self.terms}

    def finish(self) -> Recipe:
        """The recipe.

        Raises:
            RecipeError: with every problem; a recipe that runs a program has nothing of ours to train.
        """
        if self.form is not Recipe:
            self.report(("run",), "the recipe runs a program; ablate, sweep and train take it")
        if self.problems:
            raise RecipeError(self.problems)
        return Recipe.model_construct(**self.sections)

    def finish_program(self) -> ProgramRecipe:
        """The recipe of a program.

        Raises:
            RecipeError: with every problem.
        """
        if self.problems:
            raise RecipeError(self.problems)
        return ProgramRecipe.model_construct(**self.sections)


Complete = Callable[[Draft, str, Any], Loss | None]  # what `complete_loss` is


def check(source: Source, terms: Collection[str] | None = None) -> Draft:
    """Looks at everything that can be known without the data and without the table's rows.

    Args:
        terms: the losses that a row has; the others need no method or teacher.
    """
    if names_a_program(source.data):
        return _check_program(source)
    draft = Draft(source, terms=terms)
    check_sections(draft)
    fill_for_task(draft)
    check_modalities(draft)
    check_components(draft)
    check_generate(draft)
    check_method(draft)
    check_teacher(draft)
    check_subsets(draft)
    check_claims(draft)
    check_tasks(draft)
    check_focus(draft)
    check_fused(draft)
    return draft


def _check_program(source: Source) -> Draft:
    """The same looks at a recipe that runs a program."""
    draft = Draft(source, form=ProgramRecipe)
    ours = [key for key in Recipe.model_fields if key in source.data and key not in ProgramRecipe.model_fields]
    if ours:
        names = ", ".join(ours)
        draft.report((ours[0],), f"a recipe that runs a program has no {names}: what it reads stands in settings")
        draft.source = source = Source({k: v for k, v in source.data.items() if k not in ours}, source.places)
    check_sections(draft)
    check_claims(draft)
    if draft.has("run", "settings") and draft.sections["run"].command is not None:
        unknown = unknown_placeholders(draft.sections["run"].command, draft.sections["settings"])
        if unknown:
            there = ", ".join([*leaves(draft.sections["settings"]), *GIVEN])
            draft.report(("run", "command"), f"no setting for {', '.join(map(repr, unknown))} (there are: {there})")
    if draft.has("report") and draft.sections["report"].conditions:
        draft.report(("report", "conditions"), "a program's scores are not told by condition")
    if draft.has("significance", "metrics"):
        primary = draft.sections["significance"].primary
        written = "primary" in draft.sections["significance"].model_fields_set
        if written and primary is not None and primary not in draft.sections["metrics"]:
            there = ", ".join(draft.sections["metrics"])
            draft.report(("significance", "primary"), f"one of the metrics ({there}), got {primary!r}")
    return draft


def check_sections(draft: Draft) -> None:
    """Every section by its types; names of keys that no recipe has are told too."""
    form: type[BaseModel] = draft.form
    try:
        form.model_validate(draft.source.data)
        bad: set[Any] = set()
    except ValidationError as error:
        bad = {detail["loc"][0] for detail in error.errors()}
        report_validation(draft, error, ())
    for name, info in form.model_fields.items():
        if name in bad:
            continue
        if name in draft.source.data:
            draft.sections[name] = _adapter(form, name).validate_python(draft.source.data[name])
        elif not info.is_required():
            draft.sections[name] = info.get_default(call_default_factory=True)


def check_section(draft: Draft, name: str) -> None:
    """One section of those that the source has, by itself; the others are not looked at."""
    try:
        draft.sections[name] = _adapter(draft.form, name).validate_python(draft.source.data[name])
    except ValidationError as error:
        report_validation(draft, error, (name,))


@cache
def _adapter(form: type[BaseModel], name: str) -> TypeAdapter[Any]:
    """Of a recipe key's type with its constraints (model_fields keeps the two apart)."""
    return TypeAdapter(get_type_hints(form, include_extras=True)[name])


def report_validation(draft: Draft, error: ValidationError, prefix: KeyPath, *options: type[BaseModel]) -> None:
    """Notes what pydantic found below `prefix`, where `options` are models beside that of the recipe."""
    grouped: dict[KeyPath, list[str]] = {}
    values: dict[KeyPath, Any] = {}
    details = error.errors()
    for detail in details:
        if detail["type"] == "too_short" and any(_below(other["loc"], detail["loc"]) for other in details):
            continue  # of a list whose items are faulty pydantic counts the sound ones alone
        path = (*prefix, *_real_path(detail, _at(draft.source.data, prefix)))
        value = detail.get("input")
        tag = str(detail.get("ctx", {}).get("discriminator", "")).strip("'")
        if tag.isidentifier() and isinstance(value, Mapping):  # the key that says what the others are of
            path, value = (*path, tag), value.get(tag)
        grouped.setdefault(path, []).append(_rule(detail, path, prefix, draft.form, options))
        values[path] = value
    for path, rules in grouped.items():
        text = " or ".join(dict.fromkeys(rules))
        shown = "" if text.startswith(("missing", "unknown")) else f", got {_short(values[path])}"
        draft.report(path, text + shown)


def _below(path: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(path) > len(other) and path[: len(other)] == other


def _real_path(detail: ErrorDetails, data: Any) -> KeyPath:
    """The keys of a pydantic location that stand in the document (union tags do not)."""
    path: list[str | int] = []
    here = data
    for part in detail["loc"]:
        below = _child(here, part)
        if below is not _ABSENT:
            here = below
            path.append(part)
        elif detail["type"] == "missing" and part == detail["loc"][-1]:
            path.append(part)
    return tuple(path)


_ABSENT = object()


def _child(data: Any, key: str | int) -> Any:
    if isinstance(data, Mapping):
        return data.get(key, _ABSENT)
    return data[key] if isinstance(data, list) and isinstance(key, int) and key < len(data) else _ABSENT


def _rule(
    detail: ErrorDetails, path: KeyPath, prefix: KeyPath, form: type[BaseModel], options: tuple[type[BaseModel], ...]
) -> str:
    if detail["type"] == "extra_forbidden":
        known = [*_keys([form], path[:-1]), *_keys(options, path[len(prefix) : -1])]
        if len(path) == 1 and path[0] in GREEK:
            return f"unknown key; the weight {GREEK[str(path[0])]} of a loss is set as losses.TERM.weight"
        # A key of another kind of component is known, and no slip of the pen.
        near = [] if path[-1] in known else difflib.get_close_matches(str(path[-1]), known, n=1)
        return "unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    if detail["type"] in ("missing", "union_tag_not_found"):
        return "missing"
    if detail["type"] == "union_tag_invalid":
        return f"should be one of {detail['ctx']['expected_tags']}".replace("'", "")
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("valid tuple", "list")
    text = text.replace("Tuple should have", "list should have")
    return text[:1].lower() + text[1:]


def _keys(models: Iterable[Any], path: KeyPath) -> list[str]:
    """The keys that the models know at `path`: a key of a model leads to its type, any other part to the
    items of a list or mapping."""
    here = [model for model in models if isinstance(model, type) and issubclass(model, BaseModel)]
    for part in path:
        fields = [model.model_fields[str(part)] for model in here if str(part) in model.model_fields]
        here = [found for info in fields for found in _models(info.annotation)] if fields else here
    return [name for model in here for name in model.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a type names, itself or inside unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models(inner)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _at(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data.get(part, {}) if isinstance(data, Mapping) else {}
    return data


# --- components -------------------------------------------------------------------------------------------


def check_components(draft: Draft, complete: Complete | None = None) -> None:
    """The options of data, model, method and losses, with their defaults."""
    for name, kind, rebuild in (
        ("data", "dataset", Data),
        ("model", "model", Model),
        ("method", "method", Method),
    ):
        if draft.has(name):
            section = draft.sections.pop(name)
            options = _options(draft, (name,), kind, section.name, section.options, (name, "name"))
            if options is not None:
                draft.sections[name] = rebuild(**_own(section), **options)
    _check_losses(draft, complete or complete_loss)


def _check_losses(draft: Draft, complete: Complete) -> None:
    """Each term for itself: a fault in one does not hide those of the others."""
    raw = draft.source.data.get("losses")
    items = raw.items() if isinstance(raw, Mapping) else ()
    losses = {key: complete(draft, str(key), given) for key, given in items}
    if draft.has("losses"):
        draft.sections["losses"] = {key: loss for key, loss in losses.items() if loss is not None}


def _own(section: BaseModel) -> dict[str, Any]:
    return {key: getattr(section, key) for key in type(section).model_fields}


def _options(
    draft: Draft, prefix: KeyPath, kind: str, name: str, given: dict[str, Any], name_path: KeyPath
) -> dict[str, Any] | None:
    """The component's options with their defaults; None (and problems noted) where they are not sound."""
    try:
        entry = find(kind, name)
    except KeyError as error:
        draft.report(name_path, error.args[0])
        return None
    try:
        options: BaseModel = entry.options.model_validate(given)
    except ValidationError as error:
        report_validation(draft, error, prefix, entry.options)
        return None
    return options.model_dump(mode="json")


def complete_loss(draft: Draft, key: str, given: Any) -> Loss | None:
    """The term with its options and their defaults; None where it is not sound."""
    try:
        loss = Loss.model_validate(given)
    except ValidationError:
        return None  # told with its section
    term = loss.term or key
    path: KeyPath = ("losses", key)
    options = _options(draft, path, "loss", term, loss.options, (*path, "term") if loss.term else path)
    if term not in entries("loss"):
        return None
    entry: LossEntry = find("loss", term)
    definition = loss.definition or next(iter(entry.definitions))
    if definition not in entry.definitions:
        known = ", ".join(entry.definitions)
        draft.report((*path, "definition"), f"the term {term!r} has the definitions {known}, got {definition!r}")
        return None
    if options is None:
        return None
    symbol = loss.symbol if loss.symbol is not None else entry.symbol
    label = loss.label or (entry.label if loss.term in (None, key) else key)
    own = {"term": term, "weight": loss.weight, "symbol": symbol, "label": label, "definition": definition}
    return Loss(**own, **options)


# --- what the task of the data asks for -----------------------------------------------------------------------


def fill_for_task(draft: Draft) -> None:
    """Data of one label a sample, or of 3D scans: what a recipe does not say is what they need."""
    task = _task_of("dataset", draft.sections["data"]) if draft.has("data") else None
    if task == "volumes":
        fill_for_volumes(draft)
    if task != "classification":
        return
    raw = draft.source.data
    if "method" not in raw:
        draft.sections["method"] = Method(name="joint_fusion" if _fuses(draft.sections.get("model")) else "crossmodal")
    if "masks" not in raw:
        draft.sections["masks"] = Masks(mode="none")
    if draft.has("evaluate") and "metric" not in (raw.get("evaluate") or {}):
        draft.sections["evaluate"] = draft.sections["evaluate"].model_copy(update={"metric": "accuracy"})
    if draft.has("evaluate") and draft.sections["evaluate"].metric != "accuracy":
        draft.report(
            ("evaluate", "metric"), f"the data have one label a sample: accuracy, got {raw['evaluate']['metric']!r}"
        )
    if draft.has("train"):
        train: Train = draft.sections["train"]
        if "augment" in (raw.get("train") or {}) and train.augment != Augment(flip=False):
            draft.report(("train", "augment"), "augmentation is of images with a label a pixel; leave it out")
        draft.sections["train"] = train.model_copy(update={"augment": Augment(flip=False)})
    if draft.has("significance") and "primary" not in (raw.get("significance") or {}):
        draft.sections["significance"] = draft.sections["significance"].model_copy(update={"primary": "Acc"})


def check_tasks(draft: Draft) -> None:
    """Data, models and method are of one task, and models see modalities that there are."""
    if not draft.has("data") or (task := _task_of("dataset", draft.sections["data"])) is None:
        return
    data: Data = draft.sections["data"]
    if draft.has("evaluate") and task == "segmentation" and draft.sections["evaluate"].metric != "miou":
        found = draft.sections["evaluate"].metric
        draft.report(("evaluate", "metric"), f"the data have a label a pixel: miou, got {found!r}")
    if task != "volumes":
        check_without_volumes(draft)
    for key, kind in (("model", "model"), ("teacher", "model"), ("method", "method")):
        section: Component | None = draft.sections.get(key)
        if section is None or (own := _task_of(kind, section)) is None:
            continue
        if own != task:
            draft.report((key, "name"), f"{section.name!r} is of {own}, the data {data.name!r} are of {task}")
        seen = section.options.get("modality")
        names = list(data.modalities or ())
        if own == task and seen is not None and names and seen not in names:
            draft.report((key, "modality"), f"one of the data's modalities ({', '.join(names)}), got {seen!r}")


def _task_of(kind: str, section: Component) -> str | None:
    return find(kind, section.name).task if section.name in entries(kind) else None


def _fuses(model: Component | None) -> bool:
    return model is not None and model.name in entries("model") and bool(find("model", model.name).multimodal)


def check_fused(draft: Draft) -> None:
    """Models that fuse modalities, the update rules that train them, and what only they may have."""
    if not draft.has("model", "data", "method"):
        return
    model: Model = draft.sections["model"]
    method: Method = draft.sections["method"]
    if model.name not in entries("model") or method.name not in entries("method"):
        return
    if (task := _task_of("dataset", draft.sections["data"])) != "classification":
        if task == "volumes":
            check_volumes(draft)
        elif task is not None:
            _check_unfused(draft, model)
            _check_labels_a_pixel(draft)
        return
    entry: ModelEntry = find("model", model.name)
    if not _of_recipes(draft, entry, method):
        return
    rule: MethodEntry = find("method", method.name)
    if entry.multimodal != rule.fuses and rule.task == "classification":
        what = "fuses modalities" if entry.multimodal else "sees one modality"
        able = [n for n in entries("method") if _trains(n, entry.multimodal)]
        draft.report(("method",), f"the model {model.name!r} {what}: one of {', '.join(able)}, got {method.name!r}")
    teacher: Teacher | None = draft.sections.get("teacher")
    if teacher is not None and teacher.row and rule.fuses:
        draft.report(("teacher", "row"), f"no term of {method.name!r} compares with a teacher: leave it out")
    if not entry.multimodal:
        _check_unfused(draft, model)
    elif draft.has("train"):
        _check_seen(draft, entry, model)
        _check_pretrain(draft)
        _check_beside(draft)
    _check_pictures(draft)


# Of `study.columns`, which this room does not know; a test holds them together.
_COLUMNS = {
    "gain": ("Gain",),
    "scores": ("F1", "NLL", "ECE"),
    "information": ("R", "S"),
    "gradients": ("Shrunk", "Skew"),
}


def _check_beside(draft: Draft) -> None:
    """Columns beside the accuracy are there, and none is called as a modality, whose scores it would replace."""
    names = list(draft.sections["data"].modalities or ())
    evaluate: Evaluate | None = draft.sections.get("evaluate")
    if evaluate is None or not names:
        return
    columns = ["Acc", *(column for kind in evaluate.extras for column in _COLUMNS.get(kind, ()))]
    if odd := [name for name in names if name in columns]:
        draft.report(("data", "modalities"), f"names other than those of columns ({', '.join(columns)}), got {odd}")
    if "information" in evaluate.extras and len(names) != 2:
        draft.report(("evaluate", "also"), f"information is that of two modalities, and the data have {names}")


def _check_unfused(draft: Draft, model: Model) -> None:
    """What a model that fuses no modalities would not heed."""
    if draft.sections.get("pretrain") is not None:
        draft.report(
            ("pretrain",), f"pairs of modalities are learned from, and {model.name!r} does not fuse modalities"
        )
    train: Train | None = draft.sections.get("train")
    if train is not None and train.encoder_lr != 1:
        draft.report(("train", "encoder_lr"), f"of a model with encoders, got {train.encoder_lr:g} for {model.name!r}")
    evaluate: Evaluate | None = draft.sections.get("evaluate")
    if evaluate is not None and evaluate.also is not None:
        draft.report(("evaluate", "also"), f"of a model that fuses modalities, got {evaluate.also} for {model.name!r}")


def _check_labels_a_pixel(draft: Draft) -> None:
    """What is for samples with one label each."""
    train: Train | None = draft.sections.get("train")
    for key in ("holdout", "pictures") if train is not None else ():
        if getattr(train, key):
            draft.report(
                ("train", key),
                f"for samples with one label each; the data {draft.sections['data'].name!r} have one a pixel",
            )


def _check_pictures(draft: Draft) -> None:
    names = tuple(draft.sections["data"].modalities or ())
    train: Train | None = draft.sections.get("train")
    pictures = train.pictures if train is not None else None
    if pictures is not None and names and (odd := [name for name in pictures.modalities if name not in names]):
        there = ", ".join(names)
        draft.report(("train", "pictures", "modalities"), f"modalities of the data ({there}), got {', '.join(odd)}")


_STAGES = {"joint_pair": "focus", "contrastive": "pretrain"}  # update rules that no recipe's `method` can be


def _of_recipes(draft: Draft, entry: ModelEntry, method: Method) -> bool:
    """Whether a recipe may name them, or they are those of a stage before it; told where they are."""
    told = False
    if entry.task == "classification" and not entry.multimodal and "modality" not in entry.options.model_fields:
        able = [n for n in entries("model") if (other := find("model", n)).multimodal and other.task == entry.task]
        draft.report(
            ("model", "name"), f"encoders alone classify nothing: one of {', '.join(able)}, got {entry.name!r}"
        )
        told = True
    if method.name in _STAGES:
        able = [name for name in entries("method") if _trains(name, entry.multimodal)]
        text = f"{method.name!r} is the rule of a `{_STAGES[method.name]}`: one of {', '.join(able)}"
        draft.report(("method", "name"), text)
        told = True
    return not told


def _trains(method: str, several: bool) -> bool:
    entry: MethodEntry = find("method", method)
    return entry.task == "classification" and entry.fuses == several and method not in _STAGES


_HEARD_ALONE = ("concat", "sum", "late")  # fusions whose output for one modality alone the joint loss trains


def _check_seen(draft: Draft, entry: ModelEntry, model: Model) -> None:
    """The modalities that a model fuses are there, and it can be built for them."""
    names = tuple(draft.sections["data"].modalities or ())
    seen = model.options.get("modalities")
    lacking = [name for name in seen or () if name not in names]
    if names and lacking:
        there = ", ".join(names)
        draft.report(("model", "modalities"), f"modalities of the data ({there}), got {', '.join(lacking)}")
        return
    shown = tuple(seen) if seen else names
    for fault in entry.faults(model.options, names or shown):
        draft.report(("model",), fault)
    pretrain: Pretrain | None = draft.sections.get("pretrain")
    if pretrain is not None and pretrain.then != "none" and len(shown) < 2:
        draft.report(("pretrain",), f"pairs of modalities are learned from, and the model sees {list(shown)}")
    used = draft.used() if draft.has("losses") else {}
    for key in [key for key, loss in used.items() if find("loss", str(loss.term)).experts and loss.weight > 0]:
        if len(shown) < 2:
            draft.report(("losses", key), f"unique information takes two modalities, and the model sees {list(shown)}")
        if draft.sections["train"].holdout == 0:
            text = "held-out training samples tell how weak a modality is: give train.holdout, e.g. 0.2"
            draft.report(("losses", key), text)
        if draft.sections["train"].steps is not None:
            text = "how weak a modality is, is looked at as epochs begin, and steps are one epoch: give train.epochs"
            draft.report(("losses", key), f"{text}, got train.steps {draft.sections['train'].steps}")
    if draft.sections["method"].name == "ogm_ge" and model.options.get("fusion") not in _HEARD_ALONE:
        text = "ogm_ge compares what the joint loss makes of each modality alone, with a fusion of concat, sum or late"
        draft.report(("method", "name"), f"{text}, got {model.options.get('fusion')}")
    if draft.sections["method"].name == "ogm_ge" and len(shown) == 1:
        draft.report(("method", "name"), f"ogm_ge compares two modalities at least, and the model sees {list(shown)}")


def _check_pretrain(draft: Draft) -> None:
    pretrain: Pretrain | None = draft.sections.get("pretrain")
    if pretrain is None or not pretrain.train:
        return
    for key in [key for key in ("holdout", "encoder_lr") if key in pretrain.train]:
        draft.report(("pretrain", "train", key), "as of the training that follows: say it in train")
    try:
        Train.model_validate(merge(draft.sections["train"].model_dump(mode="json"), pretrain.train))
    except ValidationError as error:
        report_validation(draft, error, ("pretrain", "train"), Train)


def _known_general(data: Data) -> bool:
    return data.name in entries("dataset") and bool(find("dataset", data.name).known_general)


def check_focus(draft: Draft) -> None:
    """A focus is on a teacher, at a place that it has."""
    focus: Focus | None = draft.sections.get("focus")
    if focus is None or not draft.has("teacher"):
        return
    teacher: Teacher | None = draft.sections["teacher"]
    if teacher is None:
        draft.report(("focus",), "a focus is on the channels of a teacher, and the recipe has no `teacher:`")
        return
    if teacher.name not in entries("model"):
        return
    entry: ModelEntry = find("model", teacher.name)
    options = _complete_options(entry, teacher)
    if options is None or (draft.has("data") and _task_of("dataset", draft.sections["data"]) not in (None, entry.task)):
        return  # told elsewhere
    places = entry.places(options)
    if not places:
        draft.report(("focus",), f"the model {teacher.name!r} has no places whose channels could be looked at")
    elif focus.place not in places[:-1]:
        draft.report(("focus", "place"), f"a place of {teacher.name} ({', '.join(places[:-1])}), got {focus.place!r}")
    elif isinstance(focus.count, int) and focus.count > (width := entry.widths(options).get(focus.place, focus.count)):
        draft.report(("focus", "count"), f"at most the {width} channels of {focus.place}, got {focus.count}")
    _check_known(draft, focus)
    counted = focus.keep == "random" and focus.number == "significant"
    if teacher.checkpoint is not None and focus.saliency is None and (focus.keep in ("general", "specific") or counted):
        text = (
            "the saliency of another teacher's channels says nothing of teacher.checkpoint: give its own with saliency"
            + (", or say with ratio or count how many channels stay" if counted else "")
        )
        draft.report(("focus", "keep"), f"{text}, got {focus.keep!r}")
    if teacher.checkpoint is not None and focus.retrains and focus.keep != "all":
        draft.report(("focus", "removal"), "drop trains a teacher anew, and the recipe has a teacher.checkpoint")
    asks = focus.keep in ("general", "specific", "random")
    if focus.saliency is not None and asks and focus.number == "significant":
        text = "how many are significant a vector alone does not tell: give ratio or a count"
        draft.report(("focus", "saliency"), f"{text}, got {focus.saliency!r}")
    if focus.train:
        try:
            Train.model_validate(merge(dict(teacher.train), focus.train))
        except ValidationError as error:
            report_validation(draft, error, ("focus", "train"), Train)


def _complete_options(entry: ModelEntry, teacher: Teacher) -> dict[str, Any] | None:
    """All options of the teacher; None where it was not filled in, for a fault that is told elsewhere."""
    if not Train().model_dump().keys() <= teacher.train.keys():
        return None
    try:
        return entry.options.model_validate(teacher.options).model_dump(mode="json")
    except ValidationError:
        return None


def _check_known(draft: Draft, focus: Focus) -> None:
    """Which channels are general, where a focus asks for them, is known of the data."""
    if "known" not in (focus.keep, focus.count) or not draft.has("data"):
        return
    key = "keep" if focus.keep == "known" else "count"
    if not _known_general(draft.sections["data"]):
        text = f"which channels are general is not known of the data {draft.sections['data'].name!r}, got 'known'"
        draft.report(("focus", key), text)
    elif focus.place != "input":
        draft.report(
            ("focus", key), f"which channels are general is known of input alone, not of {focus.place}, got 'known'"
        )


# --- one section against another --------------------------------------------------------------------------


def check_modalities(draft: Draft) -> None:
    """The modalities, of those that the dataset has."""
    data: Data | None = draft.sections.get("data")
    if data is None or data.name not in entries("dataset"):
        return
    entry: DatasetEntry = find("dataset", data.name)
    path: KeyPath = ("data", "modalities")
    names = list(data.modalities or entry.modalities or ())
    problems = []
    if entry.modalities is None:
        problems += _mapping_problems(data, entry)
    if entry.modalities is not None and isinstance(data.modalities, dict):
        problems.append(f"{data.name} has named modalities ({', '.join(entry.modalities)}): give a list")
    elif entry.modalities is not None:
        lacking = [name for name in names if name not in entry.modalities]
        if lacking:
            there = ", ".join(entry.modalities)
            problems.append(f"{data.name} has no modality {', '.join(map(repr, lacking))} (there are: {there})")
    odd = [name for name in names if name == "Mean" or "+" in name]
    if odd:
        problems.append(f"names other than 'Mean' and without '+', which name columns, got {', '.join(map(repr, odd))}")
    if len(set(names)) != len(names):
        problems.append(f"a modality is given twice: {names}")
    if entry.modalities is None and entry.task == "classification":
        # An option called as a modality concerns that modality alone (see `study.reading`), and a run has more than
        # options among the settings of its data (`study.datasets.data_settings`).
        own = {*entry.options.model_fields, "name", "modalities", "fingerprint", "root"}
        taken = [name for name in names if name in own]
        if taken:
            problems.append(f"names other than those of options of {data.name}, got {', '.join(map(repr, taken))}")
    for text in problems:
        draft.report(path, text)
    if data.modalities is None and not problems:
        draft.sections["data"] = data.model_copy(update={"modalities": names})


def _mapping_problems(data: Data, entry: DatasetEntry) -> list[str]:
    """What is wrong with the mapping of modalities that the dataset needs."""
    of_channels = entry.maps == "channels"
    what, example = (
        ("names to channel numbers", "{G: [0, 1, 2]}")
        if of_channels
        else ("names to files", "{R: rgb/{split}/{id}.png}")
    )
    right = isinstance(data.modalities, dict) and all(
        isinstance(value, list) == of_channels for value in data.modalities.values()
    )
    return [] if right else [f"{data.name} needs a mapping of {what}, e.g. {example}"]


def check_generate(draft: Draft) -> None:
    """The options of the dataset's generator, with their defaults."""
    data: Data | None = draft.sections.get("data")
    if data is None or data.generate is None:
        return
    entry: DatasetEntry = find("dataset", data.name)
    path: KeyPath = ("data", "generate")
    if entry.make_options is None:
        draft.report(path, f"{data.name} has no generator")
        return
    try:
        options = entry.make_options.model_validate(data.generate)
    except ValidationError as error:
        report_validation(draft, error, path, entry.make_options)
        return
    draft.sections["data"] = data.model_copy(update={"generate": options.model_dump(mode="json")})


def check_method(draft: Draft) -> None:
    """The method has the terms in use."""
    if not draft.has("method", "losses"):
        return
    method: MethodEntry = find("method", draft.sections["method"].name)
    for key, loss in draft.used().items():
        if loss.term not in method.terms:
            terms = ", ".join(method.terms)
            draft.report(("losses", key), f"the method {method.name!r} has no term {loss.term!r} (it has {terms})")


def check_teacher(draft: Draft) -> None:
    """Fills the teacher in: its `train` starts as a copy of the student's, its model as the student's."""
    if not draft.has("teacher", "losses"):
        return
    teacher: Teacher | None = draft.sections["teacher"]
    if teacher is None:
        for key, loss in draft.used().items():
            if find("loss", str(loss.term)).needs_teacher and loss.weight > 0:
                draft.report(("losses", key), "the term compares with a teacher, and the recipe has no `teacher:`")
        return
    if not draft.has("model", "train"):
        return
    del draft.sections["teacher"]
    model: Component = draft.sections["model"]
    given = {**(model.options if model.name == teacher.name else {}), **teacher.options}
    options = _options(draft, ("teacher",), "model", teacher.name, given, ("teacher", "name"))
    train = _teacher_train(draft, draft.sections["train"], teacher)
    if options is not None and train is not None:
        own = {**_own(teacher), "train": train.model_dump(mode="json")}
        draft.sections["teacher"] = Teacher(**own, **options)


def _teacher_train(draft: Draft, train: Train, teacher: Teacher) -> Train | None:
    try:
        return Train.model_validate(merge(train.model_dump(mode="json"), teacher.train))
    except ValidationError as error:
        report_validation(draft, error, ("teacher", "train"), Train)
        return None


def check_subsets(draft: Draft) -> None:
    """The subsets that are evaluated, of those that the modalities make."""
    if not draft.has("evaluate", "data") or draft.sections["evaluate"].subsets == "all":
        return
    known = subset_names(list(draft.sections["data"].modalities or ()))
    wanted = draft.sections["evaluate"].subsets
    for index, name in enumerate(wanted):
        if known and name in wanted[:index]:
            draft.report(("evaluate", "subsets", index), f"a subset is given twice, got {name!r}")
        elif known and name not in known:
            there = ", ".join(known)
            draft.report(("evaluate", "subsets", index), f"no subset is called {name!r} (there are: {there})")


def check_claims(draft: Draft) -> None:
    """Every claim has one of the known forms; whether its rows exist is judged with the rows."""
    told = set()
    for index, text in enumerate(draft.sections.get("claims", ())):
        try:
            parse_claim(text)
        except ValueError as error:
            reason = "none of the forms of a claim (see above)" if str(error) in told else str(error)
            told.add(str(error))
            draft.report(("claims", index), f"{reason}; the claim is {_short(text)}")


def subset_names(modalities: list[str]) -> dict[str, tuple[str, ...]]:
    """Column name -> modalities of every non-empty subset, single ones first: V, N, S, VN, VS, NS, VNS.

    Names of one letter are joined without, longer ones with "+".
    """
    from itertools import combinations

    joiner = "" if all(len(name) == 1 for name in modalities) else "+"
    subsets = (c for size in range(1, len(modalities) + 1) for c in combinations(modalities, size))
    return {joiner.join(subset): subset for subset in subsets}
