"""What recipes of 3D scans need, and what is for them alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmablate.catalog import entries, find
from mmablate.recipe.schema import Augment, Evaluate, Loss, Masks, Method, Patches, Significance, Train

if TYPE_CHECKING:
    from mmablate.recipe.checking import Draft

REGIONS = ("WT", "TC", "ET")
"""What Dice and HD95 are of: whole tumour, tumour core, enhancing tumour."""
DICE, HD95 = "Dice", "HD95"


def apart_column(group: str) -> str:
    """Column of the mean Dice over a group of subsets (`evaluate.apart`)."""
    return f"{DICE} {group}"


def fill_for_volumes(draft: Draft) -> None:
    """What a recipe does not say is what 3D scans need, not what images do."""
    raw: Mapping[str, Any] = draft.source.data
    if "method" not in raw:
        draft.sections["method"] = Method(name="incomplete")
    given = raw.get("masks") or {}
    if draft.has("masks"):
        filled = {"mode": given.get("mode", "permanent"), "distribution": given.get("distribution", "subset")}
        draft.sections["masks"] = Masks.model_validate(filled)
    if draft.has("evaluate"):
        _fill_evaluate(draft, raw.get("evaluate") or {})
    if draft.has("train"):
        train: Train = draft.sections["train"]
        if "augment" in (raw.get("train") or {}) and train.augment != Augment(flip=False):
            draft.report(("train", "augment"), "augmentation is of images; that of 3D scans is train.patches")
        patches = train.patches if train.patches is not None else Patches()
        draft.sections["train"] = train.model_copy(update={"augment": Augment(flip=False), "patches": patches})
    if draft.has("significance"):
        _fill_primary(draft, raw.get("significance") or {})


def _fill_evaluate(draft: Draft, raw: Mapping[str, Any]) -> None:
    evaluate: Evaluate = draft.sections["evaluate"]
    if "metric" in raw and evaluate.metric != "dice":
        draft.report(("evaluate", "metric"), f"the data are 3D scans: dice, got {raw['metric']!r}")
    size = evaluate.batch_size if "batch_size" in raw else 1
    draft.sections["evaluate"] = evaluate.model_copy(update={"metric": "dice", "batch_size": size})
    if evaluate.stride is not None and evaluate.window is None:
        draft.report(
            ("evaluate", "stride"), f"of windows: give evaluate.window, e.g. [80, 80, 80], got {evaluate.stride}"
        )
    elif evaluate.stride is not None and evaluate.window is not None and evaluate.stride > min(evaluate.window):
        text = f"at most the window {list(evaluate.window)}, or voxels between windows were never seen"
        draft.report(("evaluate", "stride"), f"{text}, got {evaluate.stride}")


def _fill_primary(draft: Draft, raw: Mapping[str, Any]) -> None:
    significance: Significance = draft.sections["significance"]
    if "primary" not in raw:
        draft.sections["significance"] = significance.model_copy(update={"primary": DICE})
    elif significance.primary is not None and draft.has("evaluate"):
        evaluate: Evaluate = draft.sections["evaluate"]
        columns = [*REGIONS, DICE, *map(apart_column, evaluate.apart), *([HD95] if evaluate.hd95 else [])]
        if significance.primary not in columns:
            there = ", ".join(columns)
            draft.report(("significance", "primary"), f"a column ({there}) or null, got {significance.primary!r}")


def check_without_volumes(draft: Draft) -> None:
    """What is for 3D scans alone, in a recipe of other data."""
    what = f"for 3D scans, which the data {draft.sections['data'].name!r} are not"
    train: Train | None = draft.sections.get("train")
    if train is not None and train.patches is not None:
        draft.report(("train", "patches"), what)
    masks: Masks | None = draft.sections.get("masks")
    if masks is not None and masks.mode in ("permanent", "free"):
        draft.report(("masks", "mode"), f"{masks.mode!r} is {what}: dynamic or none")
    evaluate: Evaluate | None = draft.sections.get("evaluate")
    default = Evaluate()
    for key in ("window", "stride", "apart", "hd95", "one_empty", "min_et") if evaluate is not None else ():
        if getattr(evaluate, key) != getattr(default, key):
            draft.report(("evaluate", key), what)


def check_volumes(draft: Draft) -> None:
    """Masks, terms and update rules of 3D scans against one another."""
    method: Method = draft.sections["method"]
    names = tuple(draft.sections["data"].modalities or ())
    masks: Masks | None = draft.sections.get("masks")
    if masks is not None and masks.mode == "none":
        text = "subjects lack modalities, by their files and data.masks: permanent shows all that one has"
        draft.report(("masks", "mode"), f"{text}, dynamic and free draw of them, got 'none'")
    if masks is not None and masks.mode == "free" and draft.sections["data"].options.get("masks") is not None:
        text = "free draws from all modalities of a subject: give data.masks: null, or mode dynamic"
        draft.report(("masks", "mode"), f"{text}, got data.masks {draft.sections['data'].options['masks']!r}")
    _check_labels_a_voxel(draft)
    used: Mapping[str, Loss] = draft.used() if draft.has("losses") else {}
    for key, loss in used.items():
        if loss.term in entries("loss"):
            _check_weights(draft, key, loss, names)
    if draft.sections.get("teacher") is not None:
        draft.report(("teacher",), "models of 3D scans distil into themselves: leave the teacher out")
    if method.name not in entries("method") or find("method", method.name).task != "volumes":
        return
    options: Mapping[str, Any] = method.options
    _check_balance(draft, options, used, names)
    train: Train | None = draft.sections.get("train")
    second_order = options.get("order") == "second"
    if train is not None and second_order and (train.optimizer != "sgd" or train.momentum or train.clip is not None):
        text = "second takes the gradient through a plain inner step: train.optimizer sgd, momentum 0, clip null"
        draft.report(("method", "order"), f"{text}, got {train.optimizer}, {train.momentum:g}, {train.clip}")
    if train is not None and train.batch_size == "all":
        draft.report(("train", "batch_size"), "a number of patches, got 'all'")


def _check_labels_a_voxel(draft: Draft) -> None:
    """What is for samples with one label each, or for classes of pixels."""
    what = f"for samples with one label each; the data {draft.sections['data'].name!r} have one a voxel"
    if draft.sections.get("pretrain") is not None:
        draft.report(("pretrain",), what)
    default = Train()
    train: Train = draft.sections.get("train") or default
    for key in ("holdout", "pictures", "encoder_lr"):
        if getattr(train, key) != getattr(default, key):
            draft.report(("train", key), what)
    evaluate: Evaluate = draft.sections.get("evaluate") or Evaluate()
    if evaluate.also is not None:
        draft.report(("evaluate", "also"), f"{what}, got {evaluate.also}")
    if evaluate.classes != "present":
        text = f"over which classes IoU is averaged; Dice is of {', '.join(REGIONS)}: leave it out"
        draft.report(("evaluate", "classes"), f"{text}, got {evaluate.classes!r}")


def _check_weights(draft: Draft, key: str, loss: Loss, names: Collection[str]) -> None:
    weights = loss.options.get("weights") or {}
    odd = [name for name in weights if name not in names]
    if names and odd:
        there = ", ".join(names)
        draft.report(("losses", key, "weights"), f"modalities of the data ({there}), got {', '.join(odd)}")


def _check_balance(draft: Draft, options: Mapping[str, Any], used: Mapping[str, Loss], names: Sequence[str]) -> None:
    terms = {loss.term for loss in used.values() if loss.weight > 0}
    if options.get("gate", "none") != "none" and not terms & {"sep", "proto"}:
        draft.report(("method", "gate"), f"gates the terms sep and proto, and there is none, got {options['gate']!r}")
    balance = options.get("balance", "fixed")
    if balance != "fixed" and not terms & {"pixel"}:
        draft.report(("method", "balance"), f"weighs the term pixel by modality, and there is none, got {balance!r}")
    if balance == "meta" and "alpha" not in options:
        draft.report(("method", "balance"), "meta takes the loss of a meta batch: method metadrop, got 'meta'")
    if balance != "fixed" and options["balance_low"] >= options["balance_high"]:
        low, high = options["balance_low"], options["balance_high"]
        draft.report(("method", "balance_low"), f"below balance_high {high:g}, got {low:g}")
    if len(names) < 2 and (balance != "fixed" or options.get("gate", "none") != "none"):
        draft.report(("method",), f"gate and balance compare modalities, and the data have {list(names)}")
