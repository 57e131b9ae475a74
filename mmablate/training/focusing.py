"""Focus at work: the saliency of a teacher's channels, which of them stay, and the teacher without the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmablate.catalog import file_hash
from mmablate.data.base import ClassificationData
from mmablate.data.batches import evaluation_batches
from mmablate.data.loading import BatchReader
from mmablate.data.streams import generator
from mmablate.errors import DataError
from mmablate.methods.channels import chosen_channels, kept_count, recovery, removed
from mmablate.methods.saliency import Saliency, channel_saliency, rest_of, significant_count
from mmablate.models.places import PlacedNetwork
from mmablate.results import StudyStore
from mmablate.results.saliency import SaliencyInfo, read_saliency, write_saliency
from mmablate.training.building import build_model
from mmablate.training.checkpoint import fit, weights_for
from mmablate.training.device import placed

TAG = "Tag"
"""Column: share of the channels kept that are modality-general in truth, in percent."""


@dataclass(frozen=True)
class Chosen:
    """The channels that stay.

    Attributes:
        kept: ascending numbers.
        tag: share of them that are general in truth, in percent; None where that is not known.
    """

    kept: tuple[int, ...]
    tag: float | None


class FocusedTeacher(nn.Module):
    """A teacher some of whose channels are replaced at one place.

    Args:
        network: the whole teacher.
        place: where.
        kept: the channels that stay.
        how: what stands in for the others: "zero", "mean", "batch_mean".
        mean: of the training set, (C, ...), for "mean".
    """

    mean: Tensor | None

    def __init__(
        self, network: PlacedNetwork, place: str, kept: Sequence[int], how: str, mean: Tensor | None = None
    ) -> None:
        super().__init__()
        self.network, self.place, self.kept, self.how = network, place, tuple(kept), how
        self.register_buffer("mean", mean)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) -> logits (B, K)."""
        hidden = self.network.until(x, self.place)
        return self.network.beyond(removed(hidden, self.kept, how=self.how, mean=self.mean), self.place)


def load_classifier(settings: Mapping[str, Any], data: ClassificationData, path: Path, part: str | None) -> nn.Module:
    """A teacher from its checkpoint, as it was trained: on all channels of its input, or on those it names.

    Args:
        part: of a pair that was trained jointly, which network: "teacher".

    Raises:
        DataError: a checkpoint that is not there, is damaged, or does not fit.
    """
    model = build_model(settings, data)
    weights = weights_for(model, path, part=part)
    if "kept" in weights:
        model = build_model(settings, data, weights["kept"].tolist())
    fit(model, weights, path)
    return model


def read_tag(store: StudyStore, run_id: str) -> float | None:
    """What a teacher that was trained on chosen channels says of them."""
    record = store.read_record(run_id)
    return None if record is None else record.metrics.get(TAG)


class Focusing:
    """The focus of one study's runs.

    Args:
        store: of the study, where the runs of joint training have left their saliency.
        data: of a run.
        weight_files: hash -> path of the user's own saliency vectors.
    """

    def __init__(self, store: StudyStore, data: ClassificationData, weight_files: Mapping[str, str]) -> None:
        self.store, self.data, self.weight_files = store, data, weight_files

    def choose(
        self, focus: Mapping[str, Any], n_channels: int, modality: str, *, pair: str | None, seed: int
    ) -> Chosen:
        """Which channels stay.

        Args:
            focus: keep, number, replacement and saliency of a run's settings.
            n_channels: at the place.
            modality: of the teacher.
            pair: the run that has measured the saliency.
            seed: of the run; keys the stream that random channels are drawn from.

        Raises:
            DataError: a saliency that is not there, is damaged or of another number of channels; more channels asked
                for than there are.
        """
        known = self.data.general.get(modality) if focus["place"] == "input" else None
        if focus["keep"] == "known":
            return Chosen(_known(known), 100.0)
        saliency = None
        if focus.get("saliency") is not None or focus["keep"] in ("general", "specific") or _significant(focus):
            saliency = self._saliency(focus.get("saliency"), pair, n_channels)
        count = self._count(focus, n_channels, saliency, known)
        stays = n_channels - count if focus["keep"] == "specific" and not _is_ratio(focus) else count
        if not 1 <= stays <= n_channels:
            raise DataError(_impossible(focus, n_channels, count))
        kept = chosen_channels(
            saliency, n_channels, keep=focus["keep"], count=stays,
            generator=generator(seed, "focus", "random"), replacement=focus.get("replacement", False),
        )  # fmt: skip
        precision = recovery(kept, known).precision if known else None
        return Chosen(kept, None if precision is None else 100 * precision)

    def focused(
        self,
        model: nn.Module,
        focus: Mapping[str, Any],
        modality: str,
        train: BatchReader,
        *,
        pair: str | None,
        seed: int,
        device: torch.device,
        batch_size: int,
    ) -> tuple[nn.Module, float | None]:
        """The teacher as a student with this focus sees it, and the tag accuracy of its channels.

        Args:
            train: the training split, whose mean stands in for what is removed.
        """
        assert isinstance(model, PlacedNetwork)
        place = focus["place"]
        hidden = values_at(model, place, modality, train, device, batch_size, first=focus["removal"] != "mean")
        chosen = self.choose(focus, hidden.shape[1], modality, pair=pair, seed=seed)
        mean = hidden.mean(0) if focus["removal"] == "mean" else None
        return placed(FocusedTeacher(model, place, chosen.kept, focus["removal"], mean), device), chosen.tag

    def measure(
        self,
        pair: nn.Module,
        focus: Mapping[str, Any],
        samples: BatchReader,
        *,
        modalities: tuple[str, str],
        folder: Path,
        seed: int,
        device: torch.device,
        batch_size: int,
    ) -> None:
        """Step 2 of Algorithm 1 on a whole split; leaves saliency.csv and saliency.json in the folder.

        Args:
            pair: teacher and student, trained.
            samples: the split whose samples are permuted.
            modalities: of teacher and student.
        """
        pair.eval()
        teacher = pair.get_submodule("teacher")
        assert isinstance(teacher, PlacedNetwork)
        found = measure_saliency(
            teacher, pair.get_submodule("student"), samples, modalities=modalities, place=focus["place"],
            permutations=focus["permutations"], distance=focus["distance"], device=device,
            generator=generator(seed, "focus", "permutations"), batch_size=batch_size,
        )  # fmt: skip
        self.keep(found, focus, modalities[0], folder)

    def keep(
        self, found: Saliency, focus: Mapping[str, Any], modality: str, folder: Path, *, durable: bool = True
    ) -> None:
        """Writes what was measured; `durable` as in `write_atomic`."""
        known = self.data.general.get(modality) if focus["place"] == "input" else None
        count = significant_count(found)
        write_saliency(
            folder,
            scores=found.scores.tolist(),
            standard_errors=found.standard_errors.tolist(),
            normalised=found.normalised().tolist(),
            kept=None,  # that is for each student's teacher to say
            general=known,
            info=SaliencyInfo(
                place=focus["place"],
                distance=focus["distance"],
                permutations=focus["permutations"],
                count=count,
                rule="significant at a false discovery rate of 5 %",
                synthetic=self.data.synthetic,
            ),
            durable=durable,
        )

    def _count(
        self, focus: Mapping[str, Any], n_channels: int, saliency: Saliency | None, known: Sequence[int] | None
    ) -> int:
        number = focus["number"]
        if _is_ratio(focus):
            return kept_count(n_channels, number)
        if number == "known":
            return len(_known(known))
        if number == "significant":
            assert saliency is not None
            return significant_count(saliency)
        return int(number)

    def _saliency(self, own: str | None, pair: str | None, n_channels: int) -> Saliency:
        """The user's own vector, or what the joint training has measured."""
        if own is not None:
            scores = _read_vector(Path(self.weight_files[own]).expanduser(), own)
            errors, where = np.full(len(scores), math.nan), self.weight_files[own]
        else:
            assert pair is not None
            folder = self.store.run_folder(pair)
            found, reason = read_saliency(folder)
            if found is None:
                raise DataError(f"{folder}: no saliency{f' ({reason})' if reason else ''}")
            scores, errors, where = np.array(found.scores), np.array(found.standard_errors), str(folder)
        if len(scores) != n_channels:
            raise DataError(f"{where}: the saliency of {n_channels} channels expected, found {len(scores)}")
        return Saliency(torch.tensor(scores, dtype=torch.float64), torch.tensor(errors, dtype=torch.float64), math.nan)


def measure_saliency(
    teacher: PlacedNetwork,
    student: nn.Module,
    samples: BatchReader,
    *,
    modalities: tuple[str, str],
    place: str,
    permutations: int,
    distance: str,
    generator: torch.Generator,
    device: torch.device,
    batch_size: int,
) -> Saliency:
    """Step 2 of Algorithm 1: permutes each channel of the teacher over all samples of a split, in their order.

    Args:
        teacher, student: in eval mode.
        modalities: that they see.
    """
    hidden = values_at(teacher, place, modalities[0], samples, device, batch_size)
    with torch.no_grad():
        logits = torch.cat(
            [student(batch.inputs[modalities[1]]) for batch in evaluation_batches(samples, batch_size, device)]
        )
    return channel_saliency(
        rest_of(teacher, place), hidden, logits, permutations=permutations, distance=distance, generator=generator
    )


def values_at(
    model: PlacedNetwork,
    place: str,
    modality: str,
    samples: BatchReader,
    device: torch.device,
    batch_size: int,
    *,
    first: bool = False,
) -> Tensor:
    """What stands at a place, (N, C, ...), for a whole split in its order; with `first`, for its first batch alone."""
    found = []
    with torch.no_grad():
        for batch in evaluation_batches(samples, batch_size, device):
            found.append(model.until(batch.inputs[modality], place))
            if first:
                break
    return torch.cat(found)


def _known(known: Sequence[int] | None) -> tuple[int, ...]:
    if not known:
        raise DataError("focus: which channels are general is not known here, or none are")
    return tuple(known)


def _impossible(focus: Mapping[str, Any], n_channels: int, count: int) -> str:
    """What is wrong with a number of channels at a place that has so many."""
    place = focus["place"]
    if _is_ratio(focus):
        return f"focus.ratio: at least one of the {n_channels} channels at {place} must stay, got {focus['number']:g}"
    if focus["keep"] == "specific":
        return f"focus.count: 1 to {n_channels - 1} of the {n_channels} channels at {place} go, got {count}"
    return f"focus.count: 1 to {n_channels} channels at {place}, got {count}"


def _significant(focus: Mapping[str, Any]) -> bool:
    return bool(focus["number"] == "significant")


def _is_ratio(focus: Mapping[str, Any]) -> bool:
    return isinstance(focus["number"], float)


def _read_vector(path: Path, digest: str) -> np.ndarray:
    """A .npy file with one finite number a channel.

    Raises:
        DataError: it is not there, has changed, or holds something else.
    """
    if not path.is_file():
        raise DataError(f"focus.saliency: no such file, got {str(path)!r}")
    if file_hash(path) != digest:
        raise DataError(f"{path}: the file has changed since the study was planned")
    try:
        with path.open("rb") as file:
            values = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: expected one number a channel (.npy), found {error}") from None
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "fiu":
        shape = getattr(values, "shape", "an archive")
        raise DataError(f"{path}: expected one number a channel, found {getattr(values, 'dtype', '')} {shape}")
    if not np.isfinite(values).all():
        raise DataError(f"{path}: expected finite numbers, found NaN or infinities")
    return values.astype(np.float64)
