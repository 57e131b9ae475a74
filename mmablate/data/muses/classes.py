"""The 19 classes of MUSES: those that Cityscapes trains on, with Cityscapes' colours."""

from __future__ import annotations

CLASSES: dict[str, tuple[int, tuple[int, int, int]]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""Name -> (Cityscapes label id, RGB), in the order of the train ids 0-18."""

CLASS_NAMES = tuple(CLASSES)
COLOURS = tuple(colour for _, colour in CLASSES.values())
LABEL_IDS = tuple(label_id for label_id, _ in CLASSES.values())
N_CLASSES = len(CLASSES)
VOID = 255
WEATHERS = ("clear", "fog", "rain", "snow")
TIMES = ("day", "night")
SPLITS = ("train", "val", "test")
IMAGE_SIZE = (1080, 1920)
"""Height and width that the intrinsics of calib.json are given for, whatever the size of the images."""

MODALITIES = {"F": "frame_camera", "E": "event_camera", "L": "lidar"}
"""Column letter -> the dataset's own name of the sensor."""
