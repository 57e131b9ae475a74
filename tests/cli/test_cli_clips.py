"""RAVDESS and VGGSound through the commands that a user types: make, check, info, faults."""

from __future__ import annotations

import json

import numpy as np
import pytest

RAVDESS = ["actors=6", "clips=2", "size=[8,16]", "audio_size=[8,12]"]
VGGSOUND = ["classes=3", "train=18", "test=6", "frames=4", "size=[8,8]", "seconds=0.2"]
SETS = [
    ("ravdess", RAVDESS, "64 train, 16 validation, 16 test samples of audio 1 x 8 x 12, image 3 x 8 x 16"),
    ("vggsound", VGGSOUND, "test samples of audio 1 x 513 x 313, video 3 x 4 x 8 x 8"),
]


@pytest.mark.parametrize(("name", "options", "counts"), SETS)
def test_make_check_and_info(mmablate, tmp_path, name, options, counts):
    done = mmablate("data", "make", name, "set", *options)
    assert done.code == 0, done.err
    assert f"set: synthetic {name} data, " in done.err
    done = mmablate("data", "check", name, "set")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{name}: SYNTHETIC data, no faults found (")
    assert counts in done.out
    card = json.loads(mmablate("data", "info", name, "set", "--format", "json").out)
    assert card["task"] == "classification"
    assert card["synthetic"] is True
    for split, number in (("train", card["n_train"]), ("val", card["n_val"]), ("test", card["n_test"])):
        assert sum(card["class_samples"][split]) == number > 0
    done = mmablate("data", "info", name, "set", "--html", "page.html")
    assert done.code == 0, done.err
    page = (tmp_path / "page.html").read_text()
    assert "share of the labelled samples" in page
    assert "pixels" not in page.split("<body", 1)[-1].split('id="samples"')[0]
    done = mmablate("data", "info", name, "set")
    assert "one class a sample; scored on test" in done.out
    assert f"always {card['majority_class']}: {card['majority_accuracy']:.2f} % accuracy on test" in done.out


def test_check_names_each_planted_fault(mmablate, tmp_path):
    assert mmablate("data", "make", "ravdess", "set", *RAVDESS).code == 0
    sounds = sorted((tmp_path / "set" / "aud_features").glob("*.npy"))
    pictures = sorted((tmp_path / "set" / "vid_features").glob("*.png"))
    sounds[0].unlink()
    np.save(sounds[1], np.load(sounds[1]).astype(np.float64))
    pictures[2].write_bytes(b"no image")
    done = mmablate("data", "check", "ravdess", "set")
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    for path, text in (
        (sounds[0], "expected the sound of"),
        (sounds[1], "expected a 2-D float32 array, found float64"),
        (pictures[2], "expected a readable image"),
    ):
        assert f"{path.relative_to(tmp_path)}: {text}" in " ".join(done.err.split())


def test_a_folder_of_nothing(mmablate, tmp_path):
    (tmp_path / "set").mkdir()
    for name, text in (("ravdess", "or Actor_XX, found neither"), ("vggsound", "(option `classes`), found: No such")):
        done = mmablate("data", "check", name, "set")
        assert done.code == 2
        assert text in " ".join(done.err.split())
        assert "Traceback" not in done.err


def test_options_of_the_generator_are_checked(mmablate):
    done = mmablate("data", "make", "ravdess", "set", "shared=1.5")
    assert done.code == 2
    assert "shared: should be less than or equal to 1, got 1.5" in done.err
    done = mmablate("data", "make", "ravdess", "set", "actors=30")
    assert "actors: should be less than or equal to 24, got 30" in done.err
