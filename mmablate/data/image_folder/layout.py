"""How files become samples: the options of the recipe, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mmablate.data.image_folder.images import RESIZES, SUFFIXES, Form
from mmablate.data.image_folder.labels import VOID, LabelRule
from mmablate.data.image_folder.patterns import SPLIT, pattern_problems, placeholders

SPLITS = ("train", "val", "test")
LISTS = (".txt", ".csv", ".yaml", ".yml")
LABELS = "labels"  # the role of label files beside those of the modalities
WAYS = ("standard", "imagenet", "unit", "none")


@dataclass(frozen=True)
class FolderLayout:
    """The options of `open_image_folder` in one place.

    Attributes:
        root: the folder.
        patterns: role -> pattern; roles are the modalities in order, and `LABELS` last.
        channels: modality -> channel numbers, None for all but transparency.
        rule: what label values mean.
        form: how label files are read, "ids" or "colours".
        class_names: one a class.
        splits: split -> folder name or list file; None where `fractions` are given.
        chosen: whether the user named the splits; otherwise a test split is optional.
        fractions: train, val, test, seed, by; see `mmablate.data.image_folder.drawing`.
        conditions: placeholders that are conditions.
        size: height and width, or None.
        normalise: modality -> one of `WAYS`.
        resize: modality -> "bilinear" or "nearest"; bilinear for those not named.
        void_named: whether the user said what is ignored.
    """

    root: Path
    patterns: Mapping[str, str]
    channels: Mapping[str, Sequence[int] | None]
    rule: LabelRule
    form: Form
    class_names: tuple[str, ...]
    splits: Mapping[str, str] | None
    chosen: bool
    fractions: Mapping[str, Any] | None
    conditions: tuple[str, ...]
    size: tuple[int, int] | None
    normalise: Mapping[str, str] = field(default_factory=dict)
    resize: Mapping[str, str] = field(default_factory=dict)
    void_named: bool = False

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self.channels)

    @property
    def key(self) -> tuple[str, ...]:
        """The placeholders that all patterns have, which tell samples apart; `split` is not among them."""
        first, *others = self.patterns.values()
        shared = [name for name in placeholders(first) if all(name in placeholders(text) for text in others)]
        return tuple(name for name in shared if name != SPLIT)

    @property
    def lists(self) -> dict[str, str]:
        """Split -> list file, where splits are lists."""
        return {s: v for s, v in (self.splits or {}).items() if PurePosixPath(v).suffix.lower() in LISTS}

    def form_of(self, role: str) -> Form:
        """How the files of a role are read."""
        return self.form if role == LABELS else "input"


def make_layout(
    root: Path,
    *,
    modalities: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, Any],
    class_names: Sequence[str] | None = None,
    splits: Mapping[str, str] | None = None,
    fractions: Mapping[str, Any] | None = None,
    conditions: Sequence[str] = (),
    size: Sequence[int] | None = None,
    normalise: str | Mapping[str, str] = "standard",
    resize: Mapping[str, str] | None = None,
) -> FolderLayout:
    """The layout that the options mean; nothing is checked yet (see `layout_problems`)."""
    colours = labels.get("colours")
    names = tuple(class_names or colours or ())
    void = labels.get("void")
    rule = LabelRule(
        n_classes=len(names),
        ignore_label=255 if len(names) <= 255 else 65535,
        channel=int(labels.get("channel", 0)),
        offset=int(labels.get("offset", 0)),
        renamed={int(k): int(v) for k, v in (labels.get("map") or {}).items()},
        colours=None if colours is None else [colours.get(name) for name in names],
        void=tuple(v if isinstance(v, int) else tuple(v) for v in ((VOID,) if void is None else void)),
        others=labels.get("others", "refuse"),
    )
    ways = {name: normalise if isinstance(normalise, str) else normalise.get(name, "standard") for name in modalities}
    return FolderLayout(
        root=Path(root),
        patterns={name: str(source["files"]) for name, source in modalities.items()} | {LABELS: str(labels["files"])},
        channels={name: source.get("channels") for name, source in modalities.items()},
        rule=rule,
        form="ids" if colours is None else "colours",
        class_names=names,
        splits=None if fractions is not None else dict(splits or {name: name for name in SPLITS}),
        chosen=splits is not None,
        fractions=fractions,
        conditions=tuple(conditions),
        size=None if size is None else (int(size[0]), int(size[1])),
        normalise=ways if isinstance(normalise, str) else ways | dict(normalise),
        resize=dict(resize or {}),
        void_named=void is not None,
    )


def layout_problems(layout: FolderLayout) -> list[str]:
    """What is wrong with the options themselves, one line each."""
    problems = []
    if not layout.channels:
        problems.append("modalities: expected at least one modality with its files, found none")
    if len(layout.class_names) < 2:
        problems.append(f"class_names: expected two or more, found {list(layout.class_names)}")
    for role, text in layout.patterns.items():
        where = role if role == LABELS else f"modalities: {role}"
        problems.extend(pattern_problems(f"{where}: files", text))
        problems.extend(_ending_problems(f"{where}: files", text, role == LABELS))
    for name, channels in layout.channels.items():
        if channels is not None and (not channels or min(channels) < 0):
            problems.append(f"modalities: {name}: channels: expected numbers from 0, found {list(channels)}")
    if not problems:
        problems.extend(_key_problems(layout))
    return problems + _rule_problems(layout) + _split_problems(layout) + _way_problems(layout)


def _ending_problems(where: str, text: str, label: bool) -> list[str]:
    suffix = PurePosixPath(text).suffix.lower()
    if suffix not in SUFFIXES and "*" not in suffix and "{" not in suffix:
        return [f"{where}: expected a pattern that ends in one of {', '.join(SUFFIXES)}, found {text!r}"]
    if label and suffix in (".jpg", ".jpeg"):
        return [f"{where}: expected labels in a format without loss (PNG, TIFF, npy), found JPEG: {text!r}"]
    return []


def _key_problems(layout: FolderLayout) -> list[str]:
    problems = []
    if not layout.key:
        shown = ", ".join(repr(text) for text in layout.patterns.values())
        problems.append(f"files: expected a placeholder such as {{id}} that all patterns have, found {shown}")
    named = {name for text in layout.patterns.values() for name in placeholders(text)}
    for condition in layout.conditions:
        if condition not in named or condition == SPLIT:
            known = ", ".join(sorted(named - {SPLIT})) or "none"
            problems.append(f"conditions: expected placeholders of the patterns ({known}), found {condition!r}")
    problems.extend(
        f"fractions: by: expected placeholders of all patterns ({', '.join(layout.key)}), found {name!r}"
        for name in (layout.fractions or {}).get("by") or ()
        if name not in layout.key
    )
    splitting = any(SPLIT in placeholders(text) for text in layout.patterns.values())
    if splitting and (layout.fractions is not None or layout.lists):
        way = "fractions" if layout.fractions is not None else "list files"
        problems.append(f"files: expected patterns without {{split}} beside splits by {way}; name it otherwise")
    elif not splitting and layout.fractions is None and not layout.lists:
        problems.append("files: expected {split} in a pattern, list files in `splits`, or `fractions`; found none")
    return problems


def _rule_problems(layout: FolderLayout) -> list[str]:
    rule, problems = layout.rule, []
    if rule.colours is None:
        if any(not isinstance(value, int) for value in rule.void):
            problems.append("labels: void: expected numbers, as labels are not painted in colours, found a colour")
        swallowed = None if layout.void_named else rule.class_of(VOID)
        if swallowed is not None:
            told = f"as {VOID}, ignored by default, would be class {swallowed} too"
            problems.append(f"labels: void: expected to be named, {told}")
    else:
        if rule.channel or rule.offset or rule.renamed:
            problems.append("labels: colours: expected neither channel, offset nor map beside them")
        if any(isinstance(value, int) for value in rule.void) and tuple(rule.void) != (VOID,):
            problems.append(f"labels: void: expected colours such as [0, 0, 0], found {list(rule.void)}")
        painted = [tuple(c) for c in rule.colours if c is not None]
        painted += [tuple(v) for v in rule.void if not isinstance(v, int)]
        twice = sorted({colour for colour in painted if painted.count(colour) > 1})
        if twice:
            problems.append(f"labels: colours: expected every colour once, void among them, found twice: {twice}")
    for number, label in (rule.renamed or {}).items():
        if not 0 <= label < rule.n_classes:
            wanted = f"classes 0..{rule.n_classes - 1}; numbers to be ignored belong in void"
            problems.append(f"labels: map: expected {wanted}, found {number}: {label}")
    return problems


def _split_problems(layout: FolderLayout) -> list[str]:
    problems: list[str] = []
    if layout.splits is not None:
        problems.extend(
            f"splits: expected train and val, found no {name}" for name in SPLITS[:2] if name not in layout.splits
        )
        if layout.lists and len(layout.lists) < len(layout.splits):
            shown = dict(layout.splits)
            problems.append(f"splits: expected folder names for all or list files for all, found {shown}")
        for name, text in layout.lists.items():
            problems.extend(pattern_problems(f"splits: {name}", text))
        values = [value for value in layout.splits.values() if value not in layout.lists.values()]
        if len(set(values)) < len(values):
            problems.append(f"splits: expected different folders, found {dict(layout.splits)}")
        if any("/" in value for value in values):
            problems.append(f"splits: expected names of single folders, found {values}")
    return problems


def _way_problems(layout: FolderLayout) -> list[str]:
    problems = []
    for name, way in layout.normalise.items():
        if name not in layout.channels or way not in WAYS:
            wanted = f"one of {', '.join(WAYS)} for each of {', '.join(layout.channels)}"
            problems.append(f"normalise: expected {wanted}, found {name}: {way}")
    wrong = [
        f"{name}: {way}" for name, way in layout.resize.items() if name not in layout.channels or way not in RESIZES
    ]
    if wrong:
        wanted = f"{' or '.join(RESIZES)} for any of {', '.join(layout.channels)}"
        problems.append(f"resize: expected {wanted}, found {', '.join(wrong)}")
    if layout.size is not None and min(layout.size) < 1:
        problems.append(f"size: expected a height and width of 1 or more, found {list(layout.size)}")
    return problems
