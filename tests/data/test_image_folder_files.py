"""image_folder: files as arrays, patterns, and what label values mean."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_folder_samples import save
from PIL import Image

from mmablate.data.image_folder.images import UnreadableImage, read_header, read_pixels, resize_image, resize_labels
from mmablate.data.image_folder.labels import LabelRule
from mmablate.data.image_folder.patterns import fill, find, pattern_problems, placeholders


def png(path, bits, colour_type, rows, palette=None):
    """A PNG written by hand, for kinds that Pillow does not write; rows are the packed bytes of each line."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    width = len(rows[0]) * 8 // (bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type])
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    body = chunk(b"PLTE", palette) if palette else b""
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


RNG = np.random.default_rng(3)
LOSSLESS = {
    "gray8.png": RNG.integers(0, 256, (3, 5)).astype(np.uint8),
    "gray16.png": RNG.integers(0, 65536, (3, 5)).astype(np.uint16),
    "rgb.png": RNG.integers(0, 256, (3, 5, 3)).astype(np.uint8),
    "rgba.png": RNG.integers(0, 256, (3, 5, 4)).astype(np.uint8),
    "gray8.tif": RNG.integers(0, 256, (3, 5)).astype(np.uint8),
    "gray16.tiff": RNG.integers(0, 65536, (3, 5)).astype(np.uint16),
    "float.tif": RNG.normal(size=(3, 5)).astype(np.float32),
    "int32.tif": RNG.integers(-(2**31), 2**31, (3, 5)).astype(np.int32),
    "rgb.tif": RNG.integers(0, 256, (3, 5, 3)).astype(np.uint8),
    "rgb.bmp": RNG.integers(0, 256, (3, 5, 3)).astype(np.uint8),
    "stack.npy": RNG.normal(size=(3, 5, 7)),
    "plane.npy": RNG.integers(0, 2**40, (3, 5)),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_values_come_back_with_every_bit(tmp_path, name):
    values = LOSSLESS[name]
    path = save(tmp_path / name, values)
    got = read_pixels(path)
    np.testing.assert_array_equal(got, values.reshape(3, 5, -1))
    assert got.dtype == values.dtype
    header = read_header(path)
    assert (header.height, header.width, header.bands) == got.shape
    assert header.kind == {"uint8": "8-bit", "uint16": "16-bit"}.get(values.dtype.name, "other")
    assert header.alpha == (name == "rgba.png")
    assert not header.lossy


def test_big_endian_tiff_of_16_bits(tmp_path):
    values = np.array([[1, 256], [65535, 4000]], dtype=np.uint16)
    tags = [
        (256, 3, 2), (257, 3, 2), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 122), (277, 3, 1), (278, 3, 2),
        (279, 4, 8),
    ]  # fmt: skip
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    body = b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + b"\0\0\0\0"
    (tmp_path / "a.tif").write_bytes(body + values.astype(">u2").tobytes())
    got = read_pixels(tmp_path / "a.tif")
    np.testing.assert_array_equal(got[..., 0], values)
    assert got.dtype == np.dtype(np.uint16)


def test_palette_is_numbers_for_labels_and_colours_for_inputs(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2, 1])
    image.save(tmp_path / "a.png")
    assert read_pixels(tmp_path / "a.png", "ids")[..., 0].tolist() == [[0, 1], [2, 1]]
    colours = [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]]
    assert read_pixels(tmp_path / "a.png", "input").tolist() == colours
    assert read_pixels(tmp_path / "a.png", "colours").tolist() == colours
    assert read_header(tmp_path / "a.png", "ids").bands == 1
    assert read_header(tmp_path / "a.png", "input").bands == 3


@pytest.mark.parametrize(
    ("bits", "row", "numbers"),
    [(1, [0b10110000], [1, 0, 1, 1, 0, 0, 0, 0]), (2, [0b00011011], [0, 1, 2, 3]), (4, [0x0F, 0x72], [0, 15, 7, 2])],
)
def test_small_gray_numbers_are_not_stretched(tmp_path, bits, row, numbers):
    path = png(tmp_path / "a.png", bits, 0, [row])
    assert read_pixels(path, "ids")[0, :, 0].tolist() == numbers
    assert read_pixels(path, "input").max() == 255
    palette = png(tmp_path / "p.png", bits, 3, [row], bytes(range(48)))
    assert read_pixels(palette, "ids")[0, :, 0].tolist() == numbers


@pytest.mark.parametrize("colour_type", [2, 4, 6])
def test_png_of_several_16_bit_channels_is_refused_not_halved(tmp_path, colour_type):
    channels = {2: 3, 4: 2, 6: 4}[colour_type]
    path = png(tmp_path / "a.png", 16, colour_type, [[1, 2] * channels * 2])
    for read in (read_header, read_pixels):
        with pytest.raises(UnreadableImage, match="8 bits a channel where there are several, found 16"):
            read(path)


def tiff(path, bits, samples, extra=(), photometric=2):
    """One row of two pixels, chunky and uncompressed, little-endian, 8 or 16 bits a sample."""
    tags = {256: (3, [2]), 257: (3, [1]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric]),
            273: (4, [0]), 277: (3, [samples]), 278: (3, [1]), 279: (4, [2 * samples * bits // 8])}  # fmt: skip
    if extra:
        tags[338] = (3, list(extra))
    start = 8 + 2 + 12 * len(tags) + 4
    values, blob = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            place, blob = struct.pack("<I", start + len(blob)), blob + packed
        else:
            place = packed.ljust(4, b"\0")
        values += struct.pack("<HHI", tag, kind, len(numbers)) + place
    where = start + len(blob)
    strip = 8 + 2 + 12 * sorted(tags).index(273) + 8
    body = b"II*\0" + struct.pack("<IH", 8, len(tags)) + values + b"\0\0\0\0" + blob
    body = body[:strip] + struct.pack("<I", where) + body[strip + 4 :]
    path.write_bytes(body + bytes(range(2 * samples * bits // 8)))
    return path


@pytest.mark.parametrize(
    ("bits", "samples", "extra", "found"),
    [(16, 3, (), "found 16"), (8, 4, (0,), "found 4"), (8, 5, (0, 0), "found 5"), (16, 4, (2,), "found 16")],
)
def test_tiff_that_would_lose_bits_or_channels_is_refused(tmp_path, bits, samples, extra, found):
    path = tiff(tmp_path / "a.tif", bits, samples, extra)
    with pytest.raises(UnreadableImage, match=f"{found}; save it as .npy"):
        read_header(path)


def test_tiff_of_four_channels_with_alpha_reads(tmp_path):
    header = read_header(tiff(tmp_path / "a.tif", 8, 4, (2,)))
    assert (header.bands, header.alpha, header.usual) == (4, True, 3)


def test_tiff_of_inverted_gray_is_no_label(tmp_path):
    path = tiff(tmp_path / "a.tif", 8, 1, photometric=0)
    with pytest.raises(UnreadableImage, match="white is zero"):
        read_header(path, "ids")
    assert read_header(path).bands == 1


def test_tiff_of_pages_is_refused(tmp_path):
    page = Image.new("L", (2, 2))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    with pytest.raises(UnreadableImage, match="one page, found 2"):
        read_header(tmp_path / "a.tif")


def test_orientation_tags_are_not_applied(tmp_path):
    image = Image.fromarray(np.zeros((2, 6, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_pixels(tmp_path / "a.jpg").shape == (2, 6, 3)
    assert read_header(tmp_path / "a.jpg").lossy


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", b"\xff\xd8\xff\xe0", b"\x93NUMPY\x01\x00"],
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".npy"])
def test_damaged_files_are_told(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    for read in (read_header, read_pixels):
        with pytest.raises(UnreadableImage, match=r"expected a readable image, found: ."):
            read(path)


@pytest.mark.parametrize("name", ["gray16.png", "rgb.tif", "stack.npy"])
def test_truncated_files_are_told(tmp_path, name):
    path = save(tmp_path / name, np.repeat(np.repeat(LOSSLESS[name], 20, 0), 20, 1))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(UnreadableImage):
        read_pixels(path)


def test_pickled_arrays_are_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableImage):
        read_header(tmp_path / "a.npy")


@pytest.mark.parametrize(("shape", "dtype"), [((4,), float), ((2, 2, 2, 2), float), ((2, 2), complex)])
def test_arrays_that_are_no_images_are_told(tmp_path, shape, dtype):
    np.save(tmp_path / "a.npy", np.zeros(shape, dtype))
    with pytest.raises(UnreadableImage, match="expected"):
        read_header(tmp_path / "a.npy")


def test_resizing_keeps_constants_and_types_and_means():
    flat = np.full((6, 8, 2), 77, dtype=np.uint8)
    np.testing.assert_array_equal(resize_image(flat, (3, 5)), np.full((3, 5, 2), 77, np.uint8))
    values = RNG.normal(size=(8, 8, 5))
    halved = resize_image(values, (4, 4))
    assert halved.dtype == np.float32
    assert halved.shape == (4, 4, 5)
    np.testing.assert_allclose(halved.mean(), values.mean(), atol=0.1)
    for channel in range(5):  # channels do not mix
        alone = resize_image(values[..., channel : channel + 1], (4, 4))
        np.testing.assert_array_equal(alone[..., 0], halved[..., channel])
    assert resize_image(flat, (3, 5)).dtype == np.uint8
    ramp = np.array([[0.0, 100.0]])[..., None]  # pixel centres at 1/4 and 3/4; between them a straight line
    np.testing.assert_allclose(resize_image(ramp, (1, 4))[0, :, 0], [0, 25, 75, 100], atol=1e-4)
    wide = np.array([[0, 65535]], dtype=np.uint16)[..., None]
    assert resize_image(wide, (1, 4)).max() == 65535  # no 8-bit detour


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_labels_are_resized_to_the_nearest_pixel(h, w, height, width):
    labels = np.arange(h * w).reshape(h, w)
    got = resize_labels(labels, (height, width))
    for row in range(height):
        for column in range(width):
            # the source pixel whose square holds the centre of the target pixel
            assert got[row, column] == labels[(2 * row + 1) * h // (2 * height), (2 * column + 1) * w // (2 * width)]


NUMBERS = st.integers(-3, 12)


@given(
    values=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    k=st.integers(2, 6),
    offset=st.integers(-2, 2),
    renamed=st.dictionaries(NUMBERS, st.integers(0, 1), max_size=4),
    void=st.sets(st.integers(0, 12), max_size=3),
    dtype=st.sampled_from(["uint8", "uint16", "int64", "float32"]),
)
def test_numbers_mean_what_a_plain_loop_says(values, k, offset, renamed, void, dtype):
    rule = LabelRule(k, 255, 0, offset, renamed, None, tuple(void))
    got = rule.read(np.array(values, dtype=dtype).reshape(1, -1, 1))
    expected, unknown = [], {}
    for value in values:
        if value in void:
            expected.append(255)
            continue
        label = renamed.get(value + offset, value + offset)
        if not 0 <= label < k:
            unknown[str(value)] = unknown.get(str(value), 0) + 1
            label = 255
        expected.append(label)
    assert got.labels[0].tolist() == expected
    assert got.labels.dtype == np.int64
    assert got.unknown == unknown
    assert (
        LabelRule(k, 255, 0, offset, renamed, None, tuple(void), "void").read(
            np.array(values, dtype=dtype).reshape(1, -1, 1)
        )[1]
        == {}
    )


@given(
    st.lists(st.tuples(*[st.sampled_from([0, 1, 255])] * 3), min_size=1, max_size=30),
    st.lists(st.tuples(*[st.sampled_from([0, 1, 255])] * 3), min_size=3, max_size=6, unique=True),
)
def test_colours_mean_what_a_plain_loop_says(pixels, known):
    *classes, void = known
    rule = LabelRule(len(classes), 255, colours=classes, void=(void,))
    got = rule.read(np.array([pixels], dtype=np.uint8))
    expected, unknown = [], {}
    for pixel in pixels:
        if pixel in classes:
            expected.append(classes.index(pixel))
        else:
            expected.append(255)
            if pixel != void:
                unknown[str(pixel)] = unknown.get(str(pixel), 0) + 1
    assert got.labels[0].tolist() == expected
    assert got.unknown == unknown


def test_numbers_that_are_no_whole_numbers_are_unknown():
    values = np.array([[[0.5], [np.nan], [np.inf], [1.0], [1e30]]])
    got = LabelRule(2, 255).read(values)
    assert got.labels.tolist() == [[255, 255, 255, 1, 255]]
    assert got.unknown == {"0.5": 1, "inf": 1, "nan": 1, "1e+30": 1}


@pytest.mark.parametrize(
    "text",
    ["", "/etc/{id}.png", "../{id}.png", "a/../../{id}.png", "a//{id}.png", "./{id}.png", "C:/{id}.png", "~/{id}.png",
     "a\\{id}.png", "a/{}.png", "a/{id.png", "a/{1d}.png", "a/{id}}.png", "a/{id}.png/", "a\0/{id}.png"],
)  # fmt: skip
def test_patterns_stay_below_the_root_and_are_well_formed(text):
    problems = pattern_problems("R: files", text)
    assert problems
    assert all(problem.startswith("R: files: expected") for problem in problems)


def test_patterns_match_within_one_component(tmp_path):
    for name in (
        "a/x/1_rgb.png",
        "a/x/2_rgb.png",
        "a/x/.3_rgb.png",
        "a/x/deep/4_rgb.png",
        "a/5_rgb.png",
        "a/x/1_d.png",
    ):
        save(tmp_path / name, np.zeros((2, 2), np.uint8))
    (tmp_path / "a/x/folder_rgb.png").mkdir()
    text = "a/{scene}/{id}_rgb.png"
    assert pattern_problems("R", text) == []
    assert placeholders(text) == ("scene", "id")
    found = [(m.path.relative_to(tmp_path).as_posix(), dict(m.values)) for m in find(tmp_path, text)]
    assert found == [
        ("a/x/1_rgb.png", {"scene": "x", "id": "1"}),
        ("a/x/2_rgb.png", {"scene": "x", "id": "2"}),
    ]
    assert [m.values["id"] for m in find(tmp_path, "*/x/{id}_*.png")] == ["1", "1", "2"]
    assert fill(text, {"id": "7"}) == "a/{scene}/7_rgb.png"


def test_a_placeholder_that_stands_twice_matches_the_same(tmp_path):
    for name in ("s1/s1_1_1.png", "s1/s2_1_1.png", "s1/s1_1_2.png"):
        save(tmp_path / name, np.zeros((2, 2), np.uint8))
    found = list(find(tmp_path, "{scene}/{scene}_{id}_{id}.png"))
    assert [dict(m.values) for m in found] == [{"scene": "s1", "id": "1"}]


def test_splits_are_matched_by_their_names(tmp_path):
    for name in ("train_a_1.png", "training_2.png", "val_a_3.png", "extra_4.png"):
        save(tmp_path / name, np.zeros((2, 2), np.uint8))
    found = [tuple(m.values.values()) for m in find(tmp_path, "{split}_{id}.png", ("train", "val"))]
    assert found == [("train", "a_1"), ("val", "a_3")]


def test_special_characters_of_expressions_are_plain_text(tmp_path):
    save(tmp_path / "a+(b)[c].png", np.zeros((2, 2), np.uint8))
    save(tmp_path / "aa(b)[c].png", np.zeros((2, 2), np.uint8))
    assert [m.values["id"] for m in find(tmp_path, "{id}+(b)[c].png")] == ["a"]
