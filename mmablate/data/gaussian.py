"""Two modalities drawn from Gaussians that share a chosen part of what decides the label.

Latent channels xs ~ N(0, 1) decide the label, y = 1[xs · a > 0]. Each modality has channels of its own, N(0, 1) all
of them, of which some copy latent channels: those are its decisive channels, and a latent channel that both copy is
modality-general. Inputs are not standardised: they are so by construction.

Draws are keyed by seed, split and purpose (xs, a, noise of x1, noise of x2), and within a purpose channel after
channel. So a modality does not depend on the options of the other, a channel keeps its noise whatever is copied
into its neighbours, and a latent channel its values when others join it. Streams are numpy's PCG64 and its
`Generator.standard_normal`, float32.

`draws: released` gives the numbers of the published scripts bit for bit instead: those of `gauss/main.py` where
`normal` is gaussian (seed i draws a and the training set, seed i + 1 the test set; each set xs, x2, x1), those of
`gauss/main_modify_gamma.py` where it is ones (one seed, its recipe counts from 42; each set xs, x1, x2).

Source: Xue et al., The Modality Focusing Hypothesis, ICLR 2023, arXiv:2206.06487, section 4.1 and appendix.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmablate.data.base import ClassificationData, LabelledSplit, Split
from mmablate.data.keys import stream_key
from mmablate.errors import DataError

MODALITIES = ("x1", "x2")
CLASS_NAMES = ("negative", "positive")
RELEASED_LATENT = 500  # the length of the published script's a, of which the first are used

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """What a modality shows.

    Attributes:
        channels: how many it has.
        decisive: first and one past the last latent channel that it copies.
        at: its own channel that copies the first of them.
    """

    channels: int
    decisive: tuple[int, int]
    at: int

    @property
    def copies(self) -> slice:
        """Its own channels that copy latent ones."""
        return slice(self.at, self.at + self.decisive[1] - self.decisive[0])


def open_gaussian(
    *,
    seed: int,
    modalities: Sequence[str] = MODALITIES,
    xs: int = 20,
    x1: Mapping[str, Any] | None = None,
    x2: Mapping[str, Any] | None = None,
    normal: str = "gaussian",
    n_train: int = 200,
    n_test: int = 1000,
    n_val: int = 0,
    draws: str = "keyed",
) -> ClassificationData:
    """The sets of one seed.

    Args:
        seed: of the run; other seeds share nothing.
        modalities: of x1, x2; the data hold these alone, in this order.
        xs: latent channels, all of which decide the label.
        x1, x2: channels, decisive and at, as in `View`; `at` None is the number of the first latent channel copied.
            A modality that is not asked for may be left out, but for `draws` released.
        normal: the vector a: "gaussian", drawn from N(0, 1), or "ones".
        n_train, n_test, n_val: samples of each split; without validation samples there is no such split.
        draws: "keyed" or "released".

    Returns:
        Labels 0, 1 and inputs float32 (N, channels). `general` names the channels of each modality asked for that
        copy latent channels which the other one copies too; empty where the other's options are not given.

    Raises:
        DataError: an argument is at fault; all faults together.
    """
    given = {"x1": x1, "x2": x2}
    sizes = {"train": n_train, "val": n_val, "test": n_test}
    problems = _problems(modalities, xs, given, normal, sizes, draws, seed)
    if problems:
        raise DataError(problems)
    views = {name: _view(view) for name, view in given.items() if view is not None}
    make = _keyed if draws == "keyed" else _released
    drawn = make(seed, xs, views, tuple(modalities), normal, {name: n for name, n in sizes.items() if n})
    splits: dict[str, Split] = {name: LabelledSplit(inputs, labels) for name, (inputs, labels) in drawn.items()}
    return ClassificationData(
        name="gaussian",
        modalities={name: (views[name].channels,) for name in modalities},
        class_names=CLASS_NAMES,
        splits=splits,
        synthetic=True,
        attribution=None,
        content=(Path(__file__),),
        general=general_channels(views, modalities),
    )


def check_gaussian(
    *,
    modalities: Sequence[str] = MODALITIES,
    xs: int = 20,
    x1: Mapping[str, Any] | None = None,
    x2: Mapping[str, Any] | None = None,
    normal: str = "gaussian",
    n_train: int = 200,
    n_test: int = 1000,
    n_val: int = 0,
    draws: str = "keyed",
    seed: int = 0,
    thorough: bool = False,
) -> list[str]:
    """What `open_gaussian` would object to, one line each; [] where all is well. There is no file to read."""
    sizes = {"train": n_train, "val": n_val, "test": n_test}
    return _problems(modalities, xs, {"x1": x1, "x2": x2}, normal, sizes, draws, seed)


def general_channels(views: Mapping[str, View], modalities: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Modality -> its channels that copy latent channels of both modalities; {} unless both views are known."""
    if len(views) < len(MODALITIES):
        return {}
    first = max(view.decisive[0] for view in views.values())
    last = min(view.decisive[1] for view in views.values())
    shift = {name: views[name].at - views[name].decisive[0] for name in modalities}
    return {name: tuple(range(first + shift[name], last + shift[name])) for name in modalities}


def _view(options: Mapping[str, Any]) -> View:
    first, last = options["decisive"]
    at = options.get("at")
    return View(int(options["channels"]), (int(first), int(last)), int(first if at is None else at))


def _problems(
    modalities: Sequence[str],
    xs: int,
    given: Mapping[str, Mapping[str, Any] | None],
    normal: str,
    sizes: Mapping[str, int],
    draws: str,
    seed: int,
) -> list[str]:
    problems = []
    if not modalities or len(set(modalities)) != len(modalities) or not set(modalities) <= set(MODALITIES):
        problems.append(f"gaussian: modalities: expected some of x1, x2, each once, found {list(modalities)}")
    if normal not in ("gaussian", "ones"):
        problems.append(f"gaussian: normal: expected gaussian or ones, found {normal!r}")
    if draws not in ("keyed", "released"):
        problems.append(f"gaussian: draws: expected keyed or released, found {draws!r}")
    problems.extend(
        f"gaussian: n_{name}: expected {int(name != 'val')} or more samples, found {n}"
        for name, n in sizes.items()
        if n < int(name != "val")
    )
    limit = RELEASED_LATENT if draws == "released" else None
    if xs < 1 or (limit is not None and xs > limit):
        wanted = "1 or more latent channels" if limit is None else f"1 to {limit} latent channels with draws: released"
        problems.append(f"gaussian: xs: expected {wanted}, found {xs}")
    if draws == "released" and not 0 <= seed < 2**32 - 1:  # what the published generator takes
        problems.append(f"gaussian: seed: expected 0 to {2**32 - 2} with draws: released, found {seed}")
    all_needed = draws == "released"  # one sequence of draws for both
    for name, options in given.items():
        if options is not None:
            problems.extend(_view_problems(name, options, xs))
        elif name in modalities or all_needed:
            problems.append(f"gaussian: {name}: expected its channels and decisive ones, found nothing")
    return problems


def _view_problems(name: str, options: Mapping[str, Any], xs: int) -> list[str]:
    try:
        view = _view(options)
    except (KeyError, TypeError, ValueError):
        return [f"gaussian: {name}: expected channels: N, decisive: [first, last + 1], found {dict(options)}"]
    problems = []
    first, last = view.decisive
    if not 0 <= first <= last <= xs:
        wanted = f"[first, last + 1] within the {xs} latent channels of xs"
        problems.append(f"gaussian: {name}.decisive: expected {wanted}, found [{first}, {last}]")
    elif view.at < 0 or view.copies.stop > view.channels:
        wanted = f"{last - first} decisive channels from channel {view.at} on to fit into its {view.channels}"
        problems.append(f"gaussian: {name}.channels: expected {wanted}, found that they do not")
    return problems


def _label(latent: NDArray[Any], normal: NDArray[np.float64]) -> NDArray[np.int64]:
    """y = 1[xs · a > 0] of latent (N, L)."""
    return (np.dot(latent.astype(np.float64, copy=False), normal) > 0).astype(np.int64)


Drawn = dict[str, tuple[dict[str, Floats], NDArray[np.int64]]]


def _keyed(
    seed: int,
    xs: int,
    views: Mapping[str, View],
    modalities: tuple[str, ...],
    normal: str,
    sizes: Mapping[str, int],
) -> Drawn:
    a = normals(seed, "a", 1, xs)[0].astype(np.float64) if normal == "gaussian" else np.ones(xs)
    drawn: Drawn = {}
    for split, n in sizes.items():
        latent = normals(seed, f"{split}/xs", n, xs)
        inputs = {}
        for name in modalities:
            view = views[name]
            inputs[name] = normals(seed, f"{split}/{name}", n, view.channels).copy()
            inputs[name][:, view.copies] = latent[:, slice(*view.decisive)]
        drawn[split] = (inputs, _label(latent, a))
    return drawn


class _Kept:
    """The last draws, so that settings that share them draw once; at most so many bytes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self.arrays: OrderedDict[tuple[int, str, int, int], Floats] = OrderedDict()

    def get(self, key: tuple[int, str, int, int]) -> Floats | None:
        found = self.arrays.get(key)
        if found is not None:
            self.arrays.move_to_end(key)
        return found

    def put(self, key: tuple[int, str, int, int], values: Floats) -> None:
        self.arrays[key] = values
        self.held += values.nbytes
        while self.held > self.limit:
            self.held -= self.arrays.popitem(last=False)[1].nbytes


_KEPT = _Kept(limit=128 * 2**20)


def normals(seed: int, purpose: str, n: int, channels: int) -> Floats:
    """Independent N(0, 1), read-only float32 (n, channels); the first channels do not depend on how many there are."""
    key = (seed, purpose, n, channels)
    values = _KEPT.get(key)
    if values is None:
        bits = np.random.PCG64(np.random.SeedSequence(stream_key(seed, "gaussian", purpose)))
        values = np.ascontiguousarray(np.random.Generator(bits).standard_normal((channels, n), dtype=np.float32).T)
        values.flags.writeable = False
        _KEPT.put(key, values)
    return values


def _released(
    seed: int,
    xs: int,
    views: Mapping[str, View],
    modalities: tuple[str, ...],
    normal: str,
    sizes: Mapping[str, int],
) -> Drawn:
    """As the published scripts draw; validation samples, which those do not have, follow those of the test."""
    random = np.random.RandomState(seed)
    order = ("x2", "x1") if normal == "gaussian" else ("x1", "x2")
    a = random.randn(RELEASED_LATENT)[:xs] if normal == "gaussian" else np.ones(xs)
    drawn: Drawn = {}
    for split in (name for name in ("train", "test", "val") if name in sizes):
        if split == "test" and normal == "gaussian":
            random = np.random.RandomState(seed + 1)
        latent = random.randn(sizes[split], xs)
        inputs = {}
        for name in (name for name in order if name in views):
            values, view = random.randn(sizes[split], views[name].channels), views[name]
            values[:, view.copies] = latent[:, slice(*view.decisive)]
            inputs[name] = values.astype(np.float32)
        drawn[split] = ({name: inputs[name] for name in modalities}, _label(latent, a))
    return {split: drawn[split] for split in sizes}
