"""What tests of several rooms share: real data where it is at hand, small folders, and the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

# A shell that starts the tests in the background leaves SIGINT ignored, and so would every command started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers with two threads each would stand in each other's way


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def mmablate(tmp_path):
    """Runs `mmablate ARGS` as a user would, in an empty folder, in a process of its own."""

    def run(*arguments: object, cwd: Path = tmp_path, **environment: str) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "mmablate", *map(str, arguments)],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": "80", "PYTHONWARNINGS": "error", **environment},
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def sweeps_folder(tmp_path):
    """A folder of small range images in the layout of `lidar_losses`: 6 channels, labels 0-9 and 10 for none."""
    root = tmp_path / "sweeps"
    stream = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1)):
        (root / split).mkdir(parents=True)
        for index in range(count):
            sweep = stream.normal(size=(16, 256, 6))
            sweep[..., 5] = stream.integers(0, 11, size=(16, 256))
            sweep[..., 4] = np.where(sweep[..., 5] == 10, 0, np.abs(sweep[..., 4]) + 1)
            np.save(root / split / f"{index}.npy", sweep)
    return root


SMALL_MUSES = {"train": 8, "val": 4, "test": 1, "seed": 5}


@pytest.fixture(scope="session")
def mini_muses(tmp_path_factory):
    """The smallest synthetic MUSES tree, made once a test process."""
    from mmablate.data.muses.mini import make_muses

    root = tmp_path_factory.mktemp("muses") / "set"
    make_muses(root, **SMALL_MUSES)
    return root


@pytest.fixture(scope="session")
def mini_brats(tmp_path_factory):
    """The smallest synthetic BraTS set that has two complete training subjects, made once a test process."""
    from mmablate.data.brats.mini import make_brats

    root = tmp_path_factory.mktemp("brats") / "set"
    make_brats(root, train=16, val=2, test=2, size=24, raw=False)
    return root


@pytest.fixture(scope="session")
def mini_clips(tmp_path_factory):
    """The smallest synthetic sets of clips, made once a test process: name of the dataset -> root."""
    from mmablate.data.mini_clips import make_ravdess, make_vggsound

    roots = {name: tmp_path_factory.mktemp(name) / "set" for name in ("ravdess", "vggsound")}
    make_ravdess(roots["ravdess"], actors=6, clips=1, size=(32, 64), audio_size=(40, 64))
    make_vggsound(roots["vggsound"], classes=3, train=40, test=8, frames=8, size=(24, 24), seconds=0.3)
    return roots


@pytest.fixture(scope="session")
def mini_pairs(tmp_path_factory):
    """The smallest synthetic sets of two modalities a sample, made once a test process: name of the dataset -> root."""
    from mmablate.data.mini_clips.audiovisual.making import make_cremad, make_kinetics_sounds, make_vggsound_av
    from mmablate.data.rgb_lidar.mini import make_rgb_lidar

    folder = tmp_path_factory.mktemp("pairs")
    few = {"train": 48, "test": 24, "seconds": 0.2, "size": (16, 16)}
    make_cremad(folder / "cremad", **few)
    make_kinetics_sounds(folder / "kinetics_sounds", **few)
    make_vggsound_av(folder / "vggsound_av", **few)
    make_rgb_lidar(folder / "rgb_lidar", samples=48, size=16)
    return {path.name: path for path in folder.iterdir()}
