"""Changes of 3D patches: inside the subject, modalities and labels alike, background where nothing was."""

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_samples import BACKGROUND, Scans, encoded, scans
from scipy import ndimage

from mmablate.data.volume_augment import PLANES, Draws, VolumeAugmentation, background, rotate
from mmablate.errors import DataError

FILL = np.array(BACKGROUND, dtype=np.float32)
OFF = VolumeAugmentation(intensity=0.0)


def draws(geometry: dict[int, float] | None = None, intensity: float | np.ndarray = 0.5) -> Draws:
    """Draws that change nothing (no mirror, no shade), but for those given."""
    values = np.full(8, 0.5)
    for place, value in (geometry or {}).items():
        values[place] = value
    return Draws(values, np.broadcast_to(np.asarray(intensity, dtype=np.float64), (2, 4, 1)))


def one(augmentation: VolumeAugmentation, drawn: Draws, split: Scans | None = None) -> tuple[np.ndarray, np.ndarray]:
    scan, labels = augmentation.sample(split or scans(1), 0, drawn, FILL)
    assert scan.dtype == torch.float32
    assert labels.dtype == torch.int64
    return scan.numpy(), labels.numpy()


# --- off ------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_switched_off_it_gives_the_subject_as_it_is(seed: int) -> None:
    split = scans(1)
    (drawn,) = OFF.draw(1, 4, 7, seed, "augment")
    scan, labels = one(OFF, drawn, split)
    assert np.array_equal(scan, split.scans[0])
    assert np.array_equal(labels, split.labels[0])


# --- crops ----------------------------------------------------------------------------------------------------


@given(
    size=st.tuples(*[st.integers(3, 9)] * 3),
    patch=st.tuples(*[st.integers(1, 9)] * 3),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_a_crop_lies_inside_the_subject_and_is_what_stands_there(
    size: tuple[int, int, int], patch: tuple[int, int, int], seed: int
) -> None:
    patch = (min(patch[0], size[0]), min(patch[1], size[1]), min(patch[2], size[2]))
    number = np.arange(np.prod(size)).reshape(size)
    split = Scans([np.stack([number, -number]).astype(np.float32)], [number])
    augmentation = replace(OFF, patch=patch)
    (drawn,) = augmentation.draw(1, 2, patch[0], seed, "augment")
    scan, labels = one(augmentation, drawn, split)
    ((_, corner, read),) = split.boxes
    assert read == patch == labels.shape
    assert all(0 <= a <= whole - part for a, part, whole in zip(corner, patch, size, strict=True))
    assert labels[0, 0, 0] == np.ravel_multi_index(corner, size)
    assert np.array_equal(scan[0], labels)
    assert np.array_equal(scan[1], -labels)


def test_every_corner_is_drawn_equally_often() -> None:
    augmentation = replace(OFF, patch=(3, 3, 3))
    n = 7  # draws of a grid: as many in each of the 5, 4 and 1 corners of the three axes
    grid = [(i + 0.5) / (20 * n) for i in range(20 * n)]
    found = Counter(augmentation.box((7, 6, 3), draws({0: g, 1: g, 2: g}))[0] for g in grid)
    assert {axis[0] for axis in found} == set(range(5))
    assert {axis[1] for axis in found} == set(range(4))
    assert {axis[2] for axis in found} == {0}
    for axis, corners in ((0, 5), (1, 4)):
        times = Counter(corner[axis] for corner, k in found.items() for _ in range(k))
        assert set(times.values()) == {20 * n // corners}
    last = np.nextafter(1.0, 0.0)
    assert augmentation.box((7, 6, 3), draws({0: last, 1: last, 2: last}))[0] == (4, 3, 0)


# --- rotation -------------------------------------------------------------------------------------------------


@given(
    size=st.tuples(*[st.integers(1, 9)] * 3),
    angle=st.integers(-45, 45),
    plane=st.sampled_from(PLANES),
    seed=st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
def test_a_rotation_is_that_of_scipy(size: tuple[int, int, int], angle: int, plane: tuple[int, int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(2, *size)).astype(np.float32)
    fill = np.array([-3.0, 0.5], dtype=np.float32)
    turned = rotate(values, angle, plane, fill[:, None, None, None])
    assert turned.dtype == np.float32
    for m in range(2):
        expected = ndimage.rotate(values[m], angle, axes=plane, reshape=False, order=0, mode="constant", cval=fill[m])
        assert np.array_equal(turned[m], expected)


def test_angles_are_the_published_ones_and_planes_come_equally_often() -> None:
    size = (15, 15, 15)
    split = Scans(*[[x] for x in encoded(size, 0)])
    augmentation = replace(OFF, rotate=10)
    scan, labels = split.read(0)
    for k in range(20):
        expected = ndimage.rotate(labels, k - 10, axes=(0, 1), reshape=False, order=0, cval=0)
        _, found = one(augmentation, draws({3: 0.0, 4: (k + 0.5) / 20}), split)
        assert np.array_equal(found, expected), k
    for plane, (a, b) in enumerate([(0, 1), (1, 2), (0, 2)]):
        for draw in (plane / 3 + 1e-9, (plane + 1) / 3 - 1e-9):
            found, _ = one(augmentation, draws({3: draw, 4: 0.0}), split)
            expected = ndimage.rotate(scan[2], -10, axes=(a, b), reshape=False, order=0, cval=FILL[2])
            assert np.array_equal(found[2], expected)


@given(seed=st.integers(0, 10**6), patch=st.sampled_from([None, (6, 5, 5)]))
@settings(max_examples=60, deadline=None)
def test_scans_and_labels_stay_together_and_nothing_but_classes_and_background_comes_out(
    seed: int, patch: tuple[int, int, int] | None
) -> None:
    size = (9, 8, 7)
    split = Scans(*[[x] for x in encoded(size, seed % 7)])
    augmentation = VolumeAugmentation(patch=patch, rotate=45, intensity=0.0, flip=True)
    (drawn,) = augmentation.draw(1, 4, (patch or size)[0], seed, "augment")
    scan, labels = one(augmentation, drawn, split)
    assert labels.min() >= 0
    assert labels.max() <= 3
    # The scans are the background plus ten times the label, within the subject and in the filled corners alike.
    assert np.array_equal(scan, (FILL[:, None, None, None] + 10 * labels).astype(np.float32))


def test_turned_corners_have_the_background_of_the_subject() -> None:
    split = Scans(*[[x] for x in encoded((9, 9, 9), 0)])
    inner = Scans([split.scans[0][:, 1:-1, 1:-1, 1:-1]], [split.labels[0][1:-1, 1:-1, 1:-1]])
    assert inner.scans[0].min() > 0, "no background within the patch"
    fill = background(split, 0)
    assert np.array_equal(fill, FILL)
    assert fill.dtype == np.float32
    scan, labels = VolumeAugmentation(rotate=40, intensity=0.0).sample(inner, 0, draws({3: 0.1, 4: 0.0}), fill)
    outside = labels == 0
    assert 0 < outside.sum() < labels.numel() / 2
    for m in range(4):
        assert (scan[m][outside] == BACKGROUND[m]).all()


def test_a_head_that_reaches_some_corners_has_its_background_in_the_others() -> None:
    split = scans(1)
    split.scans[0][:, :4] += 10
    split.scans[0][1] = 0
    assert background(split, 0).tolist() == [BACKGROUND[0], 0.0, *BACKGROUND[2:]]


def test_a_split_that_knows_its_background_is_asked() -> None:
    class Knowing(Scans):
        def background(self, index: int) -> np.ndarray:
            return np.arange(4.0) - index

    split = Knowing(scans(2).scans, scans(2).labels)
    assert background(split, 1).tolist() == [-1.0, 0.0, 1.0, 2.0]
    assert split.boxes == []


# --- intensity and mirrors ------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), per=st.sampled_from(["volume", "slice"]), a=st.sampled_from([0.1, 0.5]))
@settings(max_examples=40, deadline=None)
def test_intensity_is_one_line_a_modality_or_a_slice(seed: int, per: Any, a: float) -> None:
    split = scans(1)
    augmentation = VolumeAugmentation(intensity=a, intensity_per=per)
    (drawn,) = augmentation.draw(1, 4, 7, seed, "augment")
    scan, labels = one(augmentation, drawn, split)
    assert np.array_equal(labels, split.labels[0])
    before = split.scans[0].astype(np.float64)
    lines = set()
    for m, row in product(range(4), range(1, 6)):
        # Label 1 and background are two points of the line, label 3 a third.
        slope, shift = np.polyfit(before[m, row].ravel(), scan[m, row].ravel(), 1)
        assert 1 - a - 1e-5 <= slope <= 1 + a + 1e-5
        assert abs(shift) <= a + 1e-5
        assert np.allclose(scan[m, row], slope * before[m, row] + shift, atol=1e-4)
        lines.add((m if per == "volume" else (m, row), round(slope, 3), round(shift, 3)))
    groups = {line[0] for line in lines}
    assert len(groups) == (4 if per == "volume" else 20)
    assert len({line[1:] for line in lines}) > len(groups) / 2, "each its own"


def test_intensity_by_hand() -> None:
    augmentation = VolumeAugmentation(intensity=0.1)
    intensity = np.array([[0.0, 0.25, 0.5, 1.0], [1.0, 0.5, 0.0, 0.25]])[..., None]
    scan, _ = one(augmentation, draws(intensity=intensity))
    before = scans(1).scans[0]
    for m, (factor, shift) in enumerate([(0.9, 0.1), (0.95, 0.0), (1.0, -0.1), (1.1, -0.05)]):
        assert np.allclose(scan[m], before[m] * factor + shift, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("per", ["volume", "slice"])
def test_a_modality_without_a_file_stays_zero(per: Any) -> None:
    split = scans(1)
    split.scans[0][1] = 0
    augmentation = VolumeAugmentation(rotate=30, intensity=0.5, intensity_per=per, flip=True)
    (drawn,) = augmentation.draw(1, 4, 7, 3, "augment")
    scan, _ = augmentation.sample(split, 0, drawn, background(split, 0))
    assert not scan[1].any()
    assert scan[[0, 2, 3]].abs().min() > 0


@pytest.mark.parametrize("mirrored", list(product([False, True], repeat=3)))
def test_mirrors_turn_the_axes_that_were_drawn(mirrored: tuple[bool, bool, bool]) -> None:
    split = scans(1)
    geometry = {5 + axis: 0.49 if turned else 0.5 for axis, turned in enumerate(mirrored)}
    scan, labels = one(replace(OFF, flip=True), draws(geometry), split)
    axes = [axis for axis, turned in enumerate(mirrored) if turned]
    assert np.array_equal(labels, np.flip(split.labels[0], axes))
    assert np.array_equal(scan, np.flip(split.scans[0], [axis + 1 for axis in axes]))


def test_a_place_has_its_draws_whatever_is_switched_on() -> None:
    plain = OFF.draw(3, 4, 7, 0, "x")
    full = VolumeAugmentation(rotate=10, flip=True).draw(3, 4, 7, 0, "x")
    for a, b in zip(plain, full, strict=True):
        assert np.array_equal(a.geometry, b.geometry)
        assert np.array_equal(a.intensity, b.intensity)
    assert len({a.geometry.tobytes() for a in plain}) == 3
    sliced = VolumeAugmentation(intensity_per="slice").draw(3, 4, 7, 0, "x")
    assert sliced[0].intensity.shape == (2, 4, 7)
    assert np.array_equal(sliced[0].geometry, plain[0].geometry)


# --- refused --------------------------------------------------------------------------------------------------


def test_subjects_smaller_than_the_patch_are_named_with_their_sizes() -> None:
    pairs = [encoded(size, 0) for size in [(7, 6, 5), (7, 5, 5), (8, 8, 8), (6, 6, 6)]]
    split = Scans([scan for scan, _ in pairs], [labels for _, labels in pairs])
    with pytest.raises(DataError) as caught:
        VolumeAugmentation(patch=(7, 6, 5)).check(split, 2)
    message = str(caught.value)
    assert "2 of 4 subjects are smaller than the patch of 7 x 6 x 5 voxels" in message
    assert message.endswith("subject_001 (7 x 5 x 5), subject_003 (6 x 6 x 6)")
    assert split.boxes == []
    VolumeAugmentation(patch=(6, 5, 5)).check(split, 2)


def test_whole_subjects_of_different_sizes_make_batches_of_one_only() -> None:
    pairs = [encoded((7, 6, 5 + (i > 1)), 0) for i in range(15)]
    split = Scans([scan for scan, _ in pairs], [labels for _, labels in pairs])
    OFF.check(split, 1)
    with pytest.raises(DataError) as caught:
        OFF.check(split, 2)
    message = str(caught.value)
    assert "13 of 15 differ from subject_000 (7 x 6 x 5): subject_002 (7 x 6 x 6), " in message
    assert "subject_011 (7 x 6 x 6) and 3 more; set a patch, or batches of one" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": (8, 8)}, r"patch must be three sizes from 1 on, not \(8, 8\)"),
        ({"patch": (8, 8, 0)}, "patch must be"),
        ({"rotate": -1}, "rotate must be a whole number of degrees in 0..180, not -1"),
        ({"rotate": 2.5}, "not 2.5"),
        ({"intensity": 1.0}, r"intensity must be in \[0, 1\), not 1.0"),
        ({"intensity": float("nan")}, "intensity must be"),
        ({"intensity_per": "voxel"}, "intensity_per must be 'volume' or 'slice', not 'voxel'"),
    ],
)
def test_settings_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VolumeAugmentation(**options)
