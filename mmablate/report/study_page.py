"""The page of a study: its tables, figures, predictions on a few scenes, and what its runs were."""

from __future__ import annotations

from collections.abc import Sequence

from mmablate.analysis.details import StudyDetails
from mmablate.analysis.saliency import StudySaliency
from mmablate.analysis.scenes import Scenes
from mmablate.analysis.table import Table
from mmablate.report import details_view, html, labels
from mmablate.report.saliency import saliency_view
from mmablate.report.scenes import scenes_view
from mmablate.report.suppression_view import suppression_view


def render_study(
    table: Table,
    conditions: Sequence[Table] = (),
    scenes: Scenes | None = None,
    *,
    details: StudyDetails | None = None,
    effects: Sequence[Table] = (),
    saliency: StudySaliency | None = None,
    saliency_link: str = "",
) -> str:
    """The page of one study.

    What further tables would only repeat (notes, source) stands under the first one.

    Args:
        table: of the study.
        conditions: tables of single conditions.
        scenes: what its models predict.
        details: training, recipe, settings by row, machines, failures.
        effects: main effects, interactions, contributions: tables whose cells have a Δ only.
        saliency: of the teachers' channels, where runs looked for it.
        saliency_link: to its CSV, relative to the page.
    """
    further = [_without_repetition(table, other) for other in (*effects, *conditions)]
    tables = [table, *further]
    views = [html.table_view(one, f"t{index}") for index, one in enumerate(tables, start=1)]
    if details is not None and details.failures:
        views = [view._replace(failures=[]) for view in views]  # they have a section of their own
    shown = scenes_view(scenes, "scenes") if scenes is not None else None
    told = details_view.details_view(details, table) if details is not None else None
    links = [
        (view.anchor, labels.clean(one.condition or view.title.removeprefix(f"{views[0].title}: ")))
        for view, one in zip(views[1:], further, strict=True)
    ]
    links += details_view.links(told) if told else []
    salient = saliency_view(saliency, decimal=table.decimal, link=saliency_link) if saliency is not None else None
    looks = suppression_view(details.suppression, table) if details is not None and details.suppression else None
    place = len(further) + sum(1 for anchor, _ in links[len(further) :] if anchor in ("failures", "training"))
    between = [(looks.anchor, looks.link)] if looks else []
    between += [("saliency", "saliency of the teacher's channels")] if salient else []
    links[place:place] = [*between, *([(shown.anchor, "predictions")] if shown else [])]
    return html.fill_page(
        tables, heading=views[0].title, tables=views, listed=False, links=links, scenes=shown, details=told,
        saliency=salient, modalities=looks,
    )  # fmt: skip


def _without_repetition(table: Table, other: Table) -> Table:
    return other.model_copy(
        update={
            "notes": tuple(note for note in other.notes if note not in table.notes),
            "dataset": other.dataset.model_copy(update={"attribution": None}),
        }
    )
