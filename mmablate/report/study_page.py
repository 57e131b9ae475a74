"""The page of a study: its table, the tables of single conditions, and predictions on a few scenes."""

from __future__ import annotations

from collections.abc import Sequence

from mmablate.analysis.scenes import Scenes
from mmablate.analysis.table import Table
from mmablate.report import html, labels
from mmablate.report.scenes import scenes_view


def render_study(table: Table, conditions: Sequence[Table] = (), scenes: Scenes | None = None) -> str:
    """The page of one study: its table, those of single conditions, and what its models predict.

    What the tables of conditions would only repeat (notes, source) stands under the first one.
    """
    below = [
        other.model_copy(
            update={
                "notes": tuple(note for note in other.notes if note not in table.notes),
                "dataset": other.dataset.model_copy(update={"attribution": None}),
            }
        )
        for other in conditions
    ]
    tables = [table, *below]
    views = [html.table_view(one, f"t{index}") for index, one in enumerate(tables, start=1)]
    shown = scenes_view(scenes, "scenes") if scenes is not None else None
    links = [(view.anchor, labels.clean(one.condition or "")) for view, one in zip(views, tables, strict=True)][1:]
    links += [(shown.anchor, "predictions")] if shown else []
    return html.fill_page(tables, heading=views[0].title, tables=views, listed=False, links=links, scenes=shown)
