"""Dice and HD95 of regions against the definitions written out, and against medpy where it is installed."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.errors import MissingExtra
from mmablate.metrics.volumes import region_dice, region_hd95

REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
MM = (1.0, 1.0, 1.0)


def maps(seed, size=(6, 5, 7), rate=0.3):
    """Two maps of classes 0..3 with clumps in them."""
    rng = np.random.default_rng(seed)
    first = np.where(rng.random(size) < rate, rng.integers(1, 4, size), 0)
    second = np.where(rng.random(size) < 0.5, np.roll(first, 1, axis=seed % 3), first)
    return first, second


def dice_by_sets(first, second, labels):
    one, other = ({tuple(v) for v in np.argwhere(np.isin(x, labels))} for x in (first, second))
    return (2 * len(one & other) + 1e-8) / (len(one) + len(other) + 1e-8)


def surface(region):
    """Voxels with a face neighbour outside the region or outside the scan."""
    found = []
    for voxel in np.argwhere(region):
        for axis in range(3):
            for step in (-1, 1):
                beside = voxel.copy()
                beside[axis] += step
                if not (0 <= beside[axis] < region.shape[axis]) or not region[tuple(beside)]:
                    found.append(tuple(voxel))
    return np.array(sorted(set(found)), dtype=float)


def directed(first, second, spacing):
    a, b = surface(first) * spacing, surface(second) * spacing
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)).min(1)


def hd95_written_out(first, second, spacing, symmetric="pooled"):
    if not first.any() or not second.any():
        edges = np.array(first.shape) * spacing
        return float(np.sqrt((edges**2).sum())) if first.any() or second.any() else 0.0
    there, back = directed(first, second, spacing), directed(second, first, spacing)
    if symmetric == "directed":
        return max(np.percentile(there, 95), np.percentile(back, 95))
    return np.percentile(np.concatenate([there, back]), 95)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.02, 0.3, 1.0]))
@settings(max_examples=30, deadline=None)
def test_dice_is_that_of_the_sets_of_voxels(seed, rate):
    first, second = maps(seed, (3, 4, 5), rate)
    found = region_dice(first, torch.from_numpy(second), REGIONS)
    assert found == pytest.approx({name: dice_by_sets(first, second, of) for name, of in REGIONS.items()})


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.01, 0.1, 0.4, 1.0]),
    st.sampled_from([(1.0, 1.0, 1.0), (0.5, 2.0, 1.3)]),
    st.sampled_from(["pooled", "directed"]),
)
@settings(max_examples=25, deadline=None)
def test_hd95_is_that_of_all_pairs_of_surface_voxels(seed, rate, spacing, symmetric):
    first, second = maps(seed, (5, 4, 6), rate)
    found = region_hd95(first, second, REGIONS, spacing, symmetric=symmetric)
    for name, of in REGIONS.items():
        expected = hd95_written_out(np.isin(first, of), np.isin(second, of), np.array(spacing), symmetric)
        assert found[name] == pytest.approx(expected, rel=1e-5), name


def test_pooled_and_directed_differ():
    first, second = np.zeros((12, 3, 3), dtype=int), np.zeros((12, 3, 3), dtype=int)
    first[:2], second[:2] = 1, 1
    first[11, 1, 1] = 1
    one = region_hd95(first, second, {"R": (1,)}, MM)["R"]
    other = region_hd95(first, second, {"R": (1,)}, MM, symmetric="directed")["R"]
    assert one < other
    for symmetric, found in (("pooled", one), ("directed", other)):
        assert found == pytest.approx(hd95_written_out(first == 1, second == 1, np.ones(3), symmetric), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_hd95_is_medpys(seed):
    binary = pytest.importorskip("medpy.metric.binary", reason="medpy is not installed")
    first, second = maps(seed, (9, 10, 8), 0.2)
    spacing = (1.0, 0.7, 2.0)
    found = region_hd95(first, second, REGIONS, spacing)
    for name, of in REGIONS.items():
        assert found[name] == pytest.approx(binary.hd95(np.isin(first, of), np.isin(second, of), spacing), rel=1e-5)


@given(st.integers(0, 1000), st.tuples(*[st.integers(0, 3)] * 6))
@settings(max_examples=15, deadline=None)
def test_what_lies_around_a_region_does_not_change_its_distance(seed, margins):
    first, second = maps(seed, (4, 3, 5), 0.4)
    pad = [margins[:2], margins[2:4], margins[4:]]
    region = {"WT": (1, 2, 3)}
    near = region_hd95(first, second, region, MM)
    assert region_hd95(np.pad(first, pad), np.pad(second, pad), region, MM) == near or not (
        first.any() and second.any()
    )


def test_regions_that_one_map_or_both_lack():
    none, some = np.zeros((3, 4, 12), dtype=int), np.zeros((3, 4, 12), dtype=int)
    some[1, 1, 1] = 3
    assert region_dice(none, none, REGIONS) == {"WT": 1.0, "TC": 1.0, "ET": 1.0}
    assert region_hd95(none, none, REGIONS, MM) == {"WT": 0.0, "TC": 0.0, "ET": 0.0}
    for one, other in ((none, some), (some, none)):
        assert max(region_dice(one, other, REGIONS).values()) < 1e-7
        assert region_hd95(one, other, REGIONS, MM) == {name: pytest.approx(13.0) for name in REGIONS}
        thick = region_hd95(one, other, REGIONS, (2.0, 1.0, 0.5))
        assert thick == {name: pytest.approx(88**0.5) for name in REGIONS}
        assert set(region_hd95(one, other, REGIONS, MM, one_empty="released").values()) == {1.0}


def test_the_diagonal_of_a_brats_scan_is_the_penalty_of_the_challenge():
    none = np.zeros((240, 240, 155), dtype=np.uint8)
    some = none.copy()
    some[0, 0, 0] = 1
    assert region_hd95(some, none, {"R": (1,)}, MM)["R"] == pytest.approx(373.13, abs=0.005)


def test_a_small_prediction_counts_as_none_in_its_own_region_alone():
    truth, guess = np.zeros((4, 4, 4), dtype=int), np.zeros((4, 4, 4), dtype=int)
    truth[0, 0, :2], guess[0, 0, :2] = 1, 3
    kept = region_dice(guess, truth, REGIONS, smallest={"ET": 2})
    gone = region_dice(guess, truth, REGIONS, smallest={"ET": 3})
    assert kept["ET"] < 1e-7
    assert gone["ET"] == 1.0
    assert (kept["WT"], kept["TC"]) == (gone["WT"], gone["TC"]) == (1.0, 1.0)
    assert region_hd95(guess, truth, REGIONS, MM, smallest={"ET": 3})["ET"] == 0.0
    assert region_hd95(guess, truth, REGIONS, MM, smallest={"ET": 2})["ET"] > 6


def test_labels_above_all_regions_are_in_none():
    truth, guess = np.array([[[1, 0, 0]]]), np.array([[[1, 10**9, 0]]])
    assert region_dice(guess, truth, {"R": (1,)}) == {"R": 1.0}


def test_neither_moves_its_arguments():
    first, second = maps(0)
    before = first.copy(), second.copy()
    region_dice(first, second, REGIONS, smallest={"ET": 500})
    region_hd95(first, second, REGIONS, MM, smallest={"ET": 500})
    np.testing.assert_array_equal(first, before[0])
    np.testing.assert_array_equal(second, before[1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prediction": np.zeros((2, 2))}, r"\(H, W, Z\)"),
        ({"prediction": np.zeros((2, 2, 2))}, "integers"),
        ({"prediction": np.zeros((2, 2, 3), dtype=int)}, "labels are"),
        ({"regions": {"R": ()}}, "one label or more"),
        ({"regions": {"R": (-1,)}}, "negative"),
        ({"smallest": {"X": 3}}, "no region X"),
    ],
)
def test_what_does_not_fit_is_refused(change, says):
    arguments = {
        "prediction": np.zeros((2, 2, 2), dtype=int), "labels": np.zeros((2, 2, 2), dtype=int), "regions": REGIONS,
        **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=says):
        region_dice(**arguments)
    with pytest.raises(ValueError, match=says):
        region_hd95(**arguments, spacing=MM)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"one_empty": "inf"}, "one_empty"), ({"symmetric": "mean"}, "symmetric"), ({"spacing": (1.0, 0.0, 1.0)}, "mm")],
)
def test_unknown_definitions_are_refused(options, says):
    none = np.zeros((2, 2, 2), dtype=int)
    with pytest.raises(ValueError, match=says):
        region_hd95(none, none, REGIONS, **{"spacing": MM, **options})


def test_without_monai_the_command_that_installs_it_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("monai"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    one = np.ones((2, 2, 2), dtype=int)
    assert region_dice(one, one, REGIONS)["WT"] == 1.0
    with pytest.raises(MissingExtra, match=r'pip install "mmablate\[medical\]"'):
        region_hd95(one, one, REGIONS, MM)
