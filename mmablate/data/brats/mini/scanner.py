"""One subject: its brain and tumour, seen by the four sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmablate.data.brats.mini import tissue
from mmablate.data.brats.mini.anatomy import Anatomy, Head, draw_anatomy, draw_head
from mmablate.data.brats.mini.fields import Field, smooth, stream
from mmablate.data.brats.mini.tissue import Timing, Tissue, enhanced, inversion_recovery, nulling_time, spin_echo
from mmablate.data.brats.mini.tumour import Kind, Regions, Tumour, draw_tumour, regions

SEQUENCES = ("flair", "t1ce", "t1", "t2")
"""In the order of channels."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What the raw files hold.

    Attributes:
        volumes: int16 (4, S, S, S), in the order of `SEQUENCES`; exactly 0 outside the brain, at least 1 inside.
        labels: uint8 (S, S, S), 0, 1, 2, 4.
    """

    volumes: NDArray[np.int16]
    labels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Part:
    """Something that fills a share of each voxel.

    Attributes:
        share: (S, S, S), 0-1.
        tissue: what it is.
        slower: factor (S, S, S) of T1 and T2.
        agent: contrast agent in it (mmol/l).
    """

    share: Field
    tissue: Tissue
    slower: Field | float = 1.0
    agent: Field | float = 0.0


def draw_subject(seed: int, number: int, size: int, kind: Kind) -> Subject:
    """The subject of this number."""
    rng = stream(seed, 0, number)
    head = draw_head(rng, size)
    tumour = draw_tumour(rng, head, kind)
    anatomy = draw_anatomy(rng, head, tumour.push)
    found = regions(rng, tumour, anatomy, head)
    parts = _parts(rng, anatomy, tumour, found, kind)
    return Subject(_examine(stream(seed, 1, number), parts, head), found.labels)


def _parts(rng: np.random.Generator, anatomy: Anatomy, tumour: Tumour, found: Regions, kind: Kind) -> list[_Part]:
    """All of a voxel; their shares sum to 1."""
    healthy = 1 - found.core - found.enhancing - found.oedema
    blood = anatomy.vessels * healthy
    healthy = healthy - blood
    white = 1 - anatomy.csf - anatomy.grey - anatomy.lesions
    uneven = np.exp(0.12 * tumour.texture).astype(np.float32)
    core = tissue.SOLID if kind.low_grade else tissue.NECROSIS
    return [
        _Part(healthy * anatomy.csf, tissue.CSF.varied(rng, 0.03)),
        _Part(healthy * anatomy.grey, tissue.GREY.varied(rng, 0.03)),
        _Part(healthy * white, tissue.WHITE.varied(rng, 0.03)),
        _Part(healthy * anatomy.lesions, tissue.LESION.varied(rng, 0.08)),
        _Part(blood, tissue.BLOOD.varied(rng, 0.05), agent=float(rng.uniform(0.8, 2.0))),
        _Part(found.oedema, tissue.OEDEMA.varied(rng, 0.08), uneven),
        _Part(found.enhancing, tissue.ENHANCING.varied(rng, 0.10), uneven, tumour.concentration),
        _Part(found.core, core.varied(rng, 0.12), uneven),
    ]


def _examine(rng: np.random.Generator, parts: list[_Part], head: Head) -> NDArray[np.int16]:
    """The four images, each with its own gain, bias field and Rician noise."""
    timing = Timing.draw(rng)
    clean = [sum(part.share * _signal(part, sequence, timing) for part in parts) for sequence in SEQUENCES]
    return np.stack([_measured(rng, np.asarray(image), head.mask) for image in clean])


def _signal(part: _Part, sequence: str, timing: Timing) -> Field:
    """Of a voxel full of this part, by the equation of the sequence."""
    density, t1, t2 = part.tissue.density, part.tissue.t1 * part.slower, part.tissue.t2 * part.slower
    if sequence == "flair":
        return inversion_recovery(density, t1, t2, *timing.flair, nulling_time(tissue.CSF.t1, timing.flair[0]))
    if sequence == "t2":
        return spin_echo(density, t1, t2, *timing.t2)
    return spin_echo(density, enhanced(t1, part.agent) if sequence == "t1ce" else t1, t2, *timing.t1)


def _measured(rng: np.random.Generator, image: Field, mask: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Image times a smooth bias field, the magnitude with complex noise, scaled to integers, skull stripped."""
    size = image.shape[0]
    bias = np.exp(rng.uniform(0.05, 0.15) * smooth(rng, size, 14.0))
    middle = float(np.median(image[mask]))
    sigma = middle * rng.uniform(0.03, 0.07)
    real, imaginary = sigma * rng.standard_normal((2, *image.shape), dtype=np.float32)
    magnitude = np.hypot(image * bias + real, imaginary)
    scaled = np.rint(magnitude * (rng.uniform(150, 600) / middle))
    return np.where(mask, np.clip(scaled, 1, 32767), 0).astype(np.int16)
