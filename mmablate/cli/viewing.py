"""`view`: samples and predictions of a study, as a contact sheet or in FiftyOne."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmablate.analysis.class_samples import load_class_sheet
from mmablate.analysis.ranked_scenes import load_ranked_scenes
from mmablate.cli.parsing import parse_seeds
from mmablate.cli.showing import draw_samples
from mmablate.cli.writing import write_text
from mmablate.errors import MmablateError, UsageError
from mmablate.report.contact_sheet import SheetAbout, render_contact_sheet
from mmablate.report.scene_sheet import render_scene_sheet
from mmablate.results import StudyStore
from mmablate.results.shown import SAMPLES
from mmablate.results.store import find_studies

FOLDER, SHEET = "view", "index.html"
"""Where a sheet stands in a study's folder, and what FiftyOne reads below it."""


class UnsuitedStudy(MmablateError):
    """A study that FiftyOne has nothing to show of."""


@dataclass(frozen=True)
class ViewRequest:
    """The options of `view`, as typed."""

    path: Path
    html: Path | None = None
    samples: int = 8
    rows: tuple[str, ...] = ()
    seeds: str | None = None
    data_root: str | None = None
    fiftyone: bool | None = None
    launch: bool = True


def view_study(request: ViewRequest) -> int:
    """Opens a study in FiftyOne where it is installed and no sheet was asked for, else writes the sheet.

    Where FiftyOne was asked for and does not work, the sheet is written and the reason told.

    Raises:
        UsageError: no study, several of them, or one that has kept no predictions.
    """
    store = _study_of(request.path)
    study = store.read_study()
    wanted = request.fiftyone
    if not (wanted or (wanted is None and request.html is None and find_spec("fiftyone") is not None)):
        _write_sheet(request, store, study)
        return 0
    if request.html is not None:
        _write_sheet(request, store, study)
    try:
        _open_in_fiftyone(request, store, study)
    except UsageError:
        raise
    except MmablateError as error:
        if request.html is None:
            _write_sheet(request, store, study)
        if wanted:
            raise
        print(f"FiftyOne: {error}; the contact sheet is written instead", file=sys.stderr)
    return 0


def _study_of(path: Path) -> StudyStore:
    found = find_studies(path)
    if len(found) > 1:
        names = ", ".join(store.folder.name for store in found)
        raise UsageError(f"{path}: holds several studies ({names}); name the folder of one")
    return found[0]


def _write_sheet(request: ViewRequest, store: StudyStore, study: Mapping[str, Any]) -> None:
    text = _scene_sheet(request, store, study) if _has_scenes(store, study) else _class_sheet(request, store, study)
    if str(request.html) == "-":
        write_text(text, None)
        return
    page = request.html or store.folder / FOLDER / SHEET
    write_text(text, page)
    print(f"contact sheet: {page}", file=sys.stderr)


def _has_scenes(store: StudyStore, study: Mapping[str, Any]) -> bool:
    """Rather than one class a sample."""
    data = study.get("data")
    scans = isinstance(data, dict) and data.get("task") == "volumes"
    return scans or (store.folder / SAMPLES).exists()


def _class_sheet(request: ViewRequest, store: StudyStore, study: Mapping[str, Any]) -> str:
    sheet = load_class_sheet(store, request.samples, rows=request.rows or None, seeds=_seeds(request))
    if not sheet.rows:
        raise _nothing(store, sheet.faults)
    drawn = draw_samples(store, study, sheet.samples(), request.data_root, _tell)
    for text in (*(f"left out: {fault}" for fault in sheet.faults), *drawn.told):
        _tell(text)
    return render_contact_sheet(_about(study, drawn.warnings), sheet, drawn.samples)


def _scene_sheet(request: ViewRequest, store: StudyStore, study: Mapping[str, Any]) -> str:
    ranked = load_ranked_scenes(store, request.samples, rows=request.rows or None, seeds=_seeds(request))
    if not ranked.rows:
        raise _nothing(store, ())
    return render_scene_sheet(_about(study, ()), ranked)


def _nothing(store: StudyStore, faults: tuple[str, ...]) -> UsageError:
    damaged = "".join(f"\n{fault}" for fault in faults)
    return UsageError(
        f"{store.folder}: no run that was asked for has kept predictions of single samples; runs of an earlier "
        f"version have none, and --force trains them again{damaged}"
    )


def _about(study: Mapping[str, Any], warnings: list[str] | tuple[()]) -> SheetAbout:
    dataset, data = study.get("dataset") or {}, study.get("data") or {}
    return SheetAbout(
        title=str(study.get("title") or study["name"]),
        split=str(data.get("scored_split") or "test"),
        dataset=str(dataset.get("name") or ""),
        attribution=str(dataset.get("attribution") or ""),
        warnings=tuple(warnings),
    )


def _seeds(request: ViewRequest) -> list[int] | None:
    return None if request.seeds is None else parse_seeds(request.seeds)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _open_in_fiftyone(request: ViewRequest, store: StudyStore, study: Mapping[str, Any]) -> None:
    """Builds the dataset and opens the app.

    Raises:
        MmablateError: FiftyOne is missing or does not work, or this study is not one for it.
    """
    from mmablate.cli import fiftyone_view

    if _has_scenes(store, study):
        raise UnsuitedStudy("only studies of classification are opened there")
    fo = fiftyone_view.import_fiftyone()
    rows, seeds = request.rows or None, _seeds(request)
    sheet = load_class_sheet(store, request.samples, rows=rows, seeds=seeds, every=True)
    if not sheet.rows:
        raise _nothing(store, sheet.faults)
    keys = list(dict.fromkeys(sample.key for row in sheet.rows for sample in row.every))
    if len(keys) > fiftyone_view.MOST_SAMPLES:
        each = max(1, fiftyone_view.MOST_SAMPLES // (3 * len(sheet.rows)))
        chosen = load_class_sheet(store, each, rows=rows, seeds=seeds).samples()
        _tell(f"FiftyOne: {len(chosen)} of {len(keys)} samples, the worst, best and most confidently wrong of each row")
        keys = chosen
    drawn = draw_samples(store, study, keys, request.data_root, _tell)
    for text in (*(f"left out: {fault}" for fault in sheet.faults), *drawn.told):
        _tell(text)
    if not drawn.samples:
        raise UnsuitedStudy("without the data there are no pictures to open there")
    media = fiftyone_view.write_media(store.folder / FOLDER, drawn.samples)
    groups = fiftyone_view.view_groups(sheet, drawn.samples, media)
    name = fiftyone_view.dataset_name(store.folder.name)
    about = {"study": str(study.get("title") or study["name"]), "synthetic": sheet.synthetic}
    dataset = fiftyone_view.build_dataset(fo, name, groups, about)
    _tell(f"FiftyOne dataset: {name} ({len(groups)} samples)")
    if request.launch:
        fiftyone_view.launch(fo, dataset)
