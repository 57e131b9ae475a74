"""`data info` of 3D scans, and what it has in common with that of other data."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmablate.cli.preparing import subjects_shown
from mmablate.data.base import AnyData, VolumeData
from mmablate.data.pictures import class_colours, sample_info, spread
from mmablate.data.summary import DatasetSummary, summarise
from mmablate.data.volume_pictures import MOST_COUNTED, VolumeCounts, count_volumes, scan_slice

SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
Conditions = dict[str, dict[str, dict[str, int]]]

MOST_SHOWN = 9
MANY = 100
"""Subjects from which on a look at all of them is shown by its progress."""


def conditions_of_splits(data: AnyData) -> Conditions:
    """Axis -> value -> split -> samples, of the splits that know where their samples come from."""
    found: Conditions = {}
    for name, split in data.splits.items():
        for index in range(len(split)):
            for axis, value in sample_info(split, index).conditions.items():
                counts = found.setdefault(axis, {}).setdefault(value, dict.fromkeys(data.splits, 0))
                counts[name] += 1
    return {axis: dict(sorted(values.items())) for axis, values in found.items()}


def write_page(card: Any, page: Path) -> None:
    """The page of a dataset, and where it is."""
    from mmablate.cli.writing import write_text
    from mmablate.report.data_page import render_data_page

    write_text(render_data_page(card), page)
    print(f"page: {page}", file=sys.stderr)


def volume_info(data: VolumeData, format: str, page: Path | None) -> int:
    """Prints the card of a set of scans, or writes a page with the card and slices."""
    if sum(len(split) for split in data.splits.values()) >= MANY:
        with subjects_shown() as progress:
            counts = count_volumes(data, progress=progress)
    else:
        counts = count_volumes(data)
    summary, conditions = summarise(data), conditions_of_splits(data)
    if page is not None:
        write_page(_card(data, summary, counts, conditions), page)
    if format == "json":
        print(json.dumps(_json(data, summary, counts, conditions), ensure_ascii=False, indent=1))
    elif page is None:
        _print(data, summary, counts, conditions)
    return 0


def _json(data: VolumeData, summary: DatasetSummary, counts: VolumeCounts, conditions: Conditions) -> dict[str, Any]:
    return {
        **summary.to_json(),
        "smallest": list(counts.smallest),
        "largest": list(counts.largest),
        "spacing_mm": list(counts.spacing),
        "regions": {name: list(own) for name, own in counts.regions.items()},
        "class_voxels": {name: list(own) for name, own in counts.voxels.items()},
        "subjects_counted": counts.counted,
        "subsets": counts.subsets,
        "unseen_subsets": list(counts.unseen),
        "conditions": conditions,
        "notes": list(data.notes),
    }


# --- what card and page have in common --------------------------------------------------------------------------


def _axes(summary: DatasetSummary, conditions: Conditions) -> Conditions:
    """The conditions, and subjects that have each sequence, as training sees them."""
    sequences = {name: {split: own[name] for split, own in summary.presence.items()} for name in summary.modalities}
    return {**conditions, "with sequence": sequences}


def _sizes(counts: VolumeCounts) -> str:
    """ "48 x 48 x 48 voxels of 1 x 1 x 1 mm", or from the smallest edges to the largest."""
    small, large = (" x ".join(map(str, edges)) for edges in (counts.smallest, counts.largest))
    voxel = " x ".join(f"{edge:g}" for edge in counts.spacing)
    return f"{small if small == large else f'{small} to {large}'} voxels of {voxel} mm"


def _regions(counts: VolumeCounts) -> str:
    """ "WT = NCR/NET + ED + ET, TC = NCR/NET + ET, ET"."""
    words = (name if own == (name,) else f"{name} = {' + '.join(own)}" for name, own in counts.regions.items())
    return ", ".join(words)


def _masks(counts: VolumeCounts) -> str:
    """Which subsets training sees, how often, and which it never sees."""
    own = counts.subsets["train"]
    seen = ", ".join(f"{name} ({own[name]})" for name in sorted(counts.seen, key=lambda name: -own[name]))
    never = f"; never {', '.join(counts.unseen)}" if counts.unseen else ""
    return f"{len(counts.seen)} of {len(own)} subsets occur: {seen}{never}"


def _partly(summary: DatasetSummary, counts: VolumeCounts) -> str | None:
    """What the voxels are of, where not of all subjects."""
    sizes = {"train": summary.n_train, "val": summary.n_val, "test": summary.n_test}
    if all(n == sizes[split] for split, n in counts.counted.items()):
        return None
    parts = ", ".join(f"{n} of {sizes[split]} {split}" for split, n in counts.counted.items())
    return f"Voxels are those of at most {MOST_COUNTED} subjects a split, evenly spaced ({parts})."


def _print(data: VolumeData, summary: DatasetSummary, counts: VolumeCounts, conditions: Conditions) -> None:
    console = Console(highlight=False)
    console.print(Text(data.name, style="bold"), "(synthetic)" if data.synthetic else "")
    console.print(Text(f"3D scans of {_sizes(counts)}; scored on {data.scored_split}"))
    console.print(Text(f"sequences: {', '.join(data.modalities)}"))
    console.print(Text(f"regions: {_regions(counts)}"))
    console.print(_grid(data, summary, counts, conditions))
    if partly := _partly(summary, counts):
        console.print(Text(partly))
    console.print(Text(f"training masks: {_masks(counts)}"))
    for note in data.notes:
        console.print(Text(note))
    if data.attribution:
        console.print(Text(f"source: {data.attribution}"))


def _grid(data: VolumeData, summary: DatasetSummary, counts: VolumeCounts, conditions: Conditions) -> Grid:
    grid = Grid()
    grid.add_column("class")
    for split in data.splits:
        grid.add_column(f"{split}, voxels", justify="right")
    for k, label in enumerate(data.class_names):
        grid.add_row(Text(label), *(f"{own[k]:,}" for own in counts.voxels.values()))
    grid.add_section()
    grid.add_row("subjects", *(f"{len(split):,}" for split in data.splits.values()))
    for axis, values in _axes(summary, conditions).items():
        word = "with " if axis == "with sequence" else ""
        for value, own in values.items():
            grid.add_row(Text(f"  {word}{value}"), *(f"{own[split]:,}" for split in data.splits))
    return grid


# --- the page ---------------------------------------------------------------------------------------------------


def _card(data: VolumeData, summary: DatasetSummary, counts: VolumeCounts, conditions: Conditions) -> Any:
    from mmablate.report.data_page import DataCard

    totals = {name: max(1, sum(own)) for name, own in counts.voxels.items()}
    partly = _partly(summary, counts)
    facts = [
        ("sequences", ", ".join(data.modalities)),
        ("size of a scan", _sizes(counts)),
        ("regions", _regions(counts)),
        ("training masks", _masks(counts)),
        ("scored on", f"the {SPLIT_NAMES.get(data.scored_split, data.scored_split)} split"),
    ]
    axes = _axes(summary, conditions)
    axes["with these sequences alone"] = {
        subset: {split: own[subset] for split, own in counts.subsets.items()} for subset in counts.subsets["train"]
    }
    return DataCard(
        name=data.name,
        synthetic=data.synthetic,
        attribution=data.attribution,
        notes=[*data.notes, *([partly] if partly else [])],
        facts=facts,
        splits={name: SPLIT_NAMES.get(name, name) for name in data.splits},
        sizes={name: len(split) for name, split in data.splits.items()},
        class_names=data.class_names,
        colours=class_colours(data),
        ignore_label=data.ignore_label,
        class_pixels=counts.voxels,
        class_shares={name: [n / totals[name] for n in own] for name, own in counts.voxels.items()},
        labelled=dict.fromkeys(data.splits, 1.0),
        conditions=axes,
        samples=_slices(data),
        sample_word="subjects",
        counted="voxels",
    )


def _slices(data: VolumeData) -> list[Any]:
    """The fullest slice of some subjects; of training subjects, with the sequences that training sees."""
    from mmablate.report.data_page import ShownSample

    found = []
    for name, split in data.splits.items():
        for index in spread(split, max(1, MOST_SHOWN // len(data.splits))):
            about, slice_ = sample_info(split, index), scan_slice(data, split, index)
            hidden = [modality for modality in data.modalities if modality not in slice_.pictures]
            words = {**about.conditions, "slice": slice_.told}
            words |= {"hidden": f"without {', '.join(hidden)}"} if hidden else {}
            found.append(ShownSample(SPLIT_NAMES.get(name, name), about.id, words, slice_.pictures, slice_.labels))
    return found
