"""A classification study as a FiftyOne dataset: one group a sample, one slice a modality, one field a row and seed.

What is built is plain data (`ViewGroup`), which this module alone hands to FiftyOne; the calls are those of FiftyOne
1.x: `Dataset(name, persistent=)`, `add_group_field`, `Group.element`, `Sample`, `Classification`, `add_samples`,
`launch_app`. FiftyOne keeps labels in a MongoDB of the user's and reads the pictures from `results/<study>/view/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mmablate.analysis.class_samples import ClassRow, ClassSample, ClassSheet, SampleKey
from mmablate.errors import MissingExtra, MmablateError
from mmablate.report.contact_sheet import DrawnSample
from mmablate.results.files import telling

MOST_SAMPLES = 2000
"""Samples whose pictures are written; of a larger split the worst, the best and the most confident errors."""
MADE_BY = "mmablate"
_LONGEST = 80


class FiftyOneFailed(MmablateError):
    """FiftyOne is there and does not work, e.g. for want of its database."""


@dataclass(frozen=True)
class Guess:
    """A class with its probability, 0-1."""

    label: str
    confidence: float


@dataclass(frozen=True)
class ViewGroup:
    """One sample.

    Attributes:
        media: slice (modality) -> file of its picture.
        truth: the true class.
        guesses: field -> what a row's run of one seed said.
        values: further fields: id, mean probability of the true class by row, share of wrong seeds by row.
        tags: conditions, and "never right" where all rows and seeds are wrong.
    """

    media: Mapping[str, Path]
    truth: str
    guesses: Mapping[str, Guess]
    values: Mapping[str, str | float] = field(default_factory=dict)
    tags: Sequence[str] = ()


def dataset_name(study: str) -> str:
    """ "mmablate-<study>", of characters that FiftyOne's names and URLs take."""
    return f"mmablate-{re.sub(r'[^A-Za-z0-9_-]+', '-', study).strip('-')}"[:_LONGEST]


def field_names(wanted: Sequence[str]) -> dict[str, str]:
    """Wanted name -> a field's: letters, digits and "_", each once, none that FiftyOne keeps for itself."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(wanted):
        base = f"at_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_') or 'row'}"[:_LONGEST]
        made, number = base, 1
        while made.lower() in taken:
            number += 1
            made = f"{base}_{number}"
        taken.add(made.lower())
        found[name] = made
    return found


def view_groups(
    sheet: ClassSheet, drawn: Mapping[SampleKey, DrawnSample], media: Mapping[SampleKey, Mapping[str, Path]]
) -> list[ViewGroup]:
    """The samples that have a picture.

    Args:
        sheet: with every sample of each row.
        drawn: what the data say of them.
        media: files of their pictures, by modality.
    """
    by_row = {row.name: {sample.key: sample for sample in row.every} for row in sheet.rows}
    wanted = [_field(row, seed) for row in sheet.rows for seed in row.seeds] + [row.name for row in sheet.rows]
    names = field_names(wanted)
    groups = []
    for key, files in media.items():
        samples = {row.name: by_row[row.name][key] for row in sheet.rows if key in by_row[row.name]}
        groups.append(_group(key, files, samples, sheet, names, drawn[key].conditions))
    return groups


def _field(row: ClassRow, seed: int) -> str:
    return f"{row.name}_seed{seed}"


def _group(
    key: SampleKey, files: Mapping[str, Path], samples: Mapping[str, ClassSample], sheet: ClassSheet,
    names: Mapping[str, str], conditions: Mapping[str, str],
) -> ViewGroup:  # fmt: skip
    guesses, values = {}, dict[str, str | float](sample_id=key.id)
    for row in sheet.rows:
        sample = samples.get(row.name)
        if sample is None:
            continue
        values[f"{names[row.name]}_true"] = sample.mean_true
        values[f"{names[row.name]}_wrong"] = sample.error_rate
        for said in sample.said:
            guess = Guess(sheet.class_names[said.predicted], said.probability)
            guesses[names[_field(row, said.seed)]] = guess
    never = bool(samples) and all(sample.error_rate == 1 for sample in samples.values())
    tags = [*conditions.values(), *(["never right"] if never else [])]
    return ViewGroup(files, sheet.class_names[key.truth], guesses, values, tags)


def write_media(folder: Path, drawn: Mapping[SampleKey, DrawnSample]) -> dict[SampleKey, dict[str, Path]]:
    """Writes every picture as PNG below a folder of its modality; names are numbers, so no id leads elsewhere.

    Raises:
        StoreError: they cannot be written.
    """
    from PIL import Image

    found: dict[SampleKey, dict[str, Path]] = {}
    slices = {name: f"{i}_{re.sub(r'[^A-Za-z0-9-]+', '_', name)}"[:_LONGEST] for i, name in enumerate(_slices(drawn))}
    with telling(folder):
        for key, sample in drawn.items():
            for name, pixels in sample.pictures.items():
                seed = f"-seed{key.seed}" if key.seed is not None else ""
                path = folder / slices[name] / f"{key.place:06d}{seed}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.ascontiguousarray(pixels)).save(path)
                found.setdefault(key, {})[name] = path.absolute()
    return found


def _slices(drawn: Mapping[SampleKey, DrawnSample]) -> list[str]:
    return list(dict.fromkeys(name for sample in drawn.values() for name in sample.pictures))


def import_fiftyone() -> Any:
    """The library.

    Raises:
        MissingExtra: it is not installed.
        FiftyOneFailed: it is, and cannot be imported (it starts its database then).
    """
    try:
        return import_module("fiftyone")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "fiftyone":
            raise MissingExtra('--fiftyone needs FiftyOne: pip install "mmablate[fiftyone]"') from None
        raise FiftyOneFailed(_reason(error)) from error
    except Exception as error:
        raise FiftyOneFailed(_reason(error)) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return f"FiftyOne does not start ({type(error).__name__}: {text}); it needs a MongoDB that runs"


def build_dataset(fo: Any, name: str, groups: Sequence[ViewGroup], info: Mapping[str, Any]) -> Any:
    """Makes the dataset anew and saves it; one that this program has not made is never touched.

    Args:
        fo: the module `fiftyone`.
        info: kept with the dataset.

    Raises:
        FiftyOneFailed: its database does not answer, or somebody else's dataset has the name.
    """
    try:
        if fo.dataset_exists(name):
            old = fo.load_dataset(name)
            if (old.info or {}).get("made_by") != MADE_BY:
                raise FiftyOneFailed(f"FiftyOne has a dataset {name} that {MADE_BY} has not made; rename or delete it")
            fo.delete_dataset(name)
        dataset = fo.Dataset(name, persistent=True)
        slices = list(dict.fromkeys(key for group in groups for key in group.media))
        if slices:
            dataset.add_group_field("group", default=slices[0])
        dataset.add_samples([sample for group in groups for sample in _fo_samples(fo, group)])
        dataset.info = {**info, "made_by": MADE_BY}
        dataset.save()
    except MmablateError:
        raise
    except Exception as error:
        raise FiftyOneFailed(_reason(error)) from error
    return dataset


def _fo_samples(fo: Any, group: ViewGroup) -> list[Any]:
    """One sample a slice; each carries all labels, so that every slice can be filtered and sorted."""
    whole = fo.Group()
    found = []
    for name, path in group.media.items():
        sample = fo.Sample(filepath=str(path), group=whole.element(name), tags=list(group.tags))
        sample["ground_truth"] = fo.Classification(label=group.truth)
        for key, value in group.values.items():
            sample[key] = value
        for key, guess in group.guesses.items():
            sample[key] = fo.Classification(label=guess.label, confidence=guess.confidence)
        found.append(sample)
    return found


def launch(fo: Any, dataset: Any) -> None:
    """Opens the app and waits until it is closed, or Ctrl-C ends the wait. Raises FiftyOneFailed."""
    try:
        fo.launch_app(dataset).wait()
    except KeyboardInterrupt:
        return
    except Exception as error:
        raise FiftyOneFailed(_reason(error)) from error
