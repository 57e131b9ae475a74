"""Handwritten digits in six views, real data that ship with the package: which digit is it.

The views are computed from the same pictures, so they differ in how much of the digit they hold, and pairs of them
in how much of that they share. Splits are stratified by digit and fixed by `split_seed`, not by a run's seed.

Source: R.P.W. Duin, Multiple Features, UCI Machine Learning Repository, see files/mfeat.LICENSE.md.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmablate.data import dealing
from mmablate.data.base import ClassificationData, LabelledSplit, Moments, SampleInfo, Split
from mmablate.data.keys import stream_key
from mmablate.data.pictures import heat_strip
from mmablate.errors import DataError

DIGITS = Path(__file__).parent / "files" / "mfeat.npz"
ATTRIBUTION = "R.P.W. Duin, Multiple Features, UCI Machine Learning Repository, CC BY 4.0"
MODALITIES = {"fac": 216, "fou": 76, "kar": 64, "mor": 6, "pix": 240, "zer": 47}
"""Profile correlations, Fourier, Karhunen-Loeve, morphological, pixel averages, Zernike; features of each."""

N_CLASSES = 10
PIX_SHAPE = (16, 15)
SPLITS = ("train", "val", "test")
FRACTIONS = (0.5, 0.2, 0.3)


class Digits(LabelledSplit):
    """A split of the digits that shows the view pix as the picture that it is.

    Args:
        inputs, labels, infos: as of `LabelledSplit`.
        pixels: (N, 240), the averages 0 to 6 of the view pix as they are in the table.
    """

    def __init__(
        self,
        inputs: Mapping[str, np.ndarray],
        labels: np.ndarray,
        infos: Sequence[SampleInfo],
        pixels: np.ndarray,
    ) -> None:
        super().__init__(inputs, labels, infos)
        self._pixels = pixels

    def pictures(self, index: int) -> dict[str, np.ndarray]:
        """Modality -> uint8 RGB: pix in 16 rows of 15, others as strips of what a model sees."""
        grey = np.round(self._pixels[index].reshape(PIX_SHAPE) * (255 / 6)).clip(0, 255).astype(np.uint8)
        shown = {"pix": np.repeat(grey[:, :, None], 3, axis=2)}
        return {
            name: shown[name] if name in shown else heat_strip(values[index]) for name, values in self._inputs.items()
        }


def load_digits(path: Path = DIGITS) -> tuple[dict[str, np.ndarray], NDArray[np.int64]]:
    """View -> values (2000, D) as in the tables, and labels (2000,), sorted by digit.

    Raises:
        DataError: the file is missing, damaged or of another form.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            views, labels = {name: archive[name] for name in MODALITIES}, archive["labels"].astype(np.int64)
    except KeyError as fault:
        raise DataError(f"{path}: expected the views {', '.join(MODALITIES)} and labels: {fault.args[0]}") from None
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as fault:
        found = "no such file" if isinstance(fault, FileNotFoundError) else f"{type(fault).__name__}: {fault}"
        raise DataError(f"{path}: expected the digits (.npz), found {found}") from None
    problems = [
        f"{path}: {name}: expected ({len(labels)}, {width}) finite numbers, found {views[name].shape}"
        for name, width in MODALITIES.items()
        if views[name].shape != (len(labels), width) or not np.isfinite(views[name]).all()
    ]
    if labels.ndim != 1 or set(np.unique(labels)) != set(range(N_CLASSES)):
        problems.append(f"{path}: labels: expected each of 0 to 9, found {sorted(set(np.unique(labels).tolist()))}")
    if problems:
        raise DataError(problems)
    return views, labels


def deal(labels: NDArray[np.int64], fractions: Sequence[float], seed: int) -> list[NDArray[np.int64]]:
    """The samples of each split, shuffled; see `mmablate.data.dealing.deal`. Samples are called by their row."""
    return dealing.deal(labels, range(len(labels)), fractions, seed, "mfeat")


def open_mfeat(
    *,
    modalities: Sequence[str] = tuple(MODALITIES),
    fractions: Sequence[float] = FRACTIONS,
    split_seed: int = 0,
    digits: Path = DIGITS,
    **weak: Mapping[str, Any] | None,
) -> ClassificationData:
    """The digits in the views asked for, each feature standardised by the training samples.

    A feature that is constant over them is 0 everywhere.

    Args:
        modalities: of fac, fou, kar, mor, pix, zer; the data keep this order.
        fractions: of train, val and test, in sum 1; a val fraction of 0 leaves that split out.
        split_seed: which deal of the samples; all run seeds share it.
        digits: a file of the same form as the one shipped.
        weak: view -> how it is made weaker on purpose, with `noise` (in deviations of the standardised features) and
            `keep` (how many features are left), see `weakened`; a note of the data says so.

    Returns:
        Inputs float32 (N, D) and labels 0 to 9; a sample is called by digit and row, e.g. "3/0612".

    Raises:
        DataError: an argument or the file is at fault; all faults together.
    """
    problems = _argument_problems(modalities, fractions, split_seed, weak)
    if problems:
        raise DataError(problems)
    views, labels = load_digits(digits)
    changed = {name: how for name in modalities if (how := weak.get(name)) is not None}
    dealt = dict(zip(SPLITS, deal(labels, fractions, split_seed), strict=True))
    values = {name: _standardised(views[name], dealt["train"]) for name in modalities}
    for name, how in changed.items():
        values[name] = weakened(values[name], name, split_seed, **how)
    splits: dict[str, Split] = {
        name: Digits(
            {view: values[view][rows] for view in modalities},
            labels[rows],
            [SampleInfo(f"{labels[row]}/{row:04d}") for row in rows],
            views["pix"][rows],
        )
        for name, rows in dealt.items()
        if len(rows)
    }
    return ClassificationData(
        name="mfeat",
        modalities={name: values[name].shape[1:] for name in modalities},
        class_names=tuple(str(digit) for digit in range(N_CLASSES)),
        splits=splits,
        synthetic=False,
        attribution=ATTRIBUTION,
        content=(digits,),
        notes=tuple(_weak_note(name, **how) for name, how in changed.items()),
    )


def weakened(
    values: NDArray[np.float32], view: str, seed: int, *, noise: float = 0.0, keep: int | None = None
) -> NDArray[np.float32]:
    """A standardised view with Gaussian noise and fewer features.

    The sum is divided by sqrt(1 + noise^2), so that features keep deviation 1: a view is weaker in what it tells, not
    in how large its numbers are, on which step sizes would depend. Noise and choice come from streams of their own:
    one changes nothing for the other, and the features of a smaller `keep` are among those of a larger one.

    Args:
        values: (N, D).
        view: its name, part of the streams' keys.
        seed: of the streams.
        noise: standard deviation of the noise, 0 or more.
        keep: how many features are left, drawn evenly, in their old order; None for all.

    Returns:
        (N, keep).
    """
    made = values
    if noise > 0:
        stream = np.random.Generator(np.random.PCG64(stream_key(seed, "mfeat", "noise", view)))
        drawn = stream.standard_normal(values.shape)
        made = ((values + noise * drawn) / np.sqrt(1 + noise**2)).astype(np.float32)
    if keep is not None:
        made = made[:, np.sort(dealing.shuffled(range(values.shape[1]), seed, "mfeat", "keep", view)[:keep])]
    return made


def _weak_note(view: str, noise: float = 0.0, keep: int | None = None) -> str:
    parts = [f"noise of {noise:g} standard deviations"] if noise > 0 else []
    if keep is not None:
        parts.append(f"{keep} of its {MODALITIES[view]} features kept")
    return f"The view {view} was made weaker on purpose: {', '.join(parts)}."


def check_mfeat(
    *,
    modalities: Sequence[str] = tuple(MODALITIES),
    fractions: Sequence[float] = FRACTIONS,
    split_seed: int = 0,
    digits: Path = DIGITS,
    thorough: bool = False,
    **weak: Mapping[str, Any] | None,
) -> list[str]:
    """What `open_mfeat` would object to, one line each; [] where all is well.

    Args:
        thorough: also read the file; otherwise only arguments and its presence.
    """
    problems = _argument_problems(modalities, fractions, split_seed, weak)
    try:
        if thorough:
            load_digits(digits)
        elif not digits.is_file():
            problems.append(f"{digits}: expected the digits (.npz), found no such file")
    except DataError as fault:
        problems.extend(fault.problems)
    return problems


def _argument_problems(
    modalities: Sequence[str], fractions: Sequence[float], split_seed: int, weak: Mapping[str, Mapping[str, Any] | None]
) -> list[str]:
    problems = [text for view, how in weak.items() if how is not None for text in _weak_problems(view, modalities, how)]
    if not modalities or len(set(modalities)) != len(modalities) or not set(modalities) <= set(MODALITIES):
        known = ", ".join(MODALITIES)
        problems.append(f"mfeat: modalities: expected some of {known}, each once, found {list(modalities)}")
    # 200 samples a class: a fraction of 1/200 is one sample each.
    sizes = len(fractions) == 3 and all(fractions[i] >= 0.005 for i in (0, 2)) and not 0 < fractions[1] < 0.005
    if not sizes or fractions[1] < 0 or abs(sum(fractions) - 1) > 1e-6:
        wanted = "train and test at least 0.005, val 0 or that, in sum 1"
        problems.append(f"mfeat: fractions: expected {wanted}, found {list(fractions)}")
    if split_seed < 0:
        problems.append(f"mfeat: split_seed: expected 0 or more, found {split_seed}")
    return problems


def _weak_problems(view: str, modalities: Sequence[str], how: Mapping[str, Any]) -> list[str]:
    if view not in modalities:
        return [f"mfeat: {view}: expected one of the modalities ({', '.join(modalities)}) to be made weaker"]
    noise, keep = how.get("noise", 0.0), how.get("keep")
    problems = [
        f"mfeat: {view}: expected noise and keep, found {name}" for name in how if name not in ("noise", "keep")
    ]
    if not noise >= 0 or noise == float("inf"):
        problems.append(f"mfeat: {view}.noise: expected 0 or more, found {noise}")
    if keep is not None and not 1 <= keep <= MODALITIES.get(view, 0):
        problems.append(f"mfeat: {view}.keep: expected 1 to {MODALITIES.get(view, 0)}, found {keep}")
    if not noise and keep is None:
        problems.append(f"mfeat: {view}: expected noise above 0, or keep, found neither")
    return problems


def _standardised(values: np.ndarray, train: NDArray[np.int64]) -> NDArray[np.float32]:
    moments = Moments(values.shape[1])
    moments.add(values[train])
    mean, std = moments.mean_std()
    varies = values[train].min(axis=0) < values[train].max(axis=0)
    result: NDArray[np.float32] = np.where(varies, (values - mean) / std, 0.0).astype(np.float32)
    return result
