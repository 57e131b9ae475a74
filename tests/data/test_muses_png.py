"""The PNG decoder against Pillow (8 bits) and against an encoder of a few lines (16 bits)."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from muses_samples import png_bytes
from PIL import Image

from mmablate.data.muses import png
from mmablate.data.muses.png import decode_png, png_header


@st.composite
def images(draw: st.DrawFn, dtype: type, channels: st.SearchStrategy[int]) -> tuple[np.ndarray, list[int]]:
    """Pixels, smooth or wild, and a filter for each row."""
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(channels)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = np.iinfo(dtype).max if draw(st.booleans()) else 4
    filters = [draw(st.integers(0, 4)) for _ in range(shape[0])]
    return rng.integers(0, top, shape, endpoint=True).astype(dtype), filters


@given(images(np.uint16, st.sampled_from([1, 2, 3, 4])))
@settings(max_examples=150, deadline=None)
def test_sixteen_bits_come_back_whole(image: tuple[np.ndarray, list[int]]) -> None:
    pixels, filters = image
    decoded = decode_png(png_bytes(pixels, filters))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, pixels)


@given(images(np.uint8, st.sampled_from([1, 3, 4])))
@settings(max_examples=100, deadline=None)
def test_eight_bits_as_pillow_reads_them(image: tuple[np.ndarray, list[int]]) -> None:
    data = png_bytes(*image)
    with Image.open(io.BytesIO(data)) as opened:
        by_pillow = np.array(opened).reshape(image[0].shape)
    np.testing.assert_array_equal(decode_png(data), by_pillow)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_what_pillow_writes(height: int, width: int, seed: int) -> None:
    """Pillow picks filters by itself, row by row."""
    steps = np.random.default_rng(seed).integers(-3, 4, (height, width, 3))
    pixels = (128 + np.cumsum(np.cumsum(steps, 0), 1)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    np.testing.assert_array_equal(decode_png(stream.getvalue()), pixels)


def test_pillow_would_lose_the_low_byte() -> None:
    """Why there is a decoder at all: the background 15000 of a projected LiDAR file reads as 58."""
    data = png_bytes(np.full((2, 3, 3), 15_000, dtype=np.uint16))
    with Image.open(io.BytesIO(data)) as opened:
        assert np.unique(np.array(opened)).tolist() == [58]
    assert np.unique(decode_png(data)).tolist() == [15_000]


@given(st.integers(1, 5), st.integers(60, 300), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=25, deadline=None)
def test_tall_images_come_back_whole(width: int, height: int, seed: int, mixed: bool) -> None:
    """They are unfiltered in blocks of rows, each after the last row of the one before."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 65_536, (height, width, 3)).astype(np.uint16)
    filters = rng.integers(0 if mixed else 3, 5, height)
    np.testing.assert_array_equal(decode_png(png_bytes(pixels, filters.tolist())), pixels)


def narrow(height: int) -> bytes:
    """A 16-bit RGB image of one column, all 0, every row with the Paeth filter."""
    raw = np.zeros((height, 7), dtype=np.uint8)
    raw[:, 0] = 4
    header = struct.pack(">IIBBBBB", 1, height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw.tobytes())), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def test_a_narrow_image_takes_no_more_memory_than_its_pixels_need() -> None:
    """A few hundred bytes that once asked for height x height pixels."""
    data = narrow(4000)
    tracemalloc.start()
    try:
        assert not decode_png(data).any()
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_an_edge_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="1 x 32769 pixels"):
        decode_png(narrow(32_769))


def test_filters_that_alternate_cost_no_more_than_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """By parts, every second row would take as many steps as it has pixels."""
    calls = []
    real = png._wavefront

    def counted(filters: np.ndarray, lines: np.ndarray, above: np.ndarray) -> np.ndarray:
        calls.append(len(lines))
        return real(filters, lines, above)

    monkeypatch.setattr(png, "_wavefront", counted)
    pixels = np.random.default_rng(0).integers(0, 65_536, (90, 100, 3)).astype(np.uint16)
    np.testing.assert_array_equal(decode_png(png_bytes(pixels, [2, 3] * 45)), pixels)
    assert calls == [90]


SOUND = png_bytes(np.arange(24, dtype=np.uint16).reshape(2, 4, 3))


def test_every_cut_is_noticed() -> None:
    for length in range(len(SOUND) - 1):
        with pytest.raises(ValueError):
            decode_png(SOUND[:length])


def test_every_flipped_byte_of_header_and_pixels_is_noticed() -> None:
    end = SOUND.index(b"IEND") - 4
    for at in range(end):
        broken = SOUND[:at] + bytes([SOUND[at] ^ 0x55]) + SOUND[at + 1 :]
        with pytest.raises(ValueError):
            decode_png(broken)


def with_header(**changes: int) -> bytes:
    """The sound file with another, properly checked header."""
    fields = {"width": 4, "height": 2, "depth": 16, "colour": 2, "compression": 0, "filter": 0, "interlace": 0}
    body = struct.pack(">IIBBBBB", *{**fields, **changes}.values())
    return SOUND[:16] + body + struct.pack(">I", zlib.crc32(b"IHDR" + body)) + SOUND[33:]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interlace": 1}, "interlaced"),
        ({"colour": 3, "depth": 8}, "palette"),
        ({"colour": 0, "depth": 4}, "4-bit"),
        ({"width": 100_000, "height": 100_000}, "pixels"),
        ({"width": 0}, "0 x 2"),
        ({"height": 3}, "expected"),
    ],
)
def test_other_kinds_are_refused(changes: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode_png(with_header(**changes))


def test_header() -> None:
    header = png_header(SOUND[:33])
    assert (header.height, header.width, header.kind, header.interlaced) == (2, 4, "16-bit RGB", False)
