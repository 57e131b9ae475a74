"""`Table`: the one type between statistics and every renderer, with its JSON form (INTERFACE: schema 1).

Numbers are unrounded; a renderer rounds and colours but computes no statistic.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from mmablate.analysis.search import Search


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ColumnInfo(_Frozen):
    """What a column measures.

    Attributes:
        metric: name as printed, e.g. "mIoU".
        unit: "%" or "" for unitless values.
        label: as printed, where the recipe names one; "" prints the column's own name.
        direction: whether larger ("max") or smaller ("min") is better.
        subset: True for a modality subset, which the column Mean averages.
        reference: True where the column describes a row (what it learns from, e.g. its teacher, or what was seen in
            its training) and does not say how good it is: it has no Δ and no best, and is in no family. Rows without
            such a thing have no value there.
    """

    metric: str = "mIoU"
    unit: str = "%"
    direction: Literal["max", "min"] = "max"
    subset: bool = True
    label: str = ""
    reference: bool = False

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Label and reference are written only where they say something."""
        fields: dict[str, Any] = write(self)
        silent = {name for name in ("label", "reference") if not getattr(self, name)}
        return {key: value for key, value in fields.items() if key not in silent}


class Cell(_Frozen):
    """One row in one column, over seeds.

    Attributes:
        mean: over the seeds in `values`; None where no run gave a value, and in a table of effects, whose cells
            have a Δ only.
        std: sample standard deviation (n - 1); None below two seeds.
        values: seed (as a string) -> value; in a table of effects seed -> contrast.
        delta: mean of the per-seed differences to the baseline row; None on the baseline itself.
        test: "paired" over common seeds, "welch" where fewer than two are common, None without Δ.
        ci: interval of delta at the table's confidence, from Student's t; None below two seeds or without spread.
        p: two-sided p-value of Δ = 0 by the t test that `test` names; None where it cannot be computed.
        p_adjusted: p adjusted by Holm within its family (`Table.families`); None where it is in none.
        p_sign_flip: exact two-sided p-value of the sign-flip test over the common seeds, unadjusted; its smallest
            value at n seeds is 2^(1-n). None where Δ is not paired or there are too many seeds to enumerate.
        n_pairs: seeds that Δ is paired over; None where it is not.
        correlation: Pearson's ρ of the pairs; None below three of them or where a side has no spread.
        effect_size: Δ in standard deviations of the per-seed differences (Cohen's d_z); of the two rows' pooled
            spread where Δ is not paired.
        seeds_needed, seeds_needed_upper: seeds with which the recipe's smallest effect would be detected with a
            power of 80 % in this cell, at the spread seen and at its 80 % upper bound; None without either.
        significant: p_adjusted < 0.05.
        best: the best mean of its column, in the column's direction.
        tied: not the best, and not significantly worse: paired against the best, Holm within the column.
        heat: "#RRGGBB" by Δ alone (warm = better, blue = worse), None without a Δ or at Δ = 0.
    """

    mean: float | None = None
    std: float | None = None
    values: dict[str, float] = Field(default_factory=dict)
    delta: float | None = None
    test: Literal["paired", "welch"] | None = None
    ci: tuple[float, float] | None = None
    p: float | None = None
    p_adjusted: float | None = None
    p_sign_flip: float | None = None
    n_pairs: int | None = None
    correlation: float | None = None
    effect_size: float | None = None
    seeds_needed: int | None = None
    seeds_needed_upper: int | None = None
    significant: bool = False
    best: bool = False
    tied: bool = False
    heat: str | None = None


class Row(_Frozen):
    """One cell of the grid.

    Attributes:
        name: as in the recipe, e.g. "sup+mad".
        label: as printed, e.g. "L_sup + λL_mad"; `_x` is a subscript.
        baseline: name of the row that Δ refers to; None where there is none.
        status: "ok"; "partial" where seeds are missing or failed; "failed" where no seed is left.
        n_seeds: number of seeds with values.
        n_parameters: trainable parameters of the model.
        flops: floating point operations of one forward pass, None where not counted.
        seconds: mean wall time of a run.
        reference: True for a teacher shown as a row: no Δ, never best.
        pruned: True for a row that a search stopped before its last seed: no Δ, never best, in no curve.
        errors: one line per failed run: "seed 3: loss term 'mad' became nan at step 17".
        level: value of the swept parameters, name -> value; empty outside sweeps.
        levels: level of each factor, factor -> name of the level; empty without factors.
        losses: loss terms of the row.
    """

    name: str
    label: str
    baseline: str | None = None
    status: Literal["ok", "partial", "failed"] = "ok"
    n_seeds: int = 0
    n_parameters: int | None = None
    flops: float | None = None
    seconds: float | None = None
    reference: bool = False
    pruned: bool = False
    errors: tuple[str, ...] = ()
    level: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    levels: dict[str, str] = Field(default_factory=dict)
    losses: tuple[str, ...] = ()
    cells: dict[str, Cell] = Field(default_factory=dict)


class DatasetInfo(_Frozen):
    """What the numbers were measured on; `synthetic` is printed wherever they go."""

    name: str = ""
    synthetic: bool = False
    n_train: int = 0
    n_val: int = 0
    n_test: int = 0
    classes: tuple[str, ...] = ()
    attribution: str | None = None


class HeatScale(_Frozen):
    """Where the heat steps begin.

    Attributes:
        metric, unit: of the columns it holds for.
        steps: lower bounds of the four steps, in the unit of the column, starting with 0.
        gain, loss: the four colours, weakest first.
    """

    metric: str
    unit: str
    steps: tuple[float, ...]
    gain: tuple[str, ...]
    loss: tuple[str, ...]


class Sweep(_Frozen):
    """The swept parameter of a sensitivity study.

    Attributes:
        parameters: names as typed, e.g. ["beta"].
        symbols: as printed, e.g. ["β"].
        used: the recipe's own value of each parameter (drawn as a ring), None where it has none.
    """

    parameters: tuple[str, ...]
    symbols: tuple[str, ...]
    used: tuple[float | int | str | bool | None, ...]


class Family(_Frozen):
    """Tests that are adjusted together by Holm.

    Attributes:
        columns: whose cells are in it.
        size: number of p-values, m.
    """

    columns: tuple[str, ...]
    size: int


ExtraName = Literal["n_parameters", "flops", "seconds"]


class Table(_Frozen):
    """A finished table. `columns` holds metric columns only; parameters, seconds and FLOPs are of the row.

    Attributes:
        kind: "scores": means of rows, and Δ to a baseline. "effects": each cell is a contrast of several rows,
            kept as its Δ; no row is a baseline or the best.
        row_header: what stands above the row labels, e.g. "Losses".
        caption: one or two sentences under the table: what is measured, on which split, against what.
        baseline: name of the baseline row; None with per-row baselines.
        n_decimals: decimals that renderers print (JSON stays unrounded).
        decimal: the decimal sign that people read; CSV and JSON keep the point.
        extras: fields of the row that renderers show as columns, those that are known; None shows all known.
        confidence: of the intervals, e.g. 0.95.
        primary: the column whose p-values are a family of their own, where the table has it.
        family: the other columns' families: one of the whole "table", or one a "column".
        families: which p-values were adjusted together.
        smallest_effect: smallest |Δ| worth detecting, in the unit of the columns; None where none was named.
        search: the search that chose the rows' values, None for a grid.
        study_notes: those of the notes that are about the runs themselves (settings, selection, teacher, runs left
            out): they hold for every other table that is made of the same rows.
        condition: the only condition whose samples are scored, e.g. "night"; None for all samples.
        subset: the column of the study whose scores by condition these are; None for the study's own columns.
        given: what the models are given, as printed, where the condition is one of the modalities and not of the
            samples, e.g. "from t2 alone"; left out of the JSON form where it is None.
    """

    schema_: int = Field(1, alias="schema")
    study: str
    kind: Literal["scores", "effects"] = "scores"
    title: str = ""
    caption: str = ""
    row_header: str = ""
    baseline: str | None = None
    columns: tuple[str, ...] = ()
    column_info: dict[str, ColumnInfo] = Field(default_factory=dict)
    dataset: DatasetInfo = Field(default_factory=DatasetInfo)
    rows: tuple[Row, ...] = ()
    heat_scales: tuple[HeatScale, ...] = ()
    sweep: Sweep | None = None
    search: Search | None = None
    n_decimals: int = 2
    decimal: Literal[".", ","] = "."
    extras: tuple[ExtraName, ...] | None = None
    confidence: float = Field(0.95, gt=0.5, lt=1)
    primary: str | None = "Mean"
    family: Literal["table", "column"] = "table"
    families: tuple[Family, ...] = ()
    smallest_effect: float | None = None
    condition: str | None = None
    subset: str | None = None
    given: str | None = None
    notes: tuple[str, ...] = ()
    study_notes: tuple[str, ...] = ()

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    def to_json_dict(self) -> dict[str, Any]:
        """The JSON form of INTERFACE.md; keys in the order of this class."""
        return self.model_dump(mode="json", by_alias=True, exclude={"given"} if self.given is None else None)
