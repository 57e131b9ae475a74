"""The generated audio-visual sets: real layouts, same bytes, the mark, and parts of information as they say."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmablate.catalog import find, load_target
from mmablate.data.mini_clips.audiovisual.drawing import Drawer, Sample
from mmablate.data.mini_clips.audiovisual.parts import Parts, as_parts, codes, limits
from mmablate.errors import DataError
from mmablate.metrics.information import decompose

NAMES = ("cremad", "kinetics_sounds", "vggsound_av", "ave")
BOTH = ("audio", "visual")
FEW = {"train": 24, "test": 12, "seconds": 0.2, "size": (16, 16)}
READ = {"sample_rate": 8000, "seconds": 0.2, "n_fft": 64, "hop": 64, "audio_size": None, "size": (16, 16)}
HOMES = {"cremad": "CREMA-D", "kinetics_sounds": "kinect_sound", "vggsound_av": "vggsound", "ave": "AVE_Dataset"}


def few(name: str, **options):
    own = {"cremad": {"speakers": 4}, "ave": {"val": 8}}.get(name, {})
    return {**FEW, **own, **options}


def made(root, name, **options):
    entry = find("dataset", name)
    load_target(entry, entry.make_target)(root, **few(name, **options))
    return root


def opened(root, name, **options):
    return load_target(find("dataset", name))(root, modalities=BOTH, **{**READ, **options})


def content(root) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_a_mini_is_read_without_a_fault(tmp_path, name):
    root = made(tmp_path / "s", name)
    entry = find("dataset", name)
    assert load_target(entry, entry.check_target)(root, modalities=BOTH, thorough=True, **READ) == []
    data = opened(root, name)
    assert data.synthetic
    assert data.attribution == f"synthetic clips by mmablate data make {name}"
    assert data.modalities["audio"] == (1, 33, 26)
    sizes = {split: len(members) for split, members in data.splits.items()}
    assert sum(sizes.values()) == 36 + (8 if name == "ave" else 0)
    for members in data.splits.values():
        inputs, labels = members.batch(range(len(members)))
        assert np.isfinite(inputs["audio"]).all()
        assert labels.max() < data.n_classes == (6 if name == "cremad" else 8)
    assert not any("left out" in note or "missing" in note for note in data.notes)


@pytest.mark.parametrize("name", NAMES)
def test_the_options_of_the_catalogue_are_those_of_the_generator(tmp_path, name):
    """What recipes give are all options, defaults too; the mark then holds the same ones as a bare call's."""
    entry = find("dataset", name)
    options = entry.make_options(**few(name)).model_dump()
    load_target(entry, entry.make_target)(tmp_path / "a", **options)
    made(tmp_path / "b", name)
    assert (tmp_path / "a" / "SYNTHETIC.json").read_text() == (tmp_path / "b" / "SYNTHETIC.json").read_text()
    with pytest.raises(TypeError, match="no such options: colour"):
        made(tmp_path / "c", name, colour=1)


@pytest.mark.parametrize(
    ("name", "form"), [*((name, "frames") for name in NAMES), ("cremad", "video"), ("ave", "video")]
)
def test_same_seed_same_bytes(tmp_path, name, form):
    if form == "video":
        pytest.importorskip("av")
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        made(tmp_path / folder, name, form=form, seed=seed)
    first = content(tmp_path / "a")
    assert first == content(tmp_path / "b")
    assert first != content(tmp_path / "c")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    made(tmp_path / "a", name, form=form, seed=3)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    with pytest.raises(DataError, match="found one of other options"):
        made(tmp_path / "a", name, form=form, seed=4)


def test_one_more_clip_changes_nothing_of_the_others(tmp_path):
    first, second = content(made(tmp_path / "a", "ave")), content(made(tmp_path / "b", "ave", train=26))
    media = {path: value for path, value in first.items() if path.endswith((".wav", ".jpg"))}
    assert media.items() <= second.items()
    assert len(second) > len(first)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_folders_of_the_real_set(tmp_path, name):
    root = made(tmp_path / "s", name)
    kinds = {"/".join(path.split("/")[:3]) for path in content(root) if path.endswith((".wav", ".jpg"))}
    assert (
        kinds
        >= {
            "cremad": {"CREMA-D/AudioWAV/1001_IEO_NEU_XX.wav", "CREMA-D/Image-01-FPS/1001_IEO_NEU_XX"},
            "kinetics_sounds": {
                "kinect_sound/audio/train",
                "kinect_sound/audio/test",
                "kinect_sound/visual/train_img",
                "kinect_sound/visual/val_img",
            },
            "vggsound_av": {
                "vggsound/audio/train-audios",
                "vggsound/audio/test-audios",
                "vggsound/video/train-set-img",
                "vggsound/video/test-set-img",
            },
            "ave": set(),
        }[name]
    )
    lists = {path.name for path in (root / HOMES[name]).iterdir() if path.is_file()}
    assert (
        lists
        == {
            "cremad": {"train.csv", "test.csv"},
            "kinetics_sounds": {"class.txt"},
            "vggsound_av": {"vggsound.csv", "test.csv"},
            "ave": {"trainSet.txt", "valSet.txt", "testSet.txt"},
        }[name]
    )


def test_published_lists_have_every_actor_in_both(tmp_path):
    data = opened(made(tmp_path / "s", "cremad"), "cremad", split="published", val_fraction=0)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 24, "test": 12}
    assert data.notes == ("Published split: 4 of the 4 speakers of test are in train too.",)


@pytest.mark.parametrize("name", NAMES)
def test_the_mark_stays_with_a_part(tmp_path, name):
    root = made(tmp_path / "s", name)
    (root / "SYNTHETIC.json").unlink()
    assert opened(root, name).synthetic
    assert opened(root / HOMES[name], name).synthetic
    for path in list(root.rglob("SYNTHETIC.json")):
        path.unlink()
    assert opened(root, name).synthetic  # by the comments of the frames


@pytest.mark.parametrize("name", NAMES)
def test_sounds_alone_keep_their_mark(tmp_path, name):
    root = made(tmp_path / "s", name)
    (root / "SYNTHETIC.json").unlink()
    assert load_target(find("dataset", name))(root, modalities=["audio"], **READ).synthetic


def test_every_frame_shows_one_face_with_noise_of_its_own(tmp_path):
    root = made(tmp_path / "s", "ave", frames=3, visual_noise=0.0)
    frames = opened(root, "ave", frames=3).splits["test"].batch(range(12))[0]["visual"].astype(np.float64)
    between = frames.mean(axis=(3, 4)).std(axis=2).max()  # colours of the frames of a clip
    among = frames.mean(axis=(2, 3, 4)).std(axis=0).min()  # and of the clips
    assert between < among / 5
    assert (frames[:, :, 0] != frames[:, :, 1]).mean() > 0.5


@pytest.mark.parametrize("name", ["cremad", "kinetics_sounds"])
def test_video_files(tmp_path, name):
    pytest.importorskip("av")
    root = made(tmp_path / "s", name, form="video", frames=3)
    assert not list(root.rglob("*.jpg"))
    data = opened(root, name, frames=2)
    assert data.synthetic
    stills = opened(made(tmp_path / "t", name, frames=3), name, frames=2)
    ours, theirs = (each.splits["test"].batch(range(4))[0]["visual"] for each in (data, stills))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < 0.4  # in deviations of ImageNet: two codecs, one picture


def test_other_files_and_other_classes_are_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="found other files"):
        made(tmp_path, "ave")
    with pytest.raises(DataError, match="expected 6 classes for CREMA-D, found 4"):
        made(tmp_path / "a", "cremad", parts=[[2, 2, 1]])
    with pytest.raises(DataError, match="4 speakers have fewer clips than train"):
        made(tmp_path / "b", "cremad", train=1200)
    with pytest.raises(DataError, match="parts: expected at most 256 things to show, found 300"):
        made(tmp_path / "c", "ave", parts=[[300, 1, 1]])
    shutil.rmtree(tmp_path / "a", ignore_errors=True)
    assert content(tmp_path) == {"mine.txt": b"mine"}


# --- what is known of the parts ---------------------------------------------------------------------------


def information(table: np.ndarray, axes: tuple[int, ...]) -> float:
    """I(class; these of sound and picture) of a table p(class, heard, seen), bits, by its definition."""
    drop = tuple(axis for axis in (1, 2) if axis not in axes)
    joint = table.sum(axis=drop).reshape(len(table), -1)
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / product[there])).sum())


GROUPS = st.lists(st.tuples(*[st.integers(1, 3)] * 3), min_size=1, max_size=4)


@given(GROUPS)
def test_the_bits_are_those_of_the_table(groups):
    """Shared + unique is what one modality tells, and all parts what both tell, by the definition of information."""
    parts = Parts(tuple(groups))
    table, bits = parts.table(), parts.bits()
    np.testing.assert_allclose(table.sum(), 1)
    np.testing.assert_allclose(table.sum(axis=(1, 2)), 1 / len(table))
    np.testing.assert_allclose(information(table, (1,)), bits["shared"] + bits["audio_unique"], atol=1e-5)
    np.testing.assert_allclose(information(table, (2,)), bits["shared"] + bits["visual_unique"], atol=1e-5)
    np.testing.assert_allclose(information(table, (1, 2)), sum(bits.values()), atol=1e-5)
    np.testing.assert_allclose(sum(bits.values()), np.log2(len(table)), atol=1e-5)


@pytest.mark.parametrize(
    "groups",
    [
        [(2, 1, 1), (1, 2, 1), (1, 1, 2)],
        [(2, 1, 1), (1, 2, 1), (1, 1, 2), (1, 1, 1), (1, 1, 1)],
        [(2, 2, 1), (2, 1, 2)],
        [(2, 2, 2)],
        [(3, 1, 2), (1, 2, 3), (1, 1, 1)],
    ],
)
def test_the_parts_are_those_of_a_solver_of_the_decomposition(groups):
    parts = as_parts(groups)
    found, bits = decompose(parts.table()), parts.bits()
    np.testing.assert_allclose(
        [found.redundant, found.unique1, found.unique2, found.synergistic], list(bits.values()), atol=1e-5
    )


def test_pure_parts():
    names = ("shared", "audio_unique", "visual_unique", "synergy")
    pure = {(1, 1, 1): "shared", (2, 1, 1): "audio_unique", (1, 2, 1): "visual_unique", (1, 1, 2): "synergy"}
    for group, part in pure.items():
        parts = as_parts([group] * (2 if part == "shared" else 1))
        assert parts.bits() == {name: float(name == part) for name in names}
    assert as_parts([(1, 1, 2)]).table().tolist() == [  # exclusive or
        [[0.25, 0.0], [0.0, 0.25]],
        [[0.0, 0.25], [0.25, 0.0]],
    ]


@given(GROUPS, st.integers(0, 99))
def test_drawn_contents_are_those_of_the_table(groups, seed):
    parts = Parts(tuple(groups))
    table = parts.table()
    own = np.random.default_rng(seed)
    for label in range(len(table)):
        heard, seen = parts.draw(label, own)
        assert table[label, heard, seen] > 0


def test_codes_lie_apart():
    for number, apart in ((2, 8), (5, 4), (16, 4), (256, 1)):
        found = codes(number, number, 1)
        assert found.shape == (number, 8)
        assert set(np.unique(found)) == {-1.0, 1.0}
        assert min(int((a != b).sum()) for a, b in itertools.combinations(found, 2)) == apart
    assert (codes(5, 0, 0) != codes(5, 0, 1)).any()


def test_limits_without_noise_and_without_strength():
    parts = as_parts([(2, 1, 1), (1, 2, 1), (1, 1, 2)])
    shown = (codes(5, 0, 0), codes(5, 0, 1))
    assert limits(parts, shown, (0.0, 0.0), 0) == {
        "accuracy": {"audio": 66.7, "visual": 66.7, "both": 100.0},
        "bits": {"audio": 1.918, "visual": 1.918, "both": 2.585},
    }
    nothing = limits(parts, (0 * shown[0], shown[1]), (1.0, 0.0), 0)
    assert nothing["bits"] == {"audio": 0.0, "visual": 1.918, "both": 1.918}
    assert abs(nothing["accuracy"]["audio"] - 100 / 6) < 0.1
    some = [limits(parts, shown, (0.8, spread), 0)["accuracy"] for spread in (0.4, 1.2, 2.4)]
    assert some[0]["visual"] > some[1]["visual"] > some[2]["visual"]
    assert all(each["both"] > max(each["audio"], each["visual"]) for each in some)


def test_the_mark_tells_the_parts(tmp_path):
    known = json.loads((made(tmp_path / "s", "cremad") / "SYNTHETIC.json").read_text())["known"]
    third = round(1 / 3, 6)
    shared = round(np.log2(3), 6)
    assert known["bits"] == {"shared": shared, "audio_unique": third, "visual_unique": third, "synergy": third}
    assert known["classes"][0] == [0, 0, 0, 0]
    assert len(known["classes"]) == 6
    limit = known["with_noise"]["accuracy"]
    assert limit["both"] > limit["audio"] > limit["visual"] > 100 / 6


def test_a_linear_look_at_sound_and_picture_finds_what_each_tells(tmp_path):
    """Without noise a ridge classifier of one modality nears its limit, and not beyond: the rest is not there."""
    parts = [[2, 1, 1], [1, 2, 1]]
    quiet = {"audio_noise": 0.1, "visual_noise": 0.1, "visual_strength": 1.0}
    root = made(tmp_path / "s", "ave", parts=parts, train=160, test=80, frames=1, **quiet)
    data = opened(root, "ave", frames=1, standardise=True)
    (train, y), (test, wanted) = (
        data.splits[split].batch(range(len(data.splits[split]))) for split in ("train", "test")
    )
    for name, told in (("audio", (0, 1)), ("visual", (2, 3))):
        x, z = (np.c_[each[name].reshape(len(each[name]), -1), np.ones(len(each[name]))] for each in (train, test))
        weights = x.T @ np.linalg.solve(x @ x.T + 10 * np.eye(len(x)), np.eye(4)[y])
        guess = (z @ weights).argmax(axis=1)
        right = guess == wanted
        assert right[np.isin(wanted, told)].mean() > 0.85
        assert (guess // 2 == wanted // 2).mean() > 0.85  # the group
        assert right[~np.isin(wanted, told)].mean() < 0.75


def test_drawn_clips_have_the_limits_that_the_mark_tells():
    """The best guess from the numbers that clips are really drawn from, by Bayes' rule written out here."""
    entry = find("dataset", "ave")
    drawer = Drawer(as_parts([(2, 1, 1), (1, 2, 1), (1, 1, 2)]), entry.make_options().model_dump())
    table = drawer.parts.table()
    right = np.zeros(3)
    for number in range(1200):
        sample = Sample(number % 6, (0, number), number, "", "", "")
        heard, seen = (
            np.exp(-0.5 * np.square((drawer.told(sample, m) - drawer.strength[m] * drawer.codes[m]) / 0.8).sum(axis=1))
            for m in (0, 1)
        )
        scores = [table.sum(axis=2) @ heard, table.sum(axis=1) @ seen, table @ seen @ heard]
        for which, score in enumerate(scores):
            best = np.flatnonzero(np.isclose(score, score.max(), rtol=1e-9, atol=0))
            right[which] += (sample.label in best) / len(best)
    limit = drawer.known()["with_noise"]["accuracy"]
    np.testing.assert_allclose(right / 12, [limit["audio"], limit["visual"], limit["both"]], atol=3.5)
