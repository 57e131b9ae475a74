"""The mini generator of BraTS: its two layouts, its phantoms and their physics, its lists, its mark, its bytes."""

from __future__ import annotations

import builtins
import hashlib
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmablate.data.brats.masks import PUBLISHED, rates_of, read_mask_list
from mmablate.data.brats.mini import make_brats, tissue
from mmablate.data.brats.mini.mark import DESCRIPTION, is_synthetic
from mmablate.data.brats.mini.names import HIGH, LOW, _fits, draw_masks, draw_people
from mmablate.data.brats.mini.scanner import _measured, draw_subject
from mmablate.data.brats.mini.tumour import Kind
from mmablate.data.brats.preprocessing import SEQUENCES, preprocess
from mmablate.errors import DataError, MissingExtra

SMALL = {"train": 4, "val": 1, "test": 1, "size": 24}
FULL = {"train": 24, "val": 8, "test": 12}
HIGH_GRADE, LOW_GRADE, DARK = Kind(False, True), Kind(True, True), Kind(True, False)
FLAIR, T1CE, T1, T2 = range(4)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small set, made once."""
    pytest.importorskip("nibabel", reason="the raw layout needs nibabel")
    root = tmp_path_factory.mktemp("mini") / "brats"
    make_brats(root, **SMALL, seed=3)
    return root


@pytest.fixture(scope="module")
def subjects():
    """High-grade subjects at full size, drawn once."""
    return [draw_subject(0, number, 48, HIGH_GRADE) for number in range(1, 6)]


def digest(root: Path) -> dict[str, str]:
    """Path below the root -> hash of the bytes."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def listed(root: Path, split: str) -> list[str]:
    return (root / f"{split}.txt").read_text().split()


def nifti(path: Path):
    import nibabel

    image = nibabel.load(path)
    return image, np.asanyarray(image.dataobj)


class TestLayouts:
    def test_files_are_those_of_both_layouts(self, made):
        names = [name for split in FULL for name in listed(made, split)]
        lists = [f"BraTS/brats_split/Brats2020_imb_split_{title}.csv" for title in PUBLISHED]
        common = [*(f"{split}.txt" for split in FULL), *lists, "SYNTHETIC.json", "README.txt"]
        expected = {f"{folder}/{name}_{folder}.npy" for name in names for folder in ("vol", "seg")}
        expected |= {*common, "vol/SYNTHETIC.json"}
        for name in names:
            bare = name.split("_", 1)[1]
            expected |= {f"raw/{bare}/{bare}_{kind}.nii.gz" for kind in (*SEQUENCES, "seg")}
        expected |= {f"raw/{name}" for name in common}
        assert set(digest(made)) == expected

    def test_raw_files_and_arrays_hold_the_same_subjects(self, made):
        for name in (name for split in FULL for name in listed(made, split)):
            bare = name.split("_", 1)[1]
            volumes = {part: nifti(made / "raw" / bare / f"{bare}_{part}.nii.gz")[1] for part in SEQUENCES}
            labels = nifti(made / "raw" / bare / f"{bare}_seg.nii.gz")[1]
            volume, seg = preprocess(volumes, labels)
            np.testing.assert_array_equal(np.load(made / "vol" / f"{name}_vol.npy"), volume)
            np.testing.assert_array_equal(np.load(made / "seg" / f"{name}_seg.npy"), seg)
            assert volume.dtype == np.float32
            assert seg.dtype == np.uint8

    def test_raw_files_are_as_downloaded(self, made):
        bare = listed(made / "raw", "train")[0]
        for part in (*SEQUENCES, "seg"):
            image, values = nifti(made / "raw" / bare / f"{bare}_{part}.nii.gz")
            assert image.shape == (24, 24, 24)
            assert values.dtype == (np.uint8 if part == "seg" else np.int16)
            assert image.header.get_zooms() == (1, 1, 1)
            np.testing.assert_array_equal(image.affine, np.eye(4))
            assert image.header["descrip"].item().decode() == DESCRIPTION

    def test_both_layouts_have_the_same_splits_and_masks(self, made):
        for split in FULL:
            assert [name.split("_", 1)[1] for name in listed(made, split)] == listed(made / "raw", split)
        for title in PUBLISHED:
            place = f"BraTS/brats_split/Brats2020_imb_split_{title}.csv"
            stored, raw = read_mask_list(made / place), read_mask_list(made / "raw" / place)
            assert list(stored) == listed(made, "train")
            assert {name.split("_", 1)[1]: mask for name, mask in stored.items()} == raw

    def test_names_tell_the_grade(self):
        people = draw_people(FULL, 0)
        everyone = [person for split in people.values() for person in split]
        assert [len(people[split]) for split in FULL] == list(FULL.values())
        assert len({person.number for person in everyone}) == 44
        for person in everyone:
            low = 260 <= person.number <= 335
            assert person.name.startswith("LG_" if low else "HG_")
            assert person.kind.low_grade == low
        assert {*HIGH, *LOW} == set(range(1, 370))
        for split in people.values():
            assert {person.kind.low_grade for person in split} == {True, False}
            assert {person.kind.enhances for person in split} == {True, False}
        assert sum(not person.kind.enhances for person in everyone) == 5

    def test_readme_says_how_the_masks_were_drawn(self, made):
        assert "independently" in (made / "README.txt").read_text()
        assert "as downloaded" in (made / "raw" / "README.txt").read_text()


class TestPhantoms:
    def test_background_is_zero_and_brain_is_not_in_every_sequence(self, subjects):
        for subject in subjects:
            inside = subject.volumes > 0
            assert (inside == inside[0]).all()
            assert 0.15 < inside[0].mean() < 0.4
            assert not subject.labels[~inside[0]].any()
            assert subject.volumes.dtype == np.int16

    def test_a_brain_without_signal_is_still_told_from_the_background(self):
        mask = np.zeros((16, 16, 16), bool)
        mask[4:12, 4:12, 4:12] = True
        image = (mask & (np.arange(16) > 7)).astype(np.float32)
        found = _measured(np.random.default_rng(0), image, mask)
        np.testing.assert_array_equal(found > 0, mask)

    def test_regions_are_nested_and_of_plausible_size(self, subjects):
        reach: dict[int, list[float]] = {}
        for subject in subjects:
            brain = (subject.volumes[0] > 0).sum()
            sizes = [int((subject.labels == label).sum()) for label in (1, 2, 4)]
            assert set(np.unique(subject.labels)) == {0, 1, 2, 4}
            assert 0.01 < sum(sizes) / brain < 0.25
            middle = np.argwhere(np.isin(subject.labels, (1, 4))).mean(axis=0)
            for label in (1, 2, 4):
                far = np.linalg.norm(np.argwhere(subject.labels == label) - middle, axis=1)
                reach.setdefault(label, []).append(far.mean())
        assert np.less(reach[4], reach[2]).all()
        assert np.less(reach[1], reach[2]).all()
        assert np.mean(reach[1]) < np.mean(reach[4])  # where the rim takes up no agent, the core lies outside it

    def test_each_region_is_visible_in_its_own_sequences(self, subjects):
        """Means over subjects of the regions' intensity, in deviations of the healthy brain."""
        score = np.zeros((len(subjects), 4, 5))
        for i, subject in enumerate(subjects):
            healthy = (subject.volumes[0] > 0) & (subject.labels == 0)
            for k, volume in enumerate(subject.volumes.astype(float)):
                rest = volume[healthy]
                for label in (1, 2, 4):
                    score[i, k, label] = (volume[subject.labels == label].mean() - rest.mean()) / rest.std()
        mean = score.mean(axis=0)
        assert mean[FLAIR, 2] > 1.5  # oedema: bright in FLAIR and T2, takes up no contrast agent
        assert mean[T2, 2] > 0.3
        assert abs(mean[T1CE, 2] - mean[T1, 2]) < 0.5
        assert mean[T1CE, 4] > mean[T1, 4] + 1.2  # rim: bright in T1ce, and not before the agent
        assert mean[T1CE, 4] > 1.2 > 0.3 > mean[T1, 4]
        assert max(mean[T1CE, 1], mean[T1, 1]) < -0.2  # core: dark in T1 and T1ce, bright in T2
        assert mean[T2, 1] > 0.8

    def test_one_threshold_does_not_find_the_rim(self, subjects):
        """Vessels are as bright in T1ce: the best threshold of it alone stays far from the truth."""
        for subject in subjects:
            rim = subject.labels == 4
            volume = subject.volumes[T1CE]
            cuts = np.percentile(volume[volume > 0], np.arange(80, 100))
            best = max(2 * (rim & (volume > cut)).sum() / (rim.sum() + (volume > cut).sum()) for cut in cuts)
            assert best < 0.8

    def test_without_enhancement_there_is_no_rim(self):
        found = draw_subject(0, 270, 48, DARK)
        assert set(np.unique(found.labels)) == {0, 1, 2}

    def test_low_grade_enhances_less(self):
        shares = {}
        for kind in (HIGH_GRADE, LOW_GRADE):
            drawn = [draw_subject(0, number, 24, kind).labels for number in range(6)]
            shares[kind] = sum(int((x == 4).sum()) for x in drawn) / sum(int((x > 0).sum()) for x in drawn)
        assert shares[LOW_GRADE] < 0.5 * shares[HIGH_GRADE]

    def test_tumours_lie_in_either_hemisphere(self):
        middles = [np.argwhere(draw_subject(1, n, 24, HIGH_GRADE).labels > 0).mean(axis=0)[0] for n in range(10)]
        assert min(middles) < 11.5 < max(middles)

    @pytest.mark.parametrize("size", [16, 25, 40])
    @pytest.mark.parametrize("kind", [HIGH_GRADE, DARK])
    def test_any_size_and_kind_gives_a_tumour(self, size, kind):
        for number in range(2):
            found = draw_subject(5, number, size, kind)
            assert found.volumes.shape == (4, size, size, size)
            assert (found.labels == 2).any()
            assert (found.labels == 1).any() or (found.labels == 4).any()


class TestSignals:
    def test_grey_and_white_matter_and_csf_have_the_contrast_of_their_sequences(self):
        t1, t2 = ([tissue.spin_echo(x.density, x.t1, x.t2, *times) for x in TISSUES] for times in (T1_TIMES, T2_TIMES))
        assert t1[2] > t1[1] > t1[0]
        assert t2[0] > t2[1] > t2[2]
        ti = tissue.nulling_time(tissue.CSF.t1, 9000)
        flair = [tissue.inversion_recovery(x.density, x.t1, x.t2, 9000, 110, ti) for x in TISSUES]
        assert flair[0] == pytest.approx(0, abs=1e-6)
        assert flair[1] > flair[2] > 0.1

    @given(st.floats(200, 4000), st.floats(30, 400), st.floats(300, 10000), st.floats(5, 150), st.floats(0.05, 0.95))
    @settings(max_examples=25, deadline=None)
    def test_signals_follow_the_bloch_equations(self, t1, t2, tr, te, part):
        """Against relaxation in small steps, repeated until the magnetisation before each pulse is steady."""
        ti = part * tr
        assert tissue.spin_echo(0.8, t1, t2, tr, te) == pytest.approx(_pulsed(0.8, t1, t2, tr, te, None), rel=2e-4)
        found = tissue.inversion_recovery(0.8, t1, t2, tr, te, ti)
        assert found == pytest.approx(_pulsed(0.8, t1, t2, tr, te, ti), rel=2e-4, abs=2e-5)

    def test_contrast_agent_shortens_t1(self):
        assert tissue.enhanced(1000.0, 0.0) == 1000
        assert tissue.enhanced(1000.0, 0.5) == pytest.approx(1000 / (1 + 4.1 * 0.5))

    @given(st.floats(300, 5000), st.floats(2000, 12000))
    @settings(max_examples=25, deadline=None)
    def test_nulling_time_nulls(self, t1, tr):
        assert tissue.inversion_recovery(1.0, t1, 1e9, tr, 0, tissue.nulling_time(t1, tr)) == pytest.approx(0, abs=1e-6)


TISSUES = (tissue.CSF, tissue.GREY, tissue.WHITE)
T1_TIMES, T2_TIMES = (500, 12), (5000, 100)


def _pulsed(density: float, t1: float, t2: float, tr: float, te: float, ti: float | None) -> float:
    """Longitudinal magnetisation over repetitions by the exact flow of dM/dt = (M0 - M) / T1, then T2 decay.

    Spin echo: 90 degrees every TR. Inversion recovery: 180 degrees, TI, 90 degrees, and the rest of TR. The echo's
    own 180 degrees pulse is left out, as in the equations.
    """

    def relax(magnetisation: float, time: float) -> float:
        for _ in range(50):
            magnetisation += (density - magnetisation) * -np.expm1(-time / 50 / t1)
        return magnetisation

    longitudinal = density
    for _ in range(5):
        if ti is not None:
            longitudinal = relax(-longitudinal, ti)
        across, longitudinal = abs(longitudinal), 0.0  # 90 degrees
        longitudinal = relax(longitudinal, tr if ti is None else tr - ti)
    return float(across * np.exp(-te / t2))


class TestMaskLists:
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_the_list_of_recipes_suits_them(self, seed):
        masks = draw_masks(24, rates_of("mr2468"), seed, chosen=True)
        assert masks.any(axis=1).all()
        assert masks.all(axis=1).sum() >= 3
        assert (masks.sum(axis=0) >= 3).all()
        assert 15 - len({tuple(row) for row in masks}) >= 4

    def test_a_draw_that_shows_nearly_every_subset_does_not_suit(self):
        every = np.array(list(itertools.product((False, True), repeat=4)))[1:]
        full = np.ones((3, 4), bool)
        assert not _fits(np.concatenate([every, full, every[:6]]))
        assert not _fits(np.concatenate([every[3:], full, every[3:9]]))  # 3 unseen
        assert _fits(np.concatenate([every[4:], full, every[4:10]]))  # 4 unseen
        assert not _fits(np.concatenate([every[4:14], every[4:14]]))  # none complete

    def test_rates_are_those_of_the_list(self):
        """Frequencies of each sequence among many draws, against the sum over all patterns but the empty one."""
        rates = dict(zip(("t1", "t1ce", "flair", "t2"), (0.2, 0.4, 0.6, 0.8), strict=True))
        masks = draw_masks(20_000, tuple(rates.values()), 0, chosen=False)
        there = np.zeros(4)
        total = 0.0
        for pattern in itertools.product((0, 1), repeat=4):
            if any(pattern):
                chance = np.prod([1 - rates[n] if p else rates[n] for n, p in zip(SEQUENCES, pattern, strict=True)])
                there += chance * np.array(pattern)
                total += chance
        np.testing.assert_allclose(masks.mean(axis=0), there / total, atol=0.015)

    def test_every_list_leaves_subsets_unseen(self, made):
        for title in PUBLISHED:
            masks = read_mask_list(made / "BraTS" / "brats_split" / f"Brats2020_imb_split_{title}.csv")
            assert 1 <= len(set(masks.values())) < 15

    @pytest.mark.parametrize("count", [1, 2, 8, 60])
    def test_other_numbers_of_subjects_have_lists_too(self, count):
        masks = draw_masks(count, rates_of("mr2468"), 0, chosen=True)
        assert masks.shape == (count, 4)
        assert masks.all(axis=1).any()


class TestMarkAndBytes:
    def test_same_seed_same_bytes(self, made, tmp_path):
        make_brats(tmp_path / "again", **SMALL, seed=3)
        assert digest(tmp_path / "again") == digest(made)
        make_brats(tmp_path / "other", **SMALL, seed=4, raw=False)
        assert digest(tmp_path / "other") != digest(made)

    def test_without_raw_the_arrays_are_the_same(self, made, tmp_path, monkeypatch):
        _hide_nibabel(monkeypatch)
        make_brats(tmp_path / "stored", **SMALL, seed=3, raw=False)
        assert not (tmp_path / "stored" / "raw").exists()
        ours, theirs = digest(tmp_path / "stored"), digest(made)
        same = [name for name in ours if not name.endswith("SYNTHETIC.json")]
        assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}

    def test_made_again_is_left_alone(self, made):
        before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
        make_brats(made, **SMALL, seed=3)
        assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before

    def test_other_files_and_other_options_are_refused(self, made, tmp_path):
        with pytest.raises(DataError, match="other options"):
            make_brats(made, **SMALL, seed=4)
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(DataError, match=r"expected an empty folder .* found other files"):
            make_brats(tmp_path, **SMALL)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_mark_says_what_made_it(self, made):
        for place in (made, made / "vol", made / "raw"):
            mark = json.loads((place / "SYNTHETIC.json").read_text())
            assert mark["synthetic"] is True
            assert mark["options"] == {**SMALL, "seed": 3, "raw": True}

    def test_parts_of_a_tree_are_known_too(self, made, tmp_path):
        assert is_synthetic(made)
        assert is_synthetic(made / "raw")
        bare = listed(made / "raw", "val")[0]
        shutil.copytree(made / "raw" / bare, tmp_path / "raw" / bare)
        assert is_synthetic(tmp_path / "raw")
        shutil.copytree(tmp_path / "raw", tmp_path / "deep" / "HGG")
        assert is_synthetic(tmp_path / "deep")
        shutil.copytree(made / "vol", tmp_path / "stored" / "vol")
        assert is_synthetic(tmp_path / "stored")

    def test_real_and_broken_files_are_not_marked(self, tmp_path):
        nibabel = pytest.importorskip("nibabel")
        (tmp_path / "a").mkdir()
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "a" / "a_t1.nii.gz")
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "b_t1.nii.gz").write_bytes(b"not gzip")
        (tmp_path / "c").mkdir()
        (tmp_path / "c" / "c_t1.nii").write_bytes(b"")
        assert not is_synthetic(tmp_path)
        assert not is_synthetic(tmp_path / "nowhere")

    def test_missing_nibabel_is_told_before_anything_is_written(self, tmp_path, monkeypatch):
        _hide_nibabel(monkeypatch)
        with pytest.raises(MissingExtra, match=r"mmablate\[medical\]"):
            make_brats(tmp_path / "new", **SMALL)
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"size": 8}, "at least 16 voxels"),
            ({"train": 0}, "1 in train"),
            ({"val": -1}, "at least 0"),
            ({"train": 400}, "at most"),
        ],
    )
    def test_numbers_that_cannot_be_are_refused(self, tmp_path, options, text):
        with pytest.raises(DataError, match=text):
            make_brats(tmp_path / "new", **{**SMALL, **options}, raw=False)
        assert not (tmp_path / "new").exists()


def _hide_nibabel(monkeypatch) -> None:
    """As if it were not installed."""
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "nibabel":
            raise ImportError("No module named 'nibabel'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
