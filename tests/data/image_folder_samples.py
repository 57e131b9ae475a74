"""Small folders of images in layouts that `image_folder` reads; other tests use them too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

DELIVER_CONDITIONS = ("cloud", "fog", "night", "rain", "sun")


RGB, DEPTH, LABEL = "rgb/{split}/{id}.png", "depth/{split}/{id}.png", "labels/{split}/{id}.png"
OPTIONS = {
    "modalities": {"R": {"files": RGB, "channels": None}, "D": {"files": DEPTH, "channels": None}},
    "labels": {"files": LABEL},
    "class_names": ("sky", "road", "car"),
}


def save(path: Path, values: np.ndarray) -> Path:
    """Writes an array as the image or .npy file that the ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        Image.fromarray(values).save(path)
    return path


def deliver_folder(root: Path, *, size: int = 32, maps: int = 1) -> Path:
    """A folder in DELIVER's layout: HHA, lower event resolution, class 1..25 in the first of four label channels.

    Every split has all five conditions, with `maps` maps of one frame each; labels follow the RGB image, so that
    there is something to learn.
    """
    stream = np.random.default_rng(0)
    for split, number in (("train", maps), ("val", maps), ("test", maps)):
        for condition in DELIVER_CONDITIONS:
            for place in range(number):
                where = f"{condition}/{split}/MAP_{place + 1}_point{place + 100}"
                numbers = stream.integers(1, 26, size=(4, 4)).repeat(size // 4, 0).repeat(size // 4, 1)
                label = np.zeros((size, size, 4), dtype=np.uint8)
                label[..., 0], label[..., 3] = numbers, 255
                label[0, 0, 0], label[0, 1, 0] = 0, 255
                gray = (numbers * 9 + stream.integers(0, 8, numbers.shape)).astype(np.uint8)
                save(root / f"img/{where}/045050_rgb_front.png", np.dstack([gray, 255 - gray, gray // 2]))
                save(root / f"hha/{where}/045050_depth_front.png", np.dstack([gray // 2, gray, gray]))
                save(root / f"event/{where}/045050_event_front.png", np.dstack([gray, gray, gray])[::2, ::2].copy())
                save(root / f"lidar/{where}/045050_lidar_front.png", gray)
                save(root / f"semantic/{where}/045050_semantic_front.png", label)
    return root


def plain_folder(root, *, splits=("train", "val"), names=("1", "2", "10"), size=(4, 6)):
    """RGB, 16-bit depth and class numbers, drawn at random; returns what was written."""
    stream = np.random.default_rng(1)
    written = {}
    for split in splits:
        for name in names:
            images = {
                "rgb": stream.integers(0, 256, (*size, 3)).astype(np.uint8),
                "depth": stream.integers(0, 65536, size).astype(np.uint16),
                "labels": stream.choice([0, 1, 2, 255], size).astype(np.uint8),
            }
            for folder, values in images.items():
                save(root / folder / split / f"{name}.png", values)
            written[split, name] = images
    return written


def flat_folder(root, names, size=(2, 2)):
    """The same without a folder a split: a/NAME.png and labels/NAME.png, the number of the sample in its pixels."""
    for number, name in enumerate(names):
        save(root / "a" / f"{name}.png", np.full(size, number, np.uint8))
        save(root / "labels" / f"{name}.png", np.full(size, number % 2, np.uint8))
    return {
        "modalities": {"A": {"files": "a/{id}.png", "channels": None}},
        "labels": {"files": "labels/{id}.png"},
        "class_names": ["x", "y"],
    }


def ids(data, split):
    return [data.splits[split].describe(i).id for i in range(len(data.splits[split]))]
