"""The audio-visual sets through the commands that a user types: make, check, info, faults."""

from __future__ import annotations

import json

import pytest

FEW = ["train=24", "test=12", "seconds=0.2", "size=[16,16]"]
SETS = [
    ("cremad", [*FEW, "speakers=4"], "test samples of audio 1 x 257 x 188, visual 3 x 1 x 224 x 224"),
    ("vggsound_av", FEW, "12 test samples of audio 1 x 129 x 626, visual 3 x 3 x 224 x 224"),
]


@pytest.mark.parametrize(("name", "options", "counts"), SETS)
def test_make_check_and_info(mmablate, name, options, counts):
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


def test_check_names_each_planted_fault(mmablate, tmp_path):
    assert mmablate("data", "make", "ave", "set", *FEW, "val=8").code == 0
    home = tmp_path / "set" / "AVE_Dataset"
    sounds, frames = sorted((home / "Audios").glob("*.wav")), sorted((home / "Image-01-FPS-SE").glob("*/00001.jpg"))
    sounds[0].unlink()
    sounds[1].write_bytes(b"RIFF")
    frames[2].write_bytes(b"no image")
    done = mmablate("data", "check", "ave", "set")
    assert done.code == 2
    assert "Traceback" not in done.err
    told = " ".join(done.err.split())
    assert f"expected the sound of {sounds[0].stem} in Audios, found none (the option `missing` can `drop`" in told
    assert f"{sounds[1].relative_to(tmp_path)}: expected a wav file" in told
    assert f"{frames[2].relative_to(tmp_path)}: expected a readable image" in told


def test_options_are_checked(mmablate, tmp_path):
    done = mmablate("data", "make", "cremad", "set", "parts=[[2,2,1]]")
    assert done.code == 2
    assert "parts make 4 classes, expected the 6 emotions of CREMA-D" in done.err
    done = mmablate("data", "make", "ave", "set", "parts=[[1,1,1]]")
    assert "parts make 1 classes, expected 2 to 400" in done.err
    (tmp_path / "set").mkdir()
    done = mmablate("data", "check", "kinetics_sounds", "set")
    assert done.code == 2
    assert "expected the folder kinect_sound, or visual or audio, found none of them" in " ".join(done.err.split())
