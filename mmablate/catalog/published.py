"""Published tables that ship as reference data, to set a finished study beside."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "published_tables"


@dataclass(frozen=True)
class PublishedTable:
    """A table as it was printed.

    Attributes:
        name: of the file, without its ending.
        title: what was measured.
        study: the study of this package that measures the same, None where there is none.
        source: where the figures come from.
        row_prefix: before the first column it makes the name of the study's row ("lambda=" for "50").
    """

    name: str
    title: str
    study: str | None
    source: str
    row_prefix: str = ""

    @property
    def path(self) -> Path:
        """The CSV."""
        return FOLDER / f"{self.name}.csv"

    def read(self) -> tuple[tuple[str, ...], dict[str, dict[str, float]]]:
        """Columns, and row name -> column -> percent, where there is one; rows are named as those of `study`."""
        with self.path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        columns = tuple(lines[0][1:])
        rows = {
            self.row_prefix + line[0]: {c: float(value) for c, value in zip(columns, line[1:], strict=True) if value}
            for line in lines[1:]
        }
        return columns, rows


PUBLISHED = (
    PublishedTable("muses_losses", "loss combinations on MUSES", "muses_losses_full", "PRISMS ablation blog, 2025"),
    PublishedTable(
        "muses_lambda", "λ on MUSES, row sup+mad", "muses_losses_full_lambda", "PRISM documentation", "lambda="
    ),
    PublishedTable(
        "muses_alpha", "α on MUSES, row sup+mad+umd", "muses_losses_full_alpha", "PRISM documentation", "alpha="
    ),
    PublishedTable("muses_methods", "methods on MUSES", None, "AnySeg README, arXiv:2411.17141"),
    PublishedTable(
        "mfh_gamma",
        "cross-modal distillation by γ, Gaussian data",
        "gauss_gamma",
        "what the released code of arXiv:2206.06487 prints, means of 10 seeds without their spread",
    ),
    PublishedTable(
        "mfh_alpha",
        "cross-modal distillation by α, Gaussian data",
        "gauss_alpha",
        "what the released code of arXiv:2206.06487 prints, means of 10 seeds without their spread",
    ),
    PublishedTable(
        "mfh_focus", "distillation from general channels, Gaussian data", "gauss_focus", "arXiv:2206.06487, Table 2"
    ),
    *(
        PublishedTable(
            f"balancebenchmark_{name}",
            f"accuracy of balancing methods on {data}",
            study,
            "README of BalanceBenchmark: single runs of 30 epochs, on features computed before",
        )
        for name, data, study in (
            ("cremad", "CREMA-D", "cremad_dgl_full"),
            ("ks", "Kinetics-Sounds", "kinetics_dgl_full"),
            ("vggsound", "VGGSound", "vggsound_dgl_full"),
        )
    ),
    PublishedTable(
        "prism_components",
        "components of the self-distillation on BraTS 2020",
        "brats_components_full",
        "PRISM documentation, revision of February 2025, which later ones contradict: directions only",
    ),
    PublishedTable("deliver_methods", "methods on DELIVER", None, "AnySeg and MAGIC, as reported"),
)


def published_tables() -> dict[str, PublishedTable]:
    """All of them, by name."""
    return {table.name: table for table in PUBLISHED}
