"""What a run reads, as settings and as the id that is their hash.

Rows share their sections, and so do the settings made of them: a section is dumped and written as JSON once, and
an id is the hash of such pieces put together, in a text that is to the byte that of the whole settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmablate.catalog import find
from mmablate.recipe import Recipe
from mmablate.recipe.merging import merge
from mmablate.recipe.rechecking import Sections
from mmablate.recipe.schema import Component, Data, Focus, Loss, Pretrain, Teacher, Train
from mmablate.study.datasets import data_settings
from mmablate.study.reading import modalities_read, restricted

# Goes up whenever the same settings compute other numbers, so that old runs are not taken for new ones.
COMPUTE_VERSION = 2


def content_id(settings: Mapping[str, Any]) -> str:
    """16 hexadecimal digits; equal for equal content, whatever the order of the keys."""
    return _hash(_dumps(settings))


def supervised(recipe: Recipe) -> dict[str, Loss]:
    """The terms that need no teacher and have a weight above zero: what a teacher is trained with."""
    return {
        key: loss
        for key, loss in recipe.losses.items()
        if loss.weight > 0 and not find("loss", str(loss.term)).needs_teacher
    }


class Run(NamedTuple):
    """What a run is made of.

    Attributes:
        run_id: hash of the settings.
        seed: of the run.
        settings: JSON-able; parts that runs have in common are the same objects, to be read only.
        role: one of `plan.STAGES`.
        depends_on: ids of the runs that it reads.
    """

    run_id: str
    seed: int
    settings: dict[str, Any]
    role: str = "student"
    depends_on: tuple[str, ...] = ()


class _Part(NamedTuple):
    """A piece of settings, and its JSON; `source` keeps what it was made of alive, for its identity."""

    value: Any
    text: str
    source: Any = None


class Content:
    """Settings and ids of the runs of one study.

    Args:
        base: the recipe; the teacher's supervised terms and what is evaluated are its own.
        fingerprint: of the data.
        checkpoint_hash: of the user's own teacher, where the recipe names one.
        weight_hashes: file that a model starts from -> its hash.
    """

    def __init__(
        self, base: Recipe, fingerprint: str, checkpoint_hash: str | None, weight_hashes: Mapping[str, str]
    ) -> None:
        self._base = base
        self._fingerprint = fingerprint
        self._checkpoint = checkpoint_hash
        self._hashes = weight_hashes
        self._parts: dict[tuple[str, int], _Part] = {}
        self._teachers: dict[tuple[int, ...], tuple[Run, ...]] = {}
        self._needs: dict[int, tuple[bool, Mapping[str, Loss]]] = {}
        self._compute = _part(COMPUTE_VERSION)
        self._evaluate = _part(base.evaluate.model_dump(mode="json"))
        self._role = {name: _part(name) for name in ("student", "teacher", "pair", "pretraining")}
        self._none = _part(None)
        self._all = _part({"mode": "none", "distribution": "cardinality"})

    def upstream(self, sections: Sections, losses: Mapping[str, Loss], seed: int) -> tuple[Run, ...]:
        """The runs that a row's run of this seed reads, or that are a row themselves; those read by others first.

        The last one that is no pre-training has the weights of the teacher, where there is one to be trained.
        """
        first = self._pretraining(sections, seed)
        return (*first, *self._taught(sections, losses, seed))

    def _pretraining(self, sections: Sections, seed: int) -> tuple[Run, ...]:
        """The pre-training of a row's encoders, of the student's seed; the same for all rows of equal encoders."""
        pretrain = sections.pretrain
        if pretrain is None or pretrain.then == "none":
            return ()
        key = id(pretrain), id(sections.data), id(sections.model), id(sections.train), seed
        if key not in self._teachers:
            self._teachers[key] = (_run(self._pretraining_parts(sections, pretrain, seed), seed, "pretraining"),)
        return self._teachers[key]

    def _pretraining_parts(self, sections: Sections, pretrain: Pretrain, seed: int | None) -> dict[str, _Part]:
        encoders = find("model", sections.model.name).encoders(sections.model.options)
        train = {**merge(sections.train.model_dump(mode="json"), pretrain.train), "select": "last"}
        own = {key: value for key, value in train.items() if key not in ("encoder_lr",)}
        return {
            **self._common(sections, sections.model),
            "role": self._role["pretraining"],
            "seed": _part(seed),
            "method": _part({"name": "contrastive"}),
            "model": _part({"name": "contrastive_encoders", "dim": pretrain.dim, **encoders}),
            "losses": _part([{"key": "nce", "term": "nce", "weight": 1.0, "definition": "infonce"}]),
            "train": _part(Train.model_validate(own).model_dump(mode="json")),
            "masks": self._all,
            "teacher": self._none,
        }

    def _taught(self, sections: Sections, losses: Mapping[str, Loss], seed: int) -> tuple[Run, ...]:
        teacher = sections.teacher
        if teacher is None or not (teacher.row or self.needs_teacher(losses)):
            return ()
        own = self._teacher_seed(teacher, seed)
        focus = self._focus_of(sections)
        seen = id(sections.model) if focus else 0
        key = id(teacher), id(sections.data), id(sections.method), own, id(focus), seen
        if key not in self._teachers:
            self._teachers[key] = tuple(self._upstream(sections, teacher, focus, own))
        return self._teachers[key]

    def _upstream(self, sections: Sections, teacher: Teacher, focus: Focus | None, seed: int) -> Iterator[Run]:
        pair = None
        if focus is not None and self._needs_pair(focus):
            pair = _run(self._pair_parts(sections, teacher, focus, seed), seed, "pair")
            yield pair
        if self._checkpoint is not None or (focus is not None and not focus.retrains):
            return
        parts = self._teacher_parts(sections, teacher, seed, pair and pair.run_id)
        yield _run(parts, seed, "teacher", (pair.run_id,) if pair else ())

    def student(self, sections: Sections, losses: Mapping[str, Loss], seed: int, upstream: Sequence[Run]) -> Run:
        """A row's run of one seed."""
        described = self._none
        first = [run.run_id for run in upstream if run.role == "pretraining"]
        teachers = [run for run in upstream if run.role != "pretraining"]
        depends_on = first.copy()
        if self.needs_teacher(losses) and sections.teacher is not None:
            described = self._described(sections, sections.teacher, teachers[-1] if teachers else None)
            depends_on += [run.run_id for run in teachers[-1:]]
        parts = self._student_parts(sections, losses, seed, described, first[0] if first else None)
        return _run(parts, seed, "student", tuple(depends_on))

    def cell(self, sections: Sections, losses: Mapping[str, Loss]) -> str:
        """Hash of what a row makes of a run, whatever the seed."""
        what = self._none
        if self.needs_teacher(losses) and sections.teacher is not None:
            # The teacher reads the row's data, and its focus the row's student.
            seen = id(sections.model) if sections.focus else 0
            key = f"cell {id(sections.data)} {id(sections.method)} {id(sections.focus)} {seen}"
            what = self._once(key, sections.teacher, lambda: self._unseeded(sections))
        pretrain = sections.pretrain
        first = None
        if pretrain is not None and pretrain.then != "none":
            first = _id(self._pretraining_parts(sections, pretrain, None))
        return _id(self._student_parts(sections, losses, None, what, first))

    def needs_teacher(self, losses: Mapping[str, Loss]) -> bool:
        """Whether one of the terms compares with a teacher."""
        known = self._needs.get(id(losses))
        if known is None:
            needed = any(find("loss", str(loss.term)).needs_teacher for loss in losses.values())
            known = self._needs[id(losses)] = needed, losses
        return known[0]

    # --- parts --------------------------------------------------------------------------------------------

    def _common(self, sections: Sections, *models: Component) -> dict[str, _Part]:
        return {"compute": self._compute, "data": self._data(sections.data, models), "evaluate": self._evaluate}

    def _student_parts(
        self,
        sections: Sections,
        losses: Mapping[str, Loss],
        seed: int | None,
        teacher: _Part,
        pretraining: str | None,
    ) -> dict[str, _Part]:
        """Args: pretraining: id of the run whose encoders the model starts from."""
        train, masks, method = sections.train, sections.masks, sections.method
        start = {}
        if pretraining is not None and sections.pretrain is not None:
            start = {"pretrained": _part({"run": pretraining, "frozen": sections.pretrain.then == "freeze"})}
        seen = (sections.model,) if teacher is self._none else (sections.model, sections.teacher)
        return {
            **self._common(sections, *(model for model in seen if model is not None)),
            "role": self._role["student"],
            "seed": _Part(seed, "null" if seed is None else str(seed)),
            "method": self._once("method", method, lambda: _method(method)),
            "model": self._once("model", sections.model, lambda: self._model(sections.model)),
            "losses": self._once("losses", losses, lambda: _losses(losses)),
            "train": self._once("train", train, lambda: train.model_dump(mode="json")),
            "masks": self._once("masks", masks, lambda: masks.model_dump(mode="json")),
            "teacher": teacher,
            **start,
        }

    def _teacher_parts(
        self, sections: Sections, teacher: Teacher, seed: int | None, pair: str | None
    ) -> dict[str, _Part]:
        """The recipe's supervised terms at the recipe's weights.

        They are the base recipe's: a row that changes its own supervised loss is compared under the same teacher.

        Args:
            pair: the run whose saliency says what the teacher sees, where one does.
        """
        name = find("method", sections.method.name).teacher
        focus = self._focus_of(sections)
        chosen = {}
        seen: tuple[Component, ...] = (teacher,)
        if focus is not None and focus.keep != "all":
            chosen = {"focus": _part({**self._choice(focus), **({"pair": pair} if pair else {})})}
            seen = (teacher, sections.model)  # which channels are general is a matter of both
        return {
            **self._common(sections, *seen),
            "role": self._role["teacher"],
            "seed": _part(seed),
            "method": self._once("teacher.method", sections.method, lambda: {"name": name}),
            "model": self._once("model", teacher, lambda: self._model(teacher)),
            "losses": self._once("losses", self._base.losses, lambda: _losses(supervised(self._base))),
            "train": self._once("teacher.train", teacher, lambda: teacher.train),
            "masks": self._all,
            "teacher": self._none,
            **chosen,
        }

    def _pair_parts(self, sections: Sections, teacher: Teacher, focus: Focus, seed: int | None) -> dict[str, _Part]:
        """Teacher and student of the row, trained jointly, and how the saliency is computed from them."""
        student = sections.model
        train = {**merge(teacher.train, focus.train), "select": "last"}  # both networks are of one moment
        return {
            **self._common(sections, student, teacher),
            "role": self._role["pair"],
            "seed": _part(seed),
            "method": _part({"name": "joint_pair"}),
            "model": _part({"name": "pair", "teacher": self._model(teacher), "student": self._model(student)}),
            "losses": _part([*_losses(supervised(self._base)), *_distance(focus)]),
            "train": _part(Train.model_validate(train).model_dump(mode="json")),
            "masks": self._all,
            "teacher": self._none,
            "focus": _part({key: getattr(focus, key) for key in ("place", "distance", "permutations", "split")}),
        }

    def _choice(self, focus: Focus) -> dict[str, Any]:
        """What says which channels stay, and what becomes of the others."""
        if focus.keep == "all":
            return {"keep": "all"}
        chosen: dict[str, Any] = {"keep": focus.keep, "place": focus.place, "removal": focus.removal}
        if focus.keep != "known":
            chosen["number"] = focus.number
        if focus.keep == "random":
            chosen["replacement"] = focus.replacement
        if focus.saliency is not None and focus.keep in ("general", "specific"):
            chosen["saliency"] = self._hashes[focus.saliency]
        return chosen

    def _needs_pair(self, focus: Focus) -> bool:
        """Whether a joint training comes first: for the saliency, or for the weights of the teacher."""
        asks = focus.keep in ("general", "specific") or (focus.keep == "random" and focus.number == "significant")
        own_weights = not focus.retrains and self._checkpoint is None
        return own_weights or (asks and focus.saliency is None)

    def _focus_of(self, sections: Sections) -> Focus | None:
        """The row's focus, where it comes to anything.

        With all inputs kept the teacher is an ordinary one, and with all channels kept a user's checkpoint is as
        it is.
        """
        focus = sections.focus
        if focus is None or (focus.keep == "all" and (focus.retrains or self._checkpoint is not None)):
            return None
        return focus

    def _described(self, sections: Sections, teacher: Teacher, run: Run | None) -> _Part:
        """The teacher as a student's settings name it."""
        focus = self._focus_of(sections)
        if focus is None or focus.retrains:
            model = self._once("model", teacher, lambda: self._model(teacher))
            if run is None:
                return self._once("described", teacher, lambda: {"checkpoint": self._checkpoint, "model": model.value})
            return self._once(run.run_id, teacher, lambda: {"run": run.run_id, "model": model.value})
        weights = {"checkpoint": self._checkpoint} if run is None else {"run": run.run_id, "part": "teacher"}
        return _part({**weights, "model": self._model(teacher), "focus": self._choice(focus)})

    def _unseeded(self, sections: Sections) -> dict[str, Any]:
        """What the teacher is, whichever run it is for this seed."""
        teacher, focus = sections.teacher, self._focus_of(sections)
        assert teacher is not None
        if self._checkpoint is not None:
            described: dict[str, Any] = self._described(sections, teacher, None).value
            return described
        seed = "paired" if teacher.seed == "paired" else self._teacher_seed(teacher, self._base.seeds[0])
        pair = None
        if focus is not None and self._needs_pair(focus):
            pair = _id(self._pair_parts(sections, teacher, focus, None))
        if focus is not None and not focus.retrains:
            return {"pair": pair, "focus": self._choice(focus), "seed": seed}
        return {"teacher": _id(self._teacher_parts(sections, teacher, None, pair)), "seed": seed}

    def _teacher_seed(self, teacher: Teacher, seed: int) -> int:
        return int({"paired": seed, "shared": self._base.seeds[0]}.get(str(teacher.seed), teacher.seed))

    def _data(self, data: Data, models: Sequence[Component]) -> _Part:
        reads = modalities_read(data, *models)

        def make() -> dict[str, Any]:
            return {**restricted(data_settings(data), reads), "fingerprint": self._fingerprint}

        return self._once(f"data {reads}", data, make)

    def _model(self, section: Component) -> dict[str, Any]:
        """A model's settings; a file that it starts from by its content, not by its place."""
        settings = _component(section)
        if settings.get("weights") is not None:
            settings["weights"] = self._hashes[settings["weights"]]
        return settings

    def _once(self, kind: str, source: Any, make: Callable[[], Any]) -> _Part:
        key = kind, id(source)
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = _part(make(), source)
        return part


def _distance(focus: Focus) -> list[dict[str, Any]]:
    """The term of the joint training that pulls both networks together."""
    return [{"key": "dist", "term": "dist", "weight": focus.joint, "definition": focus.distance}] if focus.joint else []


def _run(parts: Mapping[str, _Part], seed: int, role: str, depends_on: tuple[str, ...] = ()) -> Run:
    return Run(_id(parts), seed, {name: part.value for name, part in parts.items()}, role, depends_on)


def _component(section: Component) -> dict[str, Any]:
    return {"name": section.name, **section.options}


def _method(method: Component) -> dict[str, Any]:
    """An update rule's settings, as far as a run reads them."""
    return {"name": method.name, **find("method", method.name).reads(method.options)}


def _losses(losses: Mapping[str, Loss]) -> list[dict[str, Any]]:
    """What a run reads of its terms: not how their weights are printed."""
    hidden = {"symbol", "label"}
    return [{"key": key, **loss.model_dump(mode="json", exclude=hidden)} for key, loss in losses.items()]


def _part(value: Any, source: Any = None) -> _Part:
    return _Part(value, _dumps(value), source)


def _id(parts: Mapping[str, _Part]) -> str:
    return _hash("{" + ",".join([f'"{name}":{parts[name].text}' for name in sorted(parts)]) + "}")


def _dumps(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
