"""PNG files of 8 and 16 bits a channel; Pillow keeps only the high byte of 16-bit colour.

Written after the PNG specification (ISO/IEC 15948, third edition of the W3C): signature, chunks with
CRC-32, one zlib stream, five row filters. Interlaced images, palettes and depths below 8 are not read.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""PNG colour type -> channels: grey, RGB, grey with alpha, RGB with alpha."""
PALETTE = 3
MAX_PIXELS = 1 << 26
MAX_EDGE = 1 << 15
"""Of an image: a row or a column that is longer takes hours to unfilter, as each pixel waits for the one before."""
BLOCK = 64
"""Rows that are unfiltered together at least, see `_wavefront`."""


class PngHeader(NamedTuple):
    """What the IHDR chunk says."""

    height: int
    width: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def kind(self) -> str:
        """In words, e.g. "16-bit RGB"."""
        names = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
        return f"{self.depth}-bit {names.get(self.colour, f'colour type {self.colour}')}"


def png_header(data: bytes) -> PngHeader:
    """The header of a PNG from its first 33 bytes.

    Raises:
        ValueError: not a PNG, or a header that is cut off or makes no sense.
    """
    if len(data) < 33 or data[:8] != SIGNATURE or data[8:16] != b"\x00\x00\x00\rIHDR":
        raise ValueError("no PNG header")
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
    sound = 0 < width * height <= MAX_PIXELS and max(width, height) <= MAX_EDGE
    if not sound or depth not in (1, 2, 4, 8, 16):
        raise ValueError(f"a PNG header of {width} x {height} pixels of {depth} bits")
    return PngHeader(height, width, depth, colour, interlace != 0)


def read_png_header(path: Path) -> PngHeader:
    """The header of a PNG file; see `png_header`. OSError where the file cannot be read."""
    with path.open("rb") as file:
        return png_header(file.read(33))


def decode_png(data: bytes) -> np.ndarray:
    """The pixels of a PNG.

    Args:
        data: a whole file, 8 or 16 bits a channel, not interlaced, no palette.

    Returns:
        uint8 or uint16 (H, W, C), channels in the order of the file.

    Raises:
        ValueError: another kind of PNG, or a damaged one.
    """
    header = png_header(data)
    if header.depth not in (8, 16) or header.colour not in CHANNELS or header.interlaced:
        raise ValueError(f"a PNG of {header.kind}{', interlaced' if header.interlaced else ''}")
    step = CHANNELS[header.colour] * header.depth // 8
    row = 1 + header.width * step
    try:
        raw = zlib.decompressobj().decompress(_compressed(data), header.height * row)
    except zlib.error as error:
        raise ValueError(f"damaged PNG data ({error})") from error
    if len(raw) != header.height * row:
        raise ValueError(f"{len(raw)} bytes of pixels, {header.height * row} expected")
    lines = np.frombuffer(raw, dtype=np.uint8).reshape(header.height, row)
    pixels = _unfilter(lines[:, 0], lines[:, 1:].reshape(header.height, header.width, step))
    shape = (header.height, header.width, CHANNELS[header.colour])
    if header.depth == 8:
        return pixels.reshape(shape)
    return np.ascontiguousarray(pixels).view(">u2").astype(np.uint16).reshape(shape)


def _compressed(data: bytes) -> bytes:
    """The IDAT chunks, joined, each after a check of its CRC."""
    at, parts = 8, []
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        if len(check) < 4 or zlib.crc32(body, zlib.crc32(kind)) != struct.unpack(">I", check)[0]:
            raise ValueError(f"a damaged or truncated {kind.decode('latin-1')!r} chunk")
        if kind == b"IDAT":
            parts.append(body)
        if kind == b"IEND":
            return b"".join(parts)
        at += 12 + length
    raise ValueError("a truncated PNG (no end)")


def _unfilter(filters: NDArray[np.uint8], lines: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undoes the row filters; `lines` is (H, W, bytes a pixel), filters (H,)."""
    if filters.max() > 4:
        raise ValueError(f"a PNG row filter {filters.max()}")
    height = len(lines)
    out = np.empty_like(lines)
    wave = filters >= 3
    edges = [0, *(np.flatnonzero(wave[1:] != wave[:-1]) + 1), height]
    if len(edges) > 4:  # each part by diagonals takes as many steps as a row has pixels: one part is quicker
        wave[:], edges = True, [0, height]
    for start, stop in pairwise(edges):
        most = max(lines.shape[1], BLOCK) if wave[start] else height
        for first in range(start, stop, most):
            rows = slice(first, min(first + most, stop))
            above = out[first - 1] if first else np.zeros_like(lines[0])
            part = _wavefront if wave[start] else _row_by_row
            out[rows] = part(filters[rows], lines[rows], above)
    return out


def _row_by_row(filters: NDArray[np.uint8], lines: NDArray[np.uint8], above: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Filters None, Sub and Up: sums along rows or from row to row, modulo 256."""
    out = lines.copy()
    sub = filters == 1
    out[sub] = np.cumsum(lines[sub], axis=1, dtype=np.uint8)
    for row in np.flatnonzero(filters == 2):
        out[row] += out[row - 1] if row else above
    return out


def _wavefront(filters: NDArray[np.uint8], lines: NDArray[np.uint8], above: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Any filters: Average and Paeth need left, upper and upper left pixel, so a diagonal is done at a time.

    With the rows skewed by one pixel each, pixel (r, c) stands in diagonal s = r + c; its left and upper
    neighbours in diagonal s - 1 (rows r and r - 1), its upper left one in diagonal s - 2 (row r - 1).
    Takes n (W + n) pixels of memory, so n should not be much more than W.
    """
    n, width, step = lines.shape
    padded = np.zeros((n, width + n, step), dtype=np.uint8)
    padded[:, :width] = lines
    diagonals = width + n - 1
    skewed = padded.reshape(-1, step)[: n * diagonals].reshape(n, diagonals, step)
    skewed = np.ascontiguousarray(skewed.transpose(1, 0, 2))
    # Slot 0 of a diagonal is the row above the block: at diagonal s its column s + 1.
    upper = np.zeros((diagonals + 1, step), dtype=np.int16)
    upper[:width] = above
    last, before = np.zeros((n + 1, step), dtype=np.int16), np.zeros((n + 1, step), dtype=np.int16)
    last[0] = upper[0]
    kinds = [(filters == k)[:, None] for k in range(5)]
    for s in range(diagonals):
        now = np.zeros((n + 1, step), dtype=np.int16)
        now[0] = upper[s + 1]
        rows = min(n, s + 1)  # rows below have not begun: their left neighbour is 0
        left, up, corner = last[1 : rows + 1], last[:rows], before[:rows]
        guess = np.where(kinds[4][:rows], _paeth(left, up, corner), (left + up) >> 1)
        for kind, value in ((0, np.int16(0)), (1, left), (2, up)):
            if kinds[kind].any():
                guess = np.where(kinds[kind][:rows], value, guess)
        now[1 : rows + 1] = (skewed[s, :rows] + guess) & 255
        skewed[s, :rows] = now[1 : rows + 1]
        before, last = last, now
    padded.reshape(-1, step)[: n * diagonals] = skewed.transpose(1, 0, 2).reshape(-1, step)
    return padded[:, :width]


def _paeth(left: NDArray[np.int16], up: NDArray[np.int16], corner: NDArray[np.int16]) -> NDArray[np.int16]:
    """Whichever neighbour is nearest to left + up - corner; ties go left, then up."""
    to_left, to_up = np.abs(up - corner), np.abs(left - corner)
    to_corner = np.abs(left + up - 2 * corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
