"""What the values of a label file mean: class numbers, or colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHOWN = 5  # unknown values named in one line
UNKNOWN = -1
VOID = 255  # the number that is ignored where no other is named
SMALL = 1 << 16  # numbers below are looked up in a table


class Read(NamedTuple):
    """Labels int64 (H, W), and the values that mean no class: number or colour -> pixels."""

    labels: NDArray[np.int64]
    unknown: dict[str, int]


@dataclass(frozen=True)
class LabelRule:
    """From the values of a file to classes.

    A number that is in `void` becomes `ignore_label`; any other has `offset` added and is then renamed by
    `renamed`. A colour is looked up as it is.

    Attributes:
        n_classes: K; classes are 0..K-1.
        ignore_label: of pixels that count neither in a loss nor in a score.
        channel, offset, renamed: for numbers; `renamed` is the option `map`.
        colours: one RGB a class, None for a class without one; None where labels are numbers.
        void: numbers, or RGB triples.
        others: whether values that mean no class are a fault or void.
    """

    n_classes: int
    ignore_label: int
    channel: int = 0
    offset: int = 0
    renamed: Mapping[int, int] | None = None
    colours: Sequence[Sequence[int] | None] | None = None
    void: Sequence[int | Sequence[int]] = (VOID,)
    others: Literal["refuse", "void"] = "refuse"

    def class_of(self, number: int) -> int | None:
        """The class that a number in a file means, None where it means none; `void` is not looked at."""
        moved = number + self.offset
        label = (self.renamed or {}).get(moved, moved)
        return label if 0 <= label < self.n_classes else None

    def read(self, values: np.ndarray) -> Read:
        """Classes of the values (H, W, C) of a file; C is 3 where labels are colours."""
        if self.colours is None:
            return self._settle(*self._numbers(values[..., self.channel]))
        return self._settle(*self._painted(values))

    def _settle(self, labels: NDArray[np.int64], found: NDArray[np.float64] | NDArray[np.int64]) -> Read:
        """Names the values that mean no class, and makes them void."""
        wrong = labels == UNKNOWN
        unknown: dict[str, int] = {}
        if wrong.any():
            if self.others == "refuse":
                values, counts = np.unique(found[wrong], return_counts=True)
                unknown = {self._name(v): int(n) for v, n in zip(values, counts, strict=True)}
            labels[wrong] = self.ignore_label
        return Read(labels, unknown)

    def _name(self, value: float) -> str:
        if self.colours is None:
            return f"{value:.9g}"
        packed = int(value)
        return f"({packed >> 16}, {packed >> 8 & 255}, {packed & 255})"

    def _numbers(self, values: np.ndarray) -> tuple[NDArray[np.int64], np.ndarray]:
        if values.dtype.kind in "bui" and values.size and values.min() >= 0 and values.max() < SMALL:
            present = np.arange(int(values.max()) + 1)
            return self._table(present)[values.astype(np.int64)], values
        present, inverse = np.unique(values, return_inverse=True)
        return self._table(present)[inverse.reshape(values.shape)], values

    def _table(self, present: np.ndarray) -> NDArray[np.int64]:
        """Label of each number."""
        table = np.full(len(present), UNKNOWN, dtype=np.int64)
        void = {value for value in self.void if isinstance(value, int)}
        for i, value in enumerate(present.tolist()):
            if value in void:
                table[i] = self.ignore_label
            elif value == value and abs(value) < 2**53 and value == int(value):
                label = self.class_of(int(value))
                table[i] = UNKNOWN if label is None else label
        return table

    def _painted(self, values: np.ndarray) -> tuple[NDArray[np.int64], np.ndarray]:
        packed = pack(values)
        known = {tuple(c): k for k, c in enumerate(self.colours or ()) if c is not None}
        known |= {tuple(colour): self.ignore_label for colour in self.void if not isinstance(colour, int)}
        keys = np.array([(r << 16) | (g << 8) | b for r, g, b in known], dtype=np.int64)
        order = np.argsort(keys)
        keys, labels = keys[order], np.array(list(known.values()), dtype=np.int64)[order]
        place = np.minimum(np.searchsorted(keys, packed), len(keys) - 1)
        return np.where(keys[place] == packed, labels[place], UNKNOWN), packed


def pack(colours: np.ndarray) -> NDArray[np.int64]:
    """RGB uint8 (..., 3) as one integer each."""
    red, green, blue = np.moveaxis(colours.astype(np.int64), -1, 0)
    packed: NDArray[np.int64] = (red << 16) | (green << 8) | blue
    return packed


def unknown_values(unknown: Mapping[str, int]) -> str:
    """The values at fault, the most frequent ones first, with their pixels."""
    ranked = sorted(unknown.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{value} ({n} pixels)" for value, n in ranked[:SHOWN])
    return shown + (f" and {len(ranked) - SHOWN} other values" if len(ranked) > SHOWN else "")
