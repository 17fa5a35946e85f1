"""Tiles that are pictures in themselves.

JPEG, JPEG 2000, JPEG XL, JPEG XR, PNG, WebP.

Why: such a picture says its size by itself, and its decoder believes it, whatever the size of the tile is.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from math import prod
from typing import TYPE_CHECKING, Any

import tifffile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {
    0xC4,
    0xC8,
    0xCC,
}  # markers of JPEG, and JPEG-LS, that are followed by a size
_MORE = 1 << 16  # pixels that encoders fill a tile up with


def bound_pictures(series: tifffile.TiffPageSeries) -> None:
    """Let the pages refuse pictures that are larger than a tile.

    Where tiles are pictures; others are decoded into memory of the size of a tile.
    """
    if series.keyframe.compression not in tifffile.TIFF.IMAGE_COMPRESSIONS:
        return
    pages = [each.keyframe for each in series.pages if each is not None]
    for page in {id(page): page for page in pages if page is not None}.values():
        most = 2 * prod(int(n) for n in tuple(page.chunks)) + _MORE
        page.decode = _bounded(page.decode, most)


def _bounded(decode: Callable[..., Any], most: int) -> Callable[..., Any]:
    """Return a decoder that looks at the size first."""

    def decoded(data: bytes | None, index: int, /, **options: Any) -> tuple[NDArray[Any], Any, Any]:
        head = options.get("jpegheader") or b""
        if data is not None and (size := picture_size(head + data)) is not None and prod(size) > most:
            raise ValueError(f"a tile holds a picture of {size[0]} × {size[1]} pixels, larger than the tile")
        result: tuple[NDArray[Any], Any, Any] = decode(data, index, **options)
        return result

    return decoded


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Read height and width of a picture from its header.

    None where they are not found.

    Examples
    --------
    >>> picture_size(bytes.fromhex("ffd8ffc0000b080010002001011100"))
    (16, 32)
    """
    with suppress(struct.error, IndexError, ValueError):
        for start, read in _KINDS:
            if data.startswith(start):
                return read(data)
    return None


def holds_jpegs(page: tifffile.TiffPage) -> bool:
    """Return whether the first strip is a JPEG file of its own."""
    file = page.parent.filehandle
    file.seek(page.dataoffsets[0] if page.dataoffsets else 0)
    return bytes(file.read(2)) == b"\xff\xd8"


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at < len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:
            at += 1
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        elif marker in (0x01, *range(0xD0, 0xDA)):
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _jpeg2000(data: bytes) -> tuple[int, int]:
    width, height, left, top = struct.unpack_from(">4I", data, data.index(b"\xff\x4f\xff\x51") + 8)
    return height - top, width - left


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        height, width = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (27, 24))
        return height, width
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", data, 26))
    return height, width


def _jpegxr(data: bytes) -> tuple[int, int]:
    """Read the tags 0xBC81 and 0xBC80, as of a TIFF."""
    at = struct.unpack_from("<I", data, 4)[0]
    sizes = {}
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        tag, kind = struct.unpack_from("<HH", data, entry)
        sizes[tag] = struct.unpack_from({1: "<B", 3: "<H"}.get(kind, "<I"), data, entry + 8)[0]
    return sizes.get(0xBC81, 0), sizes.get(0xBC80, 0)


def _jpegxl(data: bytes) -> tuple[int, int]:
    """Read the size header of a codestream (ISO 18181-1, D.2)."""
    start = 2 if data.startswith(b"\xff\x0a") else data.index(b"\xff\x0a", data.index(b"jxl", 12)) + 2
    bits, at = int.from_bytes(data[start : start + 16], "little"), 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & ((1 << count) - 1)

    def side(small: int) -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = side(small)
    if ratio := take(3):
        above, below = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        return height, height * above // below
    return height, side(small)


_KINDS: tuple[tuple[bytes, Callable[[bytes], tuple[int, int] | None]], ...] = (
    (b"\xff\xd8", _jpeg),
    (b"\xff\x4f\xff\x51", _jpeg2000),
    (b"\x00\x00\x00\x0cjP", _jpeg2000),
    (b"\x89PNG", _png),
    (b"RIFF", _webp),
    (b"II\xbc", _jpegxr),
    (b"\xff\x0a", _jpegxl),
    (b"\x00\x00\x00\x0cJXL ", _jpegxl),
)
