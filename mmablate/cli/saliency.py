"""`saliency`: what joint trainings have found of a teacher's channels, or what trained pairs say when asked anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mmablate.analysis.saliency import RunNames, SaliencyRow, load_saliency
from mmablate.errors import UsageError
from mmablate.report.saliency import saliency_csv, summary
from mmablate.results import StudyStore
from mmablate.study.generating import generated_root

DEFAULT_PERMUTATIONS = 10


@dataclass(frozen=True)
class SaliencyRequest:
    """The options of `saliency`, as typed."""

    path: Path
    place: str | None = None
    permutations: int | None = None
    distance: str | None = None
    split: str | None = None
    data_root: str | None = None
    device: str = "auto"
    output: Path | None = None
    format: str = "terminal"

    @property
    def anew(self) -> bool:
        """Whether pairs are to be measured."""
        return any(option is not None for option in (self.place, self.permutations, self.distance, self.split))


def show_saliency(request: SaliencyRequest) -> int:
    """Prints the saliency, and writes it as CSV and figures.

    Raises:
        UsageError: nothing there that has a saliency; says what makes one.
    """
    store, run_id = _place(request.path)
    rows, synthetic = _measured(request, store, run_id) if request.anew else _stored(store, run_id)
    folder = request.output if request.output is not None else store.folder / "figures" / "saliency"
    written = _write(rows, folder, synthetic=synthetic)
    if request.format == "csv":
        print(saliency_csv(rows, synthetic=synthetic), end="")
    else:
        Console().print(summary(rows, synthetic=synthetic))
    for path in written:
        if path.suffix in (".csv", ".svg"):
            print(path, file=sys.stderr)
    return 0


def _place(path: Path) -> tuple[StudyStore, str | None]:
    """The study, and the run where the path is that of one."""
    run = path / "config.json"
    if run.exists() and path.parent.name == "runs":
        folder = path.resolve().parent.parent
        return StudyStore(folder.parent, folder.name), path.resolve().name
    if not (path / "study.json").exists():
        raise UsageError(f"{path}: neither a study (study.json) nor a run of one (runs/<run_id>)")
    folder = path.resolve()
    return StudyStore(folder.parent, folder.name), None


def _stored(store: StudyStore, run_id: str | None) -> tuple[Sequence[SaliencyRow], bool]:
    """What the runs of the study have left."""
    records = [r for r in store.records()[0] if run_id is None or r.run_id == run_id]
    found = load_saliency(store, records=records)
    for fault in found.faults if found is not None else ():
        print(f"left out: {fault}", file=sys.stderr)
    if found is None or not found.rows:
        raise UsageError(
            f"{store.folder}: no run has looked for the saliency of channels; "
            "--place NAME measures its trained pairs, and a recipe with a focus trains some"
        )
    return found.rows, found.synthetic


def _measured(request: SaliencyRequest, store: StudyStore, run_id: str | None) -> tuple[Sequence[SaliencyRow], bool]:
    """What trained pairs say now."""
    from mmablate.training.device import choose_device
    from mmablate.training.trained_pairs import Wanted, measure_pairs

    study = store.read_study()
    recipe = study["recipe"]
    if not isinstance(recipe.get("data"), dict):
        raise UsageError(f"{store.folder}: the study's runs are of a program")
    before = (recipe.get("focus") or {}) if request.place is None else {}
    place = request.place or before.get("place")
    if place is None:
        raise UsageError("--place NAME: say where in the teacher, e.g. --place input")
    focus = recipe.get("focus") or {}
    wanted = Wanted(
        place=place,
        permutations=request.permutations or focus.get("permutations", DEFAULT_PERMUTATIONS),
        distance=request.distance or focus.get("distance", "squared"),
        split=request.split or focus.get("split", "train"),
    )
    root, data = request.data_root, recipe["data"]
    if root is None and data.get("generate") is not None:
        root = str(generated_root(data["name"], data["generate"], lambda text: print(text, file=sys.stderr)))
    names, rows, synthetic = RunNames(study), [], bool(study["dataset"].get("synthetic"))
    for found in measure_pairs(store, wanted, root, choose_device(request.device), only=run_id):
        order, label = names.of(found.record)
        row = SaliencyRow(
            run=label, seed=found.record.seed, place=place, scores=found.saliency.scores.tolist(),
            normalised=found.saliency.normalised().tolist(),
            standard_errors=found.saliency.standard_errors.tolist(), general=found.general, kept=None,
            count=found.count,
        )  # fmt: skip
        rows.append((order, row))
    rows.sort(key=lambda item: (item[0], item[1].run, item[1].seed))
    return [row for _, row in rows], synthetic


def _write(rows: Sequence[SaliencyRow], folder: Path, *, synthetic: bool) -> list[Path]:
    from mmablate.report.canvas import PAPER
    from mmablate.report.figures import write_drawings, write_saliency_csv
    from mmablate.report.saliency import saliency_drawings

    written = write_saliency_csv(rows, folder, synthetic=synthetic)
    return written + write_drawings(saliency_drawings(rows, PAPER), folder, synthetic=synthetic)
