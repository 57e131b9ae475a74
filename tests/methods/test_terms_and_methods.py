"""From the losses of a recipe to numbers: each term gets its own part of a step, with its own options."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmablate import losses
from mmablate.catalog import find, load_target
from mmablate.catalog.losses import LOSSES
from mmablate.data.batches import Batch
from mmablate.data.masks import draw_subset
from mmablate.methods import AnymodalDistillation, JointTraining, Reference, Step, Term, total
from mmablate.models import anymodal_segmentor
from mmablate.study import open_study
from mmablate.training.building import build_terms

VOID = 255
ALL = ("V", "N", "S")

RECIPE = """
name: terms
data: {name: landsat, modalities: [V, N, S], tile: 16, block: 32, train_stride: 32}
model: {name: anymodal_segmentor, widths: [4, 6]}
teacher: {name: anymodal_segmentor}
train: {epochs: 1}
losses:
  sup: {weight: 1}
  hard: {term: sup, weight: 0.5, definition: ohem, threshold: 0.6, min_fraction: 0.3}
  mad: {weight: 50, symbol: λ}
  soft: {term: mad, weight: 2, definition: paper, temperature: 3}
  umd: {weight: 5}
  normed: {term: umd, weight: 3, definition: spatial, reduce: mean}
  umd_mse: {term: umd, weight: 3, definition: mse, normalise: true}
  cmd: {weight: 10}
  mixed: {term: cmd, weight: 4, definition: released}
  offset: {term: cmd, weight: 4, centered: true}
  fusion_first: {weight: 7}
  fusion_all: {term: fusion_first, weight: 7, teacher_modalities: full}
rows:
  - [sup]
  - [sup, hard, mad, soft, umd, normed, umd_mse, cmd, mixed, offset, fusion_first, fusion_all]
baseline: sup
seeds: [0]
"""


@pytest.fixture(scope="module")
def recipe_terms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Term]:
    path: Path = tmp_path_factory.mktemp("recipe") / "terms.yaml"
    path.write_text(RECIPE)
    study = open_study(str(path))
    settings = max((s.settings for s in study.runs if s.role == "student"), key=lambda s: len(s["losses"]))
    return {term.key: term for term in build_terms(settings)}


def features(seed: int, names: tuple[str, ...] = ALL) -> dict[str, list[Tensor]]:
    stream = torch.Generator().manual_seed(seed)
    made = {m: [torch.randn(2, c, 12 // c, 5, generator=stream) for c in (4, 6)] for m in ALL}
    return {name: [stage.requires_grad_() for stage in made[name]] for name in names}


def step(present: tuple[str, ...] = ("V", "S"), *, teacher: bool = True) -> Step:
    stream = torch.Generator().manual_seed(7)
    labels = torch.randint(0, 5, (2, 6, 5), generator=stream)
    labels[:, 0] = VOID
    logits = torch.randn(2, 5, 6, 5, generator=stream).requires_grad_()
    theirs = torch.randn(2, 5, 6, 5, generator=stream).requires_grad_()
    reference = Reference(theirs, features(2)) if teacher else None
    return Step(logits, features(1, present), labels, VOID, present, reference)


DIRECT: dict[str, Callable[[Step], Tensor]] = {
    "sup": lambda s: losses.cross_entropy(s.logits, s.labels, ignore_label=VOID),
    "hard": lambda s: losses.ohem_cross_entropy(s.logits, s.labels, ignore_label=VOID, threshold=0.6, min_fraction=0.3),
    "mad": lambda s: losses.modality_agnostic_distillation(
        s.logits, s.teacher.logits, valid=s.labels != VOID, temperature=1.0, definition="principled"
    ),
    "soft": lambda s: losses.modality_agnostic_distillation(
        s.logits, s.teacher.logits, valid=s.labels != VOID, temperature=3.0, definition="paper"
    ),
    "umd": lambda s: losses.unimodal_distillation(s.features, s.teacher.features, present=s.present),
    "normed": lambda s: losses.unimodal_distillation(
        s.features, s.teacher.features, present=s.present, definition="spatial", reduce="mean"
    ),
    "umd_mse": lambda s: losses.unimodal_distillation(
        s.features, s.teacher.features, present=s.present, definition="mse", normalise=True
    ),
    "cmd": lambda s: losses.cross_modal_distillation(s.features, s.teacher.features, present=s.present),
    "mixed": lambda s: losses.cross_modal_distillation(
        s.features, s.teacher.features, present=s.present, definition="released"
    ),
    "offset": lambda s: losses.cross_modal_distillation(
        s.features, s.teacher.features, present=s.present, centered=True
    ),
    "fusion_first": lambda s: losses.fusion_first_distillation(
        s.features, s.teacher.features, present=s.present, teacher_modalities="matched"
    ),
    "fusion_all": lambda s: losses.fusion_first_distillation(
        s.features, s.teacher.features, present=s.present, teacher_modalities="full"
    ),
}
WEIGHTS = {"sup": 1, "hard": 0.5, "mad": 50, "soft": 2, "umd": 5, "normed": 3, "umd_mse": 3,
           "cmd": 10, "mixed": 4, "offset": 4, "fusion_first": 7, "fusion_all": 7}  # fmt: skip


def test_every_shipped_term_is_tried_here(recipe_terms: Mapping[str, Term]) -> None:
    assert set(recipe_terms) == set(DIRECT)
    of_classifiers = {"kd", "dist", "uni", "unique", "nce"}  # the last three: test_fused_terms.py
    of_scans = {"fuse", "sep", "prm", "pixel", "proto"}  # tests/training/test_incomplete.py
    here = {term.function.__name__ for term in recipe_terms.values()}
    assert here | of_classifiers | of_scans == {e.name for e in LOSSES}


@pytest.mark.parametrize("key", DIRECT)
@pytest.mark.parametrize("present", [("V", "S"), ("N",), ALL])
def test_a_term_is_its_loss_with_the_options_of_the_recipe(
    recipe_terms: Mapping[str, Term], key: str, present: tuple[str, ...]
) -> None:
    seen = step(present)
    value = recipe_terms[key](seen)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert torch.equal(value, DIRECT[key](seen))
    if present != ("N",) or "cmd" not in (key, recipe_terms[key].function.__name__):
        assert bool(value > 0), "a value that could not tell one definition from another"


def test_terms_of_other_options_are_other_numbers(recipe_terms: Mapping[str, Term]) -> None:
    values = [float(term(step()).detach()) for term in recipe_terms.values()]
    assert len({round(value, 5) for value in values}) == len(values)


def test_the_total_is_weight_times_value(recipe_terms: Mapping[str, Term]) -> None:
    terms = list(recipe_terms.values())
    assert {term.key: term.weight for term in terms} == WEIGHTS
    values = {term.key: term(step()) for term in terms}
    expected = sum(WEIGHTS[key] * value.detach().double() for key, value in values.items())
    assert float(total(terms, values).detach()) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("key", DIRECT)
def test_the_teacher_gets_no_gradient(recipe_terms: Mapping[str, Term], key: str) -> None:
    seen = step()
    recipe_terms[key](seen).backward()
    assert seen.teacher.logits.grad is None
    assert all(stage.grad is None for stages in seen.teacher.features.values() for stage in stages)
    ours = [seen.logits, *(stage for stages in seen.features.values() for stage in stages)]
    assert any(t.grad is not None and t.grad.abs().sum() > 0 for t in ours)


def test_a_term_that_compares_says_so_where_there_is_no_teacher(recipe_terms: Mapping[str, Term]) -> None:
    alone = step(teacher=False)
    assert bool(recipe_terms["sup"](alone) > 0)
    for key in ("mad", "umd", "cmd", "fusion_first"):
        with pytest.raises(ValueError, match="the run has none"):
            recipe_terms[key](alone)


@pytest.mark.parametrize("definition", ["principled", "released"])
def test_kd_compares_the_logits_of_classifiers(definition: str) -> None:
    stream = torch.Generator().manual_seed(1)
    ours, theirs = (torch.randn(6, 4, generator=stream) for _ in range(2))
    labels = torch.randint(0, 4, (6,), generator=stream)
    entry = find("loss", "kd")
    assert definition in entry.definitions
    options = entry.options.model_validate({"temperature": 2}).model_dump()
    term = Term("kd", 1.0, load_target(entry), definition, options, entry.unit(definition))
    seen = Step(ours, {}, labels, -1, ("x",), Reference(theirs, {}))
    expected = losses.knowledge_distillation(ours, theirs, temperature=2, definition=definition)
    assert torch.equal(term(seen), expected)
    assert term.unit == "images"
    with pytest.raises(ValueError, match="the run has none"):
        term(Step(ours, {}, labels, -1, ("x",), None))


# --- update rules -------------------------------------------------------------------------------------------

MASKS = {"mode": "dynamic", "distribution": "cardinality"}


def a_batch() -> Batch:
    stream = torch.Generator().manual_seed(3)
    inputs = {n: torch.randn(2, c, 8, 8, generator=stream) for n, c in zip(ALL, (3, 1, 2), strict=True)}
    return Batch(inputs, torch.randint(0, 5, (2, 8, 8), generator=stream), (0, 1))


def test_masks_of_a_step_hang_on_seed_and_step() -> None:
    method = AnymodalDistillation(modalities=ALL, ignore_label=VOID, masks=MASKS)
    drawn = [method.present(4, i) for i in range(30)]
    assert drawn == [draw_subset(ALL, seed=4, step=i, mode="dynamic", distribution="cardinality") for i in range(30)]
    assert len(set(drawn)) > 4
    assert drawn != [method.present(5, i) for i in range(30)]


def test_joint_training_hides_nothing() -> None:
    method = JointTraining(modalities=ALL, ignore_label=VOID, masks=MASKS)
    assert {method.present(seed, i) for seed in range(3) for i in range(20)} == {ALL}


def test_the_student_sees_the_subset_and_the_teacher_all(recipe_terms: Mapping[str, Term]) -> None:
    torch.manual_seed(0)
    student, teacher = (anymodal_segmentor(n_classes=5, widths=[4, 6], decoder_width=4) for _ in range(2))
    method = AnymodalDistillation(modalities=ALL, ignore_label=VOID, masks=MASKS)
    batch, terms = a_batch(), list(recipe_terms.values())
    reference = method.reference(teacher, batch)
    assert list(reference.features) == list(ALL)
    values = method.losses(student, batch, ("N", "S"), reference, terms)
    assert list(values) == [term.key for term in terms]

    logits, maps = student({name: batch.inputs[name] for name in ("N", "S")})
    theirs, their_maps = teacher(batch.inputs)
    seen = Step(logits, maps, batch.labels, VOID, ("N", "S"), Reference(theirs, their_maps))
    for key, value in values.items():
        assert torch.equal(value, DIRECT[key](seen)), key


def test_what_is_hidden_does_not_matter(recipe_terms: Mapping[str, Term]) -> None:
    torch.manual_seed(0)
    student: Any = anymodal_segmentor(n_classes=5, widths=[4, 6], decoder_width=4)
    method = AnymodalDistillation(modalities=ALL, ignore_label=VOID, masks=MASKS)
    batch, terms = a_batch(), list(recipe_terms.values())
    reference = method.reference(student, batch)
    changed = Batch({**batch.inputs, "V": batch.inputs["V"] * float("nan")}, batch.labels, batch.indices)
    for key, value in method.losses(student, changed, ("N", "S"), reference, terms).items():
        assert torch.equal(value, method.losses(student, batch, ("N", "S"), reference, terms)[key])
