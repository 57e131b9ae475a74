"""A small sound recipe as text, and ways to spoil it."""

from __future__ import annotations

from pathlib import Path

SOUND = """\
name: tiny
title: Tiny
data: {name: landsat, modalities: [V, N, S]}
model: {name: anymodal_segmentor, widths: [4, 4, 8], strides: [2, 2, 2], decoder_width: 4}
teacher: {name: anymodal_segmentor, seed: paired}
train:
  epochs: 2
  lr: 1e-3
losses:
  sup: {weight: 1}
  mad: {weight: 13.2, symbol: λ}
  umd: {weight: 2.6, symbol: α}
  cmd: {weight: 10, symbol: β}
rows:
  - [sup]
  - [sup, mad]
  - [sup, mad, umd, cmd]
baseline: sup
seeds: [0, 1]
evaluate: {metric: miou, subsets: all}
sweep:
  beta: {values: [0, 1, 10]}
"""


def spoilt(*pairs: tuple[str, str]) -> str:
    """The sound recipe with each old text replaced by the new one."""
    text = SOUND
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def write(folder: Path, text: str = SOUND, name: str = "tiny.yaml") -> str:
    """A recipe file; returns its path as typed."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def line_of(text: str, part: str) -> int:
    """The number of the one line that holds `part`."""
    (number,) = [i for i, line in enumerate(text.splitlines(), 1) if part in line]
    return number
