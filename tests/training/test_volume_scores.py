"""Scores of incomplete scans: windows, subsets, subjects that lack modalities, and models that fail."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.data.base import SampleInfo, VolumeData
from mmablate.metrics.volumes import region_dice, region_hd95
from mmablate.models.volumes import incomplete_segmentor
from mmablate.training import volume_scores
from mmablate.training.volume_scores import Windows, score_volumes, subject_maps

CPU = torch.device("cpu")
TWO = ("a", "b")
SUBSETS = {"A": ("a",), "B": ("b",), "AB": ("a", "b")}
REGIONS = {"WT": (1, 2), "ET": (2,)}


class Scans:
    """Two subjects of unlike size, and one without modality b."""

    def __init__(self, sizes=((7, 6, 5), (6, 8, 6), (5, 5, 6)), lacking=((2, 1),)):
        rng = np.random.default_rng(0)
        self.sizes = sizes
        self.scans = [rng.standard_normal((2, *size)).astype(np.float32) for size in sizes]
        self.labels = [rng.integers(0, 3, size) for size in sizes]
        self.presence = np.ones((len(sizes), 2), dtype=bool)
        self.reads = []
        for subject, modality in lacking:
            self.presence[subject, modality] = False
            self.scans[subject][modality] = 0

    def __len__(self):
        return len(self.scans)

    def size(self, index):
        return self.sizes[index]

    def read(self, index, corner=(0, 0, 0), size=None):
        assert corner == (0, 0, 0)
        assert size is None
        self.reads.append(index)
        return self.scans[index].copy(), self.labels[index].copy()

    def describe(self, index):
        return SampleInfo(str(index))


def data_of(split, regions=REGIONS, modalities=TWO):
    return VolumeData(
        "made", dict.fromkeys(modalities, 1), ("none", "one", "two"), regions, (1.0, 2.0, 0.5), {"test": split},
        synthetic=True, attribution=None, content=(Path("none"),),
    )  # fmt: skip


def make(seed=0, modalities=TWO, **options):
    torch.manual_seed(seed)
    return incomplete_segmentor(n_classes=3, modalities=modalities, widths=(2, 4), **options)


def score(models, split, data=None, **options):
    chosen = {"subsets": SUBSETS, "device": CPU, "precision": nullcontext, "patch": (4, 4, 4), **options}
    return score_volumes(models, split, data or data_of(split), **chosen)


def window_by_window(model, scan, some, patch, stride):
    """Means of softmax over windows, each window encoded afresh for each subset, voxel counts kept."""
    size = scan.shape[1:]
    total, count = np.zeros((3, *size)), np.zeros(size)
    spots = []
    for n, p, s in zip(size, patch, stride, strict=True):
        found, start = [], 0
        while start + min(p, n) < n:
            found.append(start)
            start += s
        spots.append([*found, n - min(p, n)])
    for x in spots[0]:
        for y in spots[1]:
            for z in spots[2]:
                box = tuple(slice(k, k + p) for k, p in zip((x, y, z), patch, strict=True))
                inputs = {name: torch.from_numpy(scan[i][box])[None, None] for i, name in enumerate(TWO)}
                present = torch.tensor([[name in some for name in TWO]])
                with torch.no_grad():
                    out = model(inputs, present).fused.logits.softmax(1)[0].numpy()
                total[(slice(None), *box)] += out
                count[box] += 1
    assert count.min() >= 1
    return total / count


@pytest.mark.parametrize(
    ("patch", "stride"),
    [((4, 4, 4), None), ((4, 5, 3), (2, 3, 1)), ((4, 4, 4), 4), ((6, 6, 6), 5), ((99, 4, 6), 3), (None, None)],
)
@pytest.mark.parametrize("at_once", [1, 5])
def test_classes_are_those_of_the_mean_softmax_over_windows(patch, stride, at_once):
    split, model = Scans(lacking=()), make(1)
    for scan in split.scans[:2]:
        windows = Windows(patch, stride, at_once)
        named = dict(zip(TWO, scan, strict=True))
        found = dict(subject_maps(model, named, SUBSETS, windows, device=CPU, precision=nullcontext))
        strides = windows.strides if patch else (1, 1, 1)
        for name, some in SUBSETS.items():
            mean = window_by_window(model, scan, some, patch or scan.shape[1:], strides)
            ordered = np.sort(mean, axis=0)
            clear = ordered[-1] - ordered[-2] > 1e-5
            assert clear.mean() > 0.99
            np.testing.assert_array_equal(found[name].numpy()[clear], mean.argmax(0)[clear])
        assert list(found) == list(SUBSETS)


def corners(boxes):
    return sorted(tuple((int(s.start), int(s.stop)) for s in box) for box in boxes)


def test_windows_are_those_of_monai():
    utils = pytest.importorskip("monai.data.utils", reason="MONAI is not installed")
    for size, patch, stride in [((16, 12, 9), (8, 8, 8), (4, 4, 4)), ((17, 13, 8), (8, 8, 8), (4, 3, 8))]:
        theirs = utils.dense_patch_slices(size, patch, stride)
        assert corners(Windows(patch, stride).of(size)) == corners(theirs)


@given(st.tuples(*[st.integers(1, 12)] * 3), st.tuples(*[st.integers(1, 6)] * 3), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_windows_cover_every_voxel_and_none_lies_beyond_the_scan(size, patch, step):
    stride = tuple(min(step, edge) for edge in patch)
    seen = np.zeros(size, dtype=int)
    boxes = Windows(patch, stride).of(size)
    for box in boxes:
        assert all(s.start >= 0 and s.stop <= n for s, n in zip(box, size, strict=True))
        seen[box] += 1
    assert seen.min() >= 1
    assert len(set(corners(boxes))) == len(boxes)


def test_scores_are_means_over_the_subjects_that_have_the_modalities():
    split, model = Scans(), make(2)
    data = data_of(split)
    (found,) = score([model], split, data)
    assert set(found.columns) == set(SUBSETS)
    for name, some in SUBSETS.items():
        scored = [i for i in range(3) if all(split.presence[i, TWO.index(m)] for m in some)]
        per_subject = []
        for i in scored:
            named = dict(zip(TWO, split.scans[i], strict=True))
            guess = dict(
                subject_maps(model, named, {name: some}, Windows((4, 4, 4)), device=CPU, precision=nullcontext)
            )[name]
            per_subject.append(region_dice(guess, split.labels[i], REGIONS))
        for region in REGIONS:
            assert found.columns[name][region] == pytest.approx(100 * np.mean([x[region] for x in per_subject]))
        assert found.columns[name]["Dice"] == pytest.approx(100 * np.mean([list(x.values()) for x in per_subject]))
        assert set(found.columns[name]) == {"WT", "ET", "Dice"}
        place = found.subsets.index(name)
        own = found.values["WT"][:, place]
        assert np.isnan(own).tolist() == [i not in scored for i in range(3)]
        assert own[scored] == pytest.approx([100 * x["WT"] for x in per_subject])


def test_a_subset_that_no_subject_has_has_no_score():
    split = Scans(lacking=((0, 1), (1, 1), (2, 1)))
    (found,) = score([make()], split)
    assert set(found.columns) == {"A"}
    assert np.isnan(found.values["Dice"][:, found.subsets.index("AB")]).all()


def test_what_a_missing_modality_holds_is_not_looked_at():
    split, other = Scans(), Scans()
    other.scans[2][1] = np.nan
    for one, two in zip(score([make()], split), score([make()], other), strict=True):
        assert one.columns == two.columns


def test_distances_are_in_mm_and_only_where_asked_for():
    pytest.importorskip("monai", reason="MONAI is not installed")
    split, model = Scans(lacking=()), make(2)
    for one_empty in ("diagonal", "released"):
        (found,) = score([model], split, surface=True, one_empty=one_empty)
        named = dict(zip(TWO, split.scans[1], strict=True))
        maps = dict(subject_maps(model, named, SUBSETS, Windows((4, 4, 4)), device=CPU, precision=nullcontext))
        expected = region_hd95(maps["AB"], split.labels[1], REGIONS, (1.0, 2.0, 0.5), one_empty=one_empty)
        place = found.subsets.index("AB")
        assert found.values["HD95 ET"][1, place] == pytest.approx(expected["ET"])
        assert found.values["HD95"][1, place] == pytest.approx(np.mean(list(expected.values())))
        assert found.columns["AB"]["HD95"] == pytest.approx(found.values["HD95"][:, place].mean())
        assert set(found.columns["AB"]) == {"WT", "ET", "Dice", "HD95"}


def test_small_predictions_of_et_count_as_none():
    split, model = Scans(lacking=()), make(2)
    split.labels = [np.where(labels == 2, 1, labels) for labels in split.labels]
    model.fused.classify.bias.data[2] = 100
    (kept,) = score([model], split)
    (gone,) = score([model], split, min_et=10_000)
    assert kept.columns["AB"]["ET"] < 1
    assert gone.columns["AB"]["ET"] == 100.0
    assert gone.columns["AB"]["WT"] == kept.columns["AB"]["WT"]


def test_each_scan_is_read_once_and_each_window_encoded_once():
    split, models = Scans(lacking=()), [make(0), make(1)]
    runs = []
    models[0].encoders["a"].register_forward_hook(lambda module, args, out: runs.append(len(args[0])))
    score(models, split, windows_at_once=3)
    assert split.reads == [0, 1, 2]
    assert sum(runs) == sum(len(Windows((4, 4, 4)).of(size)) for size in split.sizes)


def test_a_model_that_fails_drops_out_and_the_others_score_as_if_alone():
    split, good, bad = Scans(), make(0), make(1)
    bad.fused.register_forward_hook(lambda *args: (_ for _ in ()).throw(RuntimeError("no memory")))
    failed = []

    @contextmanager
    def guard(index):
        try:
            yield
        except RuntimeError as error:
            failed.append((index, str(error)))

    first, second = score([bad, good], split, guard=guard)
    assert first is None
    assert failed == [(0, "no memory")]
    assert second.columns == score([good], split)[0].columns


def test_modalities_are_matched_by_name():
    split, model = Scans(lacking=()), make(3)
    turned = make(3, ("b", "a"))
    turned.encoders.load_state_dict(model.encoders.state_dict())
    turned.separated.load_state_dict(model.separated.state_dict())
    one = score([turned], split)[0].columns
    swapped = Scans(lacking=())
    swapped.scans = [scan[::-1].copy() for scan in swapped.scans]
    two = score([turned], swapped, data_of(swapped, modalities=("b", "a")))[0].columns
    assert one == two


def test_processes_share_the_subjects_and_their_sums_are_the_scores_of_one(monkeypatch):
    split, model = Scans(), make(4)
    whole = score([model], split)[0]
    parts = []
    for rank in range(2):
        monkeypatch.setattr(
            volume_scores.distributed, "share", lambda rank=rank: volume_scores.distributed.Share(rank, 2)
        )
        monkeypatch.setattr(volume_scores.distributed, "summed", lambda value: parts.append(value) or value)
        score([model], split)
    monkeypatch.setattr(volume_scores.distributed, "summed", lambda value: parts[0] + parts[1])
    assert score([model], split)[0].columns == whole.columns


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"patch": None, "stride": 2}, "needs a patch"),
        ({"patch": (0, 4, 4)}, "positive"),
        ({"stride": (2, 2, 5)}, "stride"),
        ({"stride": 0}, "stride"),
        ({"windows_at_once": 0}, "at least one window"),
        ({"subsets": {"C": ("c",)}}, "subsets name c"),
        ({"subsets": {}}, "there must be a subset"),
        ({"min_et": -1}, "min_et"),
    ],
)
def test_what_makes_no_sense_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        score([make()], Scans(), **options)


def test_a_definition_that_does_not_exist_is_no_failure_of_a_model():
    with pytest.raises(ValueError, match="one_empty"):
        score([make()], Scans(), surface=True, one_empty="inf", guard=lambda index: suppress(ValueError))


def test_small_predictions_need_their_region():
    split = Scans()
    with pytest.raises(ValueError, match="region ET"):
        score([make()], split, data_of(split, {"WT": (1, 2)}), min_et=5)
